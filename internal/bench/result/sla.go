package result

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Limit bounds one statistic of one latency.
type Limit struct {
	Key   string  `json:"key"` // max_<stat>_<quantity>_ms: max_p50_ttft_ms
	MaxMs float64 `json:"max_ms"`
}

// minSuccessKey is the one limit that is not on a latency.
const minSuccessKey = "min_success_rate"

// NewLimit makes a limit on a statistic ("p50", "mean") of a quantity ("ttft",
// "tpot", "e2e", "itl").
func NewLimit(stat, quantity string, maxMs float64) Limit {
	return Limit{Key: "max_" + stat + "_" + quantity + "_ms", MaxMs: maxMs}
}

// Known says whether the key names a statistic that rows can hold. Any other
// percentile needs the samples.
func (l Limit) Known() bool {
	tail, ok := l.tail()
	if !ok {
		return false
	}
	_, _, known := new(Metrics).lookup(tail)
	return known
}

// tail is the key without "max_" and "_ms".
func (l Limit) tail() (string, bool) {
	s, ok := strings.CutPrefix(l.Key, "max_")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(s, "_ms")
}

// SLA is the set of limits of a row, and the verdict. In the JSON the limits
// are keys of one flat object: "max_p50_ttft_ms": 2000.
type SLA struct {
	Limits         []Limit
	MinSuccessRate *float64 // 0..1; nil = no such limit
	Passed         *bool    // nil = not judged
	Violations     []string // in words; empty when passed
}

// MarshalJSON writes the flat object, limits in their order.
func (s SLA) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	put := func(key string, v any) error {
		text, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("sla.%s: %w", key, err)
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%s:%s", strconv.Quote(key), text)
		return nil
	}
	for _, l := range s.Limits {
		if err := put(l.Key, l.MaxMs); err != nil {
			return nil, err
		}
	}
	if s.MinSuccessRate != nil {
		if err := put(minSuccessKey, *s.MinSuccessRate); err != nil {
			return nil, err
		}
	}
	if s.Passed != nil {
		if err := put("passed", *s.Passed); err != nil {
			return nil, err
		}
	}
	if len(s.Violations) > 0 {
		if err := put("violations", s.Violations); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// UnmarshalJSON reads what MarshalJSON wrote; limits come in the order of the
// object.
func (s *SLA) UnmarshalJSON(data []byte) error {
	var fixed struct {
		MinSuccessRate *float64 `json:"min_success_rate"`
		Passed         *bool    `json:"passed"`
		Violations     []string `json:"violations"`
	}
	if err := json.Unmarshal(data, &fixed); err != nil {
		return err
	}
	*s = SLA{MinSuccessRate: fixed.MinSuccessRate, Passed: fixed.Passed, Violations: fixed.Violations}
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return err // null, which leaves an empty SLA
	}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return err
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return err
		}
		key, _ := t.(string)
		if !strings.HasPrefix(key, "max_") || string(raw) == "null" {
			continue
		}
		var x float64
		if err := json.Unmarshal(raw, &x); err != nil {
			return fmt.Errorf("sla.%s: %w", key, err)
		}
		s.set(Limit{key, x})
	}
	return nil
}

// set adds a limit; a later one with the same key replaces it.
func (s *SLA) set(l Limit) {
	if i := slices.IndexFunc(s.Limits, func(x Limit) bool { return x.Key == l.Key }); i >= 0 {
		s.Limits[i] = l
		return
	}
	s.Limits = append(s.Limits, l)
}

// Any says whether there is a limit at all.
func (s SLA) Any() bool { return len(s.Limits) > 0 || s.MinSuccessRate != nil }

// Words writes the limits for people; "" = none.
func (s SLA) Words() string {
	var parts []string
	for _, l := range s.Limits {
		tail, _ := l.tail()
		if _, title, known := new(Metrics).lookup(tail); known {
			parts = append(parts, fmt.Sprintf("%s ≤ %s ms", title, Number(l.MaxMs)))
		} else {
			parts = append(parts, fmt.Sprintf("%s %s", l.Key, Number(l.MaxMs)))
		}
	}
	if s.MinSuccessRate != nil {
		parts = append(parts, "success rate ≥ "+Percent(*s.MinSuccessRate))
	}
	return strings.Join(parts, ", ")
}

// Judge holds the figures against the limits: whether all are met, and each
// that is not, in words. A limit that is met exactly is kept; a limit on a
// figure that was not measured is not met.
func Judge(limits []Limit, minSuccess *float64, m Metrics) (passed bool, violations []string) {
	if minSuccess != nil {
		switch {
		case m.SuccessRate == nil:
			violations = append(violations, fmt.Sprintf("success rate was not measured (limit %s)", Percent(*minSuccess)))
		case !(*m.SuccessRate >= *minSuccess):
			violations = append(violations, fmt.Sprintf("success rate %s is below the limit of %s", Percent(*m.SuccessRate), Percent(*minSuccess)))
		}
	}
	for _, l := range limits {
		if v := l.violation(m); v != "" {
			violations = append(violations, v)
		}
	}
	return len(violations) == 0, violations
}

// Judge fills in the verdict from the figures.
func (s *SLA) Judge(m Metrics) {
	passed, violations := Judge(s.Limits, s.MinSuccessRate, m)
	s.Passed, s.Violations = &passed, violations
}

func (l Limit) violation(m Metrics) string {
	tail, _ := l.tail()
	value, title, known := m.lookup(tail)
	switch {
	case !known:
		return fmt.Sprintf("limit %s names no figure of a row", l.Key)
	case value == nil:
		return fmt.Sprintf("%s was not measured (limit %s ms)", title, Number(l.MaxMs))
	case !(*value <= l.MaxMs):
		shown := Number(*value)
		if shown == Number(l.MaxMs) { // a miss by a hair
			shown = strconv.FormatFloat(*value, 'f', -1, 64)
		}
		return fmt.Sprintf("%s %s ms is above the limit of %s ms", title, shown, Number(l.MaxMs))
	}
	return ""
}

// Percent writes a share so that 0.9875 and 0.99 differ.
func Percent(x float64) string {
	return strconv.FormatFloat(round(100*x, 3), 'f', -1, 64) + " %"
}

// Number writes at most four significant digits, whole numbers whole.
func Number(x float64) string {
	switch {
	case x >= 1000 || x <= -1000:
		return strconv.FormatFloat(x, 'f', 0, 64)
	case x == 0:
		return "0"
	}
	s, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 4, 64), 64)
	if err != nil {
		return strconv.FormatFloat(x, 'g', 4, 64)
	}
	return strconv.FormatFloat(s, 'f', -1, 64)
}

func round(x float64, digits int) float64 {
	s, err := strconv.ParseFloat(strconv.FormatFloat(x, 'f', digits, 64), 64)
	if err != nil {
		return x
	}
	return s
}
