package ops

import (
	"vkdomino/tensors"
	"vkdomino/vk"
)

const (
	normItems    = 8    // fours of a row that an invocation holds in registers, at most
	normElements = 1024 // elements of a workgroup on a CPU: several short rows
	sumRows      = 32   // rows of a partial column sum, at least
	sumPartials  = 256  // partial column sums, at most
)

// RMSNorm writes result = weight * round(x * rstd) with rstd = (mean(x²)+eps)^(-1/2), row by row;
// round is to the storage dtype, statistics are f32.
// result and x are [N, C], weight is [C], all F32 or all BF16; rstd is [N] F32,
// kept for RMSNormBackward. result and rstd are overwritten; result may be x.
// Norms per head are the same on a view [N*heads, hd]. Source: spec.md §5.2.
func (c *Context) RMSNorm(result, rstd, x, weight tensors.Tensor, eps float64) {
	n, cols := x.Rows(), x.Cols()
	c.wantStorage("rmsnorm", x)
	c.wantLike("rmsnorm", x, result)
	c.wantDType("rmsnorm", x.DType, weight)
	c.wantDType("rmsnorm", tensors.F32, rstd)
	c.want("rmsnorm", "weight", weight, cols)
	if c.err != nil || x.Len() == 0 || !c.want("rmsnorm", "rstd", rstd, n) || c.Dry() {
		return
	}
	for _, s := range c.chunks(n, cols*x.DType.Size()) {
		y, part := s.rows(result.View(n, cols)), s.rows(x)
		_, vector := width(cols, y, part, weight)
		c.normRows("rmsnorm_forward."+storage(x), []use{out(y), out(s.elements(rstd)), in(part), in(weight)}, vector, s.hi-s.lo, cols, nil, f32bits(eps))
	}
}

// RMSNormBackward writes, with u = dOut * weight,
//
//	dIn     = rstd * (u - x * rstd² * mean(u*x))
//	dWeight += Σ_rows dOut * x * rstd
//
// dIn, dOut, x are [N, C], weight is [C], all F32 or all BF16; rstd is [N] F32
// from RMSNorm; dWeight is [C] F32. dIn is overwritten, or added to with
// accumulate; it may be dOut; a zero Tensor says that it is not wanted.
// Source: spec.md §9.6.
func (c *Context) RMSNormBackward(dIn, dWeight, dOut, x, rstd, weight tensors.Tensor, accumulate bool) {
	n, cols := x.Rows(), x.Cols()
	c.wantStorage("rmsnorm backward", x)
	c.wantLike("rmsnorm backward", x, dOut)
	if dIn.Shape != nil {
		c.wantLike("rmsnorm backward", x, dIn)
	}
	c.wantDType("rmsnorm backward", x.DType, weight)
	c.wantDType("rmsnorm backward", tensors.F32, rstd, dWeight)
	c.want("rmsnorm backward", "weight", weight, cols)
	c.want("rmsnorm backward", "dWeight", dWeight, cols)
	c.scratch(1) // a dry context counts the workspace
	if c.err != nil || x.Len() == 0 || !c.want("rmsnorm backward", "rstd", rstd, n) || c.Dry() {
		return
	}
	for _, s := range c.chunks(n, cols*x.DType.Size()) {
		rows := s.hi - s.lo
		dOutPart, xPart, rstdPart := s.rows(dOut.View(n, cols)), s.rows(x.View(n, cols)), s.elements(rstd)
		c.normWeight(dWeight, dOutPart, xPart, rstdPart)
		if dIn.Shape == nil {
			continue
		}
		dInPart := s.rows(dIn.View(n, cols))
		write := out(dInPart)
		if accumulate {
			write = inout(dInPart)
		}
		_, vector := width(cols, dInPart, dOutPart, xPart, weight)
		c.normRows("rmsnorm_backward."+storage(x), []use{write, in(dOutPart), in(xPart), in(rstdPart), in(weight)}, vector, rows, cols, []uint32{flag(accumulate)})
	}
}

// normGroup is the workgroup size and number of subgroups for norms of cols elements.
func (c *Context) normGroup(cols int) (size, subgroups int) {
	if lanes := c.Device.SubgroupSize; cols <= 2*fourWide*lanes {
		return lanes, 1
	}
	return c.rowGroup()
}

// normRows runs a kernel of row.glsl over rows of cols elements; extra are its own specialisation constants.
func (c *Context) normRows(kernel string, uses []use, vector bool, rows, cols int, extra []uint32, params ...uint32) {
	size, subgroups := c.normGroup(cols)
	items := 0
	if n := ceilDiv(cols, fourWide*size); vector && n <= normItems {
		for items = 1; items < n; items *= 2 {
		}
	}
	rowsPerGroup := 1
	if c.Device.Tier() == vk.T0 {
		rowsPerGroup = max(1, normElements/cols)
	}
	c.run(launch{kernel: kernel, uses: uses,
		spec:   append([]uint32{uint32(size), uint32(subgroups), flag(vector), uint32(items)}, extra...),
		params: append([]uint32{uint32(rows), uint32(cols), uint32(rowsPerGroup)}, params...),
		groups: fold(ceilDiv(rows, rowsPerGroup)), work: flatWork * float64(rows) * float64(cols)})
}

// normWeight adds Σ_rows dOut * x * rstd to dWeight: partial sums over ranges of rows, then their sum, in an order fixed by the shape.
func (c *Context) normWeight(dWeight, dOut, x, rstd tensors.Tensor) {
	rows, cols := x.Rows(), x.Cols()
	most := max(1, min(sumPartials, ceilDiv(rows, sumRows), workspaceBytes/tensors.F32.Size()/cols))
	rowsPerGroup := ceilDiv(rows, most)
	count := ceilDiv(rows, rowsPerGroup)
	partial := c.scratch(count*cols).View(count, cols)
	wide, vector := width(cols, dOut, x, partial)
	c.run(launch{kernel: "rmsnorm_weight." + storage(x), spec: c.flatSpec(flag(vector)),
		uses:   []use{out(partial), in(dOut), in(x), in(rstd)},
		params: []uint32{uint32(rows), uint32(cols), uint32(rowsPerGroup)},
		groups: [3]uint32{uint32(ceilDiv(cols, wide*c.flatGroup())), uint32(count), 1}, work: flatWork * float64(x.Len())})
	c.columnSum(dWeight, partial)
}

// columnSum adds the rows of partial to sum, in order.
func (c *Context) columnSum(sum, partial tensors.Tensor) {
	count, cols := partial.Rows(), partial.Cols()
	wide, vector := width(cols, sum, partial)
	c.run(launch{kernel: "column_sum", spec: c.flatSpec(flag(vector)), uses: []use{inout(sum), in(partial)},
		params: []uint32{uint32(cols), uint32(count)}, groups: fold(ceilDiv(cols, wide*c.flatGroup()))})
}
