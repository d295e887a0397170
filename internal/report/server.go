package report

import (
	"fmt"
	"slices"
	"strings"

	"llmdyno/internal/bench/result"
	"llmdyno/internal/load/metric"
)

const titleServer = "What The Server Saw"

// serverNote explains the columns whose heads cannot.
const serverNote = "Counters are what they rose by during the load point that stands for the row; of a time, client − server is the share of network and client; times are means"

// witnesses are the best rows of each engine, class by class, whose server or
// GPUs said anything.
func (v view) witnesses() []result.Entry {
	var out []result.Entry
	for _, k := range v.c.Classes {
		for _, f := range k.Frameworks {
			if len(f.Ranked) > 0 && v.c.Entries[f.Ranked[0]].Row.Server != nil {
				out = append(out, v.c.Entries[f.Ranked[0]])
			}
		}
	}
	return out
}

func serverColumn(head string, optional int, of func(*metric.Server) *float64) column {
	return column{head, true, optional, func(_ view, e result.Entry) string { return num(of(e.Row.Server)) }}
}

func gauge(quantity string, of func(metric.ServerGauge) float64) func(*metric.Server) *float64 {
	return func(s *metric.Server) *float64 {
		for _, g := range s.Gauges {
			if g.Quantity == quantity {
				x := of(g)
				return &x
			}
		}
		return nil
	}
}

func rose(quantity string) func(*metric.Server) *float64 {
	return func(s *metric.Server) *float64 {
		for _, c := range s.Counters {
			if c.Quantity == quantity {
				return &c.Increase
			}
		}
		return nil
	}
}

func between(what string, of func(metric.Difference) float64) func(*metric.Server) *float64 {
	return func(s *metric.Server) *float64 {
		for _, d := range s.Reconciled {
			if d.What == what {
				x := of(d)
				return &x
			}
		}
		return nil
	}
}

func meanTime(quantity string) func(*metric.Server) *float64 {
	return func(s *metric.Server) *float64 {
		for _, h := range s.Histograms {
			if h.Quantity == quantity {
				return &h.MeanMs
			}
		}
		return nil
	}
}

// overGPUs adds up or picks out a figure of all GPUs; nil where one lacks it.
func overGPUs(of func(metric.ServerGPU) *float64, join func(a, b float64) float64) func(*metric.Server) *float64 {
	return func(s *metric.Server) *float64 {
		var out *float64
		for _, g := range s.GPUs {
			x := of(g)
			if x == nil {
				return nil
			}
			y := *x
			if out != nil {
				y = join(*out, y)
			}
			out = &y
		}
		return out
	}
}

func plus(a, b float64) float64 { return a + b }

func difference(d metric.Difference) float64 { return d.Difference }

// serverColumns are the figures of the server; engines tell different ones.
var serverColumns = []column{
	serverColumn("running", 1, gauge("running_requests", func(g metric.ServerGauge) float64 { return g.Mean })),
	serverColumn("most waiting", 6, gauge("waiting_requests", func(g metric.ServerGauge) float64 { return g.Max })),
	{"KV peak", true, 2, func(_ view, e result.Entry) string {
		return share(gauge("kv_usage_ratio", func(g metric.ServerGauge) float64 { return g.Max })(e.Row.Server))
	}},
	{"prefix hits", true, 3, func(_ view, e result.Entry) string { return share(e.Row.Server.PrefixHitRate) }},
	{"hits meant", true, 12, func(_ view, e result.Entry) string { return share(e.Row.Server.IntendedHitRate) }},
	serverColumn("preemptions", 7, rose("preemptions_total")),
	serverColumn("accept length", 9, func(s *metric.Server) *float64 { return s.AcceptLength }),
	serverColumn("queue ms", 13, meanTime("queue_seconds")),
	serverColumn("server TTFT ms", 8, between("mean TTFT", func(d metric.Difference) float64 { return d.Server })),
	serverColumn("client − server ms", 4, between("mean TTFT", difference)),
	serverColumn("server E2E ms", 10, between("mean E2E", func(d metric.Difference) float64 { return d.Server })),
	serverColumn("client − server E2E ms", 11, between("mean E2E", difference)),
	{"sums", false, 5, func(_ view, e result.Entry) string { return sums(e.Row.Server) }},
	serverColumn("GPU W", 14, overGPUs(func(g metric.ServerGPU) *float64 { return g.PowerW }, plus)),
	serverColumn("J/out token", 15, func(s *metric.Server) *float64 {
		if s.Energy == nil {
			return nil
		}
		return s.Energy.PerOutputToken
	}),
	serverColumn("SM MHz, least", 16, overGPUs(func(g metric.ServerGPU) *float64 { return g.SMClockMin }, func(a, b float64) float64 { return min(a, b) })),
	{"clocks held by", false, 17, func(_ view, e result.Entry) string { return throttled(e.Row.Server) }},
}

