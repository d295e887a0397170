package metrictext

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Bounds of a page: what is beyond them is counted, not kept.
const (
	MaxSamples = 400_000
	maxLine    = 1 << 20 // bytes
	maxNamed   = 50      // malformed lines that are kept by name
)

// Label is one label of a series.
type Label struct{ Name, Value string }

// Sample is one value of a series.
type Sample struct {
	Name   string
	Labels []Label // by name
	Value  float64 // may be NaN or infinite
}

// Label is the value of a label; "" = the series lacks it.
func (s Sample) Label(name string) string {
	v, _ := s.lookup(name)
	return v
}

func (s Sample) lookup(name string) (string, bool) {
	for _, l := range s.Labels {
		if l.Name == name {
			return l.Value, true
		}
	}
	return "", false
}

// Carries says that the series has all of these labels with these values.
func (s Sample) Carries(want map[string]string) bool {
	for name, value := range want {
		if v, ok := s.lookup(name); !ok || v != value {
			return false
		}
	}
	return true
}

// Key is the labels as one text, which tells the series of a family apart.
func (s Sample) Key() string { return key(s.Labels, "") }

func key(labels []Label, without string) string {
	parts := make([]string, 0, len(labels))
	for _, l := range labels {
		if l.Name != without {
			parts = append(parts, l.Name+"="+l.Value)
		}
	}
	return strings.Join(parts, ",")
}

// Page is a page of metrics.
type Page struct {
	Samples []Sample // in the order of the page
	// Exemplars, Timestamps and NaNs count the samples that carry one, or are one.
	Exemplars, Timestamps, NaNs int
	// Malformed are the names of the lines that could not be read, the first of
	// them; MalformedLines counts them all.
	Malformed      []string
	MalformedLines int
	// Left counts the samples beyond MaxSamples.
	Left int

	types  map[string]string // family → type in lower case
	byName map[string][]int  // name → samples
	native map[string][]Histogram
	text   expfmt.TextParser
	open   bool // OpenMetrics: timestamps are seconds
}

// Parse reads a page. It never fails: see [Page.Err].
func Parse(page []byte) *Page {
	p := &Page{types: map[string]string{}, byName: map[string][]int{}, native: map[string][]Histogram{}, text: expfmt.NewTextParser(model.UTF8Validation)}
	if delimited(page) {
		p.readDelimited(page)
	} else {
		p.open = bytes.Contains(page, []byte("\n# EOF"))
		for len(page) > 0 {
			line, rest, _ := bytes.Cut(page, []byte("\n"))
			page = rest
			p.readLine(line)
		}
	}
	for i, s := range p.Samples {
		p.byName[s.Name] = append(p.byName[s.Name], i)
	}
	return p
}

// Err says that nothing of the page could be read, though it is not empty.
func (p *Page) Err() error {
	if p.MalformedLines > 0 && len(p.Samples)+len(p.native) == 0 {
		return fmt.Errorf("metrics: expected the Prometheus text format; none of %d lines could be read", p.MalformedLines)
	}
	return nil
}

// Has says that the page has a family of this name.
func (p *Page) Has(name string) bool {
	return len(p.byName[name])+len(p.byName[name+"_bucket"])+len(p.native[name]) > 0
}

// Type is the type that the page states for a family, in lower case; "" = none.
func (p *Page) Type(name string) string { return p.types[name] }

// Series are the samples of a gauge or counter. The quantiles of a summary are
// none.
func (p *Page) Series(name string) []Sample {
	if t := p.types[name]; t == "summary" || t == "histogram" || t == "gaugehistogram" {
		return nil
	}
	out := make([]Sample, 0, len(p.byName[name]))
	for _, i := range p.byName[name] {
		out = append(out, p.Samples[i])
	}
	return out
}

