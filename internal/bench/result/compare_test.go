package result

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// good is a row that passes, as a line that another tool could have written.
// change overwrites keys by path ("metrics.p50_ttft_ms"); nil deletes.
func line(t testing.TB, id string, change map[string]any) string {
	t.Helper()
	row := map[string]any{
		"framework": "sglang", "candidate_id": id, "model": "org/m", "status": "ok", "server_command": "serve " + id,
		"hardware": map[string]any{"gpu_model": "H100", "gpu_count": 8},
		"workload": map[string]any{"scenario": "chat", "input_len": 1000, "output_len": 100, "num_prompts": 80},
		"sla":      map[string]any{"max_p50_ttft_ms": 2000, "max_p50_tpot_ms": 50, "min_success_rate": 0.99, "passed": true},
		"metrics":  map[string]any{"request_throughput": 10.0, "output_token_throughput": 1000.0, "total_token_throughput": 11000.0, "p50_ttft_ms": 500.0, "p50_tpot_ms": 20.0, "success_rate": 1.0},
	}
	for path, v := range change {
		at := row
		keys := strings.Split(path, ".")
		for _, k := range keys[:len(keys)-1] {
			if at[k] == nil {
				at[k] = map[string]any{}
			}
			at = at[k].(map[string]any)
		}
		if v == nil {
			delete(at, keys[len(keys)-1])
		} else {
			at[keys[len(keys)-1]] = v
		}
	}
	text, err := json.Marshal(row)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

type is = map[string]any

func compareLines(t testing.TB, lines ...string) Comparison {
	t.Helper()
	rows, _, err := Read(strings.NewReader(strings.Join(lines, "\n")), "r.jsonl", testEngines)
	if err != nil || len(rows) != len(lines) {
		t.Fatalf("read %d of %d rows: %v", len(rows), len(lines), err)
	}
	return Compare(rows, Options{})
}

// winners are the names of the winners, class by class.
func winners(c Comparison) string {
	var out []string
	for _, k := range c.Classes {
		if w, ok := k.Winner(); ok {
			out = append(out, c.Entries[w].Name)
		} else {
			out = append(out, "-")
		}
	}
	return strings.Join(out, " ")
}

func find(t testing.TB, c Comparison, name string) Entry {
	t.Helper()
	i := slices.IndexFunc(c.Entries, func(e Entry) bool { return e.Name == name })
	if i < 0 {
		t.Fatalf("no entry %s", name)
	}
	return c.Entries[i]
}

func warned(c Comparison, code string) string {
	for _, w := range c.Warnings {
		if w.Code == code {
			return w.Message
		}
	}
	return ""
}

// The defects of the upstream comparer, C1 to C27 of its
// schema (afb306eb), each by its number. C16 and C17 are the renderers' and are
// held in the report package, as are the shown parts of C5, C13, C14, C15, C18.
func TestUpstreamDefects(t *testing.T) {
	both := func(a, b string) (Comparison, Comparison) { return compareLines(t, a, b), compareLines(t, b, a) }
	expect := func(t *testing.T, want string, cs ...Comparison) {
		t.Helper()
		for _, c := range cs {
			if got := winners(c); got != want {
				t.Errorf("winners are %q, want %q", got, want)
			}
		}
	}
	t.Run("C1 NaN throughput does not depend on the order", func(t *testing.T) {
		nan := strings.Replace(line(t, "a", is{"metrics.request_throughput": 1234567.0}), "1234567", "NaN", 1)
		x, y := both(nan, line(t, "b", is{"metrics.request_throughput": 0.1}))
		expect(t, "b", x, y)
		if warned(x, "unreadable") == "" {
			t.Error("no warning about NaN")
		}
	})
	for _, v := range []any{"inf", true, 1e12} {
		t.Run(fmt.Sprintf("C2 throughput %v does not win", v), func(t *testing.T) {
			x, y := both(line(t, "a", is{"metrics.request_throughput": v}), line(t, "b", nil))
			expect(t, "b", x, y)
		})
	}
	t.Run("C3 a latency of 0 does not win", func(t *testing.T) {
		x, y := both(line(t, "a", is{"metrics.p50_ttft_ms": 0}), line(t, "b", nil))
		expect(t, "b", x, y)
		if e := find(t, x, "a"); e.Outcome != OutcomeSLAFailed || !strings.Contains(e.Reason, "p50 TTFT was not measured") {
			t.Errorf("a is %s: %s", e.Outcome, e.Reason)
		}
	})
	t.Run("C4 the mean stands in for an unreadable p50", func(t *testing.T) {
		noLimit := is{"sla.max_p50_ttft_ms": nil, "metrics.p50_ttft_ms": "n/a", "metrics.mean_ttft_ms": 10.0}
		x, y := both(line(t, "a", noLimit), line(t, "b", is{"sla.max_p50_ttft_ms": nil, "metrics.p50_ttft_ms": nil, "metrics.mean_ttft_ms": 9000.0}))
		expect(t, "a", x, y)
	})
	t.Run("C5 a mean of 99 does not beat a p50 of 100, and is marked", func(t *testing.T) {
		x, y := both(line(t, "a", is{"sla.max_p50_ttft_ms": nil, "metrics.p50_ttft_ms": 100.0}),
			line(t, "b", is{"sla.max_p50_ttft_ms": nil, "metrics.p50_ttft_ms": nil, "metrics.mean_ttft_ms": 99.0}))
		expect(t, "a", x, y)
		if w := warned(x, "mean-for-p50"); !strings.Contains(w, "b at chat") && !strings.Contains(w, "b (sglang) at chat") {
			t.Errorf("warning is %q", w)
		}
	})
	t.Run("C6 the verdict is recomputed", func(t *testing.T) {
		x, y := both(line(t, "a", is{"metrics.request_throughput": 99.0, "metrics.p50_ttft_ms": 9999.0, "metrics.success_rate": 0.01}), line(t, "b", nil))
		expect(t, "b", x, y)
		e := find(t, x, "a")
		if e.Outcome != OutcomeSLAFailed || e.Reason != "success rate 1 % is below the limit of 99 %; p50 TTFT 9999 ms is above the limit of 2000 ms" {
			t.Errorf("%s: %s", e.Outcome, e.Reason)
		}
		if w := warned(x, "verdict-overruled"); !strings.Contains(w, "recorded as passed") {
			t.Errorf("warning is %q", w)
		}
		z := compareLines(t, line(t, "c", is{"sla.passed": false}))
		expect(t, "c", z)
	})
	for v, want := range map[string]string{"2": "-", "-1": "-", "[0]": "-", "NaN": "-", `"pass"`: "a", `"true "`: "a", "true": "a", "false": "-"} {
		t.Run("C7 verdict "+v, func(t *testing.T) {
			l := line(t, "a", is{"sla.max_p50_ttft_ms": nil, "sla.max_p50_tpot_ms": nil, "sla.min_success_rate": nil, "sla.passed": "VERDICT"})
			expect(t, want, compareLines(t, strings.Replace(l, `"VERDICT"`, v, 1)))
		})
	}
	t.Run("C8 status OK", func(t *testing.T) { expect(t, "a", compareLines(t, line(t, "a", is{"status": "OK"}))) })
	t.Run("C9 eight GPUs with 1 % more do not beat one, and figures per GPU stand beside", func(t *testing.T) {
		x, y := both(line(t, "a", is{"metrics.request_throughput": 10.1}), line(t, "b", is{"hardware.gpu_count": 1}))
		expect(t, "b", x, y)
		if e := find(t, x, "a"); *e.PerGPU.RequestThroughput != 10.1/8 || *e.PerGPU.OutputTokenThroughput != 125 || *e.PerGPU.TotalTokenThroughput != 1375 {
			t.Errorf("per GPU: %+v", e.PerGPU)
		}
		if !strings.Contains(warned(x, "mixed-gpus"), "1 | 8") || !strings.Contains(x.Classes[0].Verdict, "fewer GPUs") {
			t.Errorf("%q, %q", warned(x, "mixed-gpus"), x.Classes[0].Verdict)
		}
	})
	for field, change := range map[string]is{
		"model": {"model": "org/other"}, "offered rate": {"workload.request_rate": 4}, "concurrency cap": {"workload.max_concurrency": 8},
		"input length": {"workload.input_len": 8000}, "GPU model": {"hardware.gpu_model": "H200"}, "simulated": {"simulated": true}, "smoke": {"smoke": true},
	} {
		t.Run("C10 another "+field+" is another class", func(t *testing.T) {
			change["metrics.request_throughput"] = 99.0
			c := compareLines(t, line(t, "a", nil), line(t, "b", change))
			if len(c.Classes) != 2 || c.Winners() != 2 {
				t.Fatalf("%d classes, %d winners", len(c.Classes), c.Winners())
			}
			if w := warned(c, "not-comparable"); !strings.Contains(w, field+" (") {
				t.Errorf("warning is %q", w)
			}
			if c.Classes[0].Label == c.Classes[1].Label {
				t.Errorf("both classes are called %q", c.Classes[0].Label)
			}
		})
	}
	t.Run("C10 another prompt count warns", func(t *testing.T) {
		c := compareLines(t, line(t, "a", nil), line(t, "b", is{"workload.num_prompts": 1000}))
		if w := warned(c, "mixed-prompts"); len(c.Classes) != 1 || !strings.Contains(w, "80 | 1000") {
			t.Errorf("%d classes, warning %q", len(c.Classes), w)
		}
	})
	t.Run("C10 other lengths warn, another seed or file of the same is told apart", func(t *testing.T) {
		made := func(id, text, path string) string {
			return line(t, id, is{"workload.description": text, "workload.dataset_path": path})
		}
		fixed := made("a", "exactly 100; seed 1", "")
		if w := warned(compareLines(t, fixed, made("b", "1 to 100; seed 1", "")), "mixed-workload"); !strings.Contains(w, "(1 to 100 | exactly 100)") {
			t.Errorf("warning %q", w)
		}
		for _, other := range []string{made("b", "exactly 100; seed 2", ""), made("b", "the rows of f; seed 1", "f"), made("b", "", "")} {
			if w := warned(compareLines(t, fixed, other), "mixed-workload"); w != "" {
				t.Errorf("warning %q", w)
			}
		}
	})
	t.Run("C11 a row without an engine is listed", func(t *testing.T) {
		c := compareLines(t, line(t, "a", is{"framework": nil}))
		expect(t, "a", c)
		if got := c.Best(UnknownFramework); len(got) != 1 {
			t.Errorf("best of %s: %v", UnknownFramework, got)
		}
	})
	t.Run("C12 lengths tell scenarios apart, spelling does not", func(t *testing.T) {
		kind := is{"workload.scenario": nil, "workload.kind": "random"}
		c := compareLines(t, line(t, "a", kind), line(t, "b", is{"workload.scenario": nil, "workload.kind": "random", "workload.input_len": 8000}))
		if len(c.Classes) != 2 || c.Classes[0].Label != "random, 1000 in/100 out" {
			t.Errorf("%d classes, first %q", len(c.Classes), c.Classes[0].Label)
		}
		if c := compareLines(t, line(t, "a", nil), line(t, "b", is{"workload.scenario": "Chat "})); len(c.Classes) != 1 {
			t.Errorf("chat and Chat are %d classes", len(c.Classes))
		}
	})
	t.Run("C13 a passing runner-up is kept", func(t *testing.T) {
		c := compareLines(t, line(t, "a", nil), line(t, "b", is{"metrics.request_throughput": 5.0}))
		if up := c.RunnersUp(); len(up) != 1 || c.Entries[up[0]].Name != "b" || c.Entries[up[0]].Rank != 2 || *c.Entries[up[0]].Delta != -0.5 {
			t.Errorf("runners-up: %v", up)
		}
	})
	t.Run("C14 failures keep scenario and command", func(t *testing.T) {
		c := compareLines(t, line(t, "a", is{"status": "oom", "failure_reason": "CUDA out of memory", "metrics": nil}))
		e := c.Entries[c.Failed[0]]
		if c.Classes[e.Class].Label != "chat" || e.Row.ServerCommand != "serve a" || e.Reason != "CUDA out of memory" {
			t.Errorf("%+v", e)
		}
	})
	t.Run("C18 no winner is said", func(t *testing.T) {
		c := compareLines(t, line(t, "a", is{"status": "oom", "failure_reason": "no memory", "metrics": nil}), line(t, "b", is{"metrics.p50_ttft_ms": 2001.0}))
		want := "No winner: none of 2 passed (1 missed the SLA, 1 oom). Best of those that ran: b (sglang), 10 req/s, p50 TTFT 2001 ms: p50 TTFT 2001 ms is above the limit of 2000 ms."
		if c.Winners() != 0 || c.Classes[0].Verdict != want {
			t.Errorf("%d winners: %s", c.Winners(), c.Classes[0].Verdict)
		}
	})
	t.Run("C19 the later attempt of a candidate counts", func(t *testing.T) {
		failed := line(t, "a", is{"status": "failed", "failure_reason": "port in use", "metrics": nil, "hardware.gpu_model": nil})
		c := compareLines(t, failed, line(t, "a", nil))
		expect(t, "a", c)
		if len(c.Failed) != 0 || len(c.Superseded) != 1 {
			t.Fatalf("failed %v, superseded %v", c.Failed, c.Superseded)
		}
		old := c.Entries[c.Superseded[0]]
		if w, _ := c.Classes[0].Winner(); old.SupersededBy != w || !slices.Equal(c.Entries[w].Earlier, c.Superseded) {
			t.Errorf("links: %+v", old)
		}
		// Where both rows tell the time, it decides, not the place in the file.
		first := line(t, "a", is{"measured_at": "2026-11-24T10:00:00Z", "metrics.request_throughput": 7.0})
		second := line(t, "a", is{"measured_at": "2026-11-24T11:00:00Z", "metrics.request_throughput": 6.0})
		for _, c := range []Comparison{compareLines(t, first, second), compareLines(t, second, first)} {
			if w, _ := c.Classes[0].Winner(); *c.Entries[w].Row.Metrics.RequestThroughput != 6 {
				t.Error("the earlier row counts")
			}
		}
		for what, change := range map[string]is{"another run": {"run_id": "2"}, "another version": {"framework_version": "2"}, "another rate": {"workload.request_rate": 2}} {
			if c := compareLines(t, line(t, "a", is{"run_id": "1", "framework_version": "1"}), line(t, "a", merge(is{"run_id": "1", "framework_version": "1"}, change))); len(c.Superseded) != 0 {
				t.Errorf("%s counts as another attempt", what)
			}
		}
	})
	t.Run("C21 zero GPUs do not beat one", func(t *testing.T) {
		x, y := both(line(t, "a", is{"hardware.gpu_count": 0}), line(t, "b", is{"hardware.gpu_count": 1}))
		expect(t, "b", x, y)
		if e := find(t, x, "a"); e.PerGPU != (PerGPU{}) {
			t.Errorf("figures per GPU without GPUs: %+v", e.PerGPU)
		}
	})
	t.Run("C22 a hair more throughput does not outweigh 100 times the TTFT", func(t *testing.T) {
		x, y := both(line(t, "a", is{"metrics.request_throughput": 10.0001, "metrics.p50_ttft_ms": 1500.0}), line(t, "b", is{"metrics.p50_ttft_ms": 15.0}))
		expect(t, "b", x, y)
		if v := x.Classes[0].Verdict; !strings.Contains(v, "Tie of b (sglang)") || !strings.Contains(v, "clearly lower TTFT") {
			t.Error(v)
		}
		// Beyond the noise throughput decides alone, as upstream has it.
		x, y = both(line(t, "a", is{"metrics.request_throughput": 10.6, "metrics.p50_ttft_ms": 1500.0}), line(t, "b", is{"metrics.p50_ttft_ms": 15.0}))
		expect(t, "a", x, y)
	})
	t.Run("C23 missing throughput does not beat a measured 0", func(t *testing.T) {
		x, y := both(line(t, "a", is{"metrics.request_throughput": nil, "metrics.p50_ttft_ms": 1.0}), line(t, "b", is{"metrics.request_throughput": 0}))
		expect(t, "b", x, y)
	})
	t.Run("C24 equal rows are a tie", func(t *testing.T) {
		x, y := both(line(t, "a", nil), line(t, "b", nil))
		expect(t, "a", x, y)
		if e := find(t, x, "b"); !e.Tied || e.Rank != 1 || !strings.Contains(x.Classes[0].Verdict, "Tie of") {
			t.Errorf("%+v: %s", e.Rank, x.Classes[0].Verdict)
		}
	})
	t.Run("C25 12.5 req/s is a problem, not 0", func(t *testing.T) {
		c := compareLines(t, line(t, "a", is{"metrics.request_throughput": "12.5 req/s"}))
		if !strings.Contains(warned(c, "unreadable"), `got "12.5 req/s"`) || find(t, c, "a").Row.Metrics.RequestThroughput != nil {
			t.Error(warned(c, "unreadable"))
		}
	})
	t.Run("C26 one engine in two spellings is one", func(t *testing.T) {
		c := compareLines(t, line(t, "a", is{"framework": "SGLang"}), line(t, "b", is{"framework": "sglang"}))
		if names := c.FrameworkNames(); !slices.Equal(names, []string{"sglang"}) {
			t.Error(names)
		}
	})
	t.Run("C27 a limit on E2E is kept", func(t *testing.T) {
		c := compareLines(t, line(t, "a", is{"sla.max_p50_e2e_ms": 1000, "metrics.p50_e2e_ms": 1001.0}))
		expect(t, "-", c)
		if e := find(t, c, "a"); e.Reason != "p50 E2E 1001 ms is above the limit of 1000 ms" {
			t.Error(e.Reason)
		}
	})
}

func merge(a, b is) is {
	out := is{}
	for k, v := range a {
		out[k] = v
	}
	for k, v := range b {
		out[k] = v
	}
	return out
}

func TestSpreadDecidesTies(t *testing.T) {
	points := func(throughputs ...float64) []any {
		var out []any
		for i, x := range throughputs {
			out = append(out, is{"repeat": i, "chosen": i == 0, "status": "ok", "passed": true, "metrics": is{"request_throughput": x}})
		}
		return out
	}
	wide := compareLines(t, line(t, "a", is{"points": points(10, 8)}), line(t, "b", is{"metrics.request_throughput": 8.5, "points": points(8.5, 8.2)}))
	if e := find(t, wide, "b"); !e.Tied || e.Spread == nil || *e.Spread != (Spread{2, 8.2, 8.5}) {
		t.Errorf("intervals that hold 0: %+v", e)
	}
	narrow := compareLines(t, line(t, "a", is{"points": points(10, 9.95, 10.02)}), line(t, "b", is{"metrics.request_throughput": 9.5, "points": points(9.5, 9.4, 9.45)}))
	if e := find(t, narrow, "b"); e.Tied {
		t.Error("a difference beyond interval and threshold is a tie")
	}
	if c := Compare(nil, Options{NoiseBand: -1}); c.NoiseBand != 0 || len(c.Entries) != 0 {
		t.Error("no rows")
	}
}

// What the client spoiled never wins, whatever its figures say.
func TestInvalidMeasurementDoesNotWin(t *testing.T) {
	spoiled := []any{is{"chosen": true, "status": "ok", "passed": true, "invalid": "the client was late", "metrics": is{"request_throughput": 99}}}
	c := compareLines(t, line(t, "a", is{"metrics.request_throughput": 99.0, "points": spoiled}), line(t, "b", nil))
	if e := find(t, c, "a"); winners(c) != "b" || e.Reason != "the measurement is not valid: the client was late" || warned(c, "measurement-invalid") == "" {
		t.Errorf("winner %s, a is %s: %s", winners(c), e.Outcome, e.Reason)
	}
	if c := compareLines(t, line(t, "a", is{"points": spoiled, "sla": nil})); c.Winners() != 0 {
		t.Error("an invalid row without limits wins")
	}
}

func TestResiduesWarn(t *testing.T) {
	c := compareLines(t, line(t, "a", is{"hardware.driver": "570", "framework_commit": "aaa", "image": "i1", "tool_version": "1"}),
		line(t, "b", is{"hardware.driver": "580", "framework_commit": "bbb", "image": "i2", "tool_version": "2", "sla.max_p50_ttft_ms": 3000}),
		line(t, "c", is{"framework": "vllm", "framework_commit": "ccc"}))
	for code, want := range map[string]string{
		"mixed-driver": "rows differ in GPU driver (570 | 580)", "mixed-commit": "rows differ in commit of sglang (aaa | bbb)", "mixed-image": "(i1 | i2)",
		"mixed-tool": "version of llmdyno (1 | 2)", "mixed-limits": "judged by its own limits",
	} {
		if got := warned(c, code); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", code, got, want)
		}
	}
	if w := warned(c, "mixed-version"); w != "" {
		t.Errorf("no version is told, and yet: %s", w)
	}
}

