package tensors

import (
	"fmt"
	"slices"

	"github.com/nlpodyssey/safetensors"
)

// DType is the type of a tensor's elements.
type DType uint8

// The element types that safetensors files hold. F32, BF16 and I32 are computed with; the others are read.
const (
	F32 DType = iota
	BF16
	F16
	I64
	I32
	U32
	U8
	BOOL
	F64
	U64
	I16
	U16
	I8
	numDTypes
)

// dtypes lists, by DType, the name in a safetensors header and the same type in the library.
var dtypes = [numDTypes]struct {
	name string
	lib  safetensors.DType
}{
	F32:  {"F32", safetensors.F32},
	BF16: {"BF16", safetensors.BF16},
	F16:  {"F16", safetensors.F16},
	I64:  {"I64", safetensors.I64},
	I32:  {"I32", safetensors.I32},
	U32:  {"U32", safetensors.U32},
	U8:   {"U8", safetensors.U8},
	BOOL: {"BOOL", safetensors.BOOL},
	F64:  {"F64", safetensors.F64},
	U64:  {"U64", safetensors.U64},
	I16:  {"I16", safetensors.I16},
	U16:  {"U16", safetensors.U16},
	I8:   {"I8", safetensors.I8},
}

// Size returns the bytes of one element, 0 for a value that is no DType.
func (d DType) Size() int {
	if d >= numDTypes {
		return 0
	}
	return int(dtypes[d].lib.Size())
}

// String returns the name that safetensors headers use.
func (d DType) String() string {
	if d >= numDTypes {
		return fmt.Sprintf("DType(%d)", uint8(d))
	}
	return dtypes[d].name
}

// ParseDType returns the type whose name in a safetensors header is s. Types with 8 bits or fewer per float, as FP8
// checkpoints have them, are no DType.
func ParseDType(s string) (DType, error) {
	for d := range numDTypes {
		if dtypes[d].name == s {
			return d, nil
		}
	}
	return 0, fmt.Errorf("dtype: want one of %s, got %q", dtypeNames(), clip(s))
}

func dtypeNames() []string {
	names := make([]string, 0, numDTypes)
	for _, d := range dtypes {
		names = append(names, d.name)
	}
	slices.Sort(names)
	return names
}

// byteLen returns the bytes of a tensor, and false where the product overflows an int.
func byteLen(d DType, shape []int) (int, bool) {
	const maxInt = int(^uint(0) >> 1)
	n, zero := d.Size(), false
	for _, dim := range shape {
		switch {
		case dim < 0 || n == 0:
			return 0, false
		case dim == 0:
			zero = true
		case n > maxInt/dim:
			return 0, false
		default:
			n *= dim
		}
	}
	if zero {
		return 0, true
	}
	return n, d.Size() > 0
}
