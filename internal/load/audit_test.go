package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"runtime/metrics"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"llmdyno/internal/client"
	"llmdyno/internal/load/sample"
	"llmdyno/internal/load/workload"
)

// trialOf is a finished trial whose requests were sent on time, 10 ms apart, and
// lasted 25 ms each.
func trialOf(n int) *runner {
	r := &runner{Trial: Trial{Arrivals: constant(100)}}
	for i := range n {
		rec := sample.New(i, int64(i)*10*millisecond)
		rec.Begin, rec.Send, rec.Done = rec.Sched, rec.Sched, rec.Sched+25*millisecond
		rec.ConnReused = true
		rec.Events = []sample.Event{{At: rec.Send + 5*millisecond, Text: 1}, {At: rec.Done, Text: 1}}
		r.records, r.own, r.waits = append(r.records, rec), append(r.own, 0), append(r.waits, -1)
	}
	return r
}

func TestAudit(t *testing.T) {
	late := func(n int, by int64) func(*runner) {
		return func(r *runner) {
			for i := range n {
				r.own[i] = by
			}
		}
	}
	tests := []struct {
		name     string
		change   func(*runner)
		used     usage
		warnings string
		invalid  string
	}{
		{"sound", func(*runner) {}, usage{}, "", ""},
		{"one late request in a hundred", late(1, 3*millisecond), usage{}, "", ""},
		{"p99 above 1 ms", late(2, 3*millisecond), usage{}, "sent-late", "late by 3 ms (p99) on its own account, more than the 1 ms allowed"},
		{"the same within 5 % of a limit", func(r *runner) { r.TightestMs = 80; late(2, 3*millisecond)(r) }, usage{}, "sent-late", ""},
		{"beyond 5 % of a limit", func(r *runner) { r.TightestMs = 4; late(2, millisecond/2)(r) }, usage{}, "", "more than the 0.2 ms allowed"},
		{"no file left", func(r *runner) {
			r.records[5].Class, r.records[5].Error = sample.ClassConnect, "POST /x: "+client.LocalLimit+"too many open files"
		}, usage{}, "connect-failed", "1 requests found no free file or port"},
		{"server closes kept connections", func(r *runner) { r.records[5].StaleRetry = true }, usage{}, "stale-connections", ""},
		{"events read together", func(r *runner) {
			for i := range 6 {
				r.records[i].Events[0].Shared, r.records[i].Events[1].Shared = true, true
			}
		}, usage{}, "events-coalesced", ""},
		{"dropped", func(r *runner) {
			r.own[99], r.records[99].Send, r.records[99].Class = -1, sample.Never, sample.ClassDropped
		}, usage{}, "arrivals-dropped", ""},
		{"slower than offered", func(r *runner) {
			for i := range r.records {
				r.records[i].Send += int64(i) * millisecond
			}
		}, usage{}, "rate-not-delivered", ""},
		{"busy client", func(*runner) {}, usage{wall: time.Second, cpu: time.Hour}, "client-cpu", ""},
		{"busy scheduler", func(*runner) {}, usage{sched: metrics.Float64Histogram{Counts: []uint64{1, 99}, Buckets: []float64{0, 1e-6, 2e-3}}}, "scheduler-latency", ""},
		{"read late, but one by one", func(r *runner) { readLate(r, 100) }, usage{}, "read-late", ""},
		{"read late and together", func(r *runner) {
			readLate(r, 100)
			for i := range 12 {
				r.records[i].Events[0].Shared = true
			}
		}, usage{}, "events-coalesced read-late", "the client fell behind: it read events 2 ms (p99) after their arrival"},
		{"many never sent", func(r *runner) {
			for i := 90; i < 100; i++ {
				r.own[i], r.records[i].Send, r.records[i].Class = -1, sample.Never, sample.ClassDropped
			}
		}, usage{}, "arrivals-dropped", "10 of 100 arrivals were never sent"},
		{"bunched within the lag allowed", func(r *runner) {
			r.TightestMs = 200
			for i := range r.own {
				r.own[i] = int64(i%2) * 5 * millisecond
			}
		}, usage{}, "sent-late", "the gaps between arrivals differ from the planned ones"},
		{"few files", func(r *runner) { r.limit = 100 }, usage{}, "file-limit", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := trialOf(100)
			tt.change(r)
			a := r.audit(tt.used)
			var codes []string
			for _, w := range a.Warnings {
				codes = append(codes, w.Code)
			}
			if got := strings.Join(codes, " "); got != tt.warnings {
				t.Errorf("warnings %+v, want %q", a.Warnings, tt.warnings)
			}
			if !strings.Contains(a.Invalid, tt.invalid) || (a.Invalid == "") != (tt.invalid == "") {
				t.Errorf("invalid %q, want %q", a.Invalid, tt.invalid)
			}
		})
	}
}

