package tensors

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
)

// fileBytes lays out a safetensors file with a header and n zero bytes of data.
func fileBytes(head string, n int) []byte {
	return lengthBytesOf(uint64(len(head)), head, n)
}

// lengthBytesOf is fileBytes with a header length of one's own.
func lengthBytesOf(length uint64, head string, n int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, length)
	b = append(b, head...)
	return append(b, make([]byte, n)...)
}

// entry is a header entry of one tensor.
func entry(name, dtype, shape string, begin, end uint64) string {
	return fmt.Sprintf(`%q:{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`, name, dtype, shape, begin, end)
}

func put(t testing.TB, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.safetensors")
	require.NoError(t, os.WriteFile(path, content, 0o644))
	return path
}

// corruptFile is a broken safetensors file and what the error about it must say.
type corruptFile struct {
	name    string
	content []byte
	want    string
}

const okEntry = `"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}`

func corruptLengths() []corruptFile {
	return []corruptFile{
		{"empty file", nil, "want at least 8 bytes, got 0"},
		{"seven bytes", make([]byte, 7), "want at least 8 bytes, got 7"},
		{"zero header length", lengthBytesOf(0, "", 0), "begins with '{'"},
		{"length 2^64-1", lengthBytesOf(1<<64-1, "{}", 0), "got 18446744073709551615"},
		{"length 2^63", lengthBytesOf(1<<63, "{}", 0), "got 9223372036854775808"},
		{"length 100 million on a tiny file", lengthBytesOf(100_000_000, "{}", 0), "want at most 2"},
		{"length one over the file", lengthBytesOf(3, "{}", 0), "want at most 2 of a file of 10 bytes, got 3"},
		{"length cuts the header", lengthBytesOf(20, "{"+okEntry+"}", 8), "unexpected EOF"},
		{"a gzip file", append([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0}, make([]byte, 64)...), "header length"},
		{"an HTML page", []byte("<!DOCTYPE html><html><body>404</body></html>"), "header length"},
		{"a git LFS pointer", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"), "header length"},
		{"17 MiB header", fileBytes("{"+strings.Repeat(" ", 17<<20)+"}", 0), "want at most 16777216"},
	}
}

func corruptJSON() []corruptFile {
	return []corruptFile{
		{"not JSON", fileBytes("abcdefgh", 0), "begins with '{'"},
		{"JSON array", fileBytes("[1,2,3,4]", 0), "begins with '{'"},
		{"JSON null", fileBytes("null    ", 0), "begins with '{'"},
		{"leading space", fileBytes(" {"+okEntry+"}", 8), "begins with '{'"},
		{"byte order mark", fileBytes("\ufeff{"+okEntry+"}", 8), "begins with '{'"},
		{"second object", fileBytes("{"+okEntry+"}{}", 8), "after the closing brace"},
		{"text after the object", fileBytes("{"+okEntry+"}x", 8), "after the closing brace"},
		{"trailing comma", fileBytes("{"+okEntry+",}", 8), "header: jsontext"},
		{"cut object", fileBytes("{"+okEntry, 8), "EOF"},
		{"single quotes", fileBytes("{'a':1}", 0), "header: jsontext"},
		{"duplicate tensor", fileBytes("{"+okEntry+","+okEntry+"}", 8), "duplicate object member name \"a\""},
		{"duplicate tensor with another shape", fileBytes("{"+entry("a", "F32", "[1]", 0, 4)+","+okEntry+"}", 8), "duplicate object member name"},
		{"duplicate by an escape", fileBytes("{"+okEntry+","+strings.Replace(okEntry, `"a"`, `"\u0061"`, 1)+"}", 8), "duplicate object member name"},
		{"duplicate key inside", fileBytes(`{"a":{"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]}}`, 8), "duplicate object member name \"shape\""},
		{"name is not UTF-8", fileBytes("{\"a\xff\":{}}", 0), "invalid UTF-8"},
		{"NUL in the JSON", fileBytes("{\x00}", 0), "header: jsontext"},
		{"deep nesting", fileBytes(`{"a":`+strings.Repeat("[", 20000)+strings.Repeat("]", 20000)+`}`, 0), "want an object"},
		{"metadata with a number", fileBytes(`{"__metadata__":{"k":1}}`, 0), `__metadata__ "k": want a string, got 1`},
		{"metadata with an object", fileBytes(`{"__metadata__":{"k":{}}}`, 0), `__metadata__ "k": want a string`},
		{"metadata is a string", fileBytes(`{"__metadata__":"pt"}`, 0), "__metadata__: want an object, got pt"},
		{"duplicate metadata", fileBytes(`{"__metadata__":{"k":"1","k":"2"}}`, 0), "duplicate object member name \"k\""},
	}
}

func corruptTensors() []corruptFile {
	one := func(entry string, n int) []byte { return fileBytes("{"+entry+"}", n) }
	raw := func(body string, n int) []byte { return fileBytes(`{"a":`+body+`}`, n) }
	return []corruptFile{
		{"tensor is null", raw("null", 0), `tensor "a": want an object, got null`},
		{"tensor is a list", raw("[]", 0), `tensor "a": want an object`},
		{"no keys", raw("{}", 0), `tensor "a": want dtype, shape and two data_offsets`},
		{"no dtype", raw(`{"shape":[2],"data_offsets":[0,8]}`, 8), "want dtype, shape and two data_offsets"},
		{"no shape", raw(`{"dtype":"F32","data_offsets":[0,8]}`, 8), "want dtype, shape and two data_offsets"},
		{"no offsets", raw(`{"dtype":"F32","shape":[2]}`, 8), "want dtype, shape and two data_offsets"},
		{"unknown key", raw(`{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}`, 8), `tensor "a": unknown key "x"`},
		{"upper case keys", raw(`{"DTYPE":"F32","shape":[2],"data_offsets":[0,8]}`, 8), `unknown key "DTYPE"`},
		{"dtype is a number", raw(`{"dtype":1,"shape":[2],"data_offsets":[0,8]}`, 8), `tensor "a" dtype: want a string, got 1`},
		{"dtype in lower case", one(entry("a", "f32", "[2]", 0, 8), 8), `got "f32"`},
		{"dtype unknown", one(entry("a", "C64", "[1]", 0, 8), 8), `got "C64"`},
		{"dtype with a long name", one(entry("a", strings.Repeat("x", 9999), "[1]", 0, 8), 8), "xxx"},
		{"FP8", one(entry("w", "F8_E4M3", "[8]", 0, 8), 8), `tensor "w": dtype F8_E4M3: FP8 and smaller floats are not supported`},
		{"FP8 E5M2", one(entry("w", "F8_E5M2", "[8]", 0, 8), 8), "FP8 and smaller floats are not supported"},
		{"FP4", one(entry("w", "F4", "[8]", 0, 4), 4), "FP8 and smaller floats are not supported"},
		{"shape null", raw(`{"dtype":"F32","shape":null,"data_offsets":[0,4]}`, 4), `tensor "a" shape: want an array, got null`},
		{"shape negative", one(entry("a", "F32", "[-2]", 0, 8), 8), "shape: want natural numbers, got -2"},
		{"shape fraction", one(entry("a", "F32", "[2.0]", 0, 8), 8), "shape: want natural numbers, got 2.0"},
		{"shape exponent", one(entry("a", "F32", "[2e0]", 0, 8), 8), "shape: want natural numbers, got 2e0"},
		{"shape string", one(entry("a", "F32", `["2"]`, 0, 8), 8), "shape: want natural numbers, got 2"},
		{"shape nested", one(entry("a", "F32", `[[2]]`, 0, 8), 8), "shape: want natural numbers, got ["},
		{"shape beyond uint64", one(entry("a", "U8", `[18446744073709551616]`, 0, 8), 8), "shape: want natural numbers"},
		{"shape product overflows", one(entry("a", "F32", "[4294967296,4294967296,2]", 0, 8), 8), "8 data bytes do not hold F32 [4294967296 4294967296 2]"},
		{"shape product overflows to the size", one(entry("a", "U8", "[4294967296,4294967296]", 0, 0), 0), "0 data bytes do not hold"},
		{"shape product overflows times 0", one(entry("a", "F32", "[4294967296,4294967296,0]", 0, 0), 0), "do not hold"},
		{"rank 17", one(entry("a", "U8", "["+strings.Repeat("1,", 16)+"1]", 0, 1), 1), "shape: want at most 16 numbers"},
		{"shape too large for the data", one(entry("a", "F32", "[3]", 0, 8), 8), "8 data bytes do not hold F32 [3]"},
		{"shape too small for the data", one(entry("a", "F32", "[1]", 0, 8), 8), "8 data bytes do not hold F32 [1]"},
		{"shape swapped for a bigger one", one(entry("a", "BF16", "[2,5]", 0, 12), 12), "12 data bytes do not hold BF16 [2 5]"},
		{"scalar with 8 bytes", one(entry("a", "F32", "[]", 0, 8), 8), "8 data bytes do not hold F32 []"},
		{"one offset", raw(`{"dtype":"F32","shape":[2],"data_offsets":[0]}`, 8), "two data_offsets"},
		{"three offsets", raw(`{"dtype":"F32","shape":[2],"data_offsets":[0,4,8]}`, 8), "data_offsets: want at most 2 numbers"},
		{"offsets descend", one(entry("a", "F32", "[2]", 8, 0), 8), "want ascending"},
		{"offset beyond the data", one(entry("a", "F32", "[4]", 0, 16), 8), "within the file's 8 data bytes, got [0, 16]"},
		{"offset near 2^64", one(entry("a", "U8", "[18446744073709551615]", 0, 1<<64-1), 8), "want natural numbers"},
		{"offset near 2^63", one(entry("a", "U8", "[9223372036854775807]", 0, 1<<63-1), 8), "within the file's 8 data bytes"},
	}
}

func corruptLayouts() []corruptFile {
	two := func(b1, e1, b2, e2 uint64, n int) []byte {
		return fileBytes("{"+entry("a", "F32", "[2]", b1, e1)+","+entry("b", "F32", "[2]", b2, e2)+"}", n)
	}
	cases := []corruptFile{
		{"overlap", two(0, 8, 4, 12, 12), `offset for tensor "b"`},
		{"the same place twice", two(0, 8, 0, 8, 8), "offset for tensor"},
		{"hole", two(0, 8, 12, 20, 20), `offset for tensor "b"`},
		{"hole at the start", fileBytes("{"+entry("a", "F32", "[2]", 4, 12)+"}", 12), `offset for tensor "a"`},
		{"data after the last tensor", fileBytes("{"+okEntry+"}", 9), "incomplete buffer"},
		{"data without tensors", fileBytes("{}", 1), "incomplete buffer"},
	}
	whole := fileBytes("{"+okEntry+"}", 8)
	for _, n := range []int{9, 12, 20, 40, len(whole) - 8, len(whole) - 4, len(whole) - 1} {
		cases = append(cases, corruptFile{fmt.Sprintf("cut to %d bytes", n), whole[:n], ""})
	}
	return cases
}

func TestCorruptFilesAreRefused(t *testing.T) {
	cases := append(append(corruptLengths(), corruptJSON()...), append(corruptTensors(), corruptLayouts()...)...)
	require.GreaterOrEqual(t, len(cases), 60)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := put(t, c.content)
			f, err := OpenFile(path)
			require.Error(t, err)
			require.Nil(t, f)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, path, "the file is named")
			require.LessOrEqual(t, len(err.Error()), maxErrorText+len(path)+30)
			require.NotContains(t, err.Error(), "\n")
			require.Equal(t, fail.Other, fail.CodeOf(err))
			require.NotEmpty(t, fail.HintOf(err))
		})
	}
}

