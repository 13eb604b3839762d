package metrics

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

const (
	barWidth       = 24                     // columns; narrower where the terminal is
	redrawInterval = 100 * time.Millisecond // ten frames a second are smooth and cost nothing
	rateWindow     = 50                     // steps that the time left is estimated from
	minBarWidth    = 6                      // below this the text gives way, not the bar
	defaultColumns = 80
)

// Progress shows how a run goes: on a terminal one bar with loss, accuracy, λ,
// samples per second and time left; elsewhere a plain line every loggingSteps
// steps and for the first and the last one. Its methods may be called from any goroutine.
type Progress struct {
	mu           sync.Mutex
	out          *os.File
	bar          *progressbar.ProgressBar // nil: plain lines
	total, first int
	loggingSteps int
	done         int             // steps of the whole run that are behind us
	took         []time.Duration // of the last steps, without pauses
	since        time.Time       // the last step, or the pause after it, ended
	saves, evals pause
	tau          float64 // of the last evaluation, 0 before the first
	now          func() time.Time
}

// pause is what stops the steps every so many of them.
type pause struct {
	every int           // 0 for never
	last  bool          // after the last step too
	took  time.Duration // the last time, 0 before the first
}

// toCome is how long the pauses after step done, of total, will take.
func (p pause) toCome(done, total int) time.Duration {
	if p.every < 1 || done >= total {
		return 0
	}
	n := total/p.every - done/p.every
	if p.last && total%p.every != 0 {
		n++
	}
	return time.Duration(n) * p.took
}

// NewProgress returns the progress of a run of total steps that begins, or goes
// on, at step first (0-based). It draws a bar if enabled is true, out is a
// terminal and TERM is not "dumb"; NO_COLOR (set to anything) takes the colour away.
// loggingSteps < 1 means that only the first and the last step get a plain line.
func NewProgress(out *os.File, total, first, loggingSteps int, enabled bool) *Progress {
	bar := enabled && term.IsTerminal(int(out.Fd())) && os.Getenv("TERM") != "dumb"
	return newProgress(out, total, first, loggingSteps, bar)
}

// newProgress is NewProgress with the choice between bar and lines made.
func newProgress(out *os.File, total, first, loggingSteps int, bar bool) *Progress {
	p := &Progress{out: out, total: total, first: first, loggingSteps: loggingSteps, done: first, now: time.Now}
	p.since = p.now()
	if bar && total > first {
		p.bar = newBar(out, total, os.Getenv("NO_COLOR") == "")
		p.drop(p.bar.Set(first))
	}
	return p
}

func newBar(out *os.File, total int, color bool) *progressbar.ProgressBar {
	theme := progressbar.Theme{Saucer: "█", SaucerPadding: "·", BarStart: "", BarEnd: ""}
	if color {
		theme.BarStart, theme.BarEnd = "[cyan]", "[reset]"
	}
	return progressbar.NewOptions(total,
		progressbar.OptionSetWriter(out),
		progressbar.OptionSetTheme(theme),
		progressbar.OptionEnableColorCodes(color),
		progressbar.OptionUseANSICodes(true),
		progressbar.OptionSetWidth(barWidth),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(false), // its estimate takes resumed steps for done in no time
		progressbar.OptionShowDescriptionAtLineEnd(),
		progressbar.OptionThrottle(redrawInterval),
	)
}

// Step shows a finished step. samplesPerSecond counts conversations.
func (p *Progress) Step(r Row, samplesPerSecond float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	step, _ := r.Step()
	p.done = step + 1
	evaluation, _ := r.Value(EvalSeconds)
	p.tick(time.Duration(evaluation * float64(time.Second)))
	tau, evaluated := r.Value(EvalTau)
	if evaluated {
		p.tau = tau
	}
	left := p.timeLeft()
	if p.bar == nil {
		if evaluated || p.due(step) {
			p.print(plainLine(r, p.total, samplesPerSecond, left))
		}
		return
	}
	p.describe(fit(barText(r, p.tau, samplesPerSecond, left), p.textColumns()))
	p.drop(p.bar.Set(p.done))
	if p.done >= p.total {
		p.endBar()
	}
}

// describe sets the bar's text without drawing it: text and count of a step are drawn together.
func (p *Progress) describe(text string) {
	progressbar.OptionSetVisibility(false)(p.bar)
	p.bar.Describe(text)
	progressbar.OptionSetVisibility(true)(p.bar)
}

// Pauses says after how many steps checkpoints and evaluations come, 0 for never, so that the time left can count them.
func (p *Progress) Pauses(saves, evaluations int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.saves, p.evals = pause{every: saves, last: true}, pause{every: evaluations}
}

// Saved says that a checkpoint was written since the last step, and how long that took.
func (p *Progress) Saved(took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.saves.took, p.since = took, p.now()
}

// Note prints a line of its own, above the bar where there is one.
func (p *Progress) Note(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar == nil {
		p.print(line)
		return
	}
	p.drop(p.bar.Clear())
	p.print(line)
	_, err := fmt.Fprint(p.out, p.bar.String()) // its last state: RenderBlank may be throttled
	p.drop(err)
}

