// Package checkpoint writes and reads the checkpoints of a run (spec.md §12): the directories checkpoint-{step} in the
// run's output folder, where step counts completed optimizer steps. Each holds
//
//	model.safetensors      float32 master weights under their export names
//	optimizer.safetensors  {name}.m and {name}.v, AdamW's two moments, float32
//	state.json             State: where the run stands, and what it was started with
//	manifest.json          size and SHA-256 of the three files above
//
// A checkpoint is written as checkpoint-{step}.tmp, synced and renamed, so that it is whole or is not there. It is
// verified whenever it is read, and older ones are removed only after a newer one verifies.
package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// Version is the format version that this package writes, and the only one it reads.
const Version = 1

// The files of a checkpoint.
const (
	ModelFile     = "model.safetensors"
	OptimizerFile = "optimizer.safetensors"
	StateFile     = "state.json"
	ManifestFile  = "manifest.json"

	dirPrefix    = "checkpoint-"
	tmpSuffix    = ".tmp" // of a checkpoint that is being written or removed
	firstMoment  = ".m"
	secondMoment = ".v"
)

// ErrCorrupt is in the chain of every error about a checkpoint that is not what was once written.
var ErrCorrupt = errors.New("checkpoint is damaged")

// State is state.json: everything beside tensors that a run needs to go on with the same bits. The recipe's resolved
// values stand in it twice: flattened to dotted keys for Compare, and as they are, for whoever rebuilds the recipe.
type State struct {
	FormatVersion   int     `json:"format_version"`   // set by Save
	Step            int     `json:"step"`             // completed optimizer steps, skipped updates included
	TotalSteps      int     `json:"total_steps"`      // T of the schedules
	UpdatesApplied  int     `json:"updates_applied"`  // AdamW's t of the bias correction
	SkippedUpdates  int     `json:"skipped_updates"`  // steps whose gradients were not finite
	Epoch           int     `json:"epoch"`            // completed passes over the data
	SamplesConsumed int64   `json:"samples_consumed"` // over all epochs
	MicroBatch      int     `json:"micro_batch"`      // always 0: checkpoints are written between steps
	Seed            uint64  `json:"seed"`
	RNGScheme       string  `json:"rng_scheme"`
	RopeTheta       float64 `json:"rope_theta"` // used in training; an export must have the same

	Recipe     map[string]string `json:"recipe"`                  // dotted key to value, resolved
	RecipeJSON json.RawMessage   `json:"resolved_recipe"`         // the same, as the program's own struct
	PathSHA256 map[string]string `json:"path_sha256"`             // key of Recipe that names a file, to the hash of its bytes
	DraftJSON  json.RawMessage   `json:"draft_config"`            // the draft's geometry, as the exporter wants it
	TargetJSON json.RawMessage   `json:"target_config,omitempty"` // what an export states of the target's config.json
	Trainer    json.RawMessage   `json:"trainer"`                 // what the loop keeps for itself
	Best       *Best             `json:"best,omitempty"`          // of the evaluations while training
	LogTail    []json.RawMessage `json:"log_tail"`                // the last lines of metrics.jsonl
	Wall       float64           `json:"wall_seconds"`            // spent in training so far
	Program    string            `json:"program_version"`         // that wrote it
	Target     string            `json:"target"`                  // fingerprint: hash of config.json, embedding and LM head
	Tokenizer  string            `json:"tokenizer_sha256"`        // of tokenizer.json's bytes
	Data       string            `json:"data_sha256"`             // of the training file's bytes
}

// Best is the best acceptance length that an evaluation while training has measured.
type Best struct {
	Step int     `json:"step"`
	Tau  float64 `json:"tau"`
}

// Dir returns the path of the checkpoint of a step.
func Dir(outputDir string, step int) string {
	return filepath.Join(outputDir, dirPrefix+strconv.Itoa(step))
}

// stepOf returns the step of a checkpoint directory's name, which must be written as Dir writes it.
func stepOf(name string) (int, bool) {
	digits, ok := strings.CutPrefix(name, dirPrefix)
	step, err := strconv.Atoi(digits)
	return step, ok && err == nil && step >= 0 && strconv.Itoa(step) == digits
}

// corrupt returns an error with ErrCorrupt in its chain.
func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrCorrupt, fmt.Errorf(format, args...))
}
