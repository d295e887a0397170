// Command killresume holds the promise of `bench run --resume`: it kills a
// simulated run with SIGKILL at random moments, resumes it with nothing but the
// folder, and demands the rows of an undisturbed run, none doubled, no finished
// trial measured again, exit code 0 and no process left.
//
//	go run ./scripts/killresume [-n 50] [-seed N] [-keep]
//
// The seed is printed; the same seed kills at the same moments.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// config is a run of some seconds: three candidates of two engines, two
// scenarios.
const config = `schema_version: 2
model: {name: Qwen/Qwen3-0.6B}
hardware: {gpu_count: 1}
dataset: {num_prompts: 4}
scenarios:
  - {name: chat, input_len: 16, output_len: 4}
  - {name: code, input_len: 32, output_len: 2}
benchmark:
  max_concurrency: [2]
  arrivals: {kind: closed}
  request_timeout_s: 20
  sla: {max_p50_e2e_ms: 60000, min_success_rate: 0.5}
search: {max_candidates_per_framework: 2}
frameworks:
  vllm:
    enabled: true
    base_server_flags: {tensor_parallel_size: 1, max_model_len: 4096}
    search_space: {max_num_seqs: [64]}
  sglang:
    enabled: true
    base_server_flags: {tp_size: 1}
`

// bound is the longest that one command may take.
const bound = 2 * time.Minute

type tester struct {
	bin, dir string
	rnd      *rand.Rand
	whole    time.Duration // of an undisturbed run
	want     []string      // its rows
}

func main() {
	n := flag.Int("n", 50, "number of kills")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "of the moments")
	keep := flag.Bool("keep", false, "keep the run folders")
	flag.Parse()
	if err := run(*n, *seed, *keep); err != nil {
		fmt.Fprintf(os.Stderr, "killresume: %v\n", err)
		os.Exit(1)
	}
}

func run(n int, seed uint64, keep bool) error {
	dir, err := os.MkdirTemp("", "killresume-")
	if err != nil {
		return err
	}
	if !keep {
		defer os.RemoveAll(dir)
	}
	fmt.Printf("seed %d, folder %s\n", seed, dir)
	t := &tester{bin: filepath.Join(dir, "llmdyno"), dir: dir, rnd: rand.New(rand.NewPCG(seed, 0))}
	build := exec.Command("go", "build", "-o", t.bin, "./cmd/llmdyno")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building llmdyno: %w\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "bench.yaml"), []byte(config), 0o644); err != nil {
		return err
	}
	if err := t.reference(); err != nil {
		return fmt.Errorf("undisturbed run: %w", err)
	}
	resumed := 0
	for i := range n {
		begun, err := t.round(i)
		if err != nil {
			return fmt.Errorf("round %d of seed %d: %w", i, seed, err)
		}
		if begun {
			resumed++
		}
	}
	fmt.Printf("%d kills: %d runs resumed to the same %d rows, %d killed before there was a run\n", n, resumed, len(t.want), n-resumed)
	return nil
}

func (t *tester) start(dir string) *exec.Cmd {
	return exec.Command(t.bin, "bench", "run", filepath.Join(t.dir, "bench.yaml"), "--simulate=h100", "--quiet", "--out", dir)
}

func (t *tester) reference() error {
	dir := filepath.Join(t.dir, "reference")
	began := time.Now()
	if err := finish(t.start(dir)); err != nil {
		return err
	}
	t.whole = time.Since(began)
	var err error
	if t.want, err = rows(dir); err != nil {
		return err
	}
	fmt.Printf("undisturbed: %d rows in %s\n", len(t.want), t.whole.Round(time.Millisecond))
	return t.noneLeft()
}

// round kills a run once, in a third of the rounds its resumed run as well, and
// resumes it to the end. begun is false when the kill came before there was a
// run folder to resume.
func (t *tester) round(i int) (begun bool, err error) {
	dir := filepath.Join(t.dir, fmt.Sprintf("run-%d", i))
	after := time.Duration(t.rnd.Float64() * 1.05 * float64(t.whole))
	again := time.Duration(t.rnd.Float64() * float64(t.whole))
	twice := t.rnd.IntN(3) == 0
	if err := kill(t.start(dir), after); err != nil {
		return false, err
	}
	if _, err := os.Stat(filepath.Join(dir, "manifest.json")); errors.Is(err, os.ErrNotExist) {
		return false, t.noneLeft()
	}
	resume := func() *exec.Cmd { return exec.Command(t.bin, "bench", "run", "--resume", dir, "--quiet") }
	if twice {
		if err := kill(resume(), again); err != nil {
			return true, err
		}
	}
	if err := finish(resume()); err != nil {
		return true, fmt.Errorf("killed after %s: resume: %w", after, err)
	}
	if err := t.check(dir); err != nil {
		return true, fmt.Errorf("killed after %s (twice: %v): %w", after, twice, err)
	}
	return true, os.RemoveAll(dir)
}

// finish runs a command to its end and demands exit code 0.
func finish(c *exec.Cmd) error {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out.String())
		}
		return nil
	case <-ctx.Done():
		c.Process.Kill()
		return fmt.Errorf("no end within %s", bound)
	}
}

// kill lets a command run for a time and kills it, unless it has ended.
func kill(c *exec.Cmd, after time.Duration) error {
	if err := c.Start(); err != nil {
		return err
	}
	time.Sleep(after)
	c.Process.Signal(syscall.SIGKILL)
	c.Wait()
	return nil
}

func (t *tester) check(dir string) error {
	got, err := rows(dir)
	if err != nil {
		return err
	}
	if !slices.Equal(got, t.want) {
		return fmt.Errorf("rows\n  %s\nexpected\n  %s", strings.Join(got, "\n  "), strings.Join(t.want, "\n  "))
	}
	if err := onceEach(dir); err != nil {
		return err
	}
	return t.noneLeft()
}

// rows are candidate, scenario and status of each row, in order.
func rows(dir string) ([]string, error) {
	var out []string
	err := lines(filepath.Join(dir, "results.jsonl"), func(line []byte) error {
		var r struct {
			CandidateID string `json:"candidate_id"`
			Status      string `json:"status"`
			Workload    struct{ Scenario string }
		}
		err := json.Unmarshal(line, &r)
		out = append(out, r.CandidateID+" "+r.Workload.Scenario+" "+r.Status)
		return err
	})
	return out, err
}

// onceEach demands that no trial ended twice in the journal.
func onceEach(dir string) error {
	seen := map[string]bool{}
	return lines(filepath.Join(dir, "journal.jsonl"), func(line []byte) error {
		var e struct {
			Event, Candidate, Scenario string
			Load                       json.RawMessage
		}
		if err := json.Unmarshal(line, &e); err != nil || e.Event != "trial_done" {
			return err
		}
		key := e.Candidate + " " + e.Scenario + " " + string(e.Load)
		if seen[key] {
			return fmt.Errorf("measured twice: %s", key)
		}
		seen[key] = true
		return nil
	})
}

func lines(path string, fn func([]byte) error) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for line := range bytes.Lines(data) {
		if err := fn(line); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// noneLeft demands that no process of this test lives; the kernel may need a
// moment to end what it killed.
func (t *tester) noneLeft() error {
	var left []string
	for range 40 {
		if left = t.alive(); len(left) == 0 {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("still alive: %s", strings.Join(left, "; "))
}

func (t *tester) alive() []string {
	var out []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		cmd, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		if bytes.Contains(cmd, []byte(t.bin)) {
			out = append(out, filepath.Base(dir)+" "+string(bytes.ReplaceAll(cmd, []byte{0}, []byte(" "))))
		}
	}
	return out
}
