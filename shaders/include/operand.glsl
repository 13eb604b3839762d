// Operands of attention and GEMM on GPUs: read only and overlapped by nothing that is
// written, so that compilers may keep them in the fast caches and move their loads.
#ifdef STORAGE_BF16
#define OPERAND(slot, name) \
	layout(set = 0, binding = slot) restrict readonly buffer name##_scalar { uint16_t name##1[]; }; \
	layout(set = 0, binding = slot) restrict readonly buffer name##_vector { uvec2 name##4[]; };
#else
#define OPERAND(slot, name) \
	layout(set = 0, binding = slot) restrict readonly buffer name##_scalar { float name##1[]; }; \
	layout(set = 0, binding = slot) restrict readonly buffer name##_vector { vec4 name##4[]; };
#endif
