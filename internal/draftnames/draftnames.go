// Package draftnames knows the tensors of a draft by their export names and shapes, and the names that other trainers
// have used for them (spec.md §5.6, §6.2 and §12).
package draftnames

import (
	"fmt"
	"strings"
)

// Shape is the geometry that decides which tensors a draft has. Letters are those of spec.md §1.1.
type Shape struct {
	Layers       int  // D
	Hidden       int  // H
	Features     int  // nF, captured target layers
	Heads        int  // nH
	KVHeads      int  // nKV
	HeadDim      int  // hd
	Intermediate int  // I
	Vocab        int  // V
	Domino       bool // has the head; the last two are 0 otherwise
	GRUHidden    int  // G
	Embed        int  // E
}

// Tensor is one expected tensor.
type Tensor struct {
	Name  string
	Shape []int
}

// The four tensors of the Domino head.
const (
	GRUInput     = "prefix_gru.weight_ih_l0" // [3G, H], gates r, z, n
	GRUHidden    = "prefix_gru.weight_hh_l0" // [3G, G]
	EmbedIn      = "embed_proj.0.weight"     // [E, H+G]
	EmbedOut     = "embed_proj.2.weight"     // [V, E]
	Fusion       = "fc.weight"               // [H, nF*H]
	gruGateCount = 3
)

// List returns the 3 + 11 D tensors of the backbone and, for Domino, the 4 of the head. Linear weights are [out, in].
func List(s Shape) []Tensor {
	list := []Tensor{
		{Fusion, []int{s.Hidden, s.Features * s.Hidden}},
		{"hidden_norm.weight", []int{s.Hidden}},
		{"norm.weight", []int{s.Hidden}},
	}
	for layer := range s.Layers {
		list = append(list, layerTensors(fmt.Sprintf("layers.%d.", layer), s)...)
	}
	if s.Domino {
		list = append(list,
			Tensor{GRUInput, []int{gruGateCount * s.GRUHidden, s.Hidden}},
			Tensor{GRUHidden, []int{gruGateCount * s.GRUHidden, s.GRUHidden}},
			Tensor{EmbedIn, []int{s.Embed, s.Hidden + s.GRUHidden}},
			Tensor{EmbedOut, []int{s.Vocab, s.Embed}},
		)
	}
	return list
}

func layerTensors(prefix string, s Shape) []Tensor {
	query, key := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
	return []Tensor{
		{prefix + "input_layernorm.weight", []int{s.Hidden}},
		{prefix + "self_attn.q_proj.weight", []int{query, s.Hidden}},
		{prefix + "self_attn.k_proj.weight", []int{key, s.Hidden}},
		{prefix + "self_attn.v_proj.weight", []int{key, s.Hidden}},
		{prefix + "self_attn.o_proj.weight", []int{s.Hidden, query}},
		{prefix + "self_attn.q_norm.weight", []int{s.HeadDim}},
		{prefix + "self_attn.k_norm.weight", []int{s.HeadDim}},
		{prefix + "post_attention_layernorm.weight", []int{s.Hidden}},
		{prefix + "mlp.gate_proj.weight", []int{s.Intermediate, s.Hidden}},
		{prefix + "mlp.up_proj.weight", []int{s.Intermediate, s.Hidden}},
		{prefix + "mlp.down_proj.weight", []int{s.Hidden, s.Intermediate}},
	}
}

// IsHead reports whether name is a tensor of the Domino head.
func IsHead(name string) bool {
	return strings.HasPrefix(name, "prefix_gru.") || strings.HasPrefix(name, "embed_proj.")
}

// Canonical returns the export name of a tensor that a file calls name: dflash_module. is stripped, and logit_head. where
// it precedes the head. It returns false for a rotary buffer, which is to be ignored.
func Canonical(name string) (string, bool) {
	name = strings.TrimPrefix(name, "dflash_module.")
	if inner, ok := strings.CutPrefix(name, "logit_head."); ok && IsHead(inner) {
		name = inner
	}
	return name, !strings.Contains(name, "rotary_emb")
}
