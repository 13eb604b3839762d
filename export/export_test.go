package export

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/draftnames"
	"vkdomino/internal/fail"
	"vkdomino/tensors"
)

// weights gives every tensor of c values that tell them apart.
func weights(c Config) []Tensor {
	var list []Tensor
	for k, t := range draftnames.List(c.Names()) {
		n := 1
		for _, d := range t.Shape {
			n *= d
		}
		list = append(list, Tensor{Name: t.Name, Shape: t.Shape, Data: func() ([]float32, error) {
			values := make([]float32, n)
			for i := range values {
				values[i] = float32(k) + float32(i)/257
			}
			return values, nil
		}})
	}
	return list
}

func options(dt tensors.DType) Options {
	return Options{DType: dt, TrainedTheta: 1e6, Provenance: Provenance{
		TokenizerSHA256: "abc", DraftTokens: 7, Versions: map[string]string{"vkdomino": "1"}, Recipe: json.RawMessage(`{"a":1}`)}}
}

// written exports c into a new folder and returns it.
func written(t *testing.T, c Config, dt tensors.DType) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	require.NoError(t, Write(dir, c, weights(c), options(dt)))
	return dir
}

func dirNames(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	out := []string{}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestWriteThenRead(t *testing.T) {
	window := domino()
	window.Window = 9
	scaled := dflash()
	scaled.RopeScaling = json.RawMessage(`{"type": "yarn"}`)
	for _, c := range []Config{domino(), dflash(), window, scaled} {
		for dt, name := range map[tensors.DType]string{tensors.BF16: "bfloat16", tensors.F32: "float32"} {
			dir := written(t, c, dt)
			require.Equal(t, []string{ConfigFile, ModelFile, ProvenanceFile}, dirNames(t, dir))
			require.NoError(t, Check(dir))
			d, err := Read(dir)
			require.NoError(t, err)
			c.Dtype = name
			require.Equal(t, marshal(t, c), marshal(t, d.Config))
			for _, w := range weights(c) {
				gotType, shape, ok := d.Info(w.Name)
				require.True(t, ok)
				require.Equal(t, dt, gotType)
				require.Equal(t, w.Shape, shape)
				want, _ := w.Data()
				if dt == tensors.BF16 {
					want = tensors.F32s(tensors.BF16s(want))
				}
				got, err := d.Float32(w.Name)
				require.NoError(t, err)
				require.Equal(t, want, got)
			}
			require.Len(t, d.Names(), len(weights(c)))
			_, _, ok := d.Info("lm_head.weight")
			require.False(t, ok)
			_, err = d.Float32("lm_head.weight")
			require.ErrorContains(t, err, `tensor "lm_head.weight": missing`)
			require.Equal(t, 7, d.Provenance.DraftTokens)
			require.JSONEq(t, `{"a":1}`, string(d.Provenance.Recipe))
			require.NoError(t, d.Close())
		}
	}
}

func TestHeaderHasTheFormatOfPyTorch(t *testing.T) {
	f, err := tensors.OpenFile(filepath.Join(written(t, domino(), tensors.BF16), ModelFile))
	require.NoError(t, err)
	defer f.Close()
	require.Equal(t, map[string]string{"format": "pt"}, f.Metadata())
	require.Len(t, f.Names(), 3+11*2+4)
}

func TestReferenceExportsAreReadAndWrittenAgain(t *testing.T) {
	for _, name := range []string{"masked-b8", "dpace-cycle-b6"} {
		source := filepath.Join(testdata, name)
		d, err := Read(source)
		require.NoError(t, err)
		require.NoError(t, Check(source))
		require.Nil(t, d.Provenance)
		var list []Tensor
		for _, n := range d.Names() {
			_, shape, _ := d.Info(n)
			list = append(list, Tensor{Name: n, Shape: shape, Data: func() ([]float32, error) { return d.Float32(n) }})
		}
		dir := filepath.Join(t.TempDir(), "out")
		require.NoError(t, Write(dir, d.Config, list, Options{DType: tensors.F32, TrainedTheta: d.Config.RopeTheta}))
		require.NoError(t, d.Close())

		want, err := os.ReadFile(filepath.Join(source, ModelFile))
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(dir, ModelFile))
		require.NoError(t, err)
		require.True(t, bytes.Equal(dataOf(want), dataOf(got)), "the same values in the same order as from the reference's exporter")
		requireKeysOf(t, filepath.Join(source, ConfigFile), filepath.Join(dir, ConfigFile))
	}
}

