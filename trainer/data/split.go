package data

import (
	"fmt"
	"sort"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"
)

// qwenPattern is the Split pattern of every Qwen2 and Qwen3 tokenizer.
const qwenPattern = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`

// splitTimeout bounds one match of a foreign pattern: a pattern that backtracks
// without end must not hang a run.
const splitTimeout = 10 * time.Second

// splitter cuts text into words, in order and without loss.
type splitter func(text string, yield func(word string)) error

// newSplitter returns the splitter of a pattern: a scanner by hand for Qwen's,
// which is ten times faster, and regexp2 for any other.
func newSplitter(pattern string) (splitter, error) {
	if pattern == qwenPattern {
		return splitQwen, nil
	}
	re, err := regexp2.Compile(pattern)
	if err != nil {
		return nil, err
	}
	re.MatchTimeout = splitTimeout
	return func(text string, yield func(string)) error { return splitRegexp(re, text, yield) }, nil
}

// splitRegexp yields every match and every gap between matches.
func splitRegexp(re *regexp2.Regexp, text string, yield func(string)) error {
	done := 0
	m, err := re.FindStringMatch(text)
	for ; m != nil && err == nil; m, err = re.FindNextMatch(m) {
		at, n := m.ByteRange()
		if n == 0 {
			continue
		}
		if at > done {
			yield(text[done:at])
		}
		yield(text[at : at+n])
		done = at + n
	}
	if err != nil {
		return fmt.Errorf("data: tokenizer: split pattern: %w", err)
	}
	if done < len(text) {
		yield(text[done:])
	}
	return nil
}

func splitQwen(text string, yield func(string)) error {
	for len(text) > 0 {
		n := qwenWord(text)
		yield(text[:n])
		text = text[n:]
	}
	return nil
}

// qwenWord returns the length of qwenPattern's match at the start of s: the
// alternatives in their order. s is not empty, and one of them always matches.
func qwenWord(s string) int {
	if n := contraction(s); n > 0 {
		return n
	}
	r, n := utf8.DecodeRuneInString(s)
	number := unicode.IsNumber(r)
	switch {
	case unicode.IsLetter(r):
		return n + spanLen(s[n:], unicode.IsLetter)
	case number:
		return n
	case r != '\r' && r != '\n':
		if letters := spanLen(s[n:], unicode.IsLetter); letters > 0 {
			return n + letters
		}
	}
	skip := 0
	if r == ' ' {
		skip = n
	}
	if marks := spanLen(s[skip:], isMark); marks > 0 {
		end := skip + marks
		return end + spanLen(s[end:], isNewline)
	}
	return spaceRun(s)
}

// contraction matches (?i:'s|'t|'re|'ve|'m|'ll|'d); U+017F folds to s.
func contraction(s string) int {
	if s[0] != '\'' {
		return 0
	}
	a, n := utf8.DecodeRuneInString(s[1:])
	switch foldLatin(a) {
	case 's', 't', 'm', 'd':
		return 1 + n
	}
	b, m := utf8.DecodeRuneInString(s[1+n:])
	switch string([]rune{foldLatin(a), foldLatin(b)}) {
	case "re", "ve", "ll":
		return 1 + n + m
	}
	return 0
}

func foldLatin(r rune) rune {
	if r == '\u017f' {
		return 's'
	}
	if r >= 'A' && r <= 'Z' {
		return r + 'a' - 'A'
	}
	return r
}

// spaceRun matches \s*[\r\n]+, then \s+(?!\S), then \s+.
func spaceRun(s string) int {
	end, lastStart, afterNewline := 0, 0, 0
	for end < len(s) {
		r, n := utf8.DecodeRuneInString(s[end:])
		if !isSpace(r) {
			break
		}
		lastStart = end
		end += n
		if isNewline(r) {
			afterNewline = end
		}
	}
	switch {
	case afterNewline > 0:
		return afterNewline
	case end == len(s) || lastStart == 0:
		return end
	default:
		return lastStart // the last space belongs to the word after it
	}
}

func spanLen(s string, in func(rune) bool) int {
	for i, r := range s {
		if !in(r) {
			return i
		}
	}
	return len(s)
}

func isSpace(r rune) bool   { return unicode.Is(unicode.White_Space, r) }
func isNewline(r rune) bool { return r == '\r' || r == '\n' }
func isMark(r rune) bool    { return !isSpace(r) && !unicode.IsLetter(r) && !unicode.IsNumber(r) }

// addedToken is a token that is found as a whole.
type addedToken struct {
	content string
	id      int32
}

// matcher finds added tokens, leftmost first, then longest.
type matcher struct {
	byFirst [256][]addedToken
	empty   bool
}

func newMatcher(tokens []addedToken) matcher {
	m := matcher{empty: len(tokens) == 0}
	for _, a := range tokens {
		m.byFirst[a.content[0]] = append(m.byFirst[a.content[0]], a)
	}
	for _, list := range m.byFirst {
		sort.Slice(list, func(i, j int) bool { return len(list[i].content) > len(list[j].content) })
	}
	return m
}

// split yields the added tokens of s with their ids, and what stands between
// them with id -1.
func (m *matcher) split(s string, yield func(part string, id int32) error) error {
	done := 0
	for i := 0; i < len(s) && !m.empty; {
		a, ok := m.at(s[i:], s[i])
		if !ok {
			i++
			continue
		}
		if done < i {
			if err := yield(s[done:i], -1); err != nil {
				return err
			}
		}
		i += len(a.content)
		done = i
		if err := yield(a.content, a.id); err != nil {
			return err
		}
	}
	if done == len(s) {
		return nil
	}
	return yield(s[done:], -1)
}

func (m *matcher) at(s string, first byte) (addedToken, bool) {
	for _, a := range m.byFirst[first] {
		if strings.HasPrefix(s, a.content) {
			return a, true
		}
	}
	return addedToken{}, false
}
