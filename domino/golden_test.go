package domino

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/nlpodyssey/safetensors"
	"github.com/stretchr/testify/require"
)

// goldenCase is step 0 of a conformance case: inputs and the reference's own logits.
type goldenCase struct {
	BlockSize  int     `json:"block_size"`
	SeqLen     int     `json:"seq_len"`
	Batch      int     `json:"batch"`
	Gamma      float64 `json:"loss_decay_gamma"`
	Objective  string  `json:"loss_objective"`
	DPaceAlpha float64 `json:"dpace_alpha"`
	Distill    bool    `json:"self_logit_distillation"`
	Weight     float64 `json:"distillation_weight"`
	MaskID     int32   `json:"mask_token_id"`
	Draft      struct {
		Projector string `json:"projector_type"`
		PrefixLen int    `json:"pure_draft_prefix_len"`
	} `json:"draft"`
	Start float64              `json:"lambda_base_start"`
	Ratio float64              `json:"lambda_base_decay_ratio"`
	Total int                  `json:"total_steps"`
	Probe map[string]float64   `json:"probe"`
	Steps []map[string]float64 `json:"steps"`

	inputIDs []int32
	lossMask []float32
	anchors  Anchors
	vocab    int
	logits   map[string][]float32 // base_logits, final_logits [B,N*bs,V], target_logits [B,S,V]
}

// Two folders hold the cases: the ones that the binary embeds, and the rest.
var goldenFolders = []string{"../internal/selftest/cases", "../testdata/golden"}

func readGolden(t *testing.T, name string) *goldenCase {
	t.Helper()
	dir := ""
	for _, folder := range goldenFolders {
		if _, err := os.Stat(filepath.Join(folder, name, "case.json")); err == nil {
			dir = filepath.Join(folder, name)
		}
	}
	require.NotEmpty(t, dir, "no folder for case %s", name)
	raw, err := os.ReadFile(filepath.Join(dir, "case.json"))
	require.NoError(t, err)
	g := &goldenCase{logits: map[string][]float32{}}
	require.NoError(t, json.Unmarshal(raw, g))

	in := openTensors(t, filepath.Join(dir, "inputs.safetensors"))
	g.inputIDs = int64s(t, in, "step0.input_ids")
	g.lossMask, _ = float32s(t, in, "step0.loss_mask")
	g.anchors.Anchor = int64s(t, in, "step0.anchors")
	g.anchors.N = len(g.anchors.Anchor) / g.Batch
	keep, ok := in.Tensor("step0.keep")
	require.True(t, ok)
	for _, k := range keep.Data() {
		g.anchors.Keep = append(g.anchors.Keep, k != 0)
	}
	want := openTensors(t, filepath.Join(dir, "expected.safetensors"))
	for _, name := range []string{"base_logits", "final_logits", "target_logits"} {
		if _, ok := want.Tensor(name); ok {
			g.logits[name], g.vocab = float32s(t, want, name)
		}
	}
	return g
}

func openTensors(t *testing.T, path string) safetensors.SafeTensors {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	st, err := safetensors.Deserialize(raw)
	require.NoError(t, err)
	return st
}

func int64s(t *testing.T, st safetensors.SafeTensors, name string) []int32 {
	t.Helper()
	v, ok := st.Tensor(name)
	require.True(t, ok, name)
	out := make([]int32, v.DataLen()/8)
	for i := range out {
		out[i] = int32(binary.LittleEndian.Uint64(v.Data()[8*i:]))
	}
	return out
}

// float32s returns a tensor's values and its last dimension.
func float32s(t *testing.T, st safetensors.SafeTensors, name string) ([]float32, int) {
	t.Helper()
	v, ok := st.Tensor(name)
	require.True(t, ok, name)
	out := make([]float32, v.DataLen()/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(v.Data()[4*i:]))
	}
	shape := v.Shape()
	return out, int(shape[len(shape)-1])
}

func (g *goldenCase) domino() bool { return g.Draft.Projector == "domino" }

// row returns the logits of draft row q of the layout, which the reference keeps in its slot.
func (g *goldenCase) row(l *Layout, stream string, q int) []float32 {
	blk := l.Blocks[q/g.BlockSize]
	at := (int(blk.Row)*g.anchors.N+int(blk.Slot))*g.BlockSize + q%g.BlockSize
	return g.logits[stream][at*g.vocab:][:g.vocab]
}