// Close leaves the bar where it stands and ends its line. It may be called twice, and where there is none.
func (p *Progress) Close() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		p.endBar()
	}
}

// endBar ends the bar's line; what comes later are plain lines.
func (p *Progress) endBar() {
	p.drop(p.bar.Exit())
	p.bar = nil
	p.print("")
}

// due says whether a step gets a plain line.
func (p *Progress) due(step int) bool {
	return step == p.first || step+1 >= p.total || p.loggingSteps > 0 && (step+1)%p.loggingSteps == 0
}

// tick remembers how long the last rateWindow steps took, without the evaluation at their end.
func (p *Progress) tick(evaluation time.Duration) {
	now := p.now()
	p.took = append(p.took, max(0, now.Sub(p.since)-evaluation))
	p.took = p.took[max(0, len(p.took)-rateWindow):]
	p.since = now
	if evaluation > 0 {
		p.evals.took = evaluation
	}
}

// timeLeft is the median time of the last steps, times the steps to come, and what checkpoints
// and evaluations will take as far as one was seen.
func (p *Progress) timeLeft() time.Duration {
	sorted := slices.Sorted(slices.Values(p.took))
	median := sorted[(len(sorted)-1)/2] // of two the shorter: the first step compiles
	return median*time.Duration(max(p.total-p.done, 0)) + p.saves.toCome(p.done, p.total) + p.evals.toCome(p.done, p.total)
}

// textColumns is what the terminal has left for the text behind " 35% ██████ (210/600) ".
func (p *Progress) textColumns() int {
	columns := defaultColumns
	if width, _, err := term.GetSize(int(p.out.Fd())); err == nil && width > 0 {
		columns = width
	}
	return columns - minBarWidth - len(fmt.Sprintf(" 100%%  (%d/%d)  ", p.total, p.total))
}

func (p *Progress) print(line string) {
	_, err := fmt.Fprintln(p.out, line)
	p.drop(err)
}

// drop ignores an error of the console: a closed terminal or pipe must not end
// the training, whose record is metrics.jsonl.
func (p *Progress) drop(error) {}

// barText lists what the bar shows, the most important first. tau is that of the last
// evaluation, 0 for none.
func barText(r Row, tau, samplesPerSecond float64, left time.Duration) []string {
	var parts []string
	add := func(label, format, name string) {
		if v, ok := r.Value(name); ok {
			parts = append(parts, fmt.Sprintf(label+" "+format, v))
		}
	}
	add("loss", "%.3f", Loss)
	add("acc", "%.3f", Accuracy)
	if tau > 0 {
		parts = append(parts, fmt.Sprintf("τ %.2f", tau))
	}
	parts = append(parts, formatLeft(left)+" left")
	add("λ", "%.2f", LambdaBase)
	return append(parts, fmt.Sprintf("%.1f samples/s", samplesPerSecond))
}

// fit joins the leading parts that stay within columns.
func fit(parts []string, columns int) string {
	text := ""
	for _, part := range parts {
		next := strings.TrimLeft(text+" "+part, " ")
		if len([]rune(next)) > columns {
			break
		}
		text = next
	}
	return text
}

// plainLine is the console line of a step, 1-based: the last reads total/total.
func plainLine(r Row, total int, samplesPerSecond float64, left time.Duration) string {
	step, _ := r.Step()
	width := len(fmt.Sprint(total))
	parts := []string{fmt.Sprintf("step %*d/%d", width, step+1, total)}
	for _, c := range []struct{ label, format, name string }{
		{"loss", "%.4f", Loss},
		{"final", "%.4f", FinalLoss},
		{"base", "%.4f", BaseLoss},
		{"acc", "%.4f", Accuracy},
		{"base acc", "%.4f", BaseAccuracy},
		{"accept", "%.3f", AcceptLen},
		{"λ", "%.3f", LambdaBase},
		{"lr", "%.2e", LearningRate},
		{"grad", "%.3f", GradNorm},
		{"est. AR", "%.3f", EstimatedAR},
		{"τ", "%.3f", EvalTau},
		{"eval", "%.1f s", EvalSeconds},
	} {
		if v, ok := r.Value(c.name); ok {
			parts = append(parts, fmt.Sprintf(c.label+" "+c.format, v))
		}
	}
	parts = append(parts, fmt.Sprintf("%.1f samples/s", samplesPerSecond), formatLeft(left)+" left")
	return strings.Join(parts, "  ")
}

// formatLeft rounds a time to what a reader can use: seconds below a day, then hours.
func formatLeft(left time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case left >= day:
		return fmt.Sprintf("%dd%dh", left/day, left%day/time.Hour)
	case left >= time.Hour:
		return fmt.Sprintf("%dh%02dm", left/time.Hour, left%time.Hour/time.Minute)
	case left >= time.Minute:
		return fmt.Sprintf("%dm%02ds", left/time.Minute, left%time.Minute/time.Second)
	}
	return fmt.Sprintf("%ds", (left+time.Second/2)/time.Second)
}
