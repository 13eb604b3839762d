package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/term"

	"vkdomino/internal/fail"
	"vkdomino/trainer/data"
	"vkdomino/trainer/pair"
)

const (
	drafted = "\x1b[32m" // green: what the draft got right
	plain   = "\x1b[0m"
)

// printer writes verified tokens as text that never ends inside a code point.
type printer struct {
	w      io.Writer
	stream *data.DecodeStream
	stops  []int32
	colour bool
	said   bytes.Buffer // the text without colours
	err    error        // the first one of writing
}

func newPrinter(w io.Writer, target *pair.Target, colour bool) *printer {
	return &printer{w: w, stream: target.Tokenizer.NewDecodeStream(false), stops: target.Stops, colour: colour}
}

// tokens writes a cycle's tokens, of which the first accepted ones were drafted. A stop token is not text.
func (p *printer) tokens(_ int, ids []int32, accepted int) {
	stopped := len(ids) > 0 && slices.Contains(p.stops, ids[len(ids)-1])
	if stopped {
		ids = ids[:len(ids)-1]
	}
	accepted = min(accepted, len(ids))
	p.write(p.stream.Push(ids[:accepted]...), true)
	p.write(p.stream.Push(ids[accepted:]...), false)
	if stopped {
		p.write(p.stream.Flush(), false)
	}
}

// finish writes what is left of an answer and the end of its line, and returns its text.
func (p *printer) finish() (string, error) {
	p.write(p.stream.Flush(), false)
	text := p.said.String()
	p.write("\n", false)
	return text, p.err
}

func (p *printer) write(text string, right bool) {
	if text == "" {
		return
	}
	p.said.WriteString(text)
	if p.colour && right {
		text = drafted + text + plain
	}
	if _, err := io.WriteString(p.w, text); err != nil && p.err == nil {
		p.err = fail.New(fail.Disk, stdoutHint, "generate: stdout: %w", err)
	}
}

// message is one turn of a chat.
type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// nextLine is the next line of a chat, for which the end of ctx does not wait.
func nextLine(ctx context.Context, lines *data.Lines) ([]byte, error) {
	type next struct {
		line []byte
		err  error
	}
	read := make(chan next, 1)
	go func() {
		line, err := lines.Next()
		read <- next{line, err}
	}()
	select {
	case n := <-read:
		return n.line, n.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// chat answers every line of stdin, with all turns before it as context. A terminal is asked for each.
func (s *speaker) chat(ctx context.Context) error {
	opt, err := s.target.ChatOptions()
	if err != nil {
		return err
	}
	var turns []message
	asks := isTerminal(s.input)
	lines := data.NewLines(s.input)
	for {
		if asks {
			fmt.Fprint(s.summary, "> ")
		}
		line, err := nextLine(ctx, lines)
		if errors.Is(err, io.EOF) {
			if asks {
				fmt.Fprintln(s.summary)
			}
			return nil
		}
		if err != nil {
			return err
		}
		if len(line) == 0 {
			continue
		}
		turns = append(turns, message{"user", string(line)})
		ids, err := chatIDs(opt, turns)
		if err != nil {
			return err
		}
		if s.maxNew > s.context-len(ids) {
			return fail.New(fail.Usage, "begin a new chat or lower --max-new-tokens", "generate: chat: want at most %d tokens with the answer, got %d and an answer of %d",
				s.context, len(ids), s.maxNew)
		}
		text, err := s.answer(ctx, ids)
		if err != nil {
			return err
		}
		turns = append(turns, message{"assistant", text})
	}
}

// isTerminal says whether someone types the input.
func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// chatIDs renders and encodes all turns with the header of the next answer.
func chatIDs(opt data.Options, turns []message) ([]int32, error) {
	raw, err := json.Marshal(map[string]any{"messages": turns})
	if err != nil {
		return nil, err
	}
	conv, err := data.ParseConversation(raw)
	if err != nil {
		return nil, fmt.Errorf("generate: chat: %w", err)
	}
	text, err := opt.Template.Render(conv, data.RenderOptions{BOS: opt.BOS, EOS: opt.EOS, AddGenerationPrompt: true})
	if err != nil {
		return nil, fmt.Errorf("generate: chat: %w", err)
	}
	ids, _, err := opt.Tokenizer.Encode(text.Text)
	return ids, err
}
