package domino

import (
	"cmp"
	"slices"

	"vkdomino/internal/fail"
)

// AnchorRule says which positions may start a block, and how many are drawn.
type AnchorRule string

// The anchor rules, named after the code they come from. Source: spec.md §3.1 to §3.5.
const (
	// AnchorSpecForge: 0 <= a <= S-2, positions a and a+1 supervised; N = min(num_anchors, max c_b).
	AnchorSpecForge AnchorRule = "specforge"
	// AnchorModelOpt: 0 <= a <= S-bs, position a supervised; N = min(num_anchors, max c_b - 1).
	AnchorModelOpt AnchorRule = "modelopt"
	// AnchorNeMo: eligible as AnchorModelOpt; N = min(num_anchors, max c_b).
	AnchorNeMo AnchorRule = "nemo"
)

// supervisedAbove is the threshold above which a loss-mask value counts as supervised.
const supervisedAbove = 0.5

// Anchors are the blocks of one micro-batch before compaction. Row b holds its kept anchors
// first, in ascending order; the slots after them have Keep false and anchor 0.
type Anchors struct {
	N      int     // slots per row
	Anchor []int32 // [B*N], absolute token positions
	Keep   []bool  // [B*N]
}

// Mix is the SplitMix64 finaliser, in wrap-around arithmetic. Source: spec.md §3.5.
func Mix(x uint64) uint64 {
	x += 0x9E3779B97F4A7C15
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

// anchorKeys gives the sort key of a position a: mix(mix(mix(mix(seed)^step)^row)^a). row is
// the global sample index inside the optimizer step, so that a draw depends neither on the
// device count nor on how a step is cut into micro-batches. Source: spec.md §3.5.
func anchorKeys(seed, step, row uint64) func(a uint64) uint64 {
	prefix := Mix(Mix(Mix(seed)^step) ^ row)
	return func(a uint64) uint64 { return Mix(prefix ^ a) }
}

// SampleAnchors draws the anchors of a micro-batch: in each row b the N eligible positions
// with the smallest anchorKeys(seed, step, firstRow+b), ties by smaller a, sorted
// ascending; N is common to the rows, and a row with fewer eligible positions keeps them all.
// lossMask is [B*S]; step is the 0-based optimizer step; firstRow is the index of row 0
// within the step. No eligible position at all gives N = 0, not an error.
// Errors: an unknown rule, sizes that do not fit. Source: spec.md §3.
func SampleAnchors(rule AnchorRule, lossMask []float32, B, S, blockSize, numAnchors int, seed uint64, step, firstRow int) (Anchors, error) {
	if err := checkLen("anchors: loss_mask", len(lossMask), B*S); err != nil {
		return Anchors{}, err
	}
	if blockSize < 1 || numAnchors < 1 {
		return Anchors{}, fail.New(fail.Usage, "raise dflash_block_size or dflash_num_anchors",
			"domino: anchors: want block size and anchor count of at least 1, got %d and %d", blockSize, numAnchors)
	}
	drawn := make([][]int32, B)
	most := 0
	for b := range drawn {
		eligible, err := Eligible(rule, lossMask[b*S:(b+1)*S], blockSize)
		if err != nil {
			return Anchors{}, err
		}
		drawn[b], most = eligible, max(most, len(eligible))
	}
	if rule == AnchorModelOpt {
		most--
	}
	out := newAnchors(B, max(0, min(numAnchors, most)))
	for b, eligible := range drawn {
		row := draw(eligible, out.N, seed, uint64(step), uint64(firstRow+b))
		copy(out.Anchor[b*out.N:], row)
		for n := range row {
			out.Keep[b*out.N+n] = true
		}
	}
	return out, nil
}

func newAnchors(B, N int) Anchors {
	return Anchors{N: N, Anchor: make([]int32, B*N), Keep: make([]bool, B*N)}
}

// Eligible returns the positions of one row that may be an anchor, ascending.
// lossMask is the row's [S]. An unknown rule is an error. Source: spec.md §3.1 to §3.5.
func Eligible(rule AnchorRule, lossMask []float32, blockSize int) ([]int32, error) {
	S := len(lossMask)
	var last int // the last position that may be an anchor
	switch rule {
	case AnchorSpecForge:
		last = S - 2
	case AnchorModelOpt, AnchorNeMo:
		last = min(max(S-blockSize, 0), S-1)
	default:
		return nil, fail.New(fail.Usage, "anchor_rule is one of specforge, modelopt, nemo", "domino: anchor_rule: want specforge, modelopt or nemo, got %q", rule)
	}
	var out []int32
	for a := 0; a <= last; a++ {
		if lossMask[a] > supervisedAbove && (rule != AnchorSpecForge || lossMask[a+1] > supervisedAbove) {
			out = append(out, int32(a))
		}
	}
	return out, nil
}

// draw returns the n candidates with the smallest keys, ascending; all of them if there are fewer.
func draw(candidates []int32, n int, seed, step, row uint64) []int32 {
	if len(candidates) <= n {
		return candidates
	}
	key := anchorKeys(seed, step, row)
	type keyed struct {
		key uint64
		a   int32
	}
	keys := make([]keyed, len(candidates))
	for i, a := range candidates {
		keys[i] = keyed{key(uint64(a)), a}
	}
	slices.SortFunc(keys, func(x, y keyed) int { return cmp.Or(cmp.Compare(x.key, y.key), cmp.Compare(x.a, y.a)) })
	out := make([]int32, n)
	for i := range out {
		out[i] = keys[i].a
	}
	slices.Sort(out)
	return out
}

// checkLen is the shape error of this package: domino: thing: want [n], got [m].
func checkLen(thing string, got, want int) error {
	if got != want || want < 0 {
		return fail.New(fail.Other, "", "domino: %s: want [%d], got [%d]", thing, want, got)
	}
	return nil
}
