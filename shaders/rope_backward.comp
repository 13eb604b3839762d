#version 450
// variants: STORAGE=f32,bf16 FROM=buffer,texel
// dx[i] = cos dy[i] + sin dy[i+half], dx[i+half] = cos dy[i+half] - sin dy[i]: the rotation back.
#extension GL_GOOGLE_include_directive : require
#include "rope.glsl"

void main() { rotate(-1.0); }
