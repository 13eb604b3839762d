package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
)

func TestDataCheck(t *testing.T) {
	out, err := runData(t, "", "check", "--model", demoTarget, "--data", "../../testdata/demo/eval.jsonl", "--seq-len", "150")
	require.NoError(t, err)
	require.Contains(t, out, "rows              48, 0 of them texts without roles\nturns             assistant 48, user 48\n")
	require.Regexp(t, `cut to 150 +\d+ rows lose their end: \d+ tokens, \d+ of them supervised\n`, out)
	require.Contains(t, out, "used              48 rows\nleft out          0 rows\n")
	require.NotContains(t, out, "agreement")

	path := filepath.Join(t.TempDir(), "d.jsonl")
	require.NoError(t, os.WriteFile(path, []byte(`{"messages":[{"role":"user","content":"a"}]}`), 0o600))
	out, err = runData(t, "", "check", "--model", demoTarget, "--data", path)
	require.NoError(t, err)
	require.Contains(t, out, "left out          1 row\n  1               no assistant turn\n")
}

func TestDataCheckTargetAgreement(t *testing.T) {
	out, err := runData(t, "", "check", "--model", demoTarget, "--data", "../../testdata/demo/eval.jsonl", "--rows", "6", "--target-agreement", "--precision", "f32")
	require.NoError(t, err)
	require.Regexp(t, `target agreement  [5-7]\d\.\d %: \d+ of \d+ answer tokens are the target's own greedy choice\n`, out)
}

func TestDataCheckErrors(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		code fail.Code
		text string
	}{
		"no model":  {[]string{"--data", "x"}, fail.Usage, "want --model and --data"},
		"no rows":   {[]string{"--model", demoTarget, "--data", "x", "--rows", "0"}, fail.Usage, "--rows: want anything but 0"},
		"no file":   {[]string{"--model", demoTarget, "--data", "nowhere.jsonl"}, fail.Other, "nowhere.jsonl"},
		"precision": {[]string{"--model", demoTarget, "--data", "../../testdata/demo/eval.jsonl", "--target-agreement", "--precision", "int8"}, fail.Usage, "want bf16 or f32"},
		"too long":  {[]string{"--model", demoTarget, "--data", longFile(t), "--seq-len", "4096", "--all-tokens", "--target-agreement"}, fail.Usage, "max_position_embeddings 2048"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := runData(t, "", append([]string{"check"}, c.args...)...)
			require.ErrorContains(t, err, c.text)
			require.Equal(t, c.code, fail.CodeOf(err))
		})
	}
}

// longFile is a file with a text of more tokens than the demo's target has positions.
func longFile(t *testing.T) string {
	t.Helper()
	text := make([]byte, 3000)
	for i := range text {
		text[i] = "0a"[i%2]
	}
	path := filepath.Join(t.TempDir(), "long.jsonl")
	require.NoError(t, os.WriteFile(path, []byte(`{"text":"`+string(text)+`"}`), 0o600))
	return path
}
