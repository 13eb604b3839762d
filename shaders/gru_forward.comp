#version 450
// variants: STORAGE=f32,bf16
// The gates of one step of a GRU scan, behind the GEMM gh = h W_hhᵀ:
//
//	r = sigma(gi_r + gh_r)   z = sigma(gi_z + gh_z)   q = gh_n
//	n = tanh(gi_n + r q)     h' = (1 - z) n + z h
//
// A workgroup has one row. The recurrence keeps h in f32: with f32 storage H is
// the states of the step before, with bf16 storage a buffer updated in place.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "workgroup.glsl"
layout(constant_id = 2) const bool VECTOR = false;
layout(constant_id = 3) const bool FIRST = false; // step 0: h and gh are zero and not read
layout(constant_id = 4) const bool INDEXED = false; // the row's gi is row INDEX[row], else the same row
#include "quad.glsl"
#include "gru.glsl"
F32_BUFFER(0, GI)
F32_BUFFER(1, GH)
F32_BUFFER(2, H)
BUFFER(3, STATES)
BUFFER(4, GATES) // r, z, n, q
I32_BUFFER(5, INDEX)
layout(push_constant) uniform Push { uint gi0, gh0, h0, states0, gates0, index0, rows, G; };
QUAD_READER(read_gi, F32_LOAD, GI)
QUAD_READER(read_gh, F32_LOAD, GH)
QUAD_READER(read_h, F32_LOAD, H)
QUAD_WRITER(write_states, STORE, STATES)
QUAD_WRITER(write_gates, STORE, GATES)
#ifdef STORAGE_BF16
QUAD_WRITER(write_h, F32_STORE, H)
#endif

void main() {
	const uint row = workgroup_index();
	if (row >= rows) return;
	const uint gi = gi0 + (INDEXED ? uint(INDEX[index0 + row]) : row) * 3u * G, gh = gh0 + row * 3u * G, gates = gates0 + row * 4u * G;
	for (uint u = 4u * gl_LocalInvocationIndex; u < G; u += 4u * GROUP) {
		const uint left = G - u;
		vec4 r = read_gi(gi + u, left, 0.0), z = read_gi(gi + G + u, left, 0.0), n = read_gi(gi + 2u * G + u, left, 0.0);
		vec4 h = vec4(0), q = vec4(0);
		if (!FIRST) {
			r += read_gh(gh + u, left, 0.0);
			z += read_gh(gh + G + u, left, 0.0);
			q = read_gh(gh + 2u * G + u, left, 0.0);
			h = read_h(h0 + row * G + u, left, 0.0);
		}
		gru_gates(r, z, n, q, h);
		write_gates(gates + u, left, r);
		write_gates(gates + G + u, left, z);
		write_gates(gates + 2u * G + u, left, n);
		write_gates(gates + 3u * G + u, left, q);
		write_states(states0 + row * G + u, left, h);
#ifdef STORAGE_BF16
		write_h(h0 + row * G + u, left, h);
#endif
	}
}
