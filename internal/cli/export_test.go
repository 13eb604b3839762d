package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const exportChecked = `^exported the draft of step 4: out\nchecked: what was read back decodes 8 prompts as the checkpoint's %s weights do, 32 new tokens each: τ (\d\.\d{4}) \(its f32 weights: τ (\d\.\d{4})\)\n$`

// An export is decoded with before it is there, unless the user does without.
func TestExportCommand(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"training data": {nil, strings.Replace(exportChecked, "%s", "bf16", 1)},
		"given data, f32": {[]string{"--dtype", "f32", "--data", filepath.Join(base, "prompts.jsonl"), "--target", filepath.Join(base, "target")},
			strings.NewReplacer("%s", "f32", "8 prompts", "1 prompt").Replace(exportChecked)},
		"no check": {[]string{"--no-check", "--target", filepath.Join(base, "target")}, `^exported the draft of step 4: out\nnot checked by decoding: --no-check\n$`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyOf(t, finished(t))
			require.NoError(t, os.WriteFile(filepath.Join(base, "prompts.jsonl"), []byte(`{"messages":[{"role":"user","content":"What may I copy?"}]}`), 0o644))
			r := run(t, command(t, dir, append([]string{"export", "run/checkpoint-4", "out"}, c.args...)...))
			require.Zero(t, r.code, r.out)
			require.Regexp(t, c.want, r.out)
			require.FileExists(t, filepath.Join(dir, "out", "model.safetensors"))
		})
	}
}

// What keeps the check from being made is found before anything is written, and the hint names --no-check.
func TestExportWithoutCheck(t *testing.T) {
	dir := copyOf(t, finished(t))
	for _, c := range []struct {
		args []string
		want string
		code int
	}{
		{[]string{"--target", "nowhere"}, "nowhere/config.json", 1},
		{[]string{"--data", "nowhere.jsonl"}, "nowhere.jsonl", 1},
		{[]string{"--device", "99"}, "device 99", 1},
		{[]string{"--target", "../../testdata/golden/odd-b16/target"}, "draft of another target", 2},
	} {
		if strings.HasPrefix(c.args[1], "..") {
			here, err := os.Getwd()
			require.NoError(t, err)
			c.args[1] = filepath.Join(here, c.args[1])
		}
		r := run(t, command(t, dir, append([]string{"export", "run/checkpoint-4", "out"}, c.args...)...))
		require.Equal(t, c.code, r.code, r.out)
		require.Contains(t, r.out, c.want)
		require.Contains(t, r.hint(), "--no-check")
		require.NoDirExists(t, filepath.Join(dir, "out"))
	}
}

// The τ that a run has reported is the one that eval reports of its checkpoint, to the last
// bit, without a flag: precision, prompts and lengths are those of its recipe. generate takes
// the checkpoint, too.
func TestEvalOfACheckpointIsTheRunsOwn(t *testing.T) {
	require.NoError(t, setUp())
	dir := t.TempDir()
	r := run(t, command(t, dir, train("training.ar_validate_steps=2", "run.eval_data="+filepath.Join(base, "train.jsonl"),
		"run.eval_prompts=3", "run.eval_max_new_tokens=20", "run.eval_draft_tokens=2")...))
	require.Zero(t, r.code, r.out)
	log, err := os.ReadFile(filepath.Join(dir, "run", "metrics.jsonl"))
	require.NoError(t, err)
	rows := strings.Split(strings.TrimSpace(string(log)), "\n")
	reported := regexp.MustCompile(`"eval_tau": ?([0-9.]+)`).FindStringSubmatch(rows[len(rows)-1])
	require.NotNil(t, reported, rows[len(rows)-1])

	r = run(t, command(t, dir, "eval", "--draft", "run/checkpoint-4", "--json", "eval.json"))
	require.Zero(t, r.code, r.out)
	text, err := os.ReadFile(filepath.Join(dir, "eval.json"))
	require.NoError(t, err)
	var result struct {
		Precision string
		Prompts   int
		Drafts    []struct {
			Step   int
			Tokens int `json:"draft_tokens"`
			Full   struct{ Tau json.Number }
		}
	}
	require.NoError(t, json.Unmarshal(text, &result))
	require.Equal(t, []any{"f32", 3, 4, 2}, []any{result.Precision, result.Prompts, result.Drafts[0].Step, result.Drafts[0].Tokens})
	require.Equal(t, reported[1], result.Drafts[0].Full.Tau.String())

	r = run(t, command(t, dir, "generate", "--target", filepath.Join(base, "target"), "--draft", "run/checkpoint-4", "--prompt", "copy", "--max-new-tokens", "8", "--compare"))
	require.Zero(t, r.code, r.out)
	require.Contains(t, r.out, "with 2 drafted tokens")
}