func TestHeads(t *testing.T) {
	c := compareLines(t, line(t, "a", is{"simulated": true, "smoke": true}))
	if c.Warnings[0].Code != "simulated" || c.Warnings[1].Code != "smoke" || !strings.HasPrefix(c.Classes[0].Verdict, "Flow check, not a performance result") {
		t.Errorf("%v\n%s", c.Warnings, c.Classes[0].Verdict)
	}
}

// Rows of a searched rate compare with each other whatever rate they found.
func TestSearchedRate(t *testing.T) {
	c := compareLines(t, line(t, "a", is{"workload.request_rate": 4, "workload.searched": []string{"request_rate"}}),
		line(t, "b", is{"workload.request_rate": 6.5, "workload.searched": []string{"request_rate"}, "metrics.request_throughput": 20.0}))
	if len(c.Classes) != 1 || winners(c) != "b" {
		t.Errorf("%d classes, winners %s", len(c.Classes), winners(c))
	}
}

// randomRows are distinct candidates of one class whose figures collide often.
func randomRows(t *rapid.T, n int) []Row {
	few := func(label string, i int, values ...float64) *float64 {
		return ptr(rapid.SampledFrom(values).Draw(t, fmt.Sprint(label, i)))
	}
	rows := make([]Row, n)
	for i := range rows {
		m := Metrics{
			RequestThroughput:     few("rps", i, 1, 9.5, 9.7, 9.9, 10, 10.2, 12),
			OutputTokenThroughput: few("tps", i, 100, 970, 1000, 1200),
			TTFT:                  Latency{P50: few("ttft", i, 10, 95, 100, 300, 5000)}, TPOT: Latency{P50: few("tpot", i, 5, 9.8, 10, 20)}, SuccessRate: ptr(1.0),
		}
		switch rapid.IntRange(0, 9).Draw(t, fmt.Sprint("gap", i)) {
		case 0:
			m.RequestThroughput = nil
		case 1:
			m.TTFT = Latency{}
		case 2:
			m.TTFT = Latency{Mean: m.TTFT.P50}
		}
		rows[i] = Row{
			Framework: rapid.SampledFrom([]string{"sglang", "vllm"}).Draw(t, fmt.Sprint("fw", i)), CandidateID: fmt.Sprintf("c%02d", i), Status: StatusOK, ServerCommand: "x",
			Hardware: Hardware{GPUModel: "H100", GPUCount: ptr(rapid.SampledFrom([]int{0, 1, 8}).Draw(t, fmt.Sprint("gpus", i)))}, Metrics: m,
			SLA: SLA{Limits: []Limit{NewLimit("p50", "tpot", 15)}},
		}
	}
	return rows
}

