package load

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"llmdyno/internal/client"
	"llmdyno/internal/load/sample"
	"llmdyno/internal/load/workload"
)

// witness is what a server saw of one request, in Unix nanoseconds: one line of
// the simulated engine's --truth file.
type witness struct {
	ID         string  `json:"id"`
	ReceivedNs int64   `json:"received_ns"`
	FirstNs    int64   `json:"first_ns"`
	LastNs     int64   `json:"last_ns"`
	FinishedNs int64   `json:"finished_ns"`
	EventsNs   []int64 `json:"events_ns"`
}

// truth is what the client's instants differ by from the server's, in µs: TTFT
// and E2E against the server's own, from the request received to the event
// written (so that the way there and back is in it), and each event's arrival
// against its writing, which needs both clocks to be one. E2E ends with the last
// text here, which is what the server stamps.
type truth struct {
	ttft, e2e, event []float64
	unmatched        int // successful requests of which the server knows nothing
}

// joinTruth lays a samples file beside the lines of a truth file, by request id.
func joinTruth(samples, lines io.Reader) (truth, error) {
	var t truth
	var d sample.Decoder
	in := bufio.NewScanner(samples)
	in.Buffer(nil, 64<<20)
	for n := 1; in.Scan(); n++ {
		if err := d.Line(n, in.Bytes()); err != nil {
			return t, err
		}
	}
	if err := cmp.Or(in.Err(), d.End()); err != nil {
		return t, err
	}
	seen := map[string]witness{}
	scan := bufio.NewScanner(lines)
	scan.Buffer(nil, 64<<20)
	for scan.Scan() {
		var w witness
		if err := json.Unmarshal(scan.Bytes(), &w); err != nil {
			return t, fmt.Errorf("truth line %d: %w", len(seen)+1, err)
		}
		seen[w.ID] = w
	}
	zero := d.Header.Started.UnixNano()
	for i := range d.Records {
		r := &d.Records[i]
		w, ok := seen[r.RequestID]
		switch {
		case !r.OK() || r.Warmup:
			continue
		case !ok || len(w.EventsNs) != len(r.Events):
			t.unmatched++
			continue
		}
		micro := func(ns int64) float64 { return math.Abs(float64(ns)) / 1000 }
		t.ttft = append(t.ttft, micro((r.FirstText-r.Send)-(w.FirstNs-w.ReceivedNs)))
		t.e2e = append(t.e2e, micro((r.LastText-r.Send)-(w.LastNs-w.ReceivedNs)))
		for k, e := range r.Events {
			t.event = append(t.event, micro(zero+e.At-w.EventsNs[k]))
		}
	}
	return t, scan.Err()
}

func (t truth) report(b *testing.B) {
	for name, x := range map[string][]float64{"TTFT": t.ttft, "E2E": t.e2e, "event": t.event} {
		s := newSpread(x)
		if s == nil {
			b.Fatalf("no %s to compare; %d requests without a match", name, t.unmatched)
		}
		b.ReportMetric(s.P50, "µs-p50-"+name+"-error")
		b.ReportMetric(s.P99, "µs-p99-"+name+"-error")
	}
	b.ReportMetric(float64(len(t.ttft)), "requests")
	b.ReportMetric(float64(t.unmatched), "unmatched")
}

// samplesFile keeps an outcome as a run does, and opens what it kept.
func samplesFile(dir string, out Outcome) (io.Reader, error) {
	path := filepath.Join(dir, "samples.jsonl.zst")
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	z, err := zstd.NewWriter(f)
	if err != nil {
		return nil, err
	}
	err = sample.Write(json.NewEncoder(z).Encode, sample.Header{Started: out.Started, DurationNs: int64(out.Duration)}, out.Records)
	if err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return zstd.NewReader(bytes.NewReader(text))
}

