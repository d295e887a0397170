package run

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"llmdyno/internal/artifact"
	"llmdyno/internal/bench/result"
	"llmdyno/internal/engine"
	"llmdyno/internal/load/metric"
	"llmdyno/internal/load/sample"
)

// pieces cuts words into pieces of up to three bytes; a space belongs to the
// word behind it.
func pieces(text string) (n int) {
	for i, w := range strings.Split(text, " ") {
		n += (len(w) + min(i, 1) + 2) / 3
	}
	return n
}

// counting is a server with a tokenizer; it says how often it was asked.
type counting struct {
	*backend
	usage  string // member of the last event; "" = none
	broken bool   // its tokenizer answers with something else
	asked  int
	wrong  []string // prompts of other lengths than 16
}

func (c *counting) engine() *engine.Engine {
	e := tiny()
	e.Endpoints = append(e.Endpoints, engine.Endpoint{Name: engine.EndpointTokenize, Method: "POST", Path: "/tokenize", ReadOnly: true})
	e.Tokenize = &engine.Tokenize{
		Encode: func(model, text string) ([]byte, error) {
			return json.Marshal(map[string]string{"model": model, "text": text})
		},
		Count: engine.CountTokens,
	}
	return e
}

func (c *counting) handler(next http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", next)
	mux.HandleFunc("POST /tokenize", func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.asked++
		var body struct{ Model, Text string }
		json.NewDecoder(r.Body).Decode(&body)
		if c.broken || body.Model != "some/model" {
			io.WriteString(w, `{"error":"no such thing"}`)
			return
		}
		fmt.Fprintf(w, `{"count":%d}`, pieces(body.Text))
	})
	mux.HandleFunc("POST /v1/completions", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Prompt    string `json:"prompt"`
			MaxTokens int    `json:"max_tokens"`
		}
		json.NewDecoder(r.Body).Decode(&body)
		n := pieces(body.Prompt)
		if n != 16 && !strings.HasPrefix(body.Prompt, "warm-up") {
			c.mu.Lock()
			c.wrong = append(c.wrong, body.Prompt)
			c.mu.Unlock()
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for range body.MaxTokens / 2 { // an event has two tokens: " words" are two pieces
			io.WriteString(w, `data: {"choices":[{"index":0,"text":" words"}]}`+"\n\n")
			w.(http.Flusher).Flush()
		}
		io.WriteString(w, `data: {"choices":[{"index":0,"text":"","finish_reason":"length"}]`+strings.ReplaceAll(c.usage, "N", fmt.Sprint(n+1))+"}\n\ndata: [DONE]\n\n")
	})
	return mux
}

const usageOfTwenty = `,"usage":{"prompt_tokens":N,"completion_tokens":20}`

func (c *counting) run(t *testing.T, change func(*Plan)) Result {
	t.Helper()
	p := somePlan(1)
	p.Scenarios = p.Scenarios[:1]
	p.Load.Caps = []int{2}
	p.Load.Arrivals = "closed"
	change(p)
	c.backend = newBackend()
	c.wrap = c.handler
	env := envOf(c.backend)
	env.Engines = engine.Set{c.engine()}
	folder := newFolder(t, p)
	res, err := Start(t.Context(), env, folder, p, []byte("schema_version: 2\n"))
	if err != nil || len(res.Rows) != 1 || res.Rows[0].Status != result.StatusOK {
		t.Fatalf("%v, rows %+v", err, res.Rows)
	}
	return res
}

func warned(r result.Row, code string) string {
	if i := slices.IndexFunc(r.Warnings, func(w result.Warning) bool { return w.Code == code }); i >= 0 {
		return r.Warnings[i].Message
	}
	return ""
}

// A server that tells the tokens of a text gets prompts of exactly the wanted
// length, and the row says so and what its own counts add.
func TestPromptsByTheServersTokenizer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counting{usage: usageOfTwenty}
		row := c.run(t, func(*Plan) {}).Rows[0]
		if c.asked < 20 || len(c.wrong) > 0 {
			t.Errorf("asked %d times; prompts of other lengths than 16 tokens: %q", c.asked, c.wrong)
		}
		want := "prompts of exact length by the server's tokenizer; its counts of 20 prompts say so, with 1 more for template and start tokens each"
		if !strings.Contains(row.Normalization.Notes, want) {
			t.Errorf("notes %q, want %q", row.Normalization.Notes, want)
		}
		if d := row.Workload.Description; !strings.Contains(d, "input tokens: exactly 16") || strings.Contains(d, "no tokenizer") {
			t.Errorf("description %q", d)
		}
		if *row.Metrics.OutputTokens != 400 || warned(row, "tokens-recounted") != "" || *row.Metrics.MeanTokensPerEvent != 19.0/9 {
			t.Errorf("%d output tokens, %v an event, warnings %v", *row.Metrics.OutputTokens, *row.Metrics.MeanTokensPerEvent, row.Warnings)
		}
	})
}