func order(c Comparison) string {
	var out []string
	for _, e := range c.Entries {
		out = append(out, fmt.Sprint(e.Name, e.Rank, e.Tied, e.Outcome))
	}
	return strings.Join(out, " ")
}

func TestOrderDoesNotDependOnInput(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := randomRows(t, rapid.IntRange(1, 8).Draw(t, "n"))
		want := Compare(rows, Options{})
		shuffled := rapid.Permutation(rows).Draw(t, "order")
		got := Compare(shuffled, Options{})
		if order(got) != order(want) || winners(got) != winners(want) {
			t.Fatalf("order\n%s %s\nand after a permutation\n%s %s", order(want), winners(want), order(got), winners(got))
		}
	})
}

func TestRenamedEnginesKeepTheOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := randomRows(t, rapid.IntRange(1, 8).Draw(t, "n"))
		want := Compare(rows, Options{})
		renamed := slices.Clone(rows)
		for i := range renamed {
			renamed[i].Framework = map[string]string{"sglang": "zeta", "vllm": "alpha"}[renamed[i].Framework]
		}
		if got := Compare(renamed, Options{}); order(got) != order(want) || winners(got) != winners(want) {
			t.Fatalf("order\n%s\nand with other names\n%s", order(want), order(got))
		}
	})
}

