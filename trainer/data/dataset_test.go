package data

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
)

// blockTemplate marks answers with generation blocks, the end-of-turn token outside.
const blockTemplate = `{%- for m in messages -%}
<|im_start|>{{ m.role }}
{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif -%}`

// headerTemplate renders the same text without blocks.
var headerTemplate = strings.NewReplacer("{% generation %}", "", "{% endgeneration %}", "").Replace(blockTemplate)

func testOptions(t testing.TB, template string) Options {
	t.Helper()
	tpl, err := NewTemplate(template)
	require.NoError(t, err)
	return Options{
		Tokenizer: fixtureTokenizer(t, "small_tokenizer.json.gz"), Template: tpl, EOS: "<|im_end|>", Pad: "<|endoftext|>",
		SeqLen: 64, SampleSize: -1, AnswerOnly: true, SuperviseEndOfTurn: true, FilterConsecutive: true,
	}
}

func writeFile(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

const goodRow = `{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"hello there"}]}`

// TestLoadErrors is the corpus of broken files: each ends with exit code 1 and
// this text after the path.
func TestLoadErrors(t *testing.T) {
	turn := func(s string) string { return `{"messages":[` + s + `]}` }
	for _, c := range []struct{ name, text, want string }{
		{"not JSON", "hello", `:1: want a JSON object: column 1: invalid character 'h' at start of value`},
		{"cut", `{"messages":[{"role":"us`, `:1: want a JSON object: column 25: unexpected EOF`},
		{"array", `[1]`, `:1: want a JSON object, got a list`},
		{"string", `"x"`, `:1: want a JSON object, got a string`},
		{"number", `3`, `:1: want a JSON object, got a number`},
		{"null", `null`, `:1: want a JSON object, got null`},
		{"boolean", `true`, `:1: want a JSON object, got a boolean`},
		{"two values", goodRow + ` {}`, `:1: want a JSON object: want one JSON value, got more after it`},
		{"trailing comma", goodRow + `,`, `:1: want a JSON object: want one JSON value, got more after it`},
		{"pretty", "{\n\"messages\": []}", `:1: want a JSON object: column 2: unexpected EOF`},
		{"repeated key", `{"messages":[],"messages":[]}`, `:1: want a JSON object: column 16: duplicate object member name "messages"`},
		{"single quotes", `{'messages':[]}`, `:1: want a JSON object: column 2: invalid character '\'' at start of value`},
		{"NaN", `{"messages":NaN}`, `:1: want a JSON object: column 13: invalid character 'N' at start of value`},
		{"huge number", `{"messages":[],"x":1e999}`, `:1: want a JSON object: want a number of 64 bits, got 1e999`},
		{"lone surrogate", turn(`{"role":"user","content":"\ud83d"}`), `:1: want a JSON object: column 40: invalid surrogate pair `},
		{"Latin-1", turn("{\"role\":\"user\",\"content\":\"caf\xe9\"}"), `:1: want UTF-8, got an invalid byte at column 43`},
		{"emoji cut", turn("{\"role\":\"user\",\"content\":\"\xf0\x9f\x98\"}"), `:1: want UTF-8, got an invalid byte at column 40`},
		{"UTF-16", "\xff\xfe{\x00", `:1: want UTF-8, got an invalid byte at column 1`},
		{"gzip", "\x1f\x8b\x08\x00", `:1: want JSON lines, got a gzip file`},
		{"no key", `{}`, `:1: want messages, conversations or text, got no key`},
		{"other keys", `{"id":1,"prompt":"x"}`, `:1: want messages, conversations or text, got only id, prompt`},
		{"messages object", `{"messages":{}}`, `:1: messages: want a list, got an object`},
		{"messages null", `{"messages":null}`, `:1: messages: want a list, got null`},
		{"conversations string", `{"conversations":"x"}`, `:1: conversations: want a list, got a string`},
		{"turn string", turn(`"x"`), `:1: messages[0]: want an object, got a string`},
		{"no role", turn(`{"content":"x"}`), `:1: messages[0]: want a role, got none`},
		{"role null", turn(`{"role":null,"content":"x"}`), `:1: messages[0].role: want a string, got null`},
		{"role number", turn(`{"role":1,"content":"x"}`), `:1: messages[0].role: want a string, got a number`},
		{"unknown role", turn(`{"role":"critic","content":"x"}`), `:1: messages[0].role: want system, user, assistant or tool, got "critic"`},
		{"role of the other form", turn(`{"role":"human","content":"x"}`), `:1: messages[0].role: want system, user, assistant or tool, got "human"`},
		{"from in messages", turn(`{"from":"human","value":"x"}`), `:1: messages[0]: want a role, got none`},
		{"unknown from", `{"conversations":[{"from":"bot","value":"x"}]}`, `:1: conversations[0].from: want system, user, assistant or tool, got "bot"`},
		{"no content", turn(`{"role":"user"}`), `:1: messages[0]: want content, got none`},
		{"no value", `{"conversations":[{"from":"gpt"}]}`, `:1: conversations[0]: want content, got none`},
		{"content list", turn(`{"role":"user","content":[{"type":"text","text":"x"}]}`), `:1: messages[0].content: want a string or null, got a list`},
		{"content number", turn(`{"role":"user","content":5}`), `:1: messages[0].content: want a string or null, got a number`},
		{"value object", `{"conversations":[{"from":"gpt","value":{}}]}`, `:1: conversations[0].value: want a string or null, got an object`},
		{"second turn", turn(`{"role":"user","content":"x"},{"role":"assistant"}`), `:1: messages[1]: want content, got none`},
		{"text number", `{"text":5}`, `:1: text: want a string, got a number`},
		{"text without header", `{"text":"hello"}`, `:1: mask: want generation blocks in the template or the header "<|im_start|>assistant\n" in the text, got neither`},
		{"third line", goodRow + "\n\n" + goodRow + "\n{}\n", `:4: want messages, conversations or text, got no key`},
		{"after BOM and CRLF", "\ufeff" + goodRow + "\r\n{}\r\n", `:2: want messages, conversations or text, got no key`},
		{"long line", strings.Repeat(" ", maxLine) + goodRow, `:1: want a line of at most 16 MiB, got a longer one`},
		{"deep", `{"messages":[],"x":` + strings.Repeat("[", 250) + strings.Repeat("]", 250) + `}`, `:1: want a JSON object: want at most 200 levels of JSON, got more`},
		{"own variable", `{"messages":[{"role":"assistant","content":"x"}],"__tick":1}`, `:1: template: variable "__tick": want a name that does not start with __`},
		{"empty", "", `: want at least one row, got none`},
		{"blank lines", "\n\r\n  \n", `: want at least one row, got none`},
		{"no assistant anywhere", `{"messages":[{"role":"user","content":"x"}]}` + "\n" + `{"messages":[]}`,
			`: want at least 1 usable rows, got 0: 0 of 2 rows used, 0 cut to 64 tokens; left out: 2 with no assistant turn`},
	} {
		t.Run(c.name, func(t *testing.T) {
			opt := testOptions(t, blockTemplate)
			opt.Path = writeFile(t, "rows.jsonl", c.text)
			_, err := Load(t.Context(), opt)
			require.ErrorContains(t, err, "data: "+opt.Path+c.want)
			if c.name != "lone surrogate" { // the rest is the library's wording
				require.Equal(t, "data: "+opt.Path+c.want, err.Error())
			}
			require.Equal(t, fail.Other, fail.CodeOf(err))
			require.NotEmpty(t, fail.HintOf(err))
		})
	}
}

func TestLoadOtherErrors(t *testing.T) {
	opt := testOptions(t, blockTemplate)
	opt.Path = t.TempDir()
	_, err := Load(t.Context(), opt)
	require.ErrorContains(t, err, "want a file, got a folder")
	require.Equal(t, fail.Other, fail.CodeOf(err))

	opt.Path = filepath.Join(opt.Path, "none.jsonl")
	_, err = Load(t.Context(), opt)
	require.ErrorContains(t, err, "no such file")

	opt.Path = writeFile(t, "rows.jsonl", goodRow+"\n"+goodRow)
	opt.MinRows = 3
	_, err = Load(t.Context(), opt)
	require.EqualError(t, err, "data: "+opt.Path+": want at least 3 usable rows, got 2: 2 of 2 rows used, 0 cut to 64 tokens; left out: none")

	opt.MinRows = 1
	opt.Template, err = NewTemplate("{{ raise_exception('no ' + messages[0].role) }}")
	require.NoError(t, err)
	_, err = Load(t.Context(), opt)
	require.EqualError(t, err, "data: "+opt.Path+":1: template: no user")

	opt.Template, err = NewTemplate("{% for m in messages %}{{ m.content }}{% endfor %}")
	require.NoError(t, err)
	_, err = Load(t.Context(), opt)
	require.ErrorContains(t, err, ":1: mask: want generation blocks in the template or the header")
	require.Contains(t, fail.HintOf(err), "data.chat_template")

	opt.Template = nil
	_, err = Load(t.Context(), opt)
	require.EqualError(t, err, "data: "+opt.Path+":1: template: want one to render messages, got none: the checkpoint has no chat template")

	opt.SampleSize = 0
	_, err = Load(t.Context(), opt)
	require.Equal(t, fail.Usage, fail.CodeOf(err))
}

func TestLoadCounts(t *testing.T) {
	long := strings.Repeat("word ", 100)
	rows := []string{
		"\ufeff" + goodRow, "",
		`{"conversations":[{"from":"human","value":"hi"},{"from":"gpt","value":"hello there"}],"id":7}`,
		`{"conversations":[{"role":"user","content":"hi"},{"role":"assistant","content":"hello there"}]}`,
		`{"messages":[{"role":"user","content":"only a question"}]}`,
		`{"messages":[{"role":"user","content":"` + long + `"},{"role":"assistant","content":"too late"}]}`,
		`{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":""}]}`,
		`{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"` + long + `"}]}`,
		`{"text":"<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nhello there<|im_end|>\n"}`,
	}
	opt := testOptions(t, blockTemplate)
	opt.Path = writeFile(t, "rows.jsonl", strings.Join(rows, "\r\n"))
	d, err := Load(t.Context(), opt)
	require.NoError(t, err)
	require.Equal(t, map[string]int{ReasonNoAssistant: 1, ReasonNothingSupervised: 1, ReasonNoConsecutive: 1}, d.Counts)
	require.Equal(t, "5 of 8 rows used, 1 cut to 64 tokens; left out: 1 with no assistant turn, "+
		"1 with nothing supervised after truncation, 1 with no two consecutive supervised tokens", d.Summary())
	for _, i := range []int{1, 2, 4} { // the same conversation in other words
		require.Equal(t, d.Rows[0].IDs, d.Rows[i].IDs)
		require.Equal(t, d.Rows[0].LossMask, d.Rows[i].LossMask)
	}
	require.Equal(t, []int{1, 3, 4, 8, 9}, []int{d.Rows[0].Line, d.Rows[1].Line, d.Rows[2].Line, d.Rows[3].Line, d.Rows[4].Line})
	require.Len(t, d.Rows[3].IDs, 64)
	require.Len(t, d.SHA256, 64)

	opt.FilterConsecutive = false
	other, err := Load(t.Context(), opt)
	require.NoError(t, err)
	require.Len(t, other.Rows, 6)
	require.Equal(t, d.SHA256, other.SHA256)

	opt.SampleSize = 2
	other, err = Load(t.Context(), opt)
	require.NoError(t, err)
	require.Len(t, other.Rows, 2)
	require.Equal(t, d.SHA256, other.SHA256, "the digest is of the whole file")
}

// supervisedText decodes what a row supervises, a | between runs.
func supervisedText(tok *Tokenizer, e Encoded) string {
	var out strings.Builder
	stream := tok.NewDecodeStream(false)
	for i, m := range e.Mask {
		if m == 1 {
			out.WriteString(stream.Push(e.IDs[i]))
		} else if i > 0 && e.Mask[i-1] == 1 {
			out.WriteString("|")
		}
	}
	return out.String()
}

func TestMasks(t *testing.T) {
	rows := `{"messages":[{"role":"system","content":"be brief"},{"role":"user","content":"hé 😀?"},{"role":"assistant","content":"yes, naïve 😀"},{"role":"user","content":"b"},{"role":"assistant","content":"no"}]}`
	inside := strings.Replace(blockTemplate, "{{ m.content }}{% endgeneration %}", "{{ m.content + '<|im_end|>' }}{% endgeneration %}", 1)
	open := headerTemplate + "<|im_start|>assistant\nunfinished"
	for _, c := range []struct {
		name, template   string
		endOfTurn, newln bool
		eos, want        string
	}{
		{"blocks", blockTemplate, true, false, "<|im_end|>", "yes, naïve 😀<|im_end|>|no<|im_end|>|"},
		{"blocks without end", blockTemplate, false, false, "<|im_end|>", "yes, naïve 😀|no|"},
		{"blocks with newline", blockTemplate, true, true, "<|im_end|>", "yes, naïve 😀<|im_end|>\n|no<|im_end|>\n"},
		{"blocks without an eos", blockTemplate, true, false, "", "yes, naïve 😀|no|"},
		{"blocks that hold the end", inside, true, false, "<|im_end|>", "yes, naïve 😀<|im_end|>|no<|im_end|>|"},
		{"blocks that hold the end, off", inside, false, false, "<|im_end|>", "yes, naïve 😀<|im_end|>|no<|im_end|>|"},
		{"header", headerTemplate, true, false, "", "yes, naïve 😀<|im_end|>|no<|im_end|>|"},
		{"header without end", headerTemplate, false, false, "", "yes, naïve 😀|no|"},
		{"header with newline", headerTemplate, true, true, "", "yes, naïve 😀<|im_end|>\n|no<|im_end|>\n"},
		{"header, last turn open", open, true, false, "", "yes, naïve 😀<|im_end|>|no<|im_end|>|"},
	} {
		t.Run(c.name, func(t *testing.T) {
			opt := testOptions(t, c.template)
			opt.SuperviseEndOfTurn, opt.SuperviseNewline, opt.EOS = c.endOfTurn, c.newln, c.eos
			conv, err := ParseConversation([]byte(rows))
			require.NoError(t, err)
			e, err := opt.Encode(conv)
			require.NoError(t, err)
			require.NoError(t, e.MaskErr)
			require.Equal(t, c.want, supervisedText(opt.Tokenizer, e))
		})
	}
}

// TestChatCase compares with a chat that transformers rendered and masked.
func TestChatCase(t *testing.T) {
	var cases struct {
		Chat []struct {
			Messages jsontext.Value `json:"messages"`
			Text     string         `json:"text"`
			IDs      []int32        `json:"input_ids"`
			Mask     []int          `json:"assistant_masks"`
		} `json:"chat"`
	}
	require.NoError(t, json.Unmarshal(readFixture(t, "tokenizer_cases.json"), &cases))
	require.Len(t, cases.Chat, 1)
	want := cases.Chat[0]
	inside := strings.Replace(blockTemplate, "{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}<|im_end|>",
		"{{ m.content }}<|im_end|>{% endgeneration %}{% else %}{{ m.content }}<|im_end|>{% endif %}\n", 1)
	opt := testOptions(t, inside)
	conv, err := ParseConversation([]byte(`{"messages":` + string(want.Messages) + `}`))
	require.NoError(t, err)
	e, err := opt.Encode(conv)
	require.NoError(t, err)
	require.Equal(t, want.Text, e.Text)
	require.Equal(t, want.IDs, e.IDs)
	require.Equal(t, fmt.Sprint(want.Mask), fmt.Sprint(e.Mask))
}

func TestPrompts(t *testing.T) {
	opt := testOptions(t, blockTemplate)
	rows := `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}]}` + "\n" +
		`{"conversations":[{"from":"human","value":"d"}]}`
	opt.Path = writeFile(t, "eval.jsonl", rows+"\n"+goodRow)
	prompts, err := LoadPrompts(t.Context(), opt, 2)
	require.NoError(t, err)
	require.Len(t, prompts, 2)
	require.Equal(t, "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n", prompts[0].Text)
	require.Equal(t, "<|im_start|>user\nd<|im_end|>\n<|im_start|>assistant\n", prompts[1].Text)
	require.Equal(t, prompts[0].Text, opt.Tokenizer.Decode(prompts[0].IDs, false))
	opt.Path = writeFile(t, "none.jsonl", "")
	_, err = LoadPrompts(t.Context(), opt, 2)
	require.ErrorContains(t, err, "want at least one conversation, got none")
}

func TestOrder(t *testing.T) {
	require.EqualValues(t, uint64(0xe220a8397b1dcdaf), mix(0)) // spec.md §3.6
	require.EqualValues(t, uint64(0xbdd732262feb6e95), mix(42))
	for _, n := range []int{0, 1, 2, 17, 1000} {
		seen := make([]bool, n)
		for _, i := range Order(42, 3, n) {
			require.False(t, seen[i])
			seen[i] = true
		}
		require.Len(t, Order(42, 3, n), n)
	}
	require.Equal(t, Order(42, 0, 50), Order(42, 0, 50))
	require.NotEqual(t, Order(42, 0, 50), Order(42, 1, 50))
	require.NotEqual(t, Order(42, 0, 50), Order(43, 0, 50))
	counts := [4][4]int{} // every row goes to every place about as often
	for epoch := range 4000 {
		for place, row := range Order(7, epoch, 4) {
			counts[place][row]++
		}
	}
	for _, row := range counts {
		for _, n := range row {
			require.InDelta(t, 1000, n, 150)
		}
	}
}

// A row does not hold on to the tokens that were cut from it.
func TestRowsAreCopies(t *testing.T) {
	d, e := newDataset(2), Encoded{IDs: []int32{1, 2, 3}, Mask: []uint8{1, 1, 1}}
	d.keep(Options{SeqLen: 2}, 1, e)
	clear(e.IDs)
	clear(e.Mask)
	require.Equal(t, []Row{{IDs: []int32{1, 2}, LossMask: []uint8{1, 1}, Line: 1}}, d.Rows)
	require.Equal(t, 1, d.Cut)
}

// The micro-batches of an epoch share one order, whatever is done to what they give out.
func TestBatchKeepsTheOrder(t *testing.T) {
	d := &Dataset{SeqLen: 1, Rows: make([]Row, 100)}
	order := func(seed uint64, epoch int) []int {
		var rows []int
		for i := range 10 {
			b := d.Batch(10*epoch+i, 10, seed)
			rows = append(rows, b.Rows...)
			clear(b.Rows)
		}
		return rows
	}
	for _, c := range []struct {
		seed  uint64
		epoch int
	}{{1, 0}, {1, 1}, {2, 1}, {1, 0}} {
		require.Equal(t, Order(c.seed, c.epoch, 100), order(c.seed, c.epoch))
	}
	d.Batch(0, 1, 5)
	kept := &d.order.rows[0]
	d.Batch(1, 1, 5)
	require.Same(t, kept, &d.order.rows[0])
	d.Rows = d.Rows[:50]
	require.Equal(t, Order(5, 0, 50), d.Batch(0, 50, 5).Rows)
}

func TestBatch(t *testing.T) {
	d := &Dataset{SeqLen: 4, PadID: 9}
	for i := range 7 {
		n := 1 + i%3
		row := Row{IDs: make([]int32, n), LossMask: make([]uint8, n)}
		for k := range row.IDs {
			row.IDs[k], row.LossMask[k] = int32(10*i+k), uint8(k%2)
		}
		d.Rows = append(d.Rows, row)
	}
	require.Equal(t, 3, d.StepsPerEpoch(2))
	used := map[int]int{}
	for index := range 6 {
		b := d.Batch(index, 2, 42)
		require.Equal(t, index/3, b.Epoch)
		require.Equal(t, b, d.Batch(index, 2, 42), "stateless")
		for i, at := range b.Rows {
			used[at]++
			row := d.Rows[at]
			require.Equal(t, len(row.IDs), b.Lengths[i])
			for k := range 4 {
				j := 4*i + k
				if k >= len(row.IDs) {
					require.Equal(t, []any{int32(9), float32(0), false}, []any{b.IDs[j], b.LossMask[j], b.Attention[j]})
					continue
				}
				require.Equal(t, []any{row.IDs[k], float32(row.LossMask[k]), true}, []any{b.IDs[j], b.LossMask[j], b.Attention[j]})
			}
		}
	}
	total := 0
	for _, n := range used {
		require.LessOrEqual(t, n, 2)
		total += n
	}
	require.Equal(t, 12, total)
	d.PadLoss = 1
	b := d.Batch(0, 7, 1)
	for j, attended := range b.Attention {
		require.True(t, attended || b.LossMask[j] == 1)
	}
}

func TestAllTokensSupervised(t *testing.T) {
	opt := testOptions(t, blockTemplate)
	opt.AnswerOnly = false
	opt.Path = writeFile(t, "rows.jsonl", goodRow+"\n"+`{"text":"plain text, no roles"}`+"\n"+`{"messages":[{"role":"user","content":"x"}]}`)
	d, err := Load(t.Context(), opt)
	require.NoError(t, err)
	require.Len(t, d.Rows, 2)
	require.EqualValues(t, 1, d.PadLoss)
	for _, row := range d.Rows {
		for _, m := range row.LossMask {
			require.EqualValues(t, 1, m)
		}
	}
}

// TestDemo loads the conversations of the demo with its own tokenizer and template.
func TestDemo(t *testing.T) {
	dir := "../../testdata/demo"
	tok, err := LoadTokenizer(dir + "/target/tokenizer.json")
	require.NoError(t, err)
	sp, err := LoadSpecials(dir + "/target")
	require.NoError(t, err)
	require.Equal(t, "<|im_end|>", sp.EOS)
	require.Equal(t, "<|endoftext|>", sp.Pad)
	require.Empty(t, sp.BOS)
	tpl, err := NewTemplate(sp.ChatTemplate)
	require.NoError(t, err)
	require.True(t, tpl.HasGeneration())
	d, err := Load(t.Context(), Options{
		Path: dir + "/train.jsonl", Tokenizer: tok, Template: tpl, EOS: sp.EOS, SeqLen: 160, SampleSize: -1,
		MinRows: 8, AnswerOnly: true, SuperviseEndOfTurn: true, FilterConsecutive: true,
	})
	require.NoError(t, err)
	require.Equal(t, d.Read, len(d.Rows), d.Summary())
	id, ok := tok.TokenID("<|mask|>")
	require.True(t, ok)
	require.EqualValues(t, 1003, id)
}

// FuzzConversation checks that any line is a conversation or an error, and that
// a conversation renders or is an error.
func FuzzConversation(f *testing.F) {
	f.Add([]byte(goodRow))
	f.Add([]byte(`{"conversations":[{"from":"human","value":"d"}],"tools":[{"a":1.0}],"add_generation_prompt":true}`))
	f.Add([]byte(`{"text":"x"}`))
	f.Add([]byte("\xff"))
	opt := testOptions(f, blockTemplate)
	f.Fuzz(func(t *testing.T, line []byte) {
		conv, err := ParseConversation(line)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		e, err := opt.Encode(conv)
		if err != nil {
			return
		}
		require.Len(t, e.Mask, len(e.IDs))
		if !conv.isText {
			p, err := opt.PromptIDs(conv)
			require.NoError(t, err)
			require.True(t, strings.HasSuffix(p.Text, assistantHeader))
		}
	})
}
