package ops

import (
	"vkdomino/tensors"
	"vkdomino/vk"
)

// Tiles of the GEMM kernels on plain arithmetic.
const (
	t0Columns    = 4  // columns of a lane
	texelColumns = 8  // the same where operands are read in texels
	t1Tile       = 64 // rows and columns of a workgroup
)

// gemmTile is a GEMM kernel and the part of C that one of its workgroups computes.
type gemmTile struct {
	name        string // of a kernel on cooperative matrices: tier and shape
	rows, cols  int
	kernel      string
	lanes       int      // the subgroup size it is compiled for; 0: the device's
	first, rest []uint32 // specialisation constants before and behind those that every GEMM kernel has
	matrix      bool     // multiplies cooperative matrices
	texels      bool     // reads its operands in texels
	scaled      bool     // of f16, which gemm_scale prepares
}

// gemmTile chooses the kernel of a product.
func (c *Context) gemmTile(g gemm) gemmTile {
	if t, ok := c.matrixTile(g); ok {
		return t
	}
	names := "." + layoutNames[g.layout] + "." + storage(g.A.Tensor) + "."
	if c.Device.Tier() != vk.T0 {
		return gemmTile{rows: t1Tile, cols: t1Tile, kernel: "gemm_t1" + names, first: []uint32{0, 0}}
	}
	lanes := c.Device.SubgroupSize
	if c.readsTexels(g) {
		tm := 2 * lanes
		if g.layout != TN && g.m <= lanes {
			tm = lanes
		}
		return gemmTile{rows: tm, cols: lanes * texelColumns, kernel: "gemm_texel" + names, first: []uint32{uint32(lanes), uint32(tm)}, texels: true}
	}
	step := lanes
	if g.layout == TN {
		step = 4 * lanes
	}
	tm := max(step, 32/step*step)
	for tm > step && tm/2 >= g.m {
		tm = max(step, tm/2/step*step)
	}
	return gemmTile{rows: tm, cols: lanes * t0Columns, kernel: "gemm_t0" + names, first: []uint32{uint32(lanes), uint32(tm)}}
}

// spec are the specialisation constants of a kernel that writes C (+ D) as a part of g.
func (t gemmTile) spec(g gemm, C, D matrix, add bool) []uint32 {
	flags := []uint32{flag(vectors(g.A.Tensor, g.A.pitch) && g.A.cols%4 == 0), flag(vectors(g.B.Tensor, g.B.pitch) && g.B.cols%4 == 0),
		flag(vectors(C.Tensor, C.pitch) && g.n%4 == 0 && vectors(D.Tensor, D.pitch)), flag(add)}
	if t.matrix {
		flags = []uint32{flag(g.A.aligned()), flag(g.B.aligned()), flag(C.aligned() && D.aligned()), flag(add), flag(C.DType == tensors.BF16)}
	}
	if t.texels {
		flags = append(flags, flag(C.aligned() && D.aligned() && g.n%texelColumns == 0))
	}
	return append(append(append([]uint32{}, t.first...), flags...), t.rest...)
}

// aligned reports whether rows start at multiples of 16 bytes.
func (m matrix) aligned() bool {
	each := 16 / m.DType.Size()
	return m.pitch%each == 0 && m.Region.Offset%16 == 0
}

// readsTexels reports whether the operands of a product are read in texels: rows are a whole number of them, and
// the driver gains by it.
func (c *Context) readsTexels(g gemm) bool {
	whole := func(m matrix) bool { return m.aligned() && c.texels(m.Tensor, m.cols) }
	return (g.layout != NT || c.Device.FastestTexels) && whole(g.A) && whole(g.B) && (g.layout == NT || g.n%texelColumns == 0)
}

// busyTiles is the number of workgroups that keeps a device busy.
func (c *Context) busyTiles() int {
	if c.Device.Tier() == vk.T0 {
		return 4
	}
	return 128
}
