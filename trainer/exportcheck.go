package trainer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"vkdomino/domino"
	"vkdomino/export"
	"vkdomino/internal/fail"
	"vkdomino/internal/plural"
	"vkdomino/model"
	"vkdomino/ops"
	"vkdomino/tensors"
	"vkdomino/trainer/data"
	"vkdomino/trainer/pair"
)

const (
	exportPrompts   = 8  // that an export check decodes, at most
	exportNewTokens = 32 // of each answer
)

// ExportCheck decodes a few prompts greedily, once with a checkpoint's weights rounded to the
// export's dtype and once with what was read back of the export, weights and config.json: the
// tokens and the acceptance lengths must be the same, and so must geometry and every weight. Source: spec.md §13.3.
type ExportCheck struct {
	Context *ops.Context
	Target  *model.Target // loaded to its last layer
	DType   tensors.DType // storage on the device; BF16 rounds the f32 masters, whose τ is then not measured
	Prompts [][]int32
	Stops   []int32
	MaxNew  int // tokens of an answer

	draft   *domino.DraftModel // on the device; nil before the first decoding
	decoder *domino.Decoder
	asked   int // DraftTokens that decoder was built with
}

// ExportReport is what an ExportCheck that was met has measured.
type ExportReport struct {
	Prompts, MaxNew int
	DType           tensors.DType // of the export
	Tau             float64       // of the export, and of the masters rounded to its dtype
	TauF32          float64       // of the masters themselves; NaN where that is not measured
}

// String is the report for a user.
func (r ExportReport) String() string {
	f32 := "not measured in bf16"
	if !math.IsNaN(r.TauF32) {
		f32 = fmt.Sprintf("τ %.4f", r.TauF32)
	}
	return fmt.Sprintf("checked: what was read back decodes %s as the checkpoint's %s weights do, %s each: τ %.4f (its f32 weights: %s)",
		plural.Of(r.Prompts, "prompt"), strings.ToLower(r.DType.String()), plural.Of(r.MaxNew, "new token"), r.Tau, f32)
}

// NewExportCheck is the check of exports of a draft with a target, for which Load needs a
// device: the prompts are those of the first rows of a file, cut to the draft's longest row in
// training. Refused are a draft of another target, and a file without a prompt.
func NewExportCheck(ctx context.Context, t *pair.Target, d *pair.Draft, path string) (*ExportCheck, error) {
	if err := d.Check(t); err != nil {
		return nil, err
	}
	opt, err := t.Options()
	if err != nil {
		return nil, err
	}
	opt.Path = path
	list, err := data.LoadOpenings(ctx, opt, exportPrompts)
	if err != nil {
		return nil, err
	}
	x := &ExportCheck{Stops: t.Stops, MaxNew: exportNewTokens}
	most := max(1, min(d.Recipe.SeqLen, t.Config.MaxPositions-x.MaxNew))
	for _, p := range list {
		x.Prompts = append(x.Prompts, p.IDs[:min(most, len(p.IDs))])
	}
	return x, nil
}

// context is the room that each prompt has with its answer.
func (x *ExportCheck) context() int {
	longest := 0
	for _, p := range x.Prompts {
		longest = max(longest, len(p))
	}
	return longest + x.MaxNew
}

// Load uploads the target and the draft in a storage dtype. In a dry context it counts what
// the check allocates. It ends between two tensors when ctx does, with its error.
func (x *ExportCheck) Load(ctx context.Context, c *ops.Context, t *pair.Target, d *pair.Draft, dtype tensors.DType) error {
	x.Context, x.DType = c, dtype
	var err error
	if x.Target, err = t.Load(ctx, c, x.context()+d.Config.BlockSize, dtype); err != nil {
		return err
	}
	if x.draft, err = d.Load(ctx, c, dtype); err != nil {
		return err
	}
	return x.build(d.DraftTokens)
}

// build allocates the decoder of the draft that is loaded.
func (x *ExportCheck) build(draftTokens int) error {
	var err error
	x.asked = draftTokens
	x.decoder, err = domino.NewDecoder(x.Context, domino.DecoderConfig{Target: x.Target, Draft: x.draft, Slots: len(x.Prompts),
		Context: x.context(), DraftTokens: draftTokens})
	return err
}

type weights func(name string) ([]float32, error)

// decode decodes the prompts with a draft.
func (x *ExportCheck) decode(ctx context.Context, cfg domino.DraftConfig, draftTokens int, of weights) ([]domino.Generation, error) {
	if err := x.set(cfg, draftTokens, of); err != nil {
		return nil, err
	}
	out, err := x.decoder.Generate(ctx, x.Prompts, domino.DecodeOptions{MaxNewTokens: x.MaxNew, StopTokens: x.Stops}, nil)
	if err != nil {
		return nil, err
	}
	return out.Generations, nil
}

// set writes a draft's weights over those on the device; a draft of another configuration than
// theirs is loaded beside them.
func (x *ExportCheck) set(cfg domino.DraftConfig, draftTokens int, of weights) error {
	if x.draft == nil || x.asked != draftTokens || !reflect.DeepEqual(cfg, x.draft.Config) {
		var err error
		if x.draft, err = domino.LoadDraft(x.Context, cfg, of, x.DType); err != nil {
			return err
		}
		return x.build(draftTokens)
	}
	for _, p := range x.draft.Params.List {
		values, err := of(p.Name)
		if err != nil {
			return err
		}
		if err := x.draft.Params.Set(x.Context, p.Name, values); err != nil {
			return err
		}
	}
	return nil
}

