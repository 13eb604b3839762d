package oracle

import "math"

// Block is one draft block: the sequence it belongs to and its anchor there.
// An Anchor below 0 marks an invalid block: its output is exactly 0 and it has no gradient.
type Block struct {
	Batch  int // sequence, b
	Anchor int // position of the anchor token; context keys are those before it
}

// BlockShape is the geometry of BlockAttention.
type BlockShape struct {
	Seq       int // context rows per sequence, S
	BlockSize int // rows per block, bs
	Heads     int // query heads, nH
	KVHeads   int // key and value heads, nKV; divides Heads
	HeadDim   int // hd
	Window    int // sliding window W of Model-Optimizer's rule; 0 for full attention
}

// BlockGrads are the gradients of BlockAttention's inputs, shaped as they are.
type BlockGrads struct {
	Q, K, V            []float64 // of the draft rows
	ContextK, ContextV []float64 // of the context rows
}

// sees says whether query offset o of block b may look at context key j of its own sequence:
// j < anchor, and with a window j > anchor + o - W. Source: spec.md §4.3, §4.4.
func (s BlockShape) sees(b Block, o, j int) bool {
	return j < b.Anchor && (s.Window <= 0 || j > b.Anchor+o-s.Window)
}

// keyRows returns KV head h of every row that query offset o of block number n may look at:
// the visible context rows in order, then all rows of the block. An invalid block sees none.
func (s BlockShape) keyRows(context, draft []float64, n int, b Block, o, h int) [][]float64 {
	if b.Anchor < 0 {
		return nil
	}
	var rows [][]float64
	for j := range s.Seq {
		if s.sees(b, o, j) {
			rows = append(rows, headRow(context, b.Batch*s.Seq+j, h, s.KVHeads, s.HeadDim))
		}
	}
	for j := range s.BlockSize {
		rows = append(rows, headRow(draft, n*s.BlockSize+j, h, s.KVHeads, s.HeadDim))
	}
	return rows
}

// each calls f for every block n, offset o and query head h, with the row of q and h's KV head.
func (s BlockShape) each(blocks []Block, f func(n int, b Block, o, row, h, kv int)) {
	for n, b := range blocks {
		for o := range s.BlockSize {
			for h := range s.Heads {
				f(n, b, o, n*s.BlockSize+o, h, h/(s.Heads/s.KVHeads))
			}
		}
	}
}

// BlockAttention lets every row of a draft block attend to the context strictly before its
// anchor and, in both directions, to its own block:
//
//	out = softmax(q·keysᵀ/sqrt(hd)) values        lse = ln Σ exp(q·keysᵀ/sqrt(hd))
//
// With nb = len(blocks), q and out are [nb*bs, nH*hd]; k and v (draft) are [nb*bs, nKV*hd];
// kc and vc (context, B sequences) are [B*S, nKV*hd]; lse is [nb*bs, nH]. Query head g uses KV head
// g/(nH/nKV). Rows of invalid blocks have out = 0 and lse = 0 exactly.
// Source: spec.md §4.3 to §4.5, §5.1.
func BlockAttention(q, k, v, kc, vc []float64, blocks []Block, s BlockShape) (out, lse []float64) {
	rows := len(blocks) * s.BlockSize
	out, lse = make([]float64, rows*s.Heads*s.HeadDim), make([]float64, rows*s.Heads)
	s.each(blocks, func(n int, b Block, o, row, h, kv int) {
		ks, vs := s.keyRows(kc, k, n, b, o, kv), s.keyRows(vc, v, n, b, o, kv)
		lse[row*s.Heads+h] = attend(headRow(out, row, h, s.Heads, s.HeadDim), headRow(q, row, h, s.Heads, s.HeadDim), ks, vs)
	})
	return out, lse
}

// BlockAttentionBackward returns, with P = exp(q·keysᵀ/sqrt(hd) - lse) and
// dS = P * (dOut·valuesᵀ - rowsum(dOut*out)),
//
//	dQ = dS·keys/sqrt(hd)    dKeys = dSᵀ·q/sqrt(hd)    dValues = Pᵀ·dOut
//
// dKeys and dValues are summed over the query heads that share a KV head, and context rows over
// all blocks that see them. dOut and out are [nb*bs, nH*hd], lse is [nb*bs, nH], the rest is as
// for BlockAttention. Source: spec.md §9.6.
func BlockAttentionBackward(dOut, out, lse, q, k, v, kc, vc []float64, blocks []Block, s BlockShape) BlockGrads {
	g := BlockGrads{
		Q: make([]float64, len(q)), K: make([]float64, len(k)), V: make([]float64, len(v)),
		ContextK: make([]float64, len(kc)), ContextV: make([]float64, len(vc)),
	}
	s.each(blocks, func(n int, b Block, o, row, h, kv int) {
		head := func(x []float64) []float64 { return headRow(x, row, h, s.Heads, s.HeadDim) }
		ks, vs := s.keyRows(kc, k, n, b, o, kv), s.keyRows(vc, v, n, b, o, kv)
		dks, dvs := s.keyRows(g.ContextK, g.K, n, b, o, kv), s.keyRows(g.ContextV, g.V, n, b, o, kv)
		attendBackward(head(g.Q), dks, dvs, head(dOut), head(out), lse[row*s.Heads+h], head(q), ks, vs)
	})
	return g
}

// attendBackward adds the gradients of one query head's attention to dq, dks and dvs.
func attendBackward(dq []float64, dks, dvs [][]float64, dOut, out []float64, lse float64, q []float64, ks, vs [][]float64) {
	scale := 1 / math.Sqrt(float64(len(q)))
	delta := dot(dOut, out)
	for j := range ks {
		p := math.Exp(scale*dot(q, ks[j]) - lse)
		ds := scale * p * (dot(dOut, vs[j]) - delta)
		for i := range q {
			dq[i] += ds * ks[j][i]
			dks[j][i] += ds * q[i]
			dvs[j][i] += p * dOut[i]
		}
	}
}
