package trainer

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"vkdomino/internal/fail"
	"vkdomino/ops"
	"vkdomino/vk"
)

// MemoryPlan is every byte a run will allocate on the device, known before the first step.
type MemoryPlan struct {
	List  []ops.Allocation // the largest first
	Total int64
	// Least is the total of the same training run with the smallest micro-batch; 0 of other plans.
	Least int64
}

// PlanMemory builds the engine without a device and counts.
func PlanMemory(cfg EngineConfig) (MemoryPlan, error) {
	engine := func(c *ops.Context) error {
		_, err := NewEngine(c, cfg)
		return err
	}
	plan, err := PlanOf(engine)
	if err != nil {
		return plan, err
	}
	cfg.Batch, cfg.Anchors, cfg.SeqLen = 1, 1, min(cfg.SeqLen, cfg.Draft.BlockSize)
	least, err := PlanOf(engine)
	plan.Least = least.Total
	return plan, err
}

// PlanOf runs build in a context without a device and counts what it allocates.
func PlanOf(build func(c *ops.Context) error) (MemoryPlan, error) {
	c := ops.NewDry()
	if err := build(c); err != nil {
		return MemoryPlan{}, err
	}
	list, total := c.Plan()
	return MemoryPlan{List: merge(list), Total: total}, nil
}

// merge adds up allocations of one name, and keeps the largest first.
func merge(list []ops.Allocation) []ops.Allocation {
	at := map[string]int{}
	var out []ops.Allocation
	for _, a := range list {
		i, ok := at[a.Name]
		if !ok {
			i = len(out)
			at[a.Name] = i
			out = append(out, ops.Allocation{Name: a.Name})
		}
		out[i].Bytes += a.Bytes
	}
	for i := 1; i < len(out); i++ { // few and nearly sorted
		for j := i; j > 0 && out[j].Bytes > out[j-1].Bytes; j-- {
			out[j], out[j-1] = out[j-1], out[j]
		}
	}
	return out
}

// planLines is how many of the largest tensors a plan shows.
const planLines = 5

// Print writes the plan's total and largest parts.
func (p MemoryPlan) Print(w io.Writer) {
	fmt.Fprintf(w, "memory plan: %s\n", formatBytes(p.Total))
	for _, a := range p.List[:min(planLines, len(p.List))] {
		fmt.Fprintf(w, "  %9s  %s\n", formatBytes(a.Bytes), a.Name)
	}
}

// Check refuses a training plan that the device cannot hold.
func (p MemoryPlan) Check(device vk.Info) error {
	hint := "lower training.per_device_train_batch_size, dflash.dflash_num_anchors or training.training_seq_len, in this order"
	if have, _ := memoryOf(device); p.Least > have {
		hint = "target and draft are too large for this device in any batch: use one with more memory, or lower the draft's num_hidden_layers or intermediate_size"
	}
	return p.CheckOr(device, hint)
}

// memoryOf is how much a run may allocate, and what that is called.
func memoryOf(device vk.Info) (int64, string) {
	have, less := device.Available()
	if device.CPU {
		if free, ok := availableMemory(); ok && free < have {
			return free, "the machine's free memory"
		}
	}
	if less {
		return have, "what may be had now of the device's " + formatBytes(device.HeapBytes)
	}
	return have, "the device's memory"
}

// CheckOr is Check for a plan of which hint says how to make it smaller.
func (p MemoryPlan) CheckOr(device vk.Info, hint string) error {
	have, of := memoryOf(device)
	if p.Total <= have {
		return nil
	}
	var largest []string
	for _, a := range p.List[:min(planLines, len(p.List))] {
		largest = append(largest, fmt.Sprintf("%s %s", a.Name, formatBytes(a.Bytes)))
	}
	return fail.New(fail.Memory, hint,
		"trainer: the run needs %s, %s is %s; the largest parts: %s", formatBytes(p.Total), of, formatBytes(have), strings.Join(largest, ", "))
}

// availableMemory is what Linux says can be had without swapping; false elsewhere.
func availableMemory() (int64, bool) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) >= 2 && f[0] == "MemAvailable:" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			return kib << 10, err == nil
		}
	}
	return 0, false
}

func formatBytes(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
}
