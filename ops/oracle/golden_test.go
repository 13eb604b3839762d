package oracle

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The golden end-to-end case of spec.md §19.B: one Domino training step, composed of the ops of
// this package. It shows that the ops fit together and agree with numbers made elsewhere.
const (
	gH, gHeads, gKV, gHD, gI = 4, 2, 1, 4, 6
	gLayers, gFeatures, gV   = 2, 2, 7
	gG, gE, gBS, gS, gN      = 3, 2, 3, 7, 4
	gRows                    = gN * gBS
	gEps, gGamma, gLambda    = 1e-6, 2.0, .25
	goldenTolerance          = 1.5e-8 // the values are given to 8 decimals
)

var (
	gIDs     = []int{3, 1, 0, 1, 5, 2, 0}
	gMask    = []float64{0, 1, 1, 1, 1, 0, 1}
	gAnchors = []int{1, 3, 4, 0}
	gBlocks  = []Block{{0, 1}, {0, 3}, {0, 4}, {0, -1}}
	gShape   = BlockShape{Seq: gS, BlockSize: gBS, Heads: gHeads, KVHeads: gKV, HeadDim: gHD}
)

// goldenWeights returns all tensors of the case by name: element i of tensor k is
// 0.5*sin(1.3k+0.37i), and 1+0.1*sin(1.3k+0.37i) in norms.
func goldenWeights() map[string][]float64 {
	type tensor struct {
		name string
		size int
	}
	all := []tensor{{"fc", gH * gFeatures * gH}, {"hidden_norm", gH}}
	for l := range gLayers {
		for _, w := range []tensor{
			{"input_layernorm", gH}, {"q_proj", gHeads * gHD * gH}, {"k_proj", gKV * gHD * gH},
			{"v_proj", gKV * gHD * gH}, {"o_proj", gH * gHeads * gHD}, {"q_norm", gHD}, {"k_norm", gHD},
			{"post_attention_layernorm", gH}, {"gate_proj", gI * gH}, {"up_proj", gI * gH}, {"down_proj", gH * gI},
		} {
			all = append(all, tensor{fmt.Sprintf("%d.%s", l, w.name), w.size})
		}
	}
	all = append(all, []tensor{
		{"norm", gH}, {"weight_ih_l0", 3 * gG * gH}, {"weight_hh_l0", 3 * gG * gG}, {"embed_proj.0", gE * (gH + gG)},
		{"embed_proj.2", gV * gE}, {"embed_tokens", gV * gH}, {"lm_head", gV * gH}, {"target_hidden", gS * gFeatures * gH},
	}...)
	p := map[string][]float64{}
	for k, w := range all {
		x := make([]float64, w.size)
		for i := range x {
			x[i] = .5 * math.Sin(1.3*float64(k)+.37*float64(i))
			if strings.HasSuffix(w.name, "norm") {
				x[i] = 1 + x[i]/5
			}
		}
		p[w.name] = x
	}
	return p
}

// goldenLayer is what one layer keeps for its backward.
type goldenLayer struct {
	h, x, rstdX                []float64
	q0, rstdQ, q               []float64
	k0, rstdK, k, v            []float64
	kc0, rstdKC, kc, vc        []float64
	out, lse                   []float64
	h1, y, rstdY, gate, up, mi []float64
}

// golden is one step of the case.
type golden struct {
	p, grad       map[string][]float64
	cos, sin      []float64
	pos, ctxPos   []int
	fc, ht, rstdF []float64
	layers        []goldenLayer
	h, z, rstdZ   []float64
	x             []float64 // GRU inputs, step-major
	tape          GRUTape
	f, pre, act   []float64 // head, rows of suffix positions
	base, final   []float64
	labels        []int
	w             []float64
}

func newGolden() *golden {
	g := &golden{p: goldenWeights(), grad: map[string][]float64{}}
	g.cos, g.sin = RoPETable(gS+gBS, gHD, 1e4)
	for _, a := range gAnchors {
		for k := range gBS {
			g.pos = append(g.pos, a+k)
		}
	}
	for t := range gS {
		g.ctxPos = append(g.ctxPos, t)
	}
	return g
}

