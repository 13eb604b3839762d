package data

import (
	"sort"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// mappedText is a normalized text with the way back to the original: origin[i]
// is the code point of the original that the i-th code point of text came from.
// A nil origin means that nothing changed. base is added to every index.
type mappedText struct {
	text   string
	origin []int
	base   int
}

// offsetWalker answers ascending queries about ranges of a mappedText.
type offsetWalker struct {
	m    mappedText
	pos  int // byte offset of a code point's start
	rune int // its index
}

func (m mappedText) walker() offsetWalker { return offsetWalker{m: m} }

// cover returns the original code points that the bytes [start, end) touch.
// start may not go back before the start of an earlier query's last code point.
func (w *offsetWalker) cover(start, end int) (from, to int) {
	w.seek(start)
	from = w.original(w.rune)
	w.seek(end - 1)
	return from, w.original(w.rune) + 1
}

// seek moves to the code point that holds byte at.
func (w *offsetWalker) seek(at int) {
	for {
		_, n := utf8.DecodeRuneInString(w.m.text[w.pos:])
		if at < w.pos+n || n == 0 {
			return
		}
		w.pos += n
		w.rune++
	}
}

func (w *offsetWalker) original(i int) int {
	if w.m.origin == nil {
		return w.m.base + i
	}
	return w.m.base + w.m.origin[i]
}

// char is a code point on its way through normalization. change says how it
// relates to the original: 0 replaces one code point, +1 was inserted, and -n
// replaces n+1 of them.
type char struct {
	r      rune
	ccc    uint8
	change int
}

// normalizeNFC returns the NFC form of s with the map back. It composes by
// itself because norm.NFC limits runs of combining marks (it inserts U+034F),
// which the tokenizers of the field do not, and because it keeps no map.
func normalizeNFC(s string, base int) mappedText {
	if norm.NFC.IsNormalString(s) {
		return mappedText{text: s, base: base}
	}
	chars := compose(decompose(s))
	m := mappedText{base: base, origin: make([]int, 0, len(chars))}
	buf := make([]byte, 0, len(s))
	next := 0 // the next code point of the original
	for _, c := range chars {
		buf = utf8.AppendRune(buf, c.r)
		if c.change > 0 {
			m.origin = append(m.origin, next-1)
			continue
		}
		m.origin = append(m.origin, next)
		next += 1 - c.change
	}
	m.text = string(buf)
	return m
}

// decompose returns the canonical decomposition in canonical order.
func decompose(s string) []char {
	out := make([]char, 0, len(s))
	starter := 0 // start of the current run of combining marks
	for i, n := 0, 0; i < len(s); i += n {
		_, n = utf8.DecodeRuneInString(s[i:])
		change := 0
		for _, r := range norm.NFD.String(s[i : i+n]) {
			c := char{r: r, ccc: norm.NFD.PropertiesString(string(r)).CCC(), change: change}
			change = 1
			if c.ccc == 0 {
				sortMarks(out[starter:])
				starter = len(out) + 1
			}
			out = append(out, c)
		}
	}
	sortMarks(out[min(starter, len(out)):])
	return out
}

func sortMarks(marks []char) {
	if len(marks) > 1 {
		sort.SliceStable(marks, func(i, j int) bool { return marks[i].ccc < marks[j].ccc })
	}
}

// compose joins starters with the marks after them that are not blocked.
func compose(in []char) []char {
	out := make([]char, 0, len(in))
	starter := -1 // index in out
	var last uint8
	for _, c := range in {
		if starter >= 0 {
			adjacent := starter == len(out)-1
			if adjacent || last != 0 && last < c.ccc {
				if r, ok := composePair(out[starter].r, c.r); ok {
					out[starter].r = r
					out[starter].change += c.change - 1
					continue
				}
			}
		}
		if c.ccc == 0 {
			starter = len(out)
		}
		last = c.ccc
		out = append(out, c)
	}
	return out
}

// composePair returns the primary composite of a and b.
func composePair(a, b rune) (rune, bool) {
	if b < 0x300 { // nothing below the combining marks composes with what stands before it
		return 0, false
	}
	s := norm.NFC.String(string(a) + string(b))
	r, n := utf8.DecodeRuneInString(s)
	return r, n == len(s)
}
