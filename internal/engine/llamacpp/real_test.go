//go:build real

// The tables of this folder against the server itself: every spelling, default
// and value list, the readiness probes, the wires, the metrics and the lines of
// failed starts. scripts/real-llamacpp.sh brings the server and its model here:
//
//	scripts/real-llamacpp.sh && go test -tags real ./internal/engine/llamacpp
package llamacpp

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"llmdyno/internal/bench/config"
	"llmdyno/internal/engine"
	"llmdyno/internal/load/workload"
)

const (
	realServer = "../../../.cache/llamacpp/bin/llama-server"
	realModel  = "../../../.cache/llamacpp/tiny.gguf"
)

func realPath(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(abs); err != nil {
		t.Fatalf("%v: run scripts/real-llamacpp.sh first", err)
	}
	return abs
}

// realOutput is what a run that ends by itself printed.
func realOutput(t *testing.T, args ...string) (text string, exit int) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	cmd := exec.CommandContext(ctx, realPath(t, realServer), args...)
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("%v did not end by itself:\n%s", args, out)
	}
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// The parser finds each line of the help that defines an option, and the tables
// agree with what it says.
func TestRealHelp(t *testing.T) {
	out, _ := realOutput(t, "--help")
	e := New()
	help := e.Help.Parse(out)
	lines := strings.Split(out, "\n")
	for i, line := range lines {
		if !strings.HasPrefix(line, "-") || strings.HasPrefix(line, "---") {
			continue
		}
		text := line
		if next := lines[min(i+1, len(lines)-1)]; strings.HasPrefix(next, " ") {
			text += next
		}
		gone := strings.Contains(text, removedText)
		if word := strings.TrimRight(strings.Fields(line)[0], ","); help.Has(word) == gone {
			t.Errorf("read %v, removed %v: %s", !gone, gone, line)
		}
	}
	version := realVersion(t)
	for _, f := range e.Flags {
		got, ok := e.HelpFlag(help, f.Key)
		if ok != f.In(version) {
			t.Errorf("%s: in the help of %s %v, in the table %v", f.Key, version, ok, f.In(version))
		}
		if !ok {
			continue
		}
		for _, also := range f.Also {
			if !slices.Contains(got.All, also) {
				t.Errorf("%s: the help does not have %s: %v", f.Key, also, got.All)
			}
		}
		if f.Negative != "" && !help.Has(f.Negative) {
			t.Errorf("%s: the help does not have %s", f.Key, f.Negative)
		}
		if (f.Type == engine.FlagBool) != (got.Metavar == "") {
			t.Errorf("%s: type %s, the help says %q", f.Key, f.Type, got.Metavar)
		}
		if got.Default != "" && f.Default != "" && f.Type != engine.FlagBool && got.Default != f.Default {
			t.Errorf("%s: default %q, the help says %q", f.Key, f.Default, got.Default)
		}
		if len(got.Choices) > 0 && f.Type == engine.FlagEnum && !slices.Equal(slices.Sorted(slices.Values(got.Choices)), slices.Sorted(slices.Values(f.Values))) {
			t.Errorf("%s: values %v, the help says %v", f.Key, f.Values, got.Choices)
		}
	}
}

func realVersion(t *testing.T) string {
	t.Helper()
	out, _ := realOutput(t, "--version")
	m := New().Launch.VersionPattern.FindStringSubmatch(out)
	if m == nil || engine.CompareVersions(m[1], "0.1") < 0 {
		t.Fatalf("no version in %q", out)
	}
	return m[1]
}

// realRun is a live server.
type realRun struct {
	url  string
	mu   sync.Mutex
	logs []string
}

