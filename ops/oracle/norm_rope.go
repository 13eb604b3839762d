package oracle

// NormRoPE returns RMSNorm over every head of x and then RoPE, with RoPE's tables cos and sin:
// x is [n, heads*hd], weight is [hd], pos is [n]. It returns rstd, [n*heads], too.
// Source: spec.md §5.1.
func NormRoPE(x, weight, cos, sin []float64, pos []int, n, heads, hd int, eps float64) (out, rstd []float64) {
	normed, rstd := RMSNorm(x, weight, n*heads, hd, eps)
	return RoPE(normed, cos, sin, pos, n, heads, hd), rstd
}
