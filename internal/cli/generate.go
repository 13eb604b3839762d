package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"vkdomino/domino"
	"vkdomino/internal/fail"
	"vkdomino/internal/plural"
	"vkdomino/ops"
	"vkdomino/tensors"
	"vkdomino/trainer/pair"
)

// generateFlags is the command line of generate.
type generateFlags struct {
	targetDir, draftDir string
	prompt              string
	chat, compare       bool
	maxNew, draftTokens int
	candidates, device  int
	filter              ops.Filter
	seed                uint64
	sampling, precision string
	input               io.Reader
	text                *os.File // answers
	summary             io.Writer
}

func newGenerateCommand() *cobra.Command {
	var f generateFlags
	cmd := &cobra.Command{
		Use:   "generate --target DIR [--draft DIR] [--prompt TEXT | --chat]",
		Short: "Decode speculatively with a draft: text as it is verified, speed and acceptance length",
		Long: "Decode with a target and a draft, which is an export or a checkpoint of a run. Text goes to stdout as soon as\n" +
			"the target has verified it; on a terminal what the draft got right is green (not with NO_COLOR). Tokens per\n" +
			"second and the acceptance length τ go to stderr. With --chat each line of stdin is a user's message, rendered\n" +
			"with the target's chat template.",
		Example: "  vkdomino generate --target Qwen3-0.6B --draft runs/my/export --prompt 'Once upon a time' --compare\n" +
			"  vkdomino generate --target Qwen3-0.6B --draft runs/my/export --chat --temperature 0.7 --top-p 0.9",
		Args: argCount(0, 0, "no arguments, a prompt comes with --prompt"),
		RunE: stoppable(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			f.input, f.text, f.summary = cmd.InOrStdin(), os.Stdout, cmd.ErrOrStderr()
			return runGenerate(ctx, f)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.targetDir, "target", "", "folder of the target")
	flags.StringVar(&f.draftDir, "draft", "", "an export or a checkpoint; default: the target alone")
	flags.StringVar(&f.prompt, "prompt", "", "text to go on with")
	flags.BoolVar(&f.chat, "chat", false, "chat: every line of stdin is a message")
	flags.IntVar(&f.maxNew, "max-new-tokens", 128, "tokens of an answer at most")
	flags.Float64Var(&f.filter.Temperature, "temperature", 0, "sampling temperature; 0: greedy")
	flags.Float64Var(&f.filter.TopP, "top-p", 1, "sample from the most probable tokens that sum to this")
	flags.IntVar(&f.filter.TopK, "top-k", 0, "sample from so many most probable tokens; 0: all")
	flags.Uint64Var(&f.seed, "seed", 0, "seed of sampling")
	flags.StringVar(&f.sampling, "sampling", string(domino.Equality), "how sampled tokens are verified: equality or rejection")
	flags.IntVar(&f.draftTokens, "draft-tokens", 0, "drafted tokens of a cycle; 0: as the draft says, else block size - 1")
	flags.IntVar(&f.candidates, "candidates", 0, "tokens of a row that the head corrects; 0: the whole vocabulary")
	flags.StringVar(&f.precision, "precision", "f32", "storage of weights and activations: f32 or bf16")
	flags.IntVar(&f.device, "device", -1, "number of the device; -1: the best one")
	flags.BoolVar(&f.compare, "compare", false, "decode without the draft as well, and compare")
	return cmd
}

// check refuses values of the command line that need no file to be wrong.
func (f *generateFlags) check() (tensors.DType, error) {
	dtype, err := parsePrecision(f.precision)
	const help = "see `vkdomino generate --help`"
	switch {
	case err != nil:
		return dtype, err
	case f.targetDir == "":
		return dtype, fail.New(fail.Usage, help, "--target: want a folder, got none")
	case (f.prompt == "") == !f.chat:
		return dtype, fail.New(fail.Usage, help, "want either --prompt TEXT or --chat")
	case f.compare && f.draftDir == "":
		return dtype, fail.New(fail.Usage, help, "--compare: want a draft to compare with, got none")
	case f.draftDir == "" && (f.draftTokens != 0 || f.candidates != 0):
		return dtype, fail.New(fail.Usage, help, "--draft-tokens, --candidates: want a --draft that they speak of, got none")
	case f.maxNew < 1:
		return dtype, fail.New(fail.Usage, help, "--max-new-tokens: want at least 1, got %d", f.maxNew)
	case f.sampling != string(domino.Equality) && f.sampling != string(domino.Rejection):
		return dtype, fail.New(fail.Usage, help, "--sampling: want %s or %s, got %q", domino.Equality, domino.Rejection, f.sampling)
	}
	return dtype, checkSampling(f.filter)
}

// runGenerate opens everything and answers the prompt, or the messages of a chat.
func runGenerate(ctx context.Context, f generateFlags) (err error) {
	dtype, err := f.check()
	if err != nil {
		return err
	}
	s := &speaker{generateFlags: f}
	if s.target, s.draft, err = pair.Open(ctx, f.targetDir, f.draftDir, ""); err != nil {
		return targetHint(err, "--target", f.targetDir)
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.target.NeedTokenizer(); err != nil {
		return err
	}
	if err := s.readPrompt(); err != nil {
		return err
	}
	device, err := openDevice(f.device)
	if err != nil {
		return err
	}
	defer closeDevice(device, &err)
	c, err := newContext(device)
	if err != nil {
		return err
	}
	defer c.Release()
	cfg := domino.DecoderConfig{Slots: 1, Context: s.context, Candidates: f.candidates, DraftTokens: f.draftTokens}
	if s.decoder, err = pair.NewDecoder(ctx, c, s.target, s.draft, cfg, dtype); err != nil {
		return err
	}
	if err := s.warmUp(ctx); err != nil {
		return err
	}
	if f.chat {
		return s.chat(ctx)
	}
	_, err = s.answer(ctx, s.prompt)
	return err
}

// speaker answers prompts and shows the answers.
type speaker struct {
	generateFlags
	target  *pair.Target
	draft   *pair.Draft // nil: the target alone
	decoder *domino.Decoder
	context int     // tokens of a prompt and its answer at most
	prompt  []int32 // of --prompt
}

func (s *speaker) close() error {
	if s.draft == nil {
		return s.target.Close()
	}
	return errors.Join(s.draft.Close(), s.target.Close())
}

// maxChat bounds the context of a chat, whose caches are allocated at its start.
const maxChat = 4096

// readPrompt encodes --prompt and settles the length of the context.
func (s *speaker) readPrompt() error {
	if s.generateFlags.chat {
		s.context = min(maxChat, s.target.Config.MaxPositions)
		return nil
	}
	var err error
	if s.prompt, _, err = s.target.Tokenizer.Encode(s.generateFlags.prompt); err != nil {
		return withHint(err, "give --prompt as UTF-8")
	}
	s.context = len(s.prompt) + s.maxNew
	if s.maxNew > s.target.Config.MaxPositions-len(s.prompt) {
		return fail.New(fail.Usage, "shorten the prompt or lower --max-new-tokens", "generate: prompt: want at most the target's %d tokens with the answer, got %d and an answer of %d",
			s.target.Config.MaxPositions, len(s.prompt), s.maxNew)
	}
	return nil
}

// answer decodes a prompt, shows its answer and what it cost, and returns the text.
func (s *speaker) answer(ctx context.Context, prompt []int32) (string, error) {
	p := newPrinter(s.text, s.target, s.colours())
	out, err := s.decode(ctx, prompt, false, p.tokens)
	text, written := p.finish()
	err = cutShort(ctx, err, "the answer is cut off")
	if err != nil || written != nil {
		return text, errors.Join(err, written)
	}
	g := out.Generations[0]
	if s.draft == nil {
		fmt.Fprintf(s.summary, "%s, %.1f tokens/s, without a draft\n", plural.Of(len(g.Tokens), "token"), rate(out))
		return text, nil
	}
	fmt.Fprintf(s.summary, "%s, %.1f tokens/s, τ %.2f with %s, %s\n", plural.Of(len(g.Tokens), "token"), rate(out), domino.MeanLength(g.AcceptanceLengths),
		plural.Of(s.decoder.DraftTokens(), "drafted token"), plural.Of(g.TargetCalls, "target call"))
	if s.compare {
		err = s.withoutDraft(ctx, prompt, out)
	}
	return text, err
}

// withoutDraft decodes a prompt with the target alone and compares the speed; greedily, and
// sampled with equality, the tokens must be those of out.
func (s *speaker) withoutDraft(ctx context.Context, prompt []int32, out *domino.Decoding) error {
	alone, err := s.decode(ctx, prompt, true, nil)
	if err != nil {
		return err
	}
	a := alone.Generations[0]
	fmt.Fprintf(s.summary, "%s, %.1f tokens/s, without the draft, %s: with it %.2f times as fast\n",
		plural.Of(len(a.Tokens), "token"), rate(alone), plural.Of(a.TargetCalls, "target call"), rate(out)/rate(alone))
	independent := domino.Method(s.sampling) == domino.Rejection && !s.filter.Greedy()
	if !independent && !slices.Equal(a.Tokens, out.Generations[0].Tokens) {
		return fail.New(fail.Gate, "report the device, its driver and this command", "generate: the draft changed the target's tokens")
	}
	return nil
}

func (s *speaker) decode(ctx context.Context, prompt []int32, alone bool, show domino.OnTokens) (*domino.Decoding, error) {
	opt := domino.DecodeOptions{MaxNewTokens: s.maxNew, StopTokens: s.target.Stops, Sampling: s.filter, Method: domino.Method(s.sampling),
		Seed: s.seed, NoDraft: alone}
	return s.decoder.Generate(ctx, [][]int32{prompt}, opt, show)
}

// warmUp decodes a token, so that compiling kernels is in no answer's time.
func (s *speaker) warmUp(ctx context.Context) error {
	token := []int32{0}
	kept := s.maxNew
	s.maxNew = 1
	defer func() { s.maxNew = kept }()
	_, err := s.decode(ctx, token, false, nil)
	if err == nil && s.compare {
		_, err = s.decode(ctx, token, true, nil)
	}
	return err
}

// rate is tokens per second of the cycles; the prompt and the first token, which comes with
// it, are in neither. Source: spec.md §14.4.
func rate(d *domino.Decoding) float64 {
	return float64(len(d.Generations[0].Tokens)-1) / max(d.Stats.Decode, time.Microsecond).Seconds()
}

// colours says whether text is coloured: on a terminal, unless NO_COLOR is set.
func (s *speaker) colours() bool {
	return term.IsTerminal(int(s.text.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
