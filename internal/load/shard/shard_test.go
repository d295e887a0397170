package shard

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"llmdyno/internal/client"
	"llmdyno/internal/engine"
	"llmdyno/internal/load"
	"llmdyno/internal/load/sample"
	"llmdyno/internal/load/workload"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Part{"1/1": {1, 1}, "2/4": {2, 4}, "4/4": {4, 4}} {
		if got, err := Parse(text); err != nil || got != want || got.String() != text {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "1", "0/4", "5/4", "-1/4", "1/0", "a/b", "1/4/2", "1/100000"} {
		if got, err := Parse(text); err == nil {
			t.Errorf("%q: %v, expected an error", text, got)
		}
	}
}

// drawRequests are requests of which some wait for the end of an earlier one.
func drawRequests(rt *rapid.T) []workload.Request {
	reqs := make([]workload.Request, rapid.IntRange(8, 60).Draw(rt, "n"))
	for i := range reqs {
		reqs[i] = workload.Request{Index: i, Prompt: "p", InputLen: 1, OutputLen: 1 + i%3}
		if i > 7 && rapid.Bool().Draw(rt, "turn") {
			reqs[i].After, reqs[i].Think = rapid.IntRange(1, i).Draw(rt, "after"), time.Duration(i)*time.Millisecond
		}
	}
	return reqs
}

func drawArrivals(rt *rapid.T) workload.Arrivals {
	seed := rapid.Uint64().Draw(rt, "seed")
	return rapid.SampledFrom([]workload.Arrivals{
		{Kind: workload.ArrivalPoisson, RateRPS: 7, Seed: seed},
		{Kind: workload.ArrivalConstant, RateRPS: 1000, Seed: seed},
		{Kind: workload.ArrivalGamma, RateRPS: 3, Burstiness: 0.3, Seed: seed},
		{Kind: workload.ArrivalRamp, FromRPS: 1, RateRPS: 9, Over: 3 * time.Second, Seed: seed},
		{Kind: workload.ArrivalSteps, Steps: []workload.Step{{RateRPS: 2, For: time.Second}, {RateRPS: 0, For: time.Second}, {RateRPS: 50, For: time.Second}}, Seed: seed},
		{Kind: workload.ArrivalTrace, Offsets: []time.Duration{1, 5, 5, 1e9}, TimeScale: 1.5, Seed: seed},
		{Seed: seed}, // all at once
	}).Draw(rt, "arrivals")
}

// measured are the records that a process makes of its requests: everything in
// them follows from the request and its instant.
func measured(reqs []workload.Request, a workload.Arrivals) []sample.Record {
	offsets, _ := schedule(reqs, a)
	out := make([]sample.Record, len(reqs))
	for i, q := range reqs {
		r := sample.New(i, int64(offsets[i]))
		if q.After > 0 {
			r.Sched = out[q.After-1].Done + int64(q.Think)
		}
		r.Begin, r.Send, r.Done = r.Sched, r.Sched, r.Sched+int64(q.OutputLen)*1e6
		r.WantOutput = q.OutputLen
		r.Events = []sample.Event{{At: r.Done, Text: 1}}
		out[i] = r
	}
	return out
}

// The parts of a load, each run by itself and merged, are the load of one
// process: every request once, at its instant, with what it waits for.
func TestPartsAreTheWhole(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		reqs, a := drawRequests(rt), drawArrivals(rt)
		n := rapid.IntRange(1, 8).Draw(rt, "parts")
		limit := rapid.SampledFrom([]int{0, n, n + 3}).Draw(rt, "cap")
		total := 0
		var parts []Result
		for i := 1; i <= n; i++ {
			p := Part{i, n}
			c, err := Split(reqs, a, limit, p)
			if err != nil {
				rt.Fatal(err)
			}
			records := measured(c.Requests, c.Arrivals)
			if err := c.Restore(records); err != nil {
				rt.Fatal(err)
			}
			total += c.Cap
			parts = append(parts, Result{Part: p, Started: time.Unix(9, 0), Duration: time.Duration(i), Records: records})
		}
		slices.Reverse(parts) // the order in which they are given does not count
		got, err := Merge(parts)
		if err != nil {
			rt.Fatal(err)
		}
		if want := measured(reqs, a); !reflect.DeepEqual(got.Records, want) || total != limit || got.Duration != time.Duration(n) {
			rt.Fatalf("caps %d of %d, duration %v; merged\n%+v\nwant\n%+v", total, limit, got.Duration, got.Records, want)
		}
	})
}

