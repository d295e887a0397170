package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a network of net.Pipe connections.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return pipeAddr{} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.done:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// rig is a simulated engine in a bubble, with a client.
type rig struct {
	t      *testing.T
	e      *Engine
	client *http.Client
	out    buffer // stdout and stderr together, in the order written
	truth  buffer
	ended  chan error
	hasty  bool // does not wait for connections that close silently
	stop   func()
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

const testModel = "meta-llama/Llama-3.1-8B-Instruct"

func options(argv string, faults ...string) Options {
	f, err := ParseFaults(faults)
	if err != nil {
		panic(err)
	}
	return Options{Surface: os.DirFS("testdata/surface"), Argv: strings.Fields(argv), GPU: "h100", PID: 77, Faults: f}
}

// inBubble runs a simulated engine and hands it to check once it is ready.
func inBubble(t *testing.T, o Options, check func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, o)
		defer r.stop()
		if !o.Faults.neverReady && !o.Faults.exitLoading {
			time.Sleep(bootTime + o.Faults.slowStart + time.Millisecond)
		}
		check(r)
	})
}

func start(t *testing.T, o Options) *rig {
	r := &rig{t: t, ended: make(chan error, 1)}
	o.Stdout, o.Stderr, o.Truth = &r.out, &r.out, &r.truth
	e, err := New(o)
	if err != nil {
		t.Fatalf("New(%q): %v", o.Argv, err)
	}
	r.e = e
	p := newPipes()
	r.client = &http.Client{Transport: &http.Transport{DialContext: p.dial, MaxIdleConnsPerHost: 1000}}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		r.ended <- e.Serve(ctx, func(string) (net.Listener, error) { return p, nil }, func(net.Addr) error { return nil })
		p.Close()
	}()
	r.stop = func() {
		cancel()
		r.client.CloseIdleConnections()
		synctest.Wait()
		select {
		case <-r.ended:
		case <-time.After(2 * time.Second):
			t.Error("the engine did not end within 2 s")
		}
		r.client.CloseIdleConnections()
	}
	return r
}

type answer struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body
	took   time.Duration
	at     []time.Duration // of each event with text, since the request
	events []string        // data of each event, [DONE] included
}

func (r *rig) call(method, path, body string, header ...string) answer {
	r.t.Helper()
	q, err := http.NewRequestWithContext(r.t.Context(), method, "http://sim"+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	began := time.Now()
	resp, err := r.client.Do(q)
	if err != nil {
		return answer{err: err, took: time.Since(began)}
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		a.readEvents(resp.Body, began)
	} else {
		var b []byte
		b, a.err = io.ReadAll(resp.Body)
		a.body = string(b)
	}
	a.took = time.Since(began)
	if a.header.Get("Keep-Alive") != "" && !r.hasty {
		time.Sleep(closeLag + time.Millisecond) // the connection is about to be closed
	}
	return a
}

func (a *answer) readEvents(body io.Reader, began time.Time) {
	buf := make([]byte, 64<<10)
	var rest []byte
	for {
		n, err := body.Read(buf)
		rest = append(rest, buf[:n]...)
		for {
			i := bytes.Index(rest, []byte("\n\n"))
			if i < 0 {
				break
			}
			data := strings.TrimPrefix(string(rest[:i]), "data: ")
			rest = rest[i+2:]
			a.events = append(a.events, data)
			a.at = append(a.at, time.Since(began))
		}
		if err != nil {
			if err != io.EOF {
				a.err = err
			}
			return
		}
	}
}

func (r *rig) post(path string, body map[string]any, header ...string) answer {
	r.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.call("POST", path, string(b), header...)
}

// completion is a streamed request of n prompt words and m output tokens.
func (r *rig) completion(id string, n, m int) answer {
	r.t.Helper()
	return r.post("/v1/completions", map[string]any{
		"prompt": promptOf(id, n), "max_tokens": m, "stream": true, "ignore_eos": true, "stream_options": map[string]any{"include_usage": true},
	}, "X-Request-Id", id)
}

func promptOf(id string, n int) string {
	var b strings.Builder
	b.WriteString(id)
	for i := 1; i < n; i++ {
		fmt.Fprintf(&b, " %s%d", id, i)
	}
	return b.String()
}

type state struct {
	Running   int     `json:"running"`
	Waiting   int     `json:"waiting"`
	KVUsed    int     `json:"kv_used"`
	KVTokens  int     `json:"kv_tokens"`
	Preempt   int     `json:"preemptions"`
	Generated int     `json:"generated"`
	Prompt    int     `json:"prompt"`
	Cached    int     `json:"cached"`
	HitRate   float64 `json:"hit_rate"`
	Aborted   int     `json:"aborted"`
	Context   int     `json:"context"`
	Steps     int     `json:"steps"`
}

func (r *rig) state() (s state) {
	r.t.Helper()
	if err := json.Unmarshal([]byte(r.call("GET", "/state", "").body), &s); err != nil {
		r.t.Fatal(err)
	}
	return s
}

// text joins the texts of completion events.
func (a answer) text(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, e := range a.events {
		if e == "[DONE]" {
			continue
		}
		var m struct {
			Choices []struct{ Text string }
		}
		if err := json.Unmarshal([]byte(e), &m); err != nil {
			t.Fatalf("event %q: %v", e, err)
		}
		for _, c := range m.Choices {
			b.WriteString(c.Text)
		}
	}
	return b.String()
}
