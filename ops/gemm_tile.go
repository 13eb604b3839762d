package ops

import (
	"fmt"

	"vkdomino/tensors"
	"vkdomino/vk"
)

// Tiles of the GEMM kernels on plain arithmetic.
const (
	t0Columns    = 4   // columns of a lane
	texelColumns = 8   // the same where operands are read in texels; half as many where that leaves fewer lanes idle
	texelWaste   = 16  // half tiles beside one another from which on half of one that is idle does not count
	t1Rows       = 8   // rows of an invocation
	t1SliceBytes = 32  // of K, of a row of an operand
	t1SkewBytes  = 128 // between the parts of a slice in shared memory
)

// gemmTile is a GEMM kernel and the part of C that one of its workgroups computes.
type gemmTile struct {
	name        string // of a kernel that comes in several shapes: tier and shape
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
	list := c.gemmTiles(g)
	switch {
	case c.pick != nil:
		return c.pick(g, list)
	case list == nil:
		return c.cpuTile(g)
	case c.tuning != nil && !c.RowStable && !c.Device.CPU:
		return c.tuned(g, list)
	}
	return c.usualTile(g, list)
}

// gemmTiles lists the kernels among which a device has a choice for a product; nil in T0, where the product's form decides.
func (c *Context) gemmTiles(g gemm) []gemmTile {
	if list := c.matrixTiles(g); len(list) > 0 {
		return list
	}
	if c.Device.Tier() == vk.T0 {
		return nil
	}
	return c.plainTiles(g)
}

// cpuTile is the kernel of a product in T0.
func (c *Context) cpuTile(g gemm) gemmTile {
	names := "." + layoutNames[g.layout] + "." + storage(g.A.Tensor) + "."
	lanes := c.Device.SubgroupSize
	if c.readsTexels(g) {
		tm, columns := texelTile(g, lanes)
		return gemmTile{rows: tm, cols: lanes * columns, kernel: "gemm_texel" + names, first: []uint32{uint32(lanes), uint32(tm)}, rest: []uint32{uint32(columns / 4)}, texels: true}
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

// texelTile is the tile of gemm_texel for a product: its rows, and the columns of a lane. A tile half as wide and twice as high
// has as many sums. It is better where the last tile would be half empty, and for large subgroups in NT, where each column takes
// a fetch of its own. The width is no function of M, as the splits along K, and with them the bits, depend on it.
func texelTile(g gemm, lanes int) (rows, columns int) {
	rows, columns = 2*lanes, texelColumns
	wide, narrow := ceilDiv(g.n, lanes*texelColumns), ceilDiv(g.n, lanes*texelColumns/2)
	if g.layout == NT && lanes > 8 || narrow < min(2*wide, texelWaste) {
		rows, columns = 4*lanes, texelColumns/2
	}
	least := lanes
	if g.layout == TN {
		least *= 2
	}
	for rows > least && rows/2 >= g.m {
		rows /= 2
	}
	return rows, columns
}

// plainShape is how a product in T1 is divided: the tile of a workgroup, and the columns of an invocation.
type plainShape struct{ bm, bn, columns int }

// plainShapes are those of gemm_t1, the largest first. A shape does not change the order of a sum over K, and so no bits
// (shaders/gemm_t1.comp). The smallest runs on every device.
var plainShapes = []plainShape{{largeTile, largeTile, 8}, {smallTile, smallTile, 4}}

func (s plainShape) invocations() int { return s.bm / t1Rows * (s.bn / s.columns) }

// sharedBytes is what gemm_t1 declares: slices of both operands in f32.
func (s plainShape) sharedBytes(dt tensors.DType) int {
	return 4*(t1SliceBytes/dt.Size())*(s.bm+s.bn) + 2*t1SkewBytes
}

// plainTiles lists the shapes in which gemm_t1 can compute a product.
func (c *Context) plainTiles(g gemm) (list []gemmTile) {
	lanes := 0
	if c.Device.MatrixLanes < c.Device.SubgroupSize { // an Intel device: the sums of larger subgroups outgrow its registers
		lanes = c.Device.MatrixLanes
	}
	for _, s := range plainShapes {
		if s.invocations() <= c.Device.MaxInvocations && s.sharedBytes(g.A.DType) <= c.Device.SharedBytes {
			list = append(list, gemmTile{name: fmt.Sprintf("T1 %dx%d of %dx%d", s.bm, s.bn, t1Rows, s.columns), rows: s.bm, cols: s.bn, lanes: lanes,
				kernel: "gemm_t1." + layoutNames[g.layout] + "." + storage(g.A.Tensor) + ".",
				first:  []uint32{uint32(s.invocations()), 0}, rest: []uint32{uint32(s.bm), uint32(s.bn), uint32(s.columns)}})
		}
	}
	return list
}

// spec are the specialisation constants of a kernel that writes C (+ D) as a part of g.
func (t gemmTile) spec(g gemm, C, D matrix, add bool) []uint32 {
	flags := []uint32{flag(vectors(g.A.Tensor, g.A.pitch) && g.A.cols%4 == 0), flag(vectors(g.B.Tensor, g.B.pitch) && g.B.cols%4 == 0),
		flag(vectors(C.Tensor, C.pitch) && g.n%4 == 0 && vectors(D.Tensor, D.pitch)), flag(add)}
	if t.matrix {
		flags = []uint32{flag(g.A.aligned()), flag(g.B.aligned()), flag(C.aligned() && D.aligned()), flag(add), flag(C.DType == tensors.BF16)}
	}
	if t.texels {
		flags = append(flags, flag(C.aligned() && g.n%texelColumns == 0))
	}
	return append(append(append([]uint32{}, t.first...), flags...), t.rest...)
}

// aligned reports whether rows start at multiples of 16 bytes.
func (m matrix) aligned() bool {
	each := 16 / m.DType.Size()
	return m.pitch%each == 0 && m.Region.Offset%16 == 0
}

// readsTexels reports whether the operands of a product, and what it is added to, are read in texels: rows are a whole number of them, and
// the driver gains by it.
func (c *Context) readsTexels(g gemm) bool {
	whole := func(m matrix) bool { return m.aligned() && c.texels(m.Tensor, m.cols) }
	return (g.layout != NT || c.Device.FastestTexels) && whole(g.A) && whole(g.B) && (g.layout == NT || g.n%texelColumns == 0) &&
		(!g.add || whole(g.D))
}

// busyTiles is the number of workgroups that keeps a device busy.
func (c *Context) busyTiles() int {
	if c.Device.Tier() == vk.T0 {
		return 4
	}
	return 128
}