// Parts that began later are counted from the earliest start.
func TestMergeCountsFromTheEarliestStart(t *testing.T) {
	early, late := time.Unix(100, 0), time.Unix(101, 500)
	r := sample.New(1, 10)
	r.Send, r.Done, r.Events = 20, 30, []sample.Event{{At: 25}}
	got, err := Merge([]Result{
		{Part: Part{2, 2}, Started: late, Duration: 40, Records: []sample.Record{r}},
		{Part: Part{1, 2}, Started: early, Duration: 7, Records: []sample.Record{sample.New(0, 3)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	by := int64(late.Sub(early))
	m := got.Records[1]
	if !got.Started.Equal(early) || got.Duration != time.Duration(by+40) || got.Records[0].Sched != 3 || m.Sched != 10+by || m.Send != 20+by ||
		m.Done != 30+by || m.Events[0].At != 25+by || m.Conn != sample.Never || r.Events[0].At != 25 {
		t.Errorf("%+v", got)
	}
}

func TestMergeRefuses(t *testing.T) {
	rec := []sample.Record{sample.New(0, 0)}
	for want, parts := range map[string][]Result{
		"no part":               nil,
		"part 2/3 is missing":   {{Part: Part{1, 3}}, {Part: Part{3, 3}}},
		"part 1/2 is given twi": {{Part: Part{1, 2}}, {Part: Part{1, 2}}},
		"not of the same divis": {{Part: Part{1, 2}}, {Part: Part{2, 3}}},
		"stands in two parts":   {{Part: Part{1, 2}, Records: rec}, {Part: Part{2, 2}, Records: rec}},
	} {
		if _, err := Merge(parts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestSplitRefuses(t *testing.T) {
	reqs := make([]workload.Request, 3)
	closed := workload.Arrivals{Kind: workload.ArrivalClosed}
	if _, err := Split(reqs, closed, 0, Part{1, 2}); err == nil || !strings.Contains(err.Error(), "concurrency of 1") {
		t.Errorf("%v", err)
	}
	if _, err := Split(reqs, workload.Arrivals{RateRPS: 1}, 0, Part{1, 4}); err == nil || !strings.Contains(err.Error(), "3 requests") {
		t.Errorf("%v", err)
	}
	if err := (Cut{Positions: []int{4}}).Restore([]sample.Record{sample.New(1, 0)}); err == nil {
		t.Error("a record that the cut does not have was taken")
	}
}

// The load generator itself, cut in three, leaves the records that it leaves in
// one piece, in simulated time.
func TestLoadInPartsIsLoadInOne(t *testing.T) {
	var reqs []workload.Request
	for i := range 30 {
		q := workload.Request{Index: i, Prompt: "p", InputLen: 1, OutputLen: 2}
		if i%5 == 4 {
			q.After, q.Think = i-2, 40*time.Millisecond
		}
		reqs = append(reqs, q)
	}
	a := workload.Arrivals{RateRPS: 20, Seed: 5}
	one := runPart(t, reqs, a, Part{1, 1})
	var parts []Result
	for i := 1; i <= 3; i++ {
		parts = append(parts, runPart(t, reqs, a, Part{i, 3}))
	}
	got, err := Merge(parts)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range [][]sample.Record{one.Records, got.Records} {
		for i := range r { // who sent it, and over which connection, is each process's own
			r[i].RequestID, r[i].ConnReused, r[i].Conn = "", false, sample.Never
		}
	}
	if !reflect.DeepEqual(got.Records, one.Records) || got.Duration != one.Duration {
		t.Errorf("merged in %v\n%+v\nin one piece in %v\n%+v", got.Duration, got.Records, one.Duration, one.Records)
	}
}

// runPart runs a part in a bubble of its own, each of which begins at the same
// instant.
func runPart(t *testing.T, reqs []workload.Request, a workload.Arrivals, p Part) (out Result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		srv := &http.Server{Handler: http.HandlerFunc(answer)}
		ended := make(chan struct{})
		go func() { defer close(ended); _ = srv.Serve(l) }()
		c, err := client.New(client.Options{BaseURL: "http://server", Dial: l.dial})
		if err != nil {
			t.Fatal(err)
		}
		cut, err := Split(reqs, a, 0, p)
		if err != nil {
			t.Fatal(err)
		}
		got, err := load.Run(context.Background(), load.Trial{
			Client: c, Wire: engine.OpenAICompletions(engine.WireOptions{}), Requests: cut.Requests, Arrivals: cut.Arrivals, MaxConcurrency: cut.Cap,
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := cut.Restore(got.Records); err != nil {
			t.Fatal(err)
		}
		out = Result{Part: p, Started: got.Started, Duration: got.Duration, Records: got.Records}
		c.Close()
		srv.Close()
		<-ended
	})
	return out
}

// answer streams two tokens, 10 ms and 15 ms after the request.
func answer(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "text/event-stream")
	for _, event := range []string{
		`{"choices":[{"index":0,"text":" a","finish_reason":null}]}`,
		`{"choices":[{"index":0,"text":" b","finish_reason":"length"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}`,
	} {
		time.Sleep(7500 * time.Microsecond)
		fmt.Fprintf(w, "data: %s\n\n", event)
		w.(http.Flusher).Flush()
	}
	fmt.Fprint(w, "data: [DONE]\n\n")
}

// pipes is a listener whose connections are pipes within the process.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "pipe"} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestJoinAudits(t *testing.T) {
	x, y := 5.0, 7.0
	audits := []load.Audit{
		{LoadModel: "open", Planned: 2, Sent: 2, RequestedRPS: &x, OwnLag: &load.Spread{P99: 1}, Events: 4, SharedEvents: 1, CPUSeconds: 1},
		{LoadModel: "open", Planned: 3, Sent: 2, Dropped: 1, RequestedRPS: &y, OwnLag: &load.Spread{P99: 3}, Events: 4, SharedEvents: 1, CPUSeconds: 2, Invalid: "late", Warnings: []load.Warning{{Code: "sent-late", Message: "so late"}}},
	}
	var records []sample.Record
	for i := range 4 {
		r := sample.New(i, int64(i)*1e9)
		r.Send, r.Done = r.Sched, r.Sched+15e8
		records = append(records, r)
	}
	got := JoinAudits(audits, records)
	if got.Planned != 5 || got.Sent != 4 || got.Dropped != 1 || *got.RequestedRPS != 12 || got.OwnLag.P99 != 3 || *got.SharedRatio != 0.25 || got.CPUSeconds != 3 ||
		*got.OfferedRPS != 1 || *got.AchievedRPS != 1 || got.PeakInFlight != 2 || got.Invalid != "process 2 of 2: late" {
		t.Errorf("%+v", got)
	}
	if len(got.Warnings) != 1 || got.Warnings[0].Message != "process 2 of 2: so late" || len(audits[0].Warnings) != 0 {
		t.Errorf("warnings %+v", got.Warnings)
	}
	if JoinAudits(nil, nil).Planned != 0 {
		t.Error("an audit out of none")
	}
}
