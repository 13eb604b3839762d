package data

import (
	"strings"
	"unicode/utf8"
)

// Decode returns the text of ids: invalid UTF-8 becomes U+FFFD, one for each
// maximal part of a broken sequence, and unknown ids are left out. skipSpecial
// leaves out the tokens marked special.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) string {
	return lossyUTF8(t.appendBytes(nil, ids, skipSpecial))
}

func (t *Tokenizer) appendBytes(buf []byte, ids []int32, skipSpecial bool) []byte {
	for _, id := range ids {
		if id < 0 || int(id) >= len(t.pieces) || skipSpecial && t.special[id] {
			continue
		}
		buf = append(buf, t.pieces[id]...)
	}
	return buf
}

// lossyUTF8 replaces what is not UTF-8 as the Unicode standard recommends
// (substitution of maximal subparts).
func lossyUTF8(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var out strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			n = brokenLen(b)
		}
		out.WriteRune(r)
		b = b[n:]
	}
	return out.String()
}

// brokenLen returns the length of the maximal subpart at the start of b, which
// does not start with a whole code point: the longest prefix that some valid
// sequence starts with, at least 1.
func brokenLen(b []byte) int {
	n := 1
	for n < min(len(b), utf8.UTFMax) && incomplete(b[:n+1]) {
		n++
	}
	return n
}

// incomplete reports whether b is a proper prefix of some code point's bytes.
func incomplete(b []byte) bool {
	return len(b) > 0 && !utf8.FullRune(b)
}

// DecodeStream turns ids that arrive one by one into text that never ends
// inside a code point. The zero value is not ready; use NewDecodeStream.
type DecodeStream struct {
	t           *Tokenizer
	skipSpecial bool
	pending     []byte
}

// NewDecodeStream returns a stream that decodes as Decode does.
func (t *Tokenizer) NewDecodeStream(skipSpecial bool) *DecodeStream {
	return &DecodeStream{t: t, skipSpecial: skipSpecial}
}

// Push adds ids and returns the text that is complete by now.
func (d *DecodeStream) Push(ids ...int32) string {
	d.pending = d.t.appendBytes(d.pending, ids, d.skipSpecial)
	end := len(d.pending)
	for back := 1; back < utf8.UTFMax && back <= len(d.pending); back++ {
		if incomplete(d.pending[len(d.pending)-back:]) {
			end = len(d.pending) - back
		}
	}
	text := lossyUTF8(d.pending[:end])
	d.pending = append(d.pending[:0], d.pending[end:]...)
	return text
}

// Flush returns what is left, its incomplete end replaced by U+FFFD.
func (d *DecodeStream) Flush() string {
	text := lossyUTF8(d.pending)
	d.pending = d.pending[:0]
	return text
}
