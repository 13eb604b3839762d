package vk

import (
	"sort"
	"syscall"
	"time"
)

// processorTime is the user and system time of this process so far.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Sample is what a profile knows of one kernel.
type Sample struct {
	Name  string
	Count int
	Total time.Duration // wall time
	CPU   time.Duration // processor time of this process: what a CPU driver needs, whatever else the machine does
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
	sort.Slice(list, func(i, j int) bool { return list[i].CPU+list[i].Total > list[j].CPU+list[j].Total })
	return list
}

func (r *Recorder) submitProfiled() error {
	d := r.device
	for i := range r.ops {
		start, cpu := time.Now(), processorTime()
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
		s.CPU += processorTime() - cpu
	}
	return nil
}