func TestEveryTruncationIsRefused(t *testing.T) {
	whole := fileBytes("{"+entry("a", "F32", "[4096]", 0, 16384)+","+entry("b", "BF16", "[1024]", 16384, 18432)+"}", 18432)
	for n := 0; n < len(whole); n += 512 {
		_, err := OpenFile(put(t, whole[:n]))
		require.Error(t, err, "%d bytes", n)
	}
	f, err := OpenFile(put(t, whole))
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func TestFP8HintNamesTheOtherCheckpoint(t *testing.T) {
	_, err := OpenFile(put(t, fileBytes("{"+entry("w", "F8_E4M3", "[8]", 0, 8)+"}", 8)))
	require.Equal(t, fp8Hint, fail.HintOf(err))
}

func TestLegalOddities(t *testing.T) {
	cases := []struct {
		name    string
		content []byte
		tensors int
	}{
		{"no tensors", fileBytes("{}", 0), 0},
		{"header padded with spaces", fileBytes("{"+okEntry+"}     ", 8), 1},
		{"header of odd length: unaligned data", fileBytes("{"+okEntry+"} ", 8), 1},
		{"unaligned tensor", fileBytes("{"+entry("b", "BOOL", "[1]", 0, 1)+","+entry("a", "F32", "[1]", 1, 5)+"}", 5), 2},
		{"scalar", fileBytes("{"+entry("a", "F32", "[]", 0, 4)+"}", 4), 1},
		{"empty tensors at one place", fileBytes("{"+entry("a", "F32", "[0]", 0, 0)+","+entry("b", "F32", "[3,0]", 0, 0)+","+entry("c", "F32", "[1]", 0, 4)+"}", 4), 3},
		{"metadata null", fileBytes(`{"__metadata__":null,`+okEntry+"}", 8), 1},
		{"a path as a name", fileBytes("{"+strings.Replace(okEntry, `"a"`, `"../../etc/\u0000x"`, 1)+"}", 8), 1},
		{"any order of tensors", fileBytes("{"+entry("z", "F32", "[1]", 4, 8)+","+entry("a", "F32", "[1]", 0, 4)+"}", 8), 2},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f, err := OpenFile(put(t, c.content))
			require.NoError(t, err)
			require.Len(t, f.Names(), c.tensors)
			for _, name := range f.Names() {
				_, _, err := f.Raw(name)
				require.NoError(t, err)
			}
			require.NoError(t, f.Close())
		})
	}
}

