package tensors

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestEveryBF16RoundTrips(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		x := F32FromBF16(h)
		want := h
		if x != x {
			want |= bf16Quiet
		}
		require.Equal(t, want, BF16FromF32(x), "%#04x", h)
	}
}

func TestBF16Rounding(t *testing.T) {
	cases := []struct {
		name string
		in   uint32
		want uint16
	}{
		{"below half rounds down", 0x3f807fff, 0x3f80},
		{"tie to even stays", 0x3f808000, 0x3f80},
		{"tie to even goes up", 0x3f818000, 0x3f82},
		{"above half rounds up", 0x3f808001, 0x3f81},
		{"the carry reaches the exponent", 0x3fffffff, 0x4000},
		{"overflow becomes infinity", 0x7f7fffff, 0x7f80},
		{"negative overflow", 0xff7fffff, 0xff80},
		{"infinity", 0x7f800000, 0x7f80},
		{"a NaN whose high mantissa bits are 0 stays a NaN", 0x7f800001, 0x7fc0},
		{"negative NaN keeps its sign", 0xff800001, 0xffc0},
		{"all ones", 0xffffffff, 0xffff},
		{"minus zero", 0x80000000, 0x8000},
		{"the least subnormal rounds to zero", 0x00000001, 0x0000},
		{"a subnormal tie", 0x00008000, 0x0000},
		{"a subnormal above the tie", 0x00008001, 0x0001},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, BF16FromF32(math.Float32frombits(c.in)))
		})
	}
}

func TestBF16IsNearestAndMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := math.Float32frombits(rapid.Uint32().Draw(t, "bits"))
		h := BF16FromF32(x)
		y := F32FromBF16(h)
		if x != x {
			if y == y {
				t.Fatalf("NaN %#08x became %v", math.Float32bits(x), y)
			}
			return
		}
		// The neighbours of h towards and away from zero are no closer.
		for _, n := range []uint16{h - 1, h + 1} {
			z := F32FromBF16(n)
			if n&0x8000 != h&0x8000 || z != z || math.IsInf(float64(z), 0) || math.IsInf(float64(y), 0) {
				continue
			}
			dy, dz := math.Abs(float64(x)-float64(y)), math.Abs(float64(x)-float64(z))
			if dz < dy || (dz == dy && h&1 == 1) {
				t.Fatalf("%v: %v is not nearest-even, %v is", x, y, z)
			}
		}
		x2 := math.Float32frombits(rapid.Uint32().Draw(t, "bits2"))
		if x2 == x2 && x < x2 && y > F32FromBF16(BF16FromF32(x2)) {
			t.Fatalf("not monotone between %v and %v", x, x2)
		}
	})
}

func TestEveryF16(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		exp, mant := int(h>>10&31), float64(h&1023)
		want := math.Ldexp(1+mant/1024, exp-15)
		switch exp {
		case 0:
			want = math.Ldexp(mant, -24)
		case 31:
			want = math.Inf(1)
		}
		if h&0x8000 != 0 {
			want = -want
		}
		got := F32FromF16(h)
		if exp == 31 && mant != 0 {
			require.True(t, got != got, "%#04x", h)
			continue
		}
		require.Equal(t, math.Float32bits(float32(want)), math.Float32bits(got), "%#04x", h)
	}
}

func TestSlicesAgreeWithSingleValues(t *testing.T) {
	src := []float32{0, 1, -1.00390625, 3.14159, float32(math.Inf(-1)), 1e-40}
	halves := BF16s(src)
	raw, wide := BF16Bytes(src), F32Bytes(src)
	back := F32s(halves)
	for i, x := range src {
		require.Equal(t, BF16FromF32(x), halves[i])
		require.Equal(t, F32FromBF16(halves[i]), back[i])
		require.Equal(t, halves[i], uint16(raw[2*i])|uint16(raw[2*i+1])<<8)
		bits := uint32(wide[4*i]) | uint32(wide[4*i+1])<<8 | uint32(wide[4*i+2])<<16 | uint32(wide[4*i+3])<<24
		require.Equal(t, math.Float32bits(x), bits)
	}
}

// However a tensor is cut among processors, its bytes are the same.
func TestBF16BytesOfLargeTensors(t *testing.T) {
	for _, n := range []int{0, 1, 1<<16 - 1, 1<<16 + 1, 1<<18 + 3} {
		src := make([]float32, n)
		for i := range src {
			src[i] = float32(i) * 1.001
		}
		raw := BF16Bytes(src)
		require.Len(t, raw, 2*n)
		for i, x := range src {
			if got := binary.LittleEndian.Uint16(raw[2*i:]); got != BF16FromF32(x) {
				t.Fatalf("%d of %d: want %x, got %x", i, n, BF16FromF32(x), got)
			}
		}
	}
}

func TestDType(t *testing.T) {
	sizes := map[string]int{"F32": 4, "BF16": 2, "F16": 2, "I64": 8, "I32": 4, "U32": 4, "U8": 1, "BOOL": 1, "F64": 8, "U64": 8, "I16": 2, "U16": 2, "I8": 1}
	require.Len(t, sizes, int(numDTypes))
	for name, size := range sizes {
		d, err := ParseDType(name)
		require.NoError(t, err)
		require.Equal(t, name, d.String())
		require.Equal(t, size, d.Size())
	}
	require.Equal(t, 0, DType(200).Size())
	require.Equal(t, "DType(200)", DType(200).String())
	_, err := ParseDType("F8_E4M3")
	require.ErrorContains(t, err, `got "F8_E4M3"`)
}

func TestByteLen(t *testing.T) {
	cases := []struct {
		shape []int
		want  int
		ok    bool
	}{
		{nil, 4, true},
		{[]int{2, 3}, 24, true},
		{[]int{1 << 32, 1 << 32, 0}, 0, false},
		{[]int{1 << 32, 0}, 0, true},
		{[]int{1 << 40, 1 << 40}, 0, false},
		{[]int{-1}, 0, false},
	}
	for _, c := range cases {
		n, ok := byteLen(F32, c.shape)
		require.Equal(t, c.ok, ok, "%v", c.shape)
		require.Equal(t, c.want, n, "%v", c.shape)
	}
	_, ok := byteLen(DType(99), []int{1})
	require.False(t, ok)
}
