package oracle

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// visible lists the context keys that offset o of a block sees.
func visible(s BlockShape, b Block, o int) []int {
	keys := []int{}
	for j := range s.Seq {
		if s.sees(b, o, j) {
			keys = append(keys, j)
		}
	}
	return keys
}

// TestBlockMaskConformance holds the context sets of cases C14, C15 and C18 of spec.md §19.A.
func TestBlockMaskConformance(t *testing.T) {
	for _, c := range []struct {
		name                string
		seq, window, anchor int
		want                [][]int // per offset
	}{
		{"C14 block 0", 8, 0, 2, [][]int{{0, 1}, {0, 1}, {0, 1}, {0, 1}}},
		{"C14 block 1", 8, 0, 5, [][]int{{0, 1, 2, 3, 4}, {0, 1, 2, 3, 4}, {0, 1, 2, 3, 4}, {0, 1, 2, 3, 4}}},
		{"C15 block 0", 8, 4, 2, [][]int{{0, 1}, {0, 1}, {1}, {}}},
		{"C15 block 1", 8, 4, 5, [][]int{{2, 3, 4}, {3, 4}, {4}, {}}},
		{"C18", 16, 6, 10, [][]int{{5, 6, 7, 8, 9}, {6, 7, 8, 9}, {7, 8, 9}, {8, 9}}},
		{"C21 anchor 0", 8, 0, 0, [][]int{{}, {}, {}, {}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := BlockShape{Seq: c.seq, BlockSize: 4, Window: c.window}
			for o, want := range c.want {
				require.Equal(t, want, visible(s, Block{Anchor: c.anchor}, o), "offset %d", o)
			}
		})
	}
}

// blockInputs holds random inputs of BlockAttention.
type blockInputs struct {
	q, k, v, kc, vc []float64
	blocks          []Block
	s               BlockShape
}

// newBlockInputs draws inputs for batch sequences and the given blocks.
func newBlockInputs(seed uint64, batch int, blocks []Block, s BlockShape) blockInputs {
	rows, kv := len(blocks)*s.BlockSize, s.KVHeads*s.HeadDim
	return blockInputs{
		q: random(seed, rows*s.Heads*s.HeadDim), k: random(seed+1, rows*kv), v: random(seed+2, rows*kv),
		kc: random(seed+3, batch*s.Seq*kv), vc: random(seed+4, batch*s.Seq*kv), blocks: blocks, s: s,
	}
}

func (in blockInputs) forward() (out, lse []float64) {
	return BlockAttention(in.q, in.k, in.v, in.kc, in.vc, in.blocks, in.s)
}

// TestBlockAttentionIsCausalAttentionOverItsKeys checks the last row of a block of one row, with
// anchor a, against causal attention over context rows 0..a-1 and that row.
func TestBlockAttentionIsCausalAttentionOverItsKeys(t *testing.T) {
	const a, heads, hd = 5, 4, 3
	in := newBlockInputs(1, 1, []Block{{Anchor: a}}, BlockShape{Seq: 8, BlockSize: 1, Heads: heads, KVHeads: 2, HeadDim: hd})
	out, lse := in.forward()
	k := append(append([]float64{}, in.kc[:a*2*hd]...), in.k...)
	v := append(append([]float64{}, in.vc[:a*2*hd]...), in.v...)
	want, wantLSE := CausalAttention(in.q, k, v, CausalShape{Batch: 1, Queries: 1, Past: a, Heads: heads, KVHeads: 2, HeadDim: hd})
	near(t, want, out, 1e-14)
	near(t, wantLSE, lse, 1e-14)
}

