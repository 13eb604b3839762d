package vk

/*
#include "shim.h"
*/
import "C"

import (
	"fmt"
	"time"
	"unsafe"

	vulkan "github.com/vulkan-go/vulkan"

	"vkdomino/internal/fail"
)

// maxMarks is the number of timestamps that one list of commands can hold.
const maxMarks = 4096

// Mark is a labelled moment on the device's own clock: all commands recorded before it had ended.
// Only differences of two marks of one Submit mean something.
type Mark struct {
	Label string
	At    time.Duration
}

// clock is the device's query pool of timestamps.
type clock struct {
	pool   vulkan.QueryPool
	period float64 // nanoseconds of a tick
	mask   uint64  // of the valid bits
	marks  []Mark
}

// HasClock reports whether the device's queue can take timestamps.
func (i Info) HasClock() bool { return i.timestampBits > 0 && i.timestampPeriod > 0 }

// StartClock makes Recorder.Mark take timestamps from here on; a device without HasClock is an error.
func (d *Device) StartClock() error {
	if d.clock != nil {
		return nil
	}
	if !d.HasClock() {
		return fail.New(fail.Other, "", "vk: %s: its queue takes no timestamps", d.Name)
	}
	info := vulkan.QueryPoolCreateInfo{SType: vulkan.StructureTypeQueryPoolCreateInfo, QueryType: vulkan.QueryTypeTimestamp, QueryCount: maxMarks}
	defer info.Free()
	var pool vulkan.QueryPool
	if err := check(vulkan.CreateQueryPool(d.handle, &info, nil, &pool), "vkCreateQueryPool"); err != nil {
		return err
	}
	d.clock = &clock{pool: pool, period: d.timestampPeriod, mask: ^uint64(0) >> (64 - min(64, d.timestampBits))}
	return nil
}

// WithClock runs f with the clock running, where the device has one, and without a profile; afterwards
// both are as they were. Every list of commands that f begins it must submit.
func (d *Device) WithClock(f func()) error {
	if err := d.settle(); err != nil {
		return err
	}
	profile := d.profile
	d.profile = nil
	defer func() { d.profile = profile }()
	if d.clock == nil && d.HasClock() {
		if err := d.StartClock(); err != nil {
			return err
		}
		defer func() {
			d.clock.destroy(d)
			d.clock = nil
		}()
	}
	f()
	return nil
}

// ClockRuns reports whether StartClock was called.
func (d *Device) ClockRuns() bool { return d.clock != nil }

// Marks are the timestamps of the last list that was waited for, in the order of recording.
func (d *Device) Marks() []Mark {
	if d.clock == nil {
		return nil
	}
	return d.clock.marks
}

// Mark records a timestamp; nothing where no clock runs or a profile is taken. Where a list of
// commands has marks, Submit puts one more at its end. It holds 4096 of them.
func (r *Recorder) Mark(label string) {
	c := r.device.clock
	if r.err != nil || c == nil || r.device.profile != nil {
		return
	}
	n := len(r.marks)
	if n == maxMarks {
		r.err = fmt.Errorf("vk: timestamps: want at most %d in a list of commands", maxMarks)
		return
	}
	if n == 0 {
		r.push(command{op: c.command(C.SHIM_RESET_QUERIES, maxMarks), name: "reset timestamps"})
	}
	r.push(command{op: c.command(C.SHIM_TIMESTAMP, n), name: "timestamp"})
	r.marks = append(r.marks, label)
}

// command resets the first x queries, or writes a timestamp to query x.
func (c *clock) command(kind C.uint32_t, x int) cOp {
	op := cOp{kind: kind, x: C.uint32_t(x)}
	op.buffers[0] = C.uint64_t(uintptr(unsafe.Pointer(c.pool)))
	return op
}

// between is a command with a timestamp before and after it.
func (c *clock) between(op C.shim_op) []C.shim_op {
	return []C.shim_op{C.shim_op(c.command(C.SHIM_RESET_QUERIES, 2)), C.shim_op(c.command(C.SHIM_TIMESTAMP, 0)), op,
		C.shim_op(c.command(C.SHIM_TIMESTAMP, 1))}
}

// readMarks reads the timestamps of a list that has run.
func (d *Device) readMarks(labels []string) ([]Mark, error) {
	if d.clock == nil || len(labels) == 0 {
		return nil, nil
	}
	c := d.clock
	ticks := make([]uint64, len(labels))
	flags := vulkan.QueryResultFlags(vulkan.QueryResult64Bit | vulkan.QueryResultWaitBit)
	r := vulkan.GetQueryPoolResults(d.handle, c.pool, 0, uint32(len(ticks)), uint(8*len(ticks)), unsafe.Pointer(&ticks[0]), 8, flags)
	if err := check(r, "vkGetQueryPoolResults"); err != nil {
		return nil, err
	}
	marks := make([]Mark, len(labels))
	for i, label := range labels {
		elapsed := (ticks[i] - ticks[0]) & c.mask
		marks[i] = Mark{label, time.Duration(float64(elapsed) * c.period)}
	}
	return marks, nil
}

func (c *clock) destroy(d *Device) {
	if c != nil {
		vulkan.DestroyQueryPool(d.handle, c.pool, nil)
	}
}
