#version 450
// variants: ELEMENT=bf16,f16 MATRIX=16x16x16,16x8x16,8x16x16,8x8x8
// compiler: shaderc 2026.4
// How many multiplications and additions a device does on cooperative matrices of a
// subgroup, in registers alone: every subgroup keeps 8 sums, and each step adds a
// product of M x N x K by MATRIX to each of them.
#pragma use_vulkan_memory_model
#extension GL_GOOGLE_include_directive : require
#include "matrix.glsl"
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint SUBGROUPS = 4;
layout(set = 0, binding = 0) buffer Out_f32 { float Out32[]; };
layout(push_constant) uniform Push { uint out0, steps; float factor; };

void main() {
	const uint SUMS = 8u;
	LEFT a = LEFT(ELEMENT(factor));
	RIGHT b = RIGHT(ELEMENT(factor));
	SUM c[SUMS];
	[[unroll]] for (uint i = 0u; i < SUMS; i++) c[i] = SUM(factor * float(i));
	for (uint step = 0u; step < steps; step++)
		[[unroll]] for (uint i = 0u; i < SUMS; i++) c[i] = coopMatMulAdd(a, b, c[i]);
	[[unroll]] for (uint i = 1u; i < SUMS; i++) c[0] += c[i];
	const uint subgroup = gl_WorkGroupID.x * SUBGROUPS + gl_SubgroupID;
	coopMatStore(c[0], Out32, out0 + subgroup * TM * TN, TN, gl_CooperativeMatrixLayoutRowMajor);
}
