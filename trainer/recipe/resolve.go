package recipe

import (
	"fmt"
	"strings"
)

// Resolve checks the recipe against the target and gives the final values. What
// the draft inherits from the target and what is ignored stands in the notices.
// Errors have exit code fail.Usage. Source: spec.md §2.1, §4.1, §5.4, §5.5, §5.7, §15.
func (r *Recipe) Resolve(t Target) (*Resolved, []Notice, error) {
	out := r.copyPlain()
	inherit := r.inherit(t, out)
	for _, f := range []func(Target, *Resolved) error{
		r.resolveForced, r.resolveGeometry, r.resolveLayers, r.resolveInit, r.resolveMask,
	} {
		if err := f(t, out); err != nil {
			return nil, nil, err
		}
	}
	notices := r.targetNotices(t, out)
	if len(inherit) > 0 {
		notices = append([]Notice{info("", "the draft inherits from the target: %s", strings.Join(inherit, ", "))}, notices...)
	}
	return out, notices, nil
}

// copyPlain copies every value that needs no target, and clears those that mean
// nothing in this recipe, so that equal runs have equal Flat maps.
func (r *Recipe) copyPlain() *Resolved {
	out := &Resolved{}
	for _, k := range allKeys {
		if k.out != nil {
			copyValue(k.out(out), k.in(r))
		}
	}
	if !out.Domino {
		out.EmbDim, out.GRUHiddenDim, out.PureDraftPrefixLen, out.ShiftLabel = 0, 0, 0, false
		out.LambdaStart, out.LambdaRatio = 0, 0
	} else {
		out.Objective = objectiveDecay // "dpace" got this far in profile modelopt, with a warning
	}
	if !out.SelfDistillation {
		out.DistillationWeight = 0
	}
	if out.Schedule == "constant" {
		out.WarmupSteps, out.WarmupRatio = 0, 0
	} else if out.WarmupSteps > 0 {
		out.WarmupRatio = 0
	}
	return out
}

// copyValue copies a recipe field to its resolved field.
func copyValue(to, from any) {
	switch p := to.(type) {
	case *optionalInt:
		*p = optionalInt(*from.(*int))
	case *deviceIndex:
		*p = deviceIndex(*from.(*int))
	case *projector:
		*p = *from.(*string) == domino
	default:
		copySame(to, from)
	}
}

// inherit fills what the recipe left to the target and names it for the notice.
func (r *Recipe) inherit(t Target, out *Resolved) []string {
	var names []string
	for _, f := range []struct {
		leaf   string
		field  *int
		target int
	}{
		{"num_attention_heads", &out.NumHeads, t.NumHeads},
		{"num_key_value_heads", &out.NumKVHeads, t.NumKVHeads},
		{"head_dim", &out.HeadDim, t.HeadDim},
		{"intermediate_size", &out.IntermediateSize, t.IntermediateSize},
		{"max_position_embeddings", &out.MaxPositionEmbeddings, t.MaxPositionEmbeddings},
	} {
		if !r.Given(arch + f.leaf) {
			*f.field = f.target
			names = append(names, fmt.Sprintf("%s %d", f.leaf, f.target))
		}
	}
	if !r.Given(arch + "rms_norm_eps") {
		out.RMSNormEps = t.RMSNormEps
		names = append(names, "rms_norm_eps "+formatFloat(t.RMSNormEps))
	}
	return names
}

// resolveForced refuses a width or vocabulary that is not the target's, and takes
// the target's RoPE base whatever the recipe says.
func (r *Recipe) resolveForced(t Target, out *Resolved) error {
	for _, f := range []struct {
		leaf   string
		field  *int
		target int
	}{{"hidden_size", &out.HiddenSize, t.HiddenSize}, {"vocab_size", &out.VocabSize, t.VocabSize}} {
		if r.Given(arch+f.leaf) && *f.field != f.target {
			return r.bad(arch+f.leaf, "leave the key out: the draft shares the target's", "want the target's %d, got %d", f.target, *f.field)
		}
		*f.field = f.target
	}
	out.Theta = t.RopeTheta
	return nil
}

func (r *Recipe) resolveGeometry(_ Target, out *Resolved) error {
	if out.NumKVHeads < 1 || out.NumHeads%out.NumKVHeads != 0 {
		return r.bad(arch+"num_attention_heads", "every key-value head serves the same number of query heads; give both keys",
			"want a multiple of num_key_value_heads %d, got %d", out.NumKVHeads, out.NumHeads)
	}
	if out.HeadDim%2 != 0 {
		return r.bad(arch+"head_dim", "give an even head_dim", "want an even integer, got the target's %d", out.HeadDim)
	}
	return nil
}

