package sim

import (
	"context"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

// Options make a simulated engine.
type Options struct {
	Surface fs.FS  // of the engine that it stands for
	Version string // of the surface; "" = the newest
	Argv    []string
	GPU     string // "" = DefaultGPU
	GPUs    int    // cards of the machine; 0 = as many as the argv asks for
	Seed    uint64
	Faults  Faults
	Slow    float64 // multiplies the time of every step; 0 = 1
	// Truth receives one JSON line a finished request; nil = none.
	Truth io.Writer
	// Stdout and Stderr receive the engine's log; nil = none.
	Stdout, Stderr io.Writer
	PID            int
	Dir            string   // folder for traces where a request names none
	Environ        []string // of the process, NAME=value
}

// DefaultGPU is simulated where none is named: of the cookbook's models all but
// two (355 B parameters in 16 bits on four GPUs) fit into the GPUs that their
// files ask for.
const DefaultGPU = "b200"

// bootTime is the loading of a model on the simulated engine: long enough to be
// seen, short enough for many candidates.
const bootTime = 120 * time.Millisecond

// gather is the wait between an arrival at an idle engine and its first step, in
// which requests of the same instant join it: the scheduling delay of an engine.
const gather = 200 * time.Microsecond

// maxLag bounds how far real time may run ahead of the simulated clock before
// the clock is set anew: the machine was busy with something else.
const maxLag = 100 * time.Millisecond

// Engine is a simulated serving engine: an [http.Handler] with a loop behind it.
type Engine struct {
	o       Options
	surface *Surface
	inv     *invocation
	d       *deployment
	routes  map[string][]*SurfaceRoute // by path; those with * at the end under "*"
	truth   *truthWriter

	wake chan struct{}
	died chan struct{} // a request has ended the process; holds one

	started time.Time

	mu      sync.Mutex
	sched   *scheduler
	ready   bool
	port    int
	seen    int // generating requests so far
	served  int // handed to the scheduler
	rates   map[string]rate
	profile *profile
	// iteration counts the steps since the start, for a profile that the launch
	// asked for.
	iteration int
	writing   []chan struct{} // traces that are being written, each closed at its end

	logMu sync.Mutex // one text of the log at a time
}

// rate is what a kind of text showed last, to tell throughput since then.
type rate struct {
	at                 time.Time
	generated, prompts int
}

// New reads the surface and the argv and plans the deployment. A *Refusal is the
// end that the engine itself would come to; any other error is the simulator's.
func New(o Options) (*Engine, error) {
	s, err := LoadSurface(o.Surface, o.Version)
	if err != nil {
		return nil, err
	}
	if o.GPU == "" {
		o.GPU = DefaultGPU
	}
	if o.PID == 0 {
		o.PID = os.Getpid()
	}
	gpu, err := FindGPU(o.GPU)
	if err != nil {
		return nil, err
	}
	inv, refusal := s.parse(o.Argv, o.Environ, o.Faults)
	if refusal != nil {
		return nil, refusal
	}
	model, err := FindModel(inv.text("model"))
	if err != nil {
		return nil, err
	}
	e := &Engine{o: o, surface: s, inv: inv, wake: make(chan struct{}, 1), died: make(chan struct{}, 1), rates: map[string]rate{}, started: time.Now(), port: inv.int("port", 0)}
	d, short := deploy(inv, gpu, model, o.GPUs)
	if short != nil {
		return nil, e.refusal(short.kind, short.message)
	}
	if o.Faults.oom {
		return nil, e.refusal("oom", "fault injected")
	}
	if o.Slow > 0 {
		d.slow = o.Slow
	}
	if o.Faults.slowTokens > 0 {
		d.slow *= o.Faults.slowTokens
	}
	e.d, e.sched = d, newScheduler(d)
	e.routes = map[string][]*SurfaceRoute{}
	for i := range s.Routes {
		r := &s.Routes[i]
		e.routes[r.Path] = append(e.routes[r.Path], r)
	}
	e.leftRunning()
	if o.Truth != nil {
		e.truth = &truthWriter{w: o.Truth}
	}
	return e, nil
}

// refusal is the end with a text of the log.
func (e *Engine) refusal(kind, message string) *Refusal {
	d := &Data{}
	e.describe(d)
	d.Message = message
	if kind == "bad_value" {
		d.Flag, d.Value = "world size", e.inv.text("tp")
	}
	l := e.surface.Log[kind]
	r := &Refusal{Exit: l.Exit, Stdout: l.Stdout, Text: e.render(l.File, d)}
	if l.Exit == 0 {
		r.Exit = 1
	}
	if l.File == "" {
		r.Text = []byte(message + "\n")
	}
	return r
}

// Addr is where the argv wants the server to listen.
func (e *Engine) Addr() string {
	host := e.inv.text("host")
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, strconv.Itoa(max(0, e.inv.int("port", 0))))
}

