package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"

	"llmdyno/internal/load"
	"llmdyno/internal/load/sample"
)

// endedRequest is what the dashboard needs of a request, latencies in ms; 0 = not
// measured.
type endedRequest struct {
	TTFT  float64      `json:"ttft,omitempty"`
	TPOT  float64      `json:"tpot,omitempty"`
	E2E   float64      `json:"e2e,omitempty"`
	Class sample.Class `json:"class,omitempty"`
	AtMs  float64      `json:"at,omitempty"` // of its end
}

func endedOf(r *sample.Record) endedRequest {
	e := endedRequest{Class: r.Class, AtMs: float64(r.Done) / 1e6}
	if !r.OK() || r.LastChoices == sample.Never {
		return e
	}
	e.E2E = float64(r.LastChoices-r.Send) / 1e6
	if r.FirstText != sample.Never {
		e.TTFT = float64(r.FirstText-r.Send) / 1e6
		if r.OutputTokens > 1 {
			e.TPOT = (e.E2E - e.TTFT) / float64(r.OutputTokens-1)
		}
	}
	return e
}

const (
	// lastRequests are those whose percentiles the dashboard shows.
	lastRequests = 10_000
	// rateOver is the time over which it shows the throughput.
	rateOver = 5 * time.Second
	// sparkColumns are the seconds of its sparkline.
	sparkColumns = 40
)

// loadStats collects what the dashboard shows.
type loadStats struct {
	mu     sync.Mutex
	errors map[sample.Class]int
	last   []endedRequest // a ring
	next   int
	spark  map[int][]float64 // TTFT (E2E without one) by second
	past   []load.Progress   // of the last few seconds
}

func newLoadStats(planned int) *loadStats {
	return &loadStats{errors: map[sample.Class]int{}, spark: map[int][]float64{}, last: make([]endedRequest, 0, min(max(planned, 1), lastRequests))}
}

func (s *loadStats) ended(r *sample.Record) { s.add(endedOf(r)) }

func (s *loadStats) add(e endedRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Class != sample.ClassOK {
		s.errors[e.Class]++
		return
	}
	if len(s.last) < cap(s.last) {
		s.last = append(s.last, e)
	} else {
		s.last[s.next] = e
		s.next = (s.next + 1) % len(s.last)
	}
	first := e.TTFT
	if first == 0 {
		first = e.E2E
	}
	second := int(e.AtMs / 1000)
	s.spark[second] = append(s.spark[second], first)
	delete(s.spark, second-2*sparkColumns)
}

// percentiles are p50, p90 and p99; nil = nothing was measured.
type percentiles []float64

func percentilesOf(x []float64) percentiles {
	if len(x) == 0 {
		return nil
	}
	slices.Sort(x)
	at := func(q float64) float64 { return x[int(q*float64(len(x)-1)+0.5)] }
	return percentiles{at(0.5), at(0.9), at(0.99)}
}

// loadView is the dashboard at one moment.
type loadView struct {
	load.Progress
	RPS, TPS        float64 // over the last seconds
	TTFT, TPOT, E2E percentiles
	Errors          string
	Spark           []float64 // median first-token time of each second, 0 = none
}

// view is what there is to show.
func (s *loadStats) view(p load.Progress) loadView {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := loadView{Progress: p}
	s.past = append(s.past, p)
	for len(s.past) > 1 && p.Elapsed-s.past[1].Elapsed >= rateOver {
		s.past = s.past[1:]
	}
	from := s.past[0]
	if len(s.past) == 1 || p.Elapsed < rateOver {
		from = load.Progress{}
	}
	if over := (p.Elapsed - from.Elapsed).Seconds(); over > 0 {
		v.RPS = float64(p.Done-p.Failed-from.Done+from.Failed) / over
		v.TPS = float64(p.OutputTokens-from.OutputTokens) / over
	}
	var ttft, tpot, e2e []float64
	for _, e := range s.last {
		ttft, tpot, e2e = addMeasured(ttft, e.TTFT), addMeasured(tpot, e.TPOT), addMeasured(e2e, e.E2E)
	}
	v.TTFT, v.TPOT, v.E2E = percentilesOf(ttft), percentilesOf(tpot), percentilesOf(e2e)
	var errs []string
	for _, class := range slices.Sorted(maps.Keys(s.errors)) {
		errs = append(errs, fmt.Sprintf("%s %d", strings.ReplaceAll(string(class), "_", " "), s.errors[class]))
	}
	v.Errors = strings.Join(errs, ", ")
	now := int(p.Elapsed.Seconds())
	for sec := max(0, now-sparkColumns+1); sec <= now; sec++ {
		x := 0.0
		if m := percentilesOf(slices.Clone(s.spark[sec])); m != nil {
			x = m[0]
		}
		v.Spark = append(v.Spark, x)
	}
	return v
}

