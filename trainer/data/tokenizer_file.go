package data

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// tokenizerFile is tokenizer.json. Blocks that are read by their type stay raw
// until the type is known. truncation and padding are ours to do: ignored.
type tokenizerFile struct {
	Version       jsontext.Value `json:"version"`
	Truncation    jsontext.Value `json:"truncation"`
	Padding       jsontext.Value `json:"padding"`
	AddedTokens   []addedFile    `json:"added_tokens"`
	Normalizer    jsontext.Value `json:"normalizer"`
	PreTokenizer  jsontext.Value `json:"pre_tokenizer"`
	PostProcessor jsontext.Value `json:"post_processor"`
	Decoder       jsontext.Value `json:"decoder"`
	Model         *modelFile     `json:"model"`
}

type addedFile struct {
	ID         *int64 `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized *bool  `json:"normalized"`
	Special    bool   `json:"special"`
}

type modelFile struct {
	Type         string           `json:"type"`
	Dropout      *float64         `json:"dropout"`
	UnkToken     *string          `json:"unk_token"`
	Prefix       *string          `json:"continuing_subword_prefix"`
	Suffix       *string          `json:"end_of_word_suffix"`
	FuseUnk      bool             `json:"fuse_unk"`
	ByteFallback bool             `json:"byte_fallback"`
	IgnoreMerges bool             `json:"ignore_merges"`
	Vocab        map[string]int64 `json:"vocab"`
	Merges       jsontext.Value   `json:"merges"`
}

// byteLevel is the ByteLevel block, as pre-tokenizer, post-processor or decoder.
type byteLevel struct {
	Type           string `json:"type"`
	AddPrefixSpace bool   `json:"add_prefix_space"`
	TrimOffsets    bool   `json:"trim_offsets"`
	UseRegex       *bool  `json:"use_regex"`
}

func decodeTokenizerFile(raw []byte) (*tokenizerFile, error) {
	f := &tokenizerFile{}
	if err := strictJSON(raw, f); err != nil {
		return nil, err
	}
	m := f.Model
	switch {
	case m == nil:
		return nil, fmt.Errorf("model: want a BPE model, got none")
	case m.Type != "" && m.Type != "BPE":
		return nil, fmt.Errorf("model.type: want BPE, got %q", m.Type)
	case m.Dropout != nil && *m.Dropout != 0:
		return nil, fmt.Errorf("model.dropout: want null, got %v", *m.Dropout)
	case m.ByteFallback:
		return nil, fmt.Errorf("model.byte_fallback: want false, got true")
	case m.Prefix != nil && *m.Prefix != "":
		return nil, fmt.Errorf("model.continuing_subword_prefix: want none, got %q", *m.Prefix)
	case m.Suffix != nil && *m.Suffix != "":
		return nil, fmt.Errorf("model.end_of_word_suffix: want none, got %q", *m.Suffix)
	}
	return f, nil
}

// strictJSON decodes into v and refuses unknown and repeated members.
func strictJSON(raw []byte, v any) error {
	if err := json.Unmarshal(raw, v, json.RejectUnknownMembers(true)); err != nil {
		return jsonError(err)
	}
	return nil
}

// shorten keeps a foreign error text to one line's length.
func shorten(s string) string {
	const most = 300
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// blockType returns the type of a tagged block, "" for null or a missing one.
func blockType(raw jsontext.Value) (string, error) {
	if len(raw) == 0 || raw.Kind() == jsontext.KindNull {
		return "", nil
	}
	var head struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return "", jsonError(err)
	}
	if head.Type == "" {
		return "", fmt.Errorf("want a type, got none")
	}
	return head.Type, nil
}

func (t *Tokenizer) buildPipeline(f *tokenizerFile) error {
	for _, part := range []struct {
		name  string
		build func(jsontext.Value) error
		raw   jsontext.Value
	}{
		{"normalizer", t.buildNormalizer, f.Normalizer},
		{"pre_tokenizer", t.buildPreTokenizer, f.PreTokenizer},
		{"post_processor", t.buildPostProcessor, f.PostProcessor},
		{"decoder", buildDecoder, f.Decoder},
	} {
		if err := part.build(part.raw); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

func (t *Tokenizer) buildNormalizer(raw jsontext.Value) error {
	typ, err := blockType(raw)
	if err != nil {
		return err
	}
	switch typ {
	case "":
		return nil
	case "NFC":
		t.normalize = true
		return strictJSON(raw, &struct {
			Type string `json:"type"`
		}{})
	}
	return fmt.Errorf("want NFC or null, got %q", typ)
}

func (t *Tokenizer) buildPreTokenizer(raw jsontext.Value) error {
	typ, err := blockType(raw)
	if err != nil {
		return err
	}
	if typ != "Sequence" {
		return fmt.Errorf("want a Sequence of Split and ByteLevel, got %q", typ)
	}
	var seq struct {
		Type  string           `json:"type"`
		Parts []jsontext.Value `json:"pretokenizers"`
	}
	if err := strictJSON(raw, &seq); err != nil {
		return err
	}
	var types []string
	for _, p := range seq.Parts {
		typ, err := blockType(p)
		if err != nil {
			return err
		}
		types = append(types, typ)
	}
	if len(types) != 2 || types[0] != "Split" || types[1] != "ByteLevel" {
		return fmt.Errorf("want a Sequence of Split and ByteLevel, got %q", types)
	}
	if err := t.buildSplit(seq.Parts[0]); err != nil {
		return err
	}
	return checkByteLevel(seq.Parts[1], true)
}

func (t *Tokenizer) buildSplit(raw jsontext.Value) error {
	var s struct {
		Type    string `json:"type"`
		Pattern struct {
			Regex  *string `json:"Regex"`
			String *string `json:"String"`
		} `json:"pattern"`
		Behavior string `json:"behavior"`
		Invert   bool   `json:"invert"`
	}
	if err := strictJSON(raw, &s); err != nil {
		return err
	}
	switch {
	case s.Pattern.Regex == nil:
		return fmt.Errorf("Split.pattern: want a Regex, got none")
	case s.Behavior != "Isolated":
		return fmt.Errorf("Split.behavior: want Isolated, got %q", s.Behavior)
	case s.Invert:
		return fmt.Errorf("Split.invert: want false, got true")
	}
	split, err := newSplitter(*s.Pattern.Regex)
	if err != nil {
		return fmt.Errorf("Split.pattern: %w", err)
	}
	t.split = split
	return nil
}

// checkByteLevel accepts a ByteLevel block that splits nothing and adds nothing.
func checkByteLevel(raw jsontext.Value, splits bool) error {
	var b byteLevel
	if err := strictJSON(raw, &b); err != nil {
		return err
	}
	if splits && b.AddPrefixSpace {
		return fmt.Errorf("ByteLevel.add_prefix_space: want false, got true")
	}
	if splits && (b.UseRegex == nil || *b.UseRegex) {
		return fmt.Errorf("ByteLevel.use_regex: want false, got true")
	}
	return nil
}

// buildPostProcessor reads what changes offsets. Special tokens that a template
// would put around a text do not matter: none are added here.
func (t *Tokenizer) buildPostProcessor(raw jsontext.Value) error {
	typ, err := blockType(raw)
	if err != nil {
		return err
	}
	switch typ {
	case "", "TemplateProcessing":
		return nil
	case "ByteLevel":
		var b byteLevel
		err := strictJSON(raw, &b)
		t.trimOffsets, t.prefixOffset = b.TrimOffsets, b.AddPrefixSpace
		return err
	case "Sequence":
		var seq struct {
			Type  string           `json:"type"`
			Parts []jsontext.Value `json:"processors"`
		}
		if err := strictJSON(raw, &seq); err != nil {
			return err
		}
		for _, p := range seq.Parts {
			if typ, err := blockType(p); err != nil || typ == "Sequence" {
				return fmt.Errorf("want ByteLevel or TemplateProcessing, got %q", typ)
			}
			if err := t.buildPostProcessor(p); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("want ByteLevel, TemplateProcessing or null, got %q", typ)
}

func buildDecoder(raw jsontext.Value) error {
	typ, err := blockType(raw)
	if err != nil {
		return err
	}
	if typ != "ByteLevel" {
		return fmt.Errorf("want ByteLevel, got %q", typ)
	}
	return checkByteLevel(raw, false)
}

// byteChars returns the character that stands for each byte in a byte-level
// vocabulary: itself where it is printable in Latin-1, else U+0100 and on.
func byteChars() (chars [256]rune) {
	next := rune(256)
	for b := range chars {
		r := rune(b)
		if r < '!' || r > '~' && r < '¡' || r == '\u00ad' {
			r = next
			next++
		}
		chars[b] = r
	}
	return chars
}

func charBytes() map[rune]byte {
	m := make(map[rune]byte, 256)
	for b, r := range byteChars() {
		m[r] = byte(b)
	}
	return m
}

// pieceBytes returns the bytes that a token decodes to: by the byte-level
// alphabet if all its characters are in it, else the content's own.
func pieceBytes(content string, alphabet map[rune]byte) (piece []byte, byteLevel bool) {
	for _, r := range content {
		b, ok := alphabet[r]
		if !ok {
			return []byte(content), false
		}
		piece = append(piece, b)
	}
	return piece, true
}

func checkID(id int64) error {
	if id < 0 || id >= maxTokenID {
		return fmt.Errorf("id: want 0 to %d, got %d", maxTokenID-1, id)
	}
	return nil
}

func (t *Tokenizer) buildVocab(f *tokenizerFile) error {
	if len(f.Model.Vocab) == 0 {
		return fmt.Errorf("model.vocab: want tokens, got none")
	}
	for content, id := range f.Model.Vocab {
		if err := checkID(id); err != nil {
			return fmt.Errorf("model.vocab: %q: %w", content, err)
		}
		t.size = max(t.size, int(id)+1)
	}
	for i, a := range f.AddedTokens {
		if a.ID == nil {
			return fmt.Errorf("added_tokens[%d]: want an id, got none", i)
		}
		if err := checkID(*a.ID); err != nil {
			return fmt.Errorf("added_tokens[%d]: %w", i, err)
		}
		t.size = max(t.size, int(*a.ID)+1)
	}
	t.pieces, t.special = make([][]byte, t.size), make([]bool, t.size)
	t.ids = make(map[string]int32, len(f.Model.Vocab)+len(f.AddedTokens))
	return t.fillVocab(f.Model)
}

func (t *Tokenizer) fillVocab(m *modelFile) error {
	alphabet := charBytes()
	if m.IgnoreMerges {
		t.words = make(map[string]int32, len(m.Vocab))
	}
	for content, id := range m.Vocab {
		if t.pieces[id] != nil {
			return fmt.Errorf("model.vocab: id %d: want one token, got a second, %q", id, content)
		}
		piece, byteLevel := pieceBytes(content, alphabet)
		if len(piece) == 0 {
			return fmt.Errorf("model.vocab: id %d: want a token, got an empty one", id)
		}
		t.pieces[id] = piece
		t.ids[content] = int32(id)
		if m.IgnoreMerges && byteLevel {
			t.words[string(piece)] = int32(id)
		}
	}
	for b, r := range byteChars() {
		id, ok := t.ids[string(r)]
		if !ok {
			return fmt.Errorf("model.vocab: byte 0x%02x: want a token %q, got none", b, string(r))
		}
		t.byteIDs[b] = id
	}
	return nil
}

// mergePairs reads the merges in either spelling: ["a","b"] or "a b".
func mergePairs(raw jsontext.Value) ([][2]string, error) {
	if len(raw) == 0 || raw.Kind() != jsontext.KindBeginArray {
		return nil, fmt.Errorf("model.merges: want a list, got none")
	}
	var pairs [][2]string
	if json.Unmarshal(raw, &pairs) == nil {
		return pairs, nil
	}
	var lines []string
	if err := json.Unmarshal(raw, &lines); err != nil {
		return nil, fmt.Errorf("model.merges: want [\"a\", \"b\"] or \"a b\", all alike: %w", jsonError(err))
	}
	pairs = make([][2]string, 0, len(lines))
	for i, line := range lines {
		a, b, ok := strings.Cut(line, " ")
		if !ok || a == "" || b == "" || strings.Contains(b, " ") {
			return nil, fmt.Errorf("model.merges[%d]: want \"a b\", got %q", i, shorten(line))
		}
		pairs = append(pairs, [2]string{a, b})
	}
	return pairs, nil
}

func (t *Tokenizer) buildMerges(f *tokenizerFile) error {
	pairs, err := mergePairs(f.Model.Merges)
	if err != nil {
		return err
	}
	if len(pairs) == 0 {
		return fmt.Errorf("model.merges: want a list, got an empty one")
	}
	t.merges = make(map[uint64]merge, len(pairs))
	for rank, p := range pairs {
		var ids [3]int32
		for i, content := range []string{p[0], p[1], p[0] + p[1]} {
			id, ok := t.ids[content]
			if !ok {
				return fmt.Errorf("model.merges[%d]: want a token %q in the vocabulary, got none", rank, content)
			}
			ids[i] = id
		}
		key := pairKey(ids[0], ids[1])
		if earlier, ok := t.merges[key]; ok {
			return fmt.Errorf("model.merges[%d]: repeats merges[%d], %q %q", rank, earlier.rank, p[0], p[1])
		}
		t.merges[key] = merge{rank: int32(rank), id: ids[2]}
	}
	return nil
}

func (t *Tokenizer) buildAdded(f *tokenizerFile) error {
	alphabet := charBytes()
	seen := map[string]bool{}
	var raw, normalized []addedToken
	for i, a := range f.AddedTokens {
		if err := t.checkAdded(a, seen); err != nil {
			return fmt.Errorf("added_tokens[%d]: %w", i, err)
		}
		id := int32(*a.ID)
		seen[a.Content] = true
		t.ids[a.Content] = id
		t.pieces[id], _ = pieceBytes(a.Content, alphabet)
		t.special[id] = a.Special
		if a.Normalized != nil && !*a.Normalized || a.Normalized == nil && a.Special {
			raw = append(raw, addedToken{a.Content, id})
			continue
		}
		content := a.Content
		if t.normalize {
			content = norm.NFC.String(content)
		}
		normalized = append(normalized, addedToken{content, id})
	}
	t.rawAdded, t.normAdded = newMatcher(raw), newMatcher(normalized)
	return nil
}

func (t *Tokenizer) checkAdded(a addedFile, seen map[string]bool) error {
	switch {
	case a.Content == "":
		return fmt.Errorf("content: want text, got none")
	case !utf8.ValidString(a.Content):
		return fmt.Errorf("content: want UTF-8, got %q", a.Content)
	case a.SingleWord || a.LStrip || a.RStrip:
		return fmt.Errorf("%q: want single_word, lstrip and rstrip false, got one true", a.Content)
	case seen[a.Content]:
		return fmt.Errorf("%q: want each token once, got it again", a.Content)
	}
	if id, ok := t.ids[a.Content]; ok && int64(id) != *a.ID {
		return fmt.Errorf("%q: want id %d, as in the vocabulary, got %d", a.Content, id, *a.ID)
	} else if !ok && t.pieces[*a.ID] != nil {
		return fmt.Errorf("%q: want an id of its own, got %d, which is taken", a.Content, *a.ID)
	}
	return nil
}

// trim moves offsets inward over spaces, as the ByteLevel post-processor with
// trim_offsets does.
func (t *Tokenizer) trim(ids []int32, offsets [][2]int) {
	for i, id := range ids {
		piece := string(t.pieces[id])
		leading := leadingSpaces(piece)
		trailing := len(piece) - len(strings.TrimRight(piece, " "))
		o := &offsets[i]
		if leading > 0 {
			if (i == 0 || o[0] == 0) && t.prefixOffset {
				leading--
			}
			o[0] = min(o[0]+leading, o[1])
		}
		if trailing > 0 && o[1] >= trailing {
			o[1] = max(o[1]-trailing, o[0])
		}
	}
}

func leadingSpaces(s string) int { return len(s) - len(strings.TrimLeft(s, " ")) }
