package ops

import (
	"fmt"

	"vkdomino/tensors"
	"vkdomino/vk"
)

// matrixShape is how a product on cooperative matrices is divided: rows, columns and depth of a workgroup's
// slice, and for gemm_t2 the rows and columns of a subgroup and the slices in shared memory at a time, for
// gemm_t3 the invocations of a workgroup.
type matrixShape struct{ bm, bn, bk, wm, wn, buffers, invocations int }

// subgroupShapes are those of gemm_t2 that may be chosen, the largest first, and of one size the usual one. A shape does not change the
// order of a sum over K, and so no bits (shaders/gemm_t2.comp).
var subgroupShapes = []matrixShape{
	{256, 128, 32, 64, 64, 1, 0}, {128, 128, 32, 64, 32, 1, 0}, {128, 128, 32, 64, 32, 2, 0}, {128, 128, 32, 64, 64, 1, 0},
	{128, 128, 32, 64, 64, 2, 0}, {128, 128, 64, 64, 32, 1, 0}, {128, 64, 32, 32, 32, 1, 0}, {64, 128, 32, 32, 32, 1, 0},
	{64, 64, 32, 32, 32, 1, 0}, {64, 64, 32, 32, 32, 2, 0}, {64, 64, 64, 32, 32, 1, 0},
	{16, 32, 16, 16, 16, 1, 0}, {32, 32, 32, 32, 32, 1, 0}, {16, 32, 16, 16, 16, 2, 0},
}

// workgroupShapes are those of gemm_t3, the largest first.
var workgroupShapes = []matrixShape{{256, 128, 64, 0, 0, 0, 256}, {128, 256, 64, 0, 0, 0, 256}, {128, 128, 64, 0, 0, 0, 256}, {64, 64, 64, 0, 0, 0, 128}}

// The largest sides of tiles where nothing was measured.
const (
	largeTile = 128
	smallTile = 64
	cpuMost   = 32 // a CPU driver compiles for minutes what a GPU's takes at once
)

const (
	// splitTile is the tile by which a product on matrices is split along K: one for all shapes, so that the
	// choice of a shape changes no bits.
	splitTile    = 128
	unrolledK    = 4  // slices of K that gemm_t3 multiplies in one turn
	scaleVectors = 16 // vectors that an invocation of gemm_scale reads
)

// subgroups is the number of subgroups of a workgroup of gemm_t2.
func (s matrixShape) subgroups() int { return s.bm / s.wm * (s.bn / s.wn) }

// sharedBytes is what gemm_t2 declares: slices of both operands with a vector of padding to a row, or in their place rows of
// the result, as many for each subgroup as a matrix has.
func (s matrixShape) sharedBytes(layout Layout, m vk.Matrix) int {
	slice := func(rows, cols int) int { return 2 * rows * (cols + 8) }
	a, b := slice(s.bm, s.bk), slice(s.bk, s.bn)
	if layout == TN {
		a = slice(s.bk, s.bm)
	}
	if layout == NT {
		b = slice(s.bn, s.bk)
	}
	return max(s.buffers*(a+b), 4*s.subgroups()*m.M*(s.wn+4))
}

// fits reports whether a device can run gemm_t2 in a shape on matrices of a size.
func (s matrixShape) fits(d *vk.Device, layout Layout, m vk.Matrix) bool {
	return s.wm%m.M == 0 && s.wn%m.N == 0 && s.bk%m.K == 0 &&
		s.subgroups()*d.MatrixLanes <= d.MaxInvocations && s.sharedBytes(layout, m) <= d.SharedBytes
}

// fitsWorkgroup reports whether a device can run gemm_t3 in a shape.
func (s matrixShape) fitsWorkgroup(d *vk.Device) bool {
	if max(s.bm, s.bn, s.bk) > d.MatrixDimension || s.invocations > d.MaxInvocations {
		return false
	}
	for _, m := range d.WorkgroupMatrices {
		if m.Invocations == s.invocations && s.bm%m.M == 0 && s.bn%m.N == 0 && s.bk%m.K == 0 {
			return true
		}
	}
	return false
}

