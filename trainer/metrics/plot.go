package metrics

import (
	"fmt"
	"image/color"
	"io"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"vkdomino/internal/atomicfile"
	"vkdomino/internal/fail"
)

// Sizes of the picture: 1500 x 600 pixels.
const (
	plotWidth     = 15 * vg.Inch
	plotHeight    = 6 * vg.Inch
	plotDPI       = 100
	margin        = vg.Length(16) // points, round the whole picture
	panelGap      = vg.Length(36) // between the two panels
	headHeight    = vg.Length(50) // above the axes, for the title and the legend
	titleHeight   = vg.Length(24) // the title's share of the head
	legendColumn  = vg.Length(130)
	legendSwatch  = vg.Length(22)
	legendGap     = vg.Length(6) // between a swatch and its name
	titleFontSize = 15
	boldWeight    = 3 // on the scale of golang.org/x/image/font
	textFontSize  = 12
	rawLineWidth  = vg.Length(0.9)
	meanLineWidth = vg.Length(2.4)
	rawAlpha      = 70 // of 255: the raw curve is a haze behind its mean
	smoothDivisor = 30 // the running mean spans a thirtieth of the run
	smoothMax     = 101
)

// curve is one metric in one panel.
type curve struct {
	name  string // the row's value
	color color.NRGBA
}

// Colours that stay apart for colour-blind readers as well.
var (
	blue   = color.NRGBA{R: 0x1f, G: 0x5f, B: 0xbf, A: 0xff}
	orange = color.NRGBA{R: 0xe0, G: 0x7b, B: 0x16, A: 0xff}
	gray   = color.NRGBA{R: 0x77, G: 0x7d, B: 0x85, A: 0xff}
	ink    = color.NRGBA{R: 0x24, G: 0x29, B: 0x2f, A: 0xff}
	faint  = color.NRGBA{R: 0xd9, G: 0xdd, B: 0xe2, A: 0xff}
)

// panel is one pair of axes with its curves, drawn in this order.
type panel struct {
	title  string
	curves []curve
}

// panels lists what the picture of a Domino or of a plain DFlash run shows.
func panels(domino bool) []panel {
	if !domino {
		return []panel{
			{"Loss", []curve{{Loss, blue}}},
			{"Accuracy", []curve{{Accuracy, blue}}},
		}
	}
	return []panel{
		{"Loss", []curve{{Loss, gray}, {BaseLoss, orange}, {FinalLoss, blue}}},
		{"Accuracy", []curve{{BaseAccuracy, orange}, {Accuracy, blue}}},
	}
}

// PlotCurves writes a PNG of 1500 x 600 pixels with two panels over the step: the
// losses (loss; Domino also final_loss and base_loss) and the accuracies (accuracy;
// Domino also base_accuracy). Each curve is drawn as it is, faintly, and as a
// running mean over a thirtieth of the run. Values that are not finite are left
// out; rows without one finite loss are an error. The file is written whole or not at all.
func PlotCurves(path string, rows []Row) error {
	if len(series(rows, Loss)) == 0 {
		return fail.New(fail.Other, "train at least one step", "metrics: plot %s: want rows with a finite loss, got %d rows", path, len(rows))
	}
	canvas := vgimg.NewWith(vgimg.UseWH(plotWidth, plotHeight), vgimg.UseDPI(plotDPI), vgimg.UseBackgroundColor(color.White))
	page := draw.Crop(draw.New(canvas), margin, -margin, margin, -margin)
	half := (page.Max.X - page.Min.X - panelGap) / 2
	window := smoothWindow(len(rows))
	for i, p := range panels(len(series(rows, FinalLoss)) > 0) {
		left := page.Min.X + vg.Length(i)*(half+panelGap)
		area := draw.Canvas{Canvas: page.Canvas, Rectangle: vg.Rectangle{
			Min: vg.Point{X: left, Y: page.Min.Y},
			Max: vg.Point{X: left + half, Y: page.Max.Y},
		}}
		if err := p.draw(area, rows, window); err != nil {
			return fmt.Errorf("metrics: plot %s: %s: %w", path, p.title, err)
		}
	}
	err := atomicfile.Write(path, 0o644, func(w io.Writer) error {
		_, err := vgimg.PngCanvas{Canvas: canvas}.WriteTo(w)
		return err
	})
	if err != nil {
		return fmt.Errorf("metrics: plot: %w", err)
	}
	return nil
}

// draw fills area with the panel: title and legend above, axes and curves below.
func (p panel) draw(area draw.Canvas, rows []Row, window int) error {
	axes, shown, err := p.plot(rows, window)
	if err != nil {
		return err
	}
	axes.Draw(draw.Crop(area, 0, 0, 0, -headHeight))
	p.drawHead(area, axes, shown, window)
	return nil
}

// plot returns the panel's axes with its curves, and those that have a value.
func (p panel) plot(rows []Row, window int) (axes *plot.Plot, shown []curve, err error) {
	axes = newAxes()
	for _, c := range p.curves {
		points := series(rows, c.name)
		if len(points) == 0 {
			continue
		}
		if err := addCurve(axes, c, points, window); err != nil {
			return nil, nil, err
		}
		shown = append(shown, c)
	}
	padRange(axes)
	axes.X.Max++ // steps count from 0: the axis ends at their number
	return axes, shown, nil
}

