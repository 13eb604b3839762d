package recipe

// profileRC, profileModelOpt and profileSpecForge are the values of compat.profile.
const (
	profileRC        = "rc"
	profileModelOpt  = "modelopt"
	profileSpecForge = "specforge"
)

// objectiveDecay and objectiveDPace are the values of dflash_loss_objective.
const (
	objectiveDecay = "decay"
	objectiveDPace = "dpace"
)

// domino and plain are the values of projector_type.
const (
	domino = "domino"
	plain  = "dflash"
)

// defaults is a recipe with nothing given. Where the RC column of spec.md §10 and
// the defaults of §15 differ, §10 holds.
func defaults() *Recipe {
	return &Recipe{
		Data: Data{Mode: "online", SampleSize: -1},
		Training: Training{
			Epochs: 3, MaxSteps: -1, BatchSize: 8, Accumulation: 1, SeqLen: 3072, Seed: 42,
			LearningRate: 6e-4, Schedule: "cosine", WarmupRatio: 0.04, MaxGradNorm: 1, Beta1: 0.9, Beta2: 0.999, AdamEps: 1e-8,
			LoggingSteps: 50, SaveSteps: 2000, ReportTo: "tensorboard", CPSize: 1, DPShardSize: 1,
			DataloaderDropLast: true, BF16: true, DDPTimeout: 1800,
		},
		DFlash: DFlash{
			BlockSize: 8, NumAnchors: 256, LossDecayFactor: 7, DPaceAlpha: 0.5, MaskTokenID: -1,
			FreezeBaseModel: true, ReportAcc: true, LambdaStart: 1, LambdaRatio: 1,
			DSparkCE: 0.1, DSparkL1: 0.9,
			Architecture: DFlashArchitecture{
				ProjectorType: plain, NumLayers: 5, HiddenAct: "silu", InitializerRange: 0.02,
				PureDraftPrefixLen: 1, ShiftLabel: true, RoPEType: "default",
			},
		},
		Compat: Compat{Profile: profileRC, AnchorRule: "specforge", MaskIntersectAttention: true, SuperviseEndOfTurn: true},
		Run:    Run{Precision: "bf16", Device: -1, Progress: true, EvalPrompts: 8, EvalMaxNewTokens: 64},
	}
}

// fillProfile sets what depends on the profile (spec.md §18.A) or the projector,
// leaving alone what was given.
func (r *Recipe) fillProfile() {
	a := &r.DFlash.Architecture
	isDomino := a.ProjectorType == domino
	switch r.Compat.Profile {
	case profileModelOpt:
		unless(r, "training.lr_scheduler_type", &r.Training.Schedule, "linear")
		unless(r, "compat.anchor_rule", &r.Compat.AnchorRule, "modelopt")
		unless(r, "compat.den_guard", &r.Compat.DenGuard, true)
		unless(r, "compat.mask_intersect_attention", &r.Compat.MaskIntersectAttention, false)
		unless(r, "compat.supervise_end_of_turn", &r.Compat.SuperviseEndOfTurn, false)
		unless(r, "compat.strict_seq_divisible", &r.Compat.StrictSeqDivisible, true)
		unless(r, "compat.allow_unknown_total_steps", &r.Compat.AllowUnknownTotalSteps, true)
		unless(r, "dflash.dflash_self_logit_distillation", &r.DFlash.SelfDistillation, !isDomino)
	case profileSpecForge:
		unless(r, "training.max_grad_norm", &r.Training.MaxGradNorm, 0.5)
		unless(r, "compat.mask_intersect_attention", &r.Compat.MaskIntersectAttention, false)
		unless(r, "compat.allow_unknown_total_steps", &r.Compat.AllowUnknownTotalSteps, true)
		unless(r, "dflash.dflash_lambda_base_decay_ratio", &r.DFlash.LambdaRatio, 0.5)
		unless(r, arch+"pure_draft_prefix_len", &a.PureDraftPrefixLen, 0)
		unless(r, arch+"shift_label", &a.ShiftLabel, false)
	}
	weight, objective := 1.0, objectiveDPace
	if isDomino {
		weight, objective = 0.5, objectiveDecay
	}
	unless(r, "compat.distillation_weight", &r.Compat.DistillationWeight, weight)
	unless(r, "dflash.dflash_loss_objective", &r.DFlash.LossObjective, objective)
	unless(r, "run.eval_draft_tokens", &r.Run.EvalDraftTokens, r.DFlash.BlockSize-1)
	if r.Given("training.warmup_steps") && !r.Given("training.warmup_ratio") {
		r.Training.WarmupRatio = 0
	}
}

// unless sets *field to v where the recipe did not give the key.
func unless[T any](r *Recipe, name string, field *T, v T) {
	if !r.Given(name) {
		*field = v
	}
}
