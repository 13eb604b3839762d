package evaluate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/domino"
	"vkdomino/internal/fail"
	"vkdomino/trainer/pair"
)

// fakeDecoder answers prompt n with n%4+1 tokens that say n, and a stop token where n is odd.
type fakeDecoder struct {
	calls  []int  // first prompt of each call
	cancel func() // called in the call that answers prompt at
	at     int
	err    error
}

const fakeStop = 1002

func (f *fakeDecoder) Generate(ctx context.Context, prompts [][]int32, opt domino.DecodeOptions, _ domino.OnTokens) (*domino.Decoding, error) {
	f.calls = append(f.calls, opt.FirstPrompt)
	out := &domino.Decoding{Generations: make([]domino.Generation, len(prompts))}
	for i := range prompts {
		n := opt.FirstPrompt + i
		if f.cancel != nil && n == f.at {
			f.cancel()
			out.Generations[i].Tokens = []int32{5} // begun
			return out, ctx.Err()
		}
		if f.err != nil && n == f.at {
			return out, f.err
		}
		g := &out.Generations[i]
		if n%2 == 1 {
			g.Tokens, g.Stopped = []int32{int32(100 + n), fakeStop}, true
			continue
		}
		for len(g.Tokens) < opt.MaxNewTokens {
			g.Tokens = append(g.Tokens, int32(100+n))
		}
	}
	return out, nil
}

const (
	regenerated = 13 // rows of the input
	answerLimit = 3
)

// newRegeneration has an input of 13 rows with an empty line among them, and batches of one
// prompt, so that the decoder gets 8 at a time.
func newRegeneration(t *testing.T) (Regeneration, *fakeDecoder) {
	t.Helper()
	dir := t.TempDir()
	var in strings.Builder
	for i := range regenerated {
		if i == 2 {
			in.WriteString("\n")
		}
		fmt.Fprintf(&in, `{"id":%d,"messages":[{"role":"user","content":"say %d"},{"role":"assistant","content":"old"},{"role":"user","content":"late"}],"deep":{"b":[1, 2]}}`+"\n", i, i)
	}
	path := filepath.Join(dir, "in.jsonl")
	require.NoError(t, os.WriteFile(path, []byte(in.String()), 0o600))
	target, err := pair.OpenTarget("../../testdata/demo/target", "")
	require.NoError(t, err)
	t.Cleanup(func() { target.Close() })
	opt, err := target.Options()
	require.NoError(t, err)
	opt.Path = path
	fake := &fakeDecoder{}
	return Regeneration{Decoder: fake, Rows: -1, Out: filepath.Join(dir, "out.jsonl"), Run: "abc", Batch: 1,
		Data:    opt,
		Options: domino.DecodeOptions{MaxNewTokens: answerLimit, StopTokens: []int32{fakeStop}}}, fake
}

func readOut(t *testing.T, r Regeneration) string {
	t.Helper()
	text, err := os.ReadFile(r.Out)
	require.NoError(t, err)
	return string(text)
}

func TestRegenerate(t *testing.T) {
	r, fake := newRegeneration(t)
	var shown []int
	r.Progress = func(n int) { shown = append(shown, n) }
	done, err := Regenerate(context.Background(), r)
	require.NoError(t, err)
	require.Equal(t, []int{0, 8}, fake.calls)
	require.Equal(t, []int{8, 13}, shown)
	require.Equal(t, Regenerated{Rows: 13, Tokens: 7*answerLimit + 6*2, Cut: 7, Seconds: done.Seconds}, done)
	lines := strings.Split(strings.TrimSuffix(readOut(t, r), "\n"), "\n")
	require.Len(t, lines, regenerated)
	tok := r.Data.Tokenizer
	for i, line := range lines {
		n, stop, tokens := i+1, "length", []int32{int32(100 + i), int32(100 + i), int32(100 + i)}
		if i >= 2 {
			n++ // the empty line
		}
		if i%2 == 1 {
			stop, tokens = "stop", tokens[:1]
		}
		answer, err := json.Marshal(tok.Decode(tokens, true))
		require.NoError(t, err)
		count := len(tokens)
		if stop == "stop" {
			count++
		}
		require.JSONEq(t, fmt.Sprintf(`{"id":%d,"messages":[{"role":"user","content":"say %d"},{"role":"assistant","content":%s}],"deep":{"b":[1,2]},"regenerated":{"run":"abc","line":%d,"tokens":%d,"finish":%q}}`,
			i, i, answer, n, count, stop), line)
	}
	again, err := Regenerate(context.Background(), r)
	require.NoError(t, err)
	require.Equal(t, 13, again.Resumed)
	require.Len(t, fake.calls, 2, "nothing is left to decode")
}