// newAxes returns empty axes in the house's style: a light grid, no box.
func newAxes() *plot.Plot {
	p := plot.New()
	p.X.Label.Text = "step"
	p.X.Label.Padding = vg.Points(3)
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Label.TextStyle.Font.Variant = "Sans"
		axis.Tick.Label.Font.Variant = "Sans"
		axis.Label.TextStyle.Font.Size = textFontSize
		axis.Tick.Label.Font.Size = textFontSize
		axis.Label.TextStyle.Color = ink
		axis.Tick.Label.Color = ink
		axis.LineStyle.Color = gray
		axis.Tick.LineStyle.Color = gray
		axis.Tick.Length = vg.Points(4)
		axis.Padding = 0
		axis.Tick.Marker = plot.TickerFunc(niceTicks)
	}
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = faint, faint
	p.Add(grid)
	return p
}

// addCurve adds the raw curve and, where it says more, its running mean. A single
// point becomes a dot.
func addCurve(axes *plot.Plot, c curve, points plotter.XYs, window int) error {
	if len(points) == 1 {
		dot, err := plotter.NewScatter(points)
		if err != nil {
			return err
		}
		dot.Color, dot.Shape, dot.Radius = c.color, draw.CircleGlyph{}, vg.Points(4)
		axes.Add(dot)
		return nil
	}
	raw, err := plotter.NewLine(points)
	if err != nil {
		return err
	}
	raw.Color, raw.Width = c.color, meanLineWidth
	axes.Add(raw)
	if window == 1 {
		return nil
	}
	haze := c.color
	haze.A = rawAlpha
	raw.Color, raw.Width = haze, rawLineWidth
	mean, err := plotter.NewLine(smooth(points, window))
	if err != nil {
		return err
	}
	mean.Color, mean.Width = c.color, meanLineWidth
	axes.Add(mean)
	return nil
}

// padRange gives the curves air above, and lets the axis begin at 0 where the
// values are near it, which loss and accuracy both are at their end.
func padRange(axes *plot.Plot) {
	const air = 0.05
	span := axes.Y.Max - axes.Y.Min
	if axes.Y.Min >= 0 && axes.Y.Min < span {
		axes.Y.Min = 0
	} else {
		axes.Y.Min -= air * span
	}
	axes.Y.Max += air * span
}

// drawHead writes the title and, in one row below it, a swatch and a name for each curve.
func (p panel) drawHead(area draw.Canvas, axes *plot.Plot, shown []curve, window int) {
	left := axes.DataCanvas(draw.Crop(area, 0, 0, 0, -headHeight)).Min.X
	style := axes.X.Label.TextStyle
	style.XAlign, style.YAlign = draw.XLeft, draw.YTop
	title := style
	title.Font.Size = titleFontSize
	title.Font.Weight = boldWeight
	area.FillText(title, vg.Point{X: left, Y: area.Max.Y}, p.title)
	y := area.Max.Y - titleHeight
	style.YAlign = draw.YCenter
	middle := y - style.Height("x")/2 - 2
	for i, c := range shown {
		x := left + vg.Length(i)*legendColumn
		line := draw.LineStyle{Color: c.color, Width: meanLineWidth}
		area.StrokeLine2(line, x, middle, x+legendSwatch, middle)
		area.FillText(style, vg.Point{X: x + legendSwatch + legendGap, Y: middle}, c.name)
	}
	if window > 1 {
		style.XAlign, style.Color = draw.XRight, gray
		area.FillText(style, vg.Point{X: area.Max.X, Y: middle}, fmt.Sprintf("bold: mean of %d steps", window))
	}
}

// series returns the finite values of one name over the step.
func series(rows []Row, name string) plotter.XYs {
	var points plotter.XYs
	for _, r := range rows {
		step, hasStep := r.Step()
		v, ok := r.Value(name)
		if ok && hasStep && !math.IsNaN(v) && !math.IsInf(v, 0) {
			points = append(points, plotter.XY{X: float64(step), Y: v})
		}
	}
	return points
}

// smoothWindow is the odd number of steps that the running mean spans; 1 is none.
func smoothWindow(rows int) int {
	return min(rows/smoothDivisor|1, smoothMax)
}

// smooth is the centred running mean. Towards the first point the window shrinks on
// both sides, because a young loss falls too steeply for a lopsided mean; at the
// last ones, where it hardly falls, the window only loses its right-hand part.
func smooth(points plotter.XYs, window int) plotter.XYs {
	out := make(plotter.XYs, len(points))
	for i := range points {
		reach := min(window/2, i)
		span := points[i-reach : min(i+reach+1, len(points))]
		sum := 0.0
		for _, p := range span {
			sum += p.Y
		}
		out[i] = plotter.XY{X: points[i].X, Y: sum / float64(len(span))}
	}
	return out
}

// niceTicks puts a tick at each multiple of 1, 2 or 5 times a power of ten, four
// to nine of them, each with its number.
func niceTicks(low, high float64) []plot.Tick {
	const wanted = 6
	raw := (high - low) / wanted
	if !(raw > 0) {
		return nil
	}
	power := math.Floor(math.Log10(raw))
	step := math.Pow(10, power)
	for _, factor := range []float64{5, 2} {
		if factor*step <= raw {
			step *= factor
			break
		}
	}
	decimals := int(max(0, -power))
	var ticks []plot.Tick
	for i := math.Ceil(low / step); i*step <= high+step/1e6; i++ {
		ticks = append(ticks, plot.Tick{Value: i * step, Label: strconv.FormatFloat(i*step, 'f', decimals, 64)})
	}
	return ticks
}