func TestJoinTruth(t *testing.T) {
	started := time.Unix(1_800_000_000, 500)
	zero := started.UnixNano()
	r := sample.New(0, 0)
	r.Send, r.FirstText, r.LastText, r.RequestID = 10_000, 60_000, 95_000, "a"
	r.Events = []sample.Event{{At: 60_000, Text: 1}, {At: 95_000, Text: 1}}
	lost, failed := r, r
	lost.RequestID = "b"
	failed.Class = sample.ClassReset
	samples, err := samplesFile(t.TempDir(), Outcome{Started: started, Records: []sample.Record{r, lost, failed}})
	if err != nil {
		t.Fatal(err)
	}
	// The server received it 5 µs after the send, wrote at 57 and 93 µs.
	line := fmt.Sprintf(`{"id":"a","received_ns":%d,"first_ns":%d,"last_ns":%d,"events_ns":[%d,%d]}`, zero+15_000, zero+57_000, zero+93_000, zero+57_000, zero+93_000)
	got, err := joinTruth(samples, strings.NewReader(line+"\n"))
	if err != nil || fmt.Sprint(got) != "{[8] [7] [3 2] 1}" {
		t.Errorf("%v, %v, want TTFT 8, E2E 7, events 3 and 2 µs, one unmatched", got, err)
	}
	if _, err := joinTruth(strings.NewReader(""), strings.NewReader("")); err == nil {
		t.Error("an empty samples file is no error")
	}
}

const (
	truthStreams = 64
	truthRounds  = 4
	truthModel   = "Qwen/Qwen3-8B"
)

func truthTrial(c *client.Client, inputLen int) Trial {
	reqs, err := workload.Spec{NumPrompts: truthStreams * truthRounds, InputLen: inputLen, OutputLen: 50, Seed: 1}.Requests()
	if err != nil {
		panic(err)
	}
	return Trial{
		Client: c, Wire: completions, Model: truthModel, Requests: reqs, IgnoreEOS: true, IDPrefix: "truth-",
		Arrivals: workload.Arrivals{Kind: workload.ArrivalClosed}, MaxConcurrency: truthStreams, Timeout: time.Minute,
	}
}

// measure runs the trial against the server at addr, has the server end, and
// compares what both saw.
func measure(b *testing.B, addr string, inputLen int, end func() (truthFile string)) {
	c, err := client.New(client.Options{BaseURL: "http://" + addr, Conns: truthStreams})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	out, err := Run(b.Context(), truthTrial(c, inputLen))
	if err != nil {
		b.Fatal(err)
	}
	for i := range out.Records {
		if r := &out.Records[i]; !r.OK() {
			b.Fatalf("request %d: %s: %s", i, r.Class, r.Error)
		}
	}
	samples, err := samplesFile(b.TempDir(), out)
	if err != nil {
		b.Fatal(err)
	}
	lines, err := os.Open(end())
	if err != nil {
		b.Fatal(err)
	}
	defer lines.Close()
	t, err := joinTruth(samples, lines)
	if err != nil {
		b.Fatal(err)
	}
	t.report(b)
	b.ReportMetric(out.Client.OwnLag.P99*1000, "µs-p99-own-lag")
	b.ReportMetric(100**out.Client.CPUShare, "%-client-cpu")
}

// BenchmarkClientTruth compares the client with a server in another process
// that stamps each event just before it writes it; all streams get their events
// at the same ticks, 20 ms apart, as from an engine's steps.
func BenchmarkClientTruth(b *testing.B) {
	for b.Loop() {
		dir := b.TempDir()
		self, err := os.Executable()
		if err != nil {
			b.Fatal(err)
		}
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), truthServerVar+"="+dir)
		addr, stop := start(b, cmd, filepath.Join(dir, "address"))
		measure(b, addr, 64, func() string {
			stop()
			return filepath.Join(dir, "truth.jsonl")
		})
	}
}

// BenchmarkTruth compares the client with the simulated engine's own account.
func BenchmarkTruth(b *testing.B) {
	binary := filepath.Join(b.TempDir(), "llmdyno")
	build := exec.Command("go", "build", "-o", binary, "../../cmd/llmdyno")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("go build: %v: %s", err, out)
	}
	for b.Loop() {
		dir := b.TempDir()
		address, file := filepath.Join(dir, "address"), filepath.Join(dir, "truth.jsonl")
		cmd := exec.Command(binary, "sim", "--as", "vllm", "--gpu", "h100", "--seed", "1", "--truth", file, "--address-file", address,
			"--", "vllm", "serve", truthModel, "--host", "127.0.0.1", "--port", "0")
		addr, stop := start(b, cmd, address)
		awaitReady(b, "http://"+addr+"/health")
		measure(b, addr, 256, func() string { stop(); return file })
	}
}

