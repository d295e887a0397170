package foreign

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"llmdyno/internal/bench/result"
	"llmdyno/internal/engine"
	"llmdyno/internal/engine/sglang"
	"llmdyno/internal/engine/trtllm"
	"llmdyno/internal/engine/vllm"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var engines = engine.Set{sglang.New(), vllm.New(), trtllm.New()}

// samples are the files by hand, with the format of each.
var samples = map[string]Format{
	"vllm.json": VLLM, "inferencex.json": VLLM, "sglang.jsonl": SGLang, "trtllm.json": TRTLLM, "trtllm-bench.json": TRTLLM,
	"aiperf.json": AIPerf, "guidellm.json": GuideLLM, "inference-perf.json": InferencePerf,
}

func read(t *testing.T, name string, o Options) ([]result.Row, []error) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	o.Engines = engines
	rows, problems, err := Read(bytes.NewReader(data), name, o)
	if err != nil {
		t.Fatal(err)
	}
	return rows, problems
}

func TestGoldenRows(t *testing.T) {
	for name, format := range samples {
		t.Run(name, func(t *testing.T) {
			rows, problems := read(t, name, Options{})
			if len(problems) > 0 {
				t.Fatalf("problems: %v", problems)
			}
			for _, r := range rows {
				if r.Imported.Tool != string(format) {
					t.Errorf("recognised as %s, is %s", r.Imported.Tool, format)
				}
			}
			asked, _ := read(t, name, Options{From: format})
			if !reflect.DeepEqual(rows, asked) {
				t.Errorf("--from %s gives other rows than recognising", format)
			}
			got, err := json.MarshalIndent(rows, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", "golden", name)
			if *update {
				if err := errors.Join(os.MkdirAll(filepath.Dir(golden), 0o755), os.WriteFile(golden, append(got, '\n'), 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(append(got, '\n'), want) {
				t.Errorf("rows of %s differ from %s; -update rewrites it:\n%s", name, golden, got)
			}
		})
	}
}

// A row is read back from its line as it was written, without a problem.
func TestRowsSurviveTheirFile(t *testing.T) {
	for name := range samples {
		rows, _ := read(t, name, Options{Framework: "vllm", Model: "m"})
		for _, r := range rows {
			line, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			got, problems, err := result.Read(bytes.NewReader(line), name, engines)
			if err != nil || len(problems) > 0 || len(got) != 1 {
				t.Fatalf("%s: reading %s: %v %v", name, line, problems, err)
			}
			got[0].Source = ""
			again, _ := json.Marshal(got[0])
			if !bytes.Equal(again, line) {
				t.Errorf("%s: written\n%s\nread back\n%s", name, line, again)
			}
		}
	}
}

// expected are the figures of the four requests by hand that every sample
// describes; a tool that has no such figure leaves it out.
var expected = map[string]struct {
	of     func(m result.Metrics) *float64
	value  float64
	absent []string
}{
	"mean TTFT": {func(m result.Metrics) *float64 { return m.TTFT.Mean }, 120, nil},
	"p50 TTFT":  {func(m result.Metrics) *float64 { return m.TTFT.P50 }, 115, []string{"guidellm.json", "trtllm-bench.json"}},
	"mean TPOT": {func(m result.Metrics) *float64 { return m.TPOT.Mean }, 10.75, nil},
	"mean E2E":  {func(m result.Metrics) *float64 { return m.E2E.Mean }, 307.5, nil},
	"p99 E2E":   {func(m result.Metrics) *float64 { return m.E2E.P99 }, 474.9, []string{"guidellm.json", "trtllm-bench.json"}},
	"req/s":     {func(m result.Metrics) *float64 { return m.RequestThroughput }, 1.6, nil},
	"out tok/s": {func(m result.Metrics) *float64 { return m.OutputTokenThroughput }, 29.6, nil},
	"tok/s":     {func(m result.Metrics) *float64 { return m.TotalTokenThroughput }, 208.8, nil},
	"duration":  {func(m result.Metrics) *float64 { return m.DurationS }, 2.5, nil},
	"good/s":    {func(m result.Metrics) *float64 { return m.Goodput }, 1.2, []string{"sglang.jsonl", "guidellm.json", "trtllm-bench.json"}},
	"in tok":    {func(m result.Metrics) *float64 { return float(m.InputTokens) }, 448, nil},
	"out tok":   {func(m result.Metrics) *float64 { return float(m.OutputTokens) }, 74, nil},
}

func float(n *int64) *float64 {
	if n == nil {
		return nil
	}
	return ptr(float64(*n))
}

// Every tool's file of the same four requests gives the same figures, in ms and
// per second. SGLang's connection and stream end add 1 and 3 ms.
func TestEveryToolSaysTheSame(t *testing.T) {
	for name := range samples {
		rows, _ := read(t, name, Options{})
		m := rows[0].Metrics
		for what, e := range expected {
			got := e.of(m)
			if slices.Contains(e.absent, name) {
				continue
			}
			want := e.value
			if name == "sglang.jsonl" {
				switch {
				case strings.Contains(what, "TTFT"):
					want++
				case strings.Contains(what, "E2E"):
					want += 3
				}
			}
			if got == nil || math.Abs(*got-want) > 0.2 {
				t.Errorf("%s: %s = %v, want %v", name, what, show(got), want)
			}
		}
	}
}

func show(x *float64) any {
	if x == nil {
		return "nothing"
	}
	return *x
}

func orZero(x *float64) float64 {
	if x == nil {
		return 0
	}
	return *x
}

func warned(r result.Row, code string) bool {
	return slices.ContainsFunc(r.Warnings, func(w result.Warning) bool { return w.Code == code })
}

// Definitions that differ are said.
func TestDefinitionsAreSaid(t *testing.T) {
	for name, codes := range map[string][]string{
		"vllm.json":           {"ttft-definition", "engine-unknown", "time-zone-unknown"},
		"inferencex.json":     {"connection-included", "older-copy", "engine-from-client"},
		"sglang.jsonl":        {"connection-included", "e2e-definition", "length-range", "failures-unknown", "duration-definition"},
		"trtllm.json":         {"connection-included", "input-tokens-planned"},
		"trtllm-bench.json":   {"in-process", "percentile-definition", "tpot-definition"},
		"aiperf.json":         {"itl-is-tpot", "tokens-counted-by-client", "duration-definition"},
		"guidellm.json":       {"tpot-of-tokens", "percentile-definition", "tokens-counted-by-events", "requests-cut-off"},
		"inference-perf.json": {"itl-definition", "e2e-definition", "tokens-counted-by-client", "engine-unknown", "model-unknown", "token-counts-differ"},
	} {
		rows, _ := read(t, name, Options{})
		for _, code := range codes {
			if !warned(rows[0], code) {
				t.Errorf("%s: no warning %s among %+v", name, code, rows[0].Warnings)
			}
		}
	}
}

// Definitions that changed follow the version of the tool.
func TestDefinitionsByVersion(t *testing.T) {
	chat := func(f Format, version, endpoint, ttft, e2e string) {
		t.Helper()
		if d := defined(f, version, endpoint); d.TTFT != ttft || d.E2E != e2e {
			t.Errorf("%s %q on %s: TTFT ends at %s, E2E at %s; want %s, %s", f, version, endpoint, d.TTFT, d.E2E, ttft, e2e)
		}
	}
	for _, v := range []string{"", "0.32.9", "0.26", "schema 1.5", "x.34", "0.x"} {
		chat(VLLM, v, "openai-chat", AtFirstChoices, AtLastChoices)
	}
	for _, v := range []string{"0.33.0", "v0.33.0", "0.34.1rc1", "1.0"} {
		chat(VLLM, v, "openai-chat", AtFirstText, AtLastChoices)
		chat(VLLM, v, "openai", AtFirstChoices, AtLastChoices)
	}
	chat(AIPerf, "0.12.0", "completions", AtFirstChoices, AtLastChoices)
	chat(AIPerf, "0.13.0", "completions", AtFirstText, AtLastText)

	unknown, _ := read(t, "vllm.json", Options{})
	known, _ := read(t, "vllm.json", Options{ClientVersion: "0.33.0"})
	if !warned(unknown[0], "client-version-unknown") || !warned(unknown[0], "ttft-definition") {
		t.Errorf("of an unknown version: %+v", unknown[0].Warnings)
	}
	if warned(known[0], "client-version-unknown") || warned(known[0], "ttft-definition") || known[0].Imported.Version != "0.33.0" {
		t.Errorf("of 0.33.0: %q, %+v", known[0].Imported.Version, known[0].Warnings)
	}
	if d := FromRow("a", known[0]).Definition; d.TTFT != AtFirstText {
		t.Errorf("explained: TTFT ends at %s", d.TTFT)
	}
}

// Goodput within limits that nobody knows is no figure of a row.
func TestGoodputOfSGLang(t *testing.T) {
	const run = `{"backend":"vllm","duration":2.5,"completed":4,"total_throughput":9,"mean_e2e_latency_ms":7,"request_goodput":1.2%s}`
	for _, tt := range []struct {
		more, code, said    string
		goodput, attainment float64
	}{
		{`,"goodput_slos_ms":{"ttft":500,"e2el":1e4},"slo_attainment":0.75`, "goodput-limits", "within ttft 500 ms, e2el 10000 ms,", 1.2, 0.75},
		{`,"goodput_slos_ms":{},"slo_attainment":0.75`, "goodput-limits-unknown", "goodput of 1.2 req/s", 0, 0},
		{``, "goodput-limits-unknown", "imported.figures", 0, 0},
	} {
		rows, problems, err := Read(strings.NewReader(fmt.Sprintf(run, tt.more)), "a.json", Options{From: SGLang, Engines: engines})
		if err != nil || len(problems) > 0 || len(rows) != 1 {
			t.Fatalf("%s: %d rows, %v, %v", tt.more, len(rows), problems, err)
		}
		r := rows[0]
		if got := orZero(r.Metrics.Goodput); got != tt.goodput {
			t.Errorf("%s: goodput %v, want %v", tt.more, got, tt.goodput)
		}
		if got := orZero(r.Metrics.Attainment); got != tt.attainment {
			t.Errorf("%s: attainment %v, want %v", tt.more, got, tt.attainment)
		}
		if !slices.ContainsFunc(r.Warnings, func(w result.Warning) bool { return w.Code == tt.code && strings.Contains(w.Message, tt.said) }) {
			t.Errorf("%s: warnings %+v", tt.more, r.Warnings)
		}
		if !slices.ContainsFunc(r.Imported.Figures, func(f result.Figure) bool { return f.Key == "request_goodput" }) {
			t.Errorf("%s: imported.figures lack the goodput", tt.more)
		}
	}
}

func TestNothingSucceeded(t *testing.T) {
	rows, _ := read(t, "sglang.jsonl", Options{})
	last := rows[2]
	if last.Status != result.StatusFailed || !last.Metrics.TTFT.Empty() || !last.Metrics.E2E.Empty() {
		t.Errorf("a run without a success is %s with TTFT %+v", last.Status, last.Metrics.TTFT)
	}
	guide, _ := read(t, "guidellm.json", Options{})
	if r := guide[2]; r.Status != result.StatusFailed || !r.Metrics.TTFT.Empty() || r.Metrics.SendLag.Mean != nil {
		t.Errorf("a benchmark without a success is %s: %+v", r.Status, r.Metrics)
	}
}

// What a server says of itself may hold a key.
func TestNoServerSecrets(t *testing.T) {
	rows, _ := read(t, "sglang.jsonl", Options{})
	text, _ := json.Marshal(rows)
	if bytes.Contains(text, []byte("sk-never")) {
		t.Error("the server's key is in the row")
	}
}

func TestFromAndFramework(t *testing.T) {
	rows, _ := read(t, "inference-perf.json", Options{Framework: "trt-llm", Model: "m"})
	if rows[0].Framework != "trtllm" || rows[0].Model != "m" || warned(rows[0], "engine-unknown") {
		t.Errorf("row of %s, %s", rows[0].Framework, rows[0].Model)
	}
	if rows, problems := read(t, "guidellm.json", Options{From: SGLang}); len(rows) > 0 || len(problems) != 1 {
		t.Errorf("read as another tool's: %d rows, %v", len(rows), problems)
	}
}

// The shapes in which a file may hold its objects.
func TestShapes(t *testing.T) {
	a := `{"duration":1,"completed":2,"failed":0,"output_throughput":5,"mean_ttft_ms":NaN,"request_rate":Infinity}`
	for shape, c := range map[string]struct {
		text  string
		rows  int
		lines []int // of the problems
	}{
		"object":             {a, 1, nil},
		"lines":              {a + "\n\n" + a + "\r\n", 2, nil},
		"one after another":  {a + a, 2, nil},
		"array":              {"[\n" + a + ",\n" + a + "\n]", 2, nil},
		"mark":               {"\ufeff" + a, 1, nil},
		"nothing":            {" \n", 0, nil},
		"torn":               {a + "\n" + a[:30], 1, []int{2}},
		"torn in the middle": {a + "\n" + a[:30] + "\n" + a + "\n", 2, []int{2}},
		"trailing comma":     {strings.Replace(a, "}", ",}", 1), 0, []int{1}},
		"no object":          {"7\n" + a, 1, []int{1}},
		"array of numbers":   {"[1,\n2]", 0, []int{1, 2}},
		"another object":     {`{"a":1}` + "\n" + a, 1, []int{1}},
	} {
		rows, problems, err := Read(strings.NewReader(c.text), "f", Options{Engines: engines})
		if err != nil || len(rows) != c.rows {
			t.Errorf("%s: %d rows, want %d; %v %v", shape, len(rows), c.rows, problems, err)
		}
		var lines []int
		for _, p := range problems {
			var at *result.Problem
			if !errors.As(p, &at) {
				t.Fatalf("%s: a problem without a place: %v", shape, p)
			}
			lines = append(lines, at.Line)
		}
		if !slices.Equal(lines, c.lines) {
			t.Errorf("%s: problems at lines %v, want %v: %v", shape, lines, c.lines, problems)
		}
	}
}

func TestUnreadableFieldsAreSaid(t *testing.T) {
	text := `{"duration":"long","completed":-2,"failed":1.5,"output_throughput":5,"mean_ttft_ms":-1,"ttfts":[1,"x"],"errors":7}`
	rows, problems, _ := Read(strings.NewReader(text), "f.json", Options{Engines: engines})
	if len(rows) != 1 || len(problems) != 5 {
		t.Fatalf("%d rows, problems %v", len(rows), problems)
	}
	m := rows[0].Metrics
	if m.DurationS != nil || m.Succeeded != nil || m.Failed != nil || m.TTFT.Mean != nil || *m.OutputTokenThroughput != 5 {
		t.Errorf("unreadable figures were taken: %+v", m)
	}
	for _, p := range problems {
		if !strings.HasPrefix(p.Error(), "f.json:1: ") {
			t.Errorf("problem %q has no place", p)
		}
	}
	if !warned(rows[0], "unreadable") {
		t.Error("the row does not say that something was unreadable")
	}
}

func TestHints(t *testing.T) {
	for text, want := range map[string]string{
		`{"metadata":{"benchmark_phase":"profiling"},"metrics":{}}`: "profile_export_aiperf.json",
		`{"framework":"x","candidate_id":"y"}`:                      "bench compare",
		`{"run_name":"x","overall_throughput":1}`:                   "static batch",
	} {
		_, problems, _ := Read(strings.NewReader(text), "f", Options{Engines: engines})
		if len(problems) != 1 || !strings.Contains(problems[0].Error(), want) {
			t.Errorf("%s: %v, want a hint at %s", text, problems, want)
		}
	}
}

func TestManyBrokenLinesEnd(t *testing.T) {
	text := strings.Repeat("{\"a\":[\n", 5000)
	_, problems, err := Read(strings.NewReader(text), "f", Options{Engines: engines})
	if err != nil || len(problems) != maxBroken+1 {
		t.Errorf("%d problems, want %d; %v", len(problems), maxBroken+1, err)
	}
}

func TestReaderError(t *testing.T) {
	broken := errors.New("disk")
	if _, _, err := Read(iotest.ErrReader(broken), "f", Options{}); !errors.Is(err, broken) || !strings.Contains(err.Error(), "f") {
		t.Errorf("error %v", err)
	}
}

func FuzzRead(f *testing.F) {
	for name := range samples {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		if len(data) < 8<<10 { // small seeds are mutated often
			f.Add(data, "")
		}
	}
	f.Add([]byte(`{"benchmarks":[{"metrics":{"request_totals":{"successful":4},"request_latency":{"successful":{"mean":0.3,"count":4,"max":1,"percentiles":{"p50":0.2}}}},"config":{"strategy":{"type_":"poisson","rate":2}},"duration":2.5}]}`), "")
	f.Add([]byte(`{"a":NaN}{"b":-Infinity`), "vllm")
	f.Add([]byte("[[{}]]\n{"), "aiperf")
	f.Fuzz(func(t *testing.T, data []byte, from string) {
		rows, problems, err := Read(bytes.NewReader(data), "f", Options{From: Format(from), Engines: engines})
		if err != nil {
			t.Fatalf("an error of no reader: %v", err)
		}
		for _, p := range problems {
			var at *result.Problem
			if !errors.As(p, &at) || at.Line < 1 || at.Line > 1+bytes.Count(data, []byte("\n")) {
				t.Fatalf("problem without a line of the file: %v", p)
			}
		}
		for _, r := range rows {
			line, err := json.Marshal(r)
			if err != nil {
				t.Fatalf("a row that cannot be written: %v", err)
			}
			if back, _, err := result.Read(bytes.NewReader(line), "f", engines); err != nil || len(line) < 8<<20 && len(back) != 1 {
				t.Fatalf("a row that cannot be read: %s", line)
			}
		}
	})
}

// Every number of a file is kept under its own key, converted or not; lists and
// the server's own answer are left out.
func TestEveryNumberIsKept(t *testing.T) {
	for _, name := range []string{"vllm.json", "sglang.jsonl", "trtllm.json", "trtllm-bench.json", "inference-perf.json"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		rows, _ := read(t, name, Options{})
		kept := map[string]float64{}
		for _, f := range rows[0].Imported.Figures {
			kept[f.Key] = f.Value
		}
		seen := 0
		var walk func(prefix string, v any)
		walk = func(prefix string, v any) {
			if x, ok := finite(v); ok {
				if seen++; kept[prefix] != x {
					t.Errorf("%s: %s is %v, kept as %v", name, prefix, x, kept[prefix])
				}
			}
			m, _ := v.(map[string]any)
			for key, item := range m {
				if key != "server_info" {
					walk(strings.TrimPrefix(prefix+"."+key, "."), item)
				}
			}
		}
		walk("", map[string]any(split(data, name).docs[0].fields))
		if seen < 15 || seen != len(kept) {
			t.Errorf("%s: %d numbers in the file, %d kept", name, seen, len(kept))
		}
	}
}

// Without a list of errors a 0 stands for a request that failed.
func TestZerosOfFailedRequests(t *testing.T) {
	text := `{"duration":1,"completed":2,"failed":1,"output_throughput":5,"ttfts":[0.1,0,0.3],"latencies":[0.2,0.0,0.5],"output_lens":[3,0,5],"input_lens":[7,8,9],"queue_times":[0,0,0.002]}`
	rows, problems, _ := Read(strings.NewReader(text), "f", Options{Engines: engines})
	if len(rows) != 1 || len(problems) > 0 {
		t.Fatalf("%d rows, %v", len(rows), problems)
	}
	m := rows[0].Metrics
	if *m.TTFT.N != 2 || *m.TTFT.Min != 100 || *m.E2E.N != 2 || *m.TPOT.Mean != 50 || *m.SendLag.N != 3 || *rows[0].Workload.OutputP50 != 4 {
		t.Errorf("metrics %+v", m)
	}
}