// results computes in float64 what the device would for the head rows: CE, argmax, soft loss.
func (g *goldenCase) results(l *Layout, tg *Targets) *Results {
	r := &Results{}
	for i, q := range tg.Row {
		teacher := []float32{}
		if g.Distill {
			teacher = g.logits["target_logits"][int(tg.Teacher[i])*g.vocab:][:g.vocab]
		}
		ce, loss, argmax := rowLoss(g.row(l, "base_logits", int(q)), tg.Label[i], teacher, g.Weight)
		r.CEBase, r.LossBase, r.ArgmaxBase = append(r.CEBase, ce), append(r.LossBase, loss), append(r.ArgmaxBase, argmax)
		if g.domino() {
			ce, loss, argmax = rowLoss(g.row(l, "final_logits", int(q)), tg.Label[i], teacher, g.Weight)
			r.CEFinal, r.LossFinal, r.ArgmaxFinal = append(r.CEFinal, ce), append(r.LossFinal, loss), append(r.ArgmaxFinal, argmax)
		}
	}
	return r
}

// rowLoss: CE = lse - x_y; L = lse - (1-a) x_y - a sum p x with p = softmax(teacher). §7.5.
func rowLoss(x []float32, label int32, teacher []float32, a float64) (ce, loss float32, argmax int32) {
	lse := logSumExp(x)
	for v := range x {
		if x[v] > x[argmax] {
			argmax = int32(v)
		}
	}
	hard := lse - float64(x[label])
	soft := 0.0
	if len(teacher) > 0 {
		top := logSumExp(teacher)
		soft = lse
		for v := range x {
			soft -= math.Exp(float64(teacher[v])-top) * float64(x[v])
		}
	}
	return float32(hard), float32((1-a)*hard + a*soft), argmax
}

func logSumExp(x []float32) float64 {
	top, sum := math.Inf(-1), 0.0
	for _, v := range x {
		top = max(top, float64(v))
	}
	for _, v := range x {
		sum += math.Exp(float64(v) - top)
	}
	return top + math.Log(sum)
}

// The reference's own numbers of step 0 and of the probe, from its own logits: labels,
// weights, both objectives, D-PACE, distillation, and metrics. Limits are selftest's.
func TestGoldenCases(t *testing.T) {
	for _, name := range []string{"tiny-b4", "masked-b8", "cycle-b8", "dflash-b8", "dflash-cycle-b8", "dpace-cycle-b6", "dflash-kd-b8", "domino-kd-b8"} {
		t.Run(name, func(t *testing.T) {
			g := readGolden(t, name)
			l, err := NewLayout(g.anchors, g.inputIDs, g.Batch, g.SeqLen, g.BlockSize, g.MaskID)
			require.NoError(t, err)
			tg, err := NewTargets(l, g.inputIDs, g.lossMask, LabelOptions{
				ShiftLabel: g.domino(), SuffixStart: g.Draft.PrefixLen,
				Objective: Objective(g.Objective), DecayGamma: g.Gamma, DPaceAlpha: g.DPaceAlpha,
			})
			require.NoError(t, err)
			r := g.results(l, tg)
			if g.Objective == string(ObjectiveDPACE) {
				require.NoError(t, tg.ApplyDPACE(r.CEBase))
			}
			opt := LossOptions{Domino: g.domino(), Distill: g.Distill, DenGuard: true}
			sums, err := Reduce(tg, r, opt)
			require.NoError(t, err)
			requireMetrics(t, g.Steps[0], StepMetrics([]Sums{sums}, g.Steps[0]["lambda_base"], opt))
			if g.Probe != nil {
				requireMetrics(t, g.Probe, StepMetrics([]Sums{sums}, g.Probe["lambda_base"], opt))
			}
		})
	}
}

func requireMetrics(t *testing.T, want map[string]float64, m Metrics) {
	t.Helper()
	compared := 0
	for _, v := range m.Values() {
		ref, ok := want[v.Name]
		if !ok {
			continue
		}
		compared++
		limit := 3e-6 * math.Abs(ref)
		if v.Name == "accuracy" || v.Name == "base_accuracy" {
			limit = 1e-6
		}
		require.InDelta(t, ref, v.Value, limit, v.Name)
	}
	require.GreaterOrEqual(t, compared, 2)
}

func TestGoldenLambda(t *testing.T) {
	for _, name := range []string{"tiny-b4", "masked-b8", "cycle-b8", "odd-b16", "domino-kd-b8"} {
		g := readGolden(t, name)
		s, err := NewLambdaSchedule(g.Start, g.Ratio, g.Total, false)
		require.NoError(t, err)
		require.Len(t, g.Steps, g.Total)
		for i, step := range g.Steps {
			require.InDelta(t, step["lambda_base"], s.At(i), 1e-12, "%s step %d", name, i)
		}
	}
}
