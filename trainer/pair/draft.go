package pair

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"vkdomino/domino"
	"vkdomino/export"
	"vkdomino/internal/fail"
	"vkdomino/ops"
	"vkdomino/tensors"
	"vkdomino/trainer/checkpoint"
	"vkdomino/trainer/recipe"
)

// Draft is a draft on disk: an export, or a checkpoint of a run.
type Draft struct {
	Path   string
	Step   int // of a checkpoint, else -1
	Config domino.DraftConfig
	Recipe *recipe.Resolved // of a checkpoint, else nil

	// What the draft says of its training: "" and 0 where it says nothing.
	Tokenizer   string // SHA-256 of tokenizer.json
	DraftTokens int    // K, drafted in a cycle; 0: block size - 1

	checkpoint *checkpoint.Loaded // nil for an export
	weights    func(name string) ([]float32, error)
	close      func() error
}

// OpenDraft opens a checkpoint, which state.json makes of a folder, or an export. Refused
// (fail.Other) are broken files, a missing or extra tensor or one of another shape, and an
// export that does not say what cannot be guessed: a Domino draft's shift_label and
// pure_draft_prefix_len. When ctx ends before a checkpoint is verified the error has the code
// fail.Interrupted. Source: spec.md §12, §13.3, §13.5.
func OpenDraft(ctx context.Context, path string) (*Draft, error) {
	_, err := os.Stat(filepath.Join(path, checkpoint.StateFile))
	switch {
	case err == nil:
		return openCheckpoint(ctx, path)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fail.New(fail.Other, "give the folder of an export or of a checkpoint", "pair: draft: %w", err)
	}
	return OpenExport(path)
}

// OpenExport is OpenDraft for an export.
func OpenExport(path string) (*Draft, error) {
	e, err := export.Read(path)
	if err != nil {
		return nil, err
	}
	d := &Draft{Path: path, Step: -1, weights: e.Float32, close: e.Close}
	if d.Config, err = e.Config.DraftConfig(); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	if p := e.Provenance; p != nil {
		d.Tokenizer, d.DraftTokens = p.TokenizerSHA256, p.DraftTokens
	}
	return d, nil
}

func openCheckpoint(ctx context.Context, path string) (*Draft, error) {
	l, err := checkpoint.Load(ctx, path)
	if err != nil {
		return nil, err
	}
	d, err := OfCheckpoint(l)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return d, nil
}

// OfCheckpoint is the draft of an open checkpoint, which Close then closes.
func OfCheckpoint(l *checkpoint.Loaded) (*Draft, error) {
	d := &Draft{Path: l.Path(), Step: l.State.Step, Tokenizer: l.State.Tokenizer, checkpoint: l, weights: l.Tensor, close: l.Close}
	err := json.Unmarshal(l.State.DraftJSON, &d.Config)
	if err == nil {
		d.Recipe, err = recipe.FromFlat(l.State.Recipe)
	}
	if err == nil {
		err = d.Config.Validate()
	}
	if err != nil {
		return nil, fail.New(fail.Other, "use another checkpoint of the run", "pair: %s: %s: %w", d.Path, checkpoint.StateFile, err)
	}
	d.DraftTokens = d.Recipe.EvalDraftTokens
	return d, d.checkTensors()
}

// checkTensors compares the tensors of a checkpoint with those that its configuration has.
func (d *Draft) checkTensors() error {
	const hint = "use another checkpoint of the run"
	l, params := d.checkpoint, domino.Params(d.Config)
	known := map[string]bool{}
	for _, p := range params {
		known[p.Name] = true
		switch shape, ok := l.Shape(p.Name); {
		case !ok:
			return fail.New(fail.Other, hint, "pair: %s: tensor %s is missing", d.Path, p.Name)
		case !slices.Equal(shape, p.Shape):
			return fail.New(fail.Other, hint, "pair: %s: tensor %s: want %v, got %v", d.Path, p.Name, p.Shape, shape)
		}
	}
	for _, name := range l.Names() {
		if !known[name] {
			return fail.New(fail.Other, hint, "pair: %s: tensor %s: a draft of this configuration has none", d.Path, name)
		}
	}
	return nil
}

