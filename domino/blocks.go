package domino

import (
	"cmp"
	"slices"

	"vkdomino/internal/fail"
)

// Block is one kept block of a micro-batch.
type Block struct {
	Row    int32 // batch row b
	Anchor int32 // absolute position of the anchor token, 0..S-1
	Slot   int32 // index n in Anchors, 0..N-1: where the block stood before compaction
}

// Layout is the compact list of blocks that the device runs. Draft row q = i*BlockSize + k is
// position k of Blocks[i]. Blocks are sorted by batch row, then by anchor, so that the blocks
// which see context position j of a row are those from the first anchor above j to the row's
// end (spec.md §9.6). Blocks with keep false are not in it (§4.5).
type Layout struct {
	Batch, SeqLen, BlockSize int

	Blocks   []Block
	RowStart []int32 // [B+1]: the blocks of row b are Blocks[RowStart[b]:RowStart[b+1]]

	// ContextStart [B+1]: the context rows of batch row b are ContextStart[b] to
	// ContextStart[b+1]-1, of its positions 0, 1, 2, …; see ContextRows.
	ContextStart []int32

	NoiseIDs   []int32 // [Q]: the anchor token at k = 0, mask_token_id after it. §4.1
	Positions  []int32 // [Q]: anchor + k, may exceed S-1 by up to BlockSize-1. §4.2
	TeacherIDs []int32 // [Q]: input_ids[b, min(anchor+k, S-1)], what the GRU consumes. §6.1
}

// NewLayout compacts anchors. inputIDs is [B*S]. Within a row blocks are ordered by anchor,
// equal anchors by slot. Errors: sizes that do not fit, a kept anchor outside 0..S-1.
// Source: spec.md §4.1, §4.2, §4.5, §6.1.
func NewLayout(anchors Anchors, inputIDs []int32, B, S, blockSize int, maskTokenID int32) (*Layout, error) {
	if err := checkLen("blocks: input_ids", len(inputIDs), B*S); err != nil {
		return nil, err
	}
	if err := checkLen("blocks: anchors", len(anchors.Anchor), B*anchors.N); err != nil {
		return nil, err
	}
	if err := checkLen("blocks: keep", len(anchors.Keep), B*anchors.N); err != nil {
		return nil, err
	}
	l := &Layout{Batch: B, SeqLen: S, BlockSize: blockSize, RowStart: make([]int32, 1, B+1)}
	for b := range B {
		row, err := keptBlocks(anchors, b, S)
		if err != nil {
			return nil, err
		}
		l.Blocks = append(l.Blocks, row...)
		l.RowStart = append(l.RowStart, int32(len(l.Blocks)))
	}
	l.fill(inputIDs, maskTokenID)
	l.packContext(l.ContextRows())
	return l, nil
}

// packContext lays out the context rows: so many of each batch row.
func (l *Layout) packContext(rows []int32) {
	l.ContextStart = make([]int32, 1, l.Batch+1)
	for b, n := range rows {
		l.ContextStart = append(l.ContextStart, l.ContextStart[b]+n)
	}
}

// KeepContext makes every position of every batch row a context row, as it is without NewLayout's compaction.
func (l *Layout) KeepContext() {
	rows := make([]int32, l.Batch)
	for b := range rows {
		rows[b] = int32(l.SeqLen)
	}
	l.packContext(rows)
}

// ExtendContext adds the context rows that reach to the given positions, b*SeqLen + t.
func (l *Layout) ExtendContext(at []int32) {
	rows := make([]int32, l.Batch)
	for b := range rows {
		rows[b] = int32(l.contextLen(b))
	}
	for _, i := range at {
		b := int(i) / l.SeqLen
		rows[b] = max(rows[b], i%int32(l.SeqLen)+1)
	}
	l.packContext(rows)
}

// contextLen is the number of context rows of batch row b.
func (l *Layout) contextLen(b int) int { return int(l.ContextStart[b+1] - l.ContextStart[b]) }

// Context is the number of context rows, and of the batch row that has most of them.
func (l *Layout) Context() (rows, longest int) {
	for b := range l.Batch {
		longest = max(longest, l.contextLen(b))
	}
	return int(l.ContextStart[l.Batch]), longest
}

// EachContext calls do for each batch row with its first context row and how many it has.
func (l *Layout) EachContext(do func(b, first, n int)) {
	for b := range l.Batch {
		do(b, int(l.ContextStart[b]), l.contextLen(b))
	}
}

func keptBlocks(anchors Anchors, b, S int) ([]Block, error) {
	var row []Block
	for n := range anchors.N {
		if !anchors.Keep[b*anchors.N+n] {
			continue
		}
		a := anchors.Anchor[b*anchors.N+n]
		if a < 0 || int(a) >= S {
			return nil, fail.New(fail.Other, "", "domino: blocks: anchors[%d,%d]: want 0 to %d, got %d", b, n, S-1, a)
		}
		row = append(row, Block{Row: int32(b), Anchor: a, Slot: int32(n)})
	}
	slices.SortStableFunc(row, func(x, y Block) int { return cmp.Compare(x.Anchor, y.Anchor) })
	return row, nil
}

func (l *Layout) fill(inputIDs []int32, maskTokenID int32) {
	Q := l.DraftRows()
	l.NoiseIDs, l.Positions, l.TeacherIDs = make([]int32, Q), make([]int32, Q), make([]int32, Q)
	for i, blk := range l.Blocks {
		ids := inputIDs[int(blk.Row)*l.SeqLen:][:l.SeqLen]
		for k := range l.BlockSize {
			q := i*l.BlockSize + k
			l.NoiseIDs[q] = maskTokenID
			l.Positions[q] = blk.Anchor + int32(k)
			l.TeacherIDs[q] = ids[min(int(blk.Anchor)+k, l.SeqLen-1)]
		}
		l.NoiseIDs[i*l.BlockSize] = ids[blk.Anchor]
	}
}

// DraftRows is the number of draft rows, len(Blocks) * BlockSize.
func (l *Layout) DraftRows() int { return len(l.Blocks) * l.BlockSize }

// ContextRows returns for each batch row how many context positions any of its blocks sees:
// its largest anchor, 0 without blocks. Keys and values beyond are never read. Source: spec.md §9.6.
func (l *Layout) ContextRows() []int32 {
	out := make([]int32, l.Batch)
	for b := range out {
		if end := l.RowStart[b+1]; end > l.RowStart[b] {
			out[b] = l.Blocks[end-1].Anchor
		}
	}
	return out
}

// Allowed says whether draft row q may attend to key j of its own batch row, where keys
// 0..S-1 are the context and key S + q' is draft row q':
//
//	context  j < anchor, and with a window W > 0 also j > anchor + k - W
//	draft    q' in the same block, in both directions
//
// It is the reference that attention kernels are tested against. window 0 is full attention,
// otherwise Model-Optimizer's sliding window. Source: spec.md §4.3, §4.4.
func (l *Layout) Allowed(q, j, window int) bool {
	if q < 0 || q >= l.DraftRows() || j < 0 {
		return false
	}
	i, k := q/l.BlockSize, q%l.BlockSize
	if j >= l.SeqLen {
		return (j-l.SeqLen)/l.BlockSize == i
	}
	anchor := int(l.Blocks[i].Anchor)
	return j < anchor && (window <= 0 || j > anchor+k-window)
}
