package recipe

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLoadReadsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.toml")
	require.NoError(t, os.WriteFile(path, []byte(baseRecipe), 0o644))
	r, notices, err := Load(path, []string{"training.max_steps=200"})
	require.NoError(t, err)
	require.Empty(t, notices)
	require.Equal(t, path, r.Name)
	require.Equal(t, 200, r.Training.MaxSteps)
	require.True(t, r.Given("training.max_steps"))
	require.False(t, r.Given("training.seed"))
}

func TestLoadRefusesWhatIsNoRecipeFile(t *testing.T) {
	dir := t.TempDir()
	missing, big := filepath.Join(dir, "none.toml"), filepath.Join(dir, "big.toml")
	require.NoError(t, os.WriteFile(big, []byte(strings.Repeat("# text\n", maxFileBytes)), 0o644))
	for path, want := range map[string]string{
		missing: "recipe: open " + missing + ": no such file or directory",
		dir:     "recipe: " + dir + ": want a file, got something else",
		big:     "recipe: " + big + ": want at most 65536 bytes, got more",
	} {
		_, _, err := Load(path, nil)
		requireUsage(t, err, want)
	}
}

func TestAcceptedSpellings(t *testing.T) {
	crlf := strings.ReplaceAll(baseRecipe, "\n", "\r\n")
	for name, text := range map[string]string{
		"BOM":                    "\ufeff" + baseRecipe,
		"CRLF":                   crlf,
		"no newline at the end":  strings.TrimSuffix(baseRecipe, "\n"),
		"inline table":           strings.Replace(baseRecipe, "[dflash.dflash_architecture_config]\nprojector_type = \"domino\"\nemb_dim = 16\ngru_hidden_dim = 24\n", "dflash_architecture_config = {projector_type = \"domino\", emb_dim = 16, gru_hidden_dim = 24}\n", 1),
		"quoted key and literal": edit(`output_dir = "out"`, `"output_dir" = 'out'`),
		"comments":               edit(`output_dir = "out"`, "# [nothing]\noutput_dir = \"out\" # a \"quote"),
	} {
		t.Run(name, func(t *testing.T) {
			r, _, err := Parse("r.toml", []byte(text), nil)
			require.NoError(t, err)
			require.Equal(t, "out", r.Training.OutputDir)
			require.Equal(t, 24, r.DFlash.Architecture.GRUHiddenDim)
		})
	}
}

func TestOverrides(t *testing.T) {
	r, _ := mustParse(t,
		"training.max_steps=100", " training.max_steps = 200 ", // the last one wins, blanks do not matter
		"training.learning_rate=1", // an integer serves as a float
		"training.output_dir=runs/a b#c", "data.data_path=123", `model.model_name_or_path="q=1"`,
		"dflash.dflash_architecture_config.target_layer_ids=[0, 2]",
		`dflash.dflash_export_rope_scaling={type = "yarn", factor = 48.0, n = [1, {b = true}]}`,
		"run.device=1", "training.answer_only_loss=true", "training.seed=9223372036854775807",
	)
	require.Equal(t, 200, r.Training.MaxSteps)
	require.Equal(t, 1.0, r.Training.LearningRate)
	require.Equal(t, "runs/a b#c", r.Training.OutputDir)
	require.Equal(t, "123", r.Data.DataPath)
	require.Equal(t, "q=1", r.Model.NameOrPath)
	require.Equal(t, []int{0, 2}, r.DFlash.Architecture.TargetLayerIDs)
	require.Equal(t, `{"factor": 48.0, "n": [1, {"b": true}], "type": "yarn"}`, string(objectJSON(r.DFlash.ExportRoPE)))
	require.Equal(t, 1, r.Run.Device)
	require.True(t, r.Training.AnswerOnlyLoss)
	require.Equal(t, uint64(9223372036854775807), r.Training.Seed)

	again, _ := mustParse(t, "run.device=1", "run.device=auto")
	require.Equal(t, -1, again.Run.Device)
}

// An override may mend what the file has wrong: only the merged recipe is judged.
func TestOverrideMendsTheFile(t *testing.T) {
	r, _, err := Parse("r.toml", []byte(edit("emb_dim = 16", "emb_dim = 0")), []string{arch + "emb_dim=8"})
	require.NoError(t, err)
	require.Equal(t, 8, r.DFlash.Architecture.EmbDim)
}

func TestLines(t *testing.T) {
	text := "a = '''\nx = 1\n'''\n[t] # [u]\n\"b\" = [1, # ]\n 2]\nc.d = \"\\\" # = [\"\n[[l]]\ne = {f = 1,\n g = \"\"\"\n\\\"\"\"\" }\nh = 1"
	require.Equal(t, map[string]int{"a": 1, "t": 4, "t.b": 5, "t.c.d": 7, "l": 8, "l.e": 9, "l.h": 12}, scan(text).lines)
	require.Equal(t, 9, scan(text).line("l.e.f"), "a key of an inline table stands on its table's line")
	require.Zero(t, scan(text).line("z"))
	require.Zero(t, scan(text).deepLine)
}

