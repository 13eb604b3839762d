package data

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"vkdomino/internal/fail"
)

// Specials is what tokenizer_config.json says: the special tokens, "" where it
// names none, and the checkpoint's chat template.
type Specials struct {
	BOS, EOS, Pad, Mask string
	ChatTemplate        string // source, "" if the checkpoint has none
	TemplatePath        string // the file it came from
}

// LoadSpecials reads DIR/tokenizer_config.json, which may be missing, and
// DIR/chat_template.jinja, which goes before the config's chat_template.
func LoadSpecials(dir string) (Specials, error) {
	var s Specials
	path := filepath.Join(dir, "tokenizer_config.json")
	raw, err := os.ReadFile(path)
	if err == nil {
		err = s.parse(raw)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, fail.New(fail.Other, "repair the checkpoint's tokenizer_config.json", "data: specials: %s: %w", path, err)
	}
	if s.ChatTemplate != "" {
		s.TemplatePath = path
	}
	path = filepath.Join(dir, "chat_template.jinja")
	raw, err = os.ReadFile(path)
	switch {
	case err == nil:
		s.ChatTemplate, s.TemplatePath = string(raw), path
	case !errors.Is(err, fs.ErrNotExist):
		return s, fail.New(fail.Other, "make the file readable", "data: specials: %w", err)
	}
	return s, nil
}

func (s *Specials) parse(raw []byte) error {
	var f struct {
		BOS          jsontext.Value `json:"bos_token"`
		EOS          jsontext.Value `json:"eos_token"`
		Pad          jsontext.Value `json:"pad_token"`
		Mask         jsontext.Value `json:"mask_token"`
		ChatTemplate jsontext.Value `json:"chat_template"`
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return jsonError(err)
	}
	for _, part := range []struct {
		name string
		raw  jsontext.Value
		dst  *string
	}{{"bos_token", f.BOS, &s.BOS}, {"eos_token", f.EOS, &s.EOS}, {"pad_token", f.Pad, &s.Pad}, {"mask_token", f.Mask, &s.Mask}} {
		if err := tokenContent(part.raw, part.dst); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return templateSource(f.ChatTemplate, &s.ChatTemplate)
}

// tokenContent reads "token" or {"content": "token", …}; null is none.
func tokenContent(raw jsontext.Value, dst *string) error {
	switch {
	case len(raw) == 0 || raw.Kind() == jsontext.KindNull:
		return nil
	case raw.Kind() == jsontext.KindString:
		return json.Unmarshal(raw, dst)
	case raw.Kind() == jsontext.KindBeginObject:
		var token struct {
			Content *string `json:"content"`
		}
		if err := json.Unmarshal(raw, &token); err == nil && token.Content != nil {
			*dst = *token.Content
			return nil
		}
	}
	return fmt.Errorf("want a string or an object with content, got %s", shorten(string(raw)))
}

// templateSource reads one template, or the one named default of a list.
func templateSource(raw jsontext.Value, dst *string) error {
	switch {
	case len(raw) == 0 || raw.Kind() == jsontext.KindNull:
		return nil
	case raw.Kind() == jsontext.KindString:
		return json.Unmarshal(raw, dst)
	}
	var named []struct {
		Name     string `json:"name"`
		Template string `json:"template"`
	}
	if err := json.Unmarshal(raw, &named); err != nil {
		return fmt.Errorf("chat_template: want a string or a list of named templates")
	}
	for _, n := range named {
		if n.Name == "default" {
			*dst = n.Template
			return nil
		}
	}
	return fmt.Errorf("chat_template: want a template named default, got none")
}
