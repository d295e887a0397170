package run

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"llmdyno/internal/bench/result"
	"llmdyno/internal/client"
	"llmdyno/internal/engine"
	"llmdyno/internal/engine/all"
	"llmdyno/internal/load"
	"llmdyno/internal/load/metric"
	"llmdyno/internal/load/stat"
	"llmdyno/internal/load/workload"
	"llmdyno/internal/sim"
)

var aa = flag.Int("aa", 0, "number of comparisons of a command with itself, and as many with one that is 5 % slower; 0 = a few")

// What makes trials of one command differ here.
const (
	// runNoise is the standard deviation of the logarithm of a server's speed from
	// start to start: six identical runs of a real engine spread by 6.9 %, see
	// stat.DefaultBlocks.
	runNoise = 0.069 / 2.53
	// warming is how much slower the machine gets from the first trial of a
	// comparison to the last.
	warming = 0.05
)

// aaTrial measures a server of its own: the simulated engine behind pipes, in the
// time of a bubble, driven by the load generator.
func aaTrial(t testing.TB, e *engine.Engine, slow float64, seed uint64) result.Metrics {
	s, err := sim.New(sim.Options{Surface: e.Surface, Argv: strings.Fields("vllm serve meta-llama/Llama-3.1-8B-Instruct --max-num-seqs 64"), GPU: "h100", PID: 7, Slow: slow})
	if err != nil {
		t.Fatal(err)
	}
	b := newBackend()
	server := &fake{backend: b, addr: "sim:1", conns: make(chan net.Conn), done: make(chan struct{})}
	b.open[server.addr] = server
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- s.Serve(ctx, func(string) (net.Listener, error) { return server, nil }, func(net.Addr) error { return nil })
	}()
	time.Sleep(time.Second)
	c, err := client.New(client.Options{BaseURL: "http://" + server.addr, Engine: e, Dial: b.dial, Conns: 64})
	if err != nil {
		t.Fatal(err)
	}
	requests, err := workload.Spec{Kind: "random", NumPrompts: 48, InputLen: 64, OutputLen: 16, Seed: seed}.Requests()
	if err != nil {
		t.Fatal(err)
	}
	wire, _ := wireOf(e, "/v1/completions")
	out, err := load.Run(ctx, load.Trial{Client: c, Wire: wire, Model: "meta-llama/Llama-3.1-8B-Instruct", Requests: requests, IgnoreEOS: true,
		Arrivals: workload.Arrivals{Kind: workload.ArrivalClosed, Seed: seed}, MaxConcurrency: 8, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	cancel()
	close(server.done)
	<-ended
	synctest.Wait()
	return result.FromSummary(metric.Compute(out.Records, out.Duration.Nanoseconds(), metric.Limits{}))
}

// aaCompare compares a command with itself, b slower by a factor, with the default
// budget, and judges as `bench ab` does.
func aaCompare(t testing.TB, slower float64, seed uint64) (ab result.AB) {
	e, _ := all.Engines().Lookup("vllm")
	r := rand.New(rand.NewPCG(seed, 77))
	rows := map[string]*result.Row{SideA: {Status: result.StatusOK, RunID: "aa"}, SideB: {Status: result.StatusOK, RunID: "aa"}}
	n := 0
	for block, bFirst := range stat.Interleave(stat.DefaultBlocks, seed) {
		sides := []string{SideA, SideB}
		if bFirst {
			sides = []string{SideB, SideA}
		}
		for _, side := range sides {
			slow := math.Exp(runNoise*r.NormFloat64()) * (1 + warming*float64(n)/(2*stat.DefaultBlocks))
			if n++; side == SideB {
				slow *= slower
			}
			m := aaTrial(t, e, slow, seed+uint64(block))
			rows[side].Points = append(rows[side].Points, result.Point{Repeat: block, Block: &block, Chosen: block == 0, Status: result.StatusOK, Metrics: m})
		}
	}
	return result.CompareAB(*rows[SideA], *rows[SideB], result.ABOptions{Metric: "output_token_throughput", Planned: stat.DefaultBlocks})
}

// Of comparisons of a command with itself at most 5 % may name a winner; a true
// difference of 5 % must be found in at least 90 %. With few comparisons the bounds
// leave room for chance: they then fail in fewer than 1 of 10,000 cases. In full:
// scripts/aatest.sh.
func TestAA(t *testing.T) {
	n, mostFalse, leastFound := *aa, *aa/20, (*aa*9+9)/10
	if n == 0 {
		n, mostFalse, leastFound = 8, 2, 4
	}
	var falsely, found, wrong atomic.Int64
	var mu sync.Mutex
	deltas := map[string][]float64{}
	t.Run("comparisons", func(t *testing.T) {
		for i := range n {
			for _, side := range []struct {
				name   string
				slower float64
			}{{"itself", 1}, {"slower", 1.05}} {
				t.Run(fmt.Sprintf("%s-%d", side.name, i), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						ab := aaCompare(t, side.slower, uint64(1000*i+1))
						if !ab.Measured() {
							t.Fatal(ab.Verdict)
						}
						mu.Lock()
						deltas[side.name] = append(deltas[side.name], ab.Figures[0].Delta)
						mu.Unlock()
						switch {
						case side.slower == 1 && ab.Winner != stat.Tie:
							falsely.Add(1)
						case side.slower > 1 && ab.Winner == stat.A:
							found.Add(1)
						case side.slower > 1 && ab.Winner == stat.B:
							wrong.Add(1)
						}
					})
				})
			}
		}
	})
	say := t.Logf
	if *aa > 0 {
		say = func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	}
	for _, name := range []string{"itself", "slower"} {
		d := metric.NewDist(deltas[name])
		say("%s: mean difference %+.2f %%, standard deviation %.2f %%", name, 100*d.Mean, 100*d.Stddev)
	}
	say("a command against itself: %d of %d comparisons name a winner (%.1f %%)\na command against one 5 %% slower: %d of %d find it (%.1f %%), %d name the slower one",
		falsely.Load(), n, 100*float64(falsely.Load())/float64(n), found.Load(), n, 100*float64(found.Load())/float64(n), wrong.Load())
	if falsely.Load() > int64(mostFalse) || found.Load() < int64(leastFound) || wrong.Load() > 0 {
		t.Errorf("expected at most %d false winners and at least %d of %d found", mostFalse, leastFound, n)
	}
}
