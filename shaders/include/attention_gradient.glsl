// What the gradient kernels of block attention share. Where P = exp(q·kᵀ/√hd - lse),
//
//	dS = P (dOut·vᵀ - rowsum(dOut·out))    dq = dS k/√hd    dk = dSᵀ q/√hd    dv = Pᵀ dOut
#include "attention.glsl"

float g[ROWS]; // dOut·vᵀ, then dS

// Turns the products s and g of row m and the lane's row into P and dS. The
// query row's logsumexp and row sum are lse and delta.
void differentiate(uint m, bool seen, float lse, float delta) {
	s[m] = seen ? exp2(s[m] * scale - lse * LOG2_E) : 0.0;
	g[m] = seen ? s[m] * (g[m] - delta) : 0.0;
}
