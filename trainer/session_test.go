package trainer

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/domino"
	"vkdomino/internal/fail"
	"vkdomino/tensors"
	"vkdomino/trainer/metrics"
	"vkdomino/trainer/recipe"
	"vkdomino/vk"
)

// What a step trains on is a pure function of recipe, data and the step. Source: spec.md §12, §3.5.
func TestMicroBatchesArePureFunctionsOfTheStep(t *testing.T) {
	accumulate := "training.gradient_accumulation_steps=3" // 4 micro-batches an epoch: 3 and 1
	a, b := prepare(t, t.TempDir(), accumulate), prepare(t, t.TempDir(), accumulate)
	var first [][]MicroBatch
	for g := range 6 {
		batches, err := a.MicroBatches(g)
		require.NoError(t, err)
		require.Len(t, batches, []int{3, 1}[g%2])
		first = append(first, batches)
	}
	for g := 5; g >= 0; g-- {
		again, err := b.MicroBatches(g)
		require.NoError(t, err)
		require.Equal(t, first[g], again)
	}
	require.NotEqual(t, first[0], first[2], "another epoch, another order")
}

// sequences are a step's rows with their anchors, in order.
func sequences(t *testing.T, s *Session, g int) (ids [][]int32, anchors [][]int32) {
	t.Helper()
	batches, err := s.MicroBatches(g)
	require.NoError(t, err)
	for _, b := range batches {
		for i := range b.B {
			r := row(b, i)
			kept := []int32{}
			for n, a := range r.Anchors.Anchor {
				if r.Anchors.Keep[n] {
					kept = append(kept, a)
				}
			}
			ids, anchors = append(ids, r.IDs), append(anchors, kept)
		}
	}
	return ids, anchors
}

// C53: how an optimizer step is cut into micro-batches changes neither its rows nor their anchors.
func TestAnchorsDoNotDependOnTheCutIntoMicroBatches(t *testing.T) {
	twos := prepare(t, t.TempDir(), "training.gradient_accumulation_steps=2")
	four := prepare(t, t.TempDir(), "training.per_device_train_batch_size=4")
	for g := range 4 {
		ids, anchors := sequences(t, twos, g)
		ids4, anchors4 := sequences(t, four, g)
		for i := range ids {
			require.Equal(t, ids[i], ids4[i][:len(ids[i])])
		}
		require.Equal(t, anchors, anchors4)
	}
}

// No row comes twice in an epoch.
func TestEpochHasNoRowTwice(t *testing.T) {
	s := prepare(t, t.TempDir())
	seen := map[string]bool{}
	for g := range s.Length.StepsPerEpoch() {
		ids, _ := sequences(t, s, g)
		for _, r := range ids {
			for len(r) > 0 && r[len(r)-1] == s.Data.PadID {
				r = r[:len(r)-1]
			}
			seen[fmt.Sprint(r)] = true
		}
	}
	require.Len(t, seen, 2*s.Length.BatchesPerEpoch())
}

// Model-Optimizer's rule leaves short rows without an anchor: such steps are counted and have no loss.
func TestRunOfEmptyBatches(t *testing.T) {
	dir := t.TempDir()
	rows := filepath.Join(dir, "short.jsonl")
	require.NoError(t, os.WriteFile(rows, []byte(strings.Repeat(`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}`+"\n", 4)), 0o644))
	s := prepare(t, dir, "data.data_path="+rows, `compat.anchor_rule="modelopt"`, "data.sample_size=-1")
	longest := 0
	for _, r := range s.Data.Rows {
		longest = max(longest, len(r.IDs))
	}
	text := trained(t, filepath.Join(dir, "run"), "data.data_path="+rows, `compat.anchor_rule="modelopt"`, "data.sample_size=-1",
		"training.max_steps=3", "training.training_seq_len="+strconv.Itoa(longest))
	for _, r := range readRows(t, filepath.Join(dir, "run")) {
		for name, want := range map[string]float64{metrics.EmptyBatches: 1, metrics.Loss: 0, metrics.GradNorm: 0, metrics.SkippedUpdates: 0} {
			got, ok := r.Value(name)
			require.True(t, ok)
			require.Equal(t, want, got, name)
		}
	}
	require.Equal(t, 1, strings.Count(text, "without any anchor"), "said once")
}

