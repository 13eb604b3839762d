package vk

import (
	"sort"
	"time"
)

// Sample is what a profile knows of one kernel.
type Sample struct {
	Name  string
	Count int
	Total time.Duration
}

// Profile switches profiling on: each command is then submitted and timed by
// itself, so that only the shares of the kernels mean something.
func (d *Device) Profile() { d.profile = map[string]*Sample{} }

// Samples returns the profile, the costliest kernel first.
func (d *Device) Samples() []Sample {
	list := make([]Sample, 0, len(d.profile))
	for _, s := range d.profile {
		list = append(list, *s)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Total > list[j].Total })
	return list
}

func (r *Recorder) submitProfiled() error {
	d := r.device
	for i := range r.ops {
		start := time.Now()
		if err := d.submit(r.ops[i:i+1], true); err != nil {
			return err
		}
		if err := d.wait(r.names[i]); err != nil {
			return err
		}
		s := d.profile[r.names[i]]
		if s == nil {
			s = &Sample{Name: r.names[i]}
			d.profile[r.names[i]] = s
		}
		s.Count++
		s.Total += time.Since(start)
	}
	return nil
}
