package selftest

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
	"vkdomino/internal/testgpu"
	"vkdomino/tensors"
)

const generationDir = "../../testdata/golden/gen-b8"

// TestGeneration runs the first prompts of the decoding case (domino has a test of all of them):
// exact in f32; in bf16 the draft does not change the target's tokens.
func TestGeneration(t *testing.T) {
	dir := copyGeneration(t)
	edit(t, filepath.Join(dir, generationName), func(f map[string]any) {
		const n = 3
		f["cases"], f["tau"] = f["cases"].([]any)[:n], tauOf(f["cases"].([]any)[:n])
	})
	for _, precision := range []tensors.DType{tensors.F32, tensors.BF16} {
		g, err := OpenAny(dir)
		require.NoError(t, err)
		defer g.Close()
		report, err := g.Run(testgpu.Context(t), precision)
		require.NoError(t, err)
		var table bytes.Buffer
		report.Print(&table)
		t.Log("\n" + table.String())
		require.True(t, report.OK(), "a limit is missed:\n%s", table.String())
		require.Len(t, report.Rows, 11)
	}
}

// TestGenerationNotices changes what the reference got, one thing of each kind, and wants each noticed.
func TestGenerationNotices(t *testing.T) {
	dir := copyGeneration(t)
	edit(t, filepath.Join(dir, generationName), func(f map[string]any) {
		cases := f["cases"].([]any)
		at := func(i int, key string) []any { return cases[i].(map[string]any)[key].([]any) }
		at(0, "tokens")[3] = 5
		at(1, "acceptance_lengths")[0] = 8
		at(2, "greedy")[0] = 5
		f["cases"], f["tau"] = cases[:3], 1
	})
	edit(t, filepath.Join(dir, tokenizerName), func(f map[string]any) {
		f["encode"].([]any)[4].(map[string]any)["ids"] = []int{1}
		f["encode"].([]any)[5].(map[string]any)["decoded"] = "x"
		chat := f["chat"].([]any)[0].(map[string]any)
		chat["text"], chat["input_ids"], chat["assistant_masks"] = "x", []int{1}, []int{1}
	})
	g, err := OpenAny(dir)
	require.NoError(t, err)
	defer g.Close()
	report, err := g.Run(testgpu.Context(t), tensors.F32)
	require.NoError(t, err)
	missed := map[string]string{}
	for _, r := range report.Rows {
		if !r.OK() {
			missed[r.Quantity] = r.Where
		}
	}
	require.Len(t, missed, 9, "all but that of the draft against the target alone and that of single prompts")
	require.Equal(t, "1 of 3 prompts differ: [0]", missed["tokens"])
	require.Equal(t, "1 of 3 prompts differ: [1]", missed["acceptance lengths"])
	require.Equal(t, "1 of 3 prompts differ: [2]", missed["target alone"])
}

func TestOpenAnyErrors(t *testing.T) {
	_, err := OpenAny(t.TempDir())
	require.ErrorContains(t, err, "want case.json or generation.json, got neither")
	require.Equal(t, fail.Other, fail.CodeOf(err))

	dir := copyGeneration(t)
	path := filepath.Join(dir, generationName)
	edit(t, path, func(f map[string]any) { f["block_size"] = 16 })
	_, err = OpenAny(dir)
	require.ErrorContains(t, err, "block_size: want the draft's 8, got 16")
	require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
	_, err = OpenAny(dir)
	require.ErrorContains(t, err, "generation.json: unexpected end")
}

// tauOf is the mean over cases of the means of their acceptance lengths.
func tauOf(cases []any) float64 {
	sum := 0.0
	for _, k := range cases {
		lengths, one := k.(map[string]any)["acceptance_lengths"].([]any), 0.0
		for _, n := range lengths {
			one += n.(float64)
		}
		sum += one / float64(len(lengths))
	}
	return sum / float64(len(cases))
}

func copyGeneration(t *testing.T) string {
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(generationDir)))
	return dir
}

func edit(t *testing.T, path string, change func(map[string]any)) {
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	var f map[string]any
	require.NoError(t, json.Unmarshal(raw, &f))
	change(f)
	raw, err = json.Marshal(f)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, raw, 0o600))
}
