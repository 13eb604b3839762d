package recipe

import (
	"strings"
)

// check tests what needs more than one key, and nothing of the target.
func (r *Recipe) check() error {
	for _, f := range []func() error{
		r.checkRequired, r.checkSource, r.checkHead, r.checkPrefix, r.checkObjective,
		r.checkLengths, r.checkHeads, r.checkLayerLists, r.checkEvaluation,
	} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

func (r *Recipe) checkRequired() error {
	for _, k := range allKeys {
		if k.def == "required" && !r.Given(k.name) {
			if k.name == "data.data_path" && (r.Data.OfflineDataPath != "" || r.Data.StreamingServerURL != "") {
				continue // checkSource has the better message
			}
			return r.bad(k.name, k.rule.hint, "missing: want %s", k.rule.want)
		}
	}
	return nil
}

func (r *Recipe) checkSource() error {
	offline, streaming := r.Data.OfflineDataPath != "", r.Data.StreamingServerURL != ""
	switch {
	case offline && streaming:
		return r.bad("data.offline_data_path", onlyOnline, "given together with data.streaming_server_url: at most one source of features can be used")
	case offline:
		return r.bad("data.offline_data_path", onlyOnline, "offline data is not supported, got %s", describe(r.Data.OfflineDataPath))
	case streaming:
		return r.bad("data.streaming_server_url", onlyOnline, "streaming data is not supported, got %s", describe(r.Data.StreamingServerURL))
	}
	return nil
}

// isDomino reports whether the draft has the head.
func (r *Recipe) isDomino() bool { return r.DFlash.Architecture.ProjectorType == domino }

func (r *Recipe) checkHead() error {
	if !r.isDomino() {
		return nil
	}
	var missing []string
	for _, leaf := range []string{"emb_dim", "gru_hidden_dim"} {
		if !r.Given(arch + leaf) {
			missing = append(missing, leaf)
		}
	}
	if len(missing) > 0 {
		return r.bad(arch+"projector_type", "the Qwen3-8B recipe has emb_dim = 256 and gru_hidden_dim = 1024",
			`"domino" needs %s, which the recipe does not give`, strings.Join(missing, " and "))
	}
	if !r.DFlash.Architecture.ShiftLabel {
		found := "false"
		if !r.Given(arch + "shift_label") {
			found = `false, the default of compat.profile = "specforge"`
		}
		return r.bad(arch+"shift_label", "set shift_label = true", "a draft is trained with true alone: want true, got %s", found)
	}
	return nil
}

func (r *Recipe) checkPrefix() error {
	p, bs := r.DFlash.Architecture.PureDraftPrefixLen, r.DFlash.BlockSize
	if p >= bs {
		return r.bad(arch+"pure_draft_prefix_len", "servers expect 1", "want an integer in [0, %d] (dflash_block_size is %d), got %d", bs-1, bs, p)
	}
	return nil
}

func (r *Recipe) checkObjective() error {
	if r.isDomino() && r.DFlash.LossObjective == objectiveDPace && r.Compat.Profile != profileModelOpt {
		return r.bad("dflash.dflash_loss_objective", `set it to "decay"; D-PACE is for plain DFlash`, `want "decay" with projector_type "domino", got "dpace"`)
	}
	return nil
}

func (r *Recipe) checkLengths() error {
	bs, s, w := r.DFlash.BlockSize, r.Training.SeqLen, r.DFlash.SWAWindow
	if r.Given("dflash.dflash_swa_window_size") && w < bs {
		return r.bad("dflash.dflash_swa_window_size", "leave the key out for full attention", "want at least dflash_block_size %d, got %d", bs, w)
	}
	if r.Compat.StrictSeqDivisible && s%bs != 0 {
		return r.bad("training.training_seq_len", "change one of the two, or set compat.strict_seq_divisible = false",
			"want a multiple of dflash_block_size %d, got %d", bs, s)
	}
	return nil
}

func (r *Recipe) checkHeads() error {
	a := r.DFlash.Architecture
	if a.NumHeads > 0 && a.NumKVHeads > 0 && a.NumHeads%a.NumKVHeads != 0 {
		return r.bad(arch+"num_attention_heads", "every key-value head serves the same number of query heads",
			"want a multiple of num_key_value_heads %d, got %d", a.NumKVHeads, a.NumHeads)
	}
	return nil
}

func (r *Recipe) checkLayerLists() error {
	ids, d := r.Compat.InitFromTargetLayers, r.DFlash.Architecture.NumLayers
	if ids != nil && len(ids) != d {
		return r.bad("compat.init_from_target_layers", "give one target layer per draft layer",
			"want %d layers (num_hidden_layers), got %d: %s", d, len(ids), describe(ids))
	}
	return nil
}

func (r *Recipe) checkEvaluation() error {
	if r.Training.ARValidateSteps > 0 && r.Run.EvalData == "" {
		return r.bad("training.ar_validate_steps", "give run.eval_data a JSONL file of conversations, or set ar_validate_steps = 0",
			"want run.eval_data beside it, got %d alone", r.Training.ARValidateSteps)
	}
	most := r.DFlash.BlockSize
	if !r.isDomino() {
		most-- // a plain draft's row 0 is the anchor itself
	}
	if k := r.Run.EvalDraftTokens; k > most {
		return r.bad("run.eval_draft_tokens", "a block drafts no more tokens than that", "want an integer in [1, %d] (dflash_block_size is %d), got %d", most, r.DFlash.BlockSize, k)
	}
	return nil
}

// notices are those of a recipe that passed the checks; foreign are the keys of
// [metadata] that mean nothing here.
func (r *Recipe) notices(foreign []string) []Notice {
	var all []Notice
	if n, ok := r.unusedNotice(foreign); ok {
		all = append(all, n)
	}
	a := r.DFlash.Architecture
	if r.isDomino() && r.DFlash.LossObjective == objectiveDPace {
		all = append(all, warning("dflash.dflash_loss_objective", `"dpace" is ignored with projector_type "domino", as Model-Optimizer does: "decay" is used`))
	}
	if r.isDomino() && a.PureDraftPrefixLen != 1 {
		all = append(all, warning(arch+"pure_draft_prefix_len", "most servers load only drafts with 1, got %d", a.PureDraftPrefixLen))
	}
	if hasDuplicates(a.TargetLayerIDs) {
		all = append(all, warning(arch+"target_layer_ids", "a layer stands twice in %s: its features are repeated", formatInts(a.TargetLayerIDs)))
	}
	if !r.isDomino() && !r.Given("dflash.dflash_self_logit_distillation") && r.Compat.Profile != profileModelOpt {
		all = append(all, info("dflash.dflash_self_logit_distillation", "not given, so off; Model-Optimizer's default for plain DFlash is on"))
	}
	return append(all, r.scheduleNotices()...)
}

func (r *Recipe) scheduleNotices() []Notice {
	t, all := r.Training, []Notice(nil)
	warm := r.Given("training.warmup_steps") && t.WarmupSteps > 0
	if t.Schedule == "constant" && (warm || (r.Given("training.warmup_ratio") && t.WarmupRatio > 0)) {
		all = append(all, warning("training.lr_scheduler_type", "constant has no warm-up: warmup_ratio and warmup_steps are ignored"))
	} else if warm && r.Given("training.warmup_ratio") {
		all = append(all, info("training.warmup_steps", "wins over warmup_ratio"))
	}
	if r.Given("training.max_steps") && t.MaxSteps > 0 && r.Given("training.num_train_epochs") {
		all = append(all, info("training.max_steps", "%d overrides num_train_epochs", t.MaxSteps))
	}
	return all
}

// unusedNotice is the one notice about all given keys that have no meaning here.
func (r *Recipe) unusedNotice(foreign []string) (Notice, bool) {
	var parts []string
	for _, k := range allKeys {
		why := k.unused
		if why == "" {
			why = r.unusedHere(k.name)
		}
		if why != "" && r.Given(k.name) {
			parts = append(parts, k.name+" ("+why+")")
		}
	}
	for _, name := range foreign {
		parts = append(parts, showKey(name)+" (a note)")
	}
	if len(parts) == 0 {
		return Notice{}, false
	}
	return info("", "keys without a meaning here are ignored: %s", strings.Join(parts, ", ")), true
}

// unusedHere says why a key means nothing in this very recipe, or "".
func (r *Recipe) unusedHere(name string) string {
	switch name {
	case "dflash.dflash_lambda_base_start", "dflash.dflash_lambda_base_decay_ratio", arch + "emb_dim", arch + "gru_hidden_dim",
		arch + "pure_draft_prefix_len", arch + "shift_label":
		if !r.isDomino() {
			return "the draft has no Domino head"
		}
	case "dflash.dflash_loss_decay_factor":
		if r.DFlash.LossObjective == objectiveDPace && !r.isDomino() {
			return `the objective is "dpace"`
		}
	case "compat.distillation_weight":
		if !r.DFlash.SelfDistillation {
			return "dflash_self_logit_distillation is false"
		}
	}
	return ""
}

func hasDuplicates(ids []int) bool {
	seen := map[int]bool{}
	for _, id := range ids {
		if seen[id] {
			return true
		}
		seen[id] = true
	}
	return false
}