// linear is in·weightᵀ of a named weight.
func (g *golden) linear(in []float64, name string, rows, out, inDim int) []float64 {
	return GEMMNT(in, g.p[name], rows, out, inDim, nil)
}

// linearBackward adds the weight's gradient and returns the input's.
func (g *golden) linearBackward(dOut, in []float64, name string, rows, out, inDim int) []float64 {
	g.grad[name] = GEMMTN(dOut, in, out, inDim, rows, g.grad[name])
	return GEMMNN(dOut, g.p[name], rows, inDim, out, nil)
}

// normBackward adds the weight's gradient and returns the input's.
func (g *golden) normBackward(dOut, in, rstd []float64, name string, n, c int) []float64 {
	dIn, dWeight := RMSNormBackward(dOut, in, g.p[name], rstd, n, c)
	g.grad[name] = GEMMNN([]float64{1}, dWeight, 1, c, 1, g.grad[name])
	return dIn
}

// keys projects, normalises and rotates keys, and projects values, of rows of in.
func (g *golden) keys(in []float64, l string, pos []int, rows int) (k0, rstd, k, v []float64) {
	k0 = g.linear(in, l+"k_proj", rows, gKV*gHD, gH)
	kn, rstd := RMSNorm(k0, g.p[l+"k_norm"], rows*gKV, gHD, gEps)
	return k0, rstd, RoPE(kn, g.cos, g.sin, pos, rows, gKV, gHD), g.linear(in, l+"v_proj", rows, gKV*gHD, gH)
}

// keysBackward is the gradient of keys; it returns that of in.
func (g *golden) keysBackward(dk, dv, in, k0, rstd []float64, l string, pos []int, rows int) []float64 {
	dkn := RoPEBackward(dk, g.cos, g.sin, pos, rows, gKV, gHD)
	dk0 := g.normBackward(dkn, k0, rstd, l+"k_norm", rows*gKV, gHD)
	return Add(g.linearBackward(dk0, in, l+"k_proj", rows, gKV*gHD, gH), g.linearBackward(dv, in, l+"v_proj", rows, gKV*gHD, gH))
}

func (g *golden) forwardLayer(h []float64, l string) (t goldenLayer, next []float64) {
	t.h = h
	t.x, t.rstdX = RMSNorm(h, g.p[l+"input_layernorm"], gRows, gH, gEps)
	t.q0 = g.linear(t.x, l+"q_proj", gRows, gHeads*gHD, gH)
	qn, rstdQ := RMSNorm(t.q0, g.p[l+"q_norm"], gRows*gHeads, gHD, gEps)
	t.rstdQ, t.q = rstdQ, RoPE(qn, g.cos, g.sin, g.pos, gRows, gHeads, gHD)
	t.k0, t.rstdK, t.k, t.v = g.keys(t.x, l, g.pos, gRows)
	t.kc0, t.rstdKC, t.kc, t.vc = g.keys(g.ht, l, g.ctxPos, gS)
	t.out, t.lse = BlockAttention(t.q, t.k, t.v, t.kc, t.vc, gBlocks, gShape)
	t.h1 = Add(h, g.linear(t.out, l+"o_proj", gRows, gH, gHeads*gHD))
	t.y, t.rstdY = RMSNorm(t.h1, g.p[l+"post_attention_layernorm"], gRows, gH, gEps)
	t.gate, t.up = g.linear(t.y, l+"gate_proj", gRows, gI, gH), g.linear(t.y, l+"up_proj", gRows, gI, gH)
	t.mi = SwiGLU(t.gate, t.up)
	return t, Add(t.h1, g.linear(t.mi, l+"down_proj", gRows, gH, gI))
}

