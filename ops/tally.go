package ops

import (
	"fmt"
	"strings"

	"vkdomino/tensors"
	"vkdomino/vk"
)

// Tally counts the kernels that a counting Context was asked for.
type Tally struct {
	Runs map[string]int     // by kernel
	Work map[string]float64 // by kernel, floating-point operations
}

func (t *Tally) add(kernel string, work float64) {
	t.Runs[kernel]++
	t.Work[kernel] += work
}

// Matrix is the sum of the matrix kernels' floating-point operations, of those whose name has part in it.
func (t *Tally) Matrix(part string) float64 {
	sum := 0.0
	for kernel, work := range t.Work {
		if MatrixKernel(kernel) && strings.Contains(kernel, part) {
			sum += work
		}
	}
	return sum
}

// MatrixKernel reports whether a kernel multiplies matrices: its Work is then a count of floating-point
// operations, 2 of each multiplication and addition. That of other kernels only estimates their time.
func MatrixKernel(name string) bool {
	return strings.HasPrefix(name, "gemm") || strings.Contains(name, "attention")
}

// GemmTile describes the kernel that Gemm chooses for C = op(A) op(B): its tile's rows and columns,
// and where it comes in several shapes its tier and shape.
func (c *Context) GemmTile(layout Layout, C, A, B tensors.Tensor) string {
	k := A.Cols()
	if layout == TN {
		k = A.Rows()
	}
	t := c.gemmTile(gemm{layout, wholeMatrix(C), wholeMatrix(C), wholeMatrix(A), wholeMatrix(B), C.Rows(), C.Cols(), k, false})
	if t.name != "" {
		return t.name
	}
	return fmt.Sprintf("%dx%d", t.rows, t.cols)
}

// NewCounting returns a Context that allocates and runs nothing, and counts the kernels that the
// ops would run on a device with these properties.
func NewCounting(info vk.Info) (*Context, *Tally) {
	t := &Tally{Runs: map[string]int{}, Work: map[string]float64{}}
	c := &Context{Device: &vk.Device{Info: info}, tally: t}
	c.limitWork()
	return c, t
}
