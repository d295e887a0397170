package load

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmdyno/internal/client"
	"llmdyno/internal/engine"
	"llmdyno/internal/load/workload"
)

// pipes is a listener whose connections are pipes within the process.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.once.Do(func() { close(p.closed) }); return nil }

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "pipe"} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-p.closed:
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve runs a handler behind pipes until the test ends. Inside a bubble the
// returned func must be called before the bubble ends.
func serve(t testing.TB, h http.Handler) (*client.Client, func()) {
	t.Helper()
	return serveWith(t, &http.Server{Handler: h})
}

func serveWith(t testing.TB, srv *http.Server) (*client.Client, func()) {
	t.Helper()
	p := newPipes()
	go srv.Serve(p)
	c, err := client.New(client.Options{BaseURL: "http://server", Dial: p.dial, Conns: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return c, func() { c.Close(); srv.Close() }
}

// script is a server that answers every request with the same timed stream.
type script struct {
	first  time.Duration // until the first token
	gap    time.Duration // between tokens
	tokens int
}

func (s script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	flush := w.(http.Flusher).Flush
	for i := range s.tokens {
		wait := s.gap
		if i == 0 {
			wait = s.first
		}
		if !sleep(r.Context(), wait) {
			return
		}
		finish := "null"
		if i == s.tokens-1 {
			finish = `"length"`
		}
		fmt.Fprintf(w, "data: {\"choices\":[{\"text\":\" w\",\"finish_reason\":%s}]}\n\n", finish)
		flush()
	}
	fmt.Fprintf(w, "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":%d}}\n\ndata: [DONE]\n\n", s.tokens)
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

var completions = engine.OpenAICompletions(engine.WireOptions{IgnoreEOS: "ignore_eos", IncludeUsage: true})

func requests(n, outputLen int) []workload.Request {
	out := make([]workload.Request, n)
	for i := range out {
		out[i] = workload.Request{Index: i, Prompt: "prompt " + strconv.Itoa(i), InputLen: 7, OutputLen: outputLen}
	}
	return out
}

func bubble(t *testing.T, h http.Handler, body func(ctx context.Context, c *client.Client)) {
	t.Helper()
	bubbleWith(t, &http.Server{Handler: h}, body)
}

func bubbleWith(t *testing.T, srv *http.Server, body func(ctx context.Context, c *client.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c, stop := serveWith(t, srv)
		body(t.Context(), c)
		stop()
		time.Sleep(time.Minute) // what is left ends
	})
}

// closing is a server that closes each connection a moment after its reply,
// without having said so.
func closing(h http.Handler, after time.Duration) *http.Server {
	type key struct{}
	return &http.Server{
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, key{}, c) },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(w, r)
			conn := r.Context().Value(key{}).(net.Conn)
			context.AfterFunc(r.Context(), func() {
				time.Sleep(after) // in a bubble, when the reply has been read
				conn.Close()
			})
		}),
	}
}
