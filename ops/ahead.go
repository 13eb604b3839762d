package ops

import (
	"vkdomino/tensors"
	"vkdomino/vk"
)

// List is what Ahead recorded: commands, and what is uploaded before they run.
type List struct {
	recorder *vk.Recorder
	uploads  []upload
}

type upload struct {
	t    tensors.Tensor
	data []byte
}

// Ahead records what record records into a list of its own, which may be made while another one runs: nothing of it
// reaches the device before Start. It returns the first error of record's ops and clears it. record must not Submit.
func (c *Context) Ahead(record func() error) (*List, error) {
	l := &List{}
	if !c.idle() {
		l.recorder = c.Device.NewRecorder()
	}
	err := c.into(l, record)
	if err == nil {
		err = c.takeErr()
	}
	if l.recorder == nil {
		return l, err
	}
	if err == nil {
		err = l.recorder.Seal()
	}
	if err != nil {
		c.takeErr()
		l.Drop()
	}
	return l, err
}

// into makes record's ops and uploads go into a list.
func (c *Context) into(l *List, record func() error) error {
	recorder, ahead := c.recorder, c.ahead
	c.recorder, c.ahead = l.recorder, l
	defer func() { c.recorder, c.ahead = recorder, ahead }()
	return record()
}

// Start runs a list, and behind it what more records, and does not wait for it. What runs already ends first, and so does
// what was recorded and not submitted.
// Wait must follow before the results are read. It returns the first error of any op since the last Submit and clears it.
func (c *Context) Start(l *List, more func()) error {
	err := c.into(l, func() error {
		more()
		return c.takeErr()
	})
	if err != nil || c.idle() {
		l.Drop()
		return err
	}
	if !c.recorder.Empty() {
		if err := c.Submit(); err != nil {
			l.Drop()
			return err
		}
	}
	for _, u := range l.uploads { // waits for what runs
		c.write(u.t, u.data)
	}
	l.uploads = nil
	if err := c.takeErr(); err != nil {
		l.Drop()
		return err
	}
	if err := l.recorder.Start(); err != nil {
		return err
	}
	c.running = l
	return nil
}

// Wait waits for what Start started.
func (c *Context) Wait() error {
	l := c.running
	if l == nil {
		return nil
	}
	c.running = nil
	if err := l.recorder.Wait(); err != nil {
		return err
	}
	c.readPhases()
	return nil
}

// Drop gives up a list that was not started.
func (l *List) Drop() {
	if l != nil && l.recorder != nil {
		l.recorder.Drop()
	}
}
