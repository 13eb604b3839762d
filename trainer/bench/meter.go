package bench

import (
	"fmt"
	"math"
	"time"

	"vkdomino/ops"
	"vkdomino/tensors"
	"vkdomino/vk"
)

// Timing is how long a piece of work takes, once.
type Timing struct {
	Time Spread `json:"time"` // on the device's clock, or wall time
	// Processor is the process's processor time of one run in milliseconds, on a CPU device: the least of all runs.
	Processor float64 `json:"processor_ms,omitempty"`
}

// perSecond is n over the median time; 0 where there is none.
func (t Timing) perSecond(n float64) float64 {
	if t.Time.Median == 0 {
		return 0
	}
	return n / t.Time.Median * 1e3
}

// perProcessorSecond is n over the processor time; 0 where that is not known.
func (t Timing) perProcessorSecond(n float64) float64 {
	if t.Processor == 0 {
		return 0
	}
	return n / t.Processor * 1e3
}

// enough is how long a timed run should take, so that neither clock nor submission matter.
const enough = 40 * time.Millisecond

// mostRepeats bounds how often a run repeats short work.
const mostRepeats = 1000

// meter times work on a context; without runs it only records.
type meter struct {
	c    *ops.Context
	runs int
}

func newMeter(c *ops.Context, runs int) (meter, error) {
	if usesClock(c.Device) {
		if err := c.Device.StartClock(); err != nil {
			return meter{}, err
		}
	}
	return meter{c, runs}, nil
}

// time records the work again and again: once to compile it, once to see how long it takes, and
// then in runs of as many repeats as make the time long enough.
func (m meter) time(record func()) (Timing, error) {
	var short time.Duration
	for range 2 {
		took, cpu, err := m.once(record, 1)
		if err != nil {
			return Timing{}, err
		}
		if short = took; m.c.Device.CPU { // whatever else the machine does
			short = min(took, cpu)
		}
	}
	repeats := int(min(mostRepeats, max(1, enough/max(short, time.Nanosecond))))
	var took []time.Duration
	least := time.Duration(math.MaxInt64)
	for range m.runs {
		d, cpu, err := m.once(record, repeats)
		if err != nil {
			return Timing{}, err
		}
		took = append(took, d/time.Duration(repeats))
		least = min(least, cpu)
	}
	t := Timing{Time: NewSpread(took)}
	if m.c.Device.CPU {
		t.Processor = ms(least) / float64(repeats)
	}
	return t, nil
}

// once runs the work so many times in one submission.
func (m meter) once(record func(), repeats int) (took, cpu time.Duration, err error) {
	const phase = "measured"
	start, before := time.Now(), vk.ProcessorTime()
	m.c.Phase(phase)
	for range repeats {
		record()
	}
	if err := m.c.Submit(); err != nil {
		return 0, 0, err
	}
	took, cpu = time.Since(start), vk.ProcessorTime()-before
	if usesClock(m.c.Device) {
		took = m.c.PhaseTimes()[phase]
	}
	return took, cpu, nil
}

// checked is how many elements of a result finite looks at.
const checked = 1 << 16

// finite refuses a result that holds anything else.
func (m meter) finite(what string, t tensors.Tensor) error {
	v, err := m.c.Float32s(t.View(min(t.Len(), checked)))
	if err != nil {
		return err
	}
	for i, x := range v {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return fmt.Errorf("bench: %s: element %d: want a finite number, got %v", what, i, x)
		}
	}
	return nil
}

// tensor allocates a tensor of random values.
func (m meter) tensor(name string, dtype tensors.DType, shape ...int) tensors.Tensor {
	t := m.c.Alloc(name, dtype, shape...)
	m.fill(t, name)
	return t
}

// fill uploads random numbers that follow from name.
func (m meter) fill(t tensors.Tensor, name string) {
	if m.runs == 0 {
		return
	}
	m.c.UploadF32(t, random(t.Len(), name, weightScale))
}
