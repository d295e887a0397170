package result

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"llmdyno/internal/engine"
	"llmdyno/internal/load/metric"
	"llmdyno/internal/load/sample"
)

// testEngines has the aliases of real engines without importing them all.
var testEngines = engine.Set{
	{ID: "sglang"}, {ID: "vllm"}, {ID: "tokenspeed"},
	{ID: "trtllm", Aliases: []string{"tensorrt_llm", "tensorrt-llm", "trt-llm", "tllm"}},
}

// readOne reads one row and the problems said about it.
func readOne(t *testing.T, line string) (Row, []string) {
	t.Helper()
	rows, problems, err := Read(strings.NewReader(line), "r.jsonl", testEngines)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1 {
		t.Fatalf("read %d rows of %s: %v", len(rows), line, problems)
	}
	said := make([]string, len(problems))
	for i, p := range problems {
		said[i] = p.Error()
	}
	return rows[0], said
}

// A row that was made here is the same after writing and reading, by the
// lenient reader and by encoding/json.
func TestRowRoundTrip(t *testing.T) {
	m := FromSummary(metric.Compute(trialRecords(), 10e9, metric.Limits{TTFTMs: 100}))
	m.OfferedRate = ptr(4.0)
	row := Row{
		SchemaVersion: 1, RunID: "20261124-203000-demo", MeasuredAt: "2026-11-24T20:31:00Z", ToolVersion: "devel",
		Framework: "sglang", FrameworkVersion: "0.5.16", CandidateID: "sglang-00", Model: "org/model", Status: StatusOK,
		ServerCommand: "python -m x --a 'b c'", BenchmarkCommand: "bench",
		Simulated: true, Smoke: true,
		Hardware: Hardware{GPUModel: "H100", GPUCount: ptr(8), Driver: "570.1"},
		Workload: Workload{Kind: "random", Scenario: "chat", InputLen: ptr(1000), OutputLen: ptr(200), NumPrompts: ptr(80), RequestRate: ptr(4.0),
			Seed: ptr(uint64(1<<63 + 12345)), Searched: []string{SearchedRate}},
		SLA:      SLA{Limits: []Limit{NewLimit("p50", "ttft", 1500), NewLimit("p97", "e2e", 9000)}, MinSuccessRate: ptr(0.99)},
		Metrics:  m,
		Points:   []Point{{RequestRate: ptr(4.0), Repeat: 1, Chosen: true, Status: StatusOK, Passed: true, Metrics: m.Brief(), Folder: "trials/a"}},
		Warnings: []Warning{{"short-output", "some"}},
	}
	row.SLA.Judge(m)
	line, err := json.Marshal(row)
	if err != nil {
		t.Fatal(err)
	}
	back, problems := readOne(t, string(line))
	if len(problems) > 0 {
		t.Errorf("problems with our own row: %v", problems)
	}
	back.Source = ""
	if d := cmp.Diff(row, back); d != "" {
		t.Errorf("Read (-want +got):\n%s", d)
	}
	var plain Row
	if err := json.Unmarshal(line, &plain); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(row, plain); d != "" {
		t.Errorf("json.Unmarshal (-want +got):\n%s", d)
	}
}

func trialRecords() []sample.Record {
	const ms = 1_000_000
	var out []sample.Record
	for i := range 20 {
		at := int64(i) * 500 * ms
		first := at + int64(40+3*i)*ms
		last := first + int64(19*(10+i))*ms
		out = append(out, sample.Record{
			Index: i, Sched: at, Begin: at, Send: at + ms, Conn: sample.Never, ConnReused: true, FirstChoices: first, FirstText: first,
			LastText: last, LastChoices: last, Done: last, InputTokens: 100, OutputTokens: 20, CachedTokens: -1, TokensBy: sample.TokensUsage,
		})
	}
	return out
}

// Every interval goes by the key of a figure in the same row.
func TestIntervalsGoByTheKeysOfTheRow(t *testing.T) {
	m := FromSummary(metric.Compute(trialRecords(), 10e9, metric.Limits{TTFTMs: 100}))
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]any
	if err := json.Unmarshal(text, &keys); err != nil {
		t.Fatal(err)
	}
	if len(m.Intervals) < 15 {
		t.Errorf("only %d intervals", len(m.Intervals))
	}
	for key := range m.Intervals {
		if _, ok := keys[key].(float64); !ok {
			t.Errorf("interval of %s, which the row lacks", key)
		}
	}
}

