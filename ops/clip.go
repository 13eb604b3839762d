package ops

import "vkdomino/tensors"

const (
	squareBlock = 16 << 10 // elements of a partial sum of squares
	normWords   = 4        // the elements of GradNorm's result
)

// GradNorm writes the global L2 norm over all elements of all gradients and what follows from it:
//
//	norm = (‖grads‖, min(1, maxNorm/(‖grads‖+1e-6)), 1 if ‖grads‖ and Σ losses are finite else 0, 0)
//
// and a coefficient of 0 where they are not. norm is [4] F32, overwritten; grads and
// losses are F32 of any shape and size; losses may be a zero Tensor. Sums are trees fixed by
// the shapes: the relative error stays below 1e-6, and equal inputs give equal bits.
// Source: spec.md §10.
func (c *Context) GradNorm(norm tensors.Tensor, grads []tensors.Tensor, losses tensors.Tensor, maxNorm float64) {
	c.wantDType("gradnorm", tensors.F32, orElse(losses, norm))
	c.wantDType("gradnorm", tensors.F32, norm)
	c.want("gradnorm", "norm", norm, normWords)
	c.wantDType("gradnorm", tensors.F32, grads...)
	count := 0
	for _, g := range grads {
		count += ceilDiv(g.Len(), squareBlock)
	}
	lossCount := 0
	if !absent(losses) {
		lossCount = ceilDiv(losses.Len(), squareBlock)
	}
	room := func(n int) int { return n + ceilDiv(n, squareBlock) + fourWide }
	sums := c.scratch(room(count) + room(lossCount))
	if c.err != nil || c.Dry() {
		return
	}
	if count == 0 {
		count = 1
		c.Zero(sums.Slice(0, 1))
	}
	at := 0
	for _, g := range grads {
		for _, s := range c.chunks(g.Len(), g.DType.Size()) {
			at += c.partialSums(sums.Slice(at, sums.Len()), s.elements(g), true)
		}
	}
	square := c.sumOf(sums, count)
	total := square // in the place of losses that are not there: as finite as itself
	if lossCount > 0 {
		sums = sums.Slice(room(count), sums.Len())
		for _, s := range c.chunks(losses.Len(), losses.DType.Size()) {
			at := ceilDiv(s.lo, squareBlock)
			c.partialSums(sums.Slice(at, sums.Len()), s.elements(losses), false)
		}
		total = c.sumOf(sums, lossCount)
	}
	c.run(launch{kernel: "clip", spec: []uint32{uint32(c.Device.SubgroupSize)}, uses: []use{out(norm), in(square), in(total)},
		params: []uint32{f32bits(maxNorm)}, groups: [3]uint32{1, 1, 1}})
}

// sumOf adds the first n partial sums, behind which there is room for those of the next levels.
func (c *Context) sumOf(sums tensors.Tensor, n int) tensors.Tensor {
	first := 0
	for n > 1 {
		rest := sums.Slice(first+n, sums.Len())
		first, n = first+n, c.partialSums(rest, sums.Slice(first, first+n), false)
	}
	return sums.Slice(first, first+1)
}

// partialSums writes the sum of every block of x, or of its squares, to sums, and returns how many blocks there are.
func (c *Context) partialSums(sums, x tensors.Tensor, square bool) int {
	n := x.Len()
	blocks := ceilDiv(n, squareBlock)
	c.run(launch{kernel: "square_sum", spec: c.rowSpec(flag(vectors(x, n)), flag(square)),
		uses: []use{out(sums.Slice(0, blocks)), in(x)}, params: []uint32{uint32(n), squareBlock},
		groups: fold(blocks), work: flatWork * float64(n)})
	return blocks
}
