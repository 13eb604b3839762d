package main

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Numbers of the SPIR-V specification.
const (
	headerWords      = 5
	opTypePointer    = 32
	opVariable       = 59
	opDecorate       = 71
	opMemberDecorate = 72
	storageBuffer    = 12
	decorateRestrict = 19
	decorateAliased  = 20
)

// aliased decorates the storage buffers of a module as Aliased, but for those that are Restrict. In GLSL buffers may
// overlap unless they are restrict; in SPIR-V only where both say so (2.18.2, Aliasing), and the compiler leaves that out.
// Kernels do overlap: some work in place, and many have two views of one binding.
func aliased(spirv []byte) ([]byte, error) {
	if len(spirv)%4 != 0 || len(spirv) < 4*headerWords {
		return nil, fmt.Errorf("no SPIR-V: %d bytes", len(spirv))
	}
	words := make([]uint32, len(spirv)/4)
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(spirv[4*i:])
	}
	restrict := map[uint32]bool{} // blocks with a member that is
	blocks := map[uint32]uint32{} // by pointer type
	var more []uint32
	end := 0 // of the decorations
	for at := headerWords; at < len(words); {
		n := int(words[at] >> 16)
		if n == 0 || at+n > len(words) {
			return nil, fmt.Errorf("no SPIR-V: a cut instruction at word %d", at)
		}
		switch in := words[at+1 : at+n]; words[at] & 0xffff {
		case opDecorate:
			end = at + n
		case opMemberDecorate:
			end = at + n
			if in[2] == decorateRestrict {
				restrict[in[0]] = true
			}
		case opTypePointer:
			blocks[in[0]] = in[2]
		case opVariable:
			if in[2] == storageBuffer && !restrict[blocks[in[0]]] {
				more = append(more, 3<<16|opDecorate, in[1], decorateAliased)
			}
		}
		at += n
	}
	words = slices.Insert(words, end, more...)
	out := make([]byte, 0, 4*len(words))
	for _, w := range words {
		out = binary.LittleEndian.AppendUint32(out, w)
	}
	return out, nil
}
