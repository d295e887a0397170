package load

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"llmdyno/internal/client"
	"llmdyno/internal/load/echo"
	"llmdyno/internal/load/workload"
)

// This file measures the client from outside: BenchmarkSpeed starts the built-in
// server and a client as processes of their own on different CPUs, and compares
// what the client recorded with when the server wrote.

// speedRoleVar makes the test binary one of those two processes.
const speedRoleVar = "LLMDYNO_TEST_SPEED_ROLE"

// speedRole is what such a process is to do.
type speedRole struct {
	CPU     int // -1 = any
	Server  *echo.Config
	Client  string // "llmdyno", "net/http"
	URL     string
	Streams int
	Events  int
	RPS     float64 // open loop of constant arrivals
}

// speedReport is what a client recorded.
type speedReport struct {
	At     map[string][]int64  `json:"at"`            // arrivals of a request's events, Unix ns
	Lag    map[string][]uint16 `json:"lag,omitempty"` // µs that they lay in the kernel
	Shared int                 `json:"shared,omitempty"`
	Plain  int                 `json:"plain,omitempty"` // events without the kernel's instant
	Audit  *Audit              `json:"audit,omitempty"`
	Failed string              `json:"failed,omitempty"`
}

// runSpeedRole is the main of such a process.
func runSpeedRole(text string) error {
	var role speedRole
	if err := json.Unmarshal([]byte(text), &role); err != nil {
		return err
	}
	if err := pin(role.CPU); err != nil {
		return err
	}
	raiseFiles(30_000)
	in := bufio.NewReader(os.Stdin)
	if role.Server != nil {
		debug.SetGCPercent(-1)
		s, err := echo.Start(*role.Server)
		if err != nil {
			return err
		}
		fmt.Println(s.URL())
		in.ReadString('\n')
		s.Close()
		return json.NewEncoder(os.Stdout).Encode(s.Truth())
	}
	fmt.Println("ready")
	in.ReadString('\n')
	var r speedReport
	var err error
	if role.Client == "net/http" {
		r, err = plainClient(role)
	} else {
		r, err = ourClient(role)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// pin keeps the process on one CPU: every thread that it has, from which later
// ones inherit it.
func pin(cpu int) error {
	if cpu < 0 {
		return nil
	}
	runtime.GOMAXPROCS(1)
	var set unix.CPUSet
	set.Set(cpu)
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(id, &set); err != nil {
			return err
		}
	}
	return nil
}

func ourClient(role speedRole) (speedReport, error) {
	r := speedReport{At: map[string][]int64{}, Lag: map[string][]uint16{}}
	c, err := client.New(client.Options{BaseURL: role.URL})
	if err != nil {
		return r, err
	}
	defer c.Close()
	t := Trial{
		Client: c, Wire: completions, Model: "m", Requests: requests(role.Streams, role.Events), MaxConcurrency: role.Streams,
		Arrivals: workload.Arrivals{Kind: workload.ArrivalClosed}, IDPrefix: "s-", IgnoreEOS: true,
	}
	if role.RPS > 0 {
		t.Arrivals, t.MaxConcurrency = workload.Arrivals{RateRPS: role.RPS, Seed: 1}, 0
	}
	out, err := Run(context.Background(), t)
	if err != nil {
		return r, err
	}
	r.Audit = &out.Client
	zero := out.Started.UnixNano()
	for i := range out.Records {
		rec := &out.Records[i]
		if !rec.OK() {
			r.Failed = rec.Error
		}
		at, lag := make([]int64, len(rec.Events)), make([]uint16, len(rec.Events))
		for k, e := range rec.Events {
			at[k], lag[k] = zero+e.At, e.LagUs
			if e.Shared {
				r.Shared++
			}
			if !e.Kernel {
				r.Plain++
			}
		}
		r.At[rec.RequestID], r.Lag[rec.RequestID] = at, lag
	}
	return r, nil
}

// plainClient is what one writes first: net/http, a goroutine a stream,
// encoding/json for each event, the time after it.
func plainClient(role speedRole) (speedReport, error) {
	r := speedReport{At: map[string][]int64{}}
	hc := http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: role.Streams, DisableCompression: true}}
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range role.Streams {
		all.Go(func() {
			id := "s-" + strconv.Itoa(i)
			at, err := plainStream(&hc, role.URL, id)
			mu.Lock()
			defer mu.Unlock()
			if r.At[id] = at; err != nil {
				r.Failed = err.Error()
			}
		})
	}
	all.Wait()
	return r, nil
}