// resolveLayers checks the draft's depth and the captured layers: ids from 0 to
// L-2, since the last layer's output is ambiguous between frameworks.
func (r *Recipe) resolveLayers(t Target, out *Resolved) error {
	if out.NumLayers > t.NumLayers {
		return r.bad(arch+"num_hidden_layers", "a draft has at most as many layers as its target",
			"want at most the target's %d layers, got %d", t.NumLayers, out.NumLayers)
	}
	how := ""
	if !r.Given(arch + "target_layer_ids") {
		ids, err := TargetLayerIDs(t.NumLayers, out.NumLayers)
		if err != nil {
			return err
		}
		out.TargetLayerIDs, how = ids, " by the formula"
	}
	for _, id := range out.TargetLayerIDs {
		if id > t.NumLayers-2 {
			return r.bad(arch+"target_layer_ids", "the output of the last layer cannot be captured: name earlier layers",
				"want layers 0 to %d (the target has %d), got %d in %s%s", t.NumLayers-2, t.NumLayers, id, formatInts(out.TargetLayerIDs), how)
		}
	}
	return nil
}

func (r *Recipe) resolveInit(t Target, out *Resolved) error {
	const name = "compat.init_from_target_layers"
	if out.InitFromTargetLayers == nil {
		return nil
	}
	for _, f := range []struct {
		leaf          string
		draft, target int
	}{
		{"num_attention_heads", out.NumHeads, t.NumHeads}, {"num_key_value_heads", out.NumKVHeads, t.NumKVHeads},
		{"head_dim", out.HeadDim, t.HeadDim}, {"intermediate_size", out.IntermediateSize, t.IntermediateSize},
	} {
		if f.draft != f.target {
			return r.bad(name, "leave out "+arch+f.leaf+" so that the draft takes the target's",
				"want a draft of the target's geometry: %s: want %d, got %d", f.leaf, f.target, f.draft)
		}
	}
	for _, id := range out.InitFromTargetLayers {
		if id >= t.NumLayers {
			return r.bad(name, "name layers that the target has", "want layers 0 to %d (the target has %d), got %d in %s",
				t.NumLayers-1, t.NumLayers, id, formatInts(out.InitFromTargetLayers))
		}
	}
	return nil
}

func (r *Recipe) resolveMask(t Target, out *Resolved) error {
	const name = "dflash.dflash_mask_token_id"
	from := ""
	if !r.Given(name) {
		if t.MaskTokenID < 0 {
			return r.bad(name, "give an id that no text uses, below the vocabulary size (Qwen3: 151669)",
				"missing: the target's tokenizer has no mask token: want an id in [0, %d]", t.VocabSize-1)
		}
		out.MaskTokenID, from = t.MaskTokenID, ", the tokenizer's mask token"
	}
	if out.MaskTokenID >= t.VocabSize {
		return r.bad(name, "give an id that no text uses, below the vocabulary size",
			"want an id in [0, %d] (the target's vocabulary is %d), got %d%s", t.VocabSize-1, t.VocabSize, out.MaskTokenID, from)
	}
	return nil
}

// targetNotices are about values that the target overrides or makes doubtful.
func (r *Recipe) targetNotices(t Target, out *Resolved) []Notice {
	a := r.DFlash.Architecture
	var all []Notice
	if r.Given(arch+"rope_theta") && a.RoPETheta != t.RopeTheta {
		all = append(all, warning(arch+"rope_theta", "%s is ignored: the draft uses the target's %s", formatFloat(a.RoPETheta), formatFloat(t.RopeTheta)))
	}
	if a.RoPEType != "default" {
		all = append(all, warning(arch+"rope_type", "%s is ignored: the draft is trained without RoPE scaling", describe(a.RoPEType)))
	}
	if len(r.DFlash.ExportRoPE) > 0 {
		all = append(all, info("dflash.dflash_export_rope_scaling", "written to the exported config.json alone: servers will run the draft with another RoPE than it was trained with"))
	}
	if !r.Given(arch+"target_layer_ids") && hasDuplicates(out.TargetLayerIDs) {
		all = append(all, warning(arch+"target_layer_ids", "the formula repeats a layer of this shallow target: %s", formatInts(out.TargetLayerIDs)))
	}
	if t.MaxPositionEmbeddings > 0 && out.SeqLen > t.MaxPositionEmbeddings {
		all = append(all, warning("training.training_seq_len", "%d is longer than the target's max_position_embeddings %d", out.SeqLen, t.MaxPositionEmbeddings))
	}
	return all
}
