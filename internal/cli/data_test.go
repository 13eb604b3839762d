package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
)

const demoTarget = "../../testdata/demo/target"

// runData runs `vkdomino data` with args and the given stdin.
func runData(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	cmd := newDataCommand()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	var out bytes.Buffer
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	err := cmd.Execute()
	return out.String(), err
}

func TestDataTokens(t *testing.T) {
	out, err := runData(t, "\"the cafe\u0301<|im_end|>\"\n\n\"\"\n\"a\\u2028\u0085\"\n", "tokens", "--model", demoTarget)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 3)
	require.Contains(t, lines[0], `"decoded":"the café<|im_end|>","decoded_skip_special":"the café"}`)
	require.Contains(t, lines[0], `[9,19]]`, "the special token follows nine code points")
	require.Equal(t, `{"ids":[],"offsets":[],"decoded":"","decoded_skip_special":""}`, lines[1])
	require.Contains(t, lines[2], `"decoded":"a\u2028\u0085"`)

	_, err = runData(t, "\"a\"\n5\n", "tokens", "--model", demoTarget)
	require.ErrorContains(t, err, "data: stdin:2: want a JSON string")
	require.Equal(t, fail.Other, fail.CodeOf(err))
}

func TestDataRender(t *testing.T) {
	row := `{"messages":[{"role":"user","content":"é"},{"role":"assistant","content":"ok"}]}`
	out, err := runData(t, row+"\n{}\n", "render", "--model", demoTarget)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 2)
	require.Contains(t, lines[0], `{"text":"<|im_start|>user\né<|im_end|>\n<|im_start|>assistant\nok<|im_end|>\n","spans":[[51,63]],"ids":[`)
	require.Regexp(t, `"mask":\[0,[01,]*1,0\]}$`, lines[0])
	require.Equal(t, `{"error":"want messages, conversations or text, got no key"}`, lines[1])

	template := filepath.Join(t.TempDir(), "t.jinja")
	require.NoError(t, os.WriteFile(template, []byte("{{ messages[0].content }}"), 0o600))
	out, err = runData(t, row, "render", "--model", demoTarget, "--template", template)
	require.NoError(t, err)
	require.Contains(t, out, `{"text":"é","spans":[],"ids":[`)
	require.Contains(t, out, `"mask":[0,0],"mask_error":"data: mask: want generation blocks`)
}

func TestDataErrors(t *testing.T) {
	_, err := runData(t, "", "tokens")
	require.Equal(t, fail.Usage, fail.CodeOf(err))
	_, err = runData(t, "", "tokens", "--model", t.TempDir())
	require.Equal(t, fail.Other, fail.CodeOf(err))
	require.ErrorContains(t, err, "tokenizer.json")

	dir := t.TempDir()
	raw, err := os.ReadFile(demoTarget + "/tokenizer.json")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer.json"), raw, 0o600))
	_, err = runData(t, "", "render", "--model", dir)
	require.ErrorContains(t, err, "want a chat template in chat_template.jinja or tokenizer_config.json, got none")
	require.Contains(t, fail.HintOf(err), "--template")
	for _, args := range [][]string{{}, {"tokens", "--help"}, {"render", "--help"}} {
		out, err := runData(t, "", args...)
		require.NoError(t, err)
		require.Contains(t, out, "Examples:\n  ")
	}
	_, err = runData(t, "", "sort")
	require.Equal(t, fail.Usage, fail.CodeOf(err))
}
