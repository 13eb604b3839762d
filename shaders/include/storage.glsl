// Storage of weights and activations: f32, or bf16 as 16-bit words (round to
// nearest even). Element indices; the four-wide forms want a multiple of four.
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_shuffle : require

float bf16_to_f32(uint bits) { return uintBitsToFloat(bits << 16); }

uint f32_to_bf16(float x) {
	uint u = floatBitsToUint(x);
	if ((u & 0x7fffffffu) > 0x7f800000u) return (u >> 16) | 0x40u; // keep NaN a NaN
	return (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
}

vec4 bf16x4_to_f32(uvec2 u) {
	return vec4(uintBitsToFloat(u.x << 16), uintBitsToFloat(u.x & 0xffff0000u),
	            uintBitsToFloat(u.y << 16), uintBitsToFloat(u.y & 0xffff0000u));
}

uvec2 f32_to_bf16x4(vec4 v) {
	return uvec2(f32_to_bf16(v.x) | (f32_to_bf16(v.y) << 16), f32_to_bf16(v.z) | (f32_to_bf16(v.w) << 16));
}

// Both views of a buffer share one binding.
#define F32_BUFFER(slot, name) \
	layout(set = 0, binding = slot) buffer name##_scalar { float name##1[]; }; \
	layout(set = 0, binding = slot) buffer name##_vector { vec4 name##4[]; };
#define BF16_BUFFER(slot, name) \
	layout(set = 0, binding = slot) buffer name##_scalar { uint16_t name##1[]; }; \
	layout(set = 0, binding = slot) buffer name##_vector { uvec2 name##4[]; };
#define I32_BUFFER(slot, name) layout(set = 0, binding = slot) buffer name##_words { int name[]; };
#define I32_LIST(slot, name) layout(set = 0, binding = slot) restrict readonly buffer name##_words { int name[]; }; // overlapped by nothing that is written

#define F32_LOAD(name, i) (name##1[i])
#define F32_LOAD4(name, i) (name##4[(i) >> 2])
#define F32_STORE(name, i, v) name##1[i] = (v)
#define F32_STORE4(name, i, v) name##4[(i) >> 2] = (v)
#define BF16_LOAD(name, i) bf16_to_f32(uint(name##1[i]))
#define BF16_LOAD4(name, i) bf16x4_to_f32(name##4[(i) >> 2])
#define BF16_STORE(name, i, v) name##1[i] = uint16_t(f32_to_bf16(v))
#define BF16_STORE4(name, i, v) name##4[(i) >> 2] = f32_to_bf16x4(v)

// BUFFER, LOAD and STORE are of the variant's STORAGE.
#ifdef STORAGE_BF16
#define BUFFER BF16_BUFFER
#define LOAD BF16_LOAD
#define LOAD4 BF16_LOAD4
#define STORE BF16_STORE
#define STORE4 BF16_STORE4
#define ROUND(v) bf16_to_f32(f32_to_bf16(v))
#else
#define BUFFER F32_BUFFER
#define LOAD F32_LOAD
#define LOAD4 F32_LOAD4
#define STORE F32_STORE
#define STORE4 F32_STORE4
#define ROUND(v) (v)
#endif