func TestHeaderBombsStayCheap(t *testing.T) {
	fill := func(open, item, end string) string {
		var sb strings.Builder
		sb.WriteString(open)
		for i := 0; sb.Len() < maxHeaderBytes-200; i++ {
			sb.WriteString(strings.ReplaceAll(item, "#", fmt.Sprint(i)))
		}
		return sb.String() + end
	}
	bombs := []struct{ name, head, want string }{
		{"empty tensors", fill(`{"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`, `,"#":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`, "}"), "at most 65536 tensors"},
		{"long shape", fill(`{"a":{"dtype":"U8","data_offsets":[0,0],"shape":[1`, ",1", "]}}"), "at most 16 numbers"},
		{"shape of arrays", fill(`{"a":{"dtype":"U8","data_offsets":[0,0],"shape":[1`, ",[]", "]}}"), "want natural numbers, got ["},
		{"metadata", fill(`{"__metadata__":{"":""`, `,"#":""`, "}}"), "at most 16384 entries"},
		{"one long name", `{"` + strings.Repeat("n", maxHeaderBytes-200) + `":{"dtype":"F9","shape":[0],"data_offsets":[0,0]}}`, "nnn"},
		{"braces", fill("{", `"a":{`, ""), "unknown key"},
	}
	for _, b := range bombs {
		t.Run(b.name, func(t *testing.T) {
			path := put(t, fileBytes(b.head, 0))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			_, err := OpenFile(path)
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			require.ErrorContains(t, err, b.want)
			require.Less(t, len(err.Error()), 1000)
			require.Less(t, took, 3*time.Second)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(256<<20))
		})
	}
}

