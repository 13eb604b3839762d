package bench

import (
	"slices"
	"strings"

	"vkdomino/internal/fail"
	"vkdomino/ops"
	"vkdomino/tensors"
	"vkdomino/trainer"
	"vkdomino/vk"
)

// KernelsReport is what the driver's compiler made of the kernels of a training step and of decoding.
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
	// Usual says that it is taken where nothing was measured; the others are there to be chosen.
	Usual   bool              `json:"usual"`
	Spills  uint64            `json:"spills"`  // see vk.Spills
	Figures map[string]uint64 `json:"figures"` // under the driver's names; empty where the driver does not tell
}

// Figure is the figure with the first of the given names that the driver uses, in any case of letters.
func (k CompiledKernel) Figure(names ...string) (value uint64, ok bool) {
	for _, want := range names {
		for name, v := range k.Figures {
			if strings.EqualFold(name, want) {
				return v, true
			}
		}
	}
	return 0, false
}

// Kernels compiles every kernel of a preset's training step, with the target's forward pass and the update, those that only
// decoding has, and those in other shapes that may be chosen instead. Nothing is allocated on the device and nothing runs.
func Kernels(d *vk.Device, p Preset, dtype tensors.DType) (*KernelsReport, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	if !p.Optimizer {
		return nil, fail.New(fail.Usage, "leave --optimizer out, or take another preset", "bench: kernels: the step has no update; want one with it")
	}
	b, _, err := p.microBatch()
	if err != nil {
		return nil, err
	}
	c := ops.NewCompiling(d)
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
	for _, group := range decodingTable {
		for _, k := range group(newOpShapes(meter{c: c}, p, dtype)) {
			k.record()
		}
	}
	if err := c.Submit(); err != nil {
		return nil, err
	}
	usual := slices.DeleteFunc(c.Compiled(), func(k ops.Compiled) bool { return !k.Taken })
	for i := range c.Alternatives() {
		c.Alternative(i)
		if err := step(); err != nil {
			return nil, err
		}
	}
	r := &KernelsReport{Preset: p.Name, Precision: strings.ToLower(dtype.String()), Device: DeviceOf(d)}
	for _, k := range c.Compiled() {
		_, isUsual := slices.BinarySearchFunc(usual, k, ops.Compiled.Compare)
		row := CompiledKernel{Name: k.Kernel, Spec: k.Spec, Usual: isUsual, Spills: vk.Spills(k.Figures), Figures: map[string]uint64{}}
		for _, f := range k.Figures {
			row.Figures[f.Name] = f.Value
		}
		r.Kernels = append(r.Kernels, row)
	}
	return r, nil
}
