package evaluate

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"vkdomino/domino"
	"vkdomino/export"
	"vkdomino/internal/fail"
	"vkdomino/model"
	"vkdomino/ops"
	"vkdomino/tensors"
	"vkdomino/trainer/checkpoint"
	"vkdomino/trainer/data"
	"vkdomino/trainer/recipe"
)

// Source is a draft on disk: an export, or a checkpoint of a run.
type Source struct {
	Path   string
	Step   int // of a checkpoint, else -1
	Config domino.DraftConfig
	Recipe *recipe.Resolved // of a checkpoint, else nil

	// What an export says of its training: "" and 0 where it says nothing.
	Tokenizer   string // SHA-256 of tokenizer.json
	DraftTokens int

	weights func(name string) ([]float32, error)
	close   func() error
}

// OpenDraft opens a checkpoint, which state.json makes of a folder, or an export.
func OpenDraft(path string) (*Source, error) {
	_, err := os.Stat(filepath.Join(path, checkpoint.StateFile))
	switch {
	case err == nil:
		return openCheckpoint(path)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fail.New(fail.Other, "", "evaluate: %w", err)
	}
	d, err := export.Read(path)
	if err != nil {
		return nil, err
	}
	s := &Source{Path: path, Step: -1, weights: d.Float32, close: d.Close}
	if s.Config, err = d.Config.DraftConfig(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if p := d.Provenance; p != nil {
		s.Tokenizer, s.DraftTokens = p.TokenizerSHA256, p.DraftTokens
	}
	return s, nil
}

func openCheckpoint(path string) (*Source, error) {
	l, err := checkpoint.Load(path)
	if err != nil {
		return nil, err
	}
	s := &Source{Path: path, Step: l.State.Step, Tokenizer: l.State.Tokenizer, weights: l.Tensor, close: l.Close}
	if err = json.Unmarshal(l.State.DraftJSON, &s.Config); err == nil {
		s.Recipe, err = recipe.FromFlat(l.State.Recipe)
	}
	if err != nil {
		return nil, errors.Join(fail.New(fail.Other, "", "evaluate: %s: %s: %w", path, checkpoint.StateFile, err), l.Close())
	}
	s.DraftTokens = s.Recipe.EvalDraftTokens
	return s, nil
}

// Close closes the draft's files.
func (s *Source) Close() error { return s.close() }

// Load uploads the draft for decoding.
func (s *Source) Load(c *ops.Context, dtype tensors.DType) (*domino.DraftModel, error) {
	return domino.LoadDraft(c, s.Config, s.weights, dtype)
}

// Check refuses a draft of another target or another tokenizer.
func (s *Source) Check(t *Target) error {
	if err := domino.CheckDraft(s.Config, t.Config); err != nil {
		return fail.New(fail.CodeOf(err), fail.HintOf(err), "evaluate: %s: %w", s.Path, err)
	}
	if s.Tokenizer != "" && s.Tokenizer != t.Tokenizer.SHA256() {
		return fail.New(fail.Usage, "give the target that this draft was trained for",
			"evaluate: %s: want a tokenizer.json with SHA-256 %s, %s has %s", s.Path, s.Tokenizer, t.Path, t.Tokenizer.SHA256())
	}
	return nil
}

// Target is a target on disk, with what makes prompts of conversations.
type Target struct {
	Path      string
	Config    *model.Config
	Tokenizer *data.Tokenizer
	Template  *data.Template // nil where the checkpoint has none
	Specials  data.Specials
	Weights   *tensors.Model
}

// OpenTarget opens a target; template is a file to use in place of its own chat template, or "".
func OpenTarget(path, template string) (*Target, error) {
	t := &Target{Path: path}
	var err error
	if t.Config, err = model.ReadConfig(path); err != nil {
		return nil, err
	}
	if t.Tokenizer, err = data.LoadTokenizer(filepath.Join(path, "tokenizer.json")); err != nil {
		return nil, err
	}
	if t.Specials, err = data.LoadSpecials(path); err != nil {
		return nil, err
	}
	switch {
	case template != "":
		t.Template, err = data.LoadTemplate(template)
	case t.Specials.ChatTemplate != "":
		t.Template, err = data.NewTemplate(t.Specials.ChatTemplate)
	}
	if err != nil {
		return nil, err
	}
	t.Weights, err = tensors.OpenModel(path)
	return t, err
}

// Close closes the target's files.
func (t *Target) Close() error { return t.Weights.Close() }

// Prompts renders the messages before the first answer of the first n conversations of a
// file, all of them for -1. Source: spec.md §14.4.
func (t *Target) Prompts(path string, n int) ([][]int32, error) {
	return Prompts(data.Options{Path: path, Tokenizer: t.Tokenizer, Template: t.Template, BOS: t.Specials.BOS, EOS: t.Specials.EOS}, n)
}

// Prompts is the ids of data.LoadPrompts.
func Prompts(opt data.Options, n int) ([][]int32, error) {
	list, err := data.LoadPrompts(opt, n)
	if err != nil {
		return nil, err
	}
	ids := make([][]int32, len(list))
	for i, p := range list {
		ids[i] = p.IDs
	}
	return ids, nil
}

// Stops is the tokens that end an answer: those of config.json and the tokenizer's eos.
func Stops(cfg *model.Config, tok *data.Tokenizer, eos string) []int32 {
	var stops []int32
	for _, id := range cfg.EOS.IDs {
		stops = append(stops, int32(id))
	}
	if id, ok := tok.TokenID(eos); ok && eos != "" {
		stops = append(stops, id)
	}
	slices.Sort(stops)
	return slices.Compact(stops)
}
