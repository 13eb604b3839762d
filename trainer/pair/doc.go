// Package pair opens a target and a draft that belong together, for decoding: what generate,
// eval, data check, data regenerate, export and the conformance cases read of folders, and all
// that they refuse about them. Source: spec.md §13.3, §13.5, §14.
package pair
