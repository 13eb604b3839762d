package data

import (
	"compress/gzip"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"
)

const fixtures = "../../testdata/data"

func readFixture(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join(fixtures, name))
	require.NoError(t, err)
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(name, ".gz") {
		r, err = gzip.NewReader(f)
		require.NoError(t, err)
	}
	raw, err := io.ReadAll(r)
	require.NoError(t, err)
	return raw
}

func fixtureTokenizer(t testing.TB, name string) *Tokenizer {
	t.Helper()
	tok, err := parseTokenizer(readFixture(t, name))
	require.NoError(t, err)
	return tok
}

// legacyMerges rewrites merges from ["a","b"] to "a b".
func legacyMerges(t testing.TB, raw []byte) []byte {
	t.Helper()
	return editJSON(t, raw, func(f map[string]any) {
		model := f["model"].(map[string]any)
		var lines []any
		for _, p := range model["merges"].([]any) {
			pair := p.([]any)
			lines = append(lines, pair[0].(string)+" "+pair[1].(string))
		}
		model["merges"] = lines
	})
}

func editJSON(t testing.TB, raw []byte, edit func(map[string]any)) []byte {
	t.Helper()
	var f map[string]any
	require.NoError(t, json.Unmarshal(raw, &f))
	edit(f)
	out, err := json.Marshal(f)
	require.NoError(t, err)
	return out
}

type vector struct {
	text, decoded, skipped string
	ids                    []int32
	offsets                [][2]int
}

func readVectors(t testing.TB) []vector {
	t.Helper()
	var rows [][]jsontext.Value
	require.NoError(t, json.Unmarshal(readFixture(t, "vectors.json.gz"), &rows))
	out := make([]vector, len(rows))
	for i, row := range rows {
		v := &out[i]
		var flat []int
		for k, dst := range []any{&v.text, &v.ids, &v.decoded, &v.skipped, &flat} {
			require.NoError(t, json.Unmarshal(row[k], dst))
		}
		for k := 0; k < len(flat); k += 2 {
			v.offsets = append(v.offsets, [2]int{flat[k], flat[k+1]})
		}
	}
	return out
}

// TestTokenizerVectors compares with what Hugging Face's tokenizers makes of
// 1,433 texts, by the hand scanner, by regexp2 and with legacy merges.
func TestTokenizerVectors(t *testing.T) {
	raw := readFixture(t, "tokenizer.json.gz")
	scan, err := parseTokenizer(raw)
	require.NoError(t, err)
	legacy, err := parseTokenizer(legacyMerges(t, raw))
	require.NoError(t, err)
	// A pattern that means the same in other words takes the general path.
	reworded := strings.Replace(string(raw), `|\\s+(?!\\S)|\\s+"`, `|\\s+(?!\\S)|(?:\\s+)"`, 1)
	require.NotEqual(t, string(raw), reworded)
	general, err := parseTokenizer([]byte(reworded))
	require.NoError(t, err)
	vectors := readVectors(t)
	require.Len(t, vectors, 1433)
	for name, tok := range map[string]*Tokenizer{"scan": scan, "legacy": legacy, "regexp2": general} {
		t.Run(name, func(t *testing.T) {
			for _, v := range vectors {
				ids, offsets, err := tok.Encode(v.text)
				require.NoError(t, err, "%q", v.text)
				require.Equal(t, v.ids, append([]int32{}, ids...), "%q", v.text)
				require.Equal(t, v.offsets, offsets, "%q", v.text)
				require.Equal(t, v.decoded, tok.Decode(ids, false), "%q", v.text)
				require.Equal(t, v.skipped, tok.Decode(ids, true), "%q", v.text)
			}
		})
	}
	require.Equal(t, 30077, scan.VocabSize())
	id, ok := scan.TokenID("<|im_end|>")
	require.True(t, ok)
	require.EqualValues(t, 30053, id)
	_, ok = scan.TokenID("<|no such|>")
	require.False(t, ok)
}

func TestTokenizerSmall(t *testing.T) {
	tok := fixtureTokenizer(t, "small_tokenizer.json.gz")
	var cases struct {
		Encode []struct {
			Text    string  `json:"text"`
			IDs     []int32 `json:"ids"`
			Decoded string  `json:"decoded"`
		} `json:"encode"`
		Chat []struct {
			Text string  `json:"text"`
			IDs  []int32 `json:"input_ids"`
		} `json:"chat"`
	}
	require.NoError(t, json.Unmarshal(readFixture(t, "tokenizer_cases.json"), &cases))
	require.Len(t, cases.Encode, 12)
	for _, c := range cases.Encode {
		ids, _, err := tok.Encode(c.Text)
		require.NoError(t, err)
		require.Equal(t, c.IDs, ids, "%q", c.Text)
		require.Equal(t, c.Decoded, tok.Decode(ids, false))
	}
	for _, c := range cases.Chat {
		ids, _, err := tok.Encode(c.Text)
		require.NoError(t, err)
		require.Equal(t, c.IDs, ids)
	}
}

