package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"vkdomino/internal/atomicfile"
	"vkdomino/internal/fail"
	"vkdomino/tensors"
)

const (
	filePerm = 0o644
	dirPerm  = 0o755
)

// Param is one trained tensor. Its functions are called once each, one tensor at a time, and return Shape's product of
// values in row-major order.
type Param struct {
	Name         string
	Shape        []int
	Master, M, V func() ([]float32, error)
}

// Save writes the checkpoint of st.Step into outputDir, whole or not at all; one of the same step is replaced. That the
// disk has room is checked first. An error of the disk has the exit code fail.Disk, an error of a Param's function its
// own; what was there before stays.
func Save(outputDir string, st State, params []Param) error {
	s := saver{at: func(string) {}}
	return s.save(outputDir, st, params)
}

// saver calls at before each stage of a save, which is how the tests cut it off there.
type saver struct{ at func(stage string) }

func (s saver) save(outputDir string, st State, params []Param) error {
	st.FormatVersion = Version
	if err := os.MkdirAll(outputDir, dirPerm); err != nil {
		return fail.New(fail.Disk, spaceHint, "checkpoint: %w", err)
	}
	if _, err := CheckSpace(outputDir, elementsOf(params), 0, st.bestStep()); err != nil {
		return err
	}
	final := Dir(outputDir, st.Step)
	err := atomicfile.WriteDir(final, final+tmpSuffix, func(tmp string) error {
		err := s.fill(tmp, st, params)
		s.at("rename")
		return err
	})
	if err != nil {
		return fmt.Errorf("checkpoint: step %d: %w", st.Step, err)
	}
	s.at("done")
	return nil
}

// elementsOf is how many trained elements there are.
func elementsOf(params []Param) (sum uint64) {
	for _, p := range params {
		n := uint64(1)
		for _, d := range p.Shape {
			n *= uint64(d)
		}
		sum += n
	}
	return sum
}

// fill writes the four files into dir.
func (s saver) fill(dir string, st State, params []Param) error {
	state, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", StateFile, err)
	}
	masters, moments := list(params)
	writers := map[string]func(io.Writer) error{
		ModelFile:     func(w io.Writer) error { return tensors.WriteTo(w, map[string]string{"format": "pt"}, masters) },
		OptimizerFile: func(w io.Writer) error { return tensors.WriteTo(w, nil, moments) },
		StateFile:     func(w io.Writer) error { _, err := w.Write(append(state, '\n')); return err },
	}
	m := manifest{FormatVersion: Version}
	for _, name := range payload() {
		s.at(name)
		entry, err := writeHashed(filepath.Join(dir, name), writers[name])
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		m.Files = append(m.Files, entry)
	}
	s.at(ManifestFile)
	text, err := m.encode()
	if err != nil {
		return fmt.Errorf("%s: %w", ManifestFile, err)
	}
	return atomicfile.WriteFile(filepath.Join(dir, ManifestFile), text, filePerm)
}

// list returns what goes into the model file and into the optimizer file.
func list(params []Param) (masters, moments []tensors.Named) {
	for _, p := range params {
		masters = append(masters, tensors.FromFloat32(p.Name, tensors.F32, p.Shape, p.Master))
		moments = append(moments,
			tensors.FromFloat32(p.Name+firstMoment, tensors.F32, p.Shape, p.M),
			tensors.FromFloat32(p.Name+secondMoment, tensors.F32, p.Shape, p.V))
	}
	return masters, moments
}

// writeHashed writes a file and returns its manifest entry, made of the bytes that were meant, not of what the disk kept.
func writeHashed(path string, write func(io.Writer) error) (fileEntry, error) {
	sum, size := sha256.New(), byteCount(0)
	err := atomicfile.Write(path, filePerm, func(w io.Writer) error {
		return write(io.MultiWriter(w, sum, &size))
	})
	return fileEntry{Name: filepath.Base(path), Size: int64(size), SHA256: hex.EncodeToString(sum.Sum(nil))}, err
}

// byteCount counts what is written to it.
type byteCount int64

func (c *byteCount) Write(p []byte) (int, error) {
	*c += byteCount(len(p))
	return len(p), nil
}
