package ops

import (
	"slices"

	"vkdomino/tensors"
	"vkdomino/vk"
)

// span is a range lo..hi-1 of elements or rows.
type span struct{ lo, hi int }

// chunkAlign is what the length of a large chunk is a multiple of: chunks then
// start at aligned offsets in every dtype, and hold whole blocks of a sum.
const chunkAlign = squareBlock

// chunks cuts n items into spans whose bytes fit into one binding. For
// bytesPerItem choose the largest of the tensors that are cut together.
func (c *Context) chunks(n, bytesPerItem int) []span {
	most := max(1, int((c.Device.MaxBindingBytes-vk.Align)/int64(max(1, bytesPerItem))))
	if most > chunkAlign {
		most = most / chunkAlign * chunkAlign
	}
	var list []span
	for lo := 0; lo < n; lo += most {
		list = append(list, span{lo, min(n, lo+most)})
	}
	return list
}

// elements is a span of t's elements.
func (s span) elements(t tensors.Tensor) tensors.Tensor { return t.View(t.Len()).Slice(s.lo, s.hi) }

// rows is a span of t's rows.
func (s span) rows(t tensors.Tensor) tensors.Tensor {
	return t.View(t.Rows(), t.Cols()).Slice(s.lo, s.hi)
}

// flat runs an elementwise kernel over tensors of one length, as many elements at a time as all of them
// allow. A kernel with a use in texels has the variants of FROM.
func (c *Context) flat(kernel string, uses ...use) {
	if c.err != nil || c.Dry() || uses[0].Len() == 0 {
		return
	}
	n, size := uses[0].Len(), 0
	for _, u := range uses {
		size = max(size, u.DType.Size())
	}
	for _, s := range c.chunks(n, size) {
		part := make([]use, len(uses))
		list := make([]tensors.Tensor, len(uses))
		for i, u := range uses {
			part[i] = use{Tensor: s.elements(u.Tensor), access: u.access, texels: u.texels}
			list[i] = part[i].Tensor
		}
		wide, vector := width(s.hi-s.lo, list...)
		variant := ""
		if slices.ContainsFunc(part, func(u use) bool { return u.texels }) {
			wide, vector, variant = c.wide(part, s.hi-s.lo, list...)
		}
		c.run(launch{kernel: kernel + variant, spec: c.flatSpec(flag(vector)), uses: part, params: []uint32{uint32(s.hi - s.lo)},
			groups: fold(ceilDiv(s.hi-s.lo, wide*c.flatGroup())), work: flatWork * float64(s.hi-s.lo)})
	}
}

const (
	fourWide = 4  // elements of a vector load
	flatWork = 16 // the time of an element of memory-bound work, as floating-point operations
)

// width is how many elements of rows of cols elements an invocation handles at
// a time: four where all tensors allow it, else one; vector says which.
func width(cols int, list ...tensors.Tensor) (elements int, vector bool) {
	for _, t := range list {
		if !vectors(t, cols) {
			return 1, false
		}
	}
	return fourWide, true
}

// wantLike records an error unless each tensor has the dtype and the number of elements of t.
func (c *Context) wantLike(op string, t tensors.Tensor, others ...tensors.Tensor) {
	for _, o := range others {
		if o.DType != t.DType || o.Len() != t.Len() {
			c.failf("%s: %s: want %v %s, got %v %s", op, o.Name, t.Shape, t.DType, o.Shape, o.DType)
		}
	}
}

// wantLength records an error unless each tensor has as many elements as t.
func (c *Context) wantLength(op string, t tensors.Tensor, others ...tensors.Tensor) {
	for _, o := range others {
		if o.Len() != t.Len() {
			c.failf("%s: %s: want %v, got %v", op, o.Name, t.Shape, o.Shape)
		}
	}
}

// wantStorage records an error unless t is F32 or BF16.
func (c *Context) wantStorage(op string, t tensors.Tensor) {
	if t.DType != tensors.F32 && t.DType != tensors.BF16 {
		c.failf("%s: %s: want dtype F32 or BF16, got %s", op, t.Name, t.DType)
	}
}

// wantDType records an error unless t has the given dtype.
func (c *Context) wantDType(op string, dtype tensors.DType, list ...tensors.Tensor) {
	for _, t := range list {
		if t.DType != dtype {
			c.failf("%s: %s: want dtype %s, got %s", op, t.Name, dtype, t.DType)
		}
	}
}

// Add writes result = a + b, the residual sum. All have one length and dtype, F32 or BF16.
// result may be a or b. The gradient of a and of b is that of out. Source: spec.md §5.1.
func (c *Context) Add(result, a, b tensors.Tensor) {
	c.wantStorage("add", result)
	c.wantLike("add", result, a, b)
	c.flat("add."+storage(result), out(result), in(a), in(b))
}

// Cast writes result = x in result's dtype: F32 to BF16 rounds to nearest, ties to
// even, and keeps NaN a NaN; BF16 to F32 is exact; equal dtypes copy.
// result and x have one length and do not overlap. Source: spec.md §10.
func (c *Context) Cast(result, x tensors.Tensor) {
	c.wantStorage("cast", result)
	c.wantStorage("cast", x)
	c.wantLength("cast", result, x)
	if result.DType == x.DType {
		c.Copy(result, x)
		return
	}
	c.flat("cast."+storage(result), out(result), in(x))
}
