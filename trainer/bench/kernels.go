package bench

import (
	"strings"

	"vkdomino/ops"
	"vkdomino/tensors"
	"vkdomino/trainer"
	"vkdomino/vk"
)

// KernelsReport is what the driver's compiler makes of the kernels of a training step.
type KernelsReport struct {
	Preset    string           `json:"preset"`
	Precision string           `json:"precision"`
	Device    Device           `json:"device"`
	Kernels   []CompiledKernel `json:"kernels"`
}

// CompiledKernel is one kernel with one set of specialisation constants.
type CompiledKernel struct {
	Name string   `json:"kernel"`
	Spec []uint32 `json:"constants"`
	// Usual says that the step takes it where nothing was measured; the others are there for the tuner to choose.
	Usual   bool              `json:"usual"`
	Figures map[string]uint64 `json:"figures"` // under the driver's names
	Spills  uint64            `json:"spills"`  // registers and bytes of spilled registers, of vk.Spills
	figures []vk.Statistic
}

// Figure is the first figure whose name holds one of the given words, in the order of the words.
func (k CompiledKernel) Figure(words ...string) (uint64, bool) {
	for _, w := range words {
		for _, f := range k.figures {
			if strings.Contains(strings.ToLower(f.Name), w) {
				return f.Value, true
			}
		}
	}
	return 0, false
}

// Kernels compiles every kernel of a preset's training step, with the target's forward pass and the update, and those
// that may be chosen instead, and lists what the driver tells of them. Nothing is allocated and nothing runs.
func Kernels(d *vk.Device, p Preset, dtype tensors.DType) (*KernelsReport, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	b, _, err := p.microBatch()
	if err != nil {
		return nil, err
	}
	c, _ := ops.NewCompiling(d)
	e, err := trainer.NewEngine(c, p.EngineConfig(dtype, true, d.MaxBindingBytes))
	if err != nil {
		return nil, err
	}
	step := func() error {
		_, err := e.Step([]trainer.MicroBatch{b}, lambda, learningRate)
		return err
	}
	if err := step(); err != nil {
		return nil, err
	}
	r := &KernelsReport{Preset: p.Name, Precision: strings.ToLower(dtype.String()), Device: DeviceOf(d)}
	usual := len(c.Compiled())
	_ = usual
	for i := range c.Alternatives() {
		c.Alternative(i)
		if err := step(); err != nil {
			return nil, err
		}
	}
	for _, k := range c.Compiled() {
		figures := map[string]uint64{}
		for _, f := range k.Figures {
			figures[f.Name] = f.Value
		}
		r.Kernels = append(r.Kernels, CompiledKernel{k.Kernel, k.Spec, false, figures, vk.Spills(k.Figures), k.Figures})
	}
	return r, nil
}
