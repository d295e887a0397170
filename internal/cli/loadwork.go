package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"llmdyno/internal/load"
	"llmdyno/internal/load/metric"
	"llmdyno/internal/load/sample"
	"llmdyno/internal/load/shard"
	"llmdyno/internal/load/witness"
)

// A load beyond one process: this program leads N processes of itself. Each makes
// the whole workload, takes its part, says {"ready":true} on its standard output,
// and begins at the instant that the leader writes to its standard input. From
// then on it says twice a second how far it is. Its samples come back through its
// folder. A worker whose standard input ends knows that its leader is gone.

const (
	// startLead is from the moment when all workers are ready to the start: time
	// to tell them all.
	startLead = 200 * time.Millisecond
	// stopGrace is how long an interrupted worker may take to write its samples.
	stopGrace = 20 * time.Second
)

// workerLine is one line from a worker.
type workerLine struct {
	Ready    bool           `json:"ready,omitempty"`
	Progress *load.Progress `json:"progress,omitempty"`
	Ended    []endedRequest `json:"ended,omitempty"` // since the last line
}

// leash is the worker's side.
type leash struct {
	in  io.Reader
	mu  sync.Mutex
	out *json.Encoder
	new []endedRequest
	at  chan time.Time
}

func newLeash(in io.Reader, out io.Writer) *leash {
	return &leash{in: in, out: json.NewEncoder(out), at: make(chan time.Time, 1)}
}

// hold ends the context when the leader is gone, and takes its word for the start.
func (l *leash) hold(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		for lines := bufio.NewScanner(l.in); lines.Scan(); {
			if ns, err := strconv.ParseInt(strings.TrimSpace(lines.Text()), 10, 64); err == nil {
				select {
				case l.at <- time.Unix(0, ns):
				default:
				}
			}
		}
	}()
	return ctx, cancel
}

// start says that all is prepared and waits for the instant.
func (l *leash) start(ctx context.Context) (time.Time, error) {
	if err := l.say(workerLine{Ready: true}); err != nil {
		return time.Time{}, err
	}
	select {
	case at := <-l.at:
		return at, nil
	case <-ctx.Done():
		return time.Time{}, ctx.Err()
	}
}

func (l *leash) say(line workerLine) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	line.Ended, l.new = l.new, nil
	return l.out.Encode(line)
}

// progress tells the leader; one that cannot be told is noticed by hold.
func (l *leash) progress(p load.Progress) { _ = l.say(workerLine{Progress: &p}) }

func (l *leash) ended(r *sample.Record) {
	e := endedOf(r)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.new = append(l.new, e)
}

// crew is the leader's side.
type crew struct {
	stats    *loadStats
	show     func(loadView)
	mu       sync.Mutex
	progress []load.Progress
	ready    chan int
	prepared func() // called when all workers are ready
	inputs   []io.WriteCloser
}

// leadWorkers sends the load from several processes and merges what they left.
func (a *app) leadWorkers(ctx context.Context, r *loadRequest, j *loadJob) (measured, error) {
	self, err := os.Executable()
	if err != nil {
		return measured{}, fail(ExitFailed, "", fmt.Errorf("finding this program for its workers: %w", err))
	}
	dir, err := os.MkdirTemp("", "llmdyno-load-")
	if err != nil {
		return measured{}, fail(ExitFailed, "make room, or set TMPDIR", fmt.Errorf("a folder for the workers: %w", err))
	}
	defer os.RemoveAll(dir)
	show, end := a.loadView()
	c := &crew{stats: newLoadStats(j.plan.Requests), show: show, progress: make([]load.Progress, r.workers), ready: make(chan int, r.workers)}
	var watch *witness.Watch
	c.prepared = func() { watch = a.watchServer(ctx, r, j) } // the warm-up is over
	err = c.run(ctx, a, self, dir, r)
	end()
	m, mergeErr := a.collect(dir, r, j)
	if mergeErr != nil {
		if watch != nil {
			watch.Stop(0)
		}
		return measured{}, errors.Join(err, mergeErr)
	}
	m.hear(watch, j.plan)
	if err != nil && ctx.Err() == nil {
		return measured{}, err
	}
	return m, err
}

func partDir(dir string, i int) string { return filepath.Join(dir, strconv.Itoa(i)) }

// run starts the workers, gives them one start, and waits for all of them.
func (c *crew) run(ctx context.Context, a *app, self, dir string, r *loadRequest) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, r.workers)
	for i := 1; i <= r.workers; i++ {
		part := shard.Part{I: i, N: r.workers}
		cmd := exec.CommandContext(ctx, self, append(append([]string(nil), r.spawn...), "--worker", "--quiet", "--shard="+part.String(), "--out="+partDir(dir, i))...)
		cmd.Env, cmd.WaitDelay = a.environ, stopGrace
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		// A group of its own: an interrupt of the terminal comes through us, once.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := c.begin(cmd, i, ended); err != nil {
			cancel()
			for range i - 1 {
				<-ended
			}
			return fail(ExitFailed, "", fmt.Errorf("starting worker %s: %w", part, err))
		}
	}
	return c.wait(ended, cancel, r.workers)
}

