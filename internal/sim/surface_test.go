package sim

import (
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// surfaces are those of all engines: the folders beside the tables.
func surfaces(t testing.TB) map[string]fs.FS {
	t.Helper()
	dirs, err := filepath.Glob("../engine/*/surface")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no surfaces beside the engines: %v", err)
	}
	out := map[string]fs.FS{}
	for _, d := range dirs {
		if versions, err := SurfaceVersions(os.DirFS(d)); err == nil && len(versions) > 0 {
			out[filepath.Base(filepath.Dir(d))] = os.DirFS(d)
		}
	}
	return out
}

// argvOf is a shortest argv for any surface: its own program word, the model
// as it wants it, and every flag that switches a route on.
func argvOf(s *Surface) []string {
	argv := strings.Fields(s.Program[0])
	if s.Model.Positional {
		argv = append(argv, testModel)
	} else {
		argv = append(argv, s.Model.Option, testModel)
	}
	needed := map[string]bool{}
	for _, r := range s.Routes {
		needed[r.Needs] = true
	}
	for _, o := range s.Options {
		if o.Knob != "" && needed[o.Knob] && o.Takes == "none" && (o.Set == "" || o.Set == "true") {
			argv = append(argv, o.Names[0])
		}
	}
	return argv
}

// Every engine's surface serves from end to end: boot, each route, streams with
// and without usage, metrics that parse.
func TestEverySurfaceServes(t *testing.T) {
	for id, fsys := range surfaces(t) {
		s, err := LoadSurface(fsys, "")
		if err != nil {
			t.Errorf("%s: %v", id, err)
			continue
		}
		t.Run(id, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, Options{Surface: fsys, Argv: argvOf(s), GPU: "h100", PID: 7})
				defer r.stop()
				time.Sleep(bootTime + time.Millisecond)
				for _, route := range s.Routes {
					if route.Needs != "" && !r.e.inv.bool(route.Needs, false) {
						continue
					}
					serveRoute(t, r, route)
				}
				if out := r.out.String(); strings.Contains(out, "(template") || out == "" {
					t.Errorf("log %q", out)
				}
			})
		})
	}
}

func serveRoute(t *testing.T, r *rig, route SurfaceRoute) {
	t.Helper()
	method, _, _ := strings.Cut(route.Method, "|")
	switch route.Kind {
	case "completions", "chat", "generate":
		body := map[string]any{"stream": true}
		switch route.Kind {
		case "completions":
			body["prompt"], body["max_tokens"], body["model"] = "one two three", 4, testModel
		case "chat":
			body["messages"], body["max_tokens"], body["model"] = []any{map[string]any{"role": "user", "content": "hi"}}, 4, testModel
		case "generate":
			body["text"], body["sampling_params"] = "one two three", map[string]any{"max_new_tokens": 4}
		}
		a := r.post(route.Path, body)
		if a.status != 200 || a.err != nil || len(a.events) < 4 {
			t.Errorf("%s: %d, %v, events %q, %s", route.Path, a.status, a.err, a.events, a.body)
		}
		for _, e := range a.events {
			if e != "[DONE]" && !isJSON(e) {
				t.Errorf("%s: event %q is not JSON", route.Path, e)
			}
		}
		body["stream"] = false
		if a := r.post(route.Path, body); a.status != 200 || !isJSON(a.body) {
			t.Errorf("%s whole: %d %q", route.Path, a.status, a.body)
		}
	case "tokenize":
		if a := r.call(method, route.Path, `{"prompt":"a b","content":"a b","text":"a b"}`); a.status != 200 || !isJSON(a.body) {
			t.Errorf("%s: %d %q", route.Path, a.status, a.body)
		}
	default:
		if route.Kind == "start_profile" {
			r.e.o.Dir = t.TempDir()
		}
		a := r.call(method, route.Path, "")
		if a.status != route.Status || strings.Contains(a.body, "(template") {
			t.Errorf("%s: %d %.200q", route.Path, a.status, a.body)
		}
		if strings.HasPrefix(a.header.Get("Content-Type"), jsonType) && !isJSON(a.body) {
			t.Errorf("%s: body is not JSON: %.300q", route.Path, a.body)
		}
		if strings.HasSuffix(route.Path, "metrics") && strings.HasPrefix(a.body, "# ") {
			parseMetrics(t, route.Path, a.body)
		}
	}
}

