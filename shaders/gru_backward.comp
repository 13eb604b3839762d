#version 450
// variants: STORAGE=f32,bf16
// The gates of one step of back-propagation through a GRU, with h the state
// before the step and dh = dstate + carry:
//
//	dz = dh (h - n) z (1 - z)   dn = dh (1 - z) (1 - n²)   dr = dn q r (1 - r)
//	dgi = [dr dz dn]            dgh = [dr dz dn·r]         carry = dh z
//
// to which the GEMM behind it adds dgh W_hh. A workgroup has one row.
#extension GL_GOOGLE_include_directive : require
#include "storage.glsl"
#include "workgroup.glsl"
layout(constant_id = 2) const bool VECTOR = false;
layout(constant_id = 3) const bool FIRST = false; // step 0: h is zero, no carry leaves
layout(constant_id = 4) const bool LAST = false;  // no carry arrives
#include "quad.glsl"
#include "gru.glsl"
F32_BUFFER(0, DSTATE)
F32_BUFFER(1, CARRY)
BUFFER(2, GATES) // r, z, n, q
BUFFER(3, H)
BUFFER(4, DGI)
BUFFER(5, DGH)
layout(push_constant) uniform Push { uint dstate0, carry0, gates0, h0, dgi0, dgh0, rows, G; };
QUAD_READER(read_dstate, F32_LOAD, DSTATE)
QUAD_READER(read_carry, F32_LOAD, CARRY)
QUAD_READER(read_gates, LOAD, GATES)
QUAD_READER(read_h, LOAD, H)
QUAD_WRITER(write_carry, F32_STORE, CARRY)
QUAD_WRITER(write_dgi, STORE, DGI)
QUAD_WRITER(write_dgh, STORE, DGH)

void main() {
	const uint row = workgroup_index();
	if (row >= rows) return;
	const uint gates = gates0 + row * 4u * G, dgi = dgi0 + row * 3u * G, dgh = dgh0 + row * 3u * G;
	for (uint u = 4u * gl_LocalInvocationIndex; u < G; u += 4u * GROUP) {
		const uint left = G - u;
		vec4 r = read_gates(gates + u, left, 0.0), z = read_gates(gates + G + u, left, 0.0);
		vec4 n = read_gates(gates + 2u * G + u, left, 0.0), q = read_gates(gates + 3u * G + u, left, 0.0);
		vec4 dh = read_dstate(dstate0 + row * G + u, left, 0.0), h = vec4(0);
		if (!LAST) dh += read_carry(carry0 + row * G + u, left, 0.0);
		if (!FIRST) h = read_h(h0 + row * G + u, left, 0.0);
		vec4 dr, dz, dn;
		gru_gradients(dh, r, z, n, q, h, dr, dz, dn);
		write_dgi(dgi + u, left, dr);
		write_dgi(dgi + G + u, left, dz);
		write_dgi(dgi + 2u * G + u, left, dn);
		write_dgh(dgh + u, left, dr);
		write_dgh(dgh + G + u, left, dz);
		write_dgh(dgh + 2u * G + u, left, dn * r);
		if (!FIRST) write_carry(carry0 + row * G + u, left, dh * z);
	}
}
