package sim

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// discard takes a reply without a network.
type discard struct {
	header http.Header
	events int
}

func (d *discard) Header() http.Header { return d.header }
func (d *discard) Write(b []byte) (int, error) {
	d.events++
	return len(b), nil
}
func (d *discard) WriteHeader(int) {}
func (d *discard) Flush()          {}

// BenchmarkEvent is the CPU cost of one event in the handler, of each engine's
// completions stream, without the network.
func BenchmarkEvent(b *testing.B) {
	for id, fsys := range surfaces(b) {
		b.Run(id, func(b *testing.B) {
			s, err := LoadSurface(fsys, "")
			if err != nil {
				b.Fatal(err)
			}
			e, err := New(Options{Surface: fsys, Argv: argvOf(s), GPU: "h100"})
			if err != nil {
				b.Fatal(err)
			}
			w := &discard{header: http.Header{}}
			q := httptest.NewRequest("POST", "/v1/completions", nil)
			st := &stream{e: e, w: w, q: q, wire: e.surface.Wires["completions"], g: &generation{input: 100, stream: true}, r: &request{output: 1 << 30}, received: time.Now()}
			st.prepare()
			st.delta = e.surface.files[st.wire.Delta]
			st.begin()
			b.ReportAllocs()
			for b.Loop() {
				st.event(1, false)
				if len(st.events) > 1000 {
					st.events = st.events[:0]
				}
			}
		})
	}
}

// BenchmarkStep is the cost of planning and finishing a step of 64 decodes.
func BenchmarkStep(b *testing.B) {
	e, err := New(options("plain serve " + testModel))
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	for i := range 64 {
		r := requestOf(i, 100, 1<<30, now)
		r.sink = func(int, time.Time, bool) {}
		e.sched.submit(r)
	}
	for b.Loop() {
		now = now.Add(time.Millisecond)
		if e.sched.next(now).empty() {
			b.Fatal("nothing to do")
		}
		e.sched.finish(now)
		for _, r := range e.sched.running { // contexts stay as they are
			r.out = min(r.out, 100)
		}
	}
}

// BenchmarkStreams runs 64 streams at a TPOT of about 5 ms over TCP for a second
// and reports the share of one CPU that the process took, client included.
func BenchmarkStreams(b *testing.B) {
	fsys := os.DirFS(filepath.Join("testdata", "surface"))
	e, err := New(Options{Surface: fsys, Argv: strings.Fields("plain serve " + testModel + " --port 0"), GPU: "h100", Slow: 0.7})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	addr := make(chan string, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- e.Serve(ctx, func(a string) (net.Listener, error) { return net.Listen("tcp", a) }, func(a net.Addr) error { addr <- a.String(); return nil })
	}()
	base := "http://" + <-addr
	time.Sleep(2 * bootTime)
	tokens := 0
	var cpu time.Duration
	var wall time.Duration
	for b.Loop() {
		from, began := cpuTime(), time.Now()
		var wg sync.WaitGroup
		var mu sync.Mutex
		for i := range 64 {
			wg.Go(func() {
				body := fmt.Sprintf(`{"prompt":"p%d","max_tokens":200,"ignore_eos":true,"stream":true}`, i)
				resp, err := http.Post(base+"/v1/completions", "application/json", strings.NewReader(body))
				if err != nil {
					b.Error(err)
					return
				}
				defer resp.Body.Close()
				all, _ := io.ReadAll(resp.Body)
				mu.Lock()
				defer mu.Unlock()
				tokens += bytes.Count(all, []byte("data: ")) - 1
			})
		}
		wg.Wait()
		cpu += cpuTime() - from
		wall += time.Since(began)
	}
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(tokens), "cpu-ns/event")
	b.ReportMetric(100*cpu.Seconds()/wall.Seconds(), "%cpu")
	b.ReportMetric(float64(tokens)/wall.Seconds(), "events/s")
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
