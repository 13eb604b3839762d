package export

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vkdomino/internal/draftnames"
	"vkdomino/internal/fail"
	"vkdomino/tensors"
)

const (
	maxConfigBytes     = 1 << 20
	maxProvenanceBytes = 16 << 20
	listedNames        = 5 // how many names an error lists

	draftHint = "give the folder of a DFlash or Domino draft, as vkdomino export, SpecForge or Model-Optimizer write it"
)

// Draft is an exported draft that has been opened: its config, and its tensors by their export names.
type Draft struct {
	Config     Config
	Provenance *Provenance // nil where the draft is not ours

	model  *tensors.Model
	stored map[string]string // export name to the name in the file
}

// Read opens the draft in the folder dir: ours, Model-Optimizer's or SpecForge's. It is strict: every tensor that the
// config asks for is there in its shape and a float type, and no other; older names are mapped and rotary buffers ignored
// (spec.md §12). A config that breaks the contract or lacks what cannot be guessed is refused (ParseConfig). Errors name
// key or tensor and have the exit code fail.Other.
func Read(dir string) (*Draft, error) {
	d, err := read(dir)
	if err != nil {
		return nil, fail.New(fail.Other, draftHint, "export: draft %s: %w", dir, err)
	}
	return d, nil
}

// Check reads an exported draft as Read does, and every value of it, which must be finite. An error has the exit code
// fail.Gate.
func Check(dir string) error {
	d, err := check(dir)
	if err != nil {
		return fail.New(fail.Gate, contractHint, "export: check %s: %w", dir, err)
	}
	return d.Close()
}

func check(dir string) (*Draft, error) {
	d, err := read(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range d.Names() {
		values, err := d.Float32(name)
		for i, x := range values {
			if !isFinite(x) {
				err = contract("tensor %q: element %d: want a finite number, got %v", name, i, x)
				break
			}
		}
		if err != nil {
			return nil, errors.Join(err, d.Close())
		}
	}
	return d, nil
}

func read(dir string) (*Draft, error) {
	model, err := tensors.OpenModel(dir)
	if err != nil {
		return nil, err
	}
	d := &Draft{model: model}
	if err := d.fill(dir); err != nil {
		return nil, errors.Join(err, model.Close())
	}
	return d, nil
}

func (d *Draft) fill(dir string) error {
	hasHead, err := d.mapNames()
	if err != nil {
		return err
	}
	text, err := readCapped(filepath.Join(dir, ConfigFile), maxConfigBytes)
	if err != nil {
		return err
	}
	if d.Config, err = ParseConfig(text, hasHead); err != nil {
		return fmt.Errorf("%s: %w", ConfigFile, err)
	}
	shapes := map[string][]int{}
	for name, stored := range d.stored {
		dtype, shape, _ := d.model.Info(stored)
		if !slices.Contains([]tensors.DType{tensors.F32, tensors.BF16, tensors.F16}, dtype) {
			return contract("tensor %q: want BF16, F16 or F32, got %s", name, dtype)
		}
		shapes[name] = shape
	}
	if err := checkTensors(d.Config, shapes); err != nil {
		return err
	}
	return d.readProvenance(filepath.Join(dir, ProvenanceFile))
}

// mapNames maps export names to stored ones and reports whether there are tensors of the Domino head.
func (d *Draft) mapNames() (hasHead bool, err error) {
	d.stored = map[string]string{}
	for _, name := range d.model.Names() {
		canonical, keep := draftnames.Canonical(name)
		if !keep {
			continue
		}
		if other, twice := d.stored[canonical]; twice {
			return false, contract("tensors %q and %q are the same", other, name)
		}
		d.stored[canonical] = name
		hasHead = hasHead || draftnames.IsHead(canonical)
	}
	return hasHead, nil
}

func (d *Draft) readProvenance(path string) error {
	text, err := readCapped(path, maxProvenanceBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var p Provenance
	if err := json.Unmarshal(text, &p); err != nil {
		return fmt.Errorf("%s: %w", ProvenanceFile, err)
	}
	if p.FormatVersion != provenanceVersion {
		return fmt.Errorf("%s: format version: want %d, got %d", ProvenanceFile, provenanceVersion, p.FormatVersion)
	}
	d.Provenance = &p
	return nil
}

// readCapped reads a regular file of at most limit bytes.
func readCapped(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("%s: want a file of at most %d bytes", path, limit)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// checkTensors compares names and shapes with those that the config asks for.
func checkTensors(cfg Config, have map[string][]int) error {
	want := map[string][]int{}
	for _, t := range draftnames.List(cfg.Names()) {
		want[t.Name] = t.Shape
	}
	if absent := without(want, have); len(absent) > 0 {
		return contract("%d of %d tensors missing: %s", len(absent), len(want), some(absent))
	}
	if extra := without(have, want); len(extra) > 0 {
		return contract("%d tensors that a draft of this config does not have: %s", len(extra), some(extra))
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if !slices.Equal(want[name], have[name]) {
			return contract("tensor %q: want shape %v, got %v", name, want[name], have[name])
		}
	}
	return nil
}

// without returns the names of a that b lacks, sorted.
func without(a, b map[string][]int) []string {
	var names []string
	for name := range a {
		if _, ok := b[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// some lists the first names.
func some(names []string) string {
	text := strings.Join(names[:min(listedNames, len(names))], ", ")
	if len(names) > listedNames {
		text += ", …"
	}
	return text
}

// Names returns the export names of all tensors, sorted.
func (d *Draft) Names() []string { return slices.Sorted(maps.Keys(d.stored)) }

// Info returns the stored type and the shape of a tensor, and whether there is one of this name.
func (d *Draft) Info(name string) (tensors.DType, []int, bool) {
	stored, ok := d.stored[name]
	if !ok {
		return 0, nil, false
	}
	return d.model.Info(stored)
}

// Float32 returns the values of a tensor, row-major, widened to float32.
func (d *Draft) Float32(name string) ([]float32, error) {
	stored, ok := d.stored[name]
	if !ok {
		return nil, fail.New(fail.Other, draftHint, "export: draft %s: tensor %q: missing", d.model.Dir(), name)
	}
	return d.model.Float32(stored)
}

// Close releases the files.
func (d *Draft) Close() error { return d.model.Close() }
