package recipe

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Change is a key whose value differs between a stored and a new configuration.
type Change struct {
	Key, Old, New string
}

// mayChange are the keys outside [run] that a resumed run may change freely;
// paths are among them because what they hold is compared by its content.
// Source: spec.md §12.
var mayChange = map[string]bool{
	"training.max_steps": true, "training.num_train_epochs": true,
	"training.logging_steps": true, "training.save_steps": true, "training.save_total_limit": true,
	"training.report_to": true, "training.estimate_ar": true, "training.ar_validate_steps": true,
	"model.model_name_or_path": true, "data.data_path": true, "data.chat_template": true, "training.output_dir": true,
}

const (
	batchKey        = "training.per_device_train_batch_size"
	accumulationKey = "training.gradient_accumulation_steps"
)

// ResumeChanges compares the Flat map of a checkpoint with that of the recipe
// that resumes it, sorted by key: refused holds the differences that forbid
// resuming, allowed those that do not. Batch size and accumulation may change
// where their product stays. The content behind the paths, that is the target,
// tokenizer, template and data, is the caller's to compare. Source: spec.md §12.
func ResumeChanges(old, now map[string]string) (refused, allowed []Change) {
	names := map[string]bool{}
	for name := range old {
		names[name] = true
	}
	for name := range now {
		names[name] = true
	}
	sameProduct := product(old) == product(now) && product(old) > 0
	for _, name := range slices.Sorted(maps.Keys(names)) {
		c := Change{Key: name, Old: old[name], New: now[name]}
		_, inOld := old[name]
		_, inNow := now[name]
		switch {
		case inOld && inNow && c.Old == c.New:
		case mayChange[name], strings.HasPrefix(name, "run.") && name != "run.precision",
			sameProduct && (name == batchKey || name == accumulationKey):
			allowed = append(allowed, c)
		default:
			refused = append(refused, c)
		}
	}
	return refused, allowed
}

// product is the number of sequences in an optimizer step, or 0 where it is not known.
func product(flat map[string]string) int {
	b, err1 := strconv.Atoi(flat[batchKey])
	a, err2 := strconv.Atoi(flat[accumulationKey])
	if err1 != nil || err2 != nil {
		return 0
	}
	return b * a
}