func (r *realRun) lines() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.logs)
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func startReal(t *testing.T, args ...string) *realRun {
	t.Helper()
	port := freePort(t)
	cmd := exec.CommandContext(t.Context(), realPath(t, realServer), append(args, "--host", "127.0.0.1", "--port", fmt.Sprint(port))...)
	cmd.Env = os.Environ()
	for _, v := range New().Launch.Env {
		cmd.Env = append(cmd.Env, v.Name+"="+v.Value)
	}
	r := &realRun{url: fmt.Sprintf("http://127.0.0.1:%d", port)}
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for s := bufio.NewScanner(pipe); s.Scan(); {
			r.mu.Lock()
			r.logs = append(r.logs, s.Text())
			r.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait()
	})
	return r
}

// ready runs the engine's own probes.
func (r *realRun) ready(t *testing.T) {
	t.Helper()
	e := New()
	deadline := time.Now().Add(30 * time.Second)
	for _, p := range e.Ready.Probes {
		ep, _ := e.Endpoint(p.Endpoint)
		for {
			var status int
			var body []byte
			var err error
			if p.Generate {
				d, failed := r.generate(t, engine.GenerateRequest{Model: "tiny", Prompt: "a", MaxTokens: 1})
				err, status = failed, 200
				if len(d) == 0 || d[0].Tokens < 1 {
					status = 0
				}
			} else {
				status, body, err = r.do(ep.Method, ep.Path, nil)
			}
			if err == nil && status == p.Status && (p.Body == nil || p.Body.Match(body)) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d %s %v\n%s", p.Endpoint, status, body, err, strings.Join(r.lines(), "\n"))
			}
			time.Sleep(e.Ready.Interval)
		}
	}
}

