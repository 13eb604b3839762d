package recipe

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
)

// The table of spec.md §2.1, C1 to C4 among it.
func TestTargetLayerIDs(t *testing.T) {
	for _, c := range []struct {
		l, d int
		want []int
	}{
		{36, 5, []int{1, 9, 17, 25, 33}},
		{36, 1, []int{18}},
		{36, 2, []int{1, 33}},
		{36, 3, []int{1, 17, 33}},
		{36, 6, []int{1, 7, 14, 20, 27, 33}},
		{36, 8, []int{1, 6, 10, 15, 19, 24, 28, 33}},
		{32, 5, []int{1, 8, 15, 22, 29}},
		{32, 1, []int{16}},
		{28, 5, []int{1, 7, 13, 19, 25}},
		{24, 5, []int{1, 6, 11, 16, 21}},
		{40, 5, []int{1, 10, 19, 28, 37}},
		{48, 5, []int{1, 12, 23, 34, 45}},
		{61, 6, []int{1, 12, 24, 35, 47, 58}},
		{64, 5, []int{1, 16, 31, 46, 61}},
		{80, 5, []int{1, 20, 39, 58, 77}},
		{94, 5, []int{1, 24, 46, 68, 91}},
		{12, 5, []int{1, 3, 5, 7, 9}},
		{10, 5, []int{1, 2, 4, 6, 7}}, // 2.5 -> 2 and 5.5 -> 6
		{9, 5, []int{1, 2, 4, 5, 6}},
		{8, 4, []int{1, 2, 4, 5}},
		{8, 2, []int{1, 5}},
		{7, 3, []int{1, 2, 4}}, // 2.5 -> 2
		{6, 4, []int{1, 2, 2, 3}},
		{6, 2, []int{1, 3}},
		{5, 5, []int{1, 1, 2, 2, 2}},
		{4, 2, []int{1, 1}},
		{3, 3, []int{1, 1, 1}},
		{2, 2, []int{1, 1}},
		{1, 1, []int{0}},
	} {
		ids, err := TargetLayerIDs(c.l, c.d)
		require.NoError(t, err)
		require.Equal(t, c.want, ids, "f(%d, %d)", c.l, c.d)
	}
	for _, c := range [][2]int{{2, 3}, {5, 0}, {5, -1}, {0, 1}} {
		_, err := TargetLayerIDs(c[0], c[1])
		requireUsage(t, err, fmt.Sprintf("recipe: target layer ids: want a draft of 1 to %d layers (the target has %d), got %d", c[0], c[0], c[1]))
	}
}

// with is the 8B target with one change.
func with(change func(*Target)) Target {
	target := qwen3x8b
	change(&target)
	return target
}

