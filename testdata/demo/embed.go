// Package demo carries the demo's input in the binary: a tiny Qwen3 target with
// tokenizer and chat template, and conversations whose answers it sampled itself.
package demo

import "embed"

// FS holds target/, train.jsonl and eval.jsonl.
//
//go:embed target train.jsonl eval.jsonl
var FS embed.FS