// TestBlockAttentionSeparation changes one row at a time and checks who notices: nobody looks at
// the context from the anchor on, at another block or at another sequence; inside a block every
// row sees every row.
func TestBlockAttentionSeparation(t *testing.T) {
	const bs, heads, hd = 3, 2, 2
	blocks := []Block{{0, 4}, {1, 2}, {1, 5}}
	in := newBlockInputs(1, 2, blocks, BlockShape{Seq: 6, BlockSize: bs, Heads: heads, KVHeads: 1, HeadDim: hd})
	before, _ := in.forward()
	moved := func() []bool {
		after, _ := in.forward()
		rows := make([]bool, len(blocks)*bs)
		for r := range rows {
			rows[r] = !equal(before[r*heads*hd:(r+1)*heads*hd], after[r*heads*hd:(r+1)*heads*hd])
		}
		return rows
	}
	for j := range 2 * in.s.Seq {
		old := in.vc[j*hd]
		in.vc[j*hd]++
		for r, m := range moved() {
			b := blocks[r/bs]
			require.Equal(t, b.Batch == j/in.s.Seq && j%in.s.Seq < b.Anchor, m, "context row %d, draft row %d", j, r)
		}
		in.vc[j*hd] = old
	}
	for j := range len(blocks) * bs {
		old := in.v[j*hd]
		in.v[j*hd]++
		for r, m := range moved() {
			require.Equal(t, r/bs == j/bs, m, "draft row %d, draft row %d", j, r)
		}
		in.v[j*hd] = old
	}
}

// TestInvalidBlocks holds case C21: exact zeros, no gradient, and no effect on the others.
func TestInvalidBlocks(t *testing.T) {
	s := BlockShape{Seq: 4, BlockSize: 2, Heads: 2, KVHeads: 1, HeadDim: 3}
	in := newBlockInputs(1, 1, []Block{{0, 3}, {0, -1}}, s)
	out, lse := in.forward()
	size := s.BlockSize * s.Heads * s.HeadDim
	require.Equal(t, make([]float64, size), out[size:])
	require.Equal(t, []float64{0, 0, 0, 0}, lse[4:])
	g := BlockAttentionBackward(random(9, 2*size), out, lse, in.q, in.k, in.v, in.kc, in.vc, in.blocks, s)
	require.Equal(t, make([]float64, size), g.Q[size:])
	require.Equal(t, make([]float64, size/2), g.K[size/2:])
	require.Equal(t, make([]float64, size/2), g.V[size/2:])
	require.Equal(t, []float64{0, 0, 0}, g.ContextK[3*3:], "the anchor's own row is not seen")

	alone, _ := BlockAttention(in.q[:size], in.k[:size/2], in.v[:size/2], in.kc, in.vc, in.blocks[:1], s)
	require.Equal(t, alone, out[:size])
	out, lse = BlockAttention(nil, nil, nil, in.kc, in.vc, nil, s)
	require.Empty(t, out)
	require.Empty(t, lse)
}

func TestBlockAttentionGradients(t *testing.T) {
	// batch, S, bs, nH, nKV, hd, W, then the anchors, of the sequences in turn
	shapes := [][]int{
		{1, 1, 1, 1, 1, 1, 0, 0},
		{1, 3, 2, 1, 1, 2, 0, 2},
		{1, 4, 2, 2, 1, 2, 0, 3, 1},
		{2, 4, 2, 2, 2, 3, 0, 3, 0, -1},
		{1, 6, 3, 4, 2, 2, 3, 5},
		{2, 5, 2, 3, 1, 2, 2, 4, 2, 1},
		{1, 7, 4, 2, 1, 4, 4, 6, -1},
		{2, 3, 1, 6, 3, 1, 0, 2, 2, 1, 0},
		{1, 5, 3, 4, 4, 2, 5, 4, 4},
	}
	eachShape(t, shapes, func(t *testing.T, s []int, seed uint64) {
		var blocks []Block
		for i, anchor := range s[7:] {
			blocks = append(blocks, Block{Batch: i % s[0], Anchor: anchor})
		}
		in := newBlockInputs(seed, s[0], blocks, BlockShape{Seq: s[1], BlockSize: s[2], Heads: s[3], KVHeads: s[4], HeadDim: s[5], Window: s[6]})
		out, lse := in.forward()
		dOut := random(seed+5, len(out))
		loss := func() float64 {
			out, _ := in.forward()
			return dot(dOut, out)
		}
		g := BlockAttentionBackward(dOut, out, lse, in.q, in.k, in.v, in.kc, in.vc, in.blocks, in.s)
		gradCheck(t, "q", in.q, g.Q, loss)
		gradCheck(t, "k", in.k, g.K, loss)
		gradCheck(t, "v", in.v, g.V, loss)
		gradCheck(t, "context k", in.kc, g.ContextK, loss)
		gradCheck(t, "context v", in.vc, g.ContextV, loss)
	})
}
