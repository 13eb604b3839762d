// What the gradient kernels of block attention share. Where P = exp(q·kᵀ/√hd - lse),
//
//	dS = P (dOut·vᵀ - rowsum(dOut·out))    dq = dS k/√hd    dk = dSᵀ q/√hd    dv = Pᵀ dOut
#include "attention.glsl"

float g[ROWS * STEP]; // dOut·vᵀ, then dS

// Turns the products s and g of row m and the lane's row t into P and dS. The
// query row's logsumexp and row sum are lse and delta.
void differentiate(uint m, uint t, bool seen, float lse, float delta) {
	float p = seen ? exp2(s[m * STEP + t] * scale - lse * LOG2_E) : 0.0;
	s[m * STEP + t] = p;
	g[m * STEP + t] = seen ? p * (g[m * STEP + t] - delta) : 0.0;
}
