package data

import (
	"maps"
	"sync"
	"sync/atomic"
)

// merge is one entry of the merge table: its rank and what it makes.
type merge struct {
	rank int32
	id   int32
}

const (
	cacheWords   = 1 << 16 // words kept with their ids
	cacheWordLen = 64      // longer words are rarely seen twice
	scanWordLen  = 96      // up to here a scan for the best pair beats a heap
)

func pairKey(a, b int32) uint64 { return uint64(uint32(a))<<32 | uint64(uint32(b)) }

// encodeWord returns the ids of one pre-tokenized word. The caller may not
// change them.
func (t *Tokenizer) encodeWord(word string) []int32 {
	if len(word) > cacheWordLen {
		return t.mergeWord(word)
	}
	ids, ok := t.cache.get(word)
	if !ok {
		ids = t.mergeWord(word)
		t.cache.put(word, ids)
	}
	return ids
}

// wordCache keeps words with their ids. Frequent words are found without a lock, for which all
// processors would wait: known is a map that is never changed, only replaced by a larger one.
type wordCache struct {
	known atomic.Pointer[map[string][]int32]
	mu    sync.Mutex
	more  map[string][]int32 // words that known will have next
}

func newWordCache() *wordCache {
	c := &wordCache{more: map[string][]int32{}}
	c.known.Store(&map[string][]int32{})
	return c
}

func (c *wordCache) get(word string) ([]int32, bool) {
	if ids, ok := (*c.known.Load())[word]; ok {
		return ids, true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	ids, ok := c.more[word]
	return ids, ok
}

// put adds a word. known doubles when it is replaced, until both together would be too many: then the newer words stay.
func (c *wordCache) put(word string, ids []int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.more[string([]byte(word))] = ids // a copy: word may be part of a large text
	known := *c.known.Load()
	if len(c.more) <= len(known) && len(c.more) < cacheWords/2 {
		return
	}
	if len(known)+len(c.more) <= cacheWords {
		maps.Copy(c.more, known)
	}
	next := c.more
	c.known.Store(&next)
	c.more = map[string][]int32{}
}

func (t *Tokenizer) mergeWord(word string) []int32 {
	if id, ok := t.words[word]; ok {
		return []int32{id}
	}
	ids := make([]int32, len(word))
	for i := range len(word) {
		ids[i] = t.byteIDs[word[i]]
	}
	if len(ids) <= scanWordLen {
		return t.mergeByScan(ids)
	}
	return t.mergeByHeap(ids)
}

// mergeByScan applies the merge of least rank, leftmost first, until none is left.
func (t *Tokenizer) mergeByScan(ids []int32) []int32 {
	for len(ids) > 1 {
		at, best := -1, merge{}
		for i := range len(ids) - 1 {
			m, ok := t.merges[pairKey(ids[i], ids[i+1])]
			if ok && (at < 0 || m.rank < best.rank) {
				at, best = i, m
			}
		}
		if at < 0 {
			break
		}
		ids[at] = best.id
		ids = append(ids[:at+1], ids[at+2:]...)
	}
	return ids
}

// candidate is a possible merge; order is rank, then position.
type candidate struct {
	order       uint64
	left, right int32
	id          int32
}

// linkedWord is a word as a list of symbols; a merged-away symbol has id -1.
type linkedWord struct {
	ids        []int32
	next, prev []int32
	heap       []candidate
}

// mergeByHeap gives what mergeByScan gives, in O(n log n).
func (t *Tokenizer) mergeByHeap(ids []int32) []int32 {
	n := len(ids)
	w := linkedWord{ids: ids, next: make([]int32, n), prev: make([]int32, n)}
	for i := range ids {
		w.next[i], w.prev[i] = int32(i+1), int32(i-1)
	}
	for i := range ids {
		t.propose(&w, int32(i))
	}
	for len(w.heap) > 0 {
		c := w.pop()
		at := int32(uint32(c.order))
		right := w.next[at]
		if w.ids[at] != c.left || int(right) >= n || w.ids[right] != c.right {
			continue // one of the two has been merged since
		}
		w.ids[at], w.ids[right] = c.id, -1
		w.next[at] = w.next[right]
		if after := w.next[at]; int(after) < n {
			w.prev[after] = at
		}
		t.propose(&w, at)
		t.propose(&w, w.prev[at])
	}
	out := ids[:0]
	for _, id := range w.ids {
		if id >= 0 {
			out = append(out, id)
		}
	}
	return out
}

func (t *Tokenizer) propose(w *linkedWord, at int32) {
	if at < 0 || int(w.next[at]) >= len(w.ids) {
		return
	}
	left, right := w.ids[at], w.ids[w.next[at]]
	if m, ok := t.merges[pairKey(left, right)]; ok {
		w.push(candidate{order: uint64(uint32(m.rank))<<32 | uint64(uint32(at)), left: left, right: right, id: m.id})
	}
}

func (w *linkedWord) push(c candidate) {
	h := append(w.heap, c)
	i := len(h) - 1
	for i > 0 && h[i].order < h[(i-1)/2].order {
		h[i], h[(i-1)/2] = h[(i-1)/2], h[i]
		i = (i - 1) / 2
	}
	w.heap = h
}

func (w *linkedWord) pop() candidate {
	h := w.heap
	top := h[0]
	h[0] = h[len(h)-1]
	h = h[:len(h)-1]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h[child].order < h[least].order {
				least = child
			}
		}
		if least == i {
			break
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
	w.heap = h
	return top
}
