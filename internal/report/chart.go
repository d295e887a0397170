package report

import (
	"cmp"
	"fmt"
	"html"
	"html/template"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	charts "github.com/go-analyze/charts"
)

// chart is one x/y picture. Every text in it stands in a table behind it too.
type chart struct {
	title          string // for those who do not see it
	xLabel, yLabel string
	xLog, yLog     bool
	percentY       bool // y is a share, shown as 0 to 100 %
	small          bool // three in a row instead of two
	// top cuts the y axis, so that overload does not squeeze the rest; 0 = whole.
	top    float64
	series []series
	limits []limitLine
}

type series struct {
	colour int // engine: one of the palette's
	strong bool
	points []mark // in drawing order
	marks  bool   // draw the points, not only the line
}

type mark struct {
	x, y   float64
	tip    string
	hollow bool // missed the SLA
	chosen bool
}

type limitLine struct {
	vertical bool
	at       float64
	label    string
}

// The picture's own coordinates, in px; the page scales it a little.
const (
	plotLeft, plotTop                   = 64, 14
	rightMargin, bottomMargin           = 16, 44
	fontSize                            = 9 // points, 12 px
	pxPerXTick, pxPerYTick              = 70, 45
	paletteSize                         = 6
	weakWidth, strongWidth, limitStroke = 1.2, 2.4, 1.2
)

func (c chart) size() (width, height int) {
	if c.small {
		return 400, 300
	}
	return 600, 370
}

func (c chart) right() int {
	width, _ := c.size()
	return width - rightMargin
}

func (c chart) bottom() int {
	_, height := c.size()
	return height - bottomMargin
}

// dashes tell engines apart without colour.
var dashes = [paletteSize][]float64{nil, {7, 4}, {2, 3}, {10, 3, 2, 3}, {4, 2}, {12, 5}}

// The painter knows only fixed colours, a page has two themes: each role is
// painted in a colour of its own that becomes a style variable afterwards.
type role uint8

const (
	roleInk role = iota
	roleGrid
	roleLimit
	roleNone
	roleSeries     // + colour
	roleSeriesWeak = roleSeries + paletteSize
)

func (r role) paint() charts.Color { return charts.Color{R: 1, G: uint8(r), B: 254, A: 255} }

func (r role) css() string {
	switch {
	case r == roleInk:
		return "var(--muted)"
	case r == roleGrid:
		return "var(--line)"
	case r == roleLimit:
		return "var(--bad)"
	case r == roleNone:
		return "var(--card)"
	case r >= roleSeriesWeak:
		return fmt.Sprintf("var(--w%d)", r-roleSeriesWeak)
	}
	return fmt.Sprintf("var(--s%d)", r-roleSeries)
}

func seriesRole(s series) role {
	base := roleSeriesWeak
	if s.strong {
		base = roleSeries
	}
	return base + role(s.colour%paletteSize)
}

// empty says that there is nothing to draw.
func (c chart) empty() bool {
	return !slices.ContainsFunc(c.series, func(s series) bool { return len(s.points) > 0 })
}

// svg draws the chart.
func (c chart) svg() (template.HTML, error) {
	width, height := c.size()
	p := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputSVG, Width: width, Height: height})
	x, y := c.axes()
	c.grid(p, x, y)
	for _, l := range c.limits {
		c.limit(p, l, x, y)
	}
	var tips []string
	for _, strong := range []bool{false, true} {
		for _, s := range c.series {
			if s.strong == strong {
				tips = append(tips, s.draw(p, x, y, c.top)...)
			}
		}
	}
	raw, err := p.Bytes()
	if err != nil {
		return "", fmt.Errorf("drawing %s: %w", c.title, err)
	}
	return dress(string(raw), c.title, tips), nil
}

var (
	paintedRole = regexp.MustCompile(`rgb\(1,(\d+),254\)`)
	circle      = regexp.MustCompile(`<circle [^>]*/>`)
)

// dress gives the painter's picture the page's colours and fonts, a name and
// tips.
func dress(svg, title string, tips []string) template.HTML {
	svg = strings.ReplaceAll(svg, "font-family:'Roboto Medium',sans-serif", "")
	svg = paintedRole.ReplaceAllStringFunc(svg, func(s string) string {
		n, err := strconv.ParseUint(paintedRole.FindStringSubmatch(s)[1], 10, 8)
		if err != nil {
			return "currentColor"
		}
		return role(n).css()
	})
	i := 0
	svg = circle.ReplaceAllStringFunc(svg, func(s string) string {
		if i >= len(tips) {
			return s
		}
		i++
		return strings.TrimSuffix(s, "/>") + "><title>" + html.EscapeString(clean(tips[i-1])) + "</title></circle>"
	})
	name := html.EscapeString(clean(title))
	svg = strings.Replace(svg, "<svg ", `<svg class="chart" role="img" aria-label="`+name+`" `, 1)
	return template.HTML(svg) // every text in it is escaped, by the painter or here
}

