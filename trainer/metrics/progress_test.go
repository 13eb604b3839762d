package metrics

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func progressRow(step int) Row {
	r := stepRow(step, 3.25)
	r.SetFloat(FinalLoss, 3)
	r.SetFloat(BaseLoss, 4)
	r.SetFloat(Accuracy, 0.31)
	r.SetFloat(LambdaBase, 0.25)
	r.SetFloat(LearningRate, 2e-3)
	return r
}

// plainOutput runs a progress into a file, which is no terminal.
func plainOutput(t *testing.T, use func(*Progress), total, first, loggingSteps int) []string {
	t.Helper()
	out, err := os.CreateTemp(t.TempDir(), "out")
	require.NoError(t, err)
	defer out.Close()
	p := NewProgress(out, total, first, loggingSteps, true)
	clock := time.Unix(1000, 0)
	p.now = func() time.Time { clock = clock.Add(2 * time.Second); return clock }
	p.since = clock
	use(p)
	p.Close()
	p.Close()
	text, err := os.ReadFile(out.Name())
	require.NoError(t, err)
	require.NotContains(t, string(text), "\x1b")
	require.NotContains(t, string(text), "\r")
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

func TestPlainLinesStandAtTheRightSteps(t *testing.T) {
	cases := []struct {
		name                       string
		total, first, loggingSteps int
		want                       []string
	}{
		{"every ten", 25, 0, 10, []string{"step  1/25", "step 10/25", "step 20/25", "step 25/25"}},
		{"resumed", 25, 13, 10, []string{"step 14/25", "step 20/25", "step 25/25"}},
		{"each", 3, 0, 1, []string{"step 1/3", "step 2/3", "step 3/3"}},
		{"rarely", 30, 0, 500, []string{"step  1/30", "step 30/30"}},
		{"first and last alone", 30, 0, 0, []string{"step  1/30", "step 30/30"}},
		{"one step", 1, 0, 10, []string{"step 1/1"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := plainOutput(t, func(p *Progress) {
				for step := c.first; step < c.total; step++ {
					p.Step(progressRow(step), 12)
				}
			}, c.total, c.first, c.loggingSteps)
			require.Len(t, got, len(c.want))
			for i, prefix := range c.want {
				require.True(t, strings.HasPrefix(got[i], prefix+"  loss"), got[i])
			}
		})
	}
}

func TestPlainLineAndNote(t *testing.T) {
	got := plainOutput(t, func(p *Progress) {
		p.Note("checkpoint-5 read")
		p.Step(progressRow(0), 12.34)
		p.Step(progressRow(1), 12.34)
	}, 100, 0, 2)
	require.Equal(t, []string{
		"checkpoint-5 read",
		"step   1/100  loss 3.2500  final 3.0000  base 4.0000  acc 0.3100  λ 0.250  lr 2.00e-03  12.3 samples/s  3m18s left",
		"step   2/100  loss 3.2500  final 3.0000  base 4.0000  acc 0.3100  λ 0.250  lr 2.00e-03  12.3 samples/s  3m16s left",
	}, got)
}

// The time left follows the steps: not the first one, which compiles every kernel, nor a pause
// for a checkpoint or an evaluation, of which those to come are counted.
func TestTimeLeft(t *testing.T) {
	out, err := os.CreateTemp(t.TempDir(), "out")
	require.NoError(t, err)
	defer out.Close()
	p := newProgress(out, 1000, 0, 0, false)
	p.Pauses(30, 40)
	clock := time.Unix(0, 0)
	p.now = func() time.Time { return clock }
	p.since = clock
	for step := range 1000 {
		row := stepRow(step, 3)
		clock = clock.Add(time.Second)
		if step == 0 {
			clock = clock.Add(time.Hour)
		}
		done := step + 1
		if done%40 == 0 {
			clock = clock.Add(5 * time.Second)
			row.SetFloat(EvalSeconds, 5)
		}
		p.Step(row, 1)
		want := time.Duration(1000-done) * time.Second
		if done > 30 && done < 1000 { // the 33 every 30 steps and one at the end
			want += time.Duration(1000/30-done/30+1) * time.Minute
		}
		if done >= 40 {
			want += time.Duration(1000/40-done/40) * 5 * time.Second
		}
		if done > 1 {
			require.Equal(t, want, p.timeLeft(), "after step %d", done)
		}
		if done%30 == 0 {
			clock = clock.Add(time.Minute)
			p.Saved(time.Minute)
		}
	}
}

func TestFormatLeft(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0s": 0, "1s": 700 * time.Millisecond, "59s": 59 * time.Second, "1m05s": 65 * time.Second,
		"1h01m": time.Hour + 61*time.Second, "2d3h": 51 * time.Hour,
	} {
		require.Equal(t, want, formatLeft(d))
	}
}

