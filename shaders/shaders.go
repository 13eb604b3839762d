// Package shaders holds the GLSL sources and the committed SPIR-V of every
// kernel. tools/glslc makes the one from the other; only ops imports this.
package shaders

import (
	"crypto/sha256"
	"embed"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
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

// Digest is the SHA-256 of the names and words of the modules whose names begin with a prefix.
func Digest(prefix string) (string, error) {
	list, err := modules.ReadDir("spv")
	if err != nil {
		return "", fmt.Errorf("shaders: %w", err)
	}
	h := sha256.New()
	for _, e := range list {
		if !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		b, err := modules.ReadFile("spv/" + e.Name())
		if err != nil {
			return "", fmt.Errorf("shaders: %w", err)
		}
		fmt.Fprintf(h, "%s %d ", e.Name(), len(b))
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
