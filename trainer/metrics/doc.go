// Package metrics writes down what a training run measures: one Row per
// optimizer step to metrics.jsonl and to TensorBoard events (Log), a progress
// bar or plain lines on the console (Progress), and the curves as a PNG
// (PlotCurves). metrics.jsonl is the source; the others can be made again from it.
package metrics
