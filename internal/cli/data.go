package cli

import (
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"vkdomino/internal/fail"
	"vkdomino/trainer/data"
)

func newDataCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "data",
		Short:   "Look at training data, count it, and let the target answer it",
		Example: "  vkdomino data render --model Qwen3-0.6B < train.jsonl | head -1",
		Args:    unknownCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTokensCommand(), newRenderCommand(), newCheckCommand(), newRegenerateCommand())
	return cmd
}

// tokenLine is what data tokens prints for a text. Offsets are half-open, in
// code points.
type tokenLine struct {
	IDs         []int32  `json:"ids"`
	Offsets     [][2]int `json:"offsets"`
	Decoded     string   `json:"decoded"`
	SkipSpecial string   `json:"decoded_skip_special"`
}

func newTokensCommand() *cobra.Command {
	var model string
	cmd := &cobra.Command{
		Use:   "tokens --model DIR",
		Short: "Print ids, offsets and decoded text of each JSON string on a line of stdin",
		Long: "For each JSON string on a line of stdin, tokens prints a JSON line with ids, offsets (half-open, in code\n" +
			"points), decoded and decoded_skip_special. DIR needs tokenizer.json alone.",
		Example: "  echo '\"Hello, world!\"' | vkdomino data tokens --model Qwen3-0.6B",
		Args:    argCount(0, 0, "no arguments, text comes from stdin"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			tok, err := loadModelTokenizer(model)
			if err != nil {
				return err
			}
			return eachLine(cmd.InOrStdin(), func(line []byte) error {
				var text string
				if err := json.Unmarshal(line, &text); err != nil {
					return fmt.Errorf("want a JSON string: %w", err)
				}
				ids, offsets, err := tok.Encode(text)
				if err != nil {
					return err
				}
				return printJSON(cmd.OutOrStdout(), tokenLine{
					IDs: ids, Offsets: offsets, Decoded: tok.Decode(ids, false), SkipSpecial: tok.Decode(ids, true),
				})
			})
		},
	}
	cmd.Flags().StringVar(&model, "model", "", "checkpoint folder with tokenizer.json")
	return cmd
}

// renderLine is what data render prints for a conversation. Spans are the
// generation blocks, half-open, in code points of text. MaskError says why
// nothing of a text can be supervised.
type renderLine struct {
	Text      string   `json:"text"`
	Spans     [][2]int `json:"spans"`
	IDs       []int32  `json:"ids"`
	Mask      []int    `json:"mask"`
	MaskError string   `json:"mask_error,omitempty"`
}

func newRenderCommand() *cobra.Command {
	var model, template string
	var endOfTurn bool
	cmd := &cobra.Command{
		Use:   "render --model DIR [--template FILE]",
		Short: "Print text, generation spans, ids and mask of each conversation on a line of stdin",
		Long: "For each conversation on a line of stdin, render prints a JSON line with text, spans (the generation\n" +
			"blocks' ranges, half-open, in code points), ids and mask (1 where a token is supervised), or with error.\n" +
			"DIR needs tokenizer.json, and a chat template unless --template names one; bos and eos come from\n" +
			"tokenizer_config.json, none where it is missing.",
		Example: "  vkdomino data render --model Qwen3-0.6B < train.jsonl\n" +
			"  vkdomino data render --model Qwen3-0.6B --template qwen3_train.jinja < train.jsonl",
		Args: argCount(0, 0, "no arguments, conversations come from stdin"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			opt, err := renderOptions(model, template, endOfTurn)
			if err != nil {
				return err
			}
			return eachLine(cmd.InOrStdin(), func(line []byte) error {
				return printJSON(cmd.OutOrStdout(), renderOne(opt, line))
			})
		},
	}
	cmd.Flags().StringVar(&model, "model", "", "checkpoint folder with tokenizer.json and the chat template")
	cmd.Flags().StringVar(&template, "template", "", "chat template to use instead of the checkpoint's")
	cmd.Flags().BoolVar(&endOfTurn, "supervise-end-of-turn", true, "supervise the token that ends an answer, as compat.supervise_end_of_turn")
	return cmd
}

// renderOptions reads what data render needs for every line.
func renderOptions(model, template string, endOfTurn bool) (data.Options, error) {
	opt := data.Options{SuperviseEndOfTurn: endOfTurn}
	var err error
	if opt.Tokenizer, err = loadModelTokenizer(model); err != nil {
		return opt, err
	}
	specials, err := data.LoadSpecials(model)
	if err != nil {
		return opt, err
	}
	opt.BOS, opt.EOS = specials.BOS, specials.EOS
	switch {
	case template != "":
		opt.Template, err = data.LoadTemplate(template)
	case specials.ChatTemplate != "":
		opt.Template, err = data.NewTemplate(specials.ChatTemplate)
	default:
		err = fail.New(fail.Other, "name a Jinja template with --template",
			"data render: %s: want a chat template in chat_template.jinja or tokenizer_config.json, got none", model)
	}
	return opt, err
}

// renderOne returns what is printed for one conversation.
func renderOne(opt data.Options, raw []byte) any {
	type errorLine struct {
		Error string `json:"error"`
	}
	conv, err := data.ParseConversation(raw)
	if err != nil {
		return errorLine{err.Error()}
	}
	e, err := opt.Encode(conv)
	if err != nil {
		return errorLine{err.Error()}
	}
	out := renderLine{Text: e.Text, Spans: e.Spans, IDs: e.IDs, Mask: make([]int, len(e.Mask))}
	for i, m := range e.Mask {
		out.Mask[i] = int(m)
	}
	if e.MaskErr != nil {
		out.MaskError = e.MaskErr.Error()
	}
	return out
}

func loadModelTokenizer(model string) (*data.Tokenizer, error) {
	if model == "" {
		return nil, fail.New(fail.Usage, "give the checkpoint's folder with --model DIR", "data: --model: want a folder, got none")
	}
	return data.LoadTokenizer(filepath.Join(model, "tokenizer.json"))
}

// eachLine calls fn with every line of r that is not blank; an error names the line.
func eachLine(r io.Reader, fn func(line []byte) error) error {
	lines := data.NewLines(r)
	for {
		line, err := lines.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && len(line) > 0 {
			err = fn(line)
		}
		if err != nil {
			return fail.New(fail.Other, fail.HintOf(err), "data: stdin:%d: %w", lines.Number(), err)
		}
	}
}

// lineBreaks escapes what some readers take for the end of a line and JSON
// leaves alone.
var lineBreaks = strings.NewReplacer("\u0085", `\u0085`, "\u2028", `\u2028`, "\u2029", `\u2029`)

// printJSON writes v as one line.
func printJSON(w io.Writer, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	raw = []byte(lineBreaks.Replace(string(raw)))
	_, err = w.Write(append(raw, '\n'))
	return err
}
