package run

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"llmdyno/internal/artifact"
	"llmdyno/internal/bench/config"
	"llmdyno/internal/bench/result"
	"llmdyno/internal/bench/search"
	"llmdyno/internal/engine"
	"llmdyno/internal/launch"
)

// tiny is an engine that exists only here.
func tiny() *engine.Engine {
	return &engine.Engine{
		ID: "tiny", Title: "Tiny",
		Launch: engine.Launch{
			Command: []string{"tiny-serve"}, HostFlag: "host", PortFlag: "port", Host: "127.0.0.1", TP: "tp_size",
			Version: []string{"tiny-serve", "--version"}, VersionPattern: regexp.MustCompile(`tiny (\S+)`),
		},
		Help:  engine.Help{Args: [][]string{{"--help"}}, Parse: engine.ParseArgparse},
		Wires: []engine.Wire{engine.OpenAICompletions(engine.WireOptions{IgnoreEOS: "ignore_eos", IncludeUsage: true})},
		Endpoints: []engine.Endpoint{
			{Name: engine.EndpointFlushCache, Method: "POST", Path: "/flush"},
			{Name: engine.EndpointMetrics, Method: "GET", Path: "/metrics"},
			{Name: engine.EndpointModels, Method: "GET", Path: "/v1/models"},
		},
		Metrics: []engine.Metric{
			{Quantity: engine.QuantityPromptTokens, Name: "prompt_total"},
			{Quantity: engine.QuantityCachedTokens, Name: "cached_total"},
			{Quantity: engine.QuantityKVUsage, Name: "kv"},
		},
		Logs: []engine.LogPattern{{Kind: engine.LogOOM, Pattern: regexp.MustCompile(`out of memory`), Meaning: "lower the memory"}},
	}
}

// backend starts servers within the process, reachable through pipes.
type backend struct {
	mu     sync.Mutex
	ports  int
	open   map[string]*fake // by address
	starts []string         // names, in order
	// fails says why a candidate does not start; nil = it does.
	fails func(name string) *launch.Failure
	// missing: the program is not installed.
	missing bool
	// warm is a server that finds nine tenths of every prompt in its cache.
	warm bool
	// dies ends the server of a candidate when it gets its n-th request.
	dies func(name string, n int64) bool
	// wrap puts further routes before those of a server.
	wrap func(http.Handler) http.Handler
	// slow multiplies the time of a token of a candidate; nil = 1.
	slow func(name string) float64
	// says is the text of a token of a candidate; nil = " word".
	says func(name string, prompt string, i int) string
	// evaluates is the program "evaluate".
	evaluates func(env []string) (out string, exit int)
}

type fake struct {
	*backend
	spec     launch.Spec
	addr     string
	conns    chan net.Conn
	http     *http.Server
	requests atomic.Int64
	flying   atomic.Int64
	flushed  atomic.Int64
	done     chan struct{}
	once     sync.Once
}

func newBackend() *backend { return &backend{open: map[string]*fake{}} }

func (b *backend) Output(_ context.Context, argv, env []string, _ time.Duration) ([]byte, int, error) {
	if argv[0] == "evaluate" {
		out, exit := b.evaluates(env)
		return []byte(out), exit, nil
	}
	if b.missing || slices.Contains([]string{"nvidia-smi", "dcgmi", "rocm-smi"}, argv[0]) {
		return nil, -1, fmt.Errorf("running %s: %w", argv[0], fs.ErrNotExist)
	}
	if argv[len(argv)-1] == "--version" {
		return []byte("tiny 1.2.3\n"), 0, nil
	}
	return []byte("usage: tiny-serve [-h]\n\noptions:\n  --host HOST  Where to listen.\n  --size SIZE  How large.\n"), 0, nil
}

func (b *backend) Start(_ context.Context, s launch.Spec) (launch.Server, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ports++
	b.starts = append(b.starts, s.Name)
	f := &fake{backend: b, spec: s, addr: fmt.Sprintf("127.0.0.1:%d", b.ports), conns: make(chan net.Conn), done: make(chan struct{})}
	fmt.Fprintf(s.Log, "command: %s\n", strings.Join(s.Argv(b.ports), " "))
	b.open[f.addr] = f
	s.Started(f.Group())
	routes := f.routes()
	if b.wrap != nil {
		routes = b.wrap(routes)
	}
	f.http = &http.Server{Handler: routes}
	go f.http.Serve(f)
	return f, nil
}

func (b *backend) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	b.mu.Lock()
	f := b.open[addr]
	b.mu.Unlock()
	refused := &net.OpError{Op: "dial", Net: "pipe", Err: net.ErrClosed}
	if f == nil {
		return nil, refused
	}
	ours, theirs := net.Pipe()
	select {
	case f.conns <- theirs:
		return ours, nil
	case <-f.done:
		return nil, refused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (b *backend) alive() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.open)
}

func (f *fake) Accept() (net.Conn, error) {
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.done:
		return nil, net.ErrClosed
	}
}
func (f *fake) Close() error   { return nil }
func (f *fake) Addr() net.Addr { return &net.UnixAddr{Name: f.addr} }

