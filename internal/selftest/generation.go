package selftest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vkdomino/domino"
	"vkdomino/internal/fail"
	"vkdomino/ops"
	"vkdomino/tensors"
	"vkdomino/trainer/data"
	"vkdomino/trainer/pair"
)

// Runnable is a conformance case of either layout.
type Runnable interface {
	// Run runs the case in a precision (tensors.F32 or BF16) on the context's device.
	Run(c *ops.Context, precision tensors.DType) (*Report, error)
	Close()
}

const layouts = "a case is a folder with case.json (training steps) or generation.json (decoding)"

// OpenAny reads a case's folder, of the layout that its files say: case.json or generation.json.
func OpenAny(dir string) (Runnable, error) {
	if exists(filepath.Join(dir, "case.json")) {
		return Open(dir)
	}
	if exists(filepath.Join(dir, generationName)) {
		return OpenGeneration(dir)
	}
	return nil, fail.New(fail.Other, layouts, "selftest: %s: want case.json or generation.json, got neither", dir)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

const (
	generationName = "generation.json"
	tokenizerName  = "tokenizer_cases.json"
	tauLimit       = 1e-12
)

// Generation is a decoding case: target, exported draft, and for some prompts the tokens and
// acceptance lengths that the reference's decoder got, greedily. Source: spec.md §14.2.
type Generation struct {
	generationFile
	dir    string
	target *pair.Target
	draft  *pair.Draft
}

// generationFile is generation.json.
type generationFile struct {
	BlockSize    int              `json:"block_size"`
	MaskTokenID  int              `json:"mask_token_id"`
	MaxNewTokens int              `json:"max_new_tokens"`
	Tau          float64          `json:"tau"`
	Cases        []generationCase `json:"cases"`
}

// generationCase is one prompt of it.
type generationCase struct {
	Prompt  []int32 `json:"prompt"`
	Stops   []int32 `json:"stop_token_ids"`
	Tokens  []int32 `json:"tokens"`
	Greedy  []int32 `json:"greedy"` // of the target alone
	Lengths []int   `json:"acceptance_lengths"`
}

// OpenGeneration reads a decoding case's folder.
func OpenGeneration(dir string) (*Generation, error) {
	g, path := &Generation{dir: dir}, filepath.Join(dir, generationName)
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fail.New(fail.Other, layouts, "selftest: %w", err)
	}
	if err := json.Unmarshal(raw, &g.generationFile); err != nil {
		return nil, fail.New(fail.Other, "", "selftest: %s: %w", path, err)
	}
	if g.target, g.draft, err = pair.Open(context.Background(), filepath.Join(dir, "target"), filepath.Join(dir, "export"), ""); err != nil {
		return nil, fmt.Errorf("selftest: %w", err)
	}
	if err := g.check(); err != nil {
		g.Close()
		return nil, fmt.Errorf("selftest: %s: %w", path, err)
	}
	return g, nil
}

func (g *Generation) check() error {
	draft := g.draft.Config
	switch {
	case len(g.Cases) == 0 || g.MaxNewTokens < 1:
		return fail.New(fail.Other, "", "want cases of at least one new token, got %d of %d", len(g.Cases), g.MaxNewTokens)
	case g.BlockSize != draft.BlockSize:
		return fail.New(fail.Other, "", "block_size: want the draft's %d, got %d", draft.BlockSize, g.BlockSize)
	case g.MaskTokenID != draft.MaskTokenID:
		return fail.New(fail.Other, "", "mask_token_id: want the draft's %d, got %d", draft.MaskTokenID, g.MaskTokenID)
	}
	return nil
}

// Close closes the case's files.
func (g *Generation) Close() {
	g.draft.Close()
	g.target.Close()
}

// Run decodes every prompt with the draft and without, all together and one by one. Errors
// count the prompts that differ from the reference; in bf16, whose rounding the reference
// does not have, they are for information, but the draft must not change the target's tokens.
func (g *Generation) Run(c *ops.Context, precision tensors.DType) (*Report, error) {
	report := &Report{Case: fmt.Sprintf("%s (%s)", filepath.Base(g.dir), strings.ToLower(precision.String()))}
	together, alone, err := g.decode(c, len(g.Cases), true, precision)
	if err != nil {
		return nil, fmt.Errorf("selftest: %s: %w", g.dir, err)
	}
	single, _, err := g.decode(c, 1, false, precision)
	if err != nil {
		return nil, fmt.Errorf("selftest: %s: %w", g.dir, err)
	}
	exact := precision == tensors.F32
	g.compare(report, "tokens", exact, func(i int) bool { return slices.Equal(together[i].Tokens, g.Cases[i].Tokens) })
	g.compare(report, "acceptance lengths", exact, func(i int) bool { return slices.Equal(together[i].AcceptanceLengths, g.Cases[i].Lengths) })
	g.compare(report, "target alone", exact, func(i int) bool { return slices.Equal(alone[i].Tokens, g.Cases[i].Greedy) })
	g.compare(report, "draft against target alone", true, func(i int) bool { return slices.Equal(together[i].Tokens, alone[i].Tokens) })
	g.compare(report, "one prompt at a time", true, func(i int) bool {
		return slices.Equal(single[i].Tokens, together[i].Tokens) && slices.Equal(single[i].AcceptanceLengths, together[i].AcceptanceLengths)
	})
	tau := domino.Tau(together)
	report.note("tau (absolute)", math.Abs(tau-g.Tau), tauLimit, exact, fmt.Sprintf("%.4f", tau))
	return report, g.tokenizer(report)
}