func TestWorseRowDoesNotWin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := randomRows(t, rapid.IntRange(1, 8).Draw(t, "n"))
		before := Compare(rows, Options{})
		w, ok := before.Classes[0].Winner()
		if !ok {
			return
		}
		best := before.Entries[w].Row
		worse := best
		less := func(p *float64) *float64 {
			if p == nil {
				return nil
			}
			return ptr(*p * rapid.Float64Range(0.5, 0.999).Draw(t, "less"))
		}
		more := func(l Latency) Latency {
			f := rapid.Float64Range(1.001, 3).Draw(t, "more")
			if l.P50 != nil {
				l.P50 = ptr(*l.P50 * f)
			}
			if l.Mean != nil {
				l.Mean = ptr(*l.Mean * f)
			}
			return l
		}
		worse.CandidateID, worse.Framework = "worse", "sglang"
		worse.Metrics.RequestThroughput, worse.Metrics.OutputTokenThroughput = less(best.Metrics.RequestThroughput), less(best.Metrics.OutputTokenThroughput)
		worse.Metrics.TTFT, worse.Metrics.TPOT = more(best.Metrics.TTFT), more(best.Metrics.TPOT)
		if n := *best.Hardware.GPUCount; n > 0 {
			worse.Hardware.GPUCount = ptr(n + 1)
		}
		if after := Compare(append(slices.Clone(rows), worse), Options{}); winners(after) != winners(before) {
			t.Fatalf("winner %s, and %s with a row that is worse in everything", winners(before), winners(after))
		}
	})
}

