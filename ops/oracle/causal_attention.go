package oracle

import "math"

// CausalShape is the geometry of CausalAttention.
type CausalShape struct {
	Batch   int // sequences, B
	Queries int // query rows per sequence, S
	Past    int // key rows per sequence before the first query (cached), p0; 0 without a cache
	Heads   int // query heads, nH
	KVHeads int // key and value heads, nKV; divides Heads
	HeadDim int // hd
}

// CausalAttention lets query i of each sequence, at position p0+i, attend to keys 0..p0+i:
//
//	out = softmax(q·kᵀ/sqrt(hd)) v        lse = ln Σ exp(q·kᵀ/sqrt(hd))
//
// q, out are [B*S, nH*hd]; k, v are [B*(p0+S), nKV*hd]; lse is [B*S, nH]. Query head g uses KV
// head g/(nH/nKV). There is no gradient: the target is frozen. Source: spec.md §2.3, §5.1.
func CausalAttention(q, k, v []float64, s CausalShape) (out, lse []float64) {
	hd, keys := s.HeadDim, s.Past+s.Queries
	out = make([]float64, s.Batch*s.Queries*s.Heads*hd)
	lse = make([]float64, s.Batch*s.Queries*s.Heads)
	for row := range s.Batch * s.Queries {
		b, i := row/s.Queries, row%s.Queries
		for h := range s.Heads {
			kv := h / (s.Heads / s.KVHeads)
			var ks, vs [][]float64
			for j := range s.Past + i + 1 {
				ks = append(ks, headRow(k, b*keys+j, kv, s.KVHeads, hd))
				vs = append(vs, headRow(v, b*keys+j, kv, s.KVHeads, hd))
			}
			lse[row*s.Heads+h] = attend(headRow(out, row, h, s.Heads, hd), headRow(q, row, h, s.Heads, hd), ks, vs)
		}
	}
	return out, lse
}

// headRow returns the hd values of head h in a row of x, which is [rows, heads*hd].
func headRow(x []float64, row, h, heads, hd int) []float64 {
	at := (row*heads + h) * hd
	return x[at : at+hd]
}

// attend writes one query head's attention over the given keys and values to out and returns the
// logsumexp of its scaled scores. Without keys, out is exactly 0 and so is the value returned.
func attend(out, q []float64, ks, vs [][]float64) float64 {
	clear(out)
	if len(ks) == 0 {
		return 0
	}
	scale := 1 / math.Sqrt(float64(len(q)))
	var sum LogSumExp
	for _, k := range ks {
		sum.Add(scale * dot(q, k))
	}
	lse := sum.Value()
	for j, k := range ks {
		p := math.Exp(scale*dot(q, k) - lse)
		for i := range out {
			out[i] += p * vs[j][i]
		}
	}
	return lse
}

// dot is the inner product of two slices of the same length.
func dot(a, b []float64) float64 {
	sum := 0.0
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}