// sums says whether client and server counted the same.
func sums(s *metric.Server) string {
	var off []string
	counted := 0
	for _, d := range s.Reconciled {
		if d.Unit == "ms" {
			continue
		}
		if counted++; d.OutOfBound {
			off = append(off, fmt.Sprintf("%s %.0f / %.0f", d.What, d.Client, d.Server))
		}
	}
	switch {
	case counted == 0:
		return missing
	case len(off) == 0:
		return "agree"
	}
	return "client / server: " + strings.Join(off, ", ")
}

func throttled(s *metric.Server) string {
	most := map[string]float64{}
	for _, g := range s.GPUs {
		for _, x := range g.Throttled {
			most[x.Reason] = max(most[x.Reason], x.Share)
		}
	}
	var out []string
	for reason, share := range most {
		out = append(out, reason+" "+result.Percent(share))
	}
	slices.Sort(out)
	return or(strings.Join(out, ", "), missing)
}

func (m *markdown) server() {
	if seen := m.witnesses(); len(seen) > 0 {
		m.line("## %s\n", titleServer)
		m.table(m.fill(append([]column{colScenario, colFramework, colCandidate}, serverColumns...), seen))
		m.line("%s.\n", serverNote)
	}
}

func (t *terminal) server() {
	if seen := t.witnesses(); len(seen) > 0 {
		t.title(titleServer)
		t.table(t.fill(append([]column{colScenario, colFull}, serverColumns...), seen))
		t.para(faint, "", "", serverNote+".")
	}
}

// serverData is the section of the page.
type serverData struct {
	Table   tableData
	Note    string
	Classes []serverClass
}

type serverClass struct {
	Label   string
	Keys    []keyData
	Figures []figureData
	Table   tableData // the figures behind the charts
}

// serverCharts are the quantities that are drawn over time.
var serverCharts = []struct {
	name, label string
	percent     bool
}{
	{"running_requests", "requests running", false}, {"waiting_requests", "requests waiting", false}, {"kv_usage_ratio", "KV cache in use", true},
	{"generation_tokens_total", "generated tokens/s", false}, {"prompt_tokens_total", "prompt tokens/s", false}, {"preemptions_total", "preemptions/s", false},
	{"power", "power of all GPUs, W", false},
}

func (b *pageBuilder) server() (serverData, error) {
	seen := b.witnesses()
	if len(seen) == 0 {
		return serverData{}, nil
	}
	d := serverData{Table: b.table("The server's own figures of the best candidate of each engine", append([]column{colScenario, colFull}, serverColumns...), seen), Note: serverNote + "."}
	for i, k := range b.c.Classes {
		drawn := slices.DeleteFunc(slices.Clone(seen), func(e result.Entry) bool { return e.Class != i })
		if len(drawn) == 0 || i >= maxDrawnClasses {
			continue
		}
		c := serverClass{Label: k.Label, Keys: b.keys(k, drawn), Table: instants(k.Label)}
		for _, q := range serverCharts {
			pic := chart{title: fmt.Sprintf("%s: %s over time", k.Label, q.label), xLabel: "seconds into the load point", yLabel: q.label, percentY: q.percent, small: true}
			for _, e := range drawn {
				// What never happened is in the table.
				if points := overTime(e.Row.Server, q.name); slices.ContainsFunc(points, func(m mark) bool { return m.y > 0 }) {
					pic.series = append(pic.series, series{colour: b.colour(e.Row.Framework), strong: true, points: points})
					c.Table.Rows = append(c.Table.Rows, atInstants(q.label, fullName(e), points, q.percent))
				}
			}
			if err := appendFigure(&c.Figures, pic, q.label); err != nil {
				return d, err
			}
		}
		if len(c.Figures) > 0 {
			d.Classes = append(d.Classes, c)
		}
	}
	return d, nil
}

// instantsShown is how many equal parts of the time the table has.
const instantsShown = 8

func instants(label string) tableData {
	t := tableData{Caption: label + ": the server over the time of the load point", Heads: []headData{{"quantity", false}, {"candidate", false}}}
	for i := range instantsShown + 1 {
		t.Heads = append(t.Heads, headData{fmt.Sprintf("%.3g %%", 100*float64(i)/instantsShown), true})
	}
	return t
}

func atInstants(quantity, candidate string, points []mark, percent bool) rowData {
	r := rowData{Cells: []cellData{{Text: quantity}, {Text: candidate}}}
	for i := range instantsShown + 1 {
		y := points[i*(len(points)-1)/instantsShown].y
		text := result.Number(y)
		if percent {
			text = result.Percent(y)
		}
		r.Cells = append(r.Cells, cellData{Text: text, Numeric: true})
	}
	return r
}

// overTime are the points of a quantity; power is that of all GPUs together.
func overTime(s *metric.Server, name string) []mark {
	var out []mark
	for _, x := range s.Series {
		power := name == "power" && strings.HasSuffix(x.Name, "_power")
		if x.Name != name && !power {
			continue
		}
		for i, v := range x.Values[:min(len(x.Values), len(x.AtS))] {
			if power && i < len(out) {
				out[i].y += v // asked of all GPUs at once
				continue
			}
			out = append(out, mark{x: x.AtS[i], y: v})
		}
	}
	return out
}