// Wherever a run is stopped or its output torn, going on gives the bytes of a whole run.
func TestRegenerateGoesOn(t *testing.T) {
	whole, _ := newRegeneration(t)
	_, err := Regenerate(context.Background(), whole)
	require.NoError(t, err)
	want := readOut(t, whole)
	for at := range regenerated {
		r, fake := newRegeneration(t)
		ctx, cancel := context.WithCancel(context.Background())
		fake.cancel, fake.at = cancel, at
		done, err := Regenerate(ctx, r)
		require.Equal(t, fail.Interrupted, fail.CodeOf(err), "%v", err)
		require.Equal(t, at, done.Rows)
		require.Equal(t, at, strings.Count(readOut(t, r), "\n"))
		fake.cancel = nil
		_, err = Regenerate(context.Background(), r)
		require.NoError(t, err)
		require.Equal(t, want, readOut(t, r), "stopped at row %d", at)
	}
	for _, size := range []int{0, 1, 40, len(want) / 3, len(want) / 2, len(want) - 1} {
		r, _ := newRegeneration(t)
		require.NoError(t, os.WriteFile(r.Out, []byte(want[:size]), 0o600))
		_, err := Regenerate(context.Background(), r)
		require.NoError(t, err)
		require.Equal(t, want, readOut(t, r), "torn at byte %d", size)
	}
}

func TestRegenerateKeepsWhatWasDecodedBeforeAnError(t *testing.T) {
	r, fake := newRegeneration(t)
	lost := errors.New("the device is lost")
	fake.err, fake.at = lost, 10
	done, err := Regenerate(context.Background(), r)
	require.ErrorIs(t, err, lost)
	require.ErrorContains(t, err, "from row 11 on")
	require.Equal(t, 10, done.Rows)
	require.Equal(t, 10, strings.Count(readOut(t, r), "\n"))
}

func TestRegenerateRefusesAnotherOutput(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"another run":    {`{"regenerated":{"run":"xyz","line":1}}` + "\n", "want run abc, got xyz"},
		"another line":   {`{"regenerated":{"run":"abc","line":2}}` + "\n", "row 1: want that of input line 1, got that of line 2"},
		"foreign rows":   {`{"messages":[]}` + "\n", `not a row of this command: want a key "regenerated"`},
		"text":           {"hello\n", "not a row of this command"},
		"no end of line": {`{"messages":[]}`, "not a file of this command"},
		"no JSON":        {"precious", "not a file of this command"},
	} {
		t.Run(name, func(t *testing.T) {
			r, fake := newRegeneration(t)
			require.NoError(t, os.WriteFile(r.Out, []byte(c.text), 0o600))
			_, err := Regenerate(context.Background(), r)
			require.ErrorContains(t, err, c.want)
			require.Equal(t, fail.Usage, fail.CodeOf(err))
			require.Equal(t, c.text, readOut(t, r), "the file stays as it was")
			require.Empty(t, fake.calls)
		})
	}
	r, _ := newRegeneration(t)
	_, err := Regenerate(context.Background(), r)
	require.NoError(t, err)
	r.Rows = 5
	_, err = Regenerate(context.Background(), r)
	require.ErrorContains(t, err, "want at most the input's 5 rows, got 13")
	r.Out = filepath.Join(t.TempDir(), "no", "folder")
	_, err = Regenerate(context.Background(), r)
	require.Equal(t, fail.Disk, fail.CodeOf(err))
}

func TestSurveyPrompts(t *testing.T) {
	r, _ := newRegeneration(t)
	s, err := SurveyPrompts(t.Context(), r.Data, -1)
	require.NoError(t, err)
	require.Equal(t, regenerated, s.Rows)
	require.Equal(t, 12, s.Line, "say 10 is the first of the longest")
	require.Len(t, s.SHA256, 64)
	for row, want := range map[string]string{
		`{"text":"a"}`:    "in.jsonl:1: want messages or conversations, got text",
		`{"messages":[]}`: "in.jsonl:1: want a turn before the first answer, got none",
		`{"messages":[{"role":"assistant","content":"x"}]}`: "want a turn before the first answer, got none",
		"": "want at least one conversation, got none",
	} {
		require.NoError(t, os.WriteFile(r.Data.Path, []byte(row+"\n"), 0o600))
		_, err := SurveyPrompts(t.Context(), r.Data, -1)
		require.ErrorContains(t, err, want)
		require.Equal(t, fail.Other, fail.CodeOf(err))
	}
}