// Close closes the draft's files.
func (d *Draft) Close() error { return d.close() }

// Checkpoint is the open checkpoint that the draft is of, nil for an export.
func (d *Draft) Checkpoint() *checkpoint.Loaded { return d.checkpoint }

// Weights reads the values of a tensor by its export name: of a checkpoint the f32 masters.
func (d *Draft) Weights(name string) ([]float32, error) { return d.weights(name) }

// Load uploads the draft for decoding, in a storage dtype. It ends between two tensors when ctx
// does, with its error. In a dry context it only allocates.
func (d *Draft) Load(ctx context.Context, c *ops.Context, dtype tensors.DType) (*domino.DraftModel, error) {
	weights := func(name string) ([]float32, error) {
		if err := ctx.Err(); err != nil || c.Dry() {
			return nil, err
		}
		return d.weights(name)
	}
	return domino.LoadDraft(c, d.Config, weights, dtype)
}

// Check refuses (fail.Usage) a draft of another target: of other sizes, vocabulary, layers or
// RoPE base, or trained with another tokenizer than the target's. Source: spec.md §13.3, §13.5.
func (d *Draft) Check(t *Target) error {
	if err := domino.CheckDraft(d.Config, t.Config); err != nil {
		return fail.New(fail.CodeOf(err), fail.HintOf(err), "pair: %s: %w", d.Path, err)
	}
	if d.Tokenizer == "" {
		return nil
	}
	have := "none"
	if t.Tokenizer != nil {
		have = t.Tokenizer.SHA256()
	}
	if have != d.Tokenizer {
		where := filepath.Join(d.Path, export.ProvenanceFile)
		if d.checkpoint != nil {
			where = filepath.Join(d.Path, checkpoint.StateFile)
		}
		return fail.New(fail.Usage, "give the target that this draft was trained for", "pair: draft of another target: %s: tokenizer_sha256: want that of %s, %s, the draft has %s",
			where, t.tokenizerPath(), have, d.Tokenizer)
	}
	return nil
}

// Open opens a target and a draft and checks that they belong together; draft "" is none, and
// nil then. template is that of OpenTarget, ctx that of OpenDraft.
func Open(ctx context.Context, target, draft, template string) (*Target, *Draft, error) {
	t, err := OpenTarget(target, template)
	if err != nil || draft == "" {
		return t, nil, err
	}
	d, err := OpenDraft(ctx, draft)
	if err != nil {
		return nil, nil, errors.Join(err, t.Close())
	}
	if err := d.Check(t); err != nil {
		return nil, nil, errors.Join(err, d.Close(), t.Close())
	}
	return t, d, nil
}

// NewDecoder uploads both in a storage dtype and returns a decoder; d may be nil. Of cfg it
// fills in Target and Draft, and where 0 the draft's own DraftTokens. A context beyond the
// target's is refused (fail.Usage) before anything is uploaded, which ends with ctx.
func NewDecoder(ctx context.Context, c *ops.Context, t *Target, d *Draft, cfg domino.DecoderConfig, dtype tensors.DType) (*domino.Decoder, error) {
	if most := t.Config.MaxPositions; cfg.Context > most {
		return nil, fail.New(fail.Usage, "shorten the prompt or ask for fewer new tokens", "pair: prompt and answer: want at most the target's max_position_embeddings, %d tokens, got %d",
			most, cfg.Context)
	}
	var err error
	if d != nil {
		if cfg.Draft, err = d.Load(ctx, c, dtype); err != nil {
			return nil, fmt.Errorf("pair: %s: %w", d.Path, err)
		}
		if cfg.DraftTokens == 0 {
			cfg.DraftTokens = d.DraftTokens
		}
	}
	if cfg.Target, err = t.Load(ctx, c, domino.RopePositions(cfg.Context, cfg.Draft), dtype); err != nil {
		return nil, err
	}
	return domino.NewDecoder(c, cfg)
}
