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
	sumLanes     = 2    // times as many on GPUs, where lanes of a workgroup share the rows of a sum
	normAcross   = 32   // invocations of such a workgroup side by side over the columns, at most
	sumAcross    = 8    // the same where the partial sums are added
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
		c.normRows("rmsnorm_forward."+storage(x), []use{out(y), out(s.elements(rstd)), read(part), read(weight)}, []tensors.Tensor{y, part, weight}, s.hi-s.lo, nil, f32bits(eps))
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
		c.normRows("rmsnorm_backward."+storage(x), []use{write, read(dOutPart), read(xPart), read(rstdPart), read(weight)},
			[]tensors.Tensor{dInPart, dOutPart, xPart, weight}, rows, []uint32{flag(accumulate)})
	}
}

// normGroup is the workgroup for norms of cols elements, wide at a time: its size and subgroups, and
// the rows that it handles at a time. On a CPU rows that are shorter than a subgroup share one.
func (c *Context) normGroup(cols, wide int) (size, subgroups, parts int) {
	lanes := c.Device.SubgroupSize
	if n := cols / wide; c.Device.CPU && wide > 1 && n < lanes && n&(n-1) == 0 {
		return lanes, 1, lanes / n
	}
	if cols <= 2*fourWide*lanes {
		return lanes, 1, 1
	}
	size, subgroups = c.rowGroup()
	return size, subgroups, 1
}

// normRows runs a kernel of norm.glsl over rows, the tensors of which are listed; extra are its own
// specialisation constants.
func (c *Context) normRows(kernel string, uses []use, list []tensors.Tensor, rows int, extra []uint32, params ...uint32) {
	cols := list[0].Cols()
	wide, vector, variant := c.wide(uses, cols, list...)
	size, subgroups, parts := c.normGroup(cols, wide)
	items := 0
	if n := ceilDiv(cols, wide*size/parts); vector && n <= normItems*fourWide/wide {
		for items = 1; items < n; items *= 2 {
		}
	}
	rowsPerGroup := 1
	if c.Device.Tier() == vk.T0 {
		rowsPerGroup = max(parts, normElements/cols)
	}
	c.run(launch{kernel: kernel + variant, uses: uses,
		spec:   append([]uint32{uint32(size), uint32(subgroups), flag(vector), uint32(items), uint32(parts), flag(c.Device.CPU)}, extra...),
		params: append([]uint32{uint32(rows), uint32(cols), uint32(rowsPerGroup)}, params...),
		groups: fold(ceilDiv(rows, rowsPerGroup)), work: flatWork * float64(rows) * float64(cols)})
}

// normWeight adds Σ_rows dOut * x * rstd to dWeight: partial sums over ranges of rows, then their sum, in an order fixed by
// the shape and the device.
func (c *Context) normWeight(dWeight, dOut, x, rstd tensors.Tensor) {
	rows, cols := x.Rows(), x.Cols()
	most := sumPartials
	if c.Device.Tier() != vk.T0 {
		most *= sumLanes
	}
	most = max(1, min(most, ceilDiv(rows, sumRows), workspaceBytes/tensors.F32.Size()/cols))
	rowsPerGroup := ceilDiv(rows, most)
	count := ceilDiv(rows, rowsPerGroup)
	partial := c.scratch(count*cols).View(count, cols)
	uses := []use{out(partial), read(dOut), read(x), read(rstd)}
	wide, vector, variant := c.wide(uses, cols, dOut, x, partial)
	spec, groups := c.laneSpec(count, ceilDiv(cols, wide), normAcross, vector)
	c.run(launch{kernel: "rmsnorm_weight." + storage(x) + variant, spec: spec, uses: uses,
		params: []uint32{uint32(rows), uint32(cols), uint32(rowsPerGroup)},
		groups: groups, work: flatWork * float64(x.Len())})
	c.columnSum(dWeight, partial)
}

// columnSum adds the rows of partial to sum, in an order fixed by the shape and the device.
func (c *Context) columnSum(sum, partial tensors.Tensor) {
	count, cols := partial.Rows(), partial.Cols()
	wide, vector := width(cols, sum, partial)
	spec, groups := c.laneSpec(1, ceilDiv(cols, wide), sumAcross, vector)
	c.run(launch{kernel: "column_sum", spec: spec, uses: []use{inout(sum), in(partial)},
		params: []uint32{uint32(cols), uint32(count)}, groups: groups})
}

// laneSpec are the specialisation constants of kernels that include lanes.glsl, and the grid for so many sums of items vectors,
// of which a workgroup has most or fewer side by side.
func (c *Context) laneSpec(sums, items, most int, vector bool) (spec []uint32, groups [3]uint32) {
	if c.Device.Tier() == vk.T0 {
		return c.flatSpec(flag(vector), 1), fold(ceilDiv(sums*items, c.flatGroup()))
	}
	across := min(most, upToPower(items))
	size, _ := c.rowGroup()
	return c.rowSpec(flag(vector), uint32(size/across)), fold(sums * ceilDiv(items, across))
}
