package export

import (
	draft "vkdomino/domino" // the package's tests have a function domino
	"vkdomino/internal/fail"
)

// DraftConfig is the architecture that the config describes, for decoding with it. A draft whose export scales RoPE is
// refused: the program computes with the target's own angles (spec.md §13.4).
func (c Config) DraftConfig() (draft.DraftConfig, error) {
	if len(c.RopeScaling) > 0 {
		return draft.DraftConfig{}, fail.New(fail.Other, "decode with an export whose rope_scaling is null", "export: rope_scaling: want null to decode with, got %s", c.RopeScaling)
	}
	return draft.DraftConfig{HiddenSize: c.HiddenSize, VocabSize: c.VocabSize, NumLayers: c.NumHiddenLayers, NumHeads: c.NumAttentionHeads,
		NumKVHeads: c.NumKeyValueHeads, HeadDim: c.HeadDim, IntermediateSize: c.IntermediateSize, TargetLayerIDs: c.TargetLayerIDs,
		NumTargetLayers: c.NumTargetLayers, BlockSize: c.BlockSize, MaskTokenID: c.MaskTokenID, SWAWindow: c.Window,
		RMSNormEps: c.RMSNormEps, Theta: c.RopeTheta, InitializerRange: c.InitializerRange, Domino: c.Domino,
		GRUHiddenDim: c.GRUHiddenDim, EmbDim: c.EmbDim, PureDraftPrefixLen: c.PureDraftPrefixLen, ShiftLabel: c.ShiftLabel}, nil
}
