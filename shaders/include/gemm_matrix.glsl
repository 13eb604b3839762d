// What the GEMM kernels on cooperative matrices share: operands of bf16, sizes,
// and the walk over the tiles. The product and its push constants are those of
// gemm.glsl; the result is f32 or bf16 by OUT_BF16.
layout(push_constant) uniform Push { PUSH_OFFSETS uint M, N, K, lda, ldb, ldd, ldc, kSplit, cSplit; };

layout(constant_id = 2) const bool VECTOR_A = false; // rows of A start at multiples of 16 bytes
layout(constant_id = 3) const bool VECTOR_B = false;
layout(constant_id = 4) const bool VECTOR_C = false; // rows of C and D start at multiples of 16 bytes
layout(constant_id = 5) const bool ADD = false; // add D
layout(constant_id = 6) const bool OUT_BF16 = false;
layout(constant_id = 7) const uint BM = 64; // the tile of a workgroup
layout(constant_id = 8) const uint BN = 64;
layout(constant_id = 9) const uint BK = 32;

#include "gemm_order.glsl"
