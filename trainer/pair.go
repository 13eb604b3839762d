package trainer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"vkdomino/domino"
	"vkdomino/export"
	"vkdomino/internal/fail"
	"vkdomino/model"
	"vkdomino/ops"
	"vkdomino/tensors"
	"vkdomino/trainer/data"
)

// Pair is a target and a draft that belong together, read from their folders, for decoding.
type Pair struct {
	TargetDir string
	Target    *model.Config
	Tokenizer *data.Tokenizer // nil where the target's folder has none
	Stops     []int32         // that end an answer: generation_config.json's eos_token_id, else config.json's
	Draft     *export.Draft   // nil: the target alone

	config domino.DraftConfig
}

// OpenPair reads a target's and an exported draft's configuration; draftDir "" is no draft.
// Refused are a draft that is broken, one for another target, one that was trained with
// another tokenizer than the target's (vkdomino.json, spec.md §13.3), and stop tokens that
// are not in the vocabulary.
func OpenPair(targetDir, draftDir string) (*Pair, error) {
	p := &Pair{TargetDir: targetDir}
	var err error
	if p.Target, err = model.ReadConfig(targetDir); err != nil {
		return nil, err
	}
	if err := p.readTokenizer(); err != nil {
		return nil, err
	}
	if err := p.readStops(); err != nil {
		return nil, err
	}
	if draftDir == "" {
		return p, nil
	}
	if p.Draft, err = export.Read(draftDir); err != nil {
		return nil, err
	}
	if err := p.checkDraft(draftDir); err != nil {
		return nil, errors.Join(err, p.Draft.Close())
	}
	return p, nil
}

// Close closes the draft's files.
func (p *Pair) Close() error {
	if p.Draft == nil {
		return nil
	}
	return p.Draft.Close()
}

func (p *Pair) readTokenizer() error {
	path := filepath.Join(p.TargetDir, "tokenizer.json")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var err error
	p.Tokenizer, err = data.LoadTokenizer(path)
	return err
}

func (p *Pair) checkDraft(dir string) error {
	var err error
	if p.config, err = p.Draft.Config.DraftConfig(); err != nil {
		return err
	}
	if err := domino.CheckDraft(p.config, p.Target); err != nil {
		return err
	}
	from := p.Draft.Provenance
	if from == nil || from.TokenizerSHA256 == "" {
		return nil
	}
	have := "none"
	if p.Tokenizer != nil {
		have = p.Tokenizer.SHA256()
	}
	if have != from.TokenizerSHA256 {
		return fail.New(fail.Usage, "give the target that this draft was trained for", "draft of another target: %s: tokenizer_sha256: want that of %s, %s, the draft has %s",
			filepath.Join(dir, export.ProvenanceFile), filepath.Join(p.TargetDir, "tokenizer.json"), have, from.TokenizerSHA256)
	}
	return nil
}

// readStops reads the tokens that end an answer.
func (p *Pair) readStops() error {
	ids, path := p.Target.EOS.IDs, filepath.Join(p.TargetDir, "generation_config.json")
	raw, err := os.ReadFile(path)
	switch {
	case err == nil:
		own, err := eosIDs(raw)
		if err != nil {
			return fail.New(fail.Other, "repair the target's generation_config.json", "%s: %w", path, err)
		}
		if own != nil {
			ids = own
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fail.New(fail.Other, "make the file readable", "%w", err)
	}
	for _, id := range ids {
		if id < 0 || id >= p.Target.VocabSize {
			return fail.New(fail.Usage, "correct eos_token_id", "%s: stop token: want a token id from 0 to %d, got %d", path, p.Target.VocabSize-1, id)
		}
		p.Stops = append(p.Stops, int32(id))
	}
	return nil
}

// eosIDs returns generation_config.json's eos_token_id, which is absent, null, an id or a list.
func eosIDs(raw []byte) ([]int, error) {
	var file struct {
		EOS json.RawMessage `json:"eos_token_id"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, err
	}
	if len(file.EOS) == 0 || string(file.EOS) == "null" {
		return nil, nil
	}
	var one int
	if json.Unmarshal(file.EOS, &one) == nil {
		return []int{one}, nil
	}
	var list []int
	if err := json.Unmarshal(file.EOS, &list); err != nil {
		return nil, fmt.Errorf("eos_token_id: want an id, a list of ids or null, got %s", file.EOS)
	}
	return list, nil
}

// Load uploads the weights in a dtype (tensors.F32 or BF16) and returns a decoder. Of cfg it
// fills in Target and Draft.
func (p *Pair) Load(c *ops.Context, cfg domino.DecoderConfig, dtype tensors.DType) (*domino.Decoder, error) {
	if cfg.Context > p.Target.MaxPositions {
		return nil, fail.New(fail.Usage, "shorten the prompt or ask for fewer new tokens", "prompt and answer: want at most the target's max_position_embeddings, %d tokens, got %d",
			p.Target.MaxPositions, cfg.Context)
	}
	var err error
	if p.Draft != nil {
		if cfg.Draft, err = domino.LoadDraft(c, p.config, p.Draft.Float32, dtype); err != nil {
			return nil, err
		}
	}
	files, err := tensors.OpenModel(p.TargetDir)
	if err != nil {
		return nil, err
	}
	defer files.Close()
	if cfg.Target, err = model.NewTarget(c, p.Target, p.Target.NumLayers-1, domino.RopePositions(cfg.Context, cfg.Draft), dtype); err != nil {
		return nil, err
	}
	if err := cfg.Target.Load(c, files); err != nil {
		return nil, err
	}
	return domino.NewDecoder(c, cfg)
}

// DraftTokens is the number of tokens that a cycle drafts unless told otherwise: the one that
// the draft's vkdomino.json names, else block size - 1; 0 without a draft.
func (p *Pair) DraftTokens() int {
	switch {
	case p.Draft == nil:
		return 0
	case p.Draft.Provenance != nil && p.Draft.Provenance.DraftTokens > 0:
		return p.Draft.Provenance.DraftTokens
	}
	return p.config.BlockSize - 1
}

// ChatOptions is what rendering and encoding a target's chats needs: its tokenizer, its
// chat template, and the special tokens that the template may name.
func ChatOptions(targetDir string, tok *data.Tokenizer) (data.Options, error) {
	opt := data.Options{Tokenizer: tok}
	specials, err := data.LoadSpecials(targetDir)
	if err != nil {
		return opt, err
	}
	opt.BOS, opt.EOS = specials.BOS, specials.EOS
	if specials.ChatTemplate == "" {
		return opt, fail.New(fail.Other, "give a target with a chat template, or a plain text with --prompt", "%s: want a chat template in chat_template.jinja or tokenizer_config.json, got none", targetDir)
	}
	opt.Template, err = data.NewTemplate(specials.ChatTemplate)
	return opt, err
}
