package load

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"llmdyno/internal/client"
	"llmdyno/internal/load/workload"
)

func TestGapDistance(t *testing.T) {
	even := func(n int, gap float64) (x []float64) {
		for range n {
			x = append(x, gap)
		}
		return x
	}
	tests := []struct {
		name      string
		a, b      []float64
		tolerance float64
		want      float64
	}{
		{"the same", even(10, 5), even(10, 5), 0, 0},
		{"off by less than the tolerance", even(10, 5), even(10, 5.5), 0.5, 0},
		{"off by more", even(10, 5), even(10, 5.5), 0.4, 1},
		{"half of them bunched", even(4, 10), []float64{0, 10, 0, 10}, 1, 0.5},
		{"half of them longer", even(4, 10), []float64{10, 20, 10, 20}, 1, 0.5},
		{"one of four", []float64{1, 2, 3, 4}, []float64{1, 2, 3, 9}, 0, 0.25},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, back := gapDistance(tt.a, tt.b, tt.tolerance), gapDistance(tt.b, tt.a, tt.tolerance); got != tt.want || back != tt.want {
				t.Errorf("%v and %v, want %v", got, back, tt.want)
			}
		})
	}
	// What came on time is no further away than the tolerance, whatever the law.
	rnd := rand.New(rand.NewPCG(1, 2))
	var a, b []float64
	for range 1000 {
		gap := rnd.ExpFloat64()
		a, b = append(a, gap), append(b, gap+0.1*rnd.Float64())
	}
	if d := gapDistance(a, b, 0.1); d != 0 {
		t.Errorf("distance %v", d)
	}
}

func TestCalibrationVerdict(t *testing.T) {
	good := Calibration{TargetEPS: 1000, AchievedEPS: 990, ArrivalError: &Spread{P99: 0.9}}
	with := func(change func(*Calibration)) *Calibration { c := good; change(&c); return &c }
	tests := []struct {
		name              string
		c                 *Calibration
		limit             float64
		before            string
		warnings, invalid string
	}{
		{"sound", &good, 1, "", "", ""},
		{"none", &Calibration{Skipped: "not asked for"}, 1, "", "", ""},
		{"instants are off", with(func(c *Calibration) { c.ArrivalError = &Spread{P99: 1.2} }), 1, "", "", "at 1000 events/s, the client was off by 1.2 ms (p99), more than the 1 ms allowed"},
		{"within 5 % of a limit", with(func(c *Calibration) { c.ArrivalError = &Spread{P99: 1.2} }), 2.5, "", "", ""},
		{"another reason came first", with(func(c *Calibration) { c.ArrivalError = &Spread{P99: 1.2} }), 1, "no files", "", "no files"},
		{"slow", with(func(c *Calibration) { c.AchievedEPS = 800 }), 1, "", "calibration-slow", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := Audit{OwnLagLimitMs: tt.limit, Invalid: tt.before}
			a.calibrated(tt.c)
			codes := ""
			for _, w := range a.Warnings {
				codes += w.Code
			}
			if codes != tt.warnings || !strings.Contains(a.Invalid, tt.invalid) || (a.Invalid == "") != (tt.invalid == "") || a.Calibration != tt.c {
				t.Errorf("warnings %q, invalid %q", codes, a.Invalid)
			}
		})
	}
}

// A calibration runs at 1.5 times the planned rate and finds every event of it.
func TestCalibrate(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: script{first: time.Millisecond, gap: time.Microsecond, tokens: 10}}
	go srv.Serve(ln)
	defer srv.Close()
	for _, portable := range []bool{false, true} {
		c, err := client.New(client.Options{BaseURL: "http://" + ln.Addr().String(), Portable: portable})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		out, err := Run(t.Context(), Trial{Client: c, Wire: completions, Requests: requests(60, 10), Arrivals: workload.Arrivals{RateRPS: 200, Seed: 1}, Calibrate: true})
		if err != nil {
			t.Fatal(err)
		}
		k := out.Client.Calibration
		if k.Skipped != "" || k.PlannedEPS != 2000 || k.TargetEPS != 3000 || k.Streams != 60 || k.Events != 60*51 || k.ArrivalError == nil || k.ArrivalError.N != k.Events || k.AchievedEPS <= 0 {
			t.Errorf("portable %v: %+v", portable, k)
		}
		if (k.ReceiveLag != nil) != c.KernelTime() || c.KernelTime() == portable && portable {
			t.Errorf("portable %v: receive lag %+v", portable, k.ReceiveLag)
		}
	}
}

