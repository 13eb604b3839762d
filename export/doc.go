// Package export writes a trained draft in the format that SpecForge, SGLang and Model-Optimizer load, and reads drafts of
// that format strictly (spec.md §13). A draft is a folder of
//
//	model.safetensors  the tensors of spec.md §5.6 and §6.2, no prefix, no embeddings, no LM head
//	config.json        every key of Model-Optimizer's exporter, and those that SpecForge's loader wants
//	vkdomino.json      Provenance: what the draft was trained with; ours alone
//
// What Write leaves behind fulfils the contract of spec.md §13.3, or nothing is left behind.
package export

import (
	"errors"
	"fmt"

	"vkdomino/internal/draftnames"
)

// The files of an exported draft.
const (
	ModelFile      = "model.safetensors"
	ConfigFile     = "config.json"
	ProvenanceFile = "vkdomino.json"
)

// ErrContract is in the chain of an error about a draft whose tensors and config do not fit together.
var ErrContract = errors.New("draft contract")

// contract returns an error with ErrContract in its chain.
func contract(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrContract, fmt.Errorf(format, args...))
}

// Names returns the geometry that decides which tensors the draft has.
func (c Config) Names() draftnames.Shape {
	s := draftnames.Shape{
		Layers: c.NumHiddenLayers, Hidden: c.HiddenSize, Features: len(c.TargetLayerIDs), Heads: c.NumAttentionHeads,
		KVHeads: c.NumKeyValueHeads, HeadDim: c.HeadDim, Intermediate: c.IntermediateSize, Vocab: c.VocabSize, Domino: c.Domino,
	}
	if c.Domino {
		s.GRUHidden, s.Embed = c.GRUHiddenDim, c.EmbDim
	}
	return s
}
