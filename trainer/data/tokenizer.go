package data

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"unicode/utf8"

	"vkdomino/internal/fail"
)

// maxTokenID bounds the ids of a tokenizer, so that a broken file cannot ask
// for a table of gigabytes; it is 27 times the largest vocabulary of Qwen3.
const maxTokenID = 1 << 22

// Tokenizer is a byte-level BPE as Qwen2 and Qwen3 checkpoints store it in
// tokenizer.json. It is safe for use by several goroutines.
type Tokenizer struct {
	sha256 string
	size   int // largest id + 1

	pieces  [][]byte         // by id: the bytes it stands for, nil where no token has the id
	special []bool           // by id: left out by Decode with skipSpecial
	ids     map[string]int32 // by content: as the file spells it

	byteIDs      [256]int32
	merges       map[uint64]merge
	words        map[string]int32 // whole words by their bytes; only with ignore_merges
	normalize    bool             // NFC
	split        splitter
	rawAdded     matcher // added tokens found before normalization
	normAdded    matcher // added tokens found after it
	trimOffsets  bool
	prefixOffset bool

	cache *wordCache
}

// LoadTokenizer reads a tokenizer.json. It accepts the byte-level BPE layout of
// Qwen2 and Qwen3 (NFC or no normalizer, one Split pattern, ByteLevel), with
// merges in either spelling; padding and truncation blocks are ignored. Any
// other part is an error with exit code 1: a tokenizer that is read a little
// wrong would train on a little wrong ids.
func LoadTokenizer(path string) (*Tokenizer, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fail.New(fail.Other, "give a folder that holds the checkpoint's tokenizer.json",
			"data: tokenizer: %w", err)
	}
	t, err := parseTokenizer(raw)
	if err != nil {
		return nil, fail.New(fail.Other, "vkdomino reads byte-level BPE tokenizers as Qwen2 and Qwen3 ship them",
			"data: tokenizer: %s: %w", path, err)
	}
	return t, nil
}

func parseTokenizer(raw []byte) (*Tokenizer, error) {
	f, err := decodeTokenizerFile(raw)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	t := &Tokenizer{sha256: hex.EncodeToString(sum[:]), cache: newWordCache()}
	for _, build := range []func(*tokenizerFile) error{
		t.buildPipeline, t.buildVocab, t.buildMerges, t.buildAdded,
	} {
		if err := build(f); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Encode returns the ids of text, special tokens recognised and none added, and
// for each id the half-open range of code points of text that it covers: a
// token that holds part of a code point's bytes gets the whole code point; one
// that NFC composed from several counts as the first of them, one wide.
// An error means that text is not UTF-8. Source: golden/README.md.
func (t *Tokenizer) Encode(text string) (ids []int32, offsets [][2]int, err error) {
	if !utf8.ValidString(text) {
		return nil, nil, fmt.Errorf("data: tokenizer: text: want UTF-8, got an invalid byte at offset %d", invalidAt(text))
	}
	e := encoder{t: t, ids: []int32{}, offsets: [][2]int{}}
	base := 0
	err = t.rawAdded.split(text, func(s string, id int32) error {
		start := base
		base += utf8.RuneCountInString(s)
		if id >= 0 {
			e.add(id, start, base)
			return nil
		}
		return e.segment(s, start)
	})
	if err != nil {
		return nil, nil, err
	}
	if t.trimOffsets {
		t.trim(e.ids, e.offsets)
	}
	return e.ids, e.offsets, nil
}

// TokenID returns the id of a token by its content, as the file spells it.
func (t *Tokenizer) TokenID(content string) (int32, bool) {
	id, ok := t.ids[content]
	return id, ok
}

// VocabSize returns the largest id plus one.
func (t *Tokenizer) VocabSize() int { return t.size }

// SHA256 returns the hex digest of the file's bytes.
func (t *Tokenizer) SHA256() string { return t.sha256 }

func invalidAt(s string) int {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(s)
}

// encoder collects the tokens of one text.
type encoder struct {
	t       *Tokenizer
	ids     []int32
	offsets [][2]int
}

func (e *encoder) add(id int32, start, end int) {
	e.ids = append(e.ids, id)
	e.offsets = append(e.offsets, [2]int{start, end})
}

// segment encodes text without raw added tokens; base is its first code point.
func (e *encoder) segment(s string, base int) error {
	m := mappedText{text: s, base: base}
	if e.t.normalize {
		m = normalizeNFC(s, base)
	}
	pos := 0 // in bytes of the normalized text
	walk := m.walker()
	return e.t.normAdded.split(m.text, func(part string, id int32) error {
		start := pos
		pos += len(part)
		if id >= 0 {
			from, to := walk.cover(start, pos)
			e.add(id, from, to)
			return nil
		}
		return e.t.split(part, func(word string) {
			e.word(word, start, &walk)
			start += len(word)
		})
	})
}

func (e *encoder) word(word string, start int, walk *offsetWalker) {
	for _, id := range e.t.encodeWord(word) {
		end := start + len(e.t.pieces[id])
		from, to := walk.cover(start, end)
		e.add(id, from, to)
		start = end
	}
}
