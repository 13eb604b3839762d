package pair

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/domino"
	"vkdomino/export"
	"vkdomino/internal/fail"
	"vkdomino/internal/testgpu"
	"vkdomino/model"
	"vkdomino/ops"
	"vkdomino/tensors"
)

const (
	goldenTarget = "../../testdata/golden/gen-b8/target"
	goldenDraft  = "../../testdata/golden/gen-b8/export"
)

// copyOf copies a folder.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	require.NoError(t, os.CopyFS(to, os.DirFS(dir)))
	return to
}

// edit replaces old in a file by text of any length; old "" removes the file.
func edit(t *testing.T, path, old, text string) {
	t.Helper()
	if old == "" {
		require.NoError(t, os.Remove(path))
		return
	}
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(raw), old)
	require.NoError(t, os.Chmod(path, 0o600))
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(raw), old, text, 1)), 0o600))
}

// generation_config.json goes before config.json, where it names a token.
func TestStops(t *testing.T) {
	cfg := &model.Config{VocabSize: 10, EOS: model.TokenIDs{IDs: []int{3, 4}}}
	for _, c := range []struct {
		file, want string
		stops      []int32
		code       fail.Code
	}{
		{file: "", stops: []int32{3, 4}},
		{file: `{}`, stops: []int32{3, 4}},
		{file: `{"eos_token_id": null}`, stops: []int32{3, 4}},
		{file: `{"eos_token_id": 5}`, stops: []int32{5}},
		{file: `{"eos_token_id": [9, 0]}`, stops: []int32{9, 0}},
		{file: `{"eos_token_id": []}`},
		{file: `{"eos_token_id": 10}`, want: "stop token: want a token id from 0 to 9, got 10", code: fail.Usage},
		{file: `{"eos_token_id": [1, -1]}`, want: "stop token: want a token id from 0 to 9, got -1", code: fail.Usage},
		{file: `{"eos_token_id": "</s>"}`, want: "eos_token_id: want an id, a list of ids or null", code: fail.Other},
		{file: `{`, want: "generation_config.json", code: fail.Other},
	} {
		dir := t.TempDir()
		if c.file != "" {
			require.NoError(t, os.WriteFile(filepath.Join(dir, generationConfig), []byte(c.file), 0o600))
		}
		stops, err := Stops(dir, cfg)
		if c.want != "" {
			require.ErrorContains(t, err, c.want)
			require.Equal(t, c.code, fail.CodeOf(err))
			require.NotEmpty(t, fail.HintOf(err))
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.stops, stops, c.file)
	}
}

// Every way in which a target and a draft do not belong together is one clear error.
func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(target, draft string)
		want   string
		code   fail.Code
	}{
		"no config":     {func(target, _ string) { edit(t, target+"/config.json", "", "") }, "config.json", fail.Other},
		"no weights":    {func(target, _ string) { edit(t, target+"/model.safetensors", "", "") }, "model.safetensors", fail.Other},
		"bad tokenizer": {func(target, _ string) { edit(t, target+"/tokenizer.json", "{", "[") }, "tokenizer.json", fail.Other},
		"no stop token": {func(target, _ string) { edit(t, target+"/generation_config.json", "1002", "1008") }, "stop token: want a token id from 0 to 1007, got 1008", fail.Usage},
		"sizes": {func(_, draft string) {
			edit(t, draft+"/config.json", `"num_target_layers": 5`, `"num_target_layers": 4`)
		}, "draft of another target: num_target_layers: want 5, the draft has 4", fail.Usage},
		"theta":          {func(_, draft string) { edit(t, draft+"/config.json", `"rope_theta": 10`, `"rope_theta": 20`) }, "rope_theta: want", fail.Usage},
		"alignment":      {func(_, draft string) { edit(t, draft+"/config.json", `"shift_label"`, `"shift"`) }, "shift_label", fail.Other},
		"prefix":         {func(_, draft string) { edit(t, draft+"/config.json", `"pure_draft_prefix_len"`, `"prefix"`) }, "pure_draft_prefix_len", fail.Other},
		"missing tensor": {func(_, draft string) { edit(t, draft+"/model.safetensors", `"norm.weight"`, `"mork.weight"`) }, "1 of 29 tensors missing: norm.weight", fail.Other},
		"tokenizer": {func(_, draft string) {
			require.NoError(t, os.WriteFile(filepath.Join(draft, export.ProvenanceFile), []byte(`{"format_version": 1, "tokenizer_sha256": "abc"}`), 0o600))
		}, "tokenizer_sha256: want that of", fail.Usage},
		"no tokenizer": {func(target, draft string) {
			edit(t, target+"/tokenizer.json", "", "")
			require.NoError(t, os.WriteFile(filepath.Join(draft, export.ProvenanceFile), []byte(`{"format_version": 1, "tokenizer_sha256": "abc"}`), 0o600))
		}, "tokenizer.json, none, the draft has abc", fail.Usage},
		"no draft": {func(_, draft string) { require.NoError(t, os.RemoveAll(draft)) }, "no such file", fail.Other},
	} {
		t.Run(name, func(t *testing.T) {
			target, draft := copyOf(t, goldenTarget), copyOf(t, goldenDraft)
			c.damage(target, draft)
			_, _, err := Open(t.Context(), target, draft, "")
			require.ErrorContains(t, err, c.want)
			require.Equal(t, c.code, fail.CodeOf(err), "%v", err)
			require.NotEmpty(t, fail.HintOf(err))
		})
	}
}