// dataOf returns what follows a safetensors header.
func dataOf(file []byte) []byte {
	const lengthBytes = 8
	return file[lengthBytes+binary.LittleEndian.Uint64(file):]
}

// requireKeysOf checks that the JSON object in file ours holds every key of that in theirs, with the same value.
func requireKeysOf(t *testing.T, theirs, ours string) {
	t.Helper()
	load := func(path string) map[string]any {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		var m map[string]any
		require.NoError(t, json.Unmarshal(text, &m))
		return m
	}
	want, got := load(theirs), load(ours)
	for key, value := range want {
		require.Equal(t, value, got[key], key)
	}
	extra := slices.DeleteFunc(slices.Sorted(maps.Keys(got)), func(k string) bool { _, ok := want[k]; return ok })
	require.Equal(t, []string{"bos_token_id", "dtype", "eos_token_id", "max_window_layers", "use_cache", "use_sliding_window"}, extra)
}

func TestWriteRefuses(t *testing.T) {
	boom := fail.New(fail.DeviceLost, "", "vk: device lost")
	cases := []struct {
		name   string
		change func(c *Config, list *[]Tensor, o *Options)
		want   string
		code   fail.Code
	}{
		{"another theta than in training", func(_ *Config, _ *[]Tensor, o *Options) { o.TrainedTheta = 1e4 }, "rope_theta: trained with 10000, got 1e+06", fail.Gate},
		{"a tensor is missing", func(_ *Config, l *[]Tensor, _ *Options) { *l = (*l)[1:] }, "1 of 29 tensors missing: fc.weight", fail.Gate},
		{"all are missing", func(_ *Config, l *[]Tensor, _ *Options) { *l = nil }, "29 of 29 tensors missing: embed_proj.0.weight, embed_proj.2.weight, fc.weight, hidden_norm.weight, layers.0.input_layernorm.weight, …", fail.Gate},
		{"a tensor too many", func(_ *Config, l *[]Tensor, _ *Options) {
			*l = append(*l, Tensor{Name: "embed_tokens.weight", Shape: []int{1}})
		}, "1 tensors that a draft of this config does not have: embed_tokens.weight", fail.Gate},
		{"a tensor twice", func(_ *Config, l *[]Tensor, _ *Options) { *l = append(*l, (*l)[0]) }, `tensor "fc.weight": given twice`, fail.Gate},
		{"a shape swapped", func(_ *Config, l *[]Tensor, _ *Options) { (*l)[0].Shape = []int{16, 8} }, `tensor "fc.weight": want shape [8 16], got [16 8]`, fail.Gate},
		{"a head in a plain config", func(c *Config, _ *[]Tensor, _ *Options) { *c = dflash() }, "4 tensors that a draft of this config does not have: embed_proj.0.weight", fail.Gate},
		{"layer ids of another width", func(c *Config, _ *[]Tensor, _ *Options) { c.TargetLayerIDs = []int{1, 2, 3} }, `tensor "fc.weight": want shape [8 24], got [8 16]`, fail.Gate},
		{"another emb_dim", func(c *Config, _ *[]Tensor, _ *Options) { c.EmbDim = 5 }, `tensor "embed_proj.0.weight": want shape [5 14], got [4 14]`, fail.Gate},
		{"another gru_hidden_dim", func(c *Config, _ *[]Tensor, _ *Options) { c.GRUHiddenDim = 7 }, `want shape [4 15], got [4 14]`, fail.Gate},
		{"a config against the rules", func(c *Config, _ *[]Tensor, _ *Options) { c.MaskTokenID = 20 }, "mask_token_id: want 0 to 19, got 20", fail.Gate},
		{"head fields in a plain config", func(c *Config, _ *[]Tensor, _ *Options) { c.Domino = false }, "has no head fields", fail.Gate},
		{"another dtype", func(_ *Config, _ *[]Tensor, o *Options) { o.DType = tensors.F16 }, "want BF16 or F32, got F16", fail.Usage},
		{"values of another length", func(_ *Config, l *[]Tensor, _ *Options) {
			(*l)[1].Data = func() ([]float32, error) { return []float32{1}, nil }
		}, `tensor "hidden_norm.weight": want 16 bytes`, fail.Other},
		{"a NaN", func(_ *Config, l *[]Tensor, _ *Options) {
			(*l)[1].Data = func() ([]float32, error) { return []float32{7: float32(math.NaN())}, nil }
		}, `tensor "hidden_norm.weight": draft contract: element 7: want a finite number, got NaN`, fail.Gate},
		{"a number that bfloat16 cannot hold", func(_ *Config, l *[]Tensor, _ *Options) {
			(*l)[1].Data = func() ([]float32, error) { return []float32{0: math.MaxFloat32, 7: 0}, nil }
		}, "element 0: want a finite number, got 3.4028235e+38 (+Inf as BF16)", fail.Gate},
		{"a device that is lost", func(_ *Config, l *[]Tensor, _ *Options) {
			(*l)[1].Data = func() ([]float32, error) { return nil, boom }
		}, "vk: device lost", fail.DeviceLost},
		{"a recipe that is no JSON", func(_ *Config, _ *[]Tensor, o *Options) { o.Provenance.Recipe = json.RawMessage("{") }, "vkdomino.json", fail.Other},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			parent := t.TempDir()
			dir := filepath.Join(parent, "out")
			cfg, list, opt := domino(), weights(domino()), options(tensors.BF16)
			require.NoError(t, Write(dir, cfg, list, opt))
			before, err := os.ReadFile(filepath.Join(dir, ModelFile))
			require.NoError(t, err)
			c.change(&cfg, &list, &opt)
			err = Write(dir, cfg, list, opt)
			require.ErrorContains(t, err, c.want)
			require.Equal(t, c.code, fail.CodeOf(err))
			require.Equal(t, c.code == fail.Gate, errors.Is(err, ErrContract))
			require.Equal(t, []string{"out"}, dirNames(t, parent), "nothing half-written is left")
			after, err := os.ReadFile(filepath.Join(dir, ModelFile))
			require.NoError(t, err)
			require.True(t, bytes.Equal(before, after), "the earlier export is untouched")
		})
	}
}

