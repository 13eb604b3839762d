package tensors

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"vkdomino/internal/fail"
)

func constant(values ...float32) func() ([]float32, error) {
	return func() ([]float32, error) { return values, nil }
}

func bytesOf(b ...byte) func() ([]byte, error) {
	return func() ([]byte, error) { return b, nil }
}

// writeOpen writes a file, reads it back and closes it at the end of the test.
func writeOpen(t *testing.T, meta map[string]string, list ...Named) *File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.safetensors")
	require.NoError(t, WriteFile(path, meta, list))
	f, err := OpenFile(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

func TestWriteThenRead(t *testing.T) {
	f := writeOpen(t, map[string]string{"format": "pt"},
		FromFloat32("w", F32, []int{2, 2}, constant(1, -2, 3.5, float32(math.Inf(1)))),
		FromFloat32("h", BF16, []int{3}, constant(1, 1.00390625, -3)),
		FromFloat32("scalar", F32, nil, constant(7)),
		FromFloat32("empty", F32, []int{0, 5}, constant()),
		Named{Name: "half", DType: F16, Shape: []int{2}, Data: bytesOf(0x00, 0x3c, 0x01, 0x00)},
	)
	require.Equal(t, map[string]string{"format": "pt"}, f.Metadata())
	require.Equal(t, []string{"empty", "h", "half", "scalar", "w"}, f.Names())
	want := map[string][]float32{
		"w": {1, -2, 3.5, float32(math.Inf(1))}, "h": {1, 1, -3}, "scalar": {7}, "empty": {}, "half": {1, 0x1p-24},
	}
	for name, values := range want {
		got, err := f.Float32(name)
		require.NoError(t, err)
		require.Equal(t, values, got, name)
	}
	dt, shape, ok := f.Info("w")
	require.True(t, ok)
	require.Equal(t, F32, dt)
	require.Equal(t, []int{2, 2}, shape)
	_, shape, _ = f.Info("scalar")
	require.Empty(t, shape)
	_, _, ok = f.Info("none")
	require.False(t, ok)
}

func TestWriteOrderIsByAlignmentThenName(t *testing.T) {
	f := writeOpen(t, nil,
		FromFloat32("b", BF16, []int{1}, constant(1)),
		FromFloat32("z", F32, []int{1}, constant(1)),
		FromFloat32("y", F32, []int{1}, constant(1)),
	)
	require.Equal(t, 0, f.header.tensors["y"].begin)
	require.Equal(t, 4, f.header.tensors["z"].begin)
	require.Equal(t, 8, f.header.tensors["b"].begin)
	head, err := os.ReadFile(f.Path())
	require.NoError(t, err)
	require.Zero(t, binary.LittleEndian.Uint64(head)%8, "data begin aligned")
}

func TestInt32s(t *testing.T) {
	le64 := func(v int64) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(v)) }
	cases := []struct {
		dt   DType
		data []byte
		want []int32
		err  string
	}{
		{I64, append(le64(-5), le64(math.MaxInt32)...), []int32{-5, math.MaxInt32}, ""},
		{I64, le64(math.MaxInt32 + 1), nil, "element 0: want a value in the range of int32"},
		{I64, le64(math.MinInt64), nil, "got -9223372036854775808"},
		{I32, []byte{0xff, 0xff, 0xff, 0xff}, []int32{-1}, ""},
		{U32, []byte{0xff, 0xff, 0xff, 0x7f}, []int32{math.MaxInt32}, ""},
		{U32, []byte{0, 0, 0, 0x80}, nil, "got 2147483648"},
		{U8, []byte{0, 255}, []int32{0, 255}, ""},
		{I8, []byte{0x80}, []int32{-128}, ""},
		{I16, []byte{0x00, 0x80}, []int32{-32768}, ""},
		{U16, []byte{0xff, 0xff}, []int32{65535}, ""},
		{BOOL, []byte{0, 1}, []int32{0, 1}, ""},
		{BOOL, []byte{2}, nil, "0 or 1 for BOOL"},
		{F32, []byte{0, 0, 0, 0}, nil, "got F32"},
		{U64, make([]byte, 8), nil, "got U64"},
	}
	for _, c := range cases {
		f := writeOpen(t, nil, Named{Name: "x", DType: c.dt, Shape: []int{len(c.data) / c.dt.Size()}, Data: bytesOf(c.data...)})
		got, err := f.Int32s("x")
		if c.err != "" {
			require.ErrorContains(t, err, c.err)
			require.ErrorContains(t, err, `tensor "x"`)
			require.Equal(t, modelHint, fail.HintOf(err))
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
}

func TestReadErrorsNameFileAndTensor(t *testing.T) {
	f := writeOpen(t, nil, Named{Name: "ids", DType: I64, Shape: []int{1}, Data: bytesOf(make([]byte, 8)...)})
	_, err := f.Float32("ids")
	require.ErrorContains(t, err, f.Path()+`: tensor "ids": dtype: want F32, BF16 or F16, got I64`)
	_, err = f.Float32("w")
	require.ErrorContains(t, err, `tensor "w": not in the file`)
	require.ErrorContains(t, f.ReadAt("ids", make([]byte, 5), 4), "want bytes [4, 9) of 8")
	require.Error(t, f.ReadAt("ids", nil, -1))
	sum, err := f.SHA256("ids")
	require.NoError(t, err)
	require.Equal(t, "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc", sum)
}

func TestClosedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	require.NoError(t, WriteFile(path, nil, []Named{FromFloat32("a", F32, nil, constant(1))}))
	f, err := OpenFile(path)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, f.Close())
	_, err = f.Float32("a")
	require.ErrorIs(t, err, os.ErrClosed)
}

