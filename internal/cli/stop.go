package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"vkdomino/internal/fail"
)

// stoppable is the action of a command that ends in good order on SIGINT, SIGTERM or SIGHUP: the first ends ctx, a
// second one kills, as any does in other commands. A terminal that closes sends SIGHUP more than once, so it never is
// the second; and it stays ignored where it was when the program was started, as by nohup.
func stoppable(do func(ctx context.Context, cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
		if !signal.Ignored(syscall.SIGHUP) {
			signals = append(signals, syscall.SIGHUP)
		}
		ctx, stop := signal.NotifyContext(context.Background(), signals...)
		defer stop()
		unused := context.AfterFunc(ctx, func() {
			signal.Ignore(syscall.SIGHUP)
			stop()
		})
		defer unused()
		return cutShort(ctx, do(ctx, cmd, args), "")
	}
}

// outliveReader lets a command go on when what reads its output has gone: writes then return an error, as they do
// where a terminal was closed, instead of ending the program.
func outliveReader() { signal.Ignore(syscall.SIGPIPE) }

// cutShort gives the error of a signal its exit code, where it has none of its own, and says what the signal cost,
// "" where there is nothing to say.
func cutShort(ctx context.Context, err error, cost string) error {
	if ctx.Err() == nil || !errors.Is(err, ctx.Err()) || fail.CodeOf(err) != fail.Other {
		return err
	}
	text := "interrupted"
	if cost != "" {
		text += ": " + cost
	}
	return fail.New(fail.Interrupted, "start the same command again", "%s", text)
}