// readLate lets the first n requests' events lie in the kernel for 2 ms.
func readLate(r *runner, n int) {
	for i := range n {
		for k := range r.records[i].Events {
			r.records[i].Events[k].Kernel, r.records[i].Events[k].LagUs = true, 2000
		}
	}
}

func TestAuditFigures(t *testing.T) {
	r := trialOf(5)
	r.waits[3], r.own[4] = 7*millisecond, millisecond/10
	r.records[0].ConnReused, r.records[0].Conn = false, 0
	r.limit = 20_000
	a := r.audit(usage{wall: 2 * time.Second, cpu: time.Second})
	a.CPUs, a.CPUShare = 0, nil
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"schema":"llmdyno.client","schema_version":1,"load_model":"open","planned":5,"sent":5,"dropped":0,"late":0,` +
		`"requested_rps":100,"offered_rps":100,"achieved_rps":100,` +
		`"send_lag_ms":{"n":5,"mean":0,"p50":0,"p90":0,"p99":0,"max":0},"slot_wait_ms":{"n":1,"mean":7,"p50":7,"p90":7,"p99":7,"max":7},` +
		`"own_lag_ms":{"n":5,"mean":0.02,"p50":0,"p90":0.06000000000000001,"p99":0.096,"max":0.1},"own_lag_limit_ms":1,` +
		`"peak_in_flight":3,"new_connections":1,"connect_failures":0,"stale_retries":0,"events":10,"shared_events":0,"shared_event_ratio":0,` +
		`"cpu_s":1,"cpus":0,"file_limit":20000}`
	if d := cmp.Diff(want, string(text)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// All at once there is no instant to be late for.
func TestUnpacedArrivalsAreNotLate(t *testing.T) {
	bubble(t, script{first: time.Second, tokens: 1}, func(ctx context.Context, c *client.Client) {
		out, err := Run(ctx, Trial{Client: c, Wire: completions, Requests: requests(40, 1), MaxConcurrency: 10})
		if err != nil {
			t.Fatal(err)
		}
		a := out.Client
		if a.RequestedRPS != nil || a.OfferedRPS != nil || a.OwnLag.Max != 0 || a.SlotWait.Max != 3000 || a.PeakInFlight != 10 || out.Duration != 4*time.Second {
			t.Errorf("%+v, %v", a, out.Duration)
		}
	})
}

// A machine without files left spoils the trial, and it says so.
func TestNoFilesLeft(t *testing.T) {
	full := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("socket: %w", syscall.EMFILE)}
	}
	c, err := client.New(client.Options{BaseURL: "http://server", Dial: full})
	if err != nil {
		t.Fatal(err)
	}
	out, err := Run(t.Context(), Trial{Client: c, Wire: completions, Requests: requests(3, 1)})
	if err != nil || !strings.Contains(out.Client.Invalid, "3 requests found no free file") || out.Client.ConnectFailures != 3 {
		t.Errorf("%v, %+v", err, out.Client)
	}
}

func TestHistogramSpread(t *testing.T) {
	h := metrics.Float64Histogram{Counts: []uint64{50, 40, 0, 9, 1}, Buckets: []float64{0, 0.001, 0.002, 0.004, 0.008, math.Inf(1)}}
	want := &Spread{N: 100, Mean: (50*1 + 40*2 + 9*8 + 8) / 100.0, P50: 1, P90: 2, P99: 8, Max: 8}
	if d := cmp.Diff(want, histogramSpread(h)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if s := histogramSpread(less(h, h)); s != nil {
		t.Errorf("nothing happened: %+v", s)
	}
	before := metrics.Float64Histogram{Counts: []uint64{50, 0, 0, 0, 0}, Buckets: h.Buckets}
	if s := histogramSpread(less(h, before)); s.N != 50 || s.P50 != 2 {
		t.Errorf("the difference: %+v", s)
	}
}

// What the Go runtime and the system tell is really there.
func TestUsageIsMeasured(t *testing.T) {
	before := takeUsage()
	for done := time.Now().Add(30 * time.Millisecond); time.Now().Before(done); {
		ran := make(chan bool)
		go func() { ran <- true }()
		<-ran
	}
	u := takeUsage().since(before)
	if u.cpu <= 0 || u.wall < 30*time.Millisecond || histogramSpread(u.sched) == nil {
		t.Errorf("cpu %v, wall %v, scheduler %+v", u.cpu, u.wall, histogramSpread(u.sched))
	}
}

func TestRaiseFiles(t *testing.T) {
	tests := []struct {
		name           string
		need, cur, max uint64
		privileged     bool
		want           uint64
	}{
		{"enough", 500, 1024, 4096, false, 1024},
		{"below the hard limit", 2000, 1024, 4096, false, 2000},
		{"above it", 9000, 1024, 4096, false, 4096},
		{"above it, privileged", 9000, 1024, 4096, true, 9000},
		{"nothing to gain", 9000, 4096, 4096, false, 4096},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now := unix.Rlimit{Cur: tt.cur, Max: tt.max}
			got := raise(tt.need, func(l *unix.Rlimit) error { *l = now; return nil }, func(l *unix.Rlimit) error {
				if l.Cur > l.Max || l.Max > tt.max && !tt.privileged {
					return unix.EPERM
				}
				now = *l
				return nil
			})
			if got != tt.want || now.Cur != tt.want {
				t.Errorf("%d, set to %d, want %d", got, now.Cur, tt.want)
			}
		})
	}
	if raise(1, func(*unix.Rlimit) error { return errors.New("no such call") }, nil) != 0 {
		t.Error("an unknown limit is not 0")
	}
}

// Over real sockets, with the exact pacer: everything arrives, at the rate.
func TestRunOverTCP(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: script{first: 2 * time.Millisecond, gap: time.Millisecond, tokens: 5}}
	go srv.Serve(ln)
	defer srv.Close()
	c, err := client.New(client.Options{BaseURL: "http://" + ln.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	out, err := Run(t.Context(), Trial{Client: c, Wire: completions, Requests: requests(100, 5), Arrivals: workload.Arrivals{RateRPS: 400, Seed: 2}, IgnoreEOS: true})
	if err != nil {
		t.Fatal(err)
	}
	schedule := workload.Arrivals{RateRPS: 400, Seed: 2}.Schedule(100)
	for i, r := range out.Records {
		if !r.OK() || r.OutputTokens != 5 || r.Sched != int64(schedule[i]) || r.Send < r.Sched || r.FirstText < r.Header || r.Done < r.LastText {
			t.Errorf("record %d: %+v", i, r)
		}
	}
	if a := out.Client; a.Sent != 100 || a.Events != 500 || a.SchedLatency == nil || a.CPUSeconds <= 0 || a.FileLimit == 0 {
		t.Errorf("audit %+v", a)
	}
}
