package checkpoint

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"vkdomino/internal/fail"
)

// The recipe keys that the resume rules name.
const (
	keyModel     = "model.model_name_or_path"
	keyData      = "data.data_path"
	keyOutput    = "training.output_dir"
	keyBatch     = "training.per_device_train_batch_size"
	keyAccum     = "training.gradient_accumulation_steps"
	keyPrecision = "run.precision"
	runTable     = "run."
	absent       = "(absent)"
)

// mayChange lists the recipe keys that have no part in what a step computes.
var mayChange = []string{
	"training.max_steps", "training.num_train_epochs", "training.logging_steps", "training.save_steps",
	"training.save_total_limit", "training.report_to", "training.estimate_ar", "training.ar_validate_steps",
	keyOutput,
}

// Diff is one key that the checkpoint's recipe and today's have different values for.
type Diff struct {
	Key, Old, New string
}

// String returns the key with both values.
func (d Diff) String() string {
	shown := func(value string) string {
		if value == "" {
			return `""`
		}
		return value
	}
	return fmt.Sprintf("%s: was %s, now %s", d.Key, shown(d.Old), shown(d.New))
}

// Compare applies the resume rules of spec.md §12 to the state in a checkpoint and the state that the program would
// start with today (Step and the other counters play no part). A difference is in refuse unless it is one of: a key that
// has no part in what a step computes, [run] but its precision, a path to the same content, batch size and accumulation
// of the same product. Those are in warn. Both are sorted by key.
func Compare(old, new State) (refuse, warn []Diff) {
	for _, key := range unionKeys(old.Recipe, new.Recipe) {
		d := Diff{Key: key, Old: valueOf(old.Recipe, key), New: valueOf(new.Recipe, key)}
		switch {
		case d.Old == d.New:
		case harmless(old, new, key):
			warn = append(warn, d)
		default:
			refuse = append(refuse, d)
		}
	}
	return append(refuse, contentDiffs(old, new)...), warn
}

// harmless reports whether a key may have another value.
func harmless(old, new State, key string) bool {
	switch {
	case slices.Contains(mayChange, key):
		return true
	case strings.HasPrefix(key, runTable):
		return key != keyPrecision
	case key == keyBatch || key == keyAccum:
		batch, accum := old.Batches()
		nowBatch, nowAccum := new.Batches()
		return batch*accum != 0 && batch*accum == nowBatch*nowAccum
	}
	hash := contentHash(old, key)
	return hash != "" && hash == contentHash(new, key)
}

// Batches is batch size and accumulation of the state's recipe, 0 for what is no number.
func (s State) Batches() (batch, accum int) {
	batch, _ = strconv.Atoi(s.Recipe[keyBatch])
	accum, _ = strconv.Atoi(s.Recipe[keyAccum])
	return batch, accum
}

// contentHash is the hash of what a path in the recipe points at, "" where the key is no path or its hash unknown.
func contentHash(s State, key string) string {
	switch key {
	case keyModel:
		return s.Target
	case keyData:
		return s.Data
	}
	return s.PathSHA256[key]
}

// contentDiffs compares what stands outside the recipe: the contents behind its paths, and the numbers' schemes.
func contentDiffs(old, new State) []Diff {
	pairs := []Diff{
		{"content of target", old.Target, new.Target},
		{"content of tokenizer.json", old.Tokenizer, new.Tokenizer},
		{"content of data", old.Data, new.Data},
		{"rng_scheme", old.RNGScheme, new.RNGScheme},
		{"rope_theta", formatFloat(old.RopeTheta), formatFloat(new.RopeTheta)},
	}
	for _, key := range unionKeys(old.PathSHA256, new.PathSHA256) {
		// A path that was added or taken away is a difference of the recipe already.
		if !strings.HasPrefix(key, runTable) && old.PathSHA256[key] != "" && new.PathSHA256[key] != "" {
			pairs = append(pairs, Diff{"content of " + key, old.PathSHA256[key], new.PathSHA256[key]})
		}
	}
	return slices.DeleteFunc(pairs, func(d Diff) bool { return d.Old == d.New })
}

// Refusal returns the error of a resume with differences that are not allowed, nil where there are none.
func Refusal(path string, refuse []Diff) error {
	if len(refuse) == 0 {
		return nil
	}
	var lines strings.Builder
	for _, d := range refuse {
		lines.WriteString("\n  " + d.String())
	}
	return fail.New(fail.Usage, "restore these values, or begin anew with --fresh, which sets the old run aside",
		"checkpoint: %s: cannot go on with another recipe:%s", path, lines.String())
}

func unionKeys(a, b map[string]string) []string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

func valueOf(m map[string]string, key string) string {
	if v, ok := m[key]; ok {
		return v
	}
	return absent
}

func formatFloat(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
