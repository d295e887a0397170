package witness

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strings"
	"time"

	"llmdyno/internal/client"
	"llmdyno/internal/engine"
	"llmdyno/internal/load/sample"
)

// Schema names the format of server-metrics.jsonl. Version 2 has raw lines and
// GPUs.
const (
	Schema        = "llmdyno.server-metrics"
	SchemaVersion = 2
)

const (
	every       = time.Second
	readTimeout = 5 * time.Second
	// Counters are moved by another thread than the one that answers: after the
	// load a server has settleTries times settleWait to count what it sent.
	settleTries = 4
	settleWait  = 250 * time.Millisecond
)

// notFound is how the client words that there is no such page.
const notFound = "HTTP 404"

// Output runs a command on the server's machine and returns what it printed, as
// a launch backend does. fs.ErrNotExist = it is not installed.
type Output func(ctx context.Context, argv, env []string, timeout time.Duration) (out []byte, exit int, err error)

// Options say what to watch.
type Options struct {
	Client *client.Client
	// Run asks the tools of the GPUs; nil = there are none to ask.
	Run Output
	// Visible is the CUDA_VISIBLE_DEVICES (or the like) of the server, indices in
	// the order of the tool, or UUIDs; "" = every GPU of the machine.
	Visible string
	// Shared: other clients send the same load beside this one. The last reading is
	// then the one in which the server's requests no longer rise.
	Shared bool
}

// Reading is the server at one moment.
type Reading struct {
	AtMs   float64                     `json:"at_ms"` // since the first reading was asked for
	Values map[engine.Quantity]float64 `json:"values,omitempty"`
	// Raw are the lines of the engine's table as the server wrote them; buckets
	// of histograms in the first and the last reading alone.
	Raw   []string   `json:"raw,omitempty"`
	Error string     `json:"error,omitempty"`
	GPUs  []GPUState `json:"gpus,omitempty"`

	full client.Reading
	// absent: there is no such page on this server, which is not worth a warning:
	// most engines have it only with a flag.
	absent bool
}

func (r *Reading) ok() bool { return r.Values != nil }

// Record is all readings of a trial, in order.
type Record struct {
	Has        bool      // the engine has a page of metrics
	Began      time.Time // the wall clock at 0 of the readings
	Readings   []Reading
	GPUTool    string // that answered; "" = none did
	GPUProblem string // why an installed tool did not
}

// Watch reads until it is stopped.
type Watch struct {
	o      Options
	ctx    context.Context
	has    bool
	began  time.Time
	gpu    *gpuWatch
	quit   chan int64
	ended  chan Record
	tables map[string]bool // series names of the engine's table
}

// Start takes the first reading and goes on by itself. It must be stopped.
func Start(ctx context.Context, o Options) *Watch {
	w := &Watch{o: o, ctx: ctx, began: time.Now(), quit: make(chan int64, 1), ended: make(chan Record, 1), tables: map[string]bool{}}
	if e := o.Client.Engine(); e != nil {
		_, w.has = e.Endpoint(engine.EndpointMetrics)
		for _, m := range e.Metrics {
			w.tables[m.Name] = true
		}
	}
	w.gpu = findGPUs(ctx, o.Run, o.Visible)
	first := w.read(true)
	go w.run(first)
	return w
}

func (w *Watch) run(first Reading) {
	rec := Record{Has: w.has, Began: w.began, Readings: []Reading{first}, GPUTool: w.gpu.tool.name, GPUProblem: w.gpu.problem}
	defer func() { w.ended <- rec }()
	if !first.ok() {
		w.has = false // it will not answer later either
	}
	if !w.has && w.gpu.tool.name == "" {
		<-w.quit
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			rec.Readings = append(rec.Readings, w.read(false))
		case want := <-w.quit:
			rec.Readings = append(rec.Readings, w.settle(first, float64(want)))
			return
		}
	}
}

// settle takes the last reading, once the server has counted the requests that
// it answered.
func (w *Watch) settle(first Reading, want float64) Reading {
	r, before := w.read(true), math.NaN()
	for range settleTries {
		if !r.ok() || !first.ok() {
			return r
		}
		done, ok := r.Values[engine.QuantityRequests]
		if !ok || !w.o.Shared && done-first.Values[engine.QuantityRequests] >= want || w.o.Shared && done == before {
			return r
		}
		before = done
		select {
		case <-time.After(settleWait):
		case <-w.ctx.Done():
			return r
		}
		r = w.read(true)
	}
	return r
}

// Stop takes the last reading. answered is the number of requests that the
// server answered, for which its counters are waited for a moment.
func (w *Watch) Stop(answered int) Record {
	w.quit <- int64(answered)
	return <-w.ended
}

func (w *Watch) read(whole bool) Reading {
	ctx, cancel := context.WithTimeout(w.ctx, readTimeout)
	defer cancel()
	r := Reading{AtMs: float64(time.Since(w.began)) / float64(time.Millisecond)}
	gpus := make(chan []GPUState, 1)
	go func() { gpus <- w.gpu.read(ctx) }()
	if w.has {
		w.readServer(ctx, &r, whole)
	}
	r.GPUs = <-gpus
	return r
}

func (w *Watch) readServer(ctx context.Context, r *Reading, whole bool) {
	full, page, err := w.o.Client.Metrics(ctx)
	if err != nil {
		r.Error = err.Error()
		var failed *client.Error
		r.absent = errors.As(err, &failed) && failed.Class == sample.ClassStatus && strings.Contains(failed.Message, notFound)
		return
	}
	r.full, r.Values = full, full.Values
	r.Raw = w.lines(page, whole)
}

// lines are those of the series that the engine's table names.
func (w *Watch) lines(page []byte, buckets bool) []string {
	var out []string
	for line := range bytes.Lines(page) {
		line = bytes.TrimSpace(line)
		end := bytes.IndexAny(line, "{ \t")
		if end <= 0 || line[0] == '#' {
			continue
		}
		name, part := string(line[:end]), ""
		if !w.tables[name] {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if base, ok := strings.CutSuffix(name, suffix); ok {
					name, part = base, suffix
				}
			}
		}
		if w.tables[name] && (buckets || part != "_bucket") {
			out = append(out, string(line))
		}
	}
	return out
}
