package pair

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"vkdomino/internal/fail"
	"vkdomino/model"
	"vkdomino/ops"
	"vkdomino/tensors"
	"vkdomino/trainer/data"
)

// Target is a target on disk.
type Target struct {
	Path      string
	Config    *model.Config
	Tokenizer *data.Tokenizer // nil where the folder has none
	Specials  data.Specials
	Stops     []int32 // that end an answer, see Stops
	Weights   *tensors.Model

	template string // a file to use in place of the target's own, or ""
}

// OpenTarget opens a target; template is a chat template's file to use in place of the
// target's own, or "". A broken config, tokenizer or weights file is refused (fail.Other), and
// a stop token that is no token (fail.Usage).
func OpenTarget(path, template string) (*Target, error) {
	t := &Target{Path: path, template: template}
	var err error
	if t.Config, err = model.ReadConfig(path); err != nil {
		return nil, err
	}
	if t.Stops, err = Stops(path, t.Config); err != nil {
		return nil, err
	}
	tokenizer := t.tokenizerPath()
	if _, err = os.Stat(tokenizer); !errors.Is(err, fs.ErrNotExist) {
		if t.Tokenizer, err = data.LoadTokenizer(tokenizer); err != nil {
			return nil, err
		}
	}
	if t.Specials, err = data.LoadSpecials(path); err != nil {
		return nil, err
	}
	if t.Weights, err = tensors.OpenModel(path); err != nil {
		return nil, err
	}
	return t, nil
}

// Close closes the target's files.
func (t *Target) Close() error { return t.Weights.Close() }

func (t *Target) tokenizerPath() string { return filepath.Join(t.Path, "tokenizer.json") }

// NeedTokenizer refuses a target without a tokenizer.
func (t *Target) NeedTokenizer() error {
	if t.Tokenizer == nil {
		return fail.New(fail.Other, "give a target with its tokenizer", "pair: %s: want tokenizer.json, got none", t.Path)
	}
	return nil
}

// Options is what rendering and encoding conversations for this target needs. A target without
// a tokenizer is refused; without a chat template Template is nil, which rows of text do not need.
func (t *Target) Options() (data.Options, error) {
	opt := data.Options{Tokenizer: t.Tokenizer, BOS: t.Specials.BOS, EOS: t.Specials.EOS, Pad: t.Specials.Pad}
	if err := t.NeedTokenizer(); err != nil {
		return opt, err
	}
	var err error
	switch {
	case t.template != "":
		opt.Template, err = data.LoadTemplate(t.template)
	case t.Specials.ChatTemplate != "":
		if opt.Template, err = data.NewTemplate(t.Specials.ChatTemplate); err != nil {
			err = fail.New(fail.CodeOf(err), fail.HintOf(err), "pair: the chat template of %s: %w", t.Path, err)
		}
	}
	return opt, err
}

// ChatOptions is Options with a chat template, without which it is an error.
func (t *Target) ChatOptions() (data.Options, error) {
	opt, err := t.Options()
	if err == nil && opt.Template == nil {
		err = fail.New(fail.Other, "give a target with a chat template, or a plain text with --prompt",
			"pair: %s: want a chat template in chat_template.jinja or tokenizer_config.json, got none", t.Path)
	}
	return opt, err
}

// Prompts renders the messages before the first answer of the first n conversations of a
// file, all of them for -1. Source: spec.md §14.4.
func (t *Target) Prompts(ctx context.Context, path string, n int, progress data.Progress) ([][]int32, error) {
	opt, err := t.Options()
	if err != nil {
		return nil, err
	}
	opt.Path, opt.Progress = path, progress
	return Prompts(ctx, opt, n)
}

// Prompts is the ids of data.LoadPrompts.
func Prompts(ctx context.Context, opt data.Options, n int) ([][]int32, error) {
	list, err := data.LoadPrompts(ctx, opt, n)
	if err != nil {
		return nil, err
	}
	ids := make([][]int32, len(list))
	for i, p := range list {
		ids[i] = p.IDs
	}
	return ids, nil
}

// Stoppable is weights whose reading ends with ctx.
func Stoppable(ctx context.Context, weights model.Source) model.Source {
	return stoppable{ctx, weights}
}

type stoppable struct {
	ctx context.Context
	model.Source
}

func (s stoppable) Float32(name string) ([]float32, error) {
	if err := s.ctx.Err(); err != nil {
		return nil, err
	}
	return s.Source.Float32(name)
}

func (s stoppable) Raw(name string) ([]byte, tensors.DType, error) {
	if err := s.ctx.Err(); err != nil {
		return nil, 0, err
	}
	return s.Source.Raw(name)
}

// Load uploads the target to its last layer in a storage dtype (tensors.F32 or BF16), with
// RoPE tables of so many positions. It ends between two tensors when ctx does, with its error.
// In a dry context it only allocates.
func (t *Target) Load(ctx context.Context, c *ops.Context, positions int, dtype tensors.DType) (*model.Target, error) {
	target, err := model.NewTarget(c, t.Config, t.Config.NumLayers-1, positions, dtype)
	if err != nil || c.Dry() {
		return target, err
	}
	return target, target.Load(c, Stoppable(ctx, t.Weights))
}
