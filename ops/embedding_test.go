package ops_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

func TestEmbedding(t *testing.T) {
	sizes := [][]int{{0, 1, 5, 64, 257}, {1, 7, 1000}, {1, 8, 31, 128, 1024}}
	for _, dt := range storages {
		t.Run(dt.String(), func(t *testing.T) {
			r := newRig(t, 1)
			for _, s := range oracle.SweepOf(sizes, 11, 40, 1<<22) {
				n, vocabulary, cols := s[0], s[1], s[2]
				table, v := r.input(dt, vocabulary, cols)
				ids := make([]int, n)
				for i := range ids {
					ids[i] = r.random.IntN(vocabulary)
				}
				result := r.tensor(dt, 0, n, cols)
				r.c.Embedding(result, table, r.indices(ids...))
				r.submit()
				r.near(result, oracle.Embedding(v, ids, cols), exact, s)
				r.clear()
			}
		})
	}
}

// TestEmbeddingOfALargeTable walks a table in parts, the first and the last token of each among the ids,
// and zeros for ids outside.
func TestEmbeddingOfALargeTable(t *testing.T) {
	const cols, vocabulary = 32, 1000
	r := newRig(t, 2)
	table, v := r.input(tensors.BF16, vocabulary, cols)
	r.bindings(10 << 10)
	var ids []int
	for id := -2; id < vocabulary+2; id += 3 {
		ids = append(ids, id)
	}
	ids = append(ids, 0, vocabulary-1, vocabulary, -1, 1<<31-1, -1<<31)
	result := r.tensor(tensors.BF16, 0, len(ids), cols)
	r.c.Embedding(result, table, r.indices(ids...))
	r.submit()
	inside := append([]int{}, ids...)
	for i, id := range ids {
		if id >= vocabulary {
			inside[i] = -1
		}
	}
	r.near(result, oracle.GatherRows(v, inside, cols), exact)
}

func TestEmbeddingErrors(t *testing.T) {
	r := newRig(t, 3)
	table, ids := r.tensor(tensors.F32, 0, 4, 8), r.indices(0, 1)
	r.c.Embedding(r.tensor(tensors.F32, 0, 2, 7), table, ids)
	require.ErrorContains(t, r.c.Submit(), "ops: embedding: result: want [2 8], got [2 7]")
	r.c.Embedding(r.tensor(tensors.BF16, 0, 2, 8), table, ids)
	require.ErrorContains(t, r.c.Submit(), "ops: embedding: tensor: want dtype BF16, got F32")
	r.c.Embedding(r.tensor(tensors.F32, 0, 2, 8), table.View(32), ids)
	require.ErrorContains(t, r.c.Submit(), "ops: embedding: table: want [V, C], got [32]")
}
