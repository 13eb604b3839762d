package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/trainer/evaluate"
	"vkdomino/trainer/recipe"
)

// TestEvalInheritsFromTheRecipe has flags before the recipe's values and these before defaults.
func TestEvalInheritsFromTheRecipe(t *testing.T) {
	r := &recipe.Resolved{ModelPath: "t", EvalData: "d", EvalPrompts: 8, EvalMaxNewTokens: 32, Precision: "f32", ChatTemplate: "c"}
	f := evalFlags{data: "mine", prompts: -1, batch: 1}
	f.inherit(r)
	require.Equal(t, evalFlags{target: "t", data: "mine", template: "c", prompts: -1, maxNew: 32, precision: "f32", batch: 1}, f)
	require.NoError(t, f.check())
	f = evalFlags{target: "t", data: "d", batch: 1}
	f.inherit(nil)
	require.Equal(t, evalFlags{target: "t", data: "d", prompts: -1, maxNew: 64, precision: "bf16", batch: 1}, f)
	require.NoError(t, f.check())
}

func TestEvalRefuses(t *testing.T) {
	good := evalFlags{target: "t", data: "d", prompts: -1, maxNew: 64, precision: "bf16", batch: 1}
	for name, change := range map[string]func(f *evalFlags){
		"want --target":                            func(f *evalFlags) { f.target = "" },
		"and --data":                               func(f *evalFlags) { f.data = "" },
		"--prompts: want -1 or more, got -2":       func(f *evalFlags) { f.prompts = -2 },
		"--max-new-tokens: want 1 or more, got -5": func(f *evalFlags) { f.maxNew = -5 },
		"--batch: want 1 or more, got 0":           func(f *evalFlags) { f.batch = 0 },
		"--precision":                              func(f *evalFlags) { f.precision = "fp8" },
	} {
		f := good
		change(&f)
		require.ErrorContains(t, f.check(), name)
	}
	_, err := openEvaluation(t.Context(), evalFlags{})
	require.ErrorContains(t, err, "want --draft")
	_, err = openEvaluation(t.Context(), evalFlags{draft: t.TempDir()})
	require.Error(t, err)
}

func TestPrintEval(t *testing.T) {
	one := 1
	m := evaluate.Measure{Tau: 2.5, Low: 2.25, High: 2.75, Histogram: []int{1, 0, 3}, Accepted: []float64{0.75, 0.5}, CallsPerToken: 0.4, CallSpeedUp: 2.5,
		Lossless: evaluate.Lossless{Equal: 3, Of: 4, Prompt: &one, Position: &one}}
	r := &evaluate.Result{Target: "target", Prompts: 4, MaxNewTokens: 1, Drafts: []evaluate.Draft{{Path: "draft", Step: 7, DraftTokens: 2, Full: m, HeadOff: &m}}}
	var out bytes.Buffer
	printEval(&out, r)
	for _, want := range []string{"draft (step 7)", "2.500   2.250 –  2.750", "2.50x", "3 of 4: prompt 2 differs at token 2", "25.0   0.0  75.0", "75.0  50.0", "4 prompts, 1 new token, greedy", "cycles by acceptance length, %"} {
		require.Contains(t, out.String(), want)
	}
	require.False(t, r.Lossless())
}

// TestEvalPage wants a page with every number that fetches nothing.
func TestEvalPage(t *testing.T) {
	m := evaluate.Measure{Tau: 2.5, Low: 2.25, High: 2.75, Histogram: []int{1, 0, 3}, Accepted: []float64{0.75, 0.5}, Lossless: evaluate.Lossless{Equal: 4, Of: 4}}
	r := &evaluate.Result{Target: "<target>", Prompts: 4, NoDraft: m, Drafts: []evaluate.Draft{{Path: "draft", Step: -1, DraftTokens: 2, Full: m, HeadOff: &m},
		{Path: "plain", Step: -1, Full: evaluate.Measure{Histogram: []int{0}}}}}
	var out bytes.Buffer
	require.NoError(t, writePage(&out, r))
	text := out.String()
	require.Contains(t, text, "&lt;target&gt;")
	require.Contains(t, text, "4 prompts of ")
	require.Contains(t, text, "Cycles by acceptance length")
	require.Equal(t, 7, strings.Count(text, "<svg"), "one for both drafts, three of each")
	require.Contains(t, text, "2.250 – 2.750")
	require.Contains(t, text, ">75.0<")
	require.NotContains(t, text, ">0.0<", "bars of nothing have no number")
	require.NotContains(t, text, "NaN")
	require.NotContains(t, text, "ZgotmplZ")
	require.NotContains(t, text, "http")

	narrow := barChart("", numbers(17), []series{{values: make([]float64, 17)}, {values: append([]float64{12.34}, make([]float64, 16)...)}}, false, "%.1f")
	require.Equal(t, "12", narrow.Bars[1].Text, "no room for decimals")
	require.Contains(t, narrow.Bars[1].Tip, "12.3")
}
