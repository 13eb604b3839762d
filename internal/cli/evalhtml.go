package cli

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"

	"vkdomino/internal/plural"
	"vkdomino/trainer/evaluate"
)

//go:embed eval.html
var evalPage string

// The charts' sizes in SVG units.
const (
	chartWidth  = 900.0
	chartHeight = 230.0
	chartTop    = 34.0 // room for the numbers above bars
	chartBase   = 200.0
	barGap      = 2.0
	groupFill   = 0.8 // of a group's width is bars
	widestBar   = 90.0
	narrowBar   = 33.0 // has no room for a number's decimals
)

// page is what eval.html shows.
type page struct {
	*evaluate.Result
	Beside   []chart // the drafts beside each other, where there are several
	Sections []section
}

// section is one draft.
type section struct {
	evaluate.Draft
	Title  string
	Ways   []wayRow
	Charts []chart
}

type wayRow struct {
	Name, Lossless string
	M              *evaluate.Measure
}

// chart is a bar chart: groups of bars, one bar of each series in a group.
type chart struct {
	Title               string
	Width, Height, Base float64
	Keys                []chartKey
	Bars                []bar
	Labels              []label
}

type chartKey struct{ Name, Class string }

type bar struct {
	Class, Tip, Text, Span   string
	X, Y, W, H, TextX, TextY float64
}

type label struct {
	Text string
	X, Y float64
}

// series is the values of one colour; low and high, where they are there, are intervals.
type series struct {
	name, class       string
	values, low, high []float64
}

// writePage writes the result as a page that needs no other file and no network.
func writePage(w io.Writer, r *evaluate.Result) error {
	t, err := template.New("eval").Funcs(template.FuncMap{"count": plural.Of}).Parse(evalPage)
	if err != nil {
		return fmt.Errorf("eval: page: %w", err)
	}
	p := page{Result: r}
	for _, d := range r.Drafts {
		ways := waysOf(r, d)
		s := section{Draft: d, Title: d.Path + stepText(d.Step)}
		for _, v := range ways {
			s.Ways = append(s.Ways, wayRow{v.name, losslessText(v.m.Lossless), v.m})
		}
		s.Charts = []chart{tauChart(ways), lengthChart(ways), positionChart(ways)}
		p.Sections = append(p.Sections, s)
	}
	if len(r.Drafts) > 1 {
		p.Beside = []chart{draftsChart(r)}
	}
	return t.Execute(w, p)
}

// classOf is the colour of a way: the last one is always the target alone.
func classOf(i, ways int) string {
	if i == ways-1 {
		return "w2"
	}
	return fmt.Sprintf("w%d", i)
}

func tauChart(ways []way) chart {
	classes := make([]string, len(ways))
	for i := range ways {
		classes[i] = classOf(i, len(ways))
	}
	return tausChart("Acceptance length τ, with its 95 % interval", ways, classes)
}

// draftsChart shows τ of each draft as it is served, and of the target alone.
func draftsChart(r *evaluate.Result) chart {
	var list []way
	var classes []string
	for i := range r.Drafts {
		d := &r.Drafts[i]
		list, classes = append(list, way{tail(d.Path + stepText(d.Step)), &d.Full}), append(classes, classOf(0, 2))
	}
	return tausChart("Acceptance length τ of the drafts, with its 95 % interval", append(list, way{"no draft", &r.NoDraft}), append(classes, classOf(1, 2)))
}

// tail is the end of a name that would be too long under a bar.
func tail(name string) string {
	const most = 32
	if runes := []rune(name); len(runes) > most {
		return "…" + string(runes[len(runes)-most+1:])
	}
	return name
}

// tausChart has a bar and an interval for each way.
func tausChart(title string, ways []way, classes []string) chart {
	var list []series
	names := make([]string, len(ways))
	for i, v := range ways {
		s := series{name: v.name, class: classes[i], values: make([]float64, len(ways)), low: make([]float64, len(ways)), high: make([]float64, len(ways))}
		s.values[i], s.low[i], s.high[i] = v.m.Tau, v.m.Low, v.m.High
		list = append(list, s)
		names[i] = v.name
	}
	return barChart(title, names, list, true, "%.2f")
}

