// Elementwise kernels: an invocation handles four consecutive elements, or one
// where the length or an offset of a tensor is not a multiple of four; eight in
// the variants FROM=texel, see eight.glsl.
#include "workgroup.glsl"
layout(constant_id = 2) const bool VECTOR = false;
#ifdef FROM_TEXEL
const uint WIDTH = 8u;
#else
const uint WIDTH = VECTOR ? 4u : 1u;
#endif

// The first element of this invocation.
uint flat_index() { return (workgroup_index() * GROUP + local_index()) * WIDTH; }

// One element comes as a vec4 that repeats it.
#define GET(name, i) (VECTOR ? LOAD4(name, i) : vec4(LOAD(name, i)))
#define F32_GET(name, i) (VECTOR ? F32_LOAD4(name, i) : vec4(F32_LOAD(name, i)))
#define BF16_GET(name, i) (VECTOR ? BF16_LOAD4(name, i) : vec4(BF16_LOAD(name, i)))
#define PUT(name, i, v) if (VECTOR) STORE4(name, i, v); else STORE(name, i, (v).x)
#define F32_PUT(name, i, v) if (VECTOR) F32_STORE4(name, i, v); else F32_STORE(name, i, (v).x)
#define BF16_PUT(name, i, v) if (VECTOR) BF16_STORE4(name, i, v); else BF16_STORE(name, i, (v).x)
