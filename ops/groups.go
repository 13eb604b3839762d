package ops

import (
	"slices"

	"vkdomino/tensors"
	"vkdomino/vk"
)

const (
	pieceRows  = 64  // rows that one workgroup adds, at least
	mostPieces = 256 // pieces of that size that all rows make, at most
)

// RowGroups says which of N rows are the same, so that work on rows can be done once for
// each group: on its first row on the way forward, and on the sum of its rows' gradients
// on the way back (GroupSum). Every list is host-visible.
type RowGroups struct {
	Count int            // groups of the uploaded rows
	Of    tensors.Tensor // I32 [N]: the group of each row

	rows   tensors.Tensor // I32 [N]: the rows, group after group
	lists  tensors.Tensor // I32 [groups + pieces, 3]: see group_sum.comp
	pieces int
	each   bool
}

// NewRowGroups allocates the groups of at most rows rows. With each, every row is a group of
// its own, and nothing is saved: for comparison.
func NewRowGroups(c *Context, name string, rows int, each bool) *RowGroups {
	return &RowGroups{
		Of:    c.AllocHost(name+" (groups)", tensors.I32, rows),
		rows:  c.AllocHost(name+" (rows by group)", tensors.I32, rows),
		lists: c.AllocHost(name+" (group lists)", tensors.I32, rows+2*mostPieces, 3),
		each:  each,
	}
}

// Upload groups rows by equal keys and returns the key of each group: ascending, or with each
// as they come. A group of many rows is cut into pieces, whose sums GroupSum adds. What is
// recorded until the next Upload is of these groups.
func (g *RowGroups) Upload(c *Context, keys []int32) []int32 {
	n := len(keys)
	rows := make([]int32, n)
	for i := range rows {
		rows[i] = int32(i)
	}
	if !g.each {
		slices.SortStableFunc(rows, func(a, b int32) int { return int(keys[a]) - int(keys[b]) })
	}
	piece := max(pieceRows, ceilDiv(n, mostPieces))
	var distinct, lists, pieces []int32
	of := make([]int32, n)
	for lo := 0; lo < n; {
		hi := lo + 1
		for hi < n && !g.each && keys[rows[hi]] == keys[rows[lo]] {
			hi++
		}
		for _, row := range rows[lo:hi] {
			of[row] = int32(len(distinct))
		}
		distinct = append(distinct, keys[rows[lo]])
		if hi-lo <= piece {
			lists = append(lists, int32(lo), int32(hi), 0)
		} else {
			first := len(pieces) / 3
			for at := lo; at < hi; at += piece {
				pieces = append(pieces, int32(at), int32(min(at+piece, hi)), 0)
			}
			lists = append(lists, int32(first), int32(len(pieces)/3), 1)
		}
		lo = hi
	}
	g.Count, g.pieces = len(distinct), len(pieces)/3
	c.UploadI32(g.Of.View(n), of)
	c.UploadI32(g.rows.View(n), rows)
	c.UploadI32(g.lists.Slice(0, g.Count+g.pieces), append(lists, pieces...))
	return distinct
}

// GroupSum adds the rows of each group:
//
//	result[g] = Σ_{i: Of[i] = g} x[i]
//
// x is [N, C], the rows that g was uploaded for, result is [Count, C], each F32 or BF16;
// result is overwritten. Sums are f32, in an order fixed by the groups.
func (c *Context) GroupSum(result, x tensors.Tensor, g *RowGroups) {
	const op = "group sum"
	cols := x.Cols()
	c.wantStorage(op, result)
	c.wantStorage(op, x)
	c.want(op, "result", result, g.Count, cols)
	c.wantRows(op, x)
	if g.pieces*cols > workspaceBytes/tensors.F32.Size() {
		c.failf("%s: %s: want at most %d columns for %d partial sums, got %d", op, x.Name, workspaceBytes/tensors.F32.Size()/g.pieces, g.pieces, cols)
	}
	c.Reserve()
	if c.err != nil || c.Dry() || g.Count == 0 || cols == 0 {
		return
	}
	partial := c.scratch(max(1, g.pieces) * cols)
	wide, vector := width(cols, result, x, partial)
	spec, spans := c.rowSpec(flag(vector)), 1
	if c.Device.Tier() != vk.T0 { // few lists: the columns are shared among workgroups
		spans = ceilDiv(cols, wide*c.flatGroup())
		spec = c.flatSpec(flag(vector), uint32(spans), flag(true))
	}
	sum := func(to use, lists tensors.Tensor) {
		between := in(partial)
		if to.Region == partial.Region {
			between = to // bound, not read
		}
		n := lists.Rows()
		c.run(launch{kernel: "group_sum." + storage(x) + "." + storage(to.Tensor), spec: spec,
			uses:   []use{to, in(x), between, in(g.rows), in(lists)},
			params: []uint32{uint32(n), uint32(cols)}, groups: fold(n * spans), work: flatWork * float64(x.Len())})
	}
	if g.pieces > 0 {
		sum(out(partial), g.lists.Slice(g.Count, g.Count+g.pieces))
	}
	sum(out(result), g.lists.Slice(0, g.Count))
}
