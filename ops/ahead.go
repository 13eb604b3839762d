package ops

import (
	"fmt"

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
// reaches the device before Start. It returns the first error of record and its ops, and then no list; an earlier error
// stays with what it was recorded with, until Submit. record must neither Submit nor Start.
func (c *Context) Ahead(record func() error) (*List, error) {
	l := &List{}
	if !c.idle() {
		l.recorder = c.Device.NewRecorder()
	}
	err := c.into(l, record)
	if err == nil && l.recorder != nil {
		err = l.recorder.Seal()
	}
	if err != nil {
		l.Drop()
		return nil, err
	}
	return l, nil
}

// into makes record's ops, uploads and errors go into a list, and returns the first error.
func (c *Context) into(l *List, record func() error) error {
	recorder, ahead, before := c.recorder, c.ahead, c.err
	c.recorder, c.ahead, c.err = l.recorder, l, nil
	defer func() { c.recorder, c.ahead, c.err = recorder, ahead, before }()
	if err := record(); err != nil {
		return err
	}
	return c.err
}

// Start runs a list, and behind it what more records, and does not wait for it. What runs already ends first, and so does
// what was recorded and not submitted. Wait must follow before the results are read. It returns the first error of more's
// ops or, as Submit, of those recorded before; the list is then given up.
func (c *Context) Start(l *List, more func()) error {
	err := c.into(l, func() error { more(); return nil })
	if err == nil {
		err = c.Submit()
	}
	if err == nil {
		err = l.upload(c.Device)
	}
	if err != nil || c.idle() {
		l.Drop()
		return err
	}
	if err := l.recorder.Start(); err != nil {
		return err
	}
	c.running = l
	return nil
}

// upload writes what is uploaded before the commands run.
func (l *List) upload(d *vk.Device) error {
	for _, u := range l.uploads {
		if err := u.write(d); err != nil {
			return err
		}
	}
	l.uploads = nil
	return nil
}

func (u upload) write(d *vk.Device) error {
	if err := d.Write(u.t.Region, u.data); err != nil {
		return fmt.Errorf("ops: upload %s: %w", u.t.Name, err)
	}
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