// An event that is put together by hand is the one that the template would make.
func TestPartsMakeTheTemplatesEvents(t *testing.T) {
	for id, fsys := range surfaces(t) {
		s, err := LoadSurface(fsys, "")
		if err != nil {
			t.Fatal(err)
		}
		for kind, wire := range s.Wires {
			e, err := New(Options{Surface: fsys, Argv: argvOf(s), GPU: "h100"})
			if err != nil {
				t.Fatal(err)
			}
			for _, perEvent := range []bool{false, true} {
				w := &lastWrite{discard: discard{header: http.Header{}}}
				st := &stream{e: e, w: w, wire: wire, g: &generation{input: 9, stream: true, perEvent: perEvent}, r: &request{output: 100}, received: time.Now()}
				st.prepare()
				st.delta = e.surface.files[wire.Delta]
				st.begin()
				if !wire.Cumulative && kind != "generate" && st.parts == nil {
					t.Errorf("%s %s: the template runs for every token", id, kind)
				}
				for range 3 {
					st.event(1, false)
					want := st.frame[0] + string(e.surface.fill(wire.Delta, &st.data)) + st.frame[1]
					if w.last != want {
						t.Errorf("%s %s: wrote %q, the template makes %q", id, kind, w.last, want)
					}
				}
			}
		}
	}
}

type lastWrite struct {
	discard
	last string
}

func (l *lastWrite) Write(b []byte) (int, error) {
	l.last = string(b)
	return len(b), nil
}

func isJSON(s string) bool { return fitsType("json", s) }

// parseMetrics reads metrics text as Prometheus does.
func parseMetrics(t *testing.T, path, text string) map[string]float64 {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	out := map[string]float64{}
	for name, f := range families {
		for _, m := range f.Metric {
			switch {
			case m.Counter != nil:
				out[name] += m.Counter.GetValue()
			case m.Gauge != nil:
				out[name] += m.Gauge.GetValue()
			case m.Histogram != nil:
				out[name+"_count"] += float64(m.Histogram.GetSampleCount())
				last := uint64(0)
				for _, b := range m.Histogram.Bucket {
					if b.GetCumulativeCount() < last {
						t.Errorf("%s: %s is not cumulative", path, name)
					}
					last = b.GetCumulativeCount()
				}
			}
		}
	}
	return out
}

func TestMetricsTellTheState(t *testing.T) {
	inBubble(t, options("plain serve "+testModel+" --metrics"), func(r *rig) {
		r.completion("r1", 100, 7)
		r.completion("r2", 50, 3)
		m := parseMetrics(t, "/metrics", r.call("GET", "/metrics", "").body)
		for name, want := range map[string]float64{"prompt_tokens_total": 150, "generation_tokens_total": 10, "running": 0, "waiting": 0, "kv_usage": 0, "preemptions_total": 0, "ttft_seconds_count": 2} {
			if m[name] != want {
				t.Errorf("%s is %v, expected %v", name, m[name], want)
			}
		}
	})
}

func TestHistogramBuckets(t *testing.T) {
	h := &histogram{}
	for i := range 10_000 { // past the exact part
		h.observe(float64(i%100) + 1)
	}
	if h.count != 10_000 || h.sum != 505_000 {
		t.Errorf("count %d, sum %v", h.count, h.sum)
	}
	for _, c := range []struct {
		bound    float64
		low, top uint64
	}{{0, 0, 0}, {1, 100, 100}, {50, 4800, 5200}, {100, 10_000, 10_000}, {1e9, 10_000, 10_000}} {
		if n := h.below(c.bound); n < c.low || n > c.top {
			t.Errorf("up to %v: %d, expected %d to %d", c.bound, n, c.low, c.top)
		}
	}
}