// targetCopy copies the demo's target, with its tensors changed.
func targetCopy(t *testing.T, change func(list []tensors.Named) []tensors.Named) string {
	t.Helper()
	const from = "../testdata/demo/target"
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(from)))
	src, err := tensors.OpenModel(from)
	require.NoError(t, err)
	t.Cleanup(func() { src.Close() })
	var list []tensors.Named
	for _, name := range src.Names() {
		dtype, shape, _ := src.Info(name)
		list = append(list, tensors.Named{Name: name, DType: dtype, Shape: shape, Data: func() ([]byte, error) {
			raw, _, err := src.Raw(name)
			return raw, err
		}})
	}
	require.NoError(t, tensors.WriteFile(filepath.Join(dir, tensors.SingleFile), nil, change(list)))
	return dir
}

func without(name string) func([]tensors.Named) []tensors.Named {
	return func(list []tensors.Named) []tensors.Named {
		return slices.DeleteFunc(list, func(n tensors.Named) bool { return n.Name == name })
	}
}

// The weights' names, shapes and dtypes are checked with the recipe, before the data is read
// and a device is opened: what a run does not read may be missing.
func TestPrepareChecksTheWeights(t *testing.T) {
	const q = "model.layers.1.self_attn.q_proj.weight"
	edit := func(f func(n *tensors.Named)) func([]tensors.Named) []tensors.Named {
		return func(list []tensors.Named) []tensors.Named {
			f(&list[slices.IndexFunc(list, func(n tensors.Named) bool { return n.Name == q })])
			return list
		}
	}
	for _, c := range []struct {
		name      string
		change    func([]tensors.Named) []tensors.Named
		overrides []string
		want      string // "" for none
	}{
		{"missing", without(q), nil, "tensor " + q + " is missing"},
		{"shape", edit(func(n *tensors.Named) { n.Shape = []int{n.Shape[1] * 2, n.Shape[0] / 2} }), nil, q + ": want [128 128], got [256 64]"},
		{"dtype", edit(func(n *tensors.Named) { n.DType = tensors.I16 }), nil, q + ": want BF16, F16 or F32, got I16"},
		{"a layer that is not read", without("model.layers.4.mlp.up_proj.weight"), nil, ""},
		{"the same with distillation", without("model.layers.4.mlp.up_proj.weight"),
			[]string{set("self_logit_distillation", true)}, "tensor model.layers.4.mlp.up_proj.weight is missing"},
		{"the final norm with distillation", without("model.norm.weight"),
			[]string{set("self_logit_distillation", true)}, "tensor model.norm.weight is missing"},
		{"a layer to start from", without("model.layers.4.mlp.up_proj.weight"),
			[]string{"compat.init_from_target_layers=[4]"}, "tensor model.layers.4.mlp.up_proj.weight is missing"},
		{"embedding", without("model.embed_tokens.weight"), nil, "tensor model.embed_tokens.weight is missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := targetCopy(t, c.change)
			r, _, err := recipe.Parse("tiny.toml", []byte(tinyRecipe), append(c.overrides, "training.output_dir=x", "model.model_name_or_path="+dir))
			require.NoError(t, err)
			s, err := Prepare(t.Context(), r, nil)
			if c.want == "" {
				require.NoError(t, err)
				s.Close()
				return
			}
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, dir)
			require.Equal(t, fail.Other, fail.CodeOf(err))
			require.NotEmpty(t, fail.HintOf(err))
		})
	}
}