// A target without a tokenizer decodes; what needs a tokenizer or a chat template says so.
func TestTargetWithoutTokenizerOrTemplate(t *testing.T) {
	dir := copyOf(t, goldenTarget)
	for _, name := range []string{"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"} {
		edit(t, filepath.Join(dir, name), "", "")
	}
	target, draft, err := Open(t.Context(), dir, goldenDraft, "")
	require.NoError(t, err)
	defer target.Close()
	defer draft.Close()
	require.Equal(t, []int32{1002}, target.Stops)
	_, err = target.Options()
	require.ErrorContains(t, err, "want tokenizer.json, got none")
	_, err = target.Prompts(t.Context(), "x.jsonl", -1, nil)
	require.ErrorContains(t, err, "want tokenizer.json, got none")

	require.NoError(t, os.CopyFS(dir+"/again", os.DirFS(goldenTarget)))
	edit(t, dir+"/again/chat_template.jinja", "", "")
	again, none, err := Open(t.Context(), dir+"/again", "", "")
	require.NoError(t, err)
	defer again.Close()
	require.Nil(t, none)
	_, err = again.Options()
	require.NoError(t, err)
	_, err = again.ChatOptions()
	require.ErrorContains(t, err, "want a chat template")
}

// The number of drafted tokens comes from the caller, else from the draft, else from its block size.
func TestNewDecoder(t *testing.T) {
	c := testgpu.Context(t)
	target, draft, err := Open(t.Context(), goldenTarget, goldenDraft, "")
	require.NoError(t, err)
	defer target.Close()
	defer draft.Close()
	for _, k := range []struct{ asked, stated, want int }{{3, 5, 3}, {0, 5, 5}, {0, 0, 7}} {
		draft.DraftTokens = k.stated
		d, err := NewDecoder(t.Context(), c, target, draft, domino.DecoderConfig{Slots: 1, Context: 16, DraftTokens: k.asked}, tensors.BF16)
		require.NoError(t, err)
		require.Equal(t, k.want, d.DraftTokens())
	}
	_, err = NewDecoder(t.Context(), c, target, nil, domino.DecoderConfig{Slots: 1, Context: 1 << 20}, tensors.F32)
	require.ErrorContains(t, err, "want at most the target's max_position_embeddings")
	require.Equal(t, fail.Usage, fail.CodeOf(err))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, d := range []*Draft{nil, draft} {
		_, err = NewDecoder(ctx, c, target, d, domino.DecoderConfig{Slots: 1, Context: 16}, tensors.F32)
		require.ErrorIs(t, err, context.Canceled, "the upload of weights ends with ctx")
	}

	c.Release()
	dry, before := ops.NewDry(), c.Device.Allocated()
	for _, c := range []*ops.Context{dry, c} {
		d, err := NewDecoder(t.Context(), c, target, draft, domino.DecoderConfig{Slots: 1, Context: 16}, tensors.F32)
		require.NoError(t, err)
		require.NotNil(t, d)
	}
	_, total := dry.Plan()
	require.InEpsilon(t, total, c.Device.Allocated()-before, 0.05, "what is planned is allocated")
}
