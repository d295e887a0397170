package workload

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// LengthKind names a distribution of lengths.
type LengthKind string

// The distributions of lengths.
const (
	LengthFixed     LengthKind = "fixed"     // Mean, or a range around it
	LengthUniform   LengthKind = "uniform"   // whole numbers from Min to Max, both included
	LengthNormal    LengthKind = "normal"    // Mean and Stddev, within Min to Max
	LengthLogNormal LengthKind = "lognormal" // Mean and Stddev of the lengths themselves, within Min to Max
	LengthEmpirical LengthKind = "empirical" // one of Values, each as likely
)

// Compat names the tool whose meaning of a length and its range is reproduced.
type Compat string

// The meanings of a fixed length L with a range ratio r. Without a compatibility
// word it is as CompatVLLM has it, rounded to the nearest whole number.
const (
	// CompatVLLM: whole numbers from ⌊L(1−r)⌋ to ⌈L(1+r)⌉, both included; r = 0
	// is exactly L (vllm benchmarks, datasets; facts of 2026-08).
	CompatVLLM Compat = "vllm"
	// CompatSGLang: whole numbers from ⌊L·r⌋, at least 1, to L, both included;
	// r = 0 is 1 to L and only r = 1 is exactly L (sglang benchmark/datasets).
	CompatSGLang Compat = "sglang"
)

// Compats are the known meanings beside our own.
var Compats = []Compat{CompatVLLM, CompatSGLang}

// Lengths is a distribution of numbers of tokens. The zero value is "not given".
type Lengths struct {
	Kind LengthKind `json:"kind,omitzero"` // "" = fixed
	Mean float64    `json:"mean,omitzero"`
	// Range is the ratio r of a fixed length's range, 0 to 1; what it means
	// depends on the workload's Compat.
	Range  float64 `json:"range_ratio,omitzero"`
	Stddev float64 `json:"stddev,omitzero"`
	// Min and Max bound what is drawn; 0 = 1 and ten million. A value of a
	// normal or log-normal distribution outside of them is drawn again.
	Min    int   `json:"min,omitzero"`
	Max    int   `json:"max,omitzero"`
	Values []int `json:"values,omitempty"`
}

// Fixed is the distribution that is always n.
func Fixed(n int) Lengths { return Lengths{Mean: float64(n)} }

// IsZero says that no distribution is given.
func (l Lengths) IsZero() bool {
	return l.Kind == "" && l.Mean == 0 && l.Range == 0 && l.Stddev == 0 && l.Min == 0 && l.Max == 0 && len(l.Values) == 0
}

func (l Lengths) bounds() (low, high int) {
	low, high = l.Min, l.Max
	if low == 0 {
		low = 1
	}
	if high == 0 {
		high = maxLen
	}
	return low, high
}

// Validate says what is wrong with the distribution.
func (l Lengths) Validate() error {
	finite := func(x float64) bool { return x >= 0 && x <= maxLen }
	low, high := l.bounds()
	if l.Min < 0 || l.Max < 0 || low > high || high > maxLen {
		return fmt.Errorf("from %d to %d: expected 0 ≤ min ≤ max ≤ %d", l.Min, l.Max, maxLen)
	}
	switch l.Kind {
	case LengthFixed, "":
		if !finite(l.Mean) || l.Mean != math.Trunc(l.Mean) || !(l.Range >= 0 && l.Range <= 1) {
			return fmt.Errorf("fixed length %v with range ratio %v: expected a whole number up to %d and a ratio from 0 to 1", l.Mean, l.Range, maxLen)
		}
	case LengthUniform:
		if l.Max == 0 {
			return errors.New("uniform lengths need a max")
		}
	case LengthNormal, LengthLogNormal:
		if !finite(l.Mean) || !finite(l.Stddev) || l.Mean == 0 {
			return fmt.Errorf("mean %v, standard deviation %v: expected numbers up to %d, the mean above 0", l.Mean, l.Stddev, maxLen)
		}
	case LengthEmpirical:
		if len(l.Values) == 0 {
			return errors.New("empirical lengths need values")
		}
		for _, v := range l.Values {
			if v < 0 || v > maxLen {
				return fmt.Errorf("the value %d: expected 0 to %d", v, maxLen)
			}
		}
	default:
		return fmt.Errorf("distribution %q is not known; expected fixed, uniform, normal, lognormal or empirical", l.Kind)
	}
	return nil
}

// span is the range of a fixed length, both ends included.
func (l Lengths) span(c Compat) (low, high int) {
	n, r := l.Mean, l.Range
	switch {
	case n < 1:
		return int(n), int(n)
	case c == CompatSGLang:
		return max(int(n*r), 1), int(n)
	case c == CompatVLLM:
		low, high = int(math.Floor(n*(1-r))), int(math.Ceil(n*(1+r)))
	default:
		low, high = int(math.Round(n*(1-r))), int(math.Round(n*(1+r)))
	}
	return max(low, 1), min(high, maxLen)
}

