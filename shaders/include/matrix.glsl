// Cooperative matrices of a subgroup, of M x N x K elements by MATRIX: sums are
// of TM x TN, and products of TM x TK by TK x TN. Operands are of ELEMENT, which
// is bf16, or f16 after a multiplication by a power of two.
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#include "storage.glsl"
#ifdef ELEMENT_BF16
#extension GL_EXT_bfloat16 : require
#define ELEMENT bfloat16_t
#else
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#define ELEMENT float16_t
#endif

#if defined(MATRIX_16X16X16)
const uint TM = 16, TN = 16, TK = 16;
#elif defined(MATRIX_16X8X16)
const uint TM = 16, TN = 8, TK = 16;
#elif defined(MATRIX_8X16X16)
const uint TM = 8, TN = 16, TK = 16;
#else
const uint TM = 8, TN = 8, TK = 8;
#endif
#define VECTOR_BUFFER(slot, name) layout(set = 0, binding = slot) buffer name##_vectors { uvec4 name##8[]; }; // eight elements of bf16 each
#define LEFT coopmat<ELEMENT, gl_ScopeSubgroup, TM, TK, gl_MatrixUseA>
#define RIGHT coopmat<ELEMENT, gl_ScopeSubgroup, TK, TN, gl_MatrixUseB>
#define SUM coopmat<float, gl_ScopeSubgroup, TM, TN, gl_MatrixUseAccumulator>

// The power of two that brings a magnitude to 2^14, within the normal numbers; 1 for 0, infinities and NaN.
float scale_of(uint magnitude) {
	const uint exponent = magnitude >> 23;
	if (magnitude == 0u || exponent == 255u) return 1.0;
	return uintBitsToFloat(clamp(268u - exponent, 1u, 253u) << 23);
}

// Eight elements of bf16, rounded to nearest even without a branch; NaN stays NaN.
uvec4 bf16_bits(vec4 v) {
	const uvec4 u = floatBitsToUint(v);
	return mix((u + 0x7fffu + ((u >> 16) & 1u)) >> 16, (u >> 16) | 0x40u, greaterThan(u & 0x7fffffffu, uvec4(0x7f800000u)));
}
uvec4 f32_to_bf16x8(vec4 a, vec4 b) {
	const uvec4 x = bf16_bits(a), y = bf16_bits(b);
	return uvec4(x.xz | x.yw << 16, y.xz | y.yw << 16);
}

// Eight elements of a matrix from eight of bf16, and from eight of f32.
#ifdef ELEMENT_BF16
uvec4 convert(uvec4 v, float scale) { return v; }
uvec4 pack(vec4 a, vec4 b) { return f32_to_bf16x8(a, b); }
#else
uvec4 convert(uvec4 v, float scale) {
	uvec4 h;
	[[unroll]] for (uint i = 0u; i < 4u; i++)
		h[i] = packHalf2x16(scale * vec2(uintBitsToFloat(v[i] << 16), uintBitsToFloat(v[i] & 0xffff0000u)));
	return h;
}
uvec4 pack(vec4 a, vec4 b) { return uvec4(packHalf2x16(a.xy), packHalf2x16(a.zw), packHalf2x16(b.xy), packHalf2x16(b.zw)); }
#endif