func (r *realRun) do(method, path string, body []byte) (int, []byte, error) {
	req, err := http.NewRequest(method, r.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	return res.StatusCode, data, err
}

func (r *realRun) generate(t *testing.T, g engine.GenerateRequest) ([]engine.Delta, error) {
	t.Helper()
	return r.wire(t, engine.EndpointCompletions, g)
}

// wire sends a request in the engine's own format and reads every event.
func (r *realRun) wire(t *testing.T, name engine.EndpointName, g engine.GenerateRequest) ([]engine.Delta, error) {
	t.Helper()
	w, _ := New().Wire(name)
	body, err := w.Encode(g)
	if err != nil {
		t.Fatal(err)
	}
	status, data, err := r.do("POST", w.Path, body)
	if err != nil {
		return nil, err
	}
	if status != 200 {
		return nil, fmt.Errorf("%d %s", status, data)
	}
	if !g.Stream {
		var d engine.Delta
		err := w.Decode(data, &d)
		return []engine.Delta{d}, err
	}
	var out []engine.Delta
	done := false
	for line := range strings.Lines(string(data)) {
		event, ok := strings.CutPrefix(strings.TrimSpace(line), "data: ")
		if !ok {
			continue
		}
		if event == "[DONE]" {
			done = true
			continue
		}
		var d engine.Delta
		if err := w.Decode([]byte(event), &d); err != nil {
			return out, err
		}
		out = append(out, d)
	}
	if done != w.DoneMarker {
		t.Errorf("%s: the stream ends with [DONE] %v, the table says %v", name, done, w.DoneMarker)
	}
	return out, nil
}

func TestRealServer(t *testing.T) {
	r := startReal(t, "--model", realPath(t, realModel), "--threads", "1", "--metrics", "--parallel", "2", "--ctx-size", "2048")
	r.ready(t)
	e := New()
	if !slices.ContainsFunc(r.lines(), func(line string) bool {
		p, ok := e.MatchLog(line)
		return ok && p.Kind == engine.LogReady
	}) {
		t.Errorf("no ready line in\n%s", strings.Join(r.lines(), "\n"))
	}
	for _, line := range r.lines() {
		if p, ok := e.MatchLog(line); ok && p.Kind != engine.LogReady {
			t.Errorf("a healthy start has a line of kind %s: %s", p.Kind, line)
		}
	}

	zero, seed := 0.0, int64(7)
	base := engine.GenerateRequest{Model: "tiny", Prompt: "ba be bi bo bu", MaxTokens: 12, IgnoreEOS: true, Temperature: &zero, Seed: &seed}
	for _, name := range []engine.EndpointName{engine.EndpointCompletions, engine.EndpointChat} {
		stream, whole := base, base
		stream.Stream = true
		events, err := r.wire(t, name, stream)
		if err != nil {
			t.Fatal(err)
		}
		reply, err := r.wire(t, name, whole)
		if err != nil {
			t.Fatal(err)
		}
		text, finish := "", ""
		var usage *engine.Usage
		for _, d := range events {
			text += d.Text
			if d.Finish != "" {
				finish = d.Finish
			}
			if d.Usage != nil {
				usage = d.Usage
			}
		}
		switch {
		case usage == nil || usage.Completion != 12 || usage.Prompt < 1 || usage.Cached < 0:
			t.Errorf("%s: usage of the stream %+v", name, usage)
		case reply[0].Usage == nil || reply[0].Usage.Completion != 12:
			t.Errorf("%s: usage of the reply %+v", name, reply[0].Usage)
		case finish != "length" || reply[0].Finish != "length":
			t.Errorf("%s: finish %q and %q", name, finish, reply[0].Finish)
		case text == "" || text != reply[0].Text:
			t.Errorf("%s: streamed %q, whole %q", name, text, reply[0].Text)
		}
	}

	for _, ep := range e.Endpoints {
		var body []byte
		switch ep.Name {
		case engine.EndpointCompletions, engine.EndpointChat:
			continue // above
		case engine.EndpointTokenize:
			body, _ = e.Tokenize.Encode("", "ba be")
			if _, data, err := r.do(ep.Method, ep.Path, body); err == nil {
				if n, err := e.Tokenize.Count(data); err != nil || n < 1 {
					t.Errorf("%s: %d tokens, %v: %s", ep.Path, n, err, data)
				}
			}
		}
		if status, data, err := r.do(ep.Method, ep.Path, body); err != nil || status != 200 {
			t.Errorf("%s %s: %d %s %v", ep.Method, ep.Path, status, data, err)
		}
	}
	_, page, err := r.do("GET", "/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range e.Metrics {
		if !strings.Contains(string(page), "\n"+m.Name+" ") {
			t.Errorf("/metrics has no %s:\n%s", m.Name, page)
		}
	}
}

// lenient are fields whose values the server does not check for their type.
var lenient = []string{
	"chat_template_kwargs", "grammar", "id_slot", "json_schema", "logit_bias", "model", "prompt", "response_format", "samplers",
	"stop", "stream_options", "tool_choice", "tools",
}

// The server knows each field of the allow-lists: it refuses one of a wrong
// type, and says nothing of a field that it does not know.
func TestRealFields(t *testing.T) {
	r := startReal(t, "--model", realPath(t, realModel), "--threads", "1")
	r.ready(t)
	for _, w := range New().Wires {
		base := `"prompt":"a"`
		if w.Endpoint == engine.EndpointChat {
			base = `"messages":[{"role":"user","content":"a"}]`
		}
		for _, field := range append(slices.Clone(w.Fields), "no_such_field") {
			if field == "messages" || slices.Contains(lenient, field) {
				continue
			}
			bound := `,"max_tokens":1`
			if strings.HasPrefix(field, "max_") || field == "n_predict" {
				bound = "" // one bound hides another
			}
			status, data, err := r.do("POST", w.Path, fmt.Appendf(nil, `{%s%s,%q:{"a":[1]}}`, base, bound, field))
			if known := field != "no_such_field"; err != nil || (status == 200) == known {
				t.Errorf("%s: %s: %d %s %v", w.Path, field, status, data, err)
			}
		}
	}
}

// Each failed start ends by itself and its log says why.
func TestRealFailedStarts(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	taken := fmt.Sprint(busy.Addr().(*net.TCPAddr).Port)
	model := realPath(t, realModel)
	for _, tt := range []struct {
		name string
		args []string
		want engine.LogKind
	}{
		{"unknown flag", []string{"--model", model, "--no-such-flag"}, engine.LogBadFlag},
		{"removed flag", []string{"--model", model, "--draft-max", "8"}, engine.LogBadFlag},
		{"removed flag without a hint", []string{"--model", model, "--no-mmap"}, engine.LogBadFlag},
		{"joined value", []string{"--model", model, "--parallel=4"}, engine.LogBadFlag},
		{"bad word", []string{"--model", model, "--flash-attn", "maybe"}, engine.LogBadFlag},
		{"no slots", []string{"--model", model, "--parallel", "0"}, engine.LogBadFlag},
		{"quantised V", []string{"--model", model, "--cache-type-v", "q8_0", "--flash-attn", "off"}, engine.LogBadFlag},
		{"batch below the slots", []string{"--model", model, "--parallel", "4", "--batch-size", "2"}, engine.LogCrash},
		{"missing model", []string{"--model", filepath.Join(t.TempDir(), "none.gguf")}, engine.LogLoadFailed},
		{"no GGUF file", []string{"--model", realPath(t, "real_test.go")}, engine.LogLoadFailed},
		{"port in use", []string{"--model", model, "--port", taken}, engine.LogPortInUse},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := tt.args
			if tt.want != engine.LogPortInUse {
				args = append(args, "--port", fmt.Sprint(freePort(t)))
			}
			out, exit := realOutput(t, append([]string{"--host", "127.0.0.1", "--threads", "1"}, args...)...)
			if exit == 0 {
				t.Errorf("exit status 0")
			}
			e := New()
			for line := range strings.Lines(out) {
				if p, ok := e.MatchLog(strings.TrimRight(line, "\n")); ok {
					if p.Kind != tt.want {
						t.Errorf("the first telling line is %s, want %s: %s", p.Kind, tt.want, line)
					}
					return
				}
			}
			t.Errorf("no line is recognised in\n%s", out)
		})
	}
}