// A plan that does not fit is refused with its largest parts, before the old run is touched.
func TestMemoryPlan(t *testing.T) {
	s := prepare(t, t.TempDir())
	cfg := s.EngineConfig(0)
	plan, err := PlanMemory(cfg)
	require.NoError(t, err)
	sum := int64(0)
	for i, a := range plan.List {
		sum += a.Bytes
		require.True(t, i == 0 || plan.List[i-1].Bytes >= a.Bytes, "the largest first")
	}
	require.Equal(t, plan.Total, sum)
	require.NoError(t, plan.Check(vk.Info{HeapBytes: plan.Total}))
	err = plan.Check(vk.Info{HeapBytes: plan.Total - 1})
	require.Equal(t, fail.Memory, fail.CodeOf(err))
	require.Contains(t, fail.HintOf(err), "training.per_device_train_batch_size")
	require.Less(t, plan.Least, plan.Total)
	require.Contains(t, fail.HintOf(plan.Check(vk.Info{HeapBytes: plan.Least - 1})), "num_hidden_layers", "no batch would be small enough")
	require.NoError(t, plan.Check(vk.Info{HeapBytes: plan.Total, BudgetBytes: plan.Total}))
	taken := plan.Check(vk.Info{HeapBytes: 2 * plan.Total, BudgetBytes: plan.Total - 1})
	require.Equal(t, fail.Memory, fail.CodeOf(taken))
	require.ErrorContains(t, taken, "what may be had now of the device's "+formatBytes(2*plan.Total)+" is "+formatBytes(plan.Total-1))
	for _, a := range plan.List[:planLines] {
		require.ErrorContains(t, err, a.Name+" "+formatBytes(a.Bytes))
	}
	cfg.Batch *= 2
	larger, err := PlanMemory(cfg)
	require.NoError(t, err)
	require.Greater(t, larger.Total, plan.Total)
}

// What the engine allocates is what was planned, and what the device holds little more.
func TestMemoryPlanIsExact(t *testing.T) {
	for _, overrides := range [][]string{nil, {"run.precision=bf16"}, {set("self_logit_distillation", true)}, evaluating} {
		s := prepare(t, t.TempDir(), overrides...)
		c := sharedContext(t)
		before := c.Device.Allocated()
		cfg := s.EngineConfig(c.Device.MaxBindingBytes)
		plan, err := PlanMemory(cfg)
		require.NoError(t, err)
		e, err := NewEngine(c, cfg)
		require.NoError(t, err)
		require.NoError(t, e.Load(s.Weights))
		require.NoError(t, s.InitDraft(t.Context(), e))
		batches, err := s.MicroBatches(0)
		require.NoError(t, err)
		_, err = e.Step(batches, 0.5, 1e-3)
		require.NoError(t, err)
		if e.Decoder != nil {
			_, err = e.Decoder.Generate(t.Context(), s.Eval.Prompts[:1], domino.DecodeOptions{MaxNewTokens: 2}, nil)
			require.NoError(t, err)
		}
		_, total := c.Plan()
		allocated := c.Device.Allocated() - before
		c.Release()
		require.Equal(t, plan.Total, total)
		require.InEpsilon(t, plan.Total, allocated, 0.05)
	}
}

func TestEpochsAndDataShorterThanABatch(t *testing.T) {
	s := prepare(t, t.TempDir(), "training.max_steps=-1", "training.num_train_epochs=1.5")
	require.Equal(t, int(math.Ceil(1.5*float64(s.Length.StepsPerEpoch()))), s.Total)
	r, _, err := recipe.Parse("tiny.toml", []byte(tinyRecipe), []string{"training.output_dir=x", "training.per_device_train_batch_size=64"})
	require.NoError(t, err)
	_, err = Prepare(t.Context(), r, nil)
	require.Equal(t, fail.Other, fail.CodeOf(err))
	require.ErrorContains(t, err, "train.jsonl")
	require.NotEmpty(t, fail.HintOf(err))
}
