package tensors_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/tensors"
	"vkdomino/vk"
)

// at is a tensor that starts at byte 1024 of a buffer.
func at(dtype tensors.DType, shape ...int) tensors.Tensor {
	t := tensors.Tensor{Name: "t", DType: dtype, Shape: shape}
	t.Region = vk.Region{Offset: 1024, Bytes: t.Bytes()}
	return t
}

func TestTensorSizes(t *testing.T) {
	for _, c := range []struct {
		dtype           tensors.DType
		shape           []int
		len, rows, cols int
		bytes           int64
	}{
		{tensors.F32, nil, 1, 1, 1, 4}, // a scalar
		{tensors.F32, []int{5}, 5, 1, 5, 20},
		{tensors.BF16, []int{5}, 5, 1, 5, 10},
		{tensors.F32, []int{2, 3}, 6, 2, 3, 24},
		{tensors.BF16, []int{2, 3, 4}, 24, 6, 4, 48},
		{tensors.F32, []int{0}, 0, 1, 0, 0},
		{tensors.F32, []int{0, 7}, 0, 0, 7, 0},
		{tensors.F32, []int{7, 0}, 0, 7, 0, 0},
		{tensors.BF16, []int{2, 0, 3}, 0, 0, 3, 0},
		{tensors.BF16, []int{151936, 5120, 4}, 151936 * 5120 * 4, 151936 * 5120, 4, 151936 * 5120 * 8}, // beyond 32 bits
	} {
		x := at(c.dtype, c.shape...)
		require.Equal(t, c.len, x.Len(), "len %v", c.shape)
		require.Equal(t, c.rows, x.Rows(), "rows %v", c.shape)
		require.Equal(t, c.cols, x.Cols(), "cols %v", c.shape)
		require.Equal(t, c.bytes, x.Bytes(), "bytes %v", c.shape)
	}
}

func TestTensorIs(t *testing.T) {
	for _, c := range []struct {
		have, asked []int
		want        bool
	}{
		{[]int{2, 3}, []int{2, 3}, true},
		{[]int{2, 3}, []int{3, 2}, false},
		{[]int{2, 3}, []int{6}, false},
		{[]int{2, 3}, []int{2, 3, 1}, false},
		{[]int{0, 3}, []int{0, 3}, true},
		{[]int{0, 3}, []int{0, 4}, false},
		{nil, nil, true},
		{nil, []int{1}, false},
	} {
		require.Equal(t, c.want, at(tensors.F32, c.have...).Is(c.asked...), "%v is %v", c.have, c.asked)
	}
}

func TestTensorView(t *testing.T) {
	for _, c := range []struct {
		have, want []int
		bytes      int64
	}{
		{[]int{4, 6}, []int{24}, 48},
		{[]int{4, 6}, []int{2, 3, 4}, 48},
		{[]int{4, 6}, []int{3, 5}, 30}, // the first elements
		{[]int{4, 6}, []int{}, 2},
		{[]int{4, 6}, []int{0, 6}, 0},
		{[]int{0, 6}, []int{6, 0}, 0},
		{nil, []int{1, 1}, 2},
	} {
		x := at(tensors.BF16, c.have...)
		v := x.View(c.want...)
		require.True(t, v.Is(c.want...))
		require.Equal(t, vk.Region{Offset: 1024, Bytes: c.bytes}, v.Region)
		require.Equal(t, "t", v.Name)
		require.True(t, x.Is(c.have...), "the tensor itself stays")
	}
	for _, beyond := range [][]int{{25}, {5, 5}, {4, 6, 2}} {
		require.Panics(t, func() { at(tensors.BF16, 4, 6).View(beyond...) }, "%v", beyond)
	}
	require.Panics(t, func() { at(tensors.BF16, 0, 6).View() }, "no element is no scalar")
}

func TestTensorSlice(t *testing.T) {
	for _, c := range []struct {
		have          []int
		lo, hi        int
		want          []int
		offset, bytes int64
	}{
		{[]int{4, 6}, 0, 4, []int{4, 6}, 1024, 48},
		{[]int{4, 6}, 1, 3, []int{2, 6}, 1024 + 12, 24},
		{[]int{4, 6}, 4, 4, []int{0, 6}, 1024 + 48, 0},
		{[]int{4, 6}, 2, 2, []int{0, 6}, 1024 + 24, 0},
		{[]int{9}, 3, 4, []int{1}, 1024 + 6, 2},
		{[]int{2, 3, 4}, 1, 2, []int{1, 3, 4}, 1024 + 24, 24},
		{[]int{0, 6}, 0, 0, []int{0, 6}, 1024, 0},
		{[]int{3, 0}, 1, 3, []int{2, 0}, 1024, 0},
	} {
		x := at(tensors.BF16, c.have...)
		s := x.Slice(c.lo, c.hi)
		require.True(t, s.Is(c.want...), "%v[%d:%d] is %v", c.have, c.lo, c.hi, s.Shape)
		require.Equal(t, vk.Region{Offset: c.offset, Bytes: c.bytes}, s.Region, "%v[%d:%d]", c.have, c.lo, c.hi)
		require.True(t, x.Is(c.have...), "the tensor itself stays")
	}
	for _, c := range []struct {
		have   []int
		lo, hi int
	}{{[]int{4}, -1, 2}, {[]int{4}, 3, 2}, {[]int{4}, 0, 5}, {[]int{0, 4}, 0, 1}, {nil, 0, 0}} {
		require.Panics(t, func() { at(tensors.F32, c.have...).Slice(c.lo, c.hi) }, "%v[%d:%d]", c.have, c.lo, c.hi)
	}
}

// TestSliceOfASlice: offsets add up, and a slice does not share its shape with the tensor.
func TestSliceOfASlice(t *testing.T) {
	x := at(tensors.F32, 8, 5)
	s := x.Slice(2, 7).Slice(1, 3)
	require.Equal(t, vk.Region{Offset: 1024 + 3*20, Bytes: 40}, s.Region)
	s.Shape[0], s.Shape[1] = 99, 99
	require.True(t, x.Is(8, 5))
}