// ListenEarly says whether the port opens before the model is loaded.
func (e *Engine) ListenEarly() bool { return e.surface.Listen == "early" }

// SetPort tells the port that was opened, for log lines and replies.
func (e *Engine) SetPort(port int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.port = port
}

// PortInUse is the end when the port is taken.
func (e *Engine) PortInUse() *Refusal {
	return e.refusal("port_in_use", "address already in use")
}

// Load boots the engine: log lines, the time it takes, and the faults of a
// start. It returns nil when the engine is ready, a *Refusal when it ends, or
// ctx's error.
func (e *Engine) Load(ctx context.Context) error {
	e.log("boot", nil)
	wait := bootTime + e.o.Faults.slowStart
	if e.o.Faults.neverReady {
		<-ctx.Done()
		return ctx.Err()
	}
	if e.o.Faults.exitLoading {
		wait /= 2
	}
	if err := sleep(ctx, wait); err != nil {
		return err
	}
	if e.o.Faults.exitLoading {
		return e.refusal("crash", "fault injected while loading")
	}
	return nil
}

// Ready marks the engine as loaded and says so in its log. Call it once its port
// is open.
func (e *Engine) Ready() {
	e.mu.Lock()
	e.ready = true
	e.mu.Unlock()
	e.log("ready", nil)
}

// Run drives the scheduler until ctx ends.
func (e *Engine) Run(ctx context.Context) {
	var wg sync.WaitGroup
	if l := e.surface.Log["stats"]; l.File != "" && l.EveryS > 0 {
		wg.Go(func() { e.every(ctx, time.Duration(l.EveryS*1e9), e.stats) })
	}
	if e.truth != nil {
		wg.Go(func() { e.every(ctx, time.Second, func() { e.truth.flush(time.Now(), false) }) })
	}
	e.loop(ctx)
	wg.Wait()
	e.stopProfile()
	if e.truth != nil {
		e.truth.flush(time.Now(), true)
	}
}

func (e *Engine) every(ctx context.Context, period time.Duration, do func()) {
	t := time.NewTicker(period)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			do()
		case <-ctx.Done():
			return
		}
	}
}

// stats logs a line while there is work, as engines do.
func (e *Engine) stats() {
	e.mu.Lock()
	idle := e.sched.idle()
	e.mu.Unlock()
	if !idle {
		e.log("stats", nil)
	}
}

// loop is the engine's clock: plan a step, let its time pass, hand out its
// tokens. Steps follow each other without a gap as long as there is work, so
// that a late wake-up does not slow the engine down.
func (e *Engine) loop(ctx context.Context) {
	now := time.Now()
	for {
		e.mu.Lock()
		p := e.sched.next(now)
		empty, took, waiting := p.empty(), p.duration, len(e.sched.waiting) > 0
		if empty && waiting {
			e.dropStuck(now)
		}
		e.mu.Unlock()
		if empty {
			if !waiting {
				select {
				case <-e.wake:
				case <-ctx.Done():
					return
				}
			}
			if sleep(ctx, gather) != nil {
				return
			}
			now = time.Now()
			continue
		}
		end := now.Add(took)
		if sleep(ctx, time.Until(end)) != nil {
			return
		}
		if real := time.Now(); real.Sub(end) > maxLag {
			end = real
		}
		e.mu.Lock()
		e.profileStep(p, now, end)
		e.sched.finish(end)
		e.mu.Unlock()
		now = end
	}
}