// backwardLayer returns the gradients of the layer's input and of the context rows.
func (g *golden) backwardLayer(dh []float64, t goldenLayer, l string) (dIn, dContext []float64) {
	dGate, dUp := SwiGLUBackward(g.linearBackward(dh, t.mi, l+"down_proj", gRows, gH, gI), t.gate, t.up)
	dy := Add(g.linearBackward(dGate, t.y, l+"gate_proj", gRows, gI, gH), g.linearBackward(dUp, t.y, l+"up_proj", gRows, gI, gH))
	dh = Add(dh, g.normBackward(dy, t.h1, t.rstdY, l+"post_attention_layernorm", gRows, gH))
	dOut := g.linearBackward(dh, t.out, l+"o_proj", gRows, gH, gHeads*gHD)
	a := BlockAttentionBackward(dOut, t.out, t.lse, t.q, t.k, t.v, t.kc, t.vc, gBlocks, gShape)
	dqn := RoPEBackward(a.Q, g.cos, g.sin, g.pos, gRows, gHeads, gHD)
	dq0 := g.normBackward(dqn, t.q0, t.rstdQ, l+"q_norm", gRows*gHeads, gHD)
	dx := g.linearBackward(dq0, t.x, l+"q_proj", gRows, gHeads*gHD, gH)
	dx = Add(dx, g.keysBackward(a.K, a.V, t.x, t.k0, t.rstdK, l, g.pos, gRows))
	dContext = g.keysBackward(a.ContextK, a.ContextV, g.ht, t.kc0, t.rstdKC, l, g.ctxPos, gS)
	return Add(dh, g.normBackward(dx, t.h, t.rstdX, l+"input_layernorm", gRows, gH)), dContext
}

// forwardBackbone computes z, all rows of the blocks.
func (g *golden) forwardBackbone() {
	g.fc = g.linear(g.p["target_hidden"], "fc", gS, gH, gFeatures*gH)
	g.ht, g.rstdF = RMSNorm(g.fc, g.p["hidden_norm"], gS, gH, gEps)
	noise := make([]int, gRows) // the mask id is 0
	for n, b := range gBlocks {
		if b.Anchor >= 0 {
			noise[n*gBS] = gIDs[b.Anchor]
		}
	}
	g.h = Embedding(g.p["embed_tokens"], noise, gH)
	for l := range gLayers {
		var t goldenLayer
		t, g.h = g.forwardLayer(g.h, fmt.Sprintf("%d.", l))
		g.layers = append(g.layers, t)
	}
	g.z, g.rstdZ = RMSNorm(g.h, g.p["norm"], gRows, gH, gEps)
}

// suffixRow says whether a row's position is not the block's first and so receives the correction.
func suffixRow(row int) bool { return row%gBS > 0 }

// forwardHead computes base and final logits of all rows. The head runs on every row; the
// correction of the first row of a block is then left out.
func (g *golden) forwardHead() {
	var tokens []int
	for j := range gBS {
		for _, a := range gAnchors {
			tokens = append(tokens, gIDs[min(a+j, gS-1)])
		}
	}
	g.x = Embedding(g.p["embed_tokens"], tokens, gH)
	g.tape = GRU(g.linear(g.x, "weight_ih_l0", gRows, 3*gG, gH), g.p["weight_hh_l0"], gBS, gN, gG)
	for row := range gRows {
		at := row%gBS*gN + row/gBS // step-major
		g.f = append(g.f, g.z[row*gH:(row+1)*gH]...)
		g.f = append(g.f, g.tape.States[at*gG:(at+1)*gG]...)
	}
	g.pre = g.linear(g.f, "embed_proj.0", gRows, gE, gH+gG)
	g.act = SiLU(g.pre)
	g.base = g.linear(g.z, "lm_head", gRows, gV, gH)
	g.final = g.linear(g.act, "embed_proj.2", gRows, gV, gE)
	for row := range gRows {
		if !suffixRow(row) {
			clear(g.final[row*gV : (row+1)*gV])
		}
	}
	g.final = Add(g.base, g.final)
}

// weigh sets labels and weights of all rows (spec.md §7.2).
func (g *golden) weigh() {
	for row := range gRows {
		b, k := gBlocks[row/gBS], row%gBS
		at := min(gAnchors[row/gBS]+k+1, gS-1)
		w := gMask[at] * math.Exp(-float64(k)/gGamma)
		if b.Anchor < 0 || gAnchors[row/gBS]+k+1 >= gS {
			w = 0
		}
		g.labels, g.w = append(g.labels, gIDs[at]), append(g.w, w)
	}
}

