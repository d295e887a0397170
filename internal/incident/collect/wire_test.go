package collect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"llmdyno/internal/engine"
	"llmdyno/internal/engine/all"
	"llmdyno/internal/incident/bundle"
)

// raw answers every connection with a text and closes it.
func raw(t *testing.T, text string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				c.Read(make([]byte, 4096))
				io.WriteString(c, text)
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// Every class over a real network, with the part of the body that came.
func TestClassesOnTheWire(t *testing.T) {
	e, _ := all.Engines().Lookup("vllm")
	say := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); io.WriteString(w, body) }
	}
	serve := func(h http.Handler) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL
	}
	secure := httptest.NewUnstartedServer(say(200, "{}"))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // of refused handshakes
	secure.StartTLS()
	t.Cleanup(secure.Close)
	closed := httptest.NewServer(say(200, ""))
	closed.Close()
	for _, x := range []struct {
		name, url, want, body string
		truncated             bool
	}{
		{"ok", serve(say(200, `{"a":1}`)), "", `{"a":1}`, false},
		{"refused", closed.URL, bundle.ClassRefused, "", false},
		{"dns", "http://no-such-host.invalid:1", bundle.ClassDNS, "", false},
		{"tls", secure.URL, bundle.ClassTLS, "", false},
		{"plain behind https", strings.Replace(serve(say(200, "{}")), "http:", "https:", 1), bundle.ClassTLS, "", false},
		{"auth", serve(say(401, `{"error":"Unauthorized"}`)), bundle.ClassAuth, `{"error":"Unauthorized"}`, false},
		{"status", serve(say(503, "down")), bundle.ClassStatus, "down", false},
		{"not json", serve(say(200, "<html>proxy</html>")), bundle.ClassNotJSON, "<html>proxy</html>", false},
		{"empty", serve(say(200, "")), bundle.ClassNotJSON, "", false},
		{"truncated", raw(t, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"+strings.Repeat("x", 40)), bundle.ClassTruncated, strings.Repeat("x", 40), true},
		{"too large", serve(say(200, strings.Repeat("y", 5000))), bundle.ClassTooLarge, strings.Repeat("y", 1000), true},
		{"no http", raw(t, "SSH-2.0-server\r\n"), bundle.ClassBroken, "", false},
		{"hangs", serve(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) { <-q.Context().Done() })), bundle.ClassTimeout, "", false},
		{"drips", serve(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			io.WriteString(w, "part")
			w.(http.Flusher).Flush()
			<-q.Context().Done()
		})), bundle.ClassTimeout, "part", true},
	} {
		t.Run(x.name, func(t *testing.T) {
			b, _, _ := gather(t, t.Context(), Options{Engines: all.Engines(), Targets: []Spec{{URL: x.url, Engine: e}}, Timeout: 400 * time.Millisecond, MaxBody: 1000})
			p, ok := b.Targets[0].Probe("models")
			body, err := b.Body(p)
			if !ok || err != nil || p.ErrorClass != x.want || string(body) != x.body || p.Truncated != x.truncated {
				t.Errorf("class %q (%s), body %.60q, truncated %v, error %v; want %q, %.60q, %v", p.ErrorClass, p.Error, body, p.Truncated, err, x.want, x.body, x.truncated)
			}
			if strings.Contains(p.Error, "\n") {
				t.Errorf("the error has more than one line: %q", p.Error)
			}
		})
	}
}

