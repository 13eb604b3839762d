package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/domino"
	"vkdomino/internal/fail"
	"vkdomino/ops"
	"vkdomino/trainer/pair"
)

const generationDir = "../../testdata/golden/gen-b8"

// runGenerateArgs runs `vkdomino generate` with args and returns what it wrote to stderr.
func runGenerateArgs(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	cmd := newGenerateCommand()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	var out bytes.Buffer
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(context.Background())
	return out.String(), err
}

// captureStdout runs f with stdout in a file and returns what was written to it.
func captureStdout(t *testing.T, f func()) string {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "stdout"))
	require.NoError(t, err)
	defer file.Close()
	old := os.Stdout
	os.Stdout = file
	defer func() { os.Stdout = old }()
	f()
	text, err := os.ReadFile(file.Name())
	require.NoError(t, err)
	return string(text)
}

// TestGenerate decodes with and without the draft: plain text in a file, the same both ways.
func TestGenerate(t *testing.T) {
	target, draft := filepath.Join(generationDir, "target"), filepath.Join(generationDir, "export")
	args := []string{"--target", target, "--prompt", "The licensee may copy", "--max-new-tokens", "12"}
	var summary string
	var err error
	with := captureStdout(t, func() {
		summary, err = runGenerateArgs(t, "", append(args, "--draft", draft, "--compare")...)
	})
	require.NoError(t, err)
	require.Regexp(t, `^12 tokens, [0-9.]+ tokens/s, τ [0-9.]+ with 7 drafted tokens, \d+ target calls\n12 tokens, .* without the draft, 13 target calls`, summary)
	alone := captureStdout(t, func() { summary, err = runGenerateArgs(t, "", args...) })
	require.NoError(t, err)
	require.Contains(t, summary, "without a draft")
	require.Equal(t, alone, with)
	require.NotEmpty(t, strings.TrimSpace(with))
	require.NotContains(t, with, "\x1b")

	chat := captureStdout(t, func() {
		summary, err = runGenerateArgs(t, "copy\nagain\n", "--target", target, "--draft", draft, "--chat", "--max-new-tokens", "4",
			"--temperature", "0.8", "--top-k", "50", "--top-p", "0.9", "--sampling", "rejection", "--seed", "3")
	})
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(summary, "drafted tokens"), "two answers")
	require.NotContains(t, summary, "> ", "only a terminal is asked")
	require.NotEmpty(t, strings.TrimSpace(chat))
}

// TestGenerateErrors refuses bad input before a device is opened.
func TestGenerateErrors(t *testing.T) {
	target, draft := filepath.Join(generationDir, "target"), filepath.Join(generationDir, "export")
	foreign := copyExport(t, draft, `{"format_version": 1, "tokenizer_sha256": "abc"}`)
	stops := t.TempDir()
	require.NoError(t, os.CopyFS(stops, os.DirFS(target)))
	require.NoError(t, os.WriteFile(filepath.Join(stops, "generation_config.json"), []byte(`{"eos_token_id": [1002, 1008]}`), 0o600))
	for _, c := range []struct {
		args, message string
		code          fail.Code
	}{
		{"--target " + target, "want either --prompt TEXT or --chat", fail.Usage},
		{"--prompt x", "--target: want a folder, got none", fail.Usage},
		{"--prompt x --compare --target " + target, "--compare: want a draft", fail.Usage},
		{"--prompt x --top-p 1.5 --target " + target, "--top-p above 0", fail.Usage},
		{"--prompt x --sampling none --target " + target, "--sampling: want equality or rejection", fail.Usage},
		{"--prompt x --precision f16 --target " + target, "--precision: want bf16 or f32", fail.Usage},
		{"--prompt x --max-new-tokens 2048 --target " + target, "prompt: want at most the target's 2048 tokens", fail.Usage},
		{"--prompt x --target " + target + " --draft ../../testdata/golden/odd-b16/export", "draft of another target: hidden_size: want 128, the draft has 96", fail.Usage},
		{"--prompt x --target " + target + " --draft " + foreign, "tokenizer_sha256: want that of", fail.Usage},
		{"--prompt x --target " + stops, "stop token: want a token id from 0 to 1007, got 1008", fail.Usage},
		{"--prompt x --target " + target + " --draft " + target, "export: draft", fail.Other},
	} {
		_, err := runGenerateArgs(t, "", strings.Fields(c.args)...)
		require.ErrorContains(t, err, c.message, c.args)
		require.Equal(t, c.code, fail.CodeOf(err), c.args)
	}
}

func copyExport(t *testing.T, from, provenance string) string {
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(from)))
	require.True(t, json.Valid([]byte(provenance)))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "vkdomino.json"), []byte(provenance), 0o600))
	return dir
}

// A signal before the first token ends the upload of weights.
func TestInterruptWhileUploading(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, draft := range []string{"", filepath.Join(generationDir, "export")} {
		f := generateFlags{targetDir: filepath.Join(generationDir, "target"), draftDir: draft, prompt: "x", maxNew: 2, filter: ops.Filter{TopP: 1},
			sampling: string(domino.Equality), precision: "f32", device: -1}
		err := runGenerate(ctx, f)
		require.ErrorIs(t, err, context.Canceled)
		require.NotContains(t, err.Error(), "decode")
		require.Equal(t, fail.Interrupted, fail.CodeOf(cutShort(ctx, err, "")))
	}
}

// TestPrinter colours what the draft got right and leaves a stop token out.
func TestPrinter(t *testing.T) {
	target, err := pair.OpenTarget(filepath.Join(generationDir, "target"), "")
	require.NoError(t, err)
	defer target.Close()
	ids, _, err := target.Tokenizer.Encode("copy of é")
	require.NoError(t, err)
	for _, colour := range []bool{false, true} {
		var out bytes.Buffer
		p := newPrinter(&out, target, colour)
		p.tokens(0, ids[:1], 0)
		p.tokens(0, append(ids[1:len(ids):len(ids)], target.Stops[0]), len(ids))
		text, err := p.finish()
		require.NoError(t, err)
		require.Equal(t, "copy of é", text)
		require.Equal(t, colour, strings.Contains(out.String(), drafted))
		require.Equal(t, "copy of é\n", strings.NewReplacer(drafted, "", plain, "").Replace(out.String()))
	}
}