// matrixTiles lists the kernels on cooperative matrices that can compute a product: those of the device's tier, and in T3
// those of T2 behind them. Operands must be bf16. Others run as in T1, and so do, where matrices are of f16, rows that must
// not depend on others: the scale of an operand does.
func (c *Context) matrixTiles(g gemm) (list []gemmTile) {
	d := c.Device
	if d.Tier() < vk.T2 || g.A.DType != tensors.BF16 {
		return nil
	}
	if d.Tier() == vk.T3 {
		for _, s := range workgroupShapes {
			if s.fitsWorkgroup(d) {
				list = append(list, workgroupTile(s, g.layout))
			}
		}
	}
	if len(d.Matrices) == 0 || !d.Matrices[0].BF16 && c.RowStable {
		return list
	}
	for _, s := range subgroupShapes {
		if s.fits(d, g.layout, d.Matrices[0]) {
			list = append(list, subgroupTile(s, g.layout, d.Matrices[0], d.MatrixLanes))
		}
	}
	return list
}

func subgroupTile(s matrixShape, layout Layout, m vk.Matrix, lanes int) gemmTile {
	element := "f16"
	if m.BF16 {
		element = "bf16"
	}
	n, name := s.subgroups(), fmt.Sprintf("T2 %dx%dx%d of %dx%d", s.bm, s.bn, s.bk, s.wm, s.wn)
	if s.buffers > 1 {
		name += fmt.Sprintf(" in %d", s.buffers)
	}
	return gemmTile{name: name, rows: s.bm, cols: s.bn,
		matrix: true, scaled: !m.BF16, lanes: lanes,
		kernel: "gemm_t2." + layoutNames[layout] + "." + element + "." + m.Size(),
		first:  []uint32{uint32(n * lanes), uint32(n)},
		rest:   []uint32{uint32(s.bm), uint32(s.bn), uint32(s.bk), uint32(s.wm), uint32(s.wn), uint32(s.buffers)}}
}

func workgroupTile(s matrixShape, layout Layout) gemmTile {
	return gemmTile{name: fmt.Sprintf("T3 %dx%dx%d by %d", s.bm, s.bn, s.bk, s.invocations), rows: s.bm, cols: s.bn, matrix: true,
		kernel: "gemm_t3." + layoutNames[layout],
		first:  []uint32{uint32(s.invocations), 0},
		rest:   []uint32{uint32(s.bm), uint32(s.bn), uint32(s.bk), unrolledK}}
}

// usualTile is the kernel for a product where nothing was measured: the first with a large tile where that gives
// the device enough to do, else with a small one.
func (c *Context) usualTile(g gemm, list []gemmTile) gemmTile {
	if c.RowStable && list[0].matrix { // in T3 a shape may change bits
		g.m = 1
	}
	most := largeTile
	switch tiles := ceilDiv(g.m, splitTile) * ceilDiv(g.n, splitTile); {
	case c.Device.CPU:
		most = cpuMost
	case tiles < c.busyTiles() || g.m <= smallTile || g.n <= smallTile:
		most = smallTile
	}
	for _, t := range list {
		if max(t.rows, t.cols) <= most {
			return t
		}
	}
	return list[len(list)-1]
}

// recordScales records the largest magnitudes of a product's operands into the Context's two words for them.
func (c *Context) recordScales(g gemm) {
	c.Reserve()
	c.Zero(c.workspace.scales)
	for i, x := range []matrix{g.A, g.B} {
		c.recordMagnitude(c.workspace.scales.Slice(i, i+1), x, false)
	}
}

// recordMagnitude raises a word to the bits of the largest magnitude of a bf16 matrix, or the largest that is finite.
func (c *Context) recordMagnitude(word tensors.Tensor, x matrix, finite bool) {
	c.run(launch{kernel: "gemm_scale", spec: c.flatSpec(flag(vectors(x.Tensor, x.pitch) && x.cols%4 == 0), flag(finite)),
		uses:   []use{in(x.Tensor), inout(word)},
		params: []uint32{uint32(x.rows), uint32(x.cols), uint32(x.pitch)},
		groups: fold(ceilDiv(x.rows*ceilDiv(x.cols, 4), c.flatGroup()*scaleVectors)), work: float64(x.rows * x.cols)})
}