// A row that ties with the best is no loser: without it the best may change.
func TestDroppedLoserChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := randomRows(t, rapid.IntRange(2, 8).Draw(t, "n"))
		before := Compare(rows, Options{})
		for i, e := range before.Entries {
			if e.Tied || e.Outcome == OutcomeWinner {
				continue
			}
			rest := slices.Delete(before.Rows(), i, i+1)
			if after := Compare(rest, Options{}); winners(after) != winners(before) {
				t.Fatalf("winner %s, and %s without %s", winners(before), winners(after), e.Name)
			}
		}
	})
}

// The rows stand in upstream's order: what ran, what passed, then the figures.
func TestEntriesAreInUpstreamOrder(t *testing.T) {
	c := compareLines(t,
		line(t, "failed", is{"status": "failed", "metrics.request_throughput": 90.0}),
		line(t, "missed", is{"metrics.request_throughput": 80.0, "metrics.p50_ttft_ms": 9000.0}),
		line(t, "fewer-tokens", is{"metrics.request_throughput": 20.0, "metrics.output_token_throughput": 500.0}),
		line(t, "slow", is{"metrics.request_throughput": 20.0, "metrics.p50_ttft_ms": 600.0}),
		line(t, "big", is{"metrics.request_throughput": 20.0, "hardware.gpu_count": 16}),
		line(t, "small", is{"metrics.request_throughput": 20.0, "hardware.gpu_count": 1}),
		line(t, "tpot", is{"metrics.request_throughput": 20.0, "metrics.p50_tpot_ms": 21.0}),
		line(t, "fast", is{"metrics.request_throughput": 21.0, "metrics.p50_ttft_ms": 1900.0}))
	var got []string
	for _, e := range c.Entries {
		got = append(got, e.Name)
	}
	if want := "fast small big tpot slow fewer-tokens missed failed"; strings.Join(got, " ") != want {
		t.Errorf("order is %v, want %s", got, want)
	}
}