func TestCalibrationIsLeftOut(t *testing.T) {
	bubble(t, script{first: time.Second, tokens: 2}, func(ctx context.Context, c *client.Client) {
		for _, tt := range []struct {
			calibrate bool
			n         int
			want      string
		}{{false, 300, "not asked for"}, {true, 10, "a trial of 20 output tokens is too small for it"}, {true, 300, "time is simulated"}} {
			out, err := Run(ctx, Trial{Client: c, Wire: completions, Requests: requests(tt.n, 2), Calibrate: tt.calibrate})
			if err != nil || out.Client.Calibration.Skipped != tt.want || out.Client.Invalid != "" {
				t.Errorf("%+v, %v; want %q", out.Client, err, tt.want)
			}
		}
	})
}

func TestPlannedEvents(t *testing.T) {
	open := &runner{Trial: Trial{Requests: requests(10, 30), Arrivals: constant(4)}}
	if got := open.plannedEvents(300); got != 120 {
		t.Errorf("open loop: %v events/s", got)
	}
	closed := &runner{Trial: Trial{Requests: requests(10, 30), MaxConcurrency: 3, Arrivals: workload.Arrivals{Kind: workload.ArrivalClosed}}}
	closed.makeRecordsForTest()
	if got := closed.plannedEvents(300); got != 150 {
		t.Errorf("three users: %v events/s", got)
	}
}

func (r *runner) makeRecordsForTest() {
	r.schedule = r.Arrivals.Schedule(len(r.Requests))
	r.makeRecords()
}

func TestEnoughFiles(t *testing.T) {
	if err := enoughFiles(1000, 1000+spareFiles); err != nil {
		t.Error(err)
	}
	if err := enoughFiles(1000, 0); err != nil {
		t.Errorf("an unknown limit: %v", err)
	}
	if err := enoughFiles(1000, 1024); err == nil || !strings.Contains(err.Error(), "1000 requests at once need 1128 open files and the system allows 1024: raise the limit (ulimit -n 1128)") {
		t.Errorf("%v", err)
	}
	timed := &runner{Trial: Trial{Requests: requests(10, 1), Arrivals: constant(1)}}
	timed.makeRecordsForTest()
	if n := timed.certainInFlight(); n != 0 {
		t.Errorf("a schedule is certain to need %d at once", n)
	}
}

// The collector is as before when the last of the trials has ended.
func TestQuietGC(t *testing.T) {
	percent := debug.SetGCPercent(77)
	defer debug.SetGCPercent(percent)
	limit := debug.SetMemoryLimit(-1)
	one, two := quietGC(), quietGC()
	if now := debug.SetMemoryLimit(-1); now > limit {
		t.Errorf("limit raised from %d to %d", limit, now)
	}
	one()
	if now := debug.SetGCPercent(-1); now != -1 {
		t.Errorf("GC percent %d within a trial", now)
	}
	two()
	if now, l := debug.SetGCPercent(77), debug.SetMemoryLimit(-1); now != 77 || l != limit {
		t.Errorf("GC percent %d, limit %d", now, l)
	}
	if got := memoryFor(0); got < quietMost {
		t.Errorf("%d bytes where nothing is known", got)
	}
	if got := memoryFor(1 << 20); got < quietLeast || got > quietMost {
		t.Errorf("%d bytes where little is free", got)
	}
}
