// Package recipe reads a training recipe: a TOML file whose tables and keys are
// those of Model-Optimizer's recipe (spec.md §15), plus [compat] and [run] for
// switches that only this trainer has.
//
// Reading is strict. An unknown key, a wrong type, a value out of range or two
// values that contradict each other is an error with exit code fail.Usage that
// names the file and line (or the override), the key, what is allowed and what
// was found, before any weight is read. Keys that a Model-Optimizer recipe may
// carry but that mean nothing here are accepted with one Notice.
//
// The way of a recipe is Load (or Parse), then Recipe.Resolve with the target's
// geometry, which gives the plain values of a Resolved that the trainer uses.
// One table, in keys_*.go, says of every key its type, range, default and
// meaning; the decoder, Flat, FromFlat and docs/recipe.md all follow it.
package recipe