// A key goes to the server that was named and to nobody else.
func TestRedirectsKeepTheKey(t *testing.T) {
	stolen := ""
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) { stolen += q.Header.Get("Authorization") }))
	defer thief.Close()
	got := ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		got = q.Header.Get("Authorization")
		http.Redirect(w, q, thief.URL+q.URL.Path, http.StatusFound)
	}))
	defer s.Close()
	t.Setenv("http_proxy", thief.URL)
	e, _ := all.Engines().Lookup("vllm")
	b, _, _ := gather(t, t.Context(), Options{Engines: all.Engines(), Targets: []Spec{{URL: s.URL, Engine: e}}, Key: "a-key-of-the-test"})
	if stolen != "" || got != "Bearer a-key-of-the-test" {
		t.Errorf("the server got %q, the other one %q", got, stolen)
	}
	if p, _ := b.Targets[0].Probe("models"); p.ErrorClass != bundle.ClassStatus || p.Status != 302 || !strings.Contains(p.Error, "not followed") {
		t.Errorf("probe: %+v", p)
	}
}

// Older names are asked after a 404.
func TestLegacyPaths(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch q.URL.Path {
		case "/get_model_info", "/get_server_info":
			io.WriteString(w, `{"version":"0.4.1"}`)
		case "/get_load":
			io.WriteString(w, `[]`)
		case "/v1/models":
			io.WriteString(w, `{"data":[{"owned_by":"sglang"}]}`)
		default:
			http.NotFound(w, q)
		}
	}))
	defer s.Close()
	b, _, _ := gather(t, t.Context(), Options{Engines: all.Engines(), Targets: []Spec{{URL: s.URL}}})
	x := b.Targets[0]
	if x.Engine != "sglang" || x.EngineVersion != "0.4.1" {
		t.Errorf("engine %q version %q", x.Engine, x.EngineVersion)
	}
	for name, path := range map[string]string{"model_info": "/get_model_info", "server_info": "/get_server_info", "loads": "/get_load"} {
		if p, ok := x.Probe(name); !ok || p.Path != path || !p.OK() {
			t.Errorf("%s: %+v, want 200 from %s", name, p, path)
		}
	}
}

// A server with a key and none given is recognised where no engine minds.
func TestRecognisesBehindAKey(t *testing.T) {
	for id, free := range map[engine.ID]string{"sglang": "sglang:num_running_reqs 1\n", "vllm": "vllm:num_requests_running 1\n"} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Path == "/metrics" {
				io.WriteString(w, free)
				return
			}
			w.WriteHeader(401)
			io.WriteString(w, `{"error":"Unauthorized"}`)
		}))
		b, _, _ := gather(t, t.Context(), Options{Engines: all.Engines(), Targets: []Spec{{URL: s.URL}}})
		s.Close()
		if got := b.Targets[0].Engine; got != string(id) {
			t.Errorf("taken for %q, want %q", got, id)
		}
	}
}

func TestReadTargets(t *testing.T) {
	specs, err := ReadTargets("# fleet\nhttp://a:1\n\n rank0 https://b:2 # the first\n")
	if err != nil || len(specs) != 2 || specs[0].URL != "http://a:1" || specs[1].Name != "rank0" || specs[1].URL != "https://b:2" {
		t.Errorf("%+v, %v", specs, err)
	}
	for _, bad := range []string{"a b c", "host:1", "x host"} {
		if _, err := ReadTargets("http://ok\n" + bad); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: %v, want an error that names line 2", bad, err)
		}
	}
	if ids := identify([]Spec{{URL: "http://a:1"}, {URL: "http://a:1/"}, {Name: "Pod/1", URL: "http://x"}}); ids[0] == ids[1] || ids[2] != "pod-1" {
		t.Errorf("ids %v", ids)
	}
}

