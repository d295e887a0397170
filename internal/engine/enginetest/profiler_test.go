package enginetest

import (
	"strings"
	"testing"

	"llmdyno/internal/engine"
	"llmdyno/internal/engine/all"
)

// What each engine's file names tell: kind, global rank, ranks of tensor, data,
// pipeline, expert and context parallelism, and stage.
var profileNames = []struct {
	id   engine.ID
	name string
	want string // kind:rank/tp/dp/pp/ep/cp:stage, "" = no trace of it
}{
	{"sglang", "1726000000.123-TP-0.trace.json.gz", "trace:-1/0/-1/-1/-1/-1:"},
	{"sglang", "my-prefix-1726000000.1-TP-3-DP-1-PP-2-EP-3-EXTEND.trace.json.gz", "trace:-1/3/1/2/3/-1:prefill"},
	{"sglang", "x-TP-0-decode.trace.json.gz", "trace:-1/0/-1/-1/-1/-1:decode"},
	{"sglang", "merged-x.trace.json.gz", "merged:-1/-1/-1/-1/-1/-1:"},
	{"sglang", "x-TP-0-memory.pickle", "other:-1/-1/-1/-1/-1/-1:"},
	{"sglang", "rpd-17-TP-0.trace.json.gz", "other:-1/-1/-1/-1/-1/-1:"},
	{"sglang", "server_args.json", ""},
	{"sglang", "capture.json", ""},
	{"sglang", "notes.txt", ""},
	{"vllm", "dp0_pp1_tp2_dcp3_ep4_rank5.1726.pt.trace.json.gz", "trace:5/2/0/1/4/3:"},
	{"vllm", "abc-rank-1.17.pt.trace.json", "trace:1/-1/-1/-1/-1/-1:"},
	{"vllm", "host_123.async_llm.17.pt.trace.json.gz", "frontend:-1/-1/-1/-1/-1/-1:"},
	{"vllm", "profiler_out_0.txt", "other:-1/-1/-1/-1/-1/-1:"},
	{"vllm", "capture.json", ""},
	{"trtllm", "trace-rank-1.json", "trace:1/-1/-1/-1/-1/-1:"},
	{"trtllm", "trace.json-rank-0.gz", "trace:0/-1/-1/-1/-1/-1:"},
	{"trtllm", "trace.json", "trace:-1/-1/-1/-1/-1/-1:"},
	{"trtllm", "capture.json", ""},
	{"trtllm", "engine.log", ""},
	{"tokenspeed", "20260822-101010-TP1.trace.json.gz", "trace:-1/1/-1/-1/-1/-1:"},
	{"tokenspeed", "20260822-101010-DP1-CP2-TP3-DECODE.trace.json.gz", "trace:-1/3/1/-1/-1/2:decode"},
	{"tokenspeed", "20260822-101010-TP-0-EXTEND.trace.json.gz", "trace:-1/0/-1/-1/-1/-1:prefill"},
	{"tokenspeed", "20260822-TP0.viztracer.json", "other:-1/-1/-1/-1/-1/-1:"},
	{"tokenspeed", "20260822-101010.trace.json.gz", ""},
}

func TestProfileFileNames(t *testing.T) {
	set := all.Engines()
	for _, c := range profileNames {
		e, _ := set.Lookup(string(c.id))
		f, ok := e.Profiler.File(c.name)
		got := ""
		if ok {
			var n []string
			for _, r := range []int{f.Rank, f.TP, f.DP, f.PP, f.EP, f.CP} {
				n = append(n, itoa(r))
			}
			got = string(f.Kind) + ":" + strings.Join(n, "/") + ":" + f.Stage
		}
		if got != c.want {
			t.Errorf("%s %s: %q, expected %q", c.id, c.name, got, c.want)
		}
	}
}

func itoa(n int) string {
	if n < 0 {
		return "-1"
	}
	return string(rune('0' + n))
}

// An engine with the routes of a profiler says how it is driven, with its sources.
func TestProfilersAreWhole(t *testing.T) {
	for _, e := range all.Engines() {
		_, start := e.Endpoint(engine.EndpointStartProfile)
		p := e.Profiler
		if start != (p != nil) {
			t.Errorf("%s: routes %v, profiler %v", e.ID, start, p != nil)
		}
		if p == nil {
			continue
		}
		if p.File == nil || p.StopTimeout <= 0 || len(p.Graphs) == 0 || p.Source.Ref == "" || p.Source.Date == "" {
			t.Errorf("%s: file, stop, graphs or source is missing", e.ID)
		}
		for _, trap := range p.Traps {
			if trap.ID == "" || trap.What == "" || trap.HandledHow == "" || trap.Source.Ref == "" {
				t.Errorf("%s: trap %+v", e.ID, trap)
			}
		}
		for _, way := range p.Enable {
			if flags, env := way.Words("/d"); len(flags)+len(env) == 0 || strings.Contains(strings.Join(flags, " "), "{dir}") {
				t.Errorf("%s: %q %v", e.ID, flags, env)
			}
		}
		if !p.NamesFolder && len(p.Enable) == 0 {
			t.Errorf("%s: neither the start request nor the launch names a folder", e.ID)
		}
	}
}

func FuzzProfileFileNames(f *testing.F) {
	for _, c := range profileNames {
		f.Add(c.name)
	}
	set := all.Engines()
	f.Fuzz(func(t *testing.T, name string) {
		for _, e := range set {
			if e.Profiler == nil {
				continue
			}
			if p, ok := e.Profiler.File(name); ok && (p.Kind == "" || p.Rank < -1 || p.TP < -1) {
				t.Errorf("%s %q: %+v", e.ID, name, p)
			}
		}
	})
}

func FuzzProfileAnswers(f *testing.F) {
	f.Add(206, []byte(`{"failed":[{"error":"Profiling is already in progress"}]}`))
	f.Add(500, []byte("Internal Server Error"))
	set := all.Engines()
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		for _, e := range set {
			if e.Profiler == nil {
				continue
			}
			for _, a := range []engine.ProfileAction{engine.ProfileStarting, engine.ProfileStopping} {
				if m, _ := e.Profiler.Read(a, status, body); m == "" || m == engine.ProfileDone && (status < 200 || status > 299) {
					t.Errorf("%s %s %d %q means %q", e.ID, a, status, body, m)
				}
			}
			if e.Profiler.Ranks != nil {
				if n, ok := e.Profiler.Ranks(body); ok != (n > 0) {
					t.Errorf("%s: %q has %d ranks, %v", e.ID, body, n, ok)
				}
			}
		}
	})
}