func TestOpenRefusesWhatIsNoFile(t *testing.T) {
	_, err := OpenFile(t.TempDir())
	require.ErrorContains(t, err, "not a regular file")
	_, err = OpenFile("/dev/zero")
	require.ErrorContains(t, err, "not a regular file")
	_, err = OpenFile(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.Equal(t, fail.Other, fail.CodeOf(err))
}

func TestAFileCutUnderTheMapIsAnError(t *testing.T) {
	const n = 1 << 20
	path := put(t, fileBytes("{"+entry("a", "F32", fmt.Sprintf("[%d]", n/4), 0, n)+"}", n))
	f, err := OpenFile(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, os.Truncate(path, 4096))
	for name, read := range map[string]func() error{
		"Raw":     func() error { _, _, err := f.Raw("a"); return err },
		"Float32": func() error { _, err := f.Float32("a"); return err },
		"SHA256":  func() error { _, err := f.SHA256("a"); return err },
		"ReadAt":  func() error { return f.ReadAt("a", make([]byte, 4096), n-4096) },
	} {
		err := read()
		require.ErrorIs(t, err, errFault, name)
		require.ErrorContains(t, err, path)
		require.Equal(t, brokenHint, fail.HintOf(err))
	}
}

func FuzzHeader(f *testing.F) {
	for _, c := range append(corruptJSON(), corruptTensors()...) {
		if len(c.content) < 1<<12 {
			f.Add(c.content)
		}
	}
	f.Add(fileBytes("{"+okEntry+"}", 8))
	f.Fuzz(func(t *testing.T, content []byte) {
		file, err := OpenFile(put(t, content))
		if err != nil {
			return
		}
		for _, name := range file.Names() {
			dt, shape, _ := file.Info(name)
			raw, _, err := file.Raw(name)
			require.NoError(t, err)
			n, ok := byteLen(dt, shape)
			require.True(t, ok)
			require.Len(t, raw, n)
		}
		require.NoError(t, file.Close())
	})
}
