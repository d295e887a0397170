package sim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"text/template"
	"time"
)

// Data is what the templates of a surface see. A field that does not apply to a
// text is zero there.
type Data struct {
	// The process.
	Version, Program, Model, ServedName, Host string
	Port, PID                                 int
	Now                                       time.Time
	Unix                                      int64 // seconds
	UnixF                                     float64
	Started                                   time.Time
	UptimeS                                   float64
	ContextLen                                int
	KVTokens, KVBlocks, BlockSize             int     // capacity
	GPU                                       string  // "NVIDIA H100"
	GPUMemGB                                  float64 // of one
	WeightGB, KVGB, GraphGB                   float64 // on one GPU
	GPUCount, TP, PP, DP, EP                  int
	MaxRunning, MaxBatchTokens                int
	Argv                                      []string
	Knob                                      map[string]string
	BootS                                     float64 // seconds from start to ready

	// State of the scheduler; totals count from the start.
	Running, Waiting                             int
	KVUsage                                      float64 // 0..1
	KVUsed                                       int     // tokens
	PromptTokens, CachedTokens, GenerationTokens int
	Requests, Preemptions, Steps                 int
	FinishedStop, FinishedLength, Aborted        int
	SpecTokens                                   int     // drafted in a step of one request; 0 = no speculation
	Drafts, DraftTokens, AcceptedTokens          int     // steps with a draft, tokens of these, and those that were right
	AcceptLength                                 float64 // tokens a step with a draft yields
	GenThroughput, PromptThroughput              float64 // tokens/s since the last asking of the same kind
	CacheHitRate                                 float64 // cached / prompt tokens since the start, 0..1

	// One reply. In replies, CachedTokens counts the request alone.
	ID            string
	Created       int64
	Text          string // new text
	SoFar         string // all text; with cumulative wires what the event carries
	Thinking      bool   // Text is reasoning; of chats whose engine parses it
	Thoughts      string // all reasoning of a whole reply; SoFar is then the rest
	InputTokens   int
	OutputTokens  int
	Finish        string // "", stop, length, abort
	FinishMessage string
	Index         int
	Stream        bool
	WithUsage     bool
	E2EMs         float64
	TTFTMs        float64
	QueueMs       float64
	Tokens        []int // of tokenize

	// One error, or one refusal at start.
	Message, Field, Flag, Value string
	Limit, Wanted               int
}

// HistogramText is what {{hist "ttft"}} yields.
type HistogramText struct {
	Sum   float64
	Count uint64
}

// BucketText is one line of a histogram; Count is cumulative.
type BucketText struct {
	LE    string // as the Python client writes it: 0.5, 1.0, +Inf
	Count uint64
}

func (s *Surface) hist(name string) (HistogramText, error) {
	h := s.histograms[name]
	if h == nil {
		return HistogramText{}, fmt.Errorf("histogram %q: expected one of %v", name, histogramNames)
	}
	return HistogramText{h.sum, h.count}, nil
}

// buckets are the cumulative counts up to each bound, and +Inf.
func (s *Surface) buckets(name string, bounds ...any) ([]BucketText, error) {
	h := s.histograms[name]
	if h == nil {
		return nil, fmt.Errorf("histogram %q: expected one of %v", name, histogramNames)
	}
	out := make([]BucketText, 0, len(bounds)+1)
	for _, b := range bounds {
		v, err := number(b)
		if err != nil {
			return nil, err
		}
		out = append(out, BucketText{pythonFloat(v), h.below(v)})
	}
	return append(out, BucketText{"+Inf", h.count}), nil
}

func pythonFloat(v float64) string {
	s := strconv.FormatFloat(v, 'f', -1, 64)
	if !bytes.ContainsRune([]byte(s), '.') {
		s += ".0"
	}
	return s
}

var histogramNames = []string{"ttft", "e2e", "tpot", "queue", "itl", "prefill", "decode", "prompt", "generation", "step_tokens"}

// templateFuncs are the functions of surface templates.
func (s *Surface) templateFuncs() template.FuncMap {
	return template.FuncMap{
		"json": jsonText,
		"date": func(layout string, at ...time.Time) string {
			if len(at) == 0 {
				return time.Now().UTC().Format(layout)
			}
			return at[0].UTC().Format(layout)
		},
		"hist":    s.hist,
		"buckets": s.buckets,
		"add":     arithmetic(func(a, b float64) (float64, error) { return a + b, nil }),
		"sub":     arithmetic(func(a, b float64) (float64, error) { return a - b, nil }),
		"mul":     arithmetic(func(a, b float64) (float64, error) { return a * b, nil }),
		"div": arithmetic(func(a, b float64) (float64, error) {
			if b == 0 {
				return 0, nil // a share of nothing
			}
			return a / b, nil
		}),
		"int": func(v any) (int, error) {
			f, err := number(v)
			return int(f), err
		},
	}
}

// jsonText is v as JSON, without escapes for HTML.
func jsonText(v any) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", err
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

// arithmetic keeps whole numbers whole.
func arithmetic(op func(a, b float64) (float64, error)) func(a, b any) (any, error) {
	return func(a, b any) (any, error) {
		x, err := number(a)
		if err != nil {
			return nil, err
		}
		y, err := number(b)
		if err != nil {
			return nil, err
		}
		v, err := op(x, y)
		if err == nil && v == float64(int64(v)) && whole(a) && whole(b) {
			return int64(v), nil
		}
		return v, err
	}
}

func whole(v any) bool {
	switch v.(type) {
	case int, int64, uint64:
		return true
	}
	return false
}

func number(v any) (float64, error) {
	switch n := v.(type) {
	case int:
		return float64(n), nil
	case int64:
		return float64(n), nil
	case uint64:
		return float64(n), nil
	case float64:
		return n, nil
	case string:
		f, err := strconv.ParseFloat(n, 64)
		if err != nil {
			return 0, fmt.Errorf("%q is not a number", n)
		}
		return f, nil
	}
	return 0, errors.New("expected a number")
}

// histogram counts observations. Bounds are those that templates ask for; an
// observation is kept in bins of 1/16 octave, each with its exact values up to a
// limit, so that counts are exact in tests and bounded in size in long runs.
type histogram struct {
	sum    float64
	count  uint64
	sorted []float64 // exact values, up to exactValues
	bins   map[int32]uint64
}

const exactValues = 4096

func (h *histogram) observe(v float64) {
	h.sum += v
	h.count++
	if len(h.sorted) < exactValues {
		i, _ := slices.BinarySearch(h.sorted, v)
		h.sorted = slices.Insert(h.sorted, i, v)
		return
	}
	if h.bins == nil {
		h.bins = map[int32]uint64{}
	}
	h.bins[bin(v)]++
}

// below counts observations of at most v.
func (h *histogram) below(v float64) uint64 {
	i, found := slices.BinarySearch(h.sorted, v)
	for found && i < len(h.sorted) && h.sorted[i] == v {
		i++
	}
	n := uint64(i)
	for b, c := range h.bins {
		if b <= bin(v) {
			n += c
		}
	}
	return n
}

func sampleData() *Data {
	d := &Data{Knob: map[string]string{}, Now: time.Unix(0, 0), Started: time.Unix(0, 0), Argv: []string{"x"}}
	return d
}

func newHistograms() map[string]*histogram {
	m := map[string]*histogram{}
	for _, n := range histogramNames {
		m[n] = &histogram{}
	}
	return m
}

// bin numbers the sixteenth of an octave that v lies in.
func bin(v float64) int32 {
	if v <= 0 {
		return math.MinInt32
	}
	return int32(math.Floor(math.Log2(v) * 16))
}
