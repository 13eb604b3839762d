package trainer

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/domino"
	"vkdomino/internal/fail"
	"vkdomino/tensors"
	"vkdomino/trainer/checkpoint"
	"vkdomino/trainer/evaluate"
	"vkdomino/trainer/metrics"
	"vkdomino/trainer/pair"
	"vkdomino/trainer/recipe"
)

// evaluating are overrides of the tiny recipe: three prompts every two steps.
var evaluating = []string{"training.ar_validate_steps=2", `run.eval_data="../testdata/demo/eval.jsonl"`, "run.eval_prompts=3", "run.eval_max_new_tokens=10"}

func taus(t *testing.T, dir string) map[int]float64 {
	t.Helper()
	list := map[int]float64{}
	for _, row := range readRows(t, dir) {
		step, _ := row.Step()
		if tau, ok := row.Value(metrics.EvalTau); ok {
			seconds, ok := row.Value(metrics.EvalSeconds)
			require.True(t, ok)
			require.Positive(t, seconds)
			list[step+1] = tau
		}
	}
	return list
}

// tauOf decodes a checkpoint's draft as `vkdomino eval` does, one prompt at a time.
func tauOf(t *testing.T, dir string) float64 {
	t.Helper()
	draft, err := pair.OpenDraft(t.Context(), dir)
	require.NoError(t, err)
	defer draft.Close()
	target, err := pair.OpenTarget(draft.Recipe.ModelPath, draft.Recipe.ChatTemplate)
	require.NoError(t, err)
	defer target.Close()
	require.NoError(t, draft.Check(target))
	prompts, err := target.Prompts(t.Context(), draft.Recipe.EvalData, draft.Recipe.EvalPrompts, nil)
	require.NoError(t, err)
	dtype := map[string]tensors.DType{"f32": tensors.F32, "bf16": tensors.BF16}[draft.Recipe.Precision]
	opt := evaluate.Options{MaxNewTokens: draft.Recipe.EvalMaxNewTokens, Stops: target.Stops, Batch: 1}
	c := sharedContext(t)
	defer c.Release()
	onDevice, err := target.Load(t.Context(), c, evaluate.Positions(prompts, opt.MaxNewTokens, draft.Config.BlockSize), dtype)
	require.NoError(t, err)
	weights, err := draft.Load(t.Context(), c, dtype)
	require.NoError(t, err)
	d, err := evaluate.Prepare(c, onDevice, weights, prompts, draft.DraftTokens, opt)
	require.NoError(t, err)
	out, err := d.Generate(context.Background(), prompts, domino.DecodeOptions{MaxNewTokens: opt.MaxNewTokens, StopTokens: opt.Stops}, nil)
	require.NoError(t, err)
	return domino.Tau(out.Generations)
}

// Evaluations leave the training's bits alone, say what eval says of the same checkpoint, and
// keep the best.
func TestEvaluationWhileTraining(t *testing.T) {
	for _, precision := range []string{"f32", "bf16"} {
		t.Run(precision, func(t *testing.T) {
			plain, dir := t.TempDir(), t.TempDir()
			trained(t, plain, "run.precision="+precision)
			text := trained(t, dir, append(slices.Clone(evaluating), "run.precision="+precision, "training.save_total_limit=1", "training.save_steps=1")...)
			require.Contains(t, text, "evaluating every 2 steps: 3 prompts of ../testdata/demo/eval.jsonl, greedy, 3 drafted tokens a cycle, at most 30 new tokens in all")
			require.Regexp(t, `3 evaluations took \d+\.\d s, \d+\.\d % of the run; the last τ is \d\.\d{3}`, text)
			require.Regexp(t, `checked: what was read back decodes 3 prompts as the checkpoint's bf16 weights do, 10 new tokens each: τ \d\.\d{4}`, text)
			for _, name := range []string{checkpoint.ModelFile, checkpoint.OptimizerFile} {
				requireSameBytes(t, filepath.Join(checkpoint.Dir(plain, steps), name), filepath.Join(checkpoint.Dir(dir, steps), name))
			}
			measured := taus(t, dir)
			require.Len(t, measured, 3)
			best := load(t, checkpoint.Dir(dir, steps)).State.Best
			require.NotNil(t, best)
			for step, tau := range measured {
				require.LessOrEqual(t, tau, best.Tau, "step %d", step)
			}
			require.Equal(t, measured[best.Step], best.Tau)
			require.Contains(t, text, "the best τ is")
			require.Equal(t, best.Tau, tauOf(t, checkpoint.Dir(dir, best.Step)), "the best checkpoint stays, and eval says the same of it")
			kept, err := checkpoint.Steps(dir)
			require.NoError(t, err)
			require.Equal(t, []int{steps, best.Step}, kept)
		})
	}
}