// run compares the export in dir, which was written in dtype, with the checkpoint. What is
// wrong with the export has the code fail.Gate; the end of ctx is fail.Interrupted.
func (x *ExportCheck) run(ctx context.Context, d *pair.Draft, dir string, dtype tensors.DType) (ExportReport, error) {
	r := ExportReport{Prompts: len(x.Prompts), MaxNew: x.MaxNew, DType: dtype, TauF32: math.NaN()}
	err := x.compare(ctx, d, dir, &r)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = fail.New(fail.Interrupted, "export again", "interrupted while the export was checked: nothing was written")
	}
	return r, err
}

func (x *ExportCheck) compare(ctx context.Context, d *pair.Draft, dir string, r *ExportReport) error {
	back, cfg, err := openWritten(dir)
	if err != nil {
		return err
	}
	defer back.Close()
	rounded := rounding(d.Weights, r.DType)
	if err := sameGeometry(d.Config, cfg); err != nil {
		return err
	}
	if err := sameTensors(d.Config, rounded, back); err != nil {
		return err
	}
	want, err := x.decode(ctx, d.Config, d.DraftTokens, rounded)
	if err != nil {
		return err
	}
	got, err := x.decode(ctx, cfg, back.Provenance.DraftTokens, back.Float32)
	if err != nil {
		if ctx.Err() != nil || fail.CodeOf(err) == fail.DeviceLost || fail.CodeOf(err) == fail.Memory {
			return err
		}
		return notAsWritten("it does not decode: %w", err)
	}
	if err := sameGenerations(want, got); err != nil {
		return err
	}
	r.Tau = domino.Tau(got)
	switch {
	case r.DType == tensors.F32 && x.DType == tensors.F32:
		r.TauF32 = r.Tau
	case x.DType == tensors.F32:
		exact, err := x.decode(ctx, d.Config, d.DraftTokens, d.Weights)
		if err != nil {
			return err
		}
		r.TauF32 = domino.Tau(exact)
	}
	return ctx.Err()
}

// notAsWritten is a check that is not met.
func notAsWritten(format string, args ...any) error {
	return fail.New(fail.Gate, "export again, to another file system if it happens again; what is there now cannot be trusted",
		"export check: what was read back is not the checkpoint's draft: %w", fmt.Errorf(format, args...))
}

// openWritten opens what was written, with the geometry that its config.json gives. RoPE
// scaling is the servers' alone: the draft decodes with the angles of training. Source: spec.md §13.4.
func openWritten(dir string) (*export.Draft, domino.DraftConfig, error) {
	back, err := export.Read(dir)
	if err != nil {
		return nil, domino.DraftConfig{}, notAsWritten("%w", err)
	}
	config := back.Config
	config.RopeScaling = nil
	cfg, err := config.DraftConfig()
	if err == nil && back.Provenance == nil {
		err = errors.New("no " + export.ProvenanceFile)
	}
	if err != nil {
		return nil, cfg, notAsWritten("%w", errors.Join(err, back.Close()))
	}
	return back, cfg, nil
}

// rounding is of with every value rounded to a dtype, BF16 to nearest even.
func rounding(of weights, dtype tensors.DType) weights {
	if dtype == tensors.F32 {
		return of
	}
	return func(name string) ([]float32, error) {
		values, err := of(name)
		for i, x := range values {
			values[i] = tensors.F32FromBF16(tensors.BF16FromF32(x))
		}
		return values, err
	}
}

// sameGeometry compares what decoding needs of a configuration, since a draft that is hardly
// trained may decode alike in another one.
func sameGeometry(want, got domino.DraftConfig) error {
	got.InitializerRange = want.InitializerRange // of training alone
	if !reflect.DeepEqual(want, got) {
		return notAsWritten("%s: want %+v, got %+v", export.ConfigFile, want, got)
	}
	return nil
}

// sameTensors compares every value with what was read back, bit for bit.
func sameTensors(cfg domino.DraftConfig, of weights, back *export.Draft) error {
	for _, p := range domino.Params(cfg) {
		want, err := of(p.Name)
		if err != nil {
			return err
		}
		got, err := back.Float32(p.Name)
		if err != nil {
			return notAsWritten("%w", err)
		}
		if len(got) != len(want) {
			return notAsWritten("tensor %s: want %d elements, got %d", p.Name, len(want), len(got))
		}
		for i := range want {
			if math.Float32bits(want[i]) != math.Float32bits(got[i]) {
				return notAsWritten("tensor %s: element %d: want %v, got %v", p.Name, i, want[i], got[i])
			}
		}
	}
	return nil
}

// sameGenerations compares tokens and acceptance lengths.
func sameGenerations(want, got []domino.Generation) error {
	for i := range want {
		if !slices.Equal(want[i].Tokens, got[i].Tokens) {
			return notAsWritten("prompt %d: want tokens %v, got %v", i+1, want[i].Tokens, got[i].Tokens)
		}
		if !slices.Equal(want[i].AcceptanceLengths, got[i].AcceptanceLengths) {
			return notAsWritten("prompt %d: want acceptance lengths %v, got %v", i+1, want[i].AcceptanceLengths, got[i].AcceptanceLengths)
		}
	}
	return nil
}
