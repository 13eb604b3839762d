package vk

import "slices"

// Beside records what record records as a chain of commands that need not run at once: they
// wait, and each goes into the list as soon as it needs no barrier of its own. So a chain in
// which each command needs the one before shares the barriers of the commands that are
// recorded behind Beside, and what it costs is hidden. The result is that of the order of
// recording: a later command that depends on a waiting one, or the other way round, lets the
// chain up to there go first, and Submit the rest. Chains follow one another.
func (r *Recorder) Beside(record func()) {
	nested := r.beside
	r.beside = true
	record()
	r.beside = nested
}

// add puts a command into the list, or beside it.
func (r *Recorder) add(c command) {
	if r.beside {
		r.waiting = append(r.waiting, c)
		return
	}
	r.release(r.needed(c))
	r.push(c)
	for len(r.waiting) > 0 && !conflict(r.waiting[0].binds, r.pending) {
		r.release(1)
	}
}

// needed is how many of the waiting commands must come before c.
func (r *Recorder) needed(c command) int {
	for n := len(r.waiting); n > 0; n-- {
		if conflict(r.waiting[n-1].binds, c.binds) {
			return n
		}
	}
	return 0
}

// release puts the first n waiting commands into the list.
func (r *Recorder) release(n int) {
	for _, c := range r.waiting[:n] {
		r.push(c)
	}
	r.waiting = slices.Delete(r.waiting, 0, n)
}

// conflict reports whether any of some uses must wait for any of others.
func conflict(some, others []Bind) bool {
	for _, a := range some {
		if slices.ContainsFunc(others, a.conflicts) {
			return true
		}
	}
	return false
}
