// How the attention kernels read their operands: from storage buffers, or, on CPU drivers, in
// texels of 16 bytes. There a storage buffer costs a loop over the lanes with a test of bounds in
// it, a texel buffer eight plain loads and a transposition.
#ifdef READ_TEXEL
#define OPERAND(slot, name) layout(set = 0, binding = slot) uniform usamplerBuffer name;
#define TEXEL(name, i) texelFetch(name, int(i))
#ifdef STORAGE_BF16
const uint FOURS = 2u; // vectors of four elements in a load
#define LOAD_FOURS(name, i, v) { uvec4 u = TEXEL(name, (i) >> 3); v[0] = bf16x4_to_f32(u.xy); v[1] = bf16x4_to_f32(u.zw); }
vec4 four_of(uvec4 u, uint i) { return bf16x4_to_f32((i & 4u) == 0u ? u.xy : u.zw); }
#define LOAD_FOUR(name, i) four_of(TEXEL(name, (i) >> 3), i)
#else
const uint FOURS = 1u;
#define LOAD_FOURS(name, i, v) v[0] = LOAD_FOUR(name, i);
#define LOAD_FOUR(name, i) uintBitsToFloat(TEXEL(name, (i) >> 2))
#endif
#else
const uint FOURS = 1u;
#define OPERAND BUFFER
#endif
