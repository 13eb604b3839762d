// Package trainer is the training loop and everything that must survive a crash: schedules,
// the optimizer step, checkpoints and resume, metrics.
package trainer