func TestDiscovery(t *testing.T) {
	pods := `{"items":[{"metadata":{"name":"p0"},"spec":{"containers":[{"ports":[{"name":"x","containerPort":9},{"name":"http","containerPort":8000}]}]},"status":{"phase":"Running","podIP":"10.0.0.1"}},
	{"metadata":{"name":"p1"},"spec":{"containers":[{}]},"status":{"phase":"Pending"}}]}`
	var asked string
	run := func(_ context.Context, name string, args ...string) ([]byte, error) {
		asked = name + " " + strings.Join(args, " ")
		switch {
		case name == "kubectl":
			return []byte(pods), nil
		case name == "squeue":
			return []byte("n[1-2]\n"), nil
		case args[1] == "hostnames":
			return []byte("n1\nn2\n"), nil
		}
		return []byte("JobId=7"), nil
	}
	f, err := Kubernetes(t.Context(), run, "prod/app=llm", 0)
	if err != nil || len(f.Specs) != 2 || f.Specs[0].URL != "http://10.0.0.1:8000" || f.Specs[1].URL != "" || !strings.Contains(asked, "-n prod -l app=llm") {
		t.Errorf("%+v, %v, asked %q", f.Specs, err, asked)
	}
	if f, err = Slurm(t.Context(), run, "7", 8000); err != nil || len(f.Specs) != 2 || f.Specs[1].URL != "http://n2:8000" || string(f.Body) != "JobId=7" {
		t.Errorf("%+v, %v", f, err)
	}
	if _, err = Slurm(t.Context(), run, "7", 0); err == nil {
		t.Error("a job without a port was accepted")
	}
	absent := func(context.Context, string, ...string) ([]byte, error) { return nil, fmt.Errorf("x: %w", errAbsent) }
	if _, err = Kubernetes(t.Context(), absent, "a=b", 0); err == nil || !strings.Contains(err.Error(), "kubectl is not on PATH") {
		t.Errorf("without kubectl: %v", err)
	}
	if _, err = Slurm(t.Context(), absent, "7", 1); err == nil || !strings.Contains(err.Error(), "squeue is not on PATH") {
		t.Errorf("without squeue: %v", err)
	}
}

// What the machine says goes in redacted; what is missing is named.
func TestHost(t *testing.T) {
	dir := t.TempDir()
	logFile := dir + "/server.log"
	if err := os.WriteFile(logFile, []byte("first line\nReceived request: prompt: 'who am I', api_key=abcdefgh12345\nlast\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(_ context.Context, name string, _ ...string) ([]byte, error) {
		switch name {
		case "dmesg":
			return []byte("usb 1-1\nNVRM: Xid (PCI:0000): 79\n"), nil
		case "ps":
			return []byte("1 python --api-key sekret-value-1\n"), nil
		}
		return nil, errors.New("not installed here")
	}
	b, _, _ := gather(t, t.Context(), Options{Engines: all.Engines(), Targets: []Spec{{URL: "http://127.0.0.1:1"}}, Host: &HostOptions{System: true,
		Environ: []string{"CUDA_VISIBLE_DEVICES=0", "HF_TOKEN=whatever1", "HOME=/x"}, EnvPrefixes: []string{"CUDA_", "HF_"}, Logs: []string{logFile, dir + "/absent"}, LogBytes: 70, Dumps: []string{dir}, Run: run}})
	read := func(name string) string { body, _ := b.Read(name); return string(body) }
	if got := read("host/kernel.txt"); got != "NVRM: Xid (PCI:0000): 79\n" {
		t.Errorf("kernel: %q", got)
	}
	if got := read("host/environment.txt"); !strings.Contains(got, "CUDA_VISIBLE_DEVICES=0") || strings.Contains(got, "whatever1") || strings.Contains(got, "HOME") {
		t.Errorf("environment: %q", got)
	}
	if got := read("logs/server.log"); strings.Contains(got, "first") || strings.Contains(got, "who am I") || strings.Contains(got, "abcdefgh12345") || !strings.Contains(got, "[redacted:prompt-8-") {
		t.Errorf("log: %q", got)
	}
	if got := read("host/processes.txt"); strings.Contains(got, "sekret") {
		t.Errorf("processes: %q", got)
	}
	if got := read("host/dumps.json"); !strings.Contains(got, "server.log") {
		t.Errorf("dumps: %q", got)
	}
	missing := 0
	for _, f := range append(b.Host, b.Logs...) {
		if f.Error != "" {
			missing++
		}
	}
	if missing < 4 {
		t.Errorf("%d files are named as missing, want the commands and the log", missing)
	}
}
