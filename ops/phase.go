package ops

import "time"

// The phases of a training step, whose times are told apart.
const (
	PhaseTarget    = "target"    // the target's forward pass
	PhaseForward   = "forward"   // the draft's, with the logits and the loss
	PhaseBackward  = "backward"  // from the gradient of the logits on
	PhaseOptimizer = "optimizer" // gradients set to zero, their norm, AdamW
)

// Phase says what the commands recorded from here on belong to. It matters only where the
// device's clock runs, see PhaseTimes.
func (c *Context) Phase(name string) {
	if c.clocked() {
		c.recorder.Mark(name)
	}
}

func (c *Context) clocked() bool { return c.recorder != nil && c.Device.ClockRuns() }

// PhaseTimes returns how long the phases took on the device since the last call, by the device's
// clock (vk.Device.StartClock): from a Phase to the next one, or to the end of its Submit.
func (c *Context) PhaseTimes() map[string]time.Duration {
	times := c.phases
	c.phases = nil
	return times
}

// readPhases adds up the phases of the list of commands that was just waited for.
func (c *Context) readPhases() {
	if !c.clocked() {
		return
	}
	marks := c.Device.Marks()
	if c.phases == nil {
		c.phases = map[string]time.Duration{}
	}
	for i := 1; i < len(marks); i++ {
		c.phases[marks[i-1].Label] += marks[i].At - marks[i-1].At
	}
}