// TestMergeHeap compares the two ways to merge, around and far beyond the
// length where one takes over, and checks that long words stay cheap.
func TestMergeHeap(t *testing.T) {
	tok := fixtureTokenizer(t, "small_tokenizer.json.gz")
	for _, unit := range []string{"a", "ab", "the", "ing ation", "…", "中文", "\x00é"} {
		for _, n := range []int{1, 2, 3, 7, 31, 97, 400} {
			word := strings.Repeat(unit, n)
			ids := func() []int32 {
				out := make([]int32, len(word))
				for i := range len(word) {
					out[i] = tok.byteIDs[word[i]]
				}
				return out
			}
			require.Equal(t, tok.mergeByScan(ids()), tok.mergeByHeap(ids()), "%q×%d", unit, n)
		}
	}
	start := time.Now()
	ids, _, err := tok.Encode(strings.Repeat("a", 400_000))
	require.NoError(t, err)
	require.NotEmpty(t, ids)
	require.Less(t, time.Since(start), 10*time.Second)
}

// TestNFCMatches compares our composition with x/text where that has no limit
// to runs of marks, and checks a longer run, which x/text would cut in two.
func TestNFCMatches(t *testing.T) {
	for _, s := range []string{
		"e\u0301", "a\u0327\u0301", "\u0344", "a\u0344\u0323", "\u1112\u1161\u11ab", "가\u11a8", "Å\u030A", "q\u0307\u0323",
		"\u0301x", "ｶﾞ", "\u0958\u0301", "\u212b", "u\u0308\u0301\u0323", "\u1e9b\u0323", "ὰ\u0345", "\U0001D15E\u0301",
	} {
		require.Equal(t, norm.NFC.String(s), normalizeNFC(s, 0).text, "%+q", s)
	}
	long := "e" + strings.Repeat("\u0301", 40)
	m := normalizeNFC(long, 5)
	require.Equal(t, "\u00e9"+strings.Repeat("\u0301", 39), m.text)
	require.Equal(t, 0, m.origin[0])
	require.Equal(t, 2, m.origin[1])
}

func TestDecodeStream(t *testing.T) {
	tok := fixtureTokenizer(t, "small_tokenizer.json.gz")
	text := "naïve — 東京 🙂<|im_end|>👩‍👩‍👧 end"
	ids, _, err := tok.Encode(text)
	require.NoError(t, err)
	s := tok.NewDecodeStream(false)
	var got strings.Builder
	for _, id := range ids {
		part := s.Push(id)
		require.NotContains(t, part, "\ufffd")
		got.WriteString(part)
	}
	require.Equal(t, text, got.String()+s.Flush())

	broken, _, err := tok.Encode("🙂")
	require.NoError(t, err)
	s = tok.NewDecodeStream(true)
	require.Empty(t, s.Push(broken[0]))
	require.Equal(t, "\ufffd", s.Flush())
	require.Empty(t, s.Flush())
}

func TestLossyUTF8(t *testing.T) {
	for in, want := range map[string]string{
		"a\xf0\x9f\x99b":   "a\ufffdb",
		"\xf0\x9f\x99":     "\ufffd",
		"\xff\xfe":         "\ufffd\ufffd",
		"\xe0\x80\x80":     "\ufffd\ufffd\ufffd",
		"\xc3\xc3\xa9":     "\ufffdé",
		"\xed\xa0\x80":     "\ufffd\ufffd\ufffd",
		"\xf4\x90\x80\x80": "\ufffd\ufffd\ufffd\ufffd",
	} {
		require.Equal(t, want, lossyUTF8([]byte(in)), "%+q", in)
	}
}

func TestTokenizerConcurrent(t *testing.T) {
	tok := fixtureTokenizer(t, "small_tokenizer.json.gz")
	want, _, err := tok.Encode("the same words, the same ids")
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				ids, _, err := tok.Encode("the same words, the same ids")
				if err != nil || len(ids) != len(want) {
					t.Error("concurrent encode differs")
				}
			}
		})
	}
	wg.Wait()
}

func FuzzEncodeDecode(f *testing.F) {
	tok := fixtureTokenizer(f, "small_tokenizer.json.gz")
	for _, v := range readVectors(f)[:60] {
		f.Add(v.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ids, offsets, err := tok.Encode(text)
		if err != nil {
			require.Contains(t, err.Error(), "want UTF-8")
			return
		}
		want := text
		if n := normalizeNFC(text, 0); !strings.Contains(text, "<|") {
			want = n.text
			require.Equal(t, want, tok.Decode(ids, false))
		}
		runes := len([]rune(text))
		for _, o := range offsets {
			require.True(t, 0 <= o[0] && o[0] < o[1] && o[1] <= runes)
		}
	})
}