// A tokenizer that does not answer as it should is asked once; lengths are then
// in words.
func TestPromptsWithoutAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counting{usage: usageOfTwenty, broken: true}
		row := c.run(t, func(*Plan) {}).Rows[0]
		if c.asked != 1 || !strings.Contains(warned(row, "tokenize-failed"), `JSON object without "count" and "tokens"`) {
			t.Errorf("asked %d times, warnings %v", c.asked, row.Warnings)
		}
		if strings.Contains(row.Normalization.Notes, "exact") || !strings.Contains(row.Workload.Description, "no tokenizer") && row.Workload.Description != "" {
			t.Errorf("notes %q, description %q", row.Normalization.Notes, row.Workload.Description)
		}
	})
}

// Answers without usage are counted from their text: by the server's tokenizer,
// else by that of the plan, else by their events.
func TestAnswersWithoutUsage(t *testing.T) {
	const file = "../../load/token/testdata/bpe-cl100k.json"
	tests := []struct {
		name      string
		broken    bool
		tokenizer bool
		by        sample.TokenSource
		warning   string
		tokens    int64 // 0 = not looked at
	}{
		{"server", false, false, sample.TokensServer, "their text was counted afterwards by the server's tokenizer; all that were counted so have 400 tokens in 200 stream events", 400},
		{"file", true, true, sample.TokensTokenizer, "by the tokenizer given", 0},
		{"events", true, false, sample.TokensEvents, "their stream events were counted, a lower bound", 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &counting{broken: tt.broken}
				res := c.run(t, func(p *Plan) {
					if tt.tokenizer {
						p.Load.TokenizerPath = file
					}
				})
				row := res.Rows[0]
				if n := row.Metrics.OutputTokens; n == nil || tt.tokens > 0 && *n != tt.tokens {
					t.Errorf("output tokens %v, want %d", n, tt.tokens)
				}
				all := fmt.Sprint(row.Warnings)
				if !strings.Contains(all, tt.warning) {
					t.Errorf("warnings %s, want %q", all, tt.warning)
				}
				if s := summaryOf(t, res.Dir, row); s.TokenSources[string(tt.by)] != 20 || len(s.TokenSources) != 1 {
					t.Errorf("counted by %v, want all 20 by %q", s.TokenSources, tt.by)
				}
				if diffs, err := artifact.Verify(res.Dir); err != nil || len(diffs) > 0 {
					t.Errorf("the folder is not as it was sealed: %v, %v", diffs, err)
				}
			})
		})
	}
}

func summaryOf(t *testing.T, dir string, row result.Row) metric.Summary {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, row.Artifacts.Summary))
	var s Summary
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s.Summary
}

// What an event brings is held against what the server says a step yields.
func TestAcceptedTokens(t *testing.T) {
	records := make([]sample.Record, 4)
	for i := range records {
		records[i] = sample.New(i, 0)
		records[i].Events = make([]sample.Event, 101)
	}
	for _, tt := range []struct {
		client, server float64
		differs        bool
	}{{2.4, 2.5, false}, {2.25, 2.5, false}, {2.2, 2.5, true}, {2.75, 2.5, false}, {1, 2.5, true}, {5, 2.5, true}} {
		trial := &Trial{Server: &metric.Server{AcceptLength: &tt.server}}
		trial.Point.Metrics.MeanTokensPerEvent = &tt.client
		if trial.accepted(records); (len(trial.Warnings) == 1) != tt.differs {
			t.Errorf("%g an event, %g a step: %v", tt.client, tt.server, trial.Warnings)
		}
	}
	trial := &Trial{}
	if trial.accepted(records); len(trial.Warnings) > 0 {
		t.Error("compared with nothing")
	}
}
