package result

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// ClassKey holds the conditions under which rows may be ranked against each
// other. A field is "" when the row does not tell it.
type ClassKey struct {
	Model       string `json:"model"`
	Scenario    string `json:"scenario"`
	InputLen    string `json:"input_len"`
	OutputLen   string `json:"output_len"`
	RequestRate string `json:"request_rate"`    // "4", "none" or "searched"
	Concurrency string `json:"max_concurrency"` // "8", "none" or "searched"
	Arrivals    string `json:"arrivals"`        // "open" or "closed"
	GPUModel    string `json:"gpu_model"`
	Simulated   bool   `json:"simulated"`
	Smoke       bool   `json:"smoke"`
}

const (
	wordNone     = "none"
	wordSearched = "searched"
)

func keyOf(r Row) ClassKey {
	w := r.Workload
	k := ClassKey{
		Model: r.Model, Scenario: w.Scenario, InputLen: wordOf(w.InputLen), OutputLen: wordOf(w.OutputLen),
		RequestRate: wordNone, Concurrency: wordNone, GPUModel: strings.ToLower(strings.TrimSpace(r.Hardware.GPUModel)),
		Simulated: r.Simulated, Smoke: r.Smoke,
	}
	if w.RequestRate != nil {
		k.RequestRate = Number(*w.RequestRate)
	}
	if w.MaxConcurrency != nil {
		k.Concurrency = wordOf(w.MaxConcurrency)
	}
	if n := r.Hardware.GPUCount; n != nil && *n == 0 && k.GPUModel == "" {
		k.GPUModel = wordNone
	}
	if slices.Contains(w.Searched, SearchedRate) {
		k.RequestRate = wordSearched
	}
	if slices.Contains(w.Searched, SearchedConcurrency) {
		k.Concurrency = wordSearched
	}
	switch w.Arrivals {
	case "":
	case "closed":
		k.Arrivals = "closed"
	default:
		k.Arrivals = "open"
	}
	return k
}

func wordOf(n *int) string {
	if n == nil {
		return ""
	}
	return fmt.Sprint(*n)
}

// fields of the key with the names that people read, in the order of sorting.
func (k ClassKey) fields() []struct{ name, value string } {
	return []struct{ name, value string }{
		{"scenario", k.Scenario}, {"model", k.Model}, {"input length", k.InputLen}, {"output length", k.OutputLen},
		{"offered rate", k.RequestRate}, {"concurrency cap", k.Concurrency}, {"arrivals", k.Arrivals}, {"GPU model", k.GPUModel},
		{"simulated", fmt.Sprint(k.Simulated)}, {"smoke", fmt.Sprint(k.Smoke)},
	}
}

func (k ClassKey) compare(o ClassKey) int {
	a, b := k.fields(), o.fields()
	for i := range a {
		if c := compareNatural(a[i].value, b[i].value); c != 0 {
			return c
		}
	}
	return 0
}

// compareNatural sorts numbers by value.
func compareNatural(a, b string) int {
	x, okA := floatOf(a)
	y, okB := floatOf(b)
	if okA && okB {
		return cmp.Or(cmp.Compare(x, y), strings.Compare(a, b))
	}
	return strings.Compare(a, b)
}

// compatible says whether no field contradicts: where missing is set, one that
// a row does not tell (or a load that it never had) fits everything.
func (k ClassKey) compatible(o ClassKey, missing bool) bool {
	if !missing {
		return k == o
	}
	a, b := k.fields(), o.fields()
	for i := range a {
		x, y := a[i].value, b[i].value
		load := a[i].name == "offered rate" || a[i].name == "concurrency cap"
		fits := x == y || x == "" || y == "" || load && (x == wordNone || y == wordNone)
		if !fits {
			return false
		}
	}
	return true
}

// conditions writes the key for people.
func (k ClassKey) conditions() string {
	parts := []string{"model " + cmp.Or(k.Model, "not told"), "scenario " + k.Scenario}
	if k.InputLen+k.OutputLen != "" {
		parts = append(parts, fmt.Sprintf("%s tokens in, %s out", cmp.Or(k.InputLen, "?"), cmp.Or(k.OutputLen, "?")))
	}
	parts = append(parts, k.rateWords(), k.capWords(), k.gpuWords())
	if k.Simulated {
		parts = append(parts, "simulated engine")
	}
	if k.Smoke {
		parts = append(parts, "flow check (smoke)")
	}
	return strings.Join(parts, " · ")
}

func (k ClassKey) rateWords() string {
	switch {
	case k.RequestRate == wordSearched:
		return "highest offered rate within the SLA"
	case k.Arrivals == "closed":
		return "closed loop"
	case k.RequestRate == wordNone && k.Arrivals == "open":
		return "all at once"
	case k.RequestRate == wordNone:
		return "no rate limit"
	}
	return k.RequestRate + " requests/s offered"
}

func (k ClassKey) capWords() string {
	switch k.Concurrency {
	case wordSearched:
		return "concurrency cap searched"
	case wordNone:
		return "no concurrency cap"
	}
	return "at most " + k.Concurrency + " in flight"
}

func (k ClassKey) gpuWords() string {
	switch k.GPUModel {
	case "":
		return "GPU not told"
	case wordNone:
		return "no GPU"
	}
	return "GPU " + strings.ToUpper(k.GPUModel)
}

// labelParts are what may set classes of one scenario apart, in the order in
// which a label names them.
var labelParts = []struct {
	of    func(ClassKey) string // equal where the classes do not differ
	words func(ClassKey) string
}{
	{func(k ClassKey) string { return k.Model }, func(k ClassKey) string { return cmp.Or(k.Model, "model not told") }},
	{func(k ClassKey) string { return k.InputLen + "/" + k.OutputLen }, func(k ClassKey) string {
		return cmp.Or(k.InputLen, "?") + " in/" + cmp.Or(k.OutputLen, "?") + " out"
	}},
	{func(k ClassKey) string { return k.RequestRate + "/" + k.Arrivals }, ClassKey.rateWords},
	{func(k ClassKey) string { return k.Concurrency }, ClassKey.capWords},
	{func(k ClassKey) string { return k.GPUModel }, ClassKey.gpuWords},
	{func(k ClassKey) string { return fmt.Sprint(k.Simulated) }, func(k ClassKey) string { return pick(k.Simulated, "simulated", "measured") }},
	{func(k ClassKey) string { return fmt.Sprint(k.Smoke) }, func(k ClassKey) string { return pick(k.Smoke, "smoke", "full") }},
}

// label names each class by its scenario and, where that is not enough, by what
// sets it apart from the others of that scenario.
func label(classes []Class) {
	type place struct {
		scenario string
		part     int
	}
	first, differs := map[place]string{}, map[place]bool{}
	for _, c := range classes {
		for i, part := range labelParts {
			at, v := place{c.Key.Scenario, i}, part.of(c.Key)
			if before, seen := first[at]; !seen {
				first[at] = v
			} else if before != v {
				differs[at] = true
			}
		}
	}
	for i := range classes {
		k := classes[i].Key
		words := []string{k.Scenario}
		for j, part := range labelParts {
			if differs[place{k.Scenario, j}] {
				words = append(words, part.words(k))
			}
		}
		classes[i].Label = strings.Join(words, ", ")
	}
}

func pick(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}
