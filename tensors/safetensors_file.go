package tensors

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"

	"github.com/edsrzf/mmap-go"
	"github.com/nlpodyssey/safetensors"

	"vkdomino/internal/fail"
)

const (
	lengthBytes = 8 // the header's length, little-endian, at the start of a file

	brokenHint = "the file is incomplete or damaged: download or copy it again"
	modelHint  = "check that the file belongs to this model"
	fp8Hint    = "use the BF16 checkpoint of this model"
)

// File is an open safetensors file, mapped into memory. Its methods may be called from several goroutines, but not
// together with Close.
type File struct {
	path   string
	mapped mmap.MMap
	views  safetensors.SafeTensors
	header *header
	names  []string
}

// OpenFile maps the safetensors file at path and checks its header; no tensor is read yet. A file that breaks the format
// in any way is refused, naming the tensor.
func OpenFile(path string) (*File, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h, err := readHeader(f)
	if err != nil {
		return nil, formatError(path, err)
	}
	mapped, err := mmap.Map(f, mmap.RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("tensors: %s: map: %w", path, err)
	}
	st := &File{path: path, mapped: mapped, header: h, names: slices.Sorted(maps.Keys(h.tensors))}
	if err := st.deserialize(); err != nil {
		return nil, errors.Join(formatError(path, err), mapped.Unmap())
	}
	return st, nil
}

func openRegular(path string) (*os.File, error) {
	info, err := os.Stat(path) // before Open, which would wait for a writer of a pipe
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	var f *os.File
	if err == nil {
		f, err = os.Open(path)
	}
	if err != nil {
		return nil, fail.New(fail.Other, "check the path and the file's permissions", "tensors: %w", err)
	}
	return f, nil
}

// readHeader reads and checks the header of f without mapping it.
func readHeader(f *os.File) (*header, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	size := info.Size()
	if size < lengthBytes {
		return nil, fmt.Errorf("want at least %d bytes, got %d", lengthBytes, size)
	}
	var length [lengthBytes]byte
	if _, err := f.ReadAt(length[:], 0); err != nil {
		return nil, err
	}
	n, limit := binary.LittleEndian.Uint64(length[:]), uint64(min(maxHeaderBytes, size-lengthBytes))
	if n > limit {
		return nil, fmt.Errorf("header length: want at most %d of a file of %d bytes, got %d", limit, size, n)
	}
	text := make([]byte, n)
	if _, err := f.ReadAt(text, lengthBytes); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return parseHeader(text, int(size)-lengthBytes-int(n))
}

// deserialize lets the library lay the tensors over the map, which finds gaps and overlaps.
func (f *File) deserialize() error {
	return guardFault(func() error {
		views, err := safetensors.Deserialize(f.mapped)
		if err != nil {
			return err
		}
		f.views = views
		if views.Len() != len(f.names) {
			return fmt.Errorf("want %d tensors, got %d", len(f.names), views.Len())
		}
		return nil
	})
}

// Path returns the path that the file was opened with.
func (f *File) Path() string { return f.path }

// Names returns the names of all tensors, sorted.
func (f *File) Names() []string { return slices.Clone(f.names) }

// Metadata returns the header's string map, empty where it has none.
func (f *File) Metadata() map[string]string { return maps.Clone(f.header.meta) }

// Info returns the type and shape of a tensor, and whether there is one of this name. A scalar's shape is empty.
func (f *File) Info(name string) (DType, []int, bool) {
	info, ok := f.header.tensors[name]
	return info.dtype, slices.Clone(info.shape), ok
}

// Close unmaps the file. Nothing returned by other methods refers to the map.
func (f *File) Close() error {
	if f.mapped == nil {
		return nil
	}
	err := f.mapped.Unmap()
	f.views = safetensors.SafeTensors{}
	if err != nil {
		return fmt.Errorf("tensors: %s: unmap: %w", f.path, err)
	}
	return nil
}

// Raw returns a copy of a tensor's bytes, little-endian, and its type.
func (f *File) Raw(name string) ([]byte, DType, error) {
	var out []byte
	var dtype DType
	err := f.read(name, func(info tensorInfo, data []byte) error {
		out, dtype = slices.Clone(data), info.dtype
		return nil
	})
	return out, dtype, err
}

// ReadAt copies a tensor's bytes from off on into dst, which it fills: for example one chunk of rows straight into a
// staging buffer.
func (f *File) ReadAt(name string, dst []byte, off int) error {
	return f.read(name, func(_ tensorInfo, data []byte) error {
		if off < 0 || off > len(data) || len(dst) > len(data)-off {
			return fmt.Errorf("want bytes [%d, %d) of %d", off, off+len(dst), len(data))
		}
		copy(dst, data[off:])
		return nil
	})
}

// SHA256 returns the hash of a tensor's bytes in hexadecimal.
func (f *File) SHA256(name string) (string, error) {
	var sum [sha256.Size]byte
	err := f.read(name, func(_ tensorInfo, data []byte) error {
		sum = sha256.Sum256(data)
		return nil
	})
	return hex.EncodeToString(sum[:]), err
}