func plainStream(hc *http.Client, url, id string) (at []int64, err error) {
	req, err := http.NewRequest(http.MethodPost, url+"/v1/completions", strings.NewReader(`{"model":"m","prompt":"p","stream":true}`))
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Request-Id", id)
	resp, err := hc.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !ok || string(data) == "[DONE]" {
			continue
		}
		var e struct {
			Choices []struct {
				Text         string  `json:"text"`
				FinishReason *string `json:"finish_reason"`
			} `json:"choices"`
			Usage *struct {
				CompletionTokens int `json:"completion_tokens"`
			} `json:"usage"`
		}
		if err := json.Unmarshal(data, &e); err != nil {
			return at, err
		}
		if len(e.Choices) > 0 && e.Choices[0].Text != "" {
			at = append(at, time.Now().UnixNano())
		}
	}
	return at, lines.Err()
}

// process is a started client or server.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	err bytes.Buffer
}

func startProcess(b *testing.B, cmd *exec.Cmd) (p *process, first string) {
	b.Helper()
	p = &process{cmd: cmd}
	cmd.Stderr = &p.err
	var err error
	if p.in, err = cmd.StdinPipe(); err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	p.out = bufio.NewReaderSize(out, 1<<20)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	first, err = p.out.ReadString('\n')
	if err != nil {
		b.Fatalf("%s: %v: %s", cmd.Path, err, p.err.String())
	}
	return p, strings.TrimSpace(first)
}

func roleCommand(b *testing.B, role speedRole) *exec.Cmd {
	b.Helper()
	text, err := json.Marshal(role)
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), speedRoleVar+"="+string(text))
	return cmd
}

func (p *process) finish(b *testing.B, into any) {
	b.Helper()
	io.WriteString(p.in, "\n")
	if err := json.NewDecoder(p.out).Decode(into); err != nil {
		b.Fatalf("%s: %v: %s", p.cmd.Path, err, p.err.String())
	}
}

// look is what the system says of a process.
type look struct {
	at  time.Time
	cpu time.Duration
	rss int // bytes
}

func (p *process) look() look {
	l := look{at: time.Now()}
	dir := filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid))
	if text, err := os.ReadFile(filepath.Join(dir, "stat")); err == nil {
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		user, _ := strconv.Atoi(fields[11])
		system, _ := strconv.Atoi(fields[12])
		l.cpu = time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
		pages, _ := strconv.Atoi(fields[21])
		l.rss = pages * os.Getpagesize()
	}
	return l
}

// trace looks at a process every 20 ms until the returned func is called.
func (p *process) trace() (stop func() []look) {
	quit, ended := make(chan struct{}), make(chan []look)
	go func() {
		var all []look
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			all = append(all, p.look())
			select {
			case <-tick.C:
			case <-quit:
				ended <- all
				return
			}
		}
	}()
	return func() []look { close(quit); return <-ended }
}

// speedCase is one line of the table.
type speedCase struct {
	name    string
	client  string
	config  echo.Config
	rps     float64
	nRPS    int
	clients []string
}

// speedResult is what one case showed, in µs where nothing else is said.
type speedResult struct {
	Case, Client            string
	Events                  int
	Rate                    float64 // events/s as they came in
	Planned                 float64 // events/s
	ErrP50, ErrP99, ErrP999 float64 // arrival as recorded − written
	LagP50, LagP99          float64 // in the kernel, until read
	Shared                  float64 // share of events read together
	CPUEvent                float64
	CPUShare                float64
	StreamBytes             float64
	Failed                  string
	Audit                   *Audit
}