// draw returns the tip of each circle that it drew, in order.
func (s series) draw(p *charts.Painter, x, y axis, top float64) []string {
	colour := seriesRole(s).paint()
	width := weakWidth
	if s.strong {
		width = strongWidth
	}
	for _, piece := range cut(s.points, top) {
		line := make([]charts.Point, len(piece))
		for i, m := range piece {
			line[i] = charts.Point{X: x.place(m.x), Y: y.place(m.y)}
		}
		if dash := dashes[s.colour%paletteSize]; dash == nil || !s.strong {
			p.LineStroke(line, colour, width)
		} else {
			p.DashedLineStroke(line, colour, width, dash)
		}
	}
	var tips []string
	for _, m := range s.points {
		if !s.marks || beyond(m, top) {
			continue
		}
		radius, fill := 3.0, colour
		if m.chosen {
			radius = 6
		}
		if m.hollow {
			fill = roleNone.paint()
		}
		p.Circle(radius, x.place(m.x), y.place(m.y), fill, colour, 1.5)
		tips = append(tips, m.tip)
	}
	return tips
}

func beyond(m mark, top float64) bool { return top > 0 && m.y > top }

// cut ends a line where it leaves the chart at the top.
func cut(points []mark, top float64) [][]mark {
	var pieces [][]mark
	var now []mark
	for i, m := range points {
		switch out := beyond(m, top); {
		case i > 0 && out != beyond(points[i-1], top):
			edge := crossing(points[i-1], m, top)
			if out {
				pieces, now = append(pieces, append(now, edge)), nil
			} else {
				now = []mark{edge, m}
			}
		case !out:
			now = append(now, m)
		}
	}
	if len(now) > 0 {
		pieces = append(pieces, now)
	}
	return pieces
}

// crossing is where the line from a to b meets the top, on a logarithmic axis.
func crossing(a, b mark, top float64) mark {
	share := math.Log(top/a.y) / math.Log(b.y/a.y)
	return mark{x: a.x + share*(b.x-a.x), y: top}
}

func (c chart) grid(p *charts.Painter, x, y axis) {
	ink, lines := charts.FontStyle{FontSize: fontSize, FontColor: roleInk.paint()}, roleGrid.paint()
	for _, v := range x.ticks {
		at := x.place(v)
		p.LineStroke([]charts.Point{{X: at, Y: plotTop}, {X: at, Y: c.bottom()}}, lines, 1)
		text := axisText(v)
		p.Text(text, at-p.MeasureText(text, 0, ink).Width()/2, c.bottom()+17, 0, ink)
	}
	for _, v := range y.ticks {
		at := y.place(v)
		p.LineStroke([]charts.Point{{X: plotLeft, Y: at}, {X: c.right(), Y: at}}, lines, 1)
		text := axisText(v)
		if c.percentY {
			text = axisText(100*v) + " %"
		}
		p.Text(text, plotLeft-8-p.MeasureText(text, 0, ink).Width(), at+4, 0, ink)
	}
	p.Text(c.xLabel, (plotLeft+c.right()-p.MeasureText(c.xLabel, 0, ink).Width())/2, c.bottom()+bottomMargin-8, 0, ink)
	p.Text(c.yLabel, 14, (plotTop+c.bottom()+p.MeasureText(c.yLabel, 0, ink).Width())/2, -math.Pi/2, ink)
}

func (c chart) limit(p *charts.Painter, l limitLine, x, y axis) {
	ink := charts.FontStyle{FontSize: fontSize, FontColor: roleLimit.paint()}
	width := p.MeasureText(l.label, 0, ink).Width() * 6 / 5 // the page's font may be wider
	if l.vertical {
		if l.at < x.lo || l.at > x.hi {
			return
		}
		at := x.place(l.at)
		p.DashedLineStroke([]charts.Point{{X: at, Y: plotTop}, {X: at, Y: c.bottom()}}, roleLimit.paint(), limitStroke, []float64{5, 4})
		left := at + 5
		if left+width > c.right() {
			left = at - 5 - width
		}
		p.Text(l.label, left, c.bottom()-8, 0, ink)
		return
	}
	if l.at < y.lo || l.at > y.hi {
		return
	}
	at := y.place(l.at)
	p.DashedLineStroke([]charts.Point{{X: plotLeft, Y: at}, {X: c.right(), Y: at}}, roleLimit.paint(), limitStroke, []float64{5, 4})
	p.Text(l.label, plotLeft+6, at-5, 0, ink)
}