// An evaluation that beats the best τ saves a checkpoint at that step.
func TestEvaluationSavesItsBest(t *testing.T) {
	dir := t.TempDir()
	trained(t, dir, evaluating...)
	measured, want, best := taus(t, dir), []int{steps}, 0.0
	for step := 2; step <= steps; step += 2 {
		if measured[step] > best {
			best = measured[step]
			want = append(want, step)
		}
	}
	got, err := checkpoint.Steps(dir)
	require.NoError(t, err)
	require.ElementsMatch(t, want, got)
}

// A run that was stopped, also right after an evaluation, goes on to the bits, the rows and
// the best τ of one that was not.
func TestEvaluatingRunGoesOn(t *testing.T) {
	whole, stopped := t.TempDir(), t.TempDir()
	trained(t, whole, evaluating...)
	for range 3 {
		_, err := train(t, stopped, 2, Options{}, evaluating...)
		require.Equal(t, fail.Interrupted, fail.CodeOf(err), "%v", err)
	}
	trained(t, stopped, evaluating...)
	requireSameRun(t, whole, stopped, steps)
}

// A best τ that was measured on something else is not compared.
func TestEvaluationWithOtherSettings(t *testing.T) {
	dir := t.TempDir()
	_, err := train(t, dir, 4, Options{}, evaluating...)
	require.Equal(t, fail.Interrupted, fail.CodeOf(err))
	text := trained(t, dir, append(slices.Clone(evaluating), "run.eval_prompts=2")...)
	require.Contains(t, text, "was measured in another way and is not compared any more")
	require.Equal(t, 6, load(t, checkpoint.Dir(dir, steps)).State.Best.Step)
}

func TestEvaluationDataIsCheckedFirst(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.jsonl")
	require.NoError(t, os.WriteFile(empty, []byte("\n"), 0o600))
	for name, c := range map[string]struct {
		override, want string
		code           fail.Code
	}{
		"no file":  {`run.eval_data="nowhere.jsonl"`, "nowhere.jsonl", fail.Other},
		"empty":    {"run.eval_data=" + empty, "want at least one conversation, got none", fail.Other},
		"too long": {"run.eval_max_new_tokens=2040", "prompt 1: want at most the target's max_position_embeddings, 2048 tokens", fail.Usage},
	} {
		t.Run(name, func(t *testing.T) {
			r, _, err := recipe.Parse("tiny.toml", []byte(tinyRecipe), append([]string{"training.output_dir=" + t.TempDir()}, append(slices.Clone(evaluating), c.override)...))
			require.NoError(t, err)
			_, err = Prepare(t.Context(), r, nil)
			require.ErrorContains(t, err, c.want)
			require.Equal(t, c.code, fail.CodeOf(err))
		})
	}
}

// The decoder is in the memory plan.
func TestEvaluationIsPlanned(t *testing.T) {
	without, err := PlanMemory(prepare(t, t.TempDir()).EngineConfig(0))
	require.NoError(t, err)
	with, err := PlanMemory(prepare(t, t.TempDir(), evaluating...).EngineConfig(0))
	require.NoError(t, err)
	require.Greater(t, with.Total, without.Total)
	var names []string
	for _, a := range with.List {
		names = append(names, a.Name)
	}
	require.Contains(t, strings.Join(names, "\n"), "draft logits")
}
