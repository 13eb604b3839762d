package export

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"vkdomino/internal/atomicfile"
	"vkdomino/internal/fail"
	"vkdomino/tensors"
)

const (
	filePerm          = 0o644
	provenanceVersion = 1
	contractHint      = "the draft is not what the loaders expect; export another checkpoint of the run"
)

// Tensor is one trained tensor under its export name. Data is called once and returns its float32 values, row-major.
type Tensor struct {
	Name  string
	Shape []int
	Data  func() ([]float32, error)
}

// Provenance is vkdomino.json: what a draft was trained with, for those who load it.
type Provenance struct {
	FormatVersion   int               `json:"format_version"`   // set by Write
	TokenizerSHA256 string            `json:"tokenizer_sha256"` // of tokenizer.json's bytes
	DraftTokens     int               `json:"draft_tokens"`     // K, drafted in a cycle
	Versions        map[string]string `json:"versions"`
	Recipe          json.RawMessage   `json:"recipe"` // resolved
}

// Options are what Write needs beside config and tensors.
type Options struct {
	DType        tensors.DType // BF16, rounded to nearest even, or F32
	TrainedTheta float64       // RoPE base of the training, which the config must have too
	Provenance   Provenance
	// Check, where there is one, judges the folder that was written before it takes its place; an error leaves nothing behind.
	Check func(dir string) error
}

// Write exports a draft into the folder dir, whole or not at all: it holds config and tensors to the contract of spec.md
// §13.3, writes, reads back with Check and asks opt.Check, and only then puts the folder in its place. A violation has ErrContract in its
// chain and the exit code fail.Gate. A folder that exists must be empty or an export of ours, which is replaced.
func Write(dir string, cfg Config, list []Tensor, opt Options) error {
	cfg.Dtype = map[tensors.DType]string{tensors.BF16: "bfloat16", tensors.F32: "float32"}[opt.DType]
	if err := checkInput(cfg, list, opt); err != nil {
		return gate(dir, err)
	}
	if err := CheckPlace(dir); err != nil {
		return err
	}
	opt.Provenance.FormatVersion = provenanceVersion
	final, err := filepath.Abs(dir) // since the name of a scratch folder cannot be made of "."
	if err != nil {
		return gate(dir, err)
	}
	err = atomicfile.WriteDir(final, atomicfile.ScratchDir(final), func(tmp string) error {
		if err := fill(tmp, cfg, list, opt); err != nil {
			return err
		}
		if err := readBack(tmp, cfg); err != nil || opt.Check == nil {
			return err
		}
		return opt.Check(tmp)
	})
	return gate(dir, err)
}

// gate gives a violation of the contract its exit code.
func gate(dir string, err error) error {
	if errors.Is(err, ErrContract) {
		return fail.New(fail.Gate, contractHint, "export: %s: %w", dir, err)
	}
	if err != nil {
		return fmt.Errorf("export: %s: %w", dir, err)
	}
	return nil
}

// checkInput holds to the contract all that can be seen before the tensors' values are there.
func checkInput(cfg Config, list []Tensor, opt Options) error {
	if cfg.Dtype == "" {
		return fail.New(fail.Usage, "use bf16 or f32", "dtype: want BF16 or F32, got %s", opt.DType)
	}
	if err := cfg.check(); err != nil {
		return err
	}
	if cfg.RopeTheta != opt.TrainedTheta {
		return contract("rope_theta: trained with %v, got %v", opt.TrainedTheta, cfg.RopeTheta)
	}
	shapes := map[string][]int{}
	for _, t := range list {
		if _, twice := shapes[t.Name]; twice {
			return contract("tensor %q: given twice", t.Name)
		}
		shapes[t.Name] = t.Shape
	}
	return checkTensors(cfg, shapes)
}

// CheckPlace refuses, with the exit code fail.Usage, a folder that Write would not write to: it has no name, or holds what we have
// not written; and, with fail.Disk, one that cannot be made.
func CheckPlace(dir string) error {
	const hint = "choose a new or empty folder, or remove this one yourself"
	if dir == "" { // which names no folder here, and the working directory to the file system
		return fail.New(fail.Usage, hint, "export: want the name of a folder, got none")
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail.New(fail.Usage, hint, "export: %w", err)
	}
	ours := []string{ModelFile, ConfigFile, ProvenanceFile}
	seen := 0
	for _, e := range entries {
		if !slices.Contains(ours, e.Name()) {
			return fail.New(fail.Usage, hint, "export: %s: holds %q, which is not part of an export", dir, e.Name())
		}
		seen++
	}
	if _, err := os.Stat(filepath.Join(dir, ProvenanceFile)); seen > 0 && err != nil {
		return fail.New(fail.Usage, hint, "export: %s: holds a model without %s, which is not ours to replace", dir, ProvenanceFile)
	}
	final, err := filepath.Abs(dir) // since "." is made in a parent too
	if err == nil {
		err = atomicfile.CheckDir(final)
	}
	if err != nil {
		return fmt.Errorf("export: %s: %w", dir, err)
	}
	return nil
}

// fill writes the three files.
func fill(dir string, cfg Config, list []Tensor, opt Options) error {
	var named []tensors.Named
	for _, t := range list {
		named = append(named, tensors.FromFloat32(t.Name, opt.DType, t.Shape, finite(t, opt.DType)))
	}
	if err := tensors.WriteFile(filepath.Join(dir, ModelFile), map[string]string{"format": "pt"}, named); err != nil {
		return err
	}
	text, err := cfg.MarshalJSON()
	if err != nil {
		return err
	}
	if err := atomicfile.WriteFile(filepath.Join(dir, ConfigFile), append(text, '\n'), filePerm); err != nil {
		return err
	}
	text, err = json.MarshalIndent(opt.Provenance, "", indentStep)
	if err != nil {
		return fmt.Errorf("%s: %w", ProvenanceFile, err)
	}
	return atomicfile.WriteFile(filepath.Join(dir, ProvenanceFile), append(text, '\n'), filePerm)
}

// finite returns t.Data with a check that every value is finite in the type that is written.
func finite(t Tensor, dt tensors.DType) func() ([]float32, error) {
	return func() ([]float32, error) {
		values, err := t.Data()
		if err != nil {
			return nil, err
		}
		for i, x := range values {
			if dt == tensors.BF16 {
				x = tensors.F32FromBF16(tensors.BF16FromF32(x))
			}
			if !isFinite(x) {
				return nil, contract("element %d: want a finite number, got %v (%v as %s)", i, values[i], x, dt)
			}
		}
		return values, nil
	}
}

func isFinite(x float32) bool { return !math.IsNaN(float64(x)) && !math.IsInf(float64(x), 0) }

// readBack checks what was written, and that its config says what was meant.
func readBack(dir string, want Config) error {
	d, err := check(dir)
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	text, err := want.MarshalJSON()
	if err != nil {
		return errors.Join(err, d.Close())
	}
	again, err := d.Config.MarshalJSON()
	if err == nil && !bytes.Equal(text, again) {
		err = contract("%s: read back as %s", ConfigFile, again)
	}
	return errors.Join(err, d.Close())
}