// backward fills in all gradients and returns that of z.
func (g *golden) backward(lambda float64) (dz []float64) {
	den := total(g.w) + 1e-6
	c := GEMMNN(g.w, []float64{1 / den}, gRows, 1, 1, nil)
	gF, _, gSum := CrossEntropyDualBackward(g.base, g.final, Targets{Labels: g.labels}, c, lambda, gRows, gV)
	dz = GEMMNN(gSum, g.p["lm_head"], gRows, gH, gV, nil)
	for row := range gRows {
		if !suffixRow(row) {
			clear(gF[row*gV : (row+1)*gV])
		}
	}
	dPre := SiLUBackward(g.linearBackward(gF, g.act, "embed_proj.2", gRows, gV, gE), g.pre)
	df := g.linearBackward(dPre, g.f, "embed_proj.0", gRows, gE, gH+gG)
	dStates := make([]float64, gRows*gG)
	for row := range gRows {
		at := row%gBS*gN + row/gBS
		d := df[row*(gH+gG) : (row+1)*(gH+gG)]
		copy(dStates[at*gG:(at+1)*gG], d[gH:])
		for i := range gH {
			dz[row*gH+i] += d[i]
		}
	}
	dGI, _, dWhh := GRUBackward(dStates, g.p["weight_hh_l0"], g.tape, gBS, gN, gG)
	g.linearBackward(dGI, g.x, "weight_ih_l0", gRows, 3*gG, gH)
	g.grad["weight_hh_l0"] = dWhh
	g.backwardBackbone(dz)
	return dz
}

func (g *golden) backwardBackbone(dz []float64) {
	dh := g.normBackward(dz, g.h, g.rstdZ, "norm", gRows, gH)
	dHt := make([]float64, gS*gH)
	for l := gLayers - 1; l >= 0; l-- {
		var dContext []float64
		dh, dContext = g.backwardLayer(dh, g.layers[l], fmt.Sprintf("%d.", l))
		dHt = Add(dHt, dContext)
	}
	dFC := g.normBackward(dHt, g.fc, g.rstdF, "hidden_norm", gS, gH)
	g.linearBackward(dFC, g.p["target_hidden"], "fc", gS, gH, gFeatures*gH)
}

// goldenStep runs the whole case at one lambda.
func goldenStep(lambda float64) (g *golden, dz []float64) {
	g = newGolden()
	g.forwardBackbone()
	g.forwardHead()
	g.weigh()
	return g, g.backward(lambda)
}

func TestGoldenForward(t *testing.T) {
	g, _ := goldenStep(gLambda)
	for row, want := range map[int][]float64{
		0: {1.333709, -.581386, 1.265640, -.648391}, 4: {.992206, -.834075, 1.566829, -.286395},
		8: {.614448, -.734556, 1.838067, -.145390}, 11: {-.469433, .010879, 2.002296, .393962},
	} {
		near(t, want, g.z[row*gH:(row+1)*gH], 6e-7)
	}
	near(t, []float64{-.507102, -.224483, .430031}, g.tape.States[2*gN*gG:2*gN*gG+gG], 6e-7)
	near(t, []float64{.558127, .083238, -.543032, -.181713, .510080, .274212, -.460353}, g.base[gV:2*gV], 6e-7)
	near(t, []float64{.607748, .110348, -.552613, -.222974, .458721, .239620, -.460086}, g.final[gV:2*gV], 6e-7)
	near(t, []float64{.767850, -.078743, -.730371, -.011315, .739168, .118992, -.767381}, g.final[7*gV:8*gV], 6e-7)
	require.Equal(t, g.base[:gV], g.final[:gV], "no correction at the first position")
}