// start runs a server until stop, which lets it end in order, and waits for the
// file with its address.
func start(b *testing.B, cmd *exec.Cmd, file string) (address string, stop func()) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	stop = sync.OnceFunc(func() {
		cmd.Process.Signal(syscall.SIGINT)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			cmd.Process.Kill()
			b.Error("the server did not end")
		}
	})
	b.Cleanup(stop)
	for range 600 {
		if text, err := os.ReadFile(file); err == nil {
			return strings.TrimSpace(string(text)), stop
		}
		select {
		case <-ended:
			b.Fatalf("the server ended: %s", stderr.String())
		case <-time.After(50 * time.Millisecond):
		}
	}
	b.Fatalf("no %s after 30 s", file)
	return "", stop
}

func awaitReady(b *testing.B, url string) {
	for range 1200 {
		if resp, err := http.Get(url); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	b.Fatalf("%s: not ready after 60 s", url)
}

// truthServerVar makes the test binary the server of BenchmarkClientTruth, with
// the folder of its files.
const truthServerVar = "LLMDYNO_TEST_TRUTH_SERVER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(truthServerVar); dir != "" {
		if err := serveTruth(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		os.Exit(0)
	}
	if role := os.Getenv(speedRoleVar); role != "" {
		if err := runSpeedRole(role); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// serveTruth streams 50 events to every request and keeps when it did, until it
// is interrupted.
func serveTruth(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT)
	defer stop()
	var mu sync.Mutex
	var kept []witness
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	step := newSteps(ctx, tick.C)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		seen := witness{ID: r.Header.Get("X-Request-Id"), ReceivedNs: time.Now().UnixNano()}
		w.Header().Set("Content-Type", "text/event-stream")
		flush := w.(http.Flusher).Flush
		for i := range 50 {
			step.wait()
			finish := "null"
			if i == 49 {
				finish = `"length"`
			}
			seen.EventsNs = append(seen.EventsNs, time.Now().UnixNano())
			fmt.Fprintf(w, "data: {\"id\":\"cmpl-0123456789abcdef\",\"object\":\"text_completion\",\"created\":1800000000,\"model\":\"m\",\"choices\":[{\"index\":0,\"text\":\" token\",\"logprobs\":null,\"finish_reason\":%s}]}\n\n", finish)
			flush()
		}
		fmt.Fprint(w, "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":64,\"completion_tokens\":50}}\n\ndata: [DONE]\n\n")
		seen.FirstNs, seen.LastNs, seen.FinishedNs = seen.EventsNs[0], seen.EventsNs[49], time.Now().UnixNano()
		mu.Lock()
		defer mu.Unlock()
		kept = append(kept, seen)
	})}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go srv.Serve(ln)
	address := filepath.Join(dir, "address")
	if err := os.WriteFile(address+".tmp", []byte(ln.Addr().String()), 0o600); err != nil {
		return err
	}
	if err := os.Rename(address+".tmp", address); err != nil {
		return err
	}
	<-ctx.Done()
	srv.Close()
	mu.Lock()
	defer mu.Unlock()
	var b bytes.Buffer
	for _, w := range kept {
		if err := json.NewEncoder(&b).Encode(w); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "truth.jsonl"), b.Bytes(), 0o600)
}

// steps lets any number of streams wait for the same tick.
type steps struct {
	mu   sync.Mutex
	next chan struct{}
}

func newSteps(ctx context.Context, ticks <-chan time.Time) *steps {
	s := &steps{next: make(chan struct{})}
	go func() {
		for ctx.Err() == nil {
			<-ticks
			s.mu.Lock()
			close(s.next)
			s.next = make(chan struct{})
			s.mu.Unlock()
		}
	}()
	return s
}

func (s *steps) wait() {
	s.mu.Lock()
	next := s.next
	s.mu.Unlock()
	<-next
}
