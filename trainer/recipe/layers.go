package recipe

import (
	"math"

	"vkdomino/internal/fail"
)

// TargetLayerIDs is the formula by which a draft of d layers picks the layers of
// a target of l layers to read: d ids from 1 to l-3, evenly spaced, each rounded
// half to even; l/2 alone where d is 1. Ids may repeat in shallow targets.
// It is an error (fail.Usage) to want more draft than target layers.
// Source: spec.md §2.1.
func TargetLayerIDs(l, d int) ([]int, error) {
	if d < 1 || l < d {
		return nil, fail.New(fail.Usage, "set dflash.dflash_architecture_config.num_hidden_layers to at most the target's layers",
			"recipe: target layer ids: want a draft of 1 to %d layers (the target has %d), got %d", l, l, d)
	}
	if d == 1 {
		return []int{l / 2}, nil
	}
	start := min(1, l-1)
	end := max(start, l-3)
	ids := make([]int, d)
	for i := range ids {
		ids[i] = int(math.RoundToEven(float64(start) + float64(i*(end-start))/float64(d-1)))
	}
	return ids, nil
}
