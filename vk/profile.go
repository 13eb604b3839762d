package vk

import (
	"sort"
	"syscall"
	"time"
)

// ProcessorTime is the user and system time of this process so far.
func ProcessorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Sample is what a profile knows of one kernel.
type Sample struct {
	Name   string
	Count  int
	Total  time.Duration // wall time, with the submission
	Device time.Duration // time on the device's own clock; 0 where none runs (StartClock)
	CPU    time.Duration // processor time of this process: what a CPU driver needs, whatever else the machine does
	Work   float64       // floating-point operations; of a kernel that is bound by memory only an estimate of its time
	Groups [3]uint32     // workgroups of the last run
	Bytes  int64         // read and written if every bound byte is touched once: an upper bound where rows are looked up
}

// Profile switches profiling on: each command is then submitted and timed by
// itself, so that only the shares of the kernels mean something.
func (d *Device) Profile() { d.profile = map[string]*Sample{} }

// EndProfile switches profiling off and returns the samples.
func (d *Device) EndProfile() []Sample {
	list := d.Samples()
	d.profile = nil
	return list
}

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
	for i := range r.ops {
		if err := r.sample(i); err != nil {
			return err
		}
	}
	return nil
}

// sample runs one command by itself and adds it to the profile.
func (r *Recorder) sample(i int) error {
	d, list := r.device, r.ops[i:i+1]
	if d.clock != nil {
		list = d.clock.between(r.ops[i])
	}
	start, cpu := time.Now(), ProcessorTime()
	cb, err := d.fill(list, true)
	if err != nil {
		return err
	}
	if err := d.submit(cb, true); err != nil {
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
	s.CPU += ProcessorTime() - cpu
	s.Work += r.costs[i].work
	s.Bytes += r.costs[i].bytes
	s.Groups = [3]uint32{uint32(r.ops[i].x), uint32(r.ops[i].y), uint32(r.ops[i].z)}
	if d.clock == nil {
		return nil
	}
	marks, err := d.readMarks([]string{"before", "after"})
	if err == nil {
		s.Device += marks[1].At
	}
	return err
}