func (f *fake) URL() string { return "http://" + f.addr }
func (f *fake) PID() int    { return 1 }
func (f *fake) Group() launch.Group {
	return launch.Group{PGID: 1000 + len(f.starts), Mark: f.spec.Mark}
}
func (f *fake) WaitReady(ctx context.Context, progress func(launch.Progress)) error {
	select {
	case <-time.After(5 * time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	progress(launch.Progress{Elapsed: 5 * time.Second, Deadline: time.Minute})
	if f.fails != nil {
		if failure := f.fails(f.spec.Name); failure != nil {
			return failure
		}
	}
	return nil
}

func (f *fake) end() {
	f.once.Do(func() {
		f.mu.Lock()
		delete(f.open, f.addr)
		f.mu.Unlock()
		close(f.done)
		f.http.Close()
		f.spec.Log.Close()
	})
}

func (f *fake) Stop(context.Context, time.Duration) launch.Exit { f.end(); return f.Exit() }
func (f *fake) Done() <-chan struct{}                           { return f.done }
func (f *fake) Exit() launch.Exit                               { return launch.Exit{Code: 1} }
func (f *fake) Tail(int) []string                               { return []string{"engine: out of memory"} }

// cached are tokens of a request that the server counts as cached.
func (f *fake) cached() int64 {
	if f.warm {
		return 90
	}
	return 10
}

func (f *fake) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /flush", func(http.ResponseWriter, *http.Request) { f.flushed.Add(1) })
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"data":[{"id":"some/model"}]}`)
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "prompt_total %d\ncached_total %d\nkv 0.25\n", 100*f.requests.Load(), f.cached()*f.requests.Load())
	})
	mux.HandleFunc("POST /v1/completions", f.complete)
	return mux
}

// complete takes 10 ms a token for each request in flight: the more load, the
// slower.
func (f *fake) complete(w http.ResponseWriter, r *http.Request) {
	n := f.requests.Add(1)
	if f.dies != nil && f.dies(f.spec.Name, n) {
		go f.end()
		<-f.done
		return
	}
	var body struct {
		MaxTokens int    `json:"max_tokens"`
		Prompt    string `json:"prompt"`
		Stream    bool   `json:"stream"`
	}
	json.NewDecoder(r.Body).Decode(&body)
	if !body.Stream {
		f.whole(w, body.Prompt, body.MaxTokens)
		return
	}
	f.flying.Add(1)
	defer f.flying.Add(-1)
	w.Header().Set("Content-Type", "text/event-stream")
	for i := range body.MaxTokens {
		slow, text := 1.0, f.word(body.Prompt, i)
		if f.slow != nil {
			slow = f.slow(f.spec.Name)
		}
		time.Sleep(time.Duration(slow * 1e7 * float64(f.flying.Load())))
		if r.Context().Err() != nil {
			return // as engines do when a client goes away
		}
		finish := "null"
		if i == body.MaxTokens-1 {
			finish = `"length"`
		}
		fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"text\":%q,\"finish_reason\":%s}]}\n\n", text, finish)
		w.(http.Flusher).Flush()
	}
	fmt.Fprintf(w, "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":16,\"completion_tokens\":%d}}\n\ndata: [DONE]\n\n", body.MaxTokens)
}

func (f *fake) word(prompt string, i int) string {
	if f.says == nil {
		return " word"
	}
	return f.says(f.spec.Name, prompt, i)
}

func (f *fake) whole(w http.ResponseWriter, prompt string, tokens int) {
	text := ""
	for i := range tokens {
		text += f.word(prompt, i)
	}
	fmt.Fprintf(w, `{"choices":[{"index":0,"text":%q,"finish_reason":"length"}],"usage":{"prompt_tokens":8,"completion_tokens":%d}}`, text, tokens)
}

// somePlan is a plan of n candidates and two scenarios whose TPOT limit is met
// up to some rate.
func somePlan(n int) *Plan {
	success := 0.99
	sla := result.SLA{Limits: []result.Limit{result.NewLimit("p50", "tpot", 25)}, MinSuccessRate: &success}
	p := &Plan{
		Schema: PlanSchema, SchemaVersion: PlanSchemaVersion, Name: "some.yaml", Command: "llmdyno bench run some.yaml", Model: "some/model", ServedModel: "some/model",
		Hardware: Hardware{GPUModel: "h100", GPUCount: 1}, Tier: search.TierDefault,
		Load: LoadPlan{Endpoint: "/v1/completions", Caps: []int{0}, Range: search.Range{Lower: 0.5, Upper: 16, Tolerance: 0.1}, Arrivals: "constant", Repeats: 1, Warmup: 1, RequestTimeoutS: 60},
		Scenarios: []Scenario{
			{Name: "chat", Slug: "chat", Kind: "random", InputLen: 16, OutputLen: 20, NumPrompts: 20, Seed: 1, SLA: sla},
			{Name: "Long one", Slug: "long-one", Kind: "random", InputLen: 16, OutputLen: 40, NumPrompts: 20, Seed: 1, SLA: sla},
		},
		Engines: []EnginePlan{{ID: "tiny", Command: []string{"tiny-serve"}, Version: []string{"tiny-serve", "--version"}}},
	}
	for i := range n {
		p.Candidates = append(p.Candidates, config.Candidate{Engine: "tiny", Index: i, ID: fmt.Sprintf("tiny-%02d", i),
			Flags: engine.Settings{{Key: "size", Value: engine.Value{Kind: engine.ValueInt, Text: fmt.Sprint(i)}}},
			Argv:  []string{"tiny-serve", "some/model", "--size", fmt.Sprint(i)}, Command: fmt.Sprintf("tiny-serve some/model --size %d", i)})
	}
	return p
}

func envOf(b *backend) Env {
	return Env{Engines: engine.Set{tiny()}, Backend: b, Redactor: artifact.NewRedactor(), Dial: b.dial, Reap: func([]OpenServer) []int { return nil }, Facts: Facts{ToolVersion: "test", Host: "here"}}
}

func newFolder(t testing.TB, p *Plan) *artifact.Run {
	t.Helper()
	folder, err := artifact.Create(t.TempDir()+"/run", p.Meta("test", nil, nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	return folder
}
