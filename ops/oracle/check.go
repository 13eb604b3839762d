package oracle

import (
	"math"
	"math/rand/v2"
	"slices"
)

// tinyRMS stands in for the size of a reference that is zero or nearly so, so that the scaled
// error of an exact result is 0 and that of any other is large.
const tinyRMS = 1e-30

// Compare measures how far a device's result is from the reference:
//
//	nmse      = Σ(got-want)² / Σwant²                 0 for 0/0, +Inf for x/0
//	maxScaled = max|got-want| / max(rms(want), 1e-30)
//
// Sums, maximum and rms run over the elements whose want is finite as a float32. The others
// must be matched exactly: NaN by NaN, an infinity (or a value beyond float32) by that infinity.
// Where one is not, where got is not finite though want is, or where the lengths differ, both
// results are +Inf. Two empty slices give 0, 0. Source: the tolerances of the test plan, which
// uses ggml's NMSE and, so that one bad element in a million is seen, the scaled maximum.
func Compare(got []float32, want []float64) (nmse, maxScaled float64) {
	if len(got) != len(want) {
		return math.Inf(1), math.Inf(1)
	}
	var errors, squares, worst float64
	finite := 0
	for i, w := range want {
		g := float64(got[i])
		if !isFinite(g) || !isFinite(float64(float32(w))) {
			if !sameNonFinite(g, float64(float32(w))) {
				return math.Inf(1), math.Inf(1)
			}
			continue
		}
		finite++
		errors += (g - w) * (g - w)
		squares += w * w
		worst = math.Max(worst, math.Abs(g-w))
	}
	rms := math.Sqrt(squares / float64(max(finite, 1)))
	return ratio(errors, squares), worst / math.Max(rms, tinyRMS)
}

// ratio is a/b, with 0/0 = 0.
func ratio(a, b float64) float64 {
	if a == 0 {
		return 0
	}
	return a / b
}

// isFinite says that x is neither NaN nor an infinity.
func isFinite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// sameNonFinite says that both are NaN, or both the same infinity.
func sameNonFinite(a, b float64) bool {
	if math.IsNaN(a) || math.IsNaN(b) {
		return math.IsNaN(a) && math.IsNaN(b)
	}
	return a == b
}

// SweepSizes returns the sizes that shape sweeps draw from: empty, one, and both sides of every
// subgroup, workgroup and tile size in use.
func SweepSizes() []int {
	return []int{0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 255, 257, 1000, 1024, 1025}
}

// Sweep is SweepOf with SweepSizes for each of dims dimensions.
func Sweep(dims int, seed uint64, n, maxProduct int) [][]int {
	values := make([][]int, dims)
	for d := range values {
		values[d] = SweepSizes()
	}
	return SweepOf(values, seed, n, maxProduct)
}

// SweepOf returns n shapes whose dimension d is drawn from values[d] and whose product is at most
// maxProduct; a size too large for that even beside the smallest others is never drawn. Shapes
// are chosen greedily so that few of them cover many pairs of sizes of two dimensions, and every
// size of every dimension as soon as n allows. Equal arguments give equal shapes. It returns no
// shape where there is no dimension or none fits.
func SweepOf(values [][]int, seed uint64, n, maxProduct int) [][]int {
	s := sweep{
		values: values, limit: maxProduct,
		rng:   rand.New(rand.NewPCG(seed, 0)),
		used:  map[[2]int]int{},
		pairs: map[[4]int]bool{},
	}
	var shapes [][]int
	for range n {
		if shape := s.next(); shape != nil {
			shapes = append(shapes, shape)
		}
	}
	return shapes
}

// sweep is the state of one SweepOf.
type sweep struct {
	values [][]int
	limit  int
	rng    *rand.Rand
	used   map[[2]int]int  // how often (dimension, size) has been drawn
	pairs  map[[4]int]bool // (dimension, size, later dimension, size) seen together
}

// next draws one shape: first the size drawn least so far, in any dimension, then, dimension by
// dimension in random order, the size that makes most new pairs with those already chosen. It
// returns nil where no size fits.
func (s *sweep) next() []int {
	first := s.leastUsed()
	if first < 0 {
		return nil
	}
	order := []int{first}
	for _, d := range s.rng.Perm(len(s.values)) {
		if d != first {
			order = append(order, d)
		}
	}
	shape := make([]int, len(s.values))
	product := 1
	for i, d := range order {
		v, ok := s.best(d, order[:i], shape, s.room(product, order[i+1:]))
		if !ok {
			return nil
		}
		shape[d] = v
		product *= v
	}
	s.record(shape)
	return shape
}

// room returns the largest size that a dimension may have beside a product of chosen sizes and
// the smallest sizes, but for 0, of the dimensions still open.
func (s *sweep) room(product int, open []int) int {
	for _, d := range open {
		least := 0
		for _, v := range s.values[d] {
			if v > 0 && (least == 0 || v < least) {
				least = v
			}
		}
		product *= max(least, 1)
	}
	if product == 0 {
		return math.MaxInt
	}
	return s.limit / product
}

// leastUsed returns the dimension that holds the size drawn least often among those that fit,
// -1 where there is none.
func (s *sweep) leastUsed() int {
	at, least := -1, 0
	for d, sizes := range s.values {
		open := slices.Concat(s.dims()[:d], s.dims()[d+1:])
		room := s.room(1, open)
		for _, v := range sizes {
			used := s.used[[2]int{d, v}]
			if v <= room && (at < 0 || used < least) {
				at, least = d, used
			}
		}
	}
	return at
}

// dims returns the numbers of all dimensions.
func (s *sweep) dims() []int {
	all := make([]int, len(s.values))
	for d := range all {
		all[d] = d
	}
	return all
}

// best returns the size of dimension d, at most room, that makes most new pairs with the
// dimensions already set; ties go to the size drawn least, then to chance.
func (s *sweep) best(d int, set, shape []int, room int) (size int, ok bool) {
	topPairs, topUsed := 0, 0
	sizes := s.values[d]
	for _, i := range s.rng.Perm(len(sizes)) {
		v := sizes[i]
		if v > room {
			continue
		}
		fresh, used := 0, s.used[[2]int{d, v}]
		for _, e := range set {
			if !s.pairs[pair(d, v, e, shape[e])] {
				fresh++
			}
		}
		if !ok || fresh > topPairs || fresh == topPairs && used < topUsed {
			size, ok, topPairs, topUsed = v, true, fresh, used
		}
	}
	return size, ok
}

// record counts a shape's sizes and pairs.
func (s *sweep) record(shape []int) {
	for d, v := range shape {
		s.used[[2]int{d, v}]++
		for e := range d {
			s.pairs[pair(d, v, e, shape[e])] = true
		}
	}
}

// pair is the key of two dimensions' sizes, whichever is given first.
func pair(d, v, e, w int) [4]int {
	if d > e {
		d, v, e, w = e, w, d, v
	}
	return [4]int{d, v, e, w}
}
