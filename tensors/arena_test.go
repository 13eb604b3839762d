package tensors

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/vk"
)

func TestArenaHandsOutPartsThatDoNotOverlap(t *testing.T) {
	memory := Tensor{Name: "memory", DType: F32, Shape: []int{256}, Region: vk.Region{Offset: 4096, Bytes: 1024}}
	a := NewArena(memory)
	x := a.Take("x", BF16, 3, 5)
	y := a.Take("y", F32, 7)
	require.Equal(t, Tensor{Name: "x", DType: BF16, Shape: []int{3, 5}, Region: vk.Region{Offset: 4096, Bytes: 30}}, x)
	require.Equal(t, vk.Region{Offset: 4096 + vk.Align, Bytes: 28}, y.Region)
	require.Equal(t, int64(2*vk.Align), ArenaBytes(x.Bytes(), y.Bytes()))
	require.Panics(t, func() { a.Take("too much", F32, 129) })
	require.Equal(t, int64(512), a.Take("the rest", F32, 128).Region.Bytes)
	require.Equal(t, x.Region, NewArena(memory).Take("x again", BF16, 3, 5).Region)
}