func TestWriteReplacesOnlyItsOwn(t *testing.T) {
	write := func(dir string) error { return Write(dir, domino(), weights(domino()), options(tensors.BF16)) }
	empty := t.TempDir()
	require.NoError(t, write(empty))
	require.NoError(t, write(empty), "an export of ours is replaced")

	require.NoError(t, os.WriteFile(filepath.Join(empty, "notes.txt"), []byte("mine"), 0o644))
	err := write(empty)
	require.ErrorContains(t, err, `holds "notes.txt"`)
	require.Equal(t, fail.Usage, fail.CodeOf(err))
	require.NotEmpty(t, fail.HintOf(err))

	foreign := t.TempDir()
	for _, name := range []string{ModelFile, ConfigFile} {
		require.NoError(t, os.WriteFile(filepath.Join(foreign, name), []byte("theirs"), 0o644))
	}
	require.ErrorContains(t, write(foreign), "not ours to replace")

	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	require.Equal(t, fail.Usage, fail.CodeOf(write(file)))
}

// A name that is empty, as of a variable that is not set, must not stand for the working folder.
func TestWriteNeedsAName(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	require.NoError(t, os.WriteFile("thesis.txt", nil, 0o644))
	err := Write("", domino(), weights(domino()), options(tensors.BF16))
	require.ErrorContains(t, err, "want the name of a folder, got none")
	require.Equal(t, fail.Usage, fail.CodeOf(err))
	require.Equal(t, []string{"thesis.txt"}, dirNames(t, dir))
}