// Every candidate of the example starts and answers the longest prompt of each
// scenario, except the one whose flag this version does not have.
func TestRealExample(t *testing.T) {
	f, ds := config.Load("../../../examples/llamacpp.yaml")
	if f == nil {
		t.Fatal(ds)
	}
	model := realPath(t, "../../../"+f.Model.Path)
	for _, c := range config.Plan(f, engine.Set{New()}, config.Options{}).Candidates {
		t.Run(c.ID, func(t *testing.T) {
			args := slices.Clone(c.Argv[1:])
			args[slices.Index(args, "--model")+1] = model
			if slices.Contains(args, "--draft-max") {
				out, exit := realOutput(t, append(args, "--port", fmt.Sprint(freePort(t)))...)
				line, _, _ := strings.Cut(out, "\n")
				p, ok := New().MatchLog(line)
				if exit == 0 || !ok || p.Kind != engine.LogBadFlag || !strings.Contains(out, "--draft-max") {
					t.Errorf("exit %d, %+v:\n%s", exit, p, out)
				}
				return
			}
			r := startReal(t, args...)
			r.ready(t)
			for _, w := range f.Scenarios() {
				events, err := r.generate(t, engine.GenerateRequest{
					Model: f.Model.Name, Prompt: workload.RandomPrompt(w.Seed, 0, w.InputLen), MaxTokens: w.OutputLen, IgnoreEOS: true, Stream: true,
				})
				if err != nil {
					t.Fatal(err)
				}
				last := events[len(events)-1]
				if last.Usage == nil || last.Usage.Completion != w.OutputLen {
					t.Errorf("%s: %+v", w.Name, last)
				}
				t.Logf("%s: %d words are %d tokens", w.Name, w.InputLen, last.Usage.Prompt)
			}
		})
	}
}