// begin starts one worker and listens to it.
func (c *crew) begin(cmd *exec.Cmd, i int, ended chan<- error) error {
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var said tail
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return err
	}
	c.inputs = append(c.inputs, in)
	go func() {
		c.listen(out, i)
		err := cmd.Wait()
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == ExitInterrupted {
			err = nil // it kept its samples; who interrupted it is known to the leader
		}
		if err != nil {
			err = fmt.Errorf("worker %d: %s", i, said.last(err))
		}
		ended <- err
	}()
	return nil
}

// wait gives the start when every worker is ready, and returns when all have
// ended. A worker that fails ends the others.
func (c *crew) wait(ended <-chan error, cancel func(), n int) error {
	var first error
	waiting := n
	for left := n; left > 0; {
		select {
		case <-c.ready:
			if waiting--; waiting == 0 {
				c.prepared()
				at := time.Now().Add(startLead).UnixNano()
				for _, in := range c.inputs {
					fmt.Fprintln(in, at) // one that is gone is noticed by its end
				}
			}
		case err := <-ended:
			if left--; err != nil && first == nil {
				first = fail(ExitFailed, "", err)
				cancel()
			}
		}
	}
	return first
}

// listen takes in what a worker says.
func (c *crew) listen(out io.Reader, i int) {
	for dec := json.NewDecoder(out); ; {
		var line workerLine
		if dec.Decode(&line) != nil {
			_, _ = io.Copy(io.Discard, out)
			return
		}
		if line.Ready {
			c.ready <- i
		}
		for _, e := range line.Ended {
			c.stats.add(e)
		}
		if line.Progress != nil {
			c.shown(i, *line.Progress)
		}
	}
}

func (c *crew) shown(i int, p load.Progress) {
	c.mu.Lock()
	c.progress[i-1] = p
	var all load.Progress
	for _, p := range c.progress {
		all.Planned, all.Sent, all.Done, all.Failed = all.Planned+p.Planned, all.Sent+p.Sent, all.Done+p.Done, all.Failed+p.Failed
		all.InFlight, all.OutputTokens, all.Elapsed = all.InFlight+p.InFlight, all.OutputTokens+p.OutputTokens, max(all.Elapsed, p.Elapsed)
	}
	c.mu.Unlock()
	if c.show != nil {
		c.show(c.stats.view(all))
	}
}

// collect merges the folders of the workers.
func (a *app) collect(dir string, r *loadRequest, j *loadJob) (measured, error) {
	dirs := make([]string, r.workers)
	audits := make([]load.Audit, r.workers)
	for i := range dirs {
		dirs[i] = partDir(dir, i+1)
		if _, err := os.Stat(filepath.Join(dirs[i], loadPlanName)); err != nil {
			return measured{}, fmt.Errorf("worker %d left no samples", i+1)
		}
		if err := readJSON(filepath.Join(dirs[i], loadClientName), &audits[i]); err != nil {
			return measured{}, err
		}
	}
	p, m, err := a.mergeFolders(dirs)
	if err != nil {
		return m, err
	}
	if p.Fingerprint != j.plan.Fingerprint {
		return m, errors.New("the workers made another load than their leader: were files changed meanwhile?")
	}
	if j.folder != nil {
		err = keepAudits(j.folder, audits)
	}
	m.warnings = append(m.warnings, sharedCap(r)...)
	return m, err
}

// sharedCap says that a cap over several processes is less than one cap.
func sharedCap(r *loadRequest) []metric.Warning {
	if r.concurrency == 0 || r.rate == 0 {
		return nil
	}
	return []metric.Warning{{Code: "cap-shared-out", Message: fmt.Sprintf("the cap of %d requests in flight was shared out over %d processes: one may have waited while another had room", r.concurrency, r.workers)}}
}

// tail keeps the end of what a process said on its standard error.
type tail struct{ text []byte }

const maxTail = 4 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.text = append(t.text, b...)
	if len(t.text) > maxTail {
		t.text = t.text[len(t.text)-maxTail:]
	}
	return len(b), nil
}

// last is the last line, without the program's name; without one, the error.
func (t *tail) last(err error) string {
	lines := strings.Split(strings.TrimSpace(string(t.text)), "\n")
	if text := strings.TrimPrefix(lines[len(lines)-1], "llmdyno: "); text != "" {
		return text
	}
	return err.Error()
}