// runSpeed carries one case out.
func runSpeed(b *testing.B, c speedCase) speedResult {
	serverCPU, clientCPU := 0, 1
	if runtime.NumCPU() < 2 {
		b.Skip("needs a CPU for the server and another for the client")
	}
	streams := c.config.Streams
	if c.rps > 0 {
		streams = c.nRPS
	}
	server, url := startProcess(b, roleCommand(b, speedRole{CPU: serverCPU, Server: &c.config}))
	var cmd *exec.Cmd
	if c.client == "aiohttp" {
		cmd = exec.Command("python3", "testdata/aiohttp_client.py", url, strconv.Itoa(streams))
		if path, err := exec.LookPath("taskset"); err == nil {
			cmd = exec.Command(path, append([]string{"-c", strconv.Itoa(clientCPU)}, cmd.Args...)...)
		}
	} else {
		cmd = roleCommand(b, speedRole{CPU: clientCPU, Client: c.client, URL: url, Streams: streams, Events: c.config.Events, RPS: c.rps})
	}
	cl, _ := startProcess(b, cmd)
	stop := cl.trace()
	var report speedReport
	cl.finish(b, &report)
	looks := stop()
	var truth []echo.Request
	server.finish(b, &truth)
	r := joinSpeed(report, truth, looks)
	r.Case, r.Client, r.Audit = c.name, c.client, report.Audit
	if c.config.Gap > 0 {
		r.Planned = float64(streams) * float64(c.config.Batch) / c.config.Gap.Seconds()
	}
	return r
}

func joinSpeed(report speedReport, truth []echo.Request, looks []look) speedResult {
	r := speedResult{Failed: report.Failed}
	var errs, lags []float64
	begin, last, wrote := int64(math.MaxInt64), int64(0), int64(math.MaxInt64)
	n := 0
	for _, t := range truth {
		at := report.At[t.ID]
		n++
		if len(at) != len(t.Events) || len(at) == 0 {
			r.Failed = fmt.Sprintf("request %s: %d events of %d: %s", t.ID, len(at), len(t.Events), report.Failed)
			continue
		}
		for k := range at {
			errs = append(errs, math.Abs(float64(at[k]-t.Events[k]))/1000)
		}
		for _, us := range report.Lag[t.ID] {
			lags = append(lags, float64(us))
		}
		begin, last, wrote = min(begin, at[0]), max(last, at[len(at)-1]), min(wrote, t.Events[0])
	}
	if r.Events = len(errs); r.Events == 0 {
		return r
	}
	slices.Sort(errs)
	slices.Sort(lags)
	at := func(x []float64, q float64) float64 {
		if len(x) == 0 {
			return math.NaN()
		}
		return x[int(q*float64(len(x)-1))]
	}
	r.ErrP50, r.ErrP99, r.ErrP999 = at(errs, .5), at(errs, .99), at(errs, .999)
	r.LagP50, r.LagP99 = at(lags, .5), at(lags, .99)
	r.Shared = float64(report.Shared) / float64(r.Events)
	seconds := float64(last-wrote) / 1e9
	r.Rate = float64(r.Events) / seconds
	before, after := looks[0], looks[0]
	for _, l := range looks {
		if l.at.UnixNano() <= wrote {
			before = l
		}
		if after = l; l.at.UnixNano() >= last {
			break
		}
	}
	if d := after.at.Sub(before.at); d > 0 {
		r.CPUShare = (after.cpu - before.cpu).Seconds() / d.Seconds()
		r.CPUEvent = float64((after.cpu - before.cpu).Microseconds()) / float64(r.Events)
	}
	r.StreamBytes = float64(before.rss-looks[0].rss) / float64(n)
	return r
}