// Draw is the length number i of a seed and a stream: of it alone, so that a
// longer workload begins with the shorter one.
func (l Lengths) Draw(seed, stream uint64, i int, c Compat) int {
	r := rand.New(rand.NewPCG(seed^stream, uint64(i)))
	low, high := l.bounds()
	switch l.Kind {
	case LengthUniform:
		return low + r.IntN(high-low+1)
	case LengthEmpirical:
		return l.Values[r.IntN(len(l.Values))]
	case LengthNormal:
		return within(low, high, func() float64 { return l.Mean + l.Stddev*r.NormFloat64() })
	case LengthLogNormal:
		// From the moments: σ² = ln(1 + s²/m²), µ = ln m − σ²/2.
		v := math.Log1p(l.Stddev * l.Stddev / (l.Mean * l.Mean))
		mu, sigma := math.Log(l.Mean)-v/2, math.Sqrt(v)
		return within(low, high, func() float64 { return math.Exp(mu + sigma*r.NormFloat64()) })
	}
	low, high = l.span(c)
	return low + r.IntN(high-low+1)
}

// maxDraws bounds how often a value outside of the bounds is drawn again; the
// last one is put on the nearest bound.
const maxDraws = 100

func within(low, high int, draw func() float64) int {
	x := 0.0
	for range maxDraws {
		if x = math.Round(draw()); x >= float64(low) && x <= float64(high) {
			break
		}
	}
	return int(min(max(x, float64(low)), float64(high)))
}

// Longest is the largest length that may be drawn; ok is false where nothing
// bounds it.
func (l Lengths) Longest(c Compat) (n int, ok bool) {
	switch l.Kind {
	case LengthUniform:
		return l.Max, true
	case LengthNormal, LengthLogNormal:
		return l.Max, l.Max > 0
	case LengthEmpirical:
		return slices.Max(l.Values), true
	}
	_, high := l.span(c)
	return high, true
}

// MeanLength is the mean of the distribution, bounds left aside.
func (l Lengths) MeanLength(c Compat) float64 {
	switch l.Kind {
	case LengthUniform:
		low, high := l.bounds()
		return float64(low+high) / 2
	case LengthNormal, LengthLogNormal:
		return l.Mean
	case LengthEmpirical:
		sum := 0.0
		for _, v := range l.Values {
			sum += float64(v)
		}
		return sum / float64(max(len(l.Values), 1))
	}
	low, high := l.span(c)
	return float64(low+high) / 2
}

// Describe says in words which lengths are drawn.
func (l Lengths) Describe(c Compat) string {
	low, high := l.bounds()
	limits := ""
	if l.Min > 0 || l.Max > 0 {
		limits = fmt.Sprintf(", from %d to %d (a value outside is drawn again)", low, high)
	}
	switch l.Kind {
	case LengthUniform:
		return between(low, high)
	case LengthNormal:
		return fmt.Sprintf("normal with mean %g and standard deviation %g%s", l.Mean, l.Stddev, limits)
	case LengthLogNormal:
		return fmt.Sprintf("log-normal with mean %g and standard deviation %g of the lengths themselves%s", l.Mean, l.Stddev, limits)
	case LengthEmpirical:
		return fmt.Sprintf("drawn from %d given values (%d to %d, mean %.4g), each as likely", len(l.Values), slices.Min(l.Values), slices.Max(l.Values), l.MeanLength(c))
	}
	low, high = l.span(c)
	if low == high {
		return fmt.Sprintf("exactly %d", low)
	}
	return between(low, high) + fmt.Sprintf(": %g with range ratio %g%s", l.Mean, l.Range, asTool(c))
}

func asTool(c Compat) string {
	if c == "" {
		return ""
	}
	return " as " + string(c) + " means it"
}

func between(low, high int) string {
	return fmt.Sprintf("every whole number from %d to %d as likely (mean %g)", low, high, float64(low+high)/2)
}

// ReadLengths reads the values of an empirical distribution: a JSON list of whole
// numbers, or one number a line.
func ReadLengths(r io.Reader, name string) ([]int, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxRowBytes+1))
	if err != nil {
		return nil, fmt.Errorf("lengths %s: %w", name, err)
	}
	if len(text) > maxRowBytes {
		return nil, fmt.Errorf("lengths %s: longer than %d bytes", name, maxRowBytes)
	}
	var out []int
	if s := strings.TrimSpace(string(text)); strings.HasPrefix(s, "[") {
		if err := json.Unmarshal([]byte(s), &out); err != nil {
			return nil, fmt.Errorf("lengths %s: expected a list of whole numbers: %w", name, err)
		}
	} else {
		for i, line := range strings.Split(s, "\n") {
			if line = strings.TrimSpace(line); line == "" {
				continue
			}
			n, err := strconv.Atoi(line)
			if err != nil {
				return nil, fmt.Errorf("lengths %s, line %d: %q is not a whole number", name, i+1, cut(line))
			}
			out = append(out, n)
		}
	}
	if err := (Lengths{Kind: LengthEmpirical, Values: out}).Validate(); err != nil {
		return nil, fmt.Errorf("lengths %s: %w", name, err)
	}
	return out, nil
}
