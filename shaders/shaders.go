// Package shaders holds the GLSL sources and the committed SPIR-V of every
// kernel. tools/glslc makes the one from the other; only ops imports this.
package shaders

import (
	"embed"
	"encoding/binary"
	"fmt"
)

//go:embed spv/*.spv
var modules embed.FS

// SPIRV returns the words of a module, such as "gemm_t0.nt.bf16.f32".
func SPIRV(name string) ([]uint32, error) {
	b, err := modules.ReadFile("spv/" + name + ".spv")
	if err != nil {
		return nil, fmt.Errorf("shaders: no module %s", name)
	}
	words := make([]uint32, len(b)/4)
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return words, nil
}