func addMeasured(list []float64, x float64) []float64 {
	if x > 0 {
		return append(list, x)
	}
	return list
}

// sparkline draws values in eight heights, from 0 to the largest.
func sparkline(x []float64) string {
	const blocks = "▁▂▃▄▅▆▇█"
	heights := []rune(blocks)
	most := slices.Max(append([]float64{0}, x...))
	var b strings.Builder
	for _, v := range x {
		if v <= 0 || most <= 0 {
			b.WriteByte(' ')
			continue
		}
		b.WriteRune(heights[min(int(v/most*float64(len(heights))), len(heights)-1)])
	}
	return b.String()
}

// loadView shows how far a load is: drawn live on a terminal, in plain lines
// elsewhere, not at all (nil) with --quiet. The returned func ends it.
func (a *app) loadView() (func(loadView), func()) {
	switch {
	case a.quiet:
		return nil, func() {}
	case !a.terminal:
		return a.plainLoad(), func() {}
	}
	tell, end := a.draw(loadModel{pen: a.pen()})
	return func(v loadView) { tell(v) }, func() {
		tell(loadView{}) // the summary takes its place
		end()
	}
}

// plainEvery is how often a line is written where there is no terminal.
const plainEvery = 10 * time.Second

func (a *app) plainLoad() func(loadView) {
	next := plainEvery
	return func(v loadView) {
		if v.Elapsed < next && v.Done < v.Planned {
			return
		}
		for next <= v.Elapsed {
			next += plainEvery
		}
		line := fmt.Sprintf("%s: %d of %d done, %d in flight, %.3g requests/s, %.4g tokens/s", v.Elapsed.Round(time.Second), v.Done, v.Planned, v.InFlight, v.RPS, v.TPS)
		if v.TTFT != nil {
			line += fmt.Sprintf(", p50 TTFT %s ms", millis(v.TTFT[0]))
		}
		if v.Errors != "" {
			line += ", failed: " + v.Errors
		}
		a.logf("%s", line)
	}
}

// loadModel is the state of the live view.
type loadModel struct {
	pen
	view loadView
}

func (m loadModel) Init() tea.Cmd { return nil }

// Update takes in what the load tells, and the width of the terminal.
func (m loadModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width = msg.Width
	case loadView:
		m.view = msg
	}
	return m, nil
}

// View draws the dashboard.
func (m loadModel) View() tea.View {
	if m.view.Planned == 0 {
		return tea.NewView("")
	}
	return tea.NewView(m.text())
}

func (m loadModel) text() string {
	v := m.view
	lines := []string{
		m.style(m.clip(fmt.Sprintf("%s %d of %d requests, %s", bar(v.Done, v.Planned), v.Done, v.Planned, v.Elapsed.Round(time.Second))), "6"),
		m.clip(fmt.Sprintf("  %s requests/s  %s output tokens/s  %d in flight  %d sent", figure(v.RPS), figure(v.TPS), v.InFlight, v.Sent)),
		m.clip(fmt.Sprintf("  %-5s%10s%10s%10s", "ms", "p50", "p90", "p99")),
	}
	for _, x := range []struct {
		name string
		p    percentiles
	}{{"TTFT", v.TTFT}, {"TPOT", v.TPOT}, {"E2E", v.E2E}} {
		line := fmt.Sprintf("  %-5s", x.name)
		for i := range 3 {
			if x.p == nil {
				line += fmt.Sprintf("%10s", "-")
				continue
			}
			line += fmt.Sprintf("%10s", millis(x.p[i]))
		}
		lines = append(lines, m.clip(line))
	}
	if most := slices.Max(append([]float64{0}, v.Spark...)); most > 0 {
		lines = append(lines, m.clip(fmt.Sprintf("  p50 TTFT by second %s up to %s ms", sparkline(v.Spark), millis(most))))
	}
	if v.Errors != "" {
		lines = append(lines, m.style(m.clip("  failed: "+v.Errors), "1"))
	} else {
		lines = append(lines, m.clip("  no errors"))
	}
	return strings.Join(lines, "\n")
}

// figure writes three significant digits.
func figure(x float64) string {
	if x >= 1000 {
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.3g", x)
}
