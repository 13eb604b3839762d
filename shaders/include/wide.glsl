// Stores of 16 bytes as two words of 64 bits, and loads of what is read back: CPU drivers run a
// loop over the lanes for each word that a kernel stores.
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
u64vec2 wide(uvec4 v) { return u64vec2(packUint2x32(v.xy), packUint2x32(v.zw)); }
uvec4 narrow(u64vec2 v) { return uvec4(unpackUint2x32(v.x), unpackUint2x32(v.y)); }
#define WIDE_BUFFER(slot, name) layout(set = 0, binding = slot) buffer name##_wide { u64vec2 name##W[]; };