func (p *Page) readLine(line []byte) {
	line = bytes.TrimSpace(bytes.TrimSuffix(line, []byte("\r")))
	switch {
	case len(line) == 0:
	case line[0] == '#':
		if f := bytes.Fields(line); len(f) == 4 && string(f[1]) == "TYPE" {
			name, _ := unquote(string(f[2]))
			p.types[name] = strings.ToLower(string(f[3]))
		}
	case len(line) > maxLine:
		p.malformed(line)
	default:
		p.readSample(line)
	}
}

// readSample reads one line. What stands behind the labels is at most a value, a
// timestamp and an exemplar; only the value goes to the parser.
func (p *Page) readSample(line []byte) {
	end, ok := labelsEnd(line)
	if !ok {
		p.malformed(line)
		return
	}
	head, tail := line[:end], line[end:]
	value, exemplar, hasExemplar := bytes.Cut(tail, []byte("#"))
	fields := bytes.Fields(value)
	exemplar = bytes.TrimSpace(exemplar)
	if len(fields) == 0 || len(fields) > 2 || hasExemplar && !bytes.HasPrefix(exemplar, []byte("{")) || len(fields) == 2 && !p.timestamp(string(fields[1])) {
		p.malformed(line)
		return
	}
	buf := make([]byte, 0, len(head)+len(fields[0])+2)
	buf = append(append(append(append(buf, head...), ' '), fields[0]...), '\n')
	families, err := p.text.TextToMetricFamilies(bytes.NewReader(buf))
	if err != nil || len(families) != 1 {
		p.malformed(line)
		return
	}
	for name, f := range families {
		for _, m := range f.GetMetric() {
			p.add(Sample{name, labelsOf(m.GetLabel()), m.GetUntyped().GetValue()}, hasExemplar, len(fields) == 2)
		}
	}
}

func (p *Page) add(s Sample, exemplar, timestamp bool) {
	if len(p.Samples) >= MaxSamples {
		p.Left++
		return
	}
	p.Samples = append(p.Samples, s)
	if exemplar {
		p.Exemplars++
	}
	if timestamp {
		p.Timestamps++
	}
	if math.IsNaN(s.Value) {
		p.NaNs++
	}
}

// timestamp: whole milliseconds, in OpenMetrics seconds.
func (p *Page) timestamp(text string) bool {
	if p.open {
		_, err := strconv.ParseFloat(text, 64)
		return err == nil
	}
	_, err := strconv.ParseInt(text, 10, 64)
	return err == nil
}

func (p *Page) malformed(line []byte) {
	p.MalformedLines++
	if len(p.Malformed) == maxNamed {
		return
	}
	const most = 80
	name := line
	if i := bytes.IndexAny(line, "{ \t"); i > 0 {
		name = line[:i]
	}
	p.Malformed = append(p.Malformed, strings.ToValidUTF8(string(name[:min(len(name), most)]), "?"))
}

// labelsEnd is where the name and the labels of a line end; false = a quote or a
// brace stays open.
func labelsEnd(line []byte) (int, bool) {
	name := bytes.IndexAny(line, "{ \t")
	if name < 0 {
		return len(line), true
	}
	brace := name
	for brace < len(line) && (line[brace] == ' ' || line[brace] == '\t') {
		brace++
	}
	if brace == len(line) || line[brace] != '{' {
		return name, true
	}
	quoted := false
	for i := brace; i < len(line); i++ {
		switch c := line[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '}' && !quoted:
			return i + 1, true
		}
	}
	return 0, false
}

func unquote(name string) (string, bool) {
	if s, err := strconv.Unquote(name); err == nil && strings.HasPrefix(name, `"`) {
		return s, true
	}
	return name, false
}

func labelsOf(pairs []*dto.LabelPair) []Label {
	if len(pairs) == 0 {
		return nil
	}
	labels := make([]Label, len(pairs))
	for i, l := range pairs {
		labels[i] = Label{l.GetName(), l.GetValue()}
	}
	slices.SortFunc(labels, func(a, b Label) int { return strings.Compare(a.Name, b.Name) })
	return labels
}