func TestTargetErrors(t *testing.T) {
	const a = "dflash.dflash_architecture_config."
	for _, c := range []struct {
		name      string
		target    Target
		overrides []string
		want      string
	}{
		{"more draft than target layers", with(func(t *Target) { t.NumLayers = 4 }), nil,
			"recipe: r.toml: " + a + "num_hidden_layers: want at most the target's 4 layers, got 5"},
		{"the same with explicit ids", with(func(t *Target) { t.NumLayers = 4 }), []string{a + "target_layer_ids=[1]"},
			"recipe: r.toml: " + a + "num_hidden_layers: want at most the target's 4 layers, got 5"},
		{"last layer", qwen3x8b, []string{a + "target_layer_ids=[1, 35]"},
			`recipe: override "` + a + `target_layer_ids=[1, 35]": ` + a + "target_layer_ids: want layers 0 to 34 (the target has 36), got 35 in [1, 35]"},
		{"formula on a target too shallow", with(func(t *Target) { t.NumLayers = 2 }), []string{a + "num_hidden_layers=2"},
			"recipe: r.toml: " + a + "target_layer_ids: want layers 0 to 0 (the target has 2), got 1 in [1, 1] by the formula"},
		{"mask id beyond the vocabulary", qwen3x8b, []string{"dflash.dflash_mask_token_id=151936"},
			`recipe: override "dflash.dflash_mask_token_id=151936": dflash.dflash_mask_token_id: want an id in [0, 151935] (the target's vocabulary is 151936), got 151936`},
		{"width", qwen3x8b, []string{a + "hidden_size=2048"},
			`recipe: override "` + a + `hidden_size=2048": ` + a + "hidden_size: want the target's 4096, got 2048"},
		{"vocabulary", qwen3x8b, []string{a + "vocab_size=151669"},
			`recipe: override "` + a + `vocab_size=151669": ` + a + "vocab_size: want the target's 151936, got 151669"},
		{"heads against inherited key-value heads", qwen3x8b, []string{a + "num_attention_heads=12"},
			`recipe: override "` + a + `num_attention_heads=12": ` + a + "num_attention_heads: want a multiple of num_key_value_heads 8, got 12"},
		{"key-value heads against inherited heads", qwen3x8b, []string{a + "num_key_value_heads=5"},
			"recipe: r.toml: " + a + "num_attention_heads: want a multiple of num_key_value_heads 5, got 32"},
		{"odd head_dim of the target", with(func(t *Target) { t.HeadDim = 33 }), nil,
			"recipe: r.toml: " + a + "head_dim: want an even integer, got the target's 33"},
		{"start from layers of another width", qwen3x8b, []string{a + "num_hidden_layers=1", a + "intermediate_size=64", "compat.init_from_target_layers=[0]"},
			`recipe: override "compat.init_from_target_layers=[0]": compat.init_from_target_layers: want a draft of the target's geometry: intermediate_size: want 12288, got 64`},
		{"start from a layer that is not there", qwen3x8b, []string{a + "num_hidden_layers=1", "compat.init_from_target_layers=[36]"},
			`recipe: override "compat.init_from_target_layers=[36]": compat.init_from_target_layers: want layers 0 to 35 (the target has 36), got 36 in [36]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, _ := mustParse(t, c.overrides...)
			_, _, err := r.Resolve(c.target)
			requireUsage(t, err, c.want)
		})
	}
}

func TestMaskTokenOfTheTokenizer(t *testing.T) {
	r, _, err := Parse("r.toml", []byte(edit("dflash_mask_token_id = 7\n", "")), nil)
	require.NoError(t, err)

	out, _, err := r.Resolve(with(func(t *Target) { t.MaskTokenID = 9 }))
	require.NoError(t, err)
	require.Equal(t, 9, out.MaskTokenID)

	_, _, err = r.Resolve(qwen3x8b)
	requireUsage(t, err, "recipe: r.toml: dflash.dflash_mask_token_id: missing: the target's tokenizer has no mask token: want an id in [0, 151935]")

	_, _, err = r.Resolve(with(func(t *Target) { t.MaskTokenID = 151936 }))
	requireUsage(t, err, "recipe: r.toml: dflash.dflash_mask_token_id: want an id in [0, 151935] (the target's vocabulary is 151936), got 151936, the tokenizer's mask token")
}

func TestInheritance(t *testing.T) {
	out, notices := mustResolve(t, qwen3x8b, arch+"num_attention_heads=16", arch+"rms_norm_eps=1e-5")
	require.Equal(t, []string{"the draft inherits from the target: num_key_value_heads 8, head_dim 128, intermediate_size 12288, max_position_embeddings 40960"}, texts(notices))
	require.Equal(t, []int{16, 8, 128, 12288, 4096, 151936, 40960},
		[]int{out.NumHeads, out.NumKVHeads, out.HeadDim, out.IntermediateSize, out.HiddenSize, out.VocabSize, out.MaxPositionEmbeddings})
	require.Equal(t, 1e-5, out.RMSNormEps)
	require.Equal(t, 1e6, out.Theta)
	require.Equal(t, []int{1, 9, 17, 25, 33}, out.TargetLayerIDs)
	require.Nil(t, out.InitFromTargetLayers)
}

func TestTargetNotices(t *testing.T) {
	_, notices := mustResolve(t, demoTarget, arch+"rope_theta=500000", arch+"rope_type=yarn", "training.training_seq_len=4096",
		"dflash.dflash_export_rope_scaling={type = \"yarn\"}")
	require.Equal(t, []string{
		"warning: dflash.dflash_architecture_config.rope_theta: 500000.0 is ignored: the draft uses the target's 10000.0",
		`warning: dflash.dflash_architecture_config.rope_type: "yarn" is ignored: the draft is trained without RoPE scaling`,
		"dflash.dflash_export_rope_scaling: written to the exported config.json alone: servers will run the draft with another RoPE than it was trained with",
		"warning: dflash.dflash_architecture_config.target_layer_ids: the formula repeats a layer of this shallow target: [1, 1, 2, 2, 2]",
		"warning: training.training_seq_len: 4096 is longer than the target's max_position_embeddings 2048",
	}, texts(notices)[1:])

	_, quiet := mustResolve(t, qwen3x8b, arch+"rope_theta=1000000", arch+"rope_type=default")
	require.Len(t, quiet, 1, "only what is inherited")
}

// What means nothing in a recipe is cleared, so that it cannot differ on resume.
func TestResolvedIsCanonical(t *testing.T) {
	draft, _ := mustResolve(t, qwen3x8b, plainDraft, arch+"shift_label=false", "compat.distillation_weight=0.3")
	require.False(t, draft.Domino)
	require.Zero(t, draft.EmbDim+draft.GRUHiddenDim+draft.PureDraftPrefixLen)
	require.False(t, draft.ShiftLabel)
	require.Zero(t, draft.LambdaStart+draft.LambdaRatio+draft.DistillationWeight)

	steps, _ := mustResolve(t, qwen3x8b, "training.warmup_steps=10", "training.warmup_ratio=0.1")
	require.Equal(t, 10, steps.WarmupSteps)
	require.Zero(t, steps.WarmupRatio)

	ratio, _ := mustResolve(t, qwen3x8b, "training.warmup_steps=0", "training.warmup_ratio=0.1")
	require.Zero(t, ratio.WarmupSteps)
	require.Equal(t, 0.1, ratio.WarmupRatio)

	none, _ := mustResolve(t, qwen3x8b, "training.warmup_steps=0")
	require.Zero(t, none.WarmupRatio, "no warm-up was asked for, so none by default either")

	constant, _ := mustResolve(t, qwen3x8b, "training.lr_scheduler_type=constant")
	require.Zero(t, constant.WarmupRatio)

	ignored, _ := mustResolve(t, qwen3x8b, "compat.profile=modelopt", "dflash.dflash_loss_objective=dpace")
	require.Equal(t, "decay", ignored.Objective)
}

// The defaults: spec.md §10's RC column, else §15's.
func TestDefaults(t *testing.T) {
	out, _ := mustResolve(t, qwen3x8b)
	require.Equal(t, &Resolved{
		ModelPath: "m", DataPath: "d.jsonl", SampleSize: -1, OutputDir: "out",
		Domino: true, NumLayers: 5, NumHeads: 32, NumKVHeads: 8, HeadDim: 128, IntermediateSize: 12288, HiddenSize: 4096, VocabSize: 151936,
		MaxPositionEmbeddings: 40960, RMSNormEps: 1e-6, Theta: 1e6, EmbDim: 16, GRUHiddenDim: 24, PureDraftPrefixLen: 1, ShiftLabel: true,
		TargetLayerIDs: []int{1, 9, 17, 25, 33}, InitializerRange: 0.02, ExportRopeScaling: []byte("{}"),
		BlockSize: 8, NumAnchors: 256, MaskTokenID: 7, Objective: "decay", LossDecayGamma: 7, DPaceAlpha: 0.5, LambdaStart: 1, LambdaRatio: 1,
		Profile: "rc", AnchorRule: "specforge", MaskIntersectAttention: true, SuperviseEndOfTurn: true,
		SeqLen: 3072, BatchSize: 8, Accumulation: 1, LearningRate: 6e-4, Schedule: "cosine", WarmupRatio: 0.04, MaxGradNorm: 1,
		Beta1: 0.9, Beta2: 0.999, AdamEps: 1e-8, MaxSteps: -1, Epochs: 3, Seed: 42,
		LoggingSteps: 50, SaveSteps: 2000, ReportTo: "tensorboard", EvalPrompts: 8, EvalMaxNewTokens: 64, EvalDraftTokens: 7,
		Precision: "bf16", Device: -1, Progress: true,
	}, out)
	require.False(t, out.EmptyBatchIsError())
	require.False(t, out.SuperviseNewline())
}

// The table of spec.md §18.A: what a profile changes, and nothing else.
func TestProfiles(t *testing.T) {
	shift := arch + "shift_label=true" // training without it is refused
	base, _ := mustResolve(t, qwen3x8b, shift)
	for _, c := range []struct {
		profile string
		change  func(*Resolved)
	}{
		{"rc", func(*Resolved) {}},
		{"modelopt", func(r *Resolved) {
			r.Schedule, r.AnchorRule, r.DenGuard, r.MaskIntersectAttention = "linear", "modelopt", true, false
			r.SuperviseEndOfTurn, r.StrictSeqDivisible, r.AllowUnknownTotalSteps = false, true, true
		}},
		{"specforge", func(r *Resolved) {
			r.MaskIntersectAttention, r.MaxGradNorm, r.LambdaRatio, r.PureDraftPrefixLen = false, 0.5, 0.5, 0
			r.AllowUnknownTotalSteps = true
		}},
	} {
		t.Run(c.profile, func(t *testing.T) {
			want := *base
			want.Profile = c.profile
			c.change(&want)
			got, _ := mustResolve(t, qwen3x8b, shift, "compat.profile="+c.profile)
			require.Equal(t, &want, got)
			require.Equal(t, c.profile == "specforge", got.EmptyBatchIsError())
			require.Equal(t, c.profile == "specforge", got.SuperviseNewline())
		})
	}
}

func TestSwitchesStandBesideAProfile(t *testing.T) {
	rc, _ := mustResolve(t, qwen3x8b)
	for _, profile := range []string{"modelopt", "specforge"} {
		got, _ := mustResolve(t, qwen3x8b, "compat.profile="+profile,
			"training.lr_scheduler_type=cosine", "training.max_grad_norm=1", "compat.anchor_rule=specforge", "compat.den_guard=false",
			"compat.mask_intersect_attention=true", "compat.supervise_end_of_turn=true", "compat.strict_seq_divisible=false",
			"compat.allow_unknown_total_steps=false", "dflash.dflash_lambda_base_decay_ratio=1", arch+"pure_draft_prefix_len=1", arch+"shift_label=true")
		want := *rc
		want.Profile = profile
		require.Equal(t, &want, got)
	}
}

func TestObjectiveAndDistillationDefaults(t *testing.T) {
	for _, c := range []struct {
		overrides []string
		objective string
		on        bool
		weight    float64
	}{
		{nil, "decay", false, 0},
		{[]string{"dflash.dflash_self_logit_distillation=true"}, "decay", true, 0.5},
		{[]string{"dflash.dflash_self_logit_distillation=true", "compat.distillation_weight=0.25"}, "decay", true, 0.25},
		{[]string{plainDraft}, "dpace", false, 0},
		{[]string{plainDraft, "compat.profile=modelopt"}, "dpace", true, 1},
		{[]string{plainDraft, "compat.profile=modelopt", "dflash.dflash_self_logit_distillation=false"}, "dpace", false, 0},
		{[]string{"compat.profile=modelopt"}, "decay", false, 0},
		{[]string{"compat.profile=modelopt", "dflash.dflash_self_logit_distillation=true"}, "decay", true, 0.5},
	} {
		out, _ := mustResolve(t, qwen3x8b, c.overrides...)
		require.Equal(t, []any{c.objective, c.on, c.weight}, []any{out.Objective, out.SelfDistillation, out.DistillationWeight}, "%v", c.overrides)
	}
}

func TestFromFlatRefuses(t *testing.T) {
	out, _ := mustResolve(t, qwen3x8b)
	for name, change := range map[string]func(map[string]string){
		"training.seed: missing":                                                     func(m map[string]string) { delete(m, "training.seed") },
		"training.x: unknown key (want 73 keys, got 74)":                             func(m map[string]string) { m["training.x"] = "1" },
		`training.seed: strconv.ParseUint: parsing "-1": invalid syntax`:             func(m map[string]string) { m["training.seed"] = "-1" },
		`compat.init_from_target_layers: want a list, got "1, 2"`:                    func(m map[string]string) { m["compat.init_from_target_layers"] = "1, 2" },
		`dflash.dflash_export_rope_scaling: want JSON, got "yarn"`:                   func(m map[string]string) { m["dflash.dflash_export_rope_scaling"] = "yarn" },
		`run.progress: strconv.ParseBool: parsing "yes": invalid syntax`:             func(m map[string]string) { m["run.progress"] = "yes" },
		`run.device: strconv.Atoi: parsing "gpu": invalid syntax`:                    func(m map[string]string) { m["run.device"] = "gpu" },
		arch + `projector_type: want "domino" or "dflash", got "dspark"`:             func(m map[string]string) { m[arch+"projector_type"] = "dspark" },
		arch + `target_layer_ids: strconv.Atoi: parsing "": invalid syntax`:          func(m map[string]string) { m[arch+"target_layer_ids"] = "[]" },
		`training.learning_rate: strconv.ParseFloat: parsing "fast": invalid syntax`: func(m map[string]string) { m["training.learning_rate"] = "fast" },
	} {
		flat := out.Flat()
		change(flat)
		_, err := FromFlat(flat)
		require.EqualError(t, err, "recipe: stored configuration: "+name)
		require.Equal(t, fail.Other, fail.CodeOf(err))
	}
}

func TestFlatSpelling(t *testing.T) {
	out, _ := mustResolve(t, qwen3x8b, "run.device=1", "training.save_total_limit=3")
	flat := out.Flat()
	for key, want := range map[string]string{
		"dflash.dflash_swa_window_size": "none", "training.save_total_limit": "3", "run.device": "1", arch + "projector_type": "domino",
		"training.learning_rate": "0.0006", "training.adam_epsilon": "1e-08", arch + "target_layer_ids": "[1, 9, 17, 25, 33]",
		"compat.init_from_target_layers": "none", "data.chat_template": "", "dflash.dflash_export_rope_scaling": "{}", "training.seed": "42",
	} {
		require.Equal(t, want, flat[key], key)
	}
	back, err := FromFlat(flat)
	require.NoError(t, err)
	require.Equal(t, out, back)
}