// testFiles is the test surface in memory, to be spoilt.
func testFiles(t testing.TB) fstest.MapFS {
	t.Helper()
	out := fstest.MapFS{}
	base := os.DirFS("testdata/surface/1.0")
	err := fs.WalkDir(base, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(base, p)
		out["1.0/"+p] = &fstest.MapFile{Data: b}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSurfaceRefusesWhatItCannotServe(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"unknown key", `"listen": "early"`, `"listen": "early", "extra": 1`, "extra"},
		{"unknown key of a log entry", `"every_s": 1`, `"every": 1`, "every"},
		{"another schema", `"llmdyno.surface"`, `"other"`, "schema"},
		{"listen", `"listen": "early"`, `"listen": "now"`, "listen"},
		{"no sources", `"sources": [{`, `"sources": [], "note": "x", "commands2": [{`, "commands2"},
		{"source without date", `"date": "2026-11-24"`, `"date": ""`, "date"},
		{"option twice", `["--pp"]`, `["--tp"]`, "twice"},
		{"option without dash", `["--pp"]`, `["pp"]`, "dash"},
		{"takes", `"takes": "optional"`, `"takes": "two"`, "takes"},
		{"type", `"type": "json"`, `"type": "yaml"`, "type"},
		{"route kind", `"kind": "flush"`, `"kind": "wash"`, "kind"},
		{"route twice", `"/start_profile"`, `"/flush"`, "twice"},
		{"route status", `"status": 204`, `"status": 20`, "status"},
		{"missing wire", `"kind": "generate", "auth"`, `"kind": "completions", "needs": "", "auth"`, ""},
		{"frame", `"frame": "data: {event}\n\n"`, `"frame": "data"`, "frame"},
		{"usage_when", `"usage_when": "asked"`, `"usage_when": "never"`, "usage_when"},
		{"missing file", `"file": "boot.log"`, `"file": "none.log"`, ""},
		{"file out of the folder", `"boot": "boot.log"`, `"boot": "../boot.log"`, "not a name"},
		{"file that does not exist", `"boot": "boot.log"`, `"boot": "none.log"`, "none.log"},
		{"trailing text", `"trace_shape.json"
}`, `"trace_shape.json"
} {}`, "end of the file"},
		{"no shape of traces", `"trace_shape.json"`, `"none.json"`, "none.json"},
	} {
		files := testFiles(t)
		text := string(files["1.0/surface.json"].Data)
		if c.want == "" {
			continue
		}
		if !strings.Contains(text, c.old) {
			t.Errorf("%s: the surface has no %q to spoil", c.name, c.old)
			continue
		}
		files["1.0/surface.json"] = &fstest.MapFile{Data: []byte(strings.Replace(text, c.old, c.new, 1))}
		if _, err := LoadSurface(files, ""); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, expected an error with %q", c.name, err, c.want)
		}
	}
	files := testFiles(t)
	files["1.0/delta.json"] = &fstest.MapFile{Data: []byte("{{.Nothing}}")}
	if _, err := LoadSurface(files, ""); err == nil || !strings.Contains(err.Error(), "delta.json") {
		t.Errorf("a template with an unknown field: %v", err)
	}
	if _, err := LoadSurface(fstest.MapFS{}, ""); err == nil {
		t.Error("an empty surface was accepted")
	}
	if _, err := LoadSurface(nil, ""); err == nil {
		t.Error("no surface was accepted")
	}
}

func TestNewestVersionIsTheDefault(t *testing.T) {
	files := fstest.MapFS{}
	for _, v := range []string{"0.9.1", "0.26.0", "0.26.0rc1"} {
		files[v+"/surface.json"] = &fstest.MapFile{Data: []byte("{}")}
	}
	files["notes/x.txt"] = &fstest.MapFile{}
	got, err := SurfaceVersions(files)
	if err != nil || !slices.Equal(got, []string{"0.9.1", "0.26.0", "0.26.0rc1"}) {
		t.Errorf("versions %q, %v", got, err)
	}
}