func TestWriteRefuses(t *testing.T) {
	ok := FromFloat32("a", F32, []int{1}, constant(1))
	boom := errors.New("boom")
	cases := []struct {
		name string
		meta map[string]string
		list []Named
		want string
	}{
		{"short data", nil, []Named{FromFloat32("a", F32, []int{4}, constant(1))}, `tensor "a": want 16 bytes for F32 [4], got 4`},
		{"long data", nil, []Named{FromFloat32("a", BF16, nil, constant(1, 2))}, "want 2 bytes for BF16 [], got 4"},
		{"name twice", nil, []Named{ok, ok}, `tensor "a": given twice`},
		{"reserved name", nil, []Named{FromFloat32("__metadata__", F32, nil, constant(1))}, "want text other than"},
		{"empty name", nil, []Named{FromFloat32("", F32, nil, constant(1))}, "want text other than"},
		{"name that is not UTF-8", nil, []Named{FromFloat32("a\xff", F32, nil, constant(1))}, "want text other than"},
		{"metadata that is not UTF-8", map[string]string{"a": "\xff"}, []Named{ok}, "metadata"},
		{"overflowing shape", nil, []Named{FromFloat32("a", F32, []int{1 << 32, 1 << 32}, constant())}, "want a size"},
		{"negative shape", nil, []Named{FromFloat32("a", F32, []int{-1}, constant())}, "want a size"},
		{"no such dtype", nil, []Named{{Name: "a", DType: 99, Data: bytesOf()}}, "want a size"},
		{"values as integers", nil, []Named{FromFloat32("a", I64, nil, constant(1))}, "want F32 or BF16, got I64"},
		{"data that fails", nil, []Named{ok, FromFloat32("b", F32, nil, func() ([]float32, error) { return nil, boom })}, `tensor "b": boom`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "x.safetensors")
			require.NoError(t, os.WriteFile(path, []byte("old"), 0o644))
			err := WriteFile(path, c.meta, c.list)
			require.ErrorContains(t, err, c.want)
			require.Equal(t, fail.Other, fail.CodeOf(err), "it is not the disk's fault")
			got, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, "old", string(got))
			entries, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Len(t, entries, 1, "no temporary file is left")
		})
	}
}

func TestDataErrorKeepsItsExitCode(t *testing.T) {
	lost := fail.New(fail.DeviceLost, "update the driver", "vk: device lost")
	err := WriteFile(filepath.Join(t.TempDir(), "x"), nil,
		[]Named{FromFloat32("b", F32, nil, func() ([]float32, error) { return nil, lost })})
	require.ErrorIs(t, err, lost)
	require.Equal(t, fail.DeviceLost, fail.CodeOf(err))
}

func TestWriteHoldsOneTensorAtATime(t *testing.T) {
	var order []string
	lazy := func(name string) Named {
		return Named{Name: name, DType: U8, Shape: []int{1}, Data: func() ([]byte, error) {
			order = append(order, name)
			return []byte{1}, nil
		}}
	}
	require.NoError(t, WriteFile(filepath.Join(t.TempDir(), "x"), nil, []Named{lazy("b"), lazy("a"), lazy("c")}))
	require.Equal(t, []string{"a", "b", "c"}, order, "each is asked once, in file order")
}

func TestWriteToAFullDisk(t *testing.T) {
	err := WriteFile(filepath.Join(t.TempDir(), "no", "x"), nil, nil)
	require.Equal(t, fail.Disk, fail.CodeOf(err))
	require.NotEmpty(t, fail.HintOf(err))
}

func TestAnyFloatsRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	rapid.Check(t, func(t *rapid.T) {
		bits := rapid.SliceOfN(rapid.Uint32(), 0, 50).Draw(t, "bits")
		values := make([]float32, len(bits))
		for i, b := range bits {
			values[i] = math.Float32frombits(b)
		}
		name := rapid.StringMatching(`[a-z<>&"\\.]{1,12}`).Draw(t, "name")
		require.NoError(t, WriteFile(path, nil, []Named{FromFloat32(name, F32, []int{len(bits)}, constant(values...))}))
		f, err := OpenFile(path)
		require.NoError(t, err)
		defer f.Close()
		got, err := f.Float32(name)
		require.NoError(t, err)
		for i := range bits {
			require.Equal(t, bits[i], math.Float32bits(got[i]))
		}
	})
}
