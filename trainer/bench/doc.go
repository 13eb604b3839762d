// Package bench measures: the device's peaks, matrix products, single ops, and the training step
// with random weights and features or with the target's forward pass before it. It prints nothing;
// its reports carry JSON field names, and internal/cli makes text of them.
//
// Times are medians with the quartiles of several runs, on the device's own clock where its queue
// takes timestamps. On a CPU device the process's processor time stands beside them, which does
// not depend on what else the machine does. All random numbers come from a seed.
package bench