func TestTieNeedsTheSameTokenThroughput(t *testing.T) {
	c := compareLines(t, line(t, "a", nil), line(t, "b", is{"metrics.output_token_throughput": 900.0, "metrics.p50_ttft_ms": 5.0}))
	if e := find(t, c, "b"); e.Tied || winners(c) != "a" {
		t.Errorf("b with 10 %% fewer tokens/s: tied %v, winner %s", e.Tied, winners(c))
	}
	// Better in one latency and worse in the other is not clearly better.
	c = compareLines(t, line(t, "a", is{"metrics.request_throughput": 10.1}), line(t, "b", is{"metrics.p50_ttft_ms": 5.0, "metrics.p50_tpot_ms": 40.0}))
	if e := find(t, c, "b"); !e.Tied || winners(c) != "a" {
		t.Errorf("a mixed blessing: tied %v, winner %s", e.Tied, winners(c))
	}
}

// Rows that were made in this process may hold what JSON cannot.
func TestNaNInMemoryIsMissing(t *testing.T) {
	row := func(id string, rps float64) Row {
		return Row{Framework: "e", CandidateID: id, Status: StatusOK, SLA: SLA{Passed: ptr(true)}, Metrics: Metrics{RequestThroughput: &rps}}
	}
	for _, bad := range []float64{math.NaN(), math.Inf(1)} {
		for _, rows := range [][]Row{{row("a", bad), row("b", 1)}, {row("b", 1), row("a", bad)}} {
			c := Compare(rows, Options{})
			if e := find(t, c, "a"); winners(c) != "b" || e.Delta != nil {
				t.Errorf("%v: winner %s, delta %v", bad, winners(c), e.Delta)
			}
		}
	}
}