// axis maps figures onto the picture.
type axis struct {
	lo, hi   float64
	log      bool
	from, to int // coordinates of lo and hi
	ticks    []float64
}

func (a axis) place(v float64) int {
	v = min(max(v, a.lo), a.hi)
	lo, hi := a.lo, a.hi
	if a.log {
		v, lo, hi = math.Log(v), math.Log(lo), math.Log(hi)
	}
	share := 0.5
	if hi > lo {
		share = (v - lo) / (hi - lo)
	}
	return a.from + int(math.Round(share*float64(a.to-a.from)))
}

func (c chart) axes() (x, y axis) {
	var xs, ys []float64
	for _, s := range c.series {
		for _, m := range s.points {
			if !beyond(m, c.top) {
				xs, ys = append(xs, m.x), append(ys, m.y)
			}
		}
	}
	for _, l := range c.limits {
		if l.vertical {
			xs = appendNear(xs, l.at)
		} else {
			ys = appendNear(ys, l.at)
		}
	}
	x = newAxis(xs, c.xLog, plotLeft, c.right(), (c.right()-plotLeft)/pxPerXTick)
	if c.percentY {
		return x, axis{lo: 0, hi: 1, from: c.bottom(), to: plotTop, ticks: []float64{0, 0.25, 0.5, 0.75, 0.9, 1}}
	}
	return x, newAxis(ys, c.yLog, c.bottom(), plotTop, (c.bottom()-plotTop)/pxPerYTick)
}

// appendNear widens an axis to a limit unless that would squeeze the figures.
func appendNear(values []float64, limit float64) []float64 {
	if len(values) > 0 && limit > slices.Max(values)*10 || limit <= 0 {
		return values
	}
	return append(values, limit)
}

func newAxis(values []float64, log bool, from, to, maxTicks int) axis {
	a := axis{log: log, from: from, to: to}
	if len(values) == 0 {
		a.lo, a.hi, a.log = 0, 1, false
		return a
	}
	a.lo, a.hi = slices.Min(values), slices.Max(values)
	if !log {
		a.lo = min(a.lo, 0)
		step := niceStep((a.hi - a.lo) / float64(maxTicks))
		a.hi = step * math.Ceil(1.02*a.hi/step) // no mark on the very edge
		if a.hi <= a.lo {
			a.hi = a.lo + step
		}
		for i := 0; float64(i)*step <= a.hi+step/1e6 && i <= 2*maxTicks; i++ {
			a.ticks = append(a.ticks, float64(i)*step)
		}
		return a
	}
	a.lo, a.hi = a.lo/1.15, a.hi*1.15
	if wide := a.lo * leastRatio / a.hi; wide > 1 { // a single figure still needs a scale
		a.lo, a.hi = a.lo/math.Sqrt(wide), a.hi*math.Sqrt(wide)
	}
	a.ticks = logTicks(a.lo, a.hi, maxTicks)
	return a
}

// leastRatio is the least span of a logarithmic axis.
const leastRatio = 3

// niceStep rounds up to 1, 2 or 5 times a power of ten.
func niceStep(x float64) float64 {
	if !(x > 0) || math.IsInf(x, 1) {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(x)))
	for _, m := range []float64{1, 2, 5} {
		if x <= m*power*(1+1e-9) {
			return m * power
		}
	}
	return 10 * power
}

// logTicks takes the finest set of round numbers that is not too many.
func logTicks(lo, hi float64, most int) []float64 {
	for _, digits := range [][]float64{{1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9}, {1, 1.5, 2, 3, 4, 5, 7}, {1, 2, 3, 5}, {1, 2, 5}, {1, 3}, {1}} {
		var ticks []float64
		for e := math.Floor(math.Log10(lo)); e <= math.Ceil(math.Log10(hi)); e++ {
			for _, d := range digits {
				if v := d * math.Pow(10, e); v >= lo && v <= hi {
					ticks = append(ticks, v)
				}
			}
		}
		if len(ticks) <= most {
			return ticks
		}
	}
	return nil
}

// axisText writes a tick: 1500, 0.25, 12k.
func axisText(v float64) string {
	if math.Abs(v) >= 10000 {
		return strconv.FormatFloat(v/1000, 'g', 4, 64) + "k"
	}
	return strconv.FormatFloat(math.Round(v*1e6)/1e6, 'g', 4, 64)
}

// sortMarks orders points by x, then y.
func sortMarks(m []mark) {
	slices.SortStableFunc(m, func(a, b mark) int { return cmp.Or(cmp.Compare(a.x, b.x), cmp.Compare(a.y, b.y)) })
}
