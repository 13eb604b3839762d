package tensors

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/nlpodyssey/safetensors"

	"vkdomino/internal/atomicfile"
	"vkdomino/internal/fail"
)

const filePerm = 0o644

// Named is a tensor to be written. Data is called once, when its turn comes, and returns the elements little-endian and
// row-major: Shape's product times DType.Size() bytes. An empty shape is a scalar.
type Named struct {
	Name  string
	DType DType
	Shape []int
	Data  func() ([]byte, error)
}

// FromFloat32 returns a tensor of type dt, F32 or BF16 (rounded to nearest even), whose values data returns.
func FromFloat32(name string, dt DType, shape []int, data func() ([]float32, error)) Named {
	return Named{Name: name, DType: dt, Shape: shape, Data: func() ([]byte, error) {
		values, err := data()
		if err != nil {
			return nil, err
		}
		switch dt {
		case F32:
			return F32Bytes(values), nil
		case BF16:
			return BF16Bytes(values), nil
		}
		return nil, fmt.Errorf("want F32 or BF16, got %s", dt)
	}}
}

// WriteFile writes a safetensors file with the given metadata, atomically, and reads its header back. One tensor is held
// in memory at a time; they lie in the file by descending alignment, then by name. An error of the disk has the exit
// code fail.Disk, an error of a Data function its own. Whatever fails, path keeps what it had.
func WriteFile(path string, meta map[string]string, list []Named) error {
	err := atomicfile.Write(path, filePerm, func(w io.Writer) error { return WriteTo(w, meta, list) })
	if err != nil {
		return fmt.Errorf("tensors: %s: %w", path, err)
	}
	f, err := OpenFile(path)
	if err != nil {
		return fail.New(fail.Disk, "the disk did not keep what was written to it", "read back: %w", err)
	}
	return f.Close()
}

// WriteTo writes a safetensors file to w.
func WriteTo(w io.Writer, meta map[string]string, list []Named) error {
	state := &writeState{w: w}
	views := make(map[string]*lazyView, len(list))
	for i := range list {
		v, err := newView(&list[i], state)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", clip(list[i].Name), err)
		}
		if _, twice := views[list[i].Name]; twice {
			return fmt.Errorf("tensor %q: given twice", clip(list[i].Name))
		}
		views[list[i].Name] = v
	}
	if err := checkMeta(meta); err != nil {
		return err
	}
	err := safetensors.SerializeToWriter(views, meta, state)
	return errors.Join(state.err, unless(state.err, err))
}

// unless returns err where first is nil, so that one cause is reported once.
func unless(first, err error) error {
	if first != nil {
		return nil
	}
	return err
}

// checkMeta refuses text that JSON would change on the way.
func checkMeta(meta map[string]string) error {
	for k, v := range meta {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return fmt.Errorf("metadata %q: want valid UTF-8", clip(k))
		}
	}
	return nil
}

// writeState is the writer that the library sees. The library's View cannot return an error, so a view leaves it here
// and the write that follows stops.
type writeState struct {
	w   io.Writer
	err error
}

func (s *writeState) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	return s.w.Write(p)
}

// lazyView is a safetensors.View whose data is made when it is written. The library's own TensorView knows no scalars
// and does not check its length.
type lazyView struct {
	tensor *Named
	bytes  int
	state  *writeState
}

func newView(t *Named, state *writeState) (*lazyView, error) {
	if t.Name == metadataKey || t.Name == "" || !utf8.ValidString(t.Name) || strings.ContainsRune(t.Name, 0) {
		return nil, fmt.Errorf("name: want text other than %s", metadataKey)
	}
	n, ok := byteLen(t.DType, t.Shape)
	if !ok || len(t.Shape) > maxRank {
		return nil, fmt.Errorf("want a size that fits into memory, got %s %v", t.DType, t.Shape)
	}
	return &lazyView{tensor: t, bytes: n, state: state}, nil
}

// DType is the element type as the library has it.
func (v *lazyView) DType() safetensors.DType { return dtypes[v.tensor.DType].lib }

// Shape is the shape as the library has it.
func (v *lazyView) Shape() []uint64 {
	shape := make([]uint64, len(v.tensor.Shape))
	for i, n := range v.tensor.Shape {
		shape[i] = uint64(n)
	}
	return shape
}

// DataLen is the size in bytes.
func (v *lazyView) DataLen() uint64 { return uint64(v.bytes) }

// Data makes the bytes. On an error it returns nil and leaves the error in the write state.
func (v *lazyView) Data() []byte {
	if v.state.err != nil {
		return nil
	}
	data, err := v.tensor.Data()
	if err == nil && len(data) != v.bytes {
		err = fmt.Errorf("want %d bytes for %s %v, got %d", v.bytes, v.tensor.DType, v.tensor.Shape, len(data))
	}
	if err != nil {
		v.state.err = fmt.Errorf("tensor %q: %w", clip(v.tensor.Name), err)
		return nil
	}
	return data
}
