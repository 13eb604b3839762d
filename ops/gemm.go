package ops

import (
	"vkdomino/tensors"
	"vkdomino/vk"
)

// Layout says how a GEMM reads its operands; all are row-major.
type Layout int

// C[M,N] from NT: A[M,K] B[N,K]ᵀ (a linear layer), NN: A[M,K] B[K,N] (its
// gradient by the input), TN: A[K,M]ᵀ B[K,N] (its gradient by the weight).
const (
	NT Layout = iota
	NN
	TN
)

var layoutNames = [...]string{"nt", "nn", "tn"}

// mostWork is the most that one product on plain arithmetic computes: a second on a slow device of 1 TFLOP/s.
const mostWork = 1e12

// How far a product is split along K.
const (
	splitDepth     = 256 // the least range of K that is worth a split
	splitMost      = 16
	workspaceBytes = 16 << 20
)

// matrix is a rows x cols part of a tensor with a row pitch, in elements.
type matrix struct {
	tensors.Tensor
	rows, cols, pitch int
}

func wholeMatrix(t tensors.Tensor) matrix { return matrix{t, t.Rows(), t.Cols(), t.Cols()} }

// part is the matrix's rows r0.. and columns c0.., of the given size.
func (m matrix) part(r0, c0, rows, cols int) matrix {
	size := int64(m.DType.Size())
	p := m
	p.rows, p.cols = rows, cols
	p.Region.Offset += int64(r0*m.pitch+c0) * size
	p.Region.Bytes = (int64(rows-1)*int64(m.pitch) + int64(cols)) * size
	return p
}

// Gemm writes C = op(A) op(B), accumulated in f32.
// A and B have one dtype (F32 or BF16); C is F32, or BF16 like them, and overlaps neither. K = 0 gives zeros.
//
// Products of BF16 operands run on cooperative matrices in the tiers T2 and T3. They are exact to the same
// limits as on plain arithmetic. Where matrices are of f16 (T2 asked for on a device without bf16 matrices),
// an element below 2^-39 of the largest magnitude of its operand, or below 2^-126, counts as zero.
func (c *Context) Gemm(layout Layout, C, A, B tensors.Tensor) { c.gemm(layout, C, C, A, B, false) }

// GemmAdd writes C = D + op(A) op(B). D has C's shape and dtype and may be C.
func (c *Context) GemmAdd(layout Layout, C, D, A, B tensors.Tensor) {
	c.gemm(layout, C, D, A, B, true)
}

// GemmOnto writes C += op(A) op(B) where C holds a sum already, and C = op(A) op(B) where it does not.
func (c *Context) GemmOnto(sum bool, layout Layout, C, A, B tensors.Tensor) {
	c.gemm(layout, C, C, A, B, sum)
}

func (c *Context) gemm(layout Layout, C, D, A, B tensors.Tensor, add bool) {
	m, n, k := C.Rows(), C.Cols(), A.Cols()
	ok := A.Rows() == m && B.Rows() == n && B.Cols() == k
	switch layout {
	case NN:
		ok = A.Rows() == m && B.Rows() == k && B.Cols() == n
	case TN:
		k = A.Rows()
		ok = A.Cols() == m && B.Rows() == k && B.Cols() == n
	}
	if !ok || A.DType != B.DType || (add && (D.Len() != C.Len() || D.DType != C.DType)) {
		c.failf("gemm %s: C %v %s, D %v, A %v %s, B %v %s", layoutNames[layout], C.Shape, C.DType, D.Shape, A.Shape, A.DType, B.Shape, B.DType)
	}
	if c.err != nil || m == 0 || n == 0 || c.Dry() {
		return
	}
	if k == 0 {
		if !add {
			c.Zero(C)
		} else if C.Region != D.Region {
			c.Copy(C, D)
		}
		return
	}
	g := gemm{layout, wholeMatrix(C), wholeMatrix(D), wholeMatrix(A), wholeMatrix(B), m, n, k, add}
	g.C.rows, g.C.cols, g.C.pitch = m, n, n
	g.D.rows, g.D.cols, g.D.pitch = m, n, n
	c.gemmFit(g)
}

