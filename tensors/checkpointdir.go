package tensors

import (
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"vkdomino/internal/fail"
)

// The files of a Hugging Face checkpoint folder.
const (
	SingleFile = "model.safetensors"
	IndexFile  = "model.safetensors.index.json"

	maxIndexBytes = 64 << 20
	folderHint    = "give a Hugging Face checkpoint folder with safetensors weights"
	missingHint   = "download the model again, with all its .safetensors files"
)

// Model gives the tensors of a Hugging Face checkpoint folder, whether they lie in model.safetensors or in the shards
// that model.safetensors.index.json names. Where both exist the single file is read, as Transformers does.
type Model struct {
	dir   string
	files []*File
	in    map[string]*File
	names []string
}

// OpenModel maps all safetensors files of the folder dir and checks their headers and the index: every shard is there,
// every name is in the shard that the index says, and no name is in two.
func OpenModel(dir string) (*Model, error) {
	if _, err := os.ReadDir(dir); err != nil {
		return nil, fail.New(fail.Other, folderHint, "tensors: model folder: %w", err)
	}
	m := &Model{dir: dir, in: map[string]*File{}}
	single := filepath.Join(dir, SingleFile)
	open := func() error { return m.open(single) }
	if _, err := os.Lstat(single); errors.Is(err, fs.ErrNotExist) {
		open = m.openShards
	}
	if err := open(); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	m.names = slices.Sorted(maps.Keys(m.in))
	return m, nil
}

// open adds a file and all its tensors.
func (m *Model) open(path string) error {
	f, err := OpenFile(path)
	if err != nil {
		return err
	}
	m.files = append(m.files, f)
	for _, name := range f.names {
		if other, twice := m.in[name]; twice {
			return fail.New(fail.Other, missingHint, "tensors: %s: tensor %q: in two files, %s and %s",
				m.dir, clip(name), filepath.Base(other.path), filepath.Base(path))
		}
		m.in[name] = f
	}
	return nil
}

func (m *Model) openShards() error {
	index, err := readIndex(filepath.Join(m.dir, IndexFile))
	if errors.Is(err, fs.ErrNotExist) {
		return fail.New(fail.Other, folderHint, "tensors: %s: want %s or %s, got neither", m.dir, SingleFile, IndexFile)
	}
	if err != nil {
		return err
	}
	shards := map[string]*File{}
	for _, shard := range slices.Compact(slices.Sorted(maps.Values(index))) {
		err := m.open(filepath.Join(m.dir, shard))
		if errors.Is(err, fs.ErrNotExist) {
			return fail.New(fail.Other, missingHint, "tensors: %s: shard %q, named by %s, is missing", m.dir, clip(shard), IndexFile)
		}
		if err != nil {
			return err
		}
		shards[shard] = m.files[len(m.files)-1]
	}
	return m.checkIndex(index, shards)
}

// checkIndex compares the index with what the shards hold. A tensor that the index does not name cannot be reached.
func (m *Model) checkIndex(index map[string]string, shards map[string]*File) error {
	for _, name := range slices.Sorted(maps.Keys(index)) {
		if m.in[name] != shards[index[name]] {
			return fail.New(fail.Other, missingHint, "tensors: %s: tensor %q: not in %q, where %s says it is", m.dir, clip(name), clip(index[name]), IndexFile)
		}
	}
	maps.DeleteFunc(m.in, func(name string, _ *File) bool {
		_, named := index[name]
		return !named
	})
	return nil
}

// Dir returns the folder.
func (m *Model) Dir() string { return m.dir }

// Has reports whether there is a tensor of this name.
func (m *Model) Has(name string) bool { return m.in[name] != nil }

// Names returns the names of all tensors, sorted.
func (m *Model) Names() []string { return slices.Clone(m.names) }

// Metadata returns the header's string map of the first file.
func (m *Model) Metadata() map[string]string { return m.files[0].Metadata() }

// Info returns the type and shape of a tensor, and whether there is one of this name.
func (m *Model) Info(name string) (DType, []int, bool) {
	if f := m.in[name]; f != nil {
		return f.Info(name)
	}
	return 0, nil, false
}

// Float32 is File.Float32 over all files.
func (m *Model) Float32(name string) ([]float32, error) {
	f, err := m.file(name)
	if err != nil {
		return nil, err
	}
	return f.Float32(name)
}

// Int32s is File.Int32s over all files.
func (m *Model) Int32s(name string) ([]int32, error) {
	f, err := m.file(name)
	if err != nil {
		return nil, err
	}
	return f.Int32s(name)
}

// Raw is File.Raw over all files.
func (m *Model) Raw(name string) ([]byte, DType, error) {
	f, err := m.file(name)
	if err != nil {
		return nil, 0, err
	}
	return f.Raw(name)
}

// ReadAt is File.ReadAt over all files.
func (m *Model) ReadAt(name string, dst []byte, off int) error {
	f, err := m.file(name)
	if err != nil {
		return err
	}
	return f.ReadAt(name, dst, off)
}

// SHA256 is File.SHA256 over all files.
func (m *Model) SHA256(name string) (string, error) {
	f, err := m.file(name)
	if err != nil {
		return "", err
	}
	return f.SHA256(name)
}

// Close unmaps all files.
func (m *Model) Close() error {
	var errs []error
	for _, f := range m.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

func (m *Model) file(name string) (*File, error) {
	if f := m.in[name]; f != nil {
		return f, nil
	}
	return nil, fail.New(fail.Other, missingHint, "tensors: %s: tensor %q: missing", m.dir, clip(name))
}

// readIndex returns the weight_map of an index file: tensor name to the shard's file name.
func readIndex(path string) (map[string]string, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && info.Size() > maxIndexBytes {
		err = fmt.Errorf("want at most %d bytes, got %d", maxIndexBytes, info.Size())
	}
	if err != nil {
		return nil, formatError(path, err)
	}
	p := &indexParser{headerParser: headerParser{dec: jsontext.NewDecoder(f)}, weightMap: map[string]string{}}
	if err := p.object("index", p.section); err != nil {
		return nil, formatError(path, err)
	}
	if _, err := p.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, formatError(path, errors.New("index: text after the closing brace"))
	}
	if len(p.weightMap) == 0 {
		return nil, formatError(path, errors.New("weight_map: want at least one tensor"))
	}
	return p.weightMap, nil
}

// indexParser walks an index file as headerParser walks a header.
type indexParser struct {
	headerParser
	weightMap map[string]string
}

func (p *indexParser) section(key string) error {
	if key != "weight_map" {
		if err := p.dec.SkipValue(); err != nil {
			return fmt.Errorf("index: %w", err)
		}
		return nil
	}
	return p.object("weight_map", func(name string) error {
		what := fmt.Sprintf("weight_map %q", clip(name))
		shard, err := p.text(what)
		if err == nil && (!filepath.IsLocal(shard) || shard != filepath.Clean(shard) || os.IsPathSeparator(shard[0])) {
			err = fmt.Errorf("%s: want the name of a file in this folder, got %q", what, clip(shard))
		}
		p.weightMap[name] = shard
		return err
	})
}