// damagedDraft is a good draft with a change, and what Read must say about it.
type damagedDraft struct {
	name   string
	change func(t *testing.T, dir string)
	want   string
}

func rewrite(file, old, new string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		path := filepath.Join(dir, file)
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		changed := strings.Replace(string(text), old, new, 1)
		require.NotEqual(t, string(text), changed)
		require.NoError(t, os.WriteFile(path, []byte(changed), 0o644))
	}
}

// retensor writes the model file anew from edited tensors.
func retensor(edit func(list []tensors.Named) []tensors.Named) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		var list []tensors.Named
		for _, w := range weights(domino()) {
			list = append(list, tensors.FromFloat32(w.Name, tensors.F32, w.Shape, w.Data))
		}
		require.NoError(t, tensors.WriteFile(filepath.Join(dir, ModelFile), nil, edit(list)))
	}
}

func extra(name string, dt tensors.DType) func([]tensors.Named) []tensors.Named {
	return func(list []tensors.Named) []tensors.Named {
		return append(list, tensors.Named{Name: name, DType: dt, Shape: []int{1}, Data: func() ([]byte, error) { return make([]byte, dt.Size()), nil }})
	}
}

func TestDamagedDraftsAreRefused(t *testing.T) {
	cases := []damagedDraft{
		{"no config", func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, ConfigFile))) }, "config.json: no such file"},
		{"no model", func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, ModelFile))) }, "want model.safetensors or"},
		{"a cut model", func(t *testing.T, dir string) { require.NoError(t, os.Truncate(filepath.Join(dir, ModelFile), 3000)) }, "model.safetensors"},
		{"an empty config", func(t *testing.T, dir string) { require.NoError(t, os.Truncate(filepath.Join(dir, ConfigFile), 0)) }, "config.json: draft contract: jsontext"},
		{"a folder as config", func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, ConfigFile)))
			require.NoError(t, os.Mkdir(filepath.Join(dir, ConfigFile), 0o755))
		}, "want a file of at most"},
		{"a huge config", func(t *testing.T, dir string) {
			require.NoError(t, os.Truncate(filepath.Join(dir, ConfigFile), maxConfigBytes+1))
		}, "want a file of at most"},
		{"a target's config", rewrite(ConfigFile, `"dflash_config"`, `"other"`), "no DFlash or Domino draft"},
		{"no alignment", rewrite(ConfigFile, `"shift_label": true,`, ``), "must say shift_label"},
		{"a head that calls itself dflash, without alignment", func(t *testing.T, dir string) {
			rewrite(ConfigFile, `"projector_type": "domino"`, `"projector_type": "dflash"`)(t, dir)
			rewrite(ConfigFile, `"shift_label": true,`, ``)(t, dir)
		}, "must say shift_label"},
		{"broken provenance", rewrite(ProvenanceFile, `{`, `[`), "vkdomino.json"},
		{"provenance of another version", rewrite(ProvenanceFile, `"format_version": 1`, `"format_version": 3`), "format version: want 1, got 3"},
		{"a tensor missing", retensor(func(l []tensors.Named) []tensors.Named { return l[1:] }), "1 of 29 tensors missing: fc.weight"},
		{"the head missing", retensor(func(l []tensors.Named) []tensors.Named { return l[:len(l)-4] }), "4 of 29 tensors missing: embed_proj.0.weight, embed_proj.2.weight, prefix_gru.weight_hh_l0, prefix_gru.weight_ih_l0"},
		{"an embedding too many", retensor(extra("embed_tokens.weight", tensors.F32)), "does not have: embed_tokens.weight"},
		{"a bias", retensor(extra("prefix_gru.bias_ih_l0", tensors.F32)), "does not have: prefix_gru.bias_ih_l0"},
		{"a tensor under two names", retensor(extra("dflash_module.fc.weight", tensors.F32)), "are the same"},
		{"integers", retensor(func(l []tensors.Named) []tensors.Named {
			for i := range l {
				if l[i].Name == "norm.weight" {
					l[i].DType, l[i].Data = tensors.I32, func() ([]byte, error) { return make([]byte, 32), nil }
				}
			}
			return l
		}), `tensor "norm.weight": want BF16, F16 or F32, got I32`},
		{"another layer count", func(t *testing.T, dir string) {
			rewrite(ConfigFile, `"num_hidden_layers": 2`, `"num_hidden_layers": 1`)(t, dir)
			rewrite(ConfigFile, "\"full_attention\",\n", "")(t, dir)
		}, "11 tensors that a draft of this config does not have: layers.1.input_layernorm.weight, "},
		{"another vocabulary", rewrite(ConfigFile, `"vocab_size": 20`, `"vocab_size": 30`), `tensor "embed_proj.2.weight": want shape [30 4], got [20 4]`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := written(t, domino(), tensors.BF16)
			c.change(t, dir)
			_, err := Read(dir)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, dir)
			require.Equal(t, fail.Other, fail.CodeOf(err))
			require.NotEmpty(t, fail.HintOf(err))
			err = Check(dir)
			require.ErrorContains(t, err, c.want)
			require.Equal(t, fail.Gate, fail.CodeOf(err))
		})
	}
}

