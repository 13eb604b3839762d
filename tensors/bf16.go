package tensors

import (
	"encoding/binary"
	"math"
	"runtime"
	"sync"
)

const (
	f32AbsMask  = 0x7fffffff // all but the sign
	f32Infinity = 0x7f800000
	bf16Quiet   = 0x0040 // the highest mantissa bit: makes a NaN quiet, and keeps it a NaN when its low bits are cut
	bf16Half    = 0x7fff // with the lowest kept bit added: half a unit in the last place, ties to even
)

// BF16FromF32 rounds x to bfloat16, to nearest with ties to even. A NaN stays a quiet NaN with its sign; a finite value
// beyond the largest bfloat16 becomes an infinity.
func BF16FromF32(x float32) uint16 {
	bits := math.Float32bits(x)
	if bits&f32AbsMask > f32Infinity {
		return uint16(bits>>16) | bf16Quiet
	}
	return uint16((bits + bf16Half + bits>>16&1) >> 16)
}

// F32FromBF16 returns the float32 of the same value; every bfloat16 is one.
func F32FromBF16(h uint16) float32 {
	return math.Float32frombits(uint32(h) << 16)
}

// F32FromF16 returns the float32 of the same value as the IEEE 754 half h; every half is one.
func F32FromF16(h uint16) float32 {
	const (
		expMask, mantBits   = 0x1f, 10
		mantMask            = 1<<mantBits - 1
		rebias              = 127 - 15 // exponent bias of float32 minus that of half
		mantShift           = 23 - mantBits
		smallestHalf        = 1.0 / (1 << 24) // the least subnormal
		signShift, signMask = 16, 0x8000
	)
	sign := uint32(h&signMask) << signShift
	exp, mant := uint32(h>>mantBits&expMask), uint32(h&mantMask)
	switch exp {
	case 0: // zero or subnormal: mant * 2^-24, exact in float32
		return math.Float32frombits(sign | math.Float32bits(float32(mant)*smallestHalf))
	case expMask: // infinity or NaN
		return math.Float32frombits(sign | f32Infinity | mant<<mantShift)
	}
	return math.Float32frombits(sign | (exp+rebias)<<23 | mant<<mantShift)
}

// BF16s rounds every element of src as BF16FromF32 does.
func BF16s(src []float32) []uint16 {
	dst := make([]uint16, len(src))
	for i, x := range src {
		dst[i] = BF16FromF32(x)
	}
	return dst
}

// F32s widens every bfloat16 of src.
func F32s(src []uint16) []float32 {
	dst := make([]float32, len(src))
	for i, h := range src {
		dst[i] = F32FromBF16(h)
	}
	return dst
}

// F32Bytes returns src as float32 in little-endian order, 4 bytes an element.
func F32Bytes(src []float32) []byte {
	dst := make([]byte, F32.Size()*len(src))
	for i, x := range src {
		binary.LittleEndian.PutUint32(dst[i*4:i*4+4], math.Float32bits(x))
	}
	return dst
}

// BF16Bytes returns src rounded to bfloat16 in little-endian order, 2 bytes an element. Large tensors are cut among all
// processors.
func BF16Bytes(src []float32) []byte {
	const least = 1 << 16 // elements that are worth a goroutine
	dst := make([]byte, BF16.Size()*len(src))
	each := max(least, (len(src)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for lo := each; lo < len(src); lo += each {
		wg.Go(func() { putBF16(dst[2*lo:], src[lo:min(lo+each, len(src))]) })
	}
	putBF16(dst, src[:min(each, len(src))])
	wg.Wait()
	return dst
}

func putBF16(dst []byte, src []float32) {
	for i, x := range src {
		binary.LittleEndian.PutUint16(dst[i*2:i*2+2], BF16FromF32(x))
	}
}