// gemm is one product with all its sizes.
type gemm struct {
	layout     Layout
	C, D, A, B matrix
	m, n, k    int
	add        bool
}

func half(n int) int { return max(64, (n/2+63)/64*64) }

// heavy reports whether a product is too long for one kernel of T1 and comes out the same in halves: it is split along K
// neither whole nor halved. Kernels on matrices are faster.
func (c *Context) heavy(g gemm) bool {
	if c.mostWork == 0 || g.work() <= c.mostWork || g.m <= 64 || c.Device.Tier() == vk.T0 || len(c.matrixTiles(g)) > 0 {
		return false
	}
	g.m -= half(g.m)
	return c.splits(g, gemmTile{}) == 1
}

// work is the product's floating-point operations.
func (g gemm) work() float64 { return 2 * float64(g.m) * float64(g.n) * float64(g.k) }

// gemmFit halves a product until every operand can be bound and no part is heavy, and runs the parts.
func (c *Context) gemmFit(g gemm) {
	over := func(m matrix) bool { return m.Region.Bytes+vk.Align > c.Device.MaxBindingBytes }
	tooBig := map[Layout][3]bool{ // by M, N, K
		NT: {over(g.A), over(g.B), false},
		NN: {over(g.A), false, over(g.B)},
		TN: {false, false, over(g.A) || over(g.B)},
	}[g.layout]
	switch {
	case (tooBig[0] || over(g.C)) && g.m > 64, c.heavy(g):
		c.gemmFit(g.rows(0, half(g.m)))
		c.gemmFit(g.rows(half(g.m), g.m))
	case tooBig[1] && g.n > 64:
		c.gemmFit(g.columns(0, half(g.n)))
		c.gemmFit(g.columns(half(g.n), g.n))
	case tooBig[2] && g.k > 64:
		c.gemmFit(g.depth(0, half(g.k)))
		rest := g.depth(half(g.k), g.k)
		rest.D, rest.add = rest.C, true
		c.gemmFit(rest)
	default:
		c.gemmRun(g)
	}
}

func (g gemm) rows(lo, hi int) gemm {
	n := hi - lo
	g.m, g.C, g.D = n, g.C.part(lo, 0, n, g.n), g.D.part(lo, 0, n, g.n)
	if g.layout == TN {
		g.A = g.A.part(0, lo, g.k, n)
	} else {
		g.A = g.A.part(lo, 0, n, g.k)
	}
	return g
}

func (g gemm) columns(lo, hi int) gemm {
	n := hi - lo
	g.n, g.C, g.D = n, g.C.part(0, lo, g.m, n), g.D.part(0, lo, g.m, n)
	if g.layout == NT {
		g.B = g.B.part(lo, 0, n, g.k)
	} else {
		g.B = g.B.part(0, lo, g.k, n)
	}
	return g
}

func (g gemm) depth(lo, hi int) gemm {
	n := hi - lo
	g.k = n
	switch g.layout {
	case NT:
		g.A, g.B = g.A.part(0, lo, g.m, n), g.B.part(0, lo, g.n, n)
	case NN:
		g.A, g.B = g.A.part(0, lo, g.m, n), g.B.part(lo, 0, n, g.n)
	case TN:
		g.A, g.B = g.A.part(lo, 0, n, g.m), g.B.part(lo, 0, n, g.n)
	}
	return g
}

// splits is the number of ranges of K: as many as keep the device busy, a function of shape and tier alone,
// and not of the number of rows where bits must not depend on it.
func (c *Context) splits(g gemm, t gemmTile) int {
	switch { // one tile for all shapes of a tier
	case t.matrix:
		t.rows, t.cols = splitTile, splitTile
	case c.Device.Tier() != vk.T0:
		t.rows, t.cols = smallTile, smallTile
	}
	if c.RowStable {
		g.m = 1
	}
	tiles := ceilDiv(g.m, t.rows) * ceilDiv(g.n, t.cols)
	n := min(ceilDiv(c.busyTiles(), tiles), g.k/splitDepth, splitMost, c.workspaceFloats()/(g.m*g.n))
	return max(n, 1)
}