func TestCheckReadsEveryValue(t *testing.T) {
	dir := written(t, domino(), tensors.BF16)
	retensor(func(l []tensors.Named) []tensors.Named {
		l[2].Data = func() ([]byte, error) { return tensors.F32Bytes([]float32{5: float32(math.Inf(-1)), 7: 0}), nil }
		return l
	})(t, dir)
	d, err := Read(dir)
	require.NoError(t, err, "Read looks at no value")
	require.NoError(t, d.Close())
	err = Check(dir)
	require.ErrorIs(t, err, ErrContract)
	require.ErrorContains(t, err, `tensor "norm.weight": element 5: want a finite number, got -Inf`)
}

func TestOlderNamesAreMapped(t *testing.T) {
	dir := written(t, domino(), tensors.BF16)
	retensor(func(l []tensors.Named) []tensors.Named {
		for i := range l {
			if draftnames.IsHead(l[i].Name) {
				l[i].Name = "logit_head." + l[i].Name
			}
			l[i].Name = "dflash_module." + l[i].Name
		}
		return extra("dflash_module.rotary_emb.inv_freq", tensors.F32)(l)
	})(t, dir)
	d, err := Read(dir)
	require.NoError(t, err)
	defer d.Close()
	require.Len(t, d.Names(), 29)
	for _, w := range weights(domino()) {
		want, _ := w.Data()
		got, err := d.Float32(w.Name)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestWriteBelowAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	err := Write(filepath.Join(file, "out"), domino(), weights(domino()), options(tensors.BF16))
	require.Equal(t, fail.Usage, fail.CodeOf(err))
	require.NotEmpty(t, fail.HintOf(err))
}

func TestWriteIntoTheWorkingFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "here")
	require.NoError(t, os.Mkdir(dir, 0o755))
	t.Chdir(dir)
	require.NoError(t, Write(".", domino(), weights(domino()), options(tensors.BF16)))
	require.Equal(t, []string{"here"}, dirNames(t, filepath.Dir(dir)))
	require.NoError(t, Check(dir))
}

func TestNeighboursWithSimilarNamesAreLeftAlone(t *testing.T) {
	parent := t.TempDir()
	for _, name := range []string{"out.old", "out.tmp"} {
		require.NoError(t, os.Mkdir(filepath.Join(parent, name), 0o755))
	}
	for range 2 {
		require.NoError(t, Write(filepath.Join(parent, "out"), domino(), weights(domino()), options(tensors.BF16)))
		require.Equal(t, []string{"out", "out.old", "out.tmp"}, dirNames(t, parent))
	}
}