// decode returns what prompts get with the draft, so many at a time, and if asked to what the
// target alone gives.
func (g *Generation) decode(c *ops.Context, slots int, alone bool, precision tensors.DType) (with, without []domino.Generation, err error) {
	defer c.Release()
	longest, opt := 0, domino.DecodeOptions{MaxNewTokens: g.MaxNewTokens}
	prompts := make([][]int32, len(g.Cases))
	for i, k := range g.Cases {
		prompts[i] = k.Prompt
		opt.StopTokensOf = append(opt.StopTokensOf, k.Stops)
		longest = max(longest, len(k.Prompt))
	}
	d, err := pair.NewDecoder(context.Background(), c, g.target, g.draft, domino.DecoderConfig{Slots: slots, Context: longest + g.MaxNewTokens, DraftTokens: g.BlockSize - 1}, precision)
	if err != nil {
		return nil, nil, err
	}
	out, err := d.Generate(context.Background(), prompts, opt, nil)
	if err != nil || !alone {
		return generations(out), nil, err
	}
	opt.NoDraft = true
	plain, err := d.Generate(context.Background(), prompts, opt, nil)
	return out.Generations, generations(plain), err
}

func generations(d *domino.Decoding) []domino.Generation {
	if d == nil {
		return nil
	}
	return d.Generations
}

// compare notes how many prompts differ and which.
func (g *Generation) compare(r *Report, quantity string, judged bool, same func(i int) bool) {
	var differ []int
	for i := range g.Cases {
		if !same(i) {
			differ = append(differ, i)
		}
	}
	r.count(quantity, "prompts", differ, len(g.Cases), judged)
}

// count notes how many of n things differ, and names the first ones.
func (r *Report) count(quantity, what string, differ []int, n int, judged bool) {
	const named = 5
	where := fmt.Sprintf("%d of %d %s differ", len(differ), n, what)
	if len(differ) > 0 {
		where += fmt.Sprintf(": %v", differ[:min(named, len(differ))])
	}
	r.note(quantity, float64(len(differ)), 0, judged, where)
}

// tokenizerFile is tokenizer_cases.json: texts and a chat as Hugging Face's libraries encode them.
type tokenizerFile struct {
	Encode []struct {
		Text    string  `json:"text"`
		IDs     []int32 `json:"ids"`
		Decoded string  `json:"decoded"`
	} `json:"encode"`
	Chat []struct {
		Messages json.RawMessage `json:"messages"`
		Text     string          `json:"text"`
		IDs      []int32         `json:"input_ids"`
		Masks    []int           `json:"assistant_masks"`
	} `json:"chat"`
}

// tokenizer compares texts and chats, where the case has tokenizer_cases.json.
func (g *Generation) tokenizer(r *Report) error {
	path := filepath.Join(g.dir, tokenizerName)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fail.New(fail.Other, "make the file readable", "selftest: %w", err)
	}
	var f tokenizerFile
	if err := json.Unmarshal(raw, &f); err != nil {
		return fail.New(fail.Other, "", "selftest: %s: %w", path, err)
	}
	if err := g.target.NeedTokenizer(); err != nil {
		return fmt.Errorf("selftest: %s: %w", path, err)
	}
	tok := g.target.Tokenizer
	var encoded, decoded []int
	for i, k := range f.Encode {
		ids, _, err := tok.Encode(k.Text)
		if err != nil || !slices.Equal(ids, k.IDs) {
			encoded = append(encoded, i)
		}
		if tok.Decode(k.IDs, false) != k.Decoded {
			decoded = append(decoded, i)
		}
	}
	r.count("tokenizer, ids", "texts", encoded, len(f.Encode), true)
	r.count("tokenizer, decoded", "texts", decoded, len(f.Encode), true)
	return g.chats(r, f)
}

// chats compares the rendered text of chats, their ids and what of them is an answer.
func (g *Generation) chats(r *Report, f tokenizerFile) error {
	if len(f.Chat) == 0 {
		return nil
	}
	opt, err := g.target.ChatOptions()
	if err != nil {
		return err
	}
	opt.SuperviseEndOfTurn = true
	var text, ids, masks []int
	for i, k := range f.Chat {
		var e data.Encoded
		conv, err := data.ParseConversation([]byte(`{"messages":` + string(k.Messages) + `}`))
		if err == nil {
			e, err = opt.Encode(conv)
		}
		if err != nil || e.Text != k.Text {
			text = append(text, i)
		}
		if !slices.Equal(e.IDs, k.IDs) {
			ids = append(ids, i)
		}
		if !slices.EqualFunc(e.Mask, k.Masks, func(a uint8, b int) bool { return int(a) == b }) {
			masks = append(masks, i)
		}
	}
	r.count("chat, text", "chats", text, len(f.Chat), true)
	r.count("chat, ids", "chats", ids, len(f.Chat), true)
	r.count("chat, answer masks", "chats", masks, len(f.Chat), true)
	return nil
}
