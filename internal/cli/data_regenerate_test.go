package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
)

const demoEval = "../../testdata/demo/eval.jsonl"

// regenerate answers some rows of the demo's data and returns the file.
func regenerate(t *testing.T, out string, args ...string) string {
	t.Helper()
	_, err := runData(t, "", append([]string{"regenerate", "--target", demoTarget, "--data", demoEval, "--out", out, "--rows", "5",
		"--max-new-tokens", "12", "--precision", "f32"}, args...)...)
	require.NoError(t, err)
	text, err := os.ReadFile(out)
	require.NoError(t, err)
	return string(text)
}

// The answers depend on seed and row alone, not on the batch and not on a stop.
func TestDataRegenerate(t *testing.T) {
	dir := t.TempDir()
	sampled := []string{"--temperature", "0.9", "--top-p", "0.95", "--seed", "7"}
	want := regenerate(t, filepath.Join(dir, "a.jsonl"), append(sampled, "--batch", "5")...)
	require.Equal(t, 5, strings.Count(want, "\n"))
	require.Equal(t, want, regenerate(t, filepath.Join(dir, "b.jsonl"), append(sampled, "--batch", "2")...))
	torn := filepath.Join(dir, "torn.jsonl")
	require.NoError(t, os.WriteFile(torn, []byte(want[:len(want)/2]), 0o600))
	require.Equal(t, want, regenerate(t, torn, append(sampled, "--batch", "1")...))
	greedy := regenerate(t, filepath.Join(dir, "greedy.jsonl"))
	require.NotEqual(t, want, greedy)

	out, err := runData(t, "", "check", "--model", demoTarget, "--data", filepath.Join(dir, "greedy.jsonl"), "--target-agreement", "--precision", "f32",
		"--supervise-end-of-turn=false")
	require.NoError(t, err)
	require.Contains(t, out, "turns             assistant 5, user 5")
	// Not 100 %: text that is decoded and encoded again may become other tokens.
	require.Regexp(t, `target agreement  (9\d\.\d|100\.0) %`, out)

	_, err = runData(t, "", "regenerate", "--target", demoTarget, "--data", demoEval, "--out", torn, "--rows", "5", "--max-new-tokens", "12")
	require.ErrorContains(t, err, "torn.jsonl:1: written from another input, target or settings")
	require.Equal(t, fail.Usage, fail.CodeOf(err))
}

func TestDataRegenerateErrors(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.jsonl")
	all := func(args ...string) []string {
		return append([]string{"--target", demoTarget, "--data", demoEval, "--out", out}, args...)
	}
	for name, c := range map[string]struct {
		args []string
		code fail.Code
		text string
	}{
		"nothing":     {nil, fail.Usage, "want --target, --data and --out"},
		"length":      {all("--max-new-tokens", "0"), fail.Usage, "--max-new-tokens"},
		"top-p":       {all("--top-p", "0"), fail.Usage, "--top-p above 0"},
		"temperature": {all("--temperature", "-1"), fail.Usage, "--temperature"},
		"NaN":         {all("--temperature", "nan"), fail.Usage, "--temperature"},
		"precision":   {all("--precision", "f64"), fail.Usage, "want bf16 or f32"},
		"too long":    {all("--max-new-tokens", "2040"), fail.Usage, "max_position_embeddings, 2048 tokens"},
		"no target":   {[]string{"--target", t.TempDir(), "--data", demoEval, "--out", out}, fail.Other, "config.json"},
		"no data":     {[]string{"--target", demoTarget, "--data", "nowhere.jsonl", "--out", out}, fail.Other, "nowhere.jsonl"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := runData(t, "", append([]string{"regenerate"}, c.args...)...)
			require.ErrorContains(t, err, c.text)
			require.Equal(t, c.code, fail.CodeOf(err))
			require.NoFileExists(t, out)
		})
	}
}
