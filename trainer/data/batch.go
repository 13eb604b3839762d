package data

import (
	"slices"
	"sync"
)

// mix is the SplitMix64 finaliser of spec.md §3.5.
func mix(x uint64) uint64 {
	x += 0x9E3779B97F4A7C15
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

// orderKey keeps the keys of the order apart from those of other draws with the
// same seed: the bytes of "order".
const orderKey = 0x6f72646572

// Order returns the order of n rows in an epoch: a Fisher-Yates shuffle whose
// i-th draw is the key mix(mix(mix(mix(seed) XOR "order") XOR epoch) XOR i), so
// that it depends on nothing but seed, epoch and n.
func Order(seed uint64, epoch, n int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	stream := mix(mix(mix(seed)^orderKey) ^ uint64(epoch))
	for i := n - 1; i > 0; i-- {
		j := int(mix(stream^uint64(i)) % uint64(i+1))
		order[i], order[j] = order[j], order[i]
	}
	return order
}

// lastOrder keeps the order that was asked for last: the micro-batches of an epoch share one,
// which takes tens of milliseconds to make for a million rows. Several goroutines may ask.
type lastOrder struct {
	mu       sync.Mutex
	seed     uint64
	epoch, n int
	rows     []int // nil before the first
}

// part is Order(seed, epoch, n)[first:first+count], which the caller may change.
func (o *lastOrder) part(seed uint64, epoch, n, first, count int) []int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.rows == nil || o.seed != seed || o.epoch != epoch || o.n != n {
		o.seed, o.epoch, o.n, o.rows = seed, epoch, n, Order(seed, epoch, n)
	}
	return slices.Clone(o.rows[first : first+count])
}

// Batch is B rows padded on the right to S tokens, row-major [B, S].
type Batch struct {
	B, S      int
	IDs       []int32   // padded with the pad token's id, 0 if there is none
	LossMask  []float32 // 1 where a token is supervised; without answer-only on padding too (spec.md §7.1)
	Attention []bool    // true where a token is no padding
	Lengths   []int     // tokens of each row before padding
	Rows      []int     // index of each row in Dataset.Rows
	Epoch     int
}

// StepsPerEpoch returns the micro-batches of an epoch; rows that do not fill a
// batch are dropped.
func (d *Dataset) StepsPerEpoch(batch int) int { return len(d.Rows) / batch }

// Batch returns the micro-batch with a global index, counted from the start of
// training through all epochs. It is a pure function of its arguments and the
// rows: a resumed run asks for the same index. There must be at least batch
// rows, which Load checks with MinRows.
func (d *Dataset) Batch(index, batch int, seed uint64) Batch {
	perEpoch := d.StepsPerEpoch(batch)
	b := Batch{
		B: batch, S: d.SeqLen, Epoch: index / perEpoch,
		IDs:       make([]int32, batch*d.SeqLen),
		LossMask:  make([]float32, batch*d.SeqLen),
		Attention: make([]bool, batch*d.SeqLen),
		Lengths:   make([]int, batch),
	}
	first := index % perEpoch * batch
	b.Rows = d.order.part(seed, b.Epoch, len(d.Rows), first, batch)
	for i, at := range b.Rows {
		b.fill(i, d.Rows[at], d)
	}
	return b
}

func (b *Batch) fill(i int, row Row, d *Dataset) {
	b.Lengths[i] = len(row.IDs)
	for t := range b.S {
		at := i*b.S + t
		if t >= len(row.IDs) {
			b.IDs[at], b.LossMask[at] = d.PadID, d.PadLoss
			continue
		}
		b.IDs[at] = row.IDs[t]
		b.LossMask[at] = float32(row.LossMask[t])
		b.Attention[at] = true
	}
}