func TestGoldenLoss(t *testing.T) {
	g, dz := goldenStep(gLambda)
	require.InDelta(t, 3.948821201768, total(g.w)+1e-6, 1e-12)
	b, f := CrossEntropyDual(g.base, g.final, Targets{Labels: g.labels}, gRows, gV)
	near(t, []float64{1.436625, 1.945388, 1.893595, 1.784783, 2.754028, 1.364963, 3.479165, 1.340503}, f.CE[:8], 6e-7)
	near(t, []float64{1.436625, 1.978676, 1.861842, 1.784783, 2.754714, 1.406450, 3.479165, 1.365395}, b.CE[:8], 6e-7)
	require.Equal(t, []int{0, 0, 0, 0, 0, 0, 0, 0, 4}, f.Argmax[:9])
	require.Equal(t, []int{0, 0, 0, 0, 0, 4, 0, 4, 4}, b.Argmax[:9])
	den := total(g.w) + 1e-6
	require.InDelta(t, 1.62406889, dot(g.w, f.CE)/den, goldenTolerance)
	require.InDelta(t, 1.63391217, dot(g.w, b.CE)/den, goldenTolerance)
	for row, want := range map[int][]float64{
		0: {-.06750296, -.07940078, -.08055207, -.07080103}, 1: {-.00221145, .02132770, .04198024, .05695095},
		5: {-.02817291, -.02825099, -.02450544, -.01744319}, 7: {-.04408070, -.04231649, -.03482493, -.02261998},
		4: {0, 0, 0, 0}, 6: {0, 0, 0, 0}, 8: {0, 0, 0, 0}, 9: {0, 0, 0, 0}, 11: {0, 0, 0, 0},
	} {
		near(t, want, dz[row*gH:(row+1)*gH], goldenTolerance)
	}
}

// goldenGrads holds the L2 norm, the first and the last element of every gradient.
var goldenGrads = map[string][3]float64{
	"fc":                         {.05899234, -.00854468, .00904832},
	"hidden_norm":                {.05119368, .02658441, -.01864748},
	"0.input_layernorm":          {.01269649, .00038084, -.00692848},
	"0.q_proj":                   {.02109996, -.00062962, -.00078537},
	"0.k_proj":                   {.08233679, -.01289291, .01774167},
	"0.v_proj":                   {.07949438, .02288256, -.00577708},
	"0.o_proj":                   {.36343551, -.11067156, -.02717417},
	"0.q_norm":                   {.01950951, .00902279, .01259023},
	"0.k_norm":                   {.01991825, .00576526, .01302325},
	"0.post_attention_layernorm": {.06530921, .02955372, .00881481},
	"0.gate_proj":                {.13165422, .05895212, -.00288960},
	"0.up_proj":                  {.11937412, .04696127, .00294907},
	"0.down_proj":                {.16510453, -.07104263, .00523570},
	"1.input_layernorm":          {.00390650, -.00227554, -.00018006},
	"1.q_proj":                   {.00790422, -.00096428, -.00014835},
	"1.k_proj":                   {.01659494, -.00698536, -.00168329},
	"1.v_proj":                   {.06281535, .00145987, .02179950},
	"1.o_proj":                   {.24122460, -.06530468, .01773680},
	"1.q_norm":                   {.00162916, .00089679, -.00073401},
	"1.k_norm":                   {.00205467, -.00117362, -.00067075},
	"1.post_attention_layernorm": {.03063531, -.01392674, .00406848},
	"1.gate_proj":                {.08481900, .00482223, -.00627039},
	"1.up_proj":                  {.08132738, -.00419747, -.00253704},
	"1.down_proj":                {.07285857, .01784414, .01049769},
	"norm":                       {.20639683, -.18841599, -.01827029},
	"weight_ih_l0":               {.00819886, -.00003353, -.00339720},
	"weight_hh_l0":               {.00549268, .00010549, .00183461},
	"embed_proj.0":               {.14371964, .02752276, .00247016},
	"embed_proj.2":               {.03942594, .02398867, .00201683},
}

func TestGoldenGradients(t *testing.T) {
	g, _ := goldenStep(gLambda)
	require.Len(t, g.grad, len(goldenGrads))
	for name, want := range goldenGrads {
		t.Run(name, func(t *testing.T) {
			d := g.grad[name]
			require.Len(t, d, len(g.p[name]))
			near(t, want[:], []float64{GlobalNorm(d), d[0], d[len(d)-1]}, goldenTolerance)
		})
	}
	require.InDelta(t, 0, total(g.grad["embed_proj.2"]), 1e-15)
}

// TestGoldenWithoutCorrectionLoss checks that at lambda 1 every gradient of the head is exactly 0.
func TestGoldenWithoutCorrectionLoss(t *testing.T) {
	g, _ := goldenStep(1)
	for _, name := range []string{"weight_ih_l0", "weight_hh_l0", "embed_proj.0", "embed_proj.2"} {
		require.Equal(t, make([]float64, len(g.p[name])), absolute(g.grad[name]), name)
	}
	require.NotZero(t, GlobalNorm(g.grad["fc"]))
}