func (r speedResult) row() string {
	if r.Failed != "" {
		return fmt.Sprintf("%-34s %-9s %s", r.Case, r.Client, r.Failed)
	}
	s := fmt.Sprintf("%-34s %-9s %8d events %9.0f/s of %9.0f  error %6.0f %7.0f %8.0f  lag %6.0f %7.0f  shared %5.1f%%, single %7.0f/s  CPU %5.2f us/event %3.0f%%",
		r.Case, r.Client, r.Events, r.Rate, r.Planned, r.ErrP50, r.ErrP99, r.ErrP999, r.LagP50, r.LagP99, 100*r.Shared, r.Rate*(1-r.Shared), r.CPUEvent, 100*r.CPUShare)
	if r.StreamBytes > 0 && r.Planned > 0 {
		s += fmt.Sprintf("  %5.1f KiB/stream", r.StreamBytes/1024)
	}
	if a := r.Audit; a != nil && a.OwnLag != nil && r.Planned == 0 {
		s += fmt.Sprintf("  send late %.3f %.3f ms (own), %.3f %.3f ms (all)", a.OwnLag.P50, a.OwnLag.P99, a.SendLag.P50, a.SendLag.P99)
	}
	return s
}

// paced is a case of streams with one event a gap each, for about two seconds.
func paced(name string, streams, perSecond int, together bool) speedCase {
	gap := time.Duration(streams) * time.Second / time.Duration(perSecond)
	return speedCase{name: name, config: echo.Config{
		Streams: streams, Events: max(int(2*time.Second/gap), 4), Gap: gap, Batch: 1, Together: together, Spin: true, Wait: 30 * time.Second,
	}}
}

func speedCases() []speedCase {
	ours, all := []string{"llmdyno"}, []string{"llmdyno", "net/http", "aiohttp"}
	var out []speedCase
	add := func(clients []string, c speedCase) { c.clients = clients; out = append(out, c) }
	add(all, paced("100 streams, 5,000/s", 100, 5_000, false))
	add(all, paced("1,000 streams, 20,000/s", 1000, 20_000, false))
	add(all, paced("5,000 streams, 25,000/s", 5000, 25_000, false))
	add(all, paced("10,000 streams, 25,000/s", 10_000, 25_000, false))
	add(all, paced("1,000 streams together, 20,000/s", 1000, 20_000, true))
	for _, rate := range []int{50_000, 100_000, 120_000, 130_000, 150_000} {
		clients := ours
		if rate <= 100_000 {
			clients = all
		}
		add(clients, paced(fmt.Sprintf("1,000 streams, %d,000/s", rate/1000), 1000, rate, false))
	}
	add(all, speedCase{name: "16 events a write, at full speed", config: echo.Config{Streams: 64, Events: 16 * 2000, Batch: 16, Wait: 30 * time.Second}})
	for _, rps := range []float64{100, 1000, 2000, 5000} {
		add(ours, speedCase{name: fmt.Sprintf("%.0f requests/s", rps), rps: rps, nRPS: int(3 * rps), config: echo.Config{Events: 4}})
	}
	return out
}

// BenchmarkSpeed prints a table of all cases; run it with -benchtime 1x, on a
// machine that does nothing else. scripts/client-bench.sh does.
func BenchmarkSpeed(b *testing.B) {
	for _, c := range speedCases() {
		for _, c.client = range c.clients {
			b.Run(strings.NewReplacer(" ", "_", ",", "", "/", "_per_").Replace(c.name)+"/"+strings.ReplaceAll(c.client, "/", ""), func(b *testing.B) {
				if c.client == "aiohttp" && exec.Command("python3", "-c", "import aiohttp").Run() != nil {
					b.Skip("python3 has no aiohttp: pip install aiohttp")
				}
				var r speedResult
				for b.Loop() {
					r = runSpeed(b, c)
				}
				fmt.Fprintln(os.Stderr, r.row())
				if r.Failed != "" {
					b.Error(r.Failed)
				}
				b.ReportMetric(r.Rate, "events/s")
				b.ReportMetric(r.ErrP99, "err-p99-us")
				b.ReportMetric(r.CPUEvent, "cpu-us/event")
			})
		}
	}
}