func TestNotices(t *testing.T) {
	const noHead = "keys without a meaning here are ignored: dflash.dflash_architecture_config.emb_dim (the draft has no Domino head), " +
		"dflash.dflash_architecture_config.gru_hidden_dim (the draft has no Domino head)"
	const klOff = "dflash.dflash_self_logit_distillation: not given, so off; Model-Optimizer's default for plain DFlash is on"
	for _, c := range []struct {
		name      string
		overrides []string
		want      []string
	}{
		{"nothing to say", nil, nil},
		{"carried keys, in one notice", []string{"training.tf32=true", "dflash.dflash_use_torch_compile=false", "dflash.dflash_ce_loss_alpha=0.1", "training.dataloader_drop_last=false"},
			[]string{"keys without a meaning here are ignored: training.dataloader_drop_last (an incomplete batch is always dropped), " +
				"training.tf32 (run.precision decides), dflash.dflash_use_torch_compile (there is no PyTorch), dflash.dflash_ce_loss_alpha (it belongs to DSpark)"}},
		{"forced values say nothing", []string{"dflash.dflash_freeze_base_model=true", "dflash.dflash_offline=false", "training.cp_size=1", "data.mode=online"}, nil},
		{"plain DFlash", []string{plainDraft}, []string{noHead, klOff}},
		{"plain DFlash says so itself", []string{plainDraft, "dflash.dflash_self_logit_distillation=false"}, []string{noHead}},
		{"plain DFlash of profile modelopt", []string{plainDraft, "compat.profile=modelopt"}, []string{noHead}},
		{"weight without distillation", []string{"compat.distillation_weight=0.3"},
			[]string{"keys without a meaning here are ignored: compat.distillation_weight (dflash_self_logit_distillation is false)"}},
		{"decay factor with D-PACE", []string{plainDraft, "dflash.dflash_self_logit_distillation=true", "dflash.dflash_loss_decay_factor=4"},
			[]string{strings.Replace(noHead, "ignored: ", `ignored: dflash.dflash_loss_decay_factor (the objective is "dpace"), `, 1)}},
		{"D-PACE with Domino, profile modelopt", []string{"compat.profile=modelopt", "dflash.dflash_loss_objective=dpace"},
			[]string{`warning: dflash.dflash_loss_objective: "dpace" is ignored with projector_type "domino", as Model-Optimizer does: "decay" is used`}},
		{"prefix that servers do not load", []string{arch + "pure_draft_prefix_len=2"},
			[]string{"warning: dflash.dflash_architecture_config.pure_draft_prefix_len: most servers load only drafts with 1, got 2"}},
		{"a layer twice", []string{arch + "target_layer_ids=[1, 1]"},
			[]string{"warning: dflash.dflash_architecture_config.target_layer_ids: a layer stands twice in [1, 1]: its features are repeated"}},
		{"warm-up of a constant rate", []string{"training.lr_scheduler_type=constant", "training.warmup_ratio=0.1"},
			[]string{"warning: training.lr_scheduler_type: constant has no warm-up: warmup_ratio and warmup_steps are ignored"}},
		{"warm-up given twice", []string{"training.warmup_steps=10", "training.warmup_ratio=0.1"},
			[]string{"training.warmup_steps: wins over warmup_ratio"}},
		{"length given twice", []string{"training.max_steps=10", "training.num_train_epochs=1"},
			[]string{"training.max_steps: 10 overrides num_train_epochs"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, notices := mustParse(t, c.overrides...)
			require.Equal(t, c.want, texts(notices))
		})
	}
}

func TestMetadataIsIgnoredWithANotice(t *testing.T) {
	_, notices, err := Parse("r.toml", []byte(baseRecipe+"[metadata]\nrecipe_type = \"speculative_dflash\"\ndescription = \"x\"\nfrom = {a = 1}\n"), nil)
	require.NoError(t, err)
	require.Equal(t, []string{"keys without a meaning here are ignored: metadata.description (a note), metadata.from (a note)"}, texts(notices))
}

func FuzzParse(f *testing.F) {
	f.Add(baseRecipe, "training.max_steps=200")
	for _, c := range brokenRecipes {
		o := ""
		if len(c.overrides) > 0 {
			o = c.overrides[0]
		}
		f.Add(c.file, o)
	}
	f.Fuzz(func(t *testing.T, text, override string) {
		r, _, err := Parse("r.toml", []byte(text), []string{override})
		if err != nil {
			requireUsage(t, err, err.Error())
			require.Less(t, len(err.Error()), 1000)
			return
		}
		out, _, err := r.Resolve(qwen3x8b)
		if err != nil {
			requireUsage(t, err, err.Error())
			return
		}
		back, err := FromFlat(out.Flat())
		require.NoError(t, err)
		require.Equal(t, out, back)
	})
}