func TestReadForgives(t *testing.T) {
	tests := []struct {
		name, line string
		check      func(Row) bool
		problem    string // "" = none
	}{
		{"alias of an engine", `{"framework":"TensorRT-LLM","status":"ok"}`, func(r Row) bool { return r.Framework == "trtllm" }, ""},
		{"engine in capitals", `{"framework":" SGLang ","status":"ok"}`, func(r Row) bool { return r.Framework == "sglang" }, ""},
		{"engine that we do not know", `{"framework":"LMDeploy","status":"ok"}`, func(r Row) bool { return r.Framework == "lmdeploy" }, ""},
		{"engine missing", `{"status":"ok"}`, func(r Row) bool { return r.Framework == UnknownFramework }, "framework: is missing"},
		{"engine null", `{"framework":null,"status":"ok"}`, func(r Row) bool { return r.Framework == UnknownFramework }, "framework: is missing"},
		{"status in capitals", `{"framework":"vllm","status":"OK"}`, func(r Row) bool { return r.Status == StatusOK }, ""},
		{"status spelled out", `{"framework":"vllm","status":"Out_Of-Memory"}`, func(r Row) bool { return r.Status == StatusOOM }, ""},
		{"status timed out", `{"framework":"vllm","status":"timed_out"}`, func(r Row) bool { return r.Status == StatusTimeout }, ""},
		{"status nonsense", `{"framework":"vllm","status":"fine"}`, func(r Row) bool { return r.Status == StatusFailed }, `status: "fine" is none of`},
		{"status missing", `{"framework":"vllm"}`, func(r Row) bool { return r.Status == StatusFailed }, "status: is missing"},
		{"byte order mark", "\ufeff" + `{"framework":"vllm","status":"ok"}`, func(r Row) bool { return r.Framework == "vllm" }, ""},
		{"NaN literal", `{"framework":"vllm","status":"ok","candidate_id":"NaN kept","metrics":{"request_throughput":NaN,"p50_ttft_ms":-Infinity,"success_rate":1.0}}`,
			func(r Row) bool {
				return r.CandidateID == "NaN kept" && r.Metrics.RequestThroughput == nil && r.Metrics.TTFT.P50 == nil && *r.Metrics.SuccessRate == 1
			},
			`metrics.request_throughput: expected a number, got "NaN"`},
		{"interval of three", `{"framework":"vllm","status":"ok","metrics":{"intervals":{"p50_ttft_ms":{"ci":[1,2,3],"n":80},"attainment":{"ci":[0.5,0.75]}}}}`,
			func(r Row) bool {
				a, b := r.Metrics.Intervals["p50_ttft_ms"], r.Metrics.Intervals["attainment"]
				return a.CI == nil && a.N == 80 && *b.CI == [2]float64{0.5, 0.75}
			},
			"metrics.intervals.p50_ttft_ms.ci: expected a list of 2"},
		{"intervals as text", `{"framework":"vllm","status":"ok","metrics":{"intervals":"none","success_rate":1}}`,
			func(r Row) bool { return r.Metrics.Intervals == nil && *r.Metrics.SuccessRate == 1 }, "metrics.intervals: expected an object"},
		{"inf as text", `{"framework":"vllm","status":"ok","metrics":{"request_throughput":"inf"}}`, func(r Row) bool { return r.Metrics.RequestThroughput == nil }, `got "inf"`},
		{"true as figure", `{"framework":"vllm","status":"ok","metrics":{"request_throughput":true}}`, func(r Row) bool { return r.Metrics.RequestThroughput == nil }, "got true"},
		{"figure with unit", `{"framework":"vllm","status":"ok","metrics":{"request_throughput":"12.5 req/s"}}`, func(r Row) bool { return r.Metrics.RequestThroughput == nil }, `got "12.5 req/s"`},
		{"figure as text", `{"framework":"vllm","status":"ok","metrics":{"request_throughput":" 12.5 "}}`, func(r Row) bool { return *r.Metrics.RequestThroughput == 12.5 }, ""},
		{"hex is no figure", `{"framework":"vllm","status":"ok","metrics":{"request_throughput":"0x1p4"}}`, func(r Row) bool { return r.Metrics.RequestThroughput == nil }, "0x1p4"},
		{"implausible figure", `{"framework":"vllm","status":"ok","metrics":{"request_throughput":1e12}}`, func(r Row) bool { return r.Metrics.RequestThroughput == nil }, "outside of what can be"},
		{"latency of zero", `{"framework":"vllm","status":"ok","metrics":{"p50_ttft_ms":0,"mean_ttft_ms":3}}`, func(r Row) bool { return r.Metrics.TTFT.P50 == nil && *r.Metrics.TTFT.Mean == 3 }, "0 ms cannot be a time"},
		{"p50 as n/a", `{"framework":"vllm","status":"ok","metrics":{"p50_ttft_ms":"n/a","mean_ttft_ms":120}}`, func(r Row) bool { return r.Metrics.TTFT.P50 == nil && *r.Metrics.TTFT.Mean == 120 }, `got "n/a"`},
		{"p99 limits of the earlier schema", `{"framework":"vllm","status":"ok","sla":{"max_p99_ttft_ms":1500,"max_p99_tpot_ms":30,"min_success_rate":0.99,"passed":true}}`,
			func(r Row) bool {
				return cmp.Equal(r.SLA.Limits, []Limit{{"max_p99_ttft_ms", 1500}, {"max_p99_tpot_ms", 30}}) && *r.SLA.Passed && *r.SLA.MinSuccessRate == 0.99
			}, ""},
		{"limit that is no number", `{"framework":"vllm","status":"ok","sla":{"max_p50_ttft_ms":"fast"}}`, func(r Row) bool { return len(r.SLA.Limits) == 0 }, "sla.max_p50_ttft_ms: expected a time in ms"},
		{"share above one", `{"framework":"vllm","status":"ok","sla":{"min_success_rate":99}}`, func(r Row) bool { return r.SLA.MinSuccessRate == nil }, "share between 0 and 1"},
		{"verdict 2", `{"framework":"vllm","status":"ok","sla":{"passed":2}}`, func(r Row) bool { return r.SLA.Passed == nil }, "sla.passed: expected true or false, got 2"},
		{"verdict as list", `{"framework":"vllm","status":"ok","sla":{"passed":[0]}}`, func(r Row) bool { return r.SLA.Passed == nil }, "got a list"},
		{"verdict NaN", `{"framework":"vllm","status":"ok","sla":{"passed":NaN}}`, func(r Row) bool { return r.SLA.Passed == nil }, `got "NaN"`},
		{"verdict as word", `{"framework":"vllm","status":"ok","sla":{"passed":"true "}}`, func(r Row) bool { return *r.SLA.Passed }, ""},
		{"verdict pass", `{"framework":"vllm","status":"ok","sla":{"passed":"Pass"}}`, func(r Row) bool { return *r.SLA.Passed }, ""},
		{"launch_command", `{"framework":"vllm","status":"ok","launch_command":"vllm serve m"}`, func(r Row) bool { return r.ServerCommand == "vllm serve m" }, ""},
		{"command as words", `{"framework":"vllm","status":"ok","server_command":["vllm","serve","a b",8000]}`, func(r Row) bool { return r.ServerCommand == "vllm serve 'a b' 8000" }, ""},
		{"devices as list", `{"framework":"vllm","status":"ok","hardware":{"visible_devices":[0,1]}}`, func(r Row) bool { return r.Hardware.VisibleDevices == "0,1" }, ""},
		{"scenario from its other names", `{"framework":"vllm","status":"ok","workload":{"scenario":"","dataset_name":"ShareGPT "}}`, func(r Row) bool { return r.Workload.Scenario == "sharegpt" }, ""},
		{"scenario from the kind", `{"framework":"vllm","status":"ok","workload":{"kind":"random"}}`, func(r Row) bool { return r.Workload.Scenario == "random" }, ""},
		{"scenario at the top", `{"framework":"vllm","status":"ok","scenario":"Chat "}`, func(r Row) bool { return r.Workload.Scenario == "chat" }, ""},
		{"no scenario", `{"framework":"vllm","status":"ok"}`, func(r Row) bool { return r.Workload.Scenario == "default" }, ""},
		{"unlimited rate", `{"framework":"vllm","status":"ok","workload":{"request_rate":Infinity,"max_concurrency":"none"}}`, func(r Row) bool { return r.Workload.RequestRate == nil && r.Workload.MaxConcurrency == nil }, ""},
		{"block of the wrong kind", `{"framework":"vllm","status":"ok","hardware":"H100"}`, func(r Row) bool { return r.Hardware == Hardware{} }, `hardware: expected an object, got "H100"`},
		{"length that is no whole number", `{"framework":"vllm","status":"ok","workload":{"input_len":1000.5}}`, func(r Row) bool { return r.Workload.InputLen == nil }, "whole number"},
		{"length written as 1000.0", `{"framework":"vllm","status":"ok","workload":{"input_len":1000.0}}`, func(r Row) bool { return *r.Workload.InputLen == 1000 }, ""},
		{"a length beyond exact numbers", `{"framework":"vllm","status":"ok","workload":{"input_len":1e18}}`, func(r Row) bool { return r.Workload.InputLen == nil }, "whole number"},
		{"negative GPUs", `{"framework":"vllm","status":"ok","hardware":{"gpu_count":-1}}`, func(r Row) bool { return r.Hardware.GPUCount == nil }, "negative"},
		{"stray figures", `{"framework":"vllm","status":"ok","metrics":{"mean_accept_length":2.5,"pre_scheduler_ms":0,"prefix_cache_hit_rate":0}}`,
			func(r Row) bool {
				return *r.SpecDecode.MeanAcceptLength == 2.5 && *r.PhaseMetrics.PreScheduler == 0 && *r.Cache.PrefixCacheHitRate == 0
			}, ""},
		{"median and e2el", `{"framework":"vllm","status":"ok","metrics":{"median_ttft_ms":7,"p99_e2el_ms":900}}`, func(r Row) bool { return *r.Metrics.TTFT.P50 == 7 && *r.Metrics.E2E.P99 == 900 }, ""},
		{"newer schema", `{"schema_version":9,"framework":"vllm","status":"ok"}`, func(r Row) bool { return r.SchemaVersion == 9 }, "newer than this program"},
		{"two objects on a line", `{"framework":"vllm","status":"ok"}{"a":1}`, func(r Row) bool { return r.Framework == "vllm" }, "something follows"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			row, problems := readOne(t, test.line)
			if !test.check(row) {
				t.Errorf("row is %+v", row)
			}
			said := strings.Join(problems, "\n")
			if test.problem == "" && said != "" {
				t.Errorf("problems: %s", said)
			}
			if !strings.Contains(said, test.problem) {
				t.Errorf("problems are %q, want one with %q", said, test.problem)
			}
			if test.problem != "" && (!strings.HasPrefix(said, "r.jsonl:1: ") || len(row.Warnings) == 0) {
				t.Errorf("the problem %q lacks its place, or the row its warning", said)
			}
		})
	}
}