// Float32 returns the elements of an F32, BF16 or F16 tensor, row-major, widened to float32.
func (f *File) Float32(name string) ([]float32, error) {
	var out []float32
	err := f.read(name, func(info tensorInfo, data []byte) (err error) {
		out, err = floats(info, data)
		return err
	})
	return out, err
}

// Int32s returns the elements of an integer or BOOL tensor, row-major. A value outside the range of int32 is an error.
func (f *File) Int32s(name string) ([]int32, error) {
	var out []int32
	err := f.read(name, func(info tensorInfo, data []byte) (err error) {
		out, err = ints(info, data)
		return err
	})
	return out, err
}

// read calls use with the mapped bytes of a tensor. A page that cannot be read, because the file was cut under the map
// or its disk has a fault, becomes an error.
func (f *File) read(name string, use func(info tensorInfo, data []byte) error) error {
	info, ok := f.header.tensors[name]
	if !ok {
		return fail.New(fail.Other, modelHint, "tensors: %s: tensor %q: not in the file", f.path, clip(name))
	}
	if f.mapped == nil {
		return fmt.Errorf("tensors: %s: %w", f.path, os.ErrClosed)
	}
	view, ok := f.views.Tensor(name)
	if !ok || len(view.Data()) != info.end-info.begin {
		return fmt.Errorf("tensors: %s: tensor %q: the library does not know it", f.path, clip(name))
	}
	err := guardFault(func() error { return use(info, view.Data()) })
	if err == nil {
		return nil
	}
	hint := modelHint
	if errors.Is(err, errFault) {
		hint = brokenHint
	}
	return fail.New(fail.Other, hint, "tensors: %s: tensor %q: %w", f.path, clip(name), err)
}

// errFault is in the chain of an error that a memory fault became.
var errFault = errors.New("cannot read the mapped file")

// guardFault runs use and turns a memory fault in it (SIGBUS of a mapped file that has become shorter) into an error.
func guardFault(use func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch r := recover().(type) {
		case nil:
		case interface {
			runtime.Error
			Addr() uintptr
		}:
			err = fmt.Errorf("%w: %w", errFault, error(r))
		default:
			panic(r)
		}
	}()
	return use()
}

// formatError says that the file at path is not what it should be.
func formatError(path string, err error) error {
	hint := brokenHint
	if errors.Is(err, errFP8) {
		hint = fp8Hint
	}
	return &fail.Error{Code: fail.Other, Hint: hint, Err: &clippedError{path: filepath.Clean(path), err: err}}
}

// clippedError keeps a message short, whatever text of the file a library has put into it.
type clippedError struct {
	path string
	err  error
}

func (e *clippedError) Error() string {
	return "tensors: " + e.path + ": " + clipTo(e.err.Error(), maxErrorText)
}

func (e *clippedError) Unwrap() error { return e.err }

// floats decodes data of a float type.
func floats(info tensorInfo, data []byte) ([]float32, error) {
	var out []float32
	switch info.dtype {
	case F32:
		out = make([]float32, len(data)/4)
		for i := range out {
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[i*4 : i*4+4]))
		}
	case BF16:
		out = make([]float32, len(data)/2)
		for i := range out {
			out[i] = F32FromBF16(binary.LittleEndian.Uint16(data[i*2 : i*2+2]))
		}
	case F16:
		out = make([]float32, len(data)/2)
		for i := range out {
			out[i] = F32FromF16(binary.LittleEndian.Uint16(data[i*2 : i*2+2]))
		}
	default:
		return nil, fmt.Errorf("dtype: want F32, BF16 or F16, got %s", info.dtype)
	}
	return out, nil
}

// ints decodes data of an integer type or BOOL.
func ints(info tensorInfo, data []byte) ([]int32, error) {
	dt, size := info.dtype, info.dtype.Size()
	decode := map[DType]func([]byte) int64{
		I64:  func(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b)) },
		I32:  func(b []byte) int64 { return int64(int32(binary.LittleEndian.Uint32(b))) },
		U32:  func(b []byte) int64 { return int64(binary.LittleEndian.Uint32(b)) },
		I16:  func(b []byte) int64 { return int64(int16(binary.LittleEndian.Uint16(b))) },
		U16:  func(b []byte) int64 { return int64(binary.LittleEndian.Uint16(b)) },
		I8:   func(b []byte) int64 { return int64(int8(b[0])) },
		U8:   func(b []byte) int64 { return int64(b[0]) },
		BOOL: func(b []byte) int64 { return int64(b[0]) },
	}[dt]
	if decode == nil {
		return nil, fmt.Errorf("dtype: want an integer of up to 64 signed bits or BOOL, got %s", dt)
	}
	out := make([]int32, len(data)/size)
	for i := range out {
		v := decode(data[i*size : (i+1)*size])
		if v < math.MinInt32 || v > math.MaxInt32 || (dt == BOOL && v > 1) {
			return nil, fmt.Errorf("element %d: want a value in the range of int32 (0 or 1 for BOOL), got %d", i, v)
		}
		out[i] = int32(v)
	}
	return out, nil
}
