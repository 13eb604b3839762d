package data

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
)

const censusTemplate = `{%- for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}`

// censusOptions reads lines with the demo's tokenizer.
func censusOptions(t *testing.T, template, lines string) Options {
	t.Helper()
	tok, err := LoadTokenizer("../../testdata/demo/target/tokenizer.json")
	require.NoError(t, err)
	tmpl, err := NewTemplate(template)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "data.jsonl")
	require.NoError(t, os.WriteFile(path, []byte(lines), 0o600))
	return Options{Path: path, Tokenizer: tok, Template: tmpl, EOS: "<|im_end|>", SeqLen: 18, SampleSize: -1,
		AnswerOnly: true, SuperviseEndOfTurn: true, FilterConsecutive: true}
}

const (
	shortRow  = `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"ok then"}]}` + "\n"
	userRow   = `{"messages":[{"role":"system","content":"s"},{"role":"user","content":"nobody answers"}]}` + "\n"
	longRow   = `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"the license of the work and the license of the work and the license"}]}` + "\n"
	lateRow   = `{"messages":[{"role":"user","content":"the license of the work and the license of the work and"},{"role":"assistant","content":"ok"}]}` + "\n"
	plainText = `{"text":"no roles"}` + "\n"
)

// A census counts what Load would use, cut and leave out, and the tokens besides.
func TestCensus(t *testing.T) {
	opt := censusOptions(t, censusTemplate, shortRow+userRow+longRow+lateRow)
	n, err := TakeCensus(t.Context(), opt)
	require.NoError(t, err)
	loaded, err := Load(t.Context(), opt)
	require.NoError(t, err)
	require.Equal(t, loaded, n.Dataset, "rows, counts, cuts and digest are those of training")
	require.Equal(t, map[string]int{"system": 1, "user": 4, "assistant": 3}, n.Roles)
	require.Equal(t, 1, n.Counts[ReasonNoAssistant])
	require.Equal(t, 1, n.Counts[ReasonNothingSupervised])
	require.Equal(t, 1, n.Cut)
	require.Len(t, n.Lengths, 4)
	require.IsIncreasing(t, n.Lengths)
	sum, cut := 0, 0
	for _, length := range n.Lengths {
		sum += length
	}
	supervised, used := 0, 0
	for _, line := range []string{shortRow, longRow, lateRow} {
		conv, err := ParseConversation([]byte(line))
		require.NoError(t, err)
		e, err := opt.Encode(conv)
		require.NoError(t, err)
		cut += max(0, len(e.IDs)-opt.SeqLen)
		for i, m := range e.Mask {
			supervised += int(m)
			if i < opt.SeqLen {
				used += int(m)
			}
		}
	}
	require.Equal(t, []int{sum, supervised, cut, supervised - used}, []int{n.Tokens, n.AnswerTokens, n.CutTokens, n.CutAnswers})
	require.Equal(t, n.Lengths[3], n.Percentile(1))
	require.Equal(t, n.Lengths[0], n.Percentile(0))
	require.Equal(t, n.Lengths[2], n.Percentile(0.5))
}

func TestCensusOfRowsThatTrainingRefuses(t *testing.T) {
	opt := censusOptions(t, "{{ messages[0].content }}", shortRow+longRow)
	n, err := TakeCensus(t.Context(), opt)
	require.NoError(t, err)
	require.Equal(t, 2, n.Unmarked)
	require.ErrorContains(t, n.UnmarkedError, "data.jsonl:1: mask: want generation blocks")
	require.Empty(t, n.Rows)
	_, err = Load(t.Context(), opt)
	require.Error(t, err)

	opt.AnswerOnly = false
	n, err = TakeCensus(t.Context(), opt)
	require.NoError(t, err)
	require.Zero(t, n.Unmarked)
	require.Equal(t, n.Tokens, n.AnswerTokens)
}

func TestCensusErrors(t *testing.T) {
	n, err := TakeCensus(t.Context(), censusOptions(t, censusTemplate, "\n\n"))
	require.Nil(t, n)
	require.ErrorContains(t, err, "want at least one row, got none")
	require.Equal(t, fail.Other, fail.CodeOf(err))
	_, err = TakeCensus(t.Context(), censusOptions(t, censusTemplate, shortRow+"{}\n"))
	require.ErrorContains(t, err, "data.jsonl:2: ")
	opt := censusOptions(t, censusTemplate, plainText)
	opt.AnswerOnly = false
	n, err = TakeCensus(t.Context(), opt)
	require.NoError(t, err)
	require.Equal(t, 1, n.Texts)
	require.Empty(t, n.Roles)
}
