package data

import (
	"os"
	"unicode/utf8"

	"github.com/ardanlabs/jinja"

	"vkdomino/internal/fail"
	"vkdomino/trainer/data/pyjinja"
)

// Template is a compiled chat template, safe for concurrent use. A template is
// code from the model's folder and is trusted as such; its size, loops and
// recursion are bounded all the same.
type Template struct {
	t *pyjinja.Template
}

// NewTemplate compiles a chat template. What cannot be rendered as jinja2 does
// is refused with exit code 1, see package pyjinja.
func NewTemplate(source string) (*Template, error) {
	t, err := pyjinja.Compile(source)
	if err != nil {
		return nil, fail.New(fail.Other, "give another template with data.chat_template or --template",
			"data: template: %w", err)
	}
	return &Template{t: t}, nil
}

// LoadTemplate reads and compiles a template file.
func LoadTemplate(path string) (*Template, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fail.New(fail.Other, "give the path of a Jinja chat template", "data: template: %w", err)
	}
	t, err := pyjinja.Compile(string(raw))
	if err != nil {
		return nil, fail.New(fail.Other, "give another template with data.chat_template or --template",
			"data: template: %s: %w", path, err)
	}
	return &Template{t: t}, nil
}

// RenderOptions are the variables of a template that do not come from the
// conversation. A token that is "" is left undefined.
type RenderOptions struct {
	BOS, EOS            string
	AddGenerationPrompt bool // append the header of an assistant turn
}

// Rendered is a conversation as text. Spans are the ranges of the generation
// blocks, half-open, in code points of Text.
type Rendered struct {
	Text  string
	Spans [][2]int
}

// HasGeneration reports whether the template has generation blocks.
func (t *Template) HasGeneration() bool { return t.t.HasGeneration() }

// Render gives the text that transformers' apply_chat_template would. Every key
// of the conversation is a variable; tools is none where there are none.
func (t *Template) Render(conv Conversation, opt RenderOptions) (Rendered, error) {
	vars := map[string]jinja.Value{"tools": jinja.None()}
	if opt.BOS != "" {
		vars["bos_token"] = jinja.NewString(opt.BOS)
	}
	if opt.EOS != "" {
		vars["eos_token"] = jinja.NewString(opt.EOS)
	}
	for k, v := range conv.vars {
		vars[k] = v
	}
	if opt.AddGenerationPrompt {
		vars["add_generation_prompt"] = jinja.NewBool(true)
	}
	text, spans, err := t.t.Render(vars)
	if err != nil {
		return Rendered{}, fail.New(fail.Other, "change the row or the template", "data: template: %w", err)
	}
	if !utf8.ValidString(text) {
		return Rendered{}, fail.New(fail.Other, "change the row or the template", "data: template: want UTF-8, got broken text")
	}
	return Rendered{Text: text, Spans: spans}, nil
}
