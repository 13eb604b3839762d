package metrics

import (
	"image"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/plot/plotter"

	"vkdomino/internal/fail"
)

// demoRows makes rows shaped like a real run's: noisy, falling losses, rising accuracy.
func demoRows(steps int, domino bool) []Row {
	rng := rand.New(rand.NewPCG(1, 2))
	rows := make([]Row, steps)
	for i := range rows {
		t := float64(i) / float64(max(steps, 2))
		final := 2.9 + 4.1*math.Exp(-6*t) + 0.15*rng.NormFloat64()
		base := 4.3 + 2.7*math.Exp(-7*t) + 0.15*rng.NormFloat64()
		lambda := 1 - t
		r := &rows[i]
		r.SetInt(Step, int64(i))
		if domino {
			r.SetFloat(Loss, (1-lambda)*final+lambda*base)
			r.SetFloat(FinalLoss, final)
			r.SetFloat(BaseLoss, base)
			r.SetFloat(BaseAccuracy, max(0, 0.13*(1-math.Exp(-5*t))+0.01*rng.NormFloat64()))
		} else {
			r.SetFloat(Loss, final)
		}
		r.SetFloat(Accuracy, max(0, 0.32*(1-math.Exp(-4*t))+0.02*rng.NormFloat64()))
	}
	return rows
}

// colored counts the pixels of half a picture (0 left, 1 right) that have exactly a colour.
func colored(img image.Image, half int, c curve) int {
	b := img.Bounds()
	width := b.Dx() / 2
	n := 0
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := half * width; x < (half+1)*width; x++ {
			r, g, bl, _ := img.At(x, y).RGBA()
			if uint8(r>>8) == c.color.R && uint8(g>>8) == c.color.G && uint8(bl>>8) == c.color.B {
				n++
			}
		}
	}
	return n
}

func TestPlotCurvesDrawsWhatTheRowsHave(t *testing.T) {
	dir := os.Getenv("VKDOMINO_KEEP_PLOTS") // a folder, to look at the pictures
	if dir == "" {
		dir = t.TempDir()
	}
	oneNaN := demoRows(40, true)
	oneNaN[7].SetFloat(Loss, math.NaN())
	oneNaN[8].SetFloat(FinalLoss, math.Inf(1))
	cases := []struct {
		name   string
		rows   []Row
		domino bool
	}{
		{"domino", demoRows(600, true), true},
		{"dflash", demoRows(600, false), false},
		{"not finite", oneNaN, true},
		{"long", demoRows(5000, true), true},
		{"two steps", demoRows(2, true), true},
		{"one step", demoRows(1, false), false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(dir, c.name+".png")
			require.NoError(t, PlotCurves(path, c.rows))
			f, err := os.Open(path)
			require.NoError(t, err)
			defer f.Close()
			img, err := png.Decode(f)
			require.NoError(t, err)
			require.Equal(t, image.Pt(1500, 600), img.Bounds().Size())
			require.Positive(t, colored(img, 1, curve{color: blue}), "accuracy")
			for half := range 2 {
				require.Equal(t, c.domino, colored(img, half, curve{color: orange}) > 0, "a base curve in panel %d", half)
			}
			require.Positive(t, colored(img, 0, curve{color: blue}), "final_loss, or the only one")
		})
	}
}

func TestPlotCurvesRefusesRowsWithoutALoss(t *testing.T) {
	path := filepath.Join(t.TempDir(), "curves.png")
	var row Row
	row.SetInt(Step, 0)
	row.SetFloat(Loss, math.NaN())
	for _, rows := range [][]Row{nil, {row}} {
		err := PlotCurves(path, rows)
		require.ErrorContains(t, err, "want rows with a finite loss")
		require.NotEmpty(t, fail.HintOf(err))
		require.NoFileExists(t, path)
	}
	err := PlotCurves(filepath.Join(t.TempDir(), "no", "curves.png"), demoRows(3, true))
	require.Equal(t, fail.Disk, fail.CodeOf(err))
}

func TestSmooth(t *testing.T) {
	require.Equal(t, 1, smoothWindow(1))
	require.Equal(t, 21, smoothWindow(600))
	require.Equal(t, smoothMax, smoothWindow(1_000_000))
	points := plotter.XYs{{X: 0, Y: 1}, {X: 1, Y: 4}, {X: 2, Y: 7}, {X: 3, Y: 1}, {X: 4, Y: 5}}
	got := smooth(points, 3)
	require.Equal(t, plotter.XYs{{X: 0, Y: 1}, {X: 1, Y: 4}, {X: 2, Y: 4}, {X: 3, Y: 13.0 / 3}, {X: 4, Y: 3}}, got)
	require.Equal(t, points, smooth(points, 1))
}

func TestNiceTicks(t *testing.T) {
	cases := []struct {
		low, high float64
		want      []string
	}{
		{0, 600, []string{"0", "100", "200", "300", "400", "500", "600"}},
		{0, 0.34, []string{"0.00", "0.05", "0.10", "0.15", "0.20", "0.25", "0.30"}},
		{0, 7.3, []string{"0", "1", "2", "3", "4", "5", "6", "7"}},
		{-0.4, 1.2, []string{"-0.4", "-0.2", "0.0", "0.2", "0.4", "0.6", "0.8", "1.0", "1.2"}},
		{3, 3, nil},
	}
	for _, c := range cases {
		var got []string
		for _, tick := range niceTicks(c.low, c.high) {
			got = append(got, tick.Label)
		}
		require.Equal(t, c.want, got, "%g to %g", c.low, c.high)
	}
}

// The axis of a run's steps ends at their number, with a tick there.
func TestStepAxis(t *testing.T) {
	for steps, want := range map[int]string{600: "600", 5000: "5000", 2: "2.0", 1: "1.0"} {
		axes, shown, err := panels(true)[0].plot(demoRows(steps, true), 1)
		require.NoError(t, err)
		require.Len(t, shown, 3)
		require.Zero(t, axes.X.Min)
		require.Equal(t, float64(steps), axes.X.Max)
		ticks := niceTicks(axes.X.Min, axes.X.Max)
		require.Equal(t, want, ticks[len(ticks)-1].Label)
	}
}
