// Elements of tensors that a kernel reads or overwrites as a whole, as FOURS vec4s at a time. The
// variants FROM=texel are for CPU drivers and lengths that are multiples of eight: eight elements
// from texels of 16 bytes, which cost such a driver plain loads, and bf16 stored in one piece. A
// storage buffer costs it a loop over the lanes for every access. Include it after flat.glsl.
//
// A result may overwrite a tensor that is read in texels: no store can be moved before a load that
// it depends on.
#ifdef FROM_TEXEL
const uint FOURS = 2u;
#define F32_READ_BUFFER(slot, name) layout(set = 0, binding = slot) uniform usamplerBuffer name;
#define BF16_READ_BUFFER F32_READ_BUFFER
#define F32_READ(name, i, v) { \
	v[0] = uintBitsToFloat(texelFetch(name, int((i) >> 2))); \
	v[1] = uintBitsToFloat(texelFetch(name, int((i) >> 2) + 1)); \
}
#define BF16_READ(name, i, v) { \
	uvec4 bits = texelFetch(name, int((i) >> 3)); \
	v[0] = bf16x4_to_f32(bits.xy); \
	v[1] = bf16x4_to_f32(bits.zw); \
}
#define F32_FETCH4(name, i) uintBitsToFloat(texelFetch(name, int((i) >> 2)))
#define F32_FETCH(name, i) uintBitsToFloat(texelFetch(name, int((i) >> 2))[(i) & 3u])
#define I32_READ_BUFFER F32_READ_BUFFER
#define I32_FETCH(name, i) int(texelFetch(name, int((i) >> 2))[(i) & 3u])
#define F32_READ_BACK(name, i, v) { v[0] = F32_LOAD4(name, i); v[1] = F32_LOAD4(name, (i) + 4u); }
#define BF16_READ_BACK(name, i, v) { \
	uvec4 bits = name##8[(i) >> 3]; \
	v[0] = bf16x4_to_f32(bits.xy); \
	v[1] = bf16x4_to_f32(bits.zw); \
}
#define F32_WRITE_BUFFER F32_BUFFER
#define BF16_WRITE_BUFFER(slot, name) layout(set = 0, binding = slot) buffer name##_eight { uvec4 name##8[]; };
#define F32_WRITE(name, i, v) { F32_STORE4(name, i, v[0]); F32_STORE4(name, (i) + 4u, v[1]); }
#define BF16_WRITE(name, i, v) name##8[(i) >> 3] = uvec4(f32_to_bf16x4(v[0]), f32_to_bf16x4(v[1]))
#else
const uint FOURS = 1u;
#define F32_READ_BUFFER F32_BUFFER
#define BF16_READ_BUFFER BF16_BUFFER
#define F32_READ(name, i, v) v[0] = F32_GET(name, i);
#define BF16_READ(name, i, v) v[0] = BF16_GET(name, i);
#define F32_FETCH4 F32_LOAD4
#define F32_FETCH F32_LOAD
#define I32_READ_BUFFER I32_BUFFER
#define I32_FETCH(name, i) name[i]
#define F32_READ_BACK F32_READ
#define BF16_READ_BACK BF16_READ
#define F32_WRITE_BUFFER F32_BUFFER
#define BF16_WRITE_BUFFER BF16_BUFFER
#define F32_WRITE(name, i, v) F32_PUT(name, i, v[0])
#define BF16_WRITE(name, i, v) BF16_PUT(name, i, v[0])
#endif

// FETCH and FETCH4 read one element and four, READ_BACK reads from a WRITE_BUFFER. READ and WRITE are of the variant's STORAGE.
#ifdef STORAGE_BF16
#define READ_BUFFER BF16_READ_BUFFER
#define WRITE_BUFFER BF16_WRITE_BUFFER
#define READ BF16_READ
#define READ_BACK BF16_READ_BACK
#define WRITE BF16_WRITE
#else
#define READ_BUFFER F32_READ_BUFFER
#define WRITE_BUFFER F32_WRITE_BUFFER
#define READ F32_READ
#define READ_BACK F32_READ_BACK
#define WRITE F32_WRITE
#endif
