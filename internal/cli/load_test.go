package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"llmdyno/internal/bench/config"
	"llmdyno/internal/bench/result"
	"llmdyno/internal/engine/all"
	"llmdyno/internal/load"
	"llmdyno/internal/load/sample"
	"llmdyno/internal/load/shard"
	"llmdyno/internal/load/workload"
)

func optionsOf(t *testing.T, values map[string]string) []*loadOption {
	t.Helper()
	opts := loadOptions()
	for name, v := range values {
		if err := optionNamed(opts, name).Set(v); err != nil {
			t.Fatal(err)
		}
	}
	return opts
}

// Every key of a scenario and of arrivals has its option, with a meaning.
func TestLoadOptionsAreTheFilesKeys(t *testing.T) {
	var names []string
	for _, o := range loadOptions() {
		if o.usage() == "" {
			t.Errorf("--%s says nothing", o.name)
		}
		names = append(names, o.name)
	}
	if sorted := slices.Sorted(slices.Values(names)); len(slices.Compact(sorted)) != len(names) {
		t.Errorf("two options share a name: %v", names)
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[config.Scenario](), reflect.TypeFor[config.Arrivals]()} {
		for _, f := range reflect.VisibleFields(typ) {
			key := f.Tag.Get("yaml")
			if key == "name" || key == "sla" {
				continue
			}
			if !slices.ContainsFunc(loadOptions(), func(o *loadOption) bool { return strings.HasSuffix(o.path, "."+key) }) {
				t.Errorf("%s of %v has no option", key, typ)
			}
		}
	}
}

func TestBenchmarkOf(t *testing.T) {
	f, err := benchmarkOf(optionsOf(t, map[string]string{
		"workload": "shared_prefix", "prefix": "len=100,groups=3,ratio=0.5", "input": "uniform,min=5,max=9", "output": "64", "num-prompts": "7",
		"seed": "42", "arrivals": "steps", "steps": "2@30s,8@1m", "gaps": "constant", "request-timeout": "90s", "extra-body": `{"top_p":0.5}`,
		"warmup": "0", "temperature": "0.7", "nonce": "false", "compat": "vllm",
	}), "some/Model", all.Engines())
	if err != nil {
		t.Fatal(err)
	}
	no, half := false, 0.5
	want := workload.Spec{
		Kind: workload.KindPrefix, NumPrompts: 7, Seed: 42, Compat: workload.CompatVLLM, Nonce: &no,
		Prefix: workload.Prefix{Groups: 3, Len: 100, Ratio: &half},
		Input:  workload.Lengths{Kind: workload.LengthUniform, Min: 5, Max: 9}, Output: workload.Fixed(64),
	}
	if got := *f.Scenarios()[0].Spec; !reflect.DeepEqual(got, want) {
		t.Errorf("spec\n%+v\nwant\n%+v", got, want)
	}
	a, err := f.Process()
	steps := []workload.Step{{RateRPS: 2, For: 30 * time.Second}, {RateRPS: 8, For: time.Minute}}
	if err != nil || a.Kind != workload.ArrivalSteps || a.Gaps != workload.ArrivalConstant || !reflect.DeepEqual(a.Steps, steps) {
		t.Errorf("arrivals %+v, %v", a, err)
	}
	if f.RequestTimeout() != 90*time.Second || f.Warmup() != 0 || *f.Benchmark.Temperature != 0.7 || f.Benchmark.ExtraRequestBody.Any()["top_p"] != 0.5 {
		t.Errorf("%+v", f.Benchmark)
	}
}

// A path that looks like a number, or like YAML, stays what it is.
func TestOptionsAreNotYAML(t *testing.T) {
	for _, path := range []string{"123", "a: b", "x\n- y", "{z}", "# no", "true"} {
		opts := optionsOf(t, map[string]string{"dataset": path, "workload": "custom"})
		node, err := optionNamed(opts, "dataset").node()
		if err != nil || node != path {
			t.Errorf("%q became %v, %v", path, node, err)
		}
	}
}

