package main

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// spirv is a module of some instructions, given as opcode and operands.
func spirv(instructions ...[]uint32) (out []byte) {
	for _, w := range []uint32{0x07230203, 0x10500, 0, 99, 0} {
		out = binary.LittleEndian.AppendUint32(out, w)
	}
	for _, in := range instructions {
		out = binary.LittleEndian.AppendUint32(out, uint32(len(in))<<16|in[0])
		for _, w := range in[1:] {
			out = binary.LittleEndian.AppendUint32(out, w)
		}
	}
	return out
}

// TestAliased: storage buffers become Aliased behind the last decoration, but for restrict ones and what is no buffer.
func TestAliased(t *testing.T) {
	binding, restricted := []uint32{opDecorate, 20, 33, 0}, []uint32{opMemberDecorate, 10, 0, decorateRestrict}
	types := [][]uint32{{opTypePointer, 12, storageBuffer, 10}, {opTypePointer, 13, storageBuffer, 11}, {opTypePointer, 14, 9, 11}}
	variables := [][]uint32{{opVariable, 12, 20, storageBuffer}, {opVariable, 13, 21, storageBuffer}, {opVariable, 14, 22, 9}}
	body := append(append([][]uint32{}, types...), variables...)
	got, err := aliased(spirv(append([][]uint32{binding, restricted}, body...)...))
	require.NoError(t, err)
	want := spirv(append([][]uint32{binding, restricted, {opDecorate, 21, decorateAliased}}, body...)...)
	require.Equal(t, want, got)
}

func TestAliasedOfWhatIsNoModule(t *testing.T) {
	whole := spirv([]uint32{opDecorate, 20, 33, 0})
	for _, bad := range [][]byte{nil, whole[:19], whole[:21], whole[:len(whole)-4], append(whole, 0, 0, 0, 0)} {
		_, err := aliased(bad)
		require.ErrorContains(t, err, "no SPIR-V")
	}
}
