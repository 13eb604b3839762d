// Package data turns a JSONL file of conversations into training rows: the
// checkpoint's tokenizer.json and chat template, answer masks, truncation,
// order and batches (spec.md §11). It reads strictly: what it does not
// understand is an error, never a guess, and every row left out is counted by
// its reason.
package data