func TestClosedLoopIsAnotherClass(t *testing.T) {
	c := compareLines(t, line(t, "a", is{"workload.arrivals": "poisson", "workload.max_concurrency": 8}), line(t, "b", is{"workload.arrivals": "closed", "workload.max_concurrency": 8}))
	if len(c.Classes) != 2 || c.Classes[0].Label == c.Classes[1].Label || !strings.Contains(warned(c, "not-comparable"), "arrivals (closed, open)") {
		t.Errorf("%d classes: %q", len(c.Classes), warned(c, "not-comparable"))
	}
}

func TestAnotherDriverIsNoRetry(t *testing.T) {
	for key, values := range map[string][2]string{"hardware.driver": {"570", "580"}, "hardware.host": {"a", "b"}, "image": {"a", "b"}, "framework_commit": {"a", "b"}, "server_command": {"a", "b"}} {
		if c := compareLines(t, line(t, "a", is{key: values[0]}), line(t, "a", is{key: values[1]})); len(c.Superseded) != 0 {
			t.Errorf("another %s counts as another attempt", key)
		}
	}
}

// Only repeats of the chosen load make a spread.
func TestSpreadIsOfOneLoad(t *testing.T) {
	point := func(rate, rps float64, more is) is {
		return merge(is{"request_rate": rate, "status": "ok", "passed": true, "metrics": is{"request_throughput": rps}}, more)
	}
	c := compareLines(t, line(t, "a", is{"points": []any{
		point(4, 4, is{"chosen": true}), point(4, 3.9, nil), point(8, 7, nil), point(4, 1, is{"status": "failed"}),
		point(4, 2, is{"invalid": "late"}), point(4, 3, is{"max_concurrency": 8}),
	}}))
	if s := c.Entries[0].Spread; s == nil || *s != (Spread{2, 3.9, 4}) {
		t.Errorf("spread is %+v", s)
	}
}

// What did not run has no residue to warn of.
func TestFailedRowsDoNotMix(t *testing.T) {
	c := compareLines(t, line(t, "a", is{"hardware.driver": "570"}), line(t, "b", is{"hardware.driver": "580", "status": "failed"}))
	if w := warned(c, "mixed-driver"); w != "" {
		t.Error(w)
	}
}

func TestFewSamplesWarn(t *testing.T) {
	limit := is{"sla.max_p99_ttft_ms": 5000, "metrics.p99_ttft_ms": 900.0}
	few := compareLines(t, line(t, "a", merge(limit, is{"metrics.n_ttft": 80})))
	if w := warned(few, "few-samples"); !strings.Contains(w, "max_p99_ttft_ms rests on 80 samples; a 95 % interval of this percentile needs 368") {
		t.Errorf("warning is %q", w)
	}
	if enough := compareLines(t, line(t, "a", merge(limit, is{"metrics.n_ttft": 368}))); warned(enough, "few-samples") != "" {
		t.Error("368 samples are enough")
	}
}
