// What the kernels that scan a GRU in one dispatch share. They are for CPU drivers and G that is a multiple of eight.
// A workgroup is a subgroup and has as many rows as lanes, which no other workgroup sees; rows beyond the last are computed as
// the last and not stored. A lane has four units of each row, and brings the operands of one row, which reach the others by
// from_lane. What a step leaves to other lanes of the next goes through a SHARED buffer, ordered by subgroupBarrier.
#include "storage.glsl"
#include "workgroup.glsl"
const uint ROWS = GROUP;
#define FROM_TEXEL
#include "eight.glsl"
#include "from_lane.glsl"
#include "gru.glsl"

#ifdef STORAGE_BF16
#define SHARED(slot, name) \
	layout(set = 0, binding = slot) coherent buffer name##_eight { uvec4 name##8[]; }; \
	layout(set = 0, binding = slot) coherent buffer name##_vector { uvec2 name##4[]; };
vec4 bf16x4_at(uvec4 u, uint at) { return bf16x4_to_f32((at & 4u) == 0u ? u.xy : u.zw); }
#define FETCH4(name, i) bf16x4_at(texelFetch(name, int((i) >> 3)), i)
#else
#define SHARED(slot, name) layout(set = 0, binding = slot) coherent buffer name##_vector { vec4 name##4[]; };
#define FETCH4 F32_FETCH4
#endif

uint first_row() { return workgroup_index() * ROWS; }

// The row whose operands this lane brings.
uint lane_row(uint rows) { return min(first_row() + gl_SubgroupInvocationID, rows - 1u); }