func FuzzLoadSurface(f *testing.F) {
	whole, err := os.ReadFile("testdata/surface/1.0/surface.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole, []byte("{{json .Text}}"))
	f.Add([]byte(`{"schema":"llmdyno.surface","schema_version":1,"listen":"early","sources":[{"ref":"x","date":"y"}],"options":[{"names":["-z"],"takes":"many"}],"commands":[{"args":["x"],"file":"f"}]}`), []byte("{{printf \"%5d\" .Port}}"))
	f.Add([]byte(`{"log":{"boot":1}}`), []byte("{{range buckets \"ttft\" .Text}}{{.LE}}{{end}}"))
	f.Fuzz(func(t *testing.T, surface, file []byte) {
		s, err := decodeSurface(surface)
		if err != nil {
			return
		}
		files := fstest.MapFS{}
		for _, u := range s.fileUses() {
			if fs.ValidPath(u.name) {
				files[u.name] = &fstest.MapFile{Data: file}
			}
		}
		if s.load(files) == nil {
			_, _ = s.parse([]string{"x", "--y=1", "-z"}, nil, Faults{})
		}
	})
}

func TestArgv(t *testing.T) {
	s, err := LoadSurface(os.DirFS("testdata/surface"), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		argv  string
		knobs string // "k=v …", those that differ from the defaults
	}{
		{"plain serve m", "model=m"},
		{"/usr/bin/plain serve m", "model=m"},
		{"m --tp 2", "model=m tp=2"},
		{"--model m -tp 4", "model=m tp=4"},
		{"m --tp=2 --tp=3", "model=m tp=3"},
		{"m --max_running 5", "model=m max_running=5"},
		{"m --no-chunked --fa", "model=m chunked_prefill=false flash_attention=true"},
		{"m --fa off --metrics", "model=m flash_attention=off metrics=true"},
		{"m --api-key a b --eager", "model=m api_key=a+b cuda_graph=false"},
		{"m --chunk -1", "model=m chunk_tokens=-1"},
		{"m --batch-tokens 8K", "model=m max_batch_tokens=8K"},
		{"m --quant eight", "model=m quantization=fp8"},
		{`m --spec {"n":3,"method":"draft"}`, "model=m spec_tokens=3 speculative=draft"},
		{`m --spec {"method":"mtp"}`, "model=m speculative=draft"},
		{"m --spec.method mtp", "model=m speculative=draft"},
		{"m --spec.n 2", "model=m spec_tokens=2"},
	} {
		inv, end := s.parse(strings.Fields(c.argv), nil, Faults{})
		if end != nil {
			t.Errorf("%q: %v", c.argv, end)
			continue
		}
		var got []string
		for _, k := range slices.Sorted(maps.Keys(inv.knobs)) {
			if inv.given[k] {
				got = append(got, k+"="+strings.ReplaceAll(inv.knobs[k], " ", "+"))
			}
		}
		want := strings.Fields(c.knobs)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%q: knobs %q, expected %q", c.argv, got, want)
		}
	}
	for _, c := range []struct {
		argv string
		exit int
		text string
		out  bool
	}{
		{"plain serve --version", 0, "plain 1.0", true},
		{"m --tp 2 --help", 3, "plain 1.0", false},
		{"m --nope 1", 2, "unrecognized arguments: --nope", false},
		{"m extra", 2, "unrecognized arguments: extra", false},
		{"m --tp two", 2, "argument --tp: invalid int value: 'two'", false},
		{"m --tp", 2, "argument --tp: expected one argument", false},
		{"m --tp --eager", 2, "argument --tp: expected one argument", false},
		{"m --policy random", 2, "invalid choice: 'random' (choose from 'fcfs', 'lpm')", false},
		{"m --eager=1", 2, "takes no value", false},
		{"m --spec {", 2, "invalid json value", false},
		{"plain serve", 2, "no model", false},
	} {
		_, end := s.parse(strings.Fields(c.argv), nil, Faults{})
		if end == nil || end.Exit != c.exit || end.Stdout != c.out || !strings.Contains(string(end.Text), c.text) {
			t.Errorf("%q: got %+v, expected exit %d with %q", c.argv, end, c.exit, c.text)
		}
	}
}

func TestParseFaults(t *testing.T) {
	for _, bad := range []string{"nope", "hang-request", "hang-request=0", "http-500=2", "http-500=NaN", "slow-tokens=0", "slow-start=x", "oom=1", "unknown-flag", "poison", ""} {
		if _, err := ParseFaults([]string{bad}); bad != "hang-request" && err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	f, err := ParseFaults([]string{"slow-start=5s", "reset-stream=0.25", "leaves-child", "profile-slow", "profile-missing=2"})
	if err != nil || f.slowStart != 5*time.Second || f.resetStream != 0.25 || !f.LeavesChild() || f.profileSlow != 5*time.Second || f.profileMissing != 2 {
		t.Errorf("got %+v, %v", f, err)
	}
	if got := len(FaultNames()); got != 21 {
		t.Errorf("%d faults are named, expected 21", got)
	}
}