func TestFitDropsTheLeastImportantFirst(t *testing.T) {
	parts := barText(progressRow(0), 0, 12, time.Minute)
	require.Equal(t, "loss 3.250 acc 0.310 1m00s left λ 0.25 12.0 samples/s", fit(parts, 53))
	require.Equal(t, "loss 3.250 acc 0.310 1m00s left λ 0.25", fit(parts, 52))
	require.Equal(t, "loss 3.250 acc 0.310", fit(parts, 30))
	require.Equal(t, "", fit(parts, 3))
	require.Equal(t, "loss 3.250 1m00s left 12.0 samples/s", fit(barText(stepRow(0, 3.25), 0, 12, time.Minute), 80))
	require.Equal(t, "loss 3.250 τ 1.87 1m00s left 12.0 samples/s", fit(barText(stepRow(0, 3.25), 1.8671, 12, time.Minute), 80))
}

var escape = regexp.MustCompile("\x1b\\[[0-9;]*[A-Za-z]")

// frames are the states that a terminal's line went through.
func frames(text string) []string {
	var out []string
	for _, part := range regexp.MustCompile("[\r\n]+").Split(escape.ReplaceAllString(text, ""), -1) {
		if strings.TrimSpace(part) != "" {
			out = append(out, part)
		}
	}
	return out
}

// A frame's count and text are of one step.
func TestBarTextIsOfItsStep(t *testing.T) {
	out, err := os.CreateTemp(t.TempDir(), "out")
	require.NoError(t, err)
	defer out.Close()
	p := newProgress(out, 9, 0, 10, true)
	for step := range 9 {
		time.Sleep(redrawInterval / 2)
		p.Step(stepRow(step, float64(step+1)), 1)
	}
	p.Close()
	text, err := os.ReadFile(out.Name())
	require.NoError(t, err)
	drawn := 0
	for _, frame := range frames(string(text))[1:] {
		found := regexp.MustCompile(`\((\d)/9\) loss (\d)\.000`).FindStringSubmatch(frame)
		require.NotNil(t, found, frame)
		require.Equal(t, found[1], found[2], frame)
		drawn++
	}
	require.Greater(t, drawn, 2)
}

// TestBar draws the bar into a file, whose width counts as 80 columns.
func TestBar(t *testing.T) {
	for _, color := range []string{"", "1"} {
		t.Setenv("NO_COLOR", color)
		out, err := os.CreateTemp(t.TempDir(), "out")
		require.NoError(t, err)
		defer out.Close()
		p := newProgress(out, 600, 598, 10, true)
		p.Step(progressRow(598), 154.3)
		p.Note("checkpoint-599 written")
		p.Step(progressRow(599), 154.3)
		p.Note("done")
		p.Close()
		text, err := os.ReadFile(out.Name())
		require.NoError(t, err)
		require.Equal(t, color == "", strings.Contains(string(text), "\x1b[36m"))
		all := frames(string(text))
		require.Contains(t, all[0], "99% ")
		require.Contains(t, all[0], "(598/600)")
		require.Contains(t, all, "checkpoint-599 written")
		require.Contains(t, all[len(all)-2], "100% "+strings.Repeat("█", barWidth)+" (600/600) loss 3.250 acc 0.310 0s left λ 0.25 154.3 samples/s")
		require.Equal(t, "done", all[len(all)-1])
	}
}