// dropStuck gives up a request that can never be admitted although nothing else
// runs; the check of its size at arrival makes this a last resort.
func (e *Engine) dropStuck(now time.Time) {
	r := e.sched.waiting[0]
	if len(e.sched.running) > 0 || !r.arrived.Before(now) {
		return
	}
	e.sched.cancel(r)
	r.sink(0, now, true)
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// submit hands a request to the scheduler.
func (e *Engine) submit(r *request) {
	e.mu.Lock()
	e.served++
	e.sched.submit(r)
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

func (e *Engine) cancel(r *request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sched.cancel(r)
}

// log writes a text of the log; extra fills it further.
func (e *Engine) log(kind string, extra func(*Data)) {
	l := e.surface.Log[kind]
	w := e.o.Stderr
	if l.Stdout {
		w = e.o.Stdout
	}
	if l.File == "" || w == nil {
		return
	}
	d := &Data{}
	e.describe(d)
	e.state(d, kind)
	if extra != nil {
		extra(d)
	}
	text := e.render(l.File, d)
	e.logMu.Lock()
	defer e.logMu.Unlock()
	w.Write(text)
}

// render fills a file that may ask for histograms.
func (e *Engine) render(file string, d *Data) []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.sched != nil {
		t := &e.sched.totals
		e.surface.histograms = map[string]*histogram{
			"ttft": &t.ttft, "e2e": &t.e2e, "tpot": &t.tpot, "queue": &t.queue, "itl": &t.itl, "prefill": &t.prefill,
			"decode": &t.decode, "prompt": &t.in, "generation": &t.out, "step_tokens": &t.batch,
		}
	}
	return e.surface.fill(file, d)
}

// describe fills what does not change while the engine runs.
func (e *Engine) describe(d *Data) {
	now := time.Now()
	d.Version, d.Program, d.Argv, d.Knob = e.surface.Version, e.inv.program, e.o.Argv, e.inv.knobs
	d.Model, d.ServedName = e.inv.text("model"), e.servedName()
	e.mu.Lock()
	d.Host, d.Port, d.PID = e.inv.text("host"), e.port, e.o.PID
	e.mu.Unlock()
	d.Now, d.Unix, d.UnixF, d.Started = now, now.Unix(), float64(now.UnixMicro())/1e6, e.started
	d.UptimeS, d.BootS = now.Sub(e.started).Seconds(), (bootTime + e.o.Faults.slowStart).Seconds()
	if e.d == nil {
		d.GPUCount, d.TP, d.PP, d.DP, d.EP = max(1, e.o.GPUs), max(1, e.inv.int("tp", 1)), 1, 1, 1
		if gpu, err := FindGPU(e.o.GPU); err == nil {
			d.GPU, d.GPUMemGB = gpu.Title, gpu.MemoryGB
		}
		d.ContextLen = e.inv.int("context_len", 0)
		return
	}
	m := e.d
	d.ContextLen, d.KVTokens, d.KVBlocks, d.BlockSize = m.contextLen, m.kvTokens(), m.kvTokens()/m.blockSize, m.blockSize
	d.GPU, d.GPUMemGB, d.WeightGB, d.KVGB, d.GraphGB = m.gpu.Title, m.gpu.MemoryGB, m.weightGB, m.kvGB, m.graphGB
	d.GPUCount, d.TP, d.PP, d.DP, d.EP = m.gpusNeeded(), m.tp, m.pp, m.dp, m.ep
	d.MaxRunning, d.MaxBatchTokens = m.maxRunning, m.stepTokens
}

// servedName is the model's name in replies.
func (e *Engine) servedName() string {
	for _, k := range []string{"served_name", "served_model_name"} {
		if v := e.inv.text(k); v != "" {
			return v
		}
	}
	return e.inv.text("model")
}

// state fills what the scheduler is doing; throughput is that since the same
// asker asked last.
func (e *Engine) state(d *Data, asker string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, t := e.sched, &e.sched.totals
	d.Running, d.Waiting = len(s.running), len(s.waiting)
	d.KVUsage = float64(s.kv.used()) / float64(s.kv.total)
	d.KVUsed = s.kv.used() * e.d.granule()
	d.PromptTokens, d.CachedTokens, d.GenerationTokens = t.prompt, t.cached, t.generated
	d.Requests, d.Preemptions, d.Steps = t.requests, t.preemptions, t.steps
	d.FinishedStop, d.FinishedLength, d.Aborted = t.stopped, t.full, t.gone
	d.SpecTokens, d.Drafts, d.DraftTokens, d.AcceptedTokens = e.d.specTokens, t.drafts, t.drafted, t.accepted
	if t.drafts > 0 {
		d.AcceptLength = 1 + float64(t.accepted)/float64(t.drafts)
	}
	if t.prompt > 0 {
		d.CacheHitRate = float64(t.cached) / float64(t.prompt)
	}
	last, now := e.rates[asker], time.Now()
	if last.at.IsZero() {
		last.at = e.started
	}
	if dt := now.Sub(last.at).Seconds(); dt > 0 {
		d.GenThroughput = float64(t.generated-last.generated) / dt
		d.PromptThroughput = float64(t.prefillComputed-last.prompts) / dt
	}
	e.rates[asker] = rate{now, t.generated, t.prefillComputed}
}

var _ http.Handler = (*Engine)(nil)