func (c *Context) gemmRun(g gemm) {
	t := c.gemmTile(g)
	gx, gy := ceilDiv(g.n, t.cols), ceilDiv(g.m, t.rows)
	z := c.splits(g, t)
	if most := c.workspaceFloats() / (z * g.n); c.RowStable && z > 1 && g.m > most {
		for lo := 0; lo < g.m; lo += most {
			c.gemmRun(g.rows(lo, min(g.m, lo+most)))
		}
		return
	}
	depth := ceilDiv(ceilDiv(g.k, z), 64) * 64
	z = ceilDiv(g.k, depth)
	C, D := g.C, g.D
	if z > 1 {
		C = wholeMatrix(c.scratch(z * g.m * g.n))
		C.pitch = g.n
		D = C
	}
	cSplit := 0
	if z > 1 {
		cSplit = g.m * g.n
	}
	if t.matrix {
		if t.scaled {
			c.recordScales(g)
		}
	} else {
		t.kernel += storage(C.Tensor)
	}
	add := g.add && z == 1
	spec := t.spec(g, C, D, add)
	for y := 0; y < gy; y += maxGroups { // more rows of tiles than a grid holds
		rows := min(maxGroups, gy-y)
		part := g
		if gy > maxGroups {
			part = g.rows(y*t.rows, min(g.m, (y+rows)*t.rows))
			C, D = part.C, part.D
		}
		uses := []use{in(part.A.Tensor), in(part.B.Tensor), in(D.Tensor), {Tensor: C.Tensor, access: vk.Write | readIf(add)}}
		if t.texels {
			if !add { // D is C then, which need not be readable in texels
				uses[2] = uses[0]
			}
			uses[0].texels, uses[1].texels, uses[2].texels = true, true, true
		}
		if t.scaled {
			uses = append(uses, in(c.workspace.scales))
		}
		c.run(launch{kernel: t.kernel, spec: spec, lanes: t.lanes, uses: uses,
			params: []uint32{uint32(part.m), uint32(g.n), uint32(g.k), uint32(g.A.pitch), uint32(g.B.pitch), uint32(D.pitch), uint32(C.pitch), uint32(depth), uint32(cSplit)},
			groups: [3]uint32{uint32(gx), uint32(rows), uint32(z)}, work: part.work()})
	}
	if z > 1 {
		c.reduceSplits(g, C.Tensor, z)
	}
}

func readIf(b bool) vk.Access {
	if b {
		return vk.Read
	}
	return 0
}

// reduceSplits adds the partial products of a split GEMM.
func (c *Context) reduceSplits(g gemm, partial tensors.Tensor, z int) {
	c.run(launch{kernel: "gemm_reduce." + storage(g.C.Tensor), spec: c.flatSpec(flag(g.add)),
		uses:   []use{in(partial), in(g.D.Tensor), {Tensor: g.C.Tensor, access: vk.Write | readIf(g.add)}},
		params: []uint32{uint32(g.m), uint32(g.n), uint32(g.D.pitch), uint32(g.C.pitch), uint32(z)},
		groups: fold(ceilDiv(g.m*g.n, c.flatGroup()))})
}

// scratch is the first n floats of the Context's workspace. Commands that use
// it are ordered by the recorder like all others.
func (c *Context) scratch(n int) tensors.Tensor {
	c.Reserve()
	return c.workspace.sums.View(n)
}

// workspaceFloats is how much of the workspace one kernel can bind.
func (c *Context) workspaceFloats() int {
	return int(min(workspaceBytes, c.Device.MaxBindingBytes-vk.Align)) / 4
}

// Reserve allocates the workspace, which ops otherwise do when they first need it, so that
// the memory plan has it.
func (c *Context) Reserve() {
	if c.workspace.sums.Shape == nil {
		c.workspace.sums = c.Alloc("workspace", tensors.F32, workspaceBytes/4)
		c.workspace.scales = c.Alloc("scales of operands", tensors.I32, 2)
	}
}
