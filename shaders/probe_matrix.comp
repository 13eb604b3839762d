#version 450
// variants: ELEMENT=bf16,f16 MATRIX=16x16x16,16x8x16,8x16x16,8x8x8
// compiler: shaderc 2026.4
// How many multiplications and additions a device does on cooperative matrices of a
// subgroup, in registers alone: every subgroup keeps 8 sums, and each step adds a
// product of M x N x K by MATRIX to each of them.
#pragma use_vulkan_memory_model
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#include "storage.glsl"
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint SUBGROUPS = 4;
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
layout(set = 0, binding = 0) buffer Out_f32 { float Out32[]; };
layout(push_constant) uniform Push { uint out0, steps; float factor; };

void main() {
	const uint SUMS = 8u;
	coopmat<ELEMENT, gl_ScopeSubgroup, TM, TK, gl_MatrixUseA> a = coopmat<ELEMENT, gl_ScopeSubgroup, TM, TK, gl_MatrixUseA>(ELEMENT(factor));
	coopmat<ELEMENT, gl_ScopeSubgroup, TK, TN, gl_MatrixUseB> b = coopmat<ELEMENT, gl_ScopeSubgroup, TK, TN, gl_MatrixUseB>(ELEMENT(factor));
	coopmat<float, gl_ScopeSubgroup, TM, TN, gl_MatrixUseAccumulator> c[SUMS];
	[[unroll]] for (uint i = 0u; i < SUMS; i++) c[i] = coopmat<float, gl_ScopeSubgroup, TM, TN, gl_MatrixUseAccumulator>(factor * float(i));
	for (uint step = 0u; step < steps; step++)
		[[unroll]] for (uint i = 0u; i < SUMS; i++) c[i] = coopMatMulAdd(a, b, c[i]);
	[[unroll]] for (uint i = 1u; i < SUMS; i++) c[0] += c[i];
	const uint subgroup = gl_WorkGroupID.x * SUBGROUPS + gl_SubgroupID;
	coopMatStore(c[0], Out32, out0 + subgroup * TM * TN, TN, gl_CooperativeMatrixLayoutRowMajor);
}
