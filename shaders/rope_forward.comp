#version 450
// variants: STORAGE=f32,bf16 FROM=buffer,texel
// out[i] = x[i] cos - x[i+half] sin, out[i+half] = x[i+half] cos + x[i] sin.
#extension GL_GOOGLE_include_directive : require
#include "rope.glsl"

void main() { rotate(1.0); }
