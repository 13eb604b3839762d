package bench

import (
	"cmp"
	"slices"
	"strings"

	"vkdomino/ops"
	"vkdomino/tensors"
	"vkdomino/trainer"
)

// Memory is what a step takes on the device, in bytes.
type Memory struct {
	Planned   int64     `json:"planned_bytes"`             // known before the run
	Allocated int64     `json:"allocated_bytes,omitempty"` // after the run: all buffers of the device
	Purposes  []Purpose `json:"purposes"`                  // of Planned, the largest first

	Plan trainer.MemoryPlan `json:"-"`
}

// Purpose is what memory is used for.
type Purpose struct {
	Name  string `json:"purpose"`
	Bytes int64  `json:"bytes"`
}

// PlanStep counts a step's memory without a device.
func PlanStep(p Preset, dtype tensors.DType, target bool, bindingBytes int64) (Memory, error) {
	plan, err := trainer.PlanOf(func(c *ops.Context) error {
		_, err := trainer.NewEngine(c, p.EngineConfig(dtype, target, bindingBytes))
		return err
	})
	if err != nil {
		return Memory{}, err
	}
	sums := map[string]int64{}
	for _, a := range plan.List {
		sums[purpose(a.Name)] += a.Bytes
	}
	m := Memory{Planned: plan.Total, Plan: plan}
	for name, bytes := range sums {
		m.Purposes = append(m.Purposes, Purpose{name, bytes})
	}
	slices.SortFunc(m.Purposes, func(a, b Purpose) int { return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Name, b.Name)) })
	return m, nil
}

// purposes are the marks by which an allocation's name tells its purpose, the first that fits.
var purposes = []struct{ in, name string }{
	{"(master)", "masters"}, {"(gradient)", "weight gradients"}, {" moment)", "moments"},
	{"model.embed_tokens", "target: embedding and LM head"}, {"lm_head", "target: embedding and LM head"},
	{"model.layers.", "target: layers"}, {"model.norm", "target: layers"}, {"target_hidden", "features"}, {"target ", "target: pass"},
	{"head", "Domino head"}, {"GRU", "Domino head"}, {"gru", "Domino head"}, {"teacher", "Domino head"},
	{"scratch of the layers", "scratch of the layers, and the logits"}, {"gradient", "gradients of activations"}, {".weight", "draft weights"}, {"small draft tensors", "draft weights"}, {"workspace", "workspace"},
}

// purpose sorts an allocation by its name.
func purpose(name string) string {
	for _, p := range purposes {
		if strings.Contains(name, p.in) {
			return p.name
		}
	}
	return "saved activations"
}
