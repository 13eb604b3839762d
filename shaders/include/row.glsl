// Kernels whose workgroup handles rows of a tensor. An invocation takes WIDTH
// consecutive columns at a time: four, or one where the number of columns or an
// offset is not a multiple of four. ITEMS > 0 says that a row is short: its
// ITEMS fours per invocation stay in registers.
#include "flat.glsl"
layout(constant_id = 3) const uint ITEMS = 0;
const uint HELD = ITEMS > 0u ? ITEMS : 1u;
const uint STEP = GROUP * WIDTH;

// The invocation's first column in its t-th turn.
uint column(uint t) { return t * STEP + local_index() * WIDTH; }

// The sum of what GET returned, or of products of it.
float total(vec4 v) { return VECTOR ? (v.x + v.y) + (v.z + v.w) : v.x; }

vec4 round4(vec4 v) { return vec4(ROUND(v.x), ROUND(v.y), ROUND(v.z), ROUND(v.w)); }
