#version 450
// compiler: shaderc 2026.4 vulkan1.3
// How many multiplications and additions a device does on cooperative matrices of a
// workgroup (VK_NV_cooperative_matrix2), with nothing fetched: every workgroup keeps
// one sum of BM x BN, and each step adds a product of BM x BN by BK to it.
#pragma use_vulkan_memory_model
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_EXT_bfloat16 : require
#extension GL_NV_cooperative_matrix2 : require
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint BM = 64;
layout(constant_id = 2) const uint BN = 64;
layout(constant_id = 3) const uint BK = 64;
layout(set = 0, binding = 0) buffer Out_f32 { float Out32[]; };
layout(push_constant) uniform Push { uint out0, steps; float factor; };

void main() {
	coopmat<bfloat16_t, gl_ScopeWorkgroup, BM, BK, gl_MatrixUseA> a = coopmat<bfloat16_t, gl_ScopeWorkgroup, BM, BK, gl_MatrixUseA>(bfloat16_t(factor));
	coopmat<bfloat16_t, gl_ScopeWorkgroup, BK, BN, gl_MatrixUseB> b = coopmat<bfloat16_t, gl_ScopeWorkgroup, BK, BN, gl_MatrixUseB>(bfloat16_t(factor));
	coopmat<float, gl_ScopeWorkgroup, BM, BN, gl_MatrixUseAccumulator> c = coopmat<float, gl_ScopeWorkgroup, BM, BN, gl_MatrixUseAccumulator>(factor);
	for (uint step = 0u; step < steps; step++) c = coopMatMulAdd(a, b, c);
	coopMatStore(c, Out32, out0 + gl_WorkGroupID.x * BM * BN, BN, gl_CooperativeMatrixLayoutRowMajor);
}
