package trainer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"time"

	"vkdomino/domino"
	"vkdomino/internal/fail"
	"vkdomino/internal/plural"
	"vkdomino/trainer/checkpoint"
	"vkdomino/trainer/data"
	"vkdomino/trainer/metrics"
	"vkdomino/trainer/pair"
)

const (
	evalSlots   = 8 // prompts of an evaluation that are decoded at a time, at most
	keyEvalData = "run.eval_data"
)

// evalKeys are the recipe keys that an acceptance length depends on beside the draft.
var evalKeys = []string{keyEvalData, "run.eval_prompts", "run.eval_max_new_tokens", "run.eval_draft_tokens"}

// Evaluation is what is decoded every training.ar_validate_steps steps: the prompts that
// `vkdomino eval` decodes of a checkpoint of this run, in the same way, greedily.
type Evaluation struct {
	Prompts [][]int32 // none: no evaluation
	Stops   []int32
	SHA256  string // of the data's bytes
}

// loadEvaluation reads the prompts of run.eval_data and checks that their answers have room.
func (s *Session) loadEvaluation(ctx context.Context, progress data.Progress) error {
	r := s.Recipe
	if r.ARValidateSteps == 0 {
		return nil
	}
	opt := s.dataOptions(r.EvalData, -1, 1)
	opt.Progress = progress
	var err error
	if s.Eval.Prompts, err = pair.Prompts(ctx, opt, r.EvalPrompts); err != nil {
		return err
	}
	if s.Eval.Stops, err = pair.Stops(r.ModelPath, s.Target); err != nil {
		return err
	}
	if s.Eval.SHA256, err = fileSHA256(r.EvalData); err != nil {
		return fmt.Errorf("trainer: %s: %w", keyEvalData, err)
	}
	for i, p := range s.Eval.Prompts {
		if most := s.Target.MaxPositions; r.EvalMaxNewTokens > most-len(p) {
			return fail.New(fail.Usage, "lower run.eval_max_new_tokens or take the prompt out", "trainer: %s %s: prompt %d: want at most the target's max_position_embeddings, %d tokens, with its answer, got %d and %d",
				keyEvalData, r.EvalData, i+1, most, len(p), r.EvalMaxNewTokens)
		}
	}
	return nil
}

func fileSHA256(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// evalConfig is the decoder that the run needs. Before the prompts are read it counts with
// prompts as long as a row.
func (s *Session) evalConfig() EvalConfig {
	r := s.Recipe
	if r.ARValidateSteps == 0 {
		return EvalConfig{}
	}
	longest := 0
	for _, p := range s.Eval.Prompts {
		longest = max(longest, len(p))
	}
	slots := len(s.Eval.Prompts)
	if slots == 0 {
		slots, longest = r.EvalPrompts, min(r.SeqLen, s.Target.MaxPositions-r.EvalMaxNewTokens)
	}
	return EvalConfig{Slots: min(slots, evalSlots), Context: longest + r.EvalMaxNewTokens, DraftTokens: r.EvalDraftTokens}
}

// evaluate measures the acceptance length where the completed steps are a multiple of
// ar_validate_steps, and puts it into the step's row. It runs to its end even when the run
// is being stopped, so that a run that goes on has the rows and the best τ of one that was
// not stopped. It changes nothing that a step reads. Source: spec.md §14.4, §15.4.
func (r *run) evaluate(row *metrics.Row) error {
	if every := r.Recipe.ARValidateSteps; every == 0 || r.state.Step%every != 0 {
		return nil
	}
	start := time.Now()
	out, err := r.engine.Decoder.Generate(context.Background(), r.Eval.Prompts,
		domino.DecodeOptions{MaxNewTokens: r.Recipe.EvalMaxNewTokens, StopTokens: r.Eval.Stops}, nil)
	if err != nil {
		return fmt.Errorf("trainer: evaluation after step %d: %w", r.state.Step, err)
	}
	tau := domino.Tau(out.Generations)
	row.SetFloat(metrics.EvalTau, tau)
	row.SetFloat(metrics.EvalSeconds, time.Since(start).Seconds())
	if best := r.state.Best; best == nil || tau > best.Tau {
		r.state.Best = &checkpoint.Best{Step: r.state.Step, Tau: tau}
	}
	return nil
}

// atBest says whether the last step has beaten the best τ.
func (r *run) atBest() bool { return r.state.Best != nil && r.state.Best.Step == r.state.Step }

// announceEvaluation says what will be evaluated, and how much that is at most.
func (r *run) announceEvaluation() {
	if n := len(r.Eval.Prompts); n > 0 {
		r.printf("evaluating every %s: %s of %s, greedy, %s a cycle, at most %s in all",
			plural.Of(r.Recipe.ARValidateSteps, "step"), plural.Of(n, "prompt"), r.Recipe.EvalData,
			plural.Of(r.Recipe.EvalDraftTokens, "drafted token"), plural.Of(n*r.Recipe.EvalMaxNewTokens, "new token"))
	}
}

// summarizeEvaluations says what the evaluations of the whole run found and cost.
func (r *run) summarizeEvaluations(rows []metrics.Row) {
	n, cost, all, last := 0, 0.0, 0.0, 0.0
	for _, row := range rows {
		seconds, _ := row.Value(metrics.Seconds)
		all += seconds
		if tau, ok := row.Value(metrics.EvalTau); ok {
			seconds, _ := row.Value(metrics.EvalSeconds)
			n, cost, last = n+1, cost+seconds, tau
		}
	}
	if n == 0 {
		return
	}
	r.printf("%s took %.1f s, %.1f %% of the run; the last τ is %.3f", plural.Of(n, "evaluation"), cost, 100*cost/max(all+cost, 1e-9), last)
	if best := r.state.Best; best != nil {
		r.printf("the best τ is %.3f: %s", best.Tau, checkpoint.Dir(r.Recipe.OutputDir, best.Step))
	}
}

// adoptBest takes over the best τ of a checkpoint where it was measured as it will be now.
func (r *run) adoptBest(old checkpoint.State) {
	if old.Best == nil || len(r.Eval.Prompts) == 0 {
		r.state.Best = old.Best
		return
	}
	same := old.PathSHA256[keyEvalData] == r.Eval.SHA256
	for _, key := range evalKeys {
		same = same && (key == keyEvalData || old.Recipe[key] == r.state.Recipe[key])
	}
	if !same {
		r.printf("warning: the best τ so far, %.3f at step %d, was measured in another way and is not compared any more", old.Best.Tau, old.Best.Step)
		return
	}
	r.state.Best = old.Best
}
