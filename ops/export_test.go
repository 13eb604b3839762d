package ops

import (
	"fmt"
	"slices"

	"vkdomino/tensors"
	"vkdomino/vk"
)

// What tests outside the package see of it.

// MatrixKernels names the kernels on cooperative matrices that compute bf16 products of a layout on the
// Context's device; none below T2.
func (c *Context) MatrixKernels(layout Layout) (names []string) {
	for _, t := range c.matrixTiles(bf16Product(layout)) {
		names = append(names, t.name)
	}
	return names
}

// UseKernel makes products run on the kernel of a name.
func (c *Context) UseKernel(name string) {
	c.pick = func(_ gemm, list []gemmTile) gemmTile {
		for _, t := range list {
			if t.name == name {
				return t
			}
		}
		panic("no kernel " + name)
	}
}

// PlainShapes names the shapes in which a device's T1 computes products of a dtype, and says what a workgroup of each takes:
// invocations and bytes of shared memory.
func PlainShapes(d *vk.Device, dt tensors.DType) (names []string, invocations, shared []int) {
	for i, t := range (&Context{Device: d}).plainTiles(gemm{A: matrix{Tensor: tensors.Tensor{DType: dt}}}) {
		s := plainShape{t.rows, t.cols, int(t.rest[2])}
		names, invocations, shared = append(names, t.name), append(invocations, s.invocations()), append(shared, s.sharedBytes(dt))
		if int(t.first[0]) != invocations[i] {
			panic(t.name)
		}
	}
	return names, invocations, shared
}

// TexelTile is the tile of a product of m x n in subgroups of so many lanes: its rows, and the columns of a lane.
func TexelTile(layout Layout, lanes, m, n int) (rows, columns int) {
	return texelTile(gemm{layout: layout, m: m, n: n}, lanes)
}

// KernelNames lists the modules that the Context has compiled.
func (c *Context) KernelNames() (names []string) {
	for k := range c.kernels {
		names = append(names, k.name)
	}
	return names
}

// ShapeNames names the kernels that a device with matrices of a size can run.
func ShapeNames(d *vk.Device, layout Layout) []string {
	return (&Context{Device: d}).MatrixKernels(layout)
}

// bf16Product is a product of bf16 operands in a layout.
func bf16Product(layout Layout) gemm {
	t := tensors.Tensor{DType: tensors.BF16}
	return gemm{layout: layout, A: matrix{Tensor: t}, B: matrix{Tensor: t}}
}

// TunedKernel is the kernel that the Context's Tuning gives C = op(A) op(B), among those of some names; a name that no kernel
// has stands for one that does not compile, and so do no names.
func (c *Context) TunedKernel(layout Layout, C, A, B tensors.Tensor, names []string) string {
	g := gemm{layout: layout, C: wholeMatrix(C), D: wholeMatrix(C), A: wholeMatrix(A), B: wholeMatrix(B), m: C.Rows(), n: C.Cols(), k: A.Cols()}
	list := slices.DeleteFunc(c.gemmTiles(g), func(t gemmTile) bool { return !slices.Contains(names, t.name) })
	if len(names) == 0 || slices.Contains(names, missingKernel) {
		list = append(list, gemmTile{name: missingKernel, rows: 8, cols: 8, kernel: "gemm_missing."})
	}
	return c.tuned(g, list).name
}

// ProveWith is Prove for the kernels that products run on here, with grids made for tiles of other rows.
func (c *Context) ProveWith(rows func(int) int) error {
	return c.prove(func(g gemm) []gemmTile {
		t := c.gemmTile(g)
		t.name, t.rows = "a kernel", rows(t.rows)
		return []gemmTile{t}
	})
}

// NoteProof notes what ProveTier found of a tier.
func (t *Tuning) NoteProof(tier vk.Tier, reason string) { t.setProof(tier, reason) }

const missingKernel = "missing"

// Pipelines tells apart those that were compiled for measurements.
func (t *Tuning) Pipelines() map[string]string {
	list := map[string]string{}
	for k, p := range t.kernels {
		list[fmt.Sprint(k)] = fmt.Sprintf("%p", p)
	}
	return list
}

// Broken tells apart the failures of kernels that did not compile.
func (t *Tuning) Broken() map[string]string {
	list := map[string]string{}
	for k, err := range t.broken {
		list[k.name] = fmt.Sprintf("%p: %v", err, err)
	}
	return list
}

// Note makes a choice as a measurement does.
func (t *Tuning) Note(class, kernel string) { t.set(class, tunedEntry{Kernel: kernel}) }

// WorkgroupShapes names the kernels of T3 that fit a device.
func WorkgroupShapes(d *vk.Device) (names []string) {
	for _, s := range workgroupShapes {
		if s.fitsWorkgroup(d) {
			names = append(names, workgroupTile(s, NT).name)
		}
	}
	return names
}

// AttentionShapes lists how attention on matrices may be divided on a device, for heads of dim elements: subgroups of a
// workgroup, rows of the stream at a time, and bytes of shared memory.
func AttentionShapes(d *vk.Device, dim int) (list [][3]int) {
	for _, s := range attentionShapes {
		if t := (attentionMatrices{s, d.Matrices[0], d.MatrixLanes, dim, d.CPU}); t.fits(d) {
			list = append(list, [3]int{s.subgroups, s.cols, t.sharedBytes()})
		}
	}
	return list
}

// UseAttentionShape makes attention on matrices run in a shape; in the usual one for none.
func (c *Context) UseAttentionShape(shape ...int) {
	c.shape = nil
	if len(shape) > 0 {
		c.shape = &attentionShape{shape[0], shape[1]}
	}
}

// GPUAttentionTile is the shape of a tile of attention on GPUs without matrices: invocations, rows and invocations side by side over a head.
func GPUAttentionTile(n, dim, sums, most, lanes int) (group, rows, parts int) {
	t := gpuAttentionTile(n, dim, sums, most, lanes)
	return t.group, t.rows, t.parts
}

// CompileHint is compileHint.
var CompileHint = compileHint

// MostWork makes products of more work than most be halved, where they may; it returns what ends that.
func (c *Context) MostWork(most float64) (end func()) {
	was := c.mostWork
	c.mostWork = most
	return func() { c.mostWork = was }
}

// ScanUnits and ScanWork are scanUnits and scanWork.
const (
	ScanUnits = scanUnits
	ScanWork  = scanWork
)