func FuzzLengthNode(f *testing.F) {
	for _, s := range []string{"512", "uniform,min=1,max=2", "values=1:2:3", "normal,mean=1e3", "", ",", "=", "a=b=c", "path=x y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		node, err := lengthNode(s)
		if err != nil {
			return
		}
		if _, err := json.Marshal(node); err != nil {
			t.Errorf("%q: %v cannot be written: %v", s, node, err)
		}
	})
}

func TestParseSLO(t *testing.T) {
	got, err := parseSLO("ttft_p99=500ms, tpot_p50=30ms,e2e_mean=2s,success=99%")
	if err != nil || *got.MinSuccessRate != 0.99 || !reflect.DeepEqual(got.Limits, []result.Limit{
		result.NewLimit("p99", "ttft", 500), result.NewLimit("p50", "tpot", 30), result.NewLimit("mean", "e2e", 2000),
	}) {
		t.Errorf("%+v, %v", got, err)
	}
	limits, tightest := requestLimits(got)
	if limits.TTFTMs != 500 || limits.TPOTMs != 30 || limits.E2EMs != 2000 || tightest != 30 {
		t.Errorf("%+v, tightest %v", limits, tightest)
	}
	for _, bad := range []string{"ttft", "ttft_p99=5", "ttft_p99=-5ms", "x_p99=5ms", "ttft_foo=5ms", "success=x", "success=101%"} {
		if _, err := parseSLO(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestWithin(t *testing.T) {
	a := workload.Arrivals{Kind: workload.ArrivalConstant, RateRPS: 10}
	if n := within(a, 100*time.Second); n != 1000 {
		t.Errorf("%d arrivals in 100 s at 10/s", n)
	}
	if n := within(a, time.Millisecond); n != 0 {
		t.Errorf("%d arrivals in 1 ms", n)
	}
	reqs := []workload.Request{{}, {After: 1}, {}, {After: 3}, {}}
	for n, want := range map[int]int{0: 0, 1: 2, 2: 4, 3: 5, 9: 5} {
		if got := len(firstArrivals(reqs, n)); got != want {
			t.Errorf("%d arrivals are %d requests, want %d", n, got, want)
		}
	}
}

func TestArrivalsOf(t *testing.T) {
	for _, x := range []struct {
		rate    float64
		options map[string]string
		want    workload.ArrivalKind
		rps     float64
	}{
		{0, nil, workload.ArrivalClosed, 0},
		{3, nil, workload.ArrivalPoisson, 3},
		{3, map[string]string{"arrivals": "constant"}, workload.ArrivalConstant, 3},
		{0, map[string]string{"arrivals": "poisson"}, workload.ArrivalPoisson, 0}, // all at once, as asked for
		{0, map[string]string{"arrivals": "ramp", "to-rps": "5", "over": "10s"}, workload.ArrivalRamp, 5},
	} {
		r := loadRequest{rate: x.rate, opts: optionsOf(t, x.options)}
		r.defaults()
		f, err := benchmarkOf(r.opts, "m", all.Engines())
		if err != nil {
			t.Fatal(err)
		}
		a, err := r.arrivals(f)
		kind := a.Kind
		if kind == "" {
			kind = workload.ArrivalPoisson
		}
		if err != nil || kind != x.want || a.RateRPS != x.rps {
			t.Errorf("%+v: %+v, %v", x, a, err)
		}
	}
}

func finished(index int, ttft, e2e int64, tokens int) sample.Record {
	r := sample.New(index, 0)
	r.Send, r.FirstText, r.LastChoices, r.Done, r.OutputTokens = 0, ttft*1e6, e2e*1e6, e2e*1e6, tokens
	return r
}

func someView() loadView {
	s := newLoadStats(100)
	for i := range 40 {
		r := finished(i, 10+int64(i), 1000+100*int64(i), 11)
		s.ended(&r)
	}
	bad := sample.New(40, 0)
	bad.Class = sample.ClassTimeout
	s.ended(&bad)
	return s.view(load.Progress{Planned: 100, Sent: 50, Done: 41, Failed: 1, InFlight: 9, Elapsed: 5 * time.Second, OutputTokens: 440})
}

func TestLoadStats(t *testing.T) {
	v := someView()
	if v.RPS != 8 || v.TPS != 88 || v.Errors != "timeout 1" || math.Abs(v.TTFT[0]-30) > 1 || v.TTFT[2] != 49 || v.E2E[2] != 4900 || len(v.Spark) != 6 || v.Spark[0] != 0 || v.Spark[1] == 0 {
		t.Errorf("%+v", v)
	}
	if got := sparkline([]float64{0, 1, 4, 8}); got != " ▂▅█" {
		t.Errorf("%q", got)
	}
	if sparkline(nil) != "" {
		t.Error("a line of nothing")
	}
	s := newLoadStats(1)
	if v := s.view(load.Progress{Planned: 1}); v.TTFT != nil || v.RPS != 0 {
		t.Errorf("before anything: %+v", v)
	}
	s = newLoadStats(3)
	for i := range 9 { // the last ones count
		r := finished(i, int64(i), int64(10*i), 2)
		s.ended(&r)
	}
	if v := s.view(load.Progress{}); v.TTFT[0] != 7 {
		t.Errorf("%+v", v.TTFT)
	}
}

// The dashboard keeps to the width of the terminal, hides secrets, and says the
// same without colour.
func TestLoadDashboard(t *testing.T) {
	for _, width := range []int{20, 80, 200} {
		m, _ := loadModel{pen: pen{hide: func(s string) string { return s }, width: width, colour: true}}.Update(someView())
		text := m.(loadModel).View().Content
		for _, line := range strings.Split(text, "\n") {
			if n := ansi.StringWidth(line); n > width {
				t.Errorf("width %d: a line of %d: %q", width, n, line)
			}
		}
		if width < 80 {
			continue
		}
		plain, _ := loadModel{pen: pen{hide: func(s string) string { return s }, width: width}}.Update(someView())
		if ansi.Strip(text) != plain.(loadModel).View().Content || ansi.Strip(text) == text {
			t.Errorf("colour says something of its own: %q", text)
		}
		for _, want := range []string{"41 of 100 requests, 5s", "8 requests/s  88 output tokens/s  9 in flight  50 sent", "failed: timeout 1", "p50 TTFT by second"} {
			if !strings.Contains(text, want) {
				t.Errorf("width %d: %q is missing:\n%s", width, want, text)
			}
		}
	}
	if text := (loadModel{}).View().Content; text != "" {
		t.Errorf("before the start: %q", text)
	}
}

func TestPlainLoad(t *testing.T) {
	var out bytes.Buffer
	a := &app{stderr: &out, stdout: &out}
	show, end := a.loadView()
	v := someView()
	show(v) // too early for a line
	v.Elapsed = 10 * time.Second
	show(v)
	show(v)
	v.Elapsed, v.Done = 12*time.Second, v.Planned
	show(v)
	end()
	want := "10s: 41 of 100 done, 9 in flight, 8 requests/s, 88 tokens/s, p50 TTFT 30.0 ms, failed: timeout 1\n" +
		"12s: 100 of 100 done, 9 in flight, 8 requests/s, 88 tokens/s, p50 TTFT 30.0 ms, failed: timeout 1\n"
	if out.String() != want {
		t.Errorf("%q\nwant %q", out.String(), want)
	}
	a.quiet = true
	if show, _ := a.loadView(); show != nil {
		t.Error("--quiet still shows")
	}
}

// A worker says that it is ready, begins when told, tells what ended, and stops
// when its leader is gone.
func TestLeash(t *testing.T) {
	in, leader := io.Pipe()
	heard, out := io.Pipe()
	l := newLeash(in, out)
	ctx, cancel := l.hold(t.Context())
	defer cancel()
	type answer struct {
		at  time.Time
		err error
	}
	started := make(chan answer, 1)
	go func() {
		at, err := l.start(ctx)
		started <- answer{at, err}
	}()
	dec := json.NewDecoder(heard)
	var line workerLine
	if err := dec.Decode(&line); err != nil || !line.Ready {
		t.Fatalf("%+v, %v", line, err)
	}
	if _, err := io.WriteString(leader, "nonsense\n1234567890123456789\n"); err != nil {
		t.Fatal(err)
	}
	if a := <-started; a.err != nil || a.at.UnixNano() != 1234567890123456789 {
		t.Fatalf("%+v", a)
	}
	r := finished(0, 10, 30, 3)
	l.ended(&r)
	go l.progress(load.Progress{Planned: 3, Done: 1})
	line = workerLine{}
	if err := dec.Decode(&line); err != nil || line.Progress.Done != 1 || !reflect.DeepEqual(line.Ended, []endedRequest{{TTFT: 10, TPOT: 10, E2E: 30, AtMs: 30}}) {
		t.Errorf("%+v, %v", line, err)
	}
	leader.Close()
	<-ctx.Done()
	heard.Close()
	if _, err := l.start(ctx); err == nil {
		t.Error("started without a leader")
	}
}

func TestLeadIsToldByAll(t *testing.T) {
	var got loadView
	c := &crew{stats: newLoadStats(10), show: func(v loadView) { got = v }, progress: make([]load.Progress, 2), ready: make(chan int, 2)}
	c.listen(strings.NewReader(`{"ready":true}
{"progress":{"Planned":5,"Sent":4,"Done":3,"Failed":1,"InFlight":1,"Elapsed":1000000000,"OutputTokens":30},"ended":[{"ttft":5,"e2e":9},{"class":"reset"}]}
`), 1)
	c.listen(strings.NewReader(`{"ready":true}
{"progress":{"Planned":5,"Sent":5,"Done":5,"Elapsed":2000000000,"OutputTokens":50}}
torn {`), 2)
	if got.Planned != 10 || got.Done != 8 || got.InFlight != 1 || got.OutputTokens != 80 || got.Elapsed != 2*time.Second || got.Errors != "reset 1" || got.TTFT[0] != 5 || len(c.ready) != 2 {
		t.Errorf("%+v", got)
	}
}

func TestTail(t *testing.T) {
	var said tail
	if got := said.last(errors.New("exit status 3")); got != "exit status 3" {
		t.Errorf("%q", got)
	}
	_, _ = said.Write(bytes.Repeat([]byte("x"), 2*maxTail))
	_, _ = said.Write([]byte("\nllmdyno: no server answers\n"))
	if got := said.last(nil); got != "no server answers" || len(said.text) > maxTail {
		t.Errorf("%q", got)
	}
}

func TestMeant(t *testing.T) {
	records := make([]sample.Record, 4)
	records[1].Class, records[2].Class, records[3].Class = sample.ClassDropped, sample.ClassCancelled, sample.ClassReset
	if kept, left := meant(records, loadPlan{CutAfterS: 1}); len(kept) != 2 || left != 1 {
		t.Errorf("%d kept, %d left", len(kept), left)
	}
	if kept, left := meant(records, loadPlan{}); len(kept) != 4 || left != 0 {
		t.Errorf("%d kept, %d left", len(kept), left)
	}
}

func TestLongestLoad(t *testing.T) {
	reqs := make([]workload.Request, 10)
	if got := longestLoad(reqs, workload.Arrivals{Kind: workload.ArrivalConstant, RateRPS: 1}, 0, time.Minute); got != 70*time.Second {
		t.Errorf("open loop: %v", got)
	}
	if got := longestLoad(reqs, workload.Arrivals{Kind: workload.ArrivalClosed}, 2, time.Minute); got != 6*time.Minute {
		t.Errorf("closed loop: %v", got)
	}
	if got := longestLoad(reqs, workload.Arrivals{Kind: workload.ArrivalClosed}, 1, 10*time.Hour); got != 24*time.Hour {
		t.Errorf("bounded: %v", got)
	}
}

func TestReadLoadSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	for _, x := range []struct{ plan, want string }{
		{"", "no such file"}, {"{", "reading "}, {`{"schema":"other"}`, `schema "other"`}, {`{"schema":"llmdyno.load","schema_version":9}`, "version 9"},
		{`{"schema":"llmdyno.load","schema_version":1}`, "client.json"},
	} {
		if x.plan != "" {
			if err := os.WriteFile(filepath.Join(dir, loadPlanName), []byte(x.plan), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := (&app{}).readLoad(dir); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%q: %v, want %q", x.plan, err, x.want)
		}
	}
}

func TestWrapWords(t *testing.T) {
	got := wrapWords("some/Model-8B is a-long-word-that-stays-whole x", 12)
	if want := []string{"some/Model-8B", "is", "a-long-word-that-stays-whole", "x"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := wrapWords("", 5); !slices.Equal(got, []string{""}) {
		t.Errorf("%q", got)
	}
}

// The summary fits 80 columns and names every limit.
func TestLoadText(t *testing.T) {
	a := &app{}
	records := make([]sample.Record, 30)
	for i := range records {
		records[i] = finished(i, 10, 200, 20)
	}
	sla, err := parseSLO("ttft_p50=5ms,e2e_p50=1s,success=0.5")
	if err != nil {
		t.Fatal(err)
	}
	p := loadPlan{URL: "http://host:8000", Endpoint: "/v1/completions", Engine: "x", Model: "some/Model", Prompts: strings.Repeat("many words ", 30), Arrivals: "closed loop", Requests: 30, Part: shard.Part{I: 1, N: 1}, SLA: sla}
	out, row := a.sumUpLoad(p, measured{started: time.Unix(0, 0), duration: time.Second, records: records, audit: load.Audit{Invalid: "too late"}})
	text := loadText(out, false)
	for _, line := range strings.Split(text, "\n") {
		if ansi.StringWidth(line) > 80 {
			t.Errorf("%d columns: %q", ansi.StringWidth(line), line)
		}
	}
	for _, want := range []string{"30 of 30 succeeded", "MISSED  p50 ttft 10.0 ms, limit 5 ms", "kept    p50 e2e 200.0 ms, limit 1000 ms", "kept    success 100 %", "INVALID    too late"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing:\n%s", want, text)
		}
	}
	if *row.SLA.Passed || row.Points[0].Invalid != "too late" {
		t.Errorf("%+v", row.SLA)
	}
	if coloured := loadText(out, true); ansi.Strip(coloured) != text || coloured == text {
		t.Error("colour says something of its own")
	}
}

// A worker that cannot start is an error of the load, and no worker is left.
func TestWorkerThatFails(t *testing.T) {
	a := &app{environ: os.Environ(), quiet: true, stderr: io.Discard}
	c := &crew{stats: newLoadStats(1), progress: make([]load.Progress, 2), ready: make(chan int, 2), prepared: func() { t.Error("nobody was ready") }}
	r := &loadRequest{workers: 2, spawn: []string{"-c", "echo 'llmdyno: no room' >&2; exit 3"}}
	err := c.run(context.Background(), a, "/bin/sh", t.TempDir(), r)
	if err == nil || !strings.Contains(err.Error(), "no room") || codeOf(err) != ExitFailed {
		t.Errorf("%v", err)
	}
	if err := c.run(context.Background(), a, filepath.Join(t.TempDir(), "none"), t.TempDir(), r); err == nil {
		t.Error("a program that is not there was started")
	}
}
