package ops

import (
	"vkdomino/tensors"
	"vkdomino/vk"
)

// SegmentRows is the largest number of query rows in a segment of CausalAttention.
const SegmentRows = 8

// CausalSegments cuts the query rows of a batch into segments for
// CausalAttention. Sequence b has rowsOf[b] query rows, the first of them at position
// start[b], and its keys begin at row base[b]; the query rows of all sequences follow one
// another. It returns four numbers for each segment: its first query row, its number of
// rows, base and the position of its first row. Source: spec.md §14.1, §14.2.
func CausalSegments(rowsOf, start, base []int) []int32 {
	var list []int32
	row := 0
	for b, rows := range rowsOf {
		for i := 0; i < rows; i += SegmentRows {
			list = append(list, int32(row+i), int32(min(SegmentRows, rows-i)), int32(base[b]), int32(start[b]+i))
		}
		row += rows
	}
	return list
}

// CausalAttention lets each query row attend to its own position and those before it in a cache:
//
//	out = softmax(q·kᵀ/√hd) v
//
// q and out are [rows, nH*hd], and out overlaps no operand; k and v are [keys, nKV*hd]: position j of a
// sequence is row base + j. All have one dtype, F32 or BF16. The first n rows
// of segments [.., 4] I32 are segments as CausalSegments makes them: query row i
// of a segment sees keys 0 to position + i of its sequence, which the caller warrants to
// exist. longest is about how many keys the longest sequence has. Query rows in no segment are left as they are. There is no gradient:
// the target is frozen. Source: spec.md §2.3, §5.1, §14.1.
func (c *Context) CausalAttention(out, q, k, v, segments tensors.Tensor, n, longest int, h Heads) {
	const op = "causal attention"
	c.wantDType(op, tensors.I32, segments)
	if !c.wantHeads(op, h) || !c.want(op, "q", q, q.Rows(), h.Query*h.Dim) || !c.want(op, "out", out, q.Shape...) ||
		!c.want(op, "k", k, k.Rows(), h.KV*h.Dim) || !c.want(op, "v", v, k.Shape...) || !c.want(op, "segments", segments, segments.Rows(), 4) ||
		!c.wantRows(op, q, k, v, out) {
		return
	}
	if n < 0 || n > segments.Rows() {
		c.failf("%s: want at most %d segments, got %d", op, segments.Rows(), n)
	}
	if n == 0 || q.Rows() == 0 {
		return
	}
	work := 4 * float64(n*SegmentRows*h.Query*h.Dim) * float64(longest) / 2
	if shapes := c.attentionMatrices(h.Dim, q, k, v, out); len(shapes) > 0 {
		c.causalAttentionMatrix(shapes, out, q, k, v, segments, n, longest, h, work)
		return
	}
	rows := SegmentRows * h.share()
	t := c.attentionTile(rows, h, 1)
	c.attend(t, "causal_attention", h.vectors(q, k, v, out), false, launch{kernel: "forward." + storage(q),
		uses:   []use{operand(q), operand(k), operand(v), in(segments), {Tensor: out, access: vk.ReadWrite}},
		params: h.params(n, SegmentRows, longest, 0), groups: fold(h.KV * n * ceilDiv(rows, t.rows)), work: work})
}