func TestReadLines(t *testing.T) {
	long := `{"framework":"vllm","status":"ok","failure_reason":"` + strings.Repeat("x", maxLine) + `"}`
	in := "{\"framework\":\"vllm\",\"status\":\"ok\"}\r\n\n[1]\nnot json\n" + long + "\n{\"framework\":\"sglang\",\"status\":\"ok\"}\n{\"framework\":\"vllm\",\"sta"
	rows, problems, err := Read(strings.NewReader(in), "x", testEngines)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 2 || rows[0].Source != "x:1" || rows[1].Source != "x:6" {
		t.Errorf("rows: %+v", rows)
	}
	want := []string{"x:3: expected one JSON object", "x:4: expected one JSON object", "x:5: the line is longer", "x:7: expected one JSON object on one line: the line ends within"}
	if len(problems) != len(want) {
		t.Fatalf("problems: %v", problems)
	}
	for i, p := range problems {
		if !strings.HasPrefix(p.Error(), want[i]) {
			t.Errorf("problem %d is %q, want %q", i, p, want[i])
		}
	}
	if rows, problems, err := Read(strings.NewReader(""), "empty", nil); len(rows)+len(problems) != 0 || err != nil {
		t.Errorf("empty file: %v %v %v", rows, problems, err)
	}
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "null", "[]\n{}", "\ufeff{\"framework\":\"vllm\"}", `{"metrics":{"p50_ttft_ms":NaN,"quantiles_ttft_ms":[1,2]},"sla":{"max_p99_ttft_ms":Infinity}}`,
		`{"framework":"tllm","status":"OK","workload":{"request_rate":"inf","searched":["request_rate"]},"points":[{"status":"ok","metrics":{"success_rate":2}},3]}`,
		`{"server_command":[["a"]],"hardware":[],"sla":7,"metrics":"x","artifacts":{"folder":1e400}}`, `{"a":"\"NaN`, "{\"framework\":\"\\ud800\"}\n{",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rows, problems, err := Read(strings.NewReader(string(data)), "fuzz", testEngines)
		if err != nil {
			t.Fatalf("error without a broken reader: %v", err)
		}
		for _, p := range problems {
			if strings.ContainsAny(p.Error(), "\n") {
				t.Errorf("problem of more than one line: %q", p)
			}
		}
		for _, row := range rows {
			row.Source = ""
			line, err := json.Marshal(row)
			if err != nil {
				t.Fatalf("a row that was read cannot be written: %v", err)
			}
			again, _, err := Read(strings.NewReader(string(line)), "again", testEngines)
			if err != nil || len(again) != 1 {
				t.Fatalf("a row that was written cannot be read: %s", line)
			}
		}
		Compare(rows, Options{})
	})
}
