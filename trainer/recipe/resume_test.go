package recipe

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestResumeChanges(t *testing.T) {
	base, _ := mustResolve(t, qwen3x8b)
	old := base.Flat()
	for _, c := range []struct {
		name             string
		overrides        []string
		refused, allowed []Change
	}{
		{"nothing", nil, nil, nil},
		{"longer, other cadence", []string{"training.max_steps=10", "training.num_train_epochs=9", "training.logging_steps=1", "training.save_steps=2", "training.save_total_limit=1"}, nil,
			[]Change{
				{"training.logging_steps", "50", "1"}, {"training.max_steps", "-1", "10"}, {"training.num_train_epochs", "3.0", "9.0"},
				{"training.save_steps", "2000", "2"}, {"training.save_total_limit", "none", "1"},
			}},
		{"run, but not its precision", []string{"run.device=0", "run.progress=false", "run.precision=f32"},
			[]Change{{"run.precision", "bf16", "f32"}},
			[]Change{{"run.device", "auto", "0"}, {"run.progress", "true", "false"}}},
		{"paths are compared by content", []string{"model.model_name_or_path=n", "data.data_path=e", "training.output_dir=o"}, nil,
			[]Change{{"data.data_path", "d.jsonl", "e"}, {"model.model_name_or_path", "m", "n"}, {"training.output_dir", "out", "o"}}},
		{"same product", []string{"training.per_device_train_batch_size=2", "training.gradient_accumulation_steps=4"}, nil,
			[]Change{{"training.gradient_accumulation_steps", "1", "4"}, {"training.per_device_train_batch_size", "8", "2"}}},
		{"other product", []string{"training.per_device_train_batch_size=2"},
			[]Change{{"training.per_device_train_batch_size", "8", "2"}}, nil},
		{"what is trained", []string{"dflash.dflash_block_size=16", "training.seed=1", "compat.den_guard=true"},
			[]Change{{"compat.den_guard", "false", "true"}, {"dflash.dflash_block_size", "8", "16"}, {"training.seed", "42", "1"}},
			[]Change{{"run.eval_draft_tokens", "7", "15"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			now, _ := mustResolve(t, qwen3x8b, c.overrides...)
			refused, allowed := ResumeChanges(old, now.Flat())
			require.Equal(t, c.refused, refused)
			require.Equal(t, c.allowed, allowed)
		})
	}
}

func TestResumeRefusesForeignKeys(t *testing.T) {
	refused, allowed := ResumeChanges(map[string]string{"a.b": ""}, map[string]string{"c.d": "1"})
	require.Equal(t, []Change{{Key: "a.b"}, {Key: "c.d", New: "1"}}, refused)
	require.Empty(t, allowed)
}

// A checkpoint also stores the struct itself.
func TestResolvedSurvivesJSON(t *testing.T) {
	out, _ := mustResolve(t, qwen3x8b, `dflash.dflash_export_rope_scaling={type="yarn",factor=48.0}`, "training.seed=9223372036854775807")
	text, err := json.Marshal(out)
	require.NoError(t, err)
	var back Resolved
	require.NoError(t, json.Unmarshal(text, &back))
	require.JSONEq(t, string(out.ExportRopeScaling), string(back.ExportRopeScaling))
	back.ExportRopeScaling = out.ExportRopeScaling
	require.Equal(t, out, &back)
}