func lengthChart(ways []way) chart {
	var list []series
	for i, v := range ways[:len(ways)-1] {
		list = append(list, series{name: v.name, class: classOf(i, len(ways)), values: percents(shares(v.m.Histogram))})
	}
	return barChart("Cycles by acceptance length, %", numbers(len(list[0].values)), list, false, "%.1f")
}

func positionChart(ways []way) chart {
	var list []series
	for i, v := range ways[:len(ways)-1] {
		list = append(list, series{name: v.name, class: classOf(i, len(ways)), values: percents(v.m.Accepted)})
	}
	return barChart("Accepted by draft position, % of cycles", numbers(len(list[0].values)), list, false, "%.1f")
}

func percents(shares []float64) []float64 {
	out := make([]float64, len(shares))
	for i, x := range shares {
		out[i] = 100 * x
	}
	return out
}

// numbers is 1 to n.
func numbers(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprint(i + 1)
	}
	return out
}

// barChart lays out a group of bars for each name; alone says that a group has a bar of one
// series only.
func barChart(title string, names []string, list []series, alone bool, format string) chart {
	c := chart{Title: title, Width: chartWidth, Height: chartHeight, Base: chartBase}
	most := 0.0
	for _, s := range list {
		if !alone { // else the groups' names say it
			c.Keys = append(c.Keys, chartKey{s.name, s.class})
		}
		for i, x := range s.values {
			most = max(most, x)
			if s.high != nil {
				most = max(most, s.high[i])
			}
		}
	}
	scale := 0.0
	if most > 0 {
		scale = (chartBase - chartTop) / most
	}
	group, bars := chartWidth/float64(len(names)), len(list)
	if alone {
		bars = 1
	}
	width, short := min(widestBar, group*groupFill/float64(bars)), format
	if width < narrowBar {
		short = "%.0f"
	}
	for i, name := range names {
		middle := (float64(i) + 0.5) * group
		c.Labels = append(c.Labels, label{name, round(middle), chartBase + 22})
		for j, s := range list {
			if alone && j != i {
				continue
			}
			x := middle - width*float64(bars)/2
			if !alone {
				x += float64(j) * width
			}
			c.Bars = append(c.Bars, s.bar(i, name, x, width, scale, format, short))
		}
	}
	return c
}

// bar is the series' bar in group i, from x on; its tip has the value in format, the number above it in short.
func (s series) bar(i int, name string, x, width, scale float64, format, short string) bar {
	height, middle := s.values[i]*scale, x+width/2
	b := bar{Class: s.class, Text: fmt.Sprintf(short, s.values[i]), Tip: s.tip(i, name, format), X: round(x + barGap/2), Y: round(chartBase - height),
		W: round(width - barGap), H: round(height), TextX: round(middle), TextY: round(chartBase - height - 5)}
	if s.values[i] == 0 {
		b.Text = "" // rows of zeros are noise
	}
	if s.high != nil && s.high[i] > s.low[i] {
		top, bottom := chartBase-s.high[i]*scale, chartBase-s.low[i]*scale
		b.Span = fmt.Sprintf("M%.1f %.1fV%.1fM%.1f %.1fH%.1fM%.1f %.1fH%.1f", middle, top, bottom, middle-6, top, middle+6, middle-6, bottom, middle+6)
		b.TextY = round(top - 5)
	}
	return b
}

// tip is what a bar says when it is pointed at.
func (s series) tip(i int, group, format string) string {
	if s.name == group {
		return fmt.Sprintf("%s: "+format, group, s.values[i])
	}
	return fmt.Sprintf("%s, %s: "+format, s.name, group, s.values[i])
}

// round keeps the page short.
func round(x float64) float64 { return math.Round(10*x) / 10 }
