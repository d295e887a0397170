package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmdyno/internal/artifact"
	"llmdyno/internal/bench/result"
	"llmdyno/internal/launch"
)

// begin runs a plan in a bubble and returns what came of it.
func begin(t *testing.T, ctx context.Context, b *backend, p *Plan) (Result, error) {
	t.Helper()
	folder := newFolder(t, p)
	res, err := Start(ctx, envOf(b), folder, p, []byte("schema_version: 2\n"))
	synctest.Wait()
	if n := b.alive(); n != 0 {
		t.Errorf("%d servers are still up", n)
	}
	return res, err
}

func TestRunFindsTheHighestPassingRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend()
		var lines []string
		env := envOf(b)
		env.Observe = func(s Status) {
			if s.Line != "" {
				lines = append(lines, s.Line)
			}
		}
		p := somePlan(2)
		folder := newFolder(t, p)
		res, err := Start(t.Context(), env, folder, p, []byte("schema_version: 2\n"))
		if err != nil {
			t.Fatal(err)
		}
		if res.State != artifact.StateComplete || len(res.Rows) != 4 || !Passed(res.Rows) {
			t.Fatalf("state %s, %d rows, passed %v", res.State, len(res.Rows), Passed(res.Rows))
		}
		for _, r := range res.Rows {
			checkRow(t, res.Dir, r)
		}
		if want := []string{"tiny-00", "tiny-01"}; !slices.Equal(b.starts, want) {
			t.Errorf("started %v, expected each candidate once: %v", b.starts, want)
		}
		if len(lines) == 0 || !strings.Contains(lines[0], "tiny-00 chat at 16 req/s") {
			t.Errorf("progress: %q", lines)
		}
		if diffs, err := artifact.Verify(res.Dir); err != nil || len(diffs) > 0 {
			t.Errorf("the folder is not as it was sealed: %v, %v", diffs, err)
		}
		for _, f := range []string{"config.yaml", "plan.json", "help/tiny.txt", "results.jsonl", "trials/tiny-00/server.log"} {
			if _, err := os.Stat(filepath.Join(res.Dir, f)); err != nil {
				t.Error(err)
			}
		}
	})
}

func checkRow(t *testing.T, dir string, r result.Row) {
	t.Helper()
	if r.Status != result.StatusOK || r.FrameworkVersion != "1.2.3" || r.Workload.RequestRate == nil || !*r.SLA.Passed {
		t.Fatalf("%s %s: status %s (%s), version %q, rate %v, SLA %+v", r.CandidateID, r.Workload.Scenario, r.Status, r.FailureReason, r.FrameworkVersion, r.Workload.RequestRate, r.SLA)
	}
	passed, failed := 0.0, 1e9
	chosen := 0
	for _, p := range r.Points {
		if p.Passed {
			passed = max(passed, *p.RequestRate)
		} else {
			failed = min(failed, *p.RequestRate)
		}
		if p.Chosen {
			chosen++
		}
		for _, f := range []string{samplesName, clientName, summaryName, serverMetricsName, serverLogName} {
			if _, err := os.Stat(filepath.Join(dir, p.Folder, f)); err != nil {
				t.Error(err)
			}
		}
	}
	if *r.Workload.RequestRate != passed || chosen != 1 || failed <= passed || failed > 1.3*passed {
		t.Errorf("%s %s: rate %v of points that pass up to %v and fail from %v", r.CandidateID, r.Workload.Scenario, *r.Workload.RequestRate, passed, failed)
	}
	if r.Cache == nil || r.Cache.PrefixCacheHitRate == nil || *r.Cache.PrefixCacheHitRate != 0.1 || *r.Cache.KVCacheUtilization != 0.25 {
		t.Errorf("cache as the server tells it: %+v", r.Cache)
	}
	if !strings.Contains(r.Normalization.Notes, "flushed") || r.ValidatedCLIFlags == nil || !slices.Equal(r.ValidatedCLIFlags.Server, []string{"--size"}) {
		t.Errorf("notes %q, flags %+v", r.Normalization.Notes, r.ValidatedCLIFlags)
	}
	if *r.Metrics.SuccessRate != 1 || r.Metrics.TTFT.N == nil || *r.Metrics.TTFT.N != 20 {
		t.Errorf("metrics: %+v", r.Metrics)
	}
}

func TestMissingEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend()
		b.missing = true
		res, err := begin(t, t.Context(), b, somePlan(2))
		if err != nil || len(res.Rows) != 4 || Usable(res.Rows) || res.State != artifact.StateComplete {
			t.Fatalf("%v, %d rows, usable %v, %s", err, len(res.Rows), Usable(res.Rows), res.State)
		}
		for _, r := range res.Rows {
			if r.Status != result.StatusFailed || !strings.Contains(r.FailureReason, `"tiny-serve" is not in PATH; install it`) {
				t.Errorf("%s: %s", r.Status, r.FailureReason)
			}
		}
	})
}

func TestSameCauseStopsAnEngine(t *testing.T) {
	for _, c := range []struct {
		name    string
		failure func(string) *launch.Failure
		want    []string // status of each candidate
		starts  int
	}{
		{"bad flag", func(string) *launch.Failure {
			return &launch.Failure{Status: "failed", Kind: "bad_flag", Reason: "no such flag", Line: "unknown --x (pid 17)"}
		}, []string{"failed", "failed", "skipped", "skipped"}, 2},
		{"memory takes one more", func(string) *launch.Failure {
			return &launch.Failure{Status: "oom", Kind: "oom", Reason: "no memory", Line: "tried to allocate 5.25 GiB"}
		}, []string{"oom", "oom", "oom", "skipped"}, 3},
		{"other causes go on", func(name string) *launch.Failure {
			return &launch.Failure{Status: "failed", Reason: "broken", Line: "cannot do " + strings.Repeat("x", int(name[len(name)-1]-'0'))}
		}, []string{"failed", "failed", "failed", "failed"}, 4},
		{"one that starts is enough", func(name string) *launch.Failure {
			if name == "tiny-01" {
				return nil
			}
			return &launch.Failure{Status: "failed", Kind: "crash", Reason: "broken"}
		}, []string{"failed", "ok", "failed", "failed"}, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBackend()
				b.fails = c.failure
				res, err := begin(t, t.Context(), b, somePlan(4))
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for i := 0; i < len(res.Rows); i += 2 {
					got = append(got, res.Rows[i].Status)
					if res.Rows[i].Status != res.Rows[i+1].Status {
						t.Errorf("scenarios of %s differ: %s, %s", res.Rows[i].CandidateID, res.Rows[i].Status, res.Rows[i+1].Status)
					}
				}
				if !slices.Equal(got, c.want) || len(b.starts) != c.starts {
					t.Errorf("statuses %v after %d starts, expected %v after %d", got, len(b.starts), c.want, c.starts)
				}
				if last := res.Rows[len(res.Rows)-1]; last.Status == "skipped" && !strings.Contains(last.FailureReason, "same cause") {
					t.Errorf("reason: %s", last.FailureReason)
				}
			})
		})
	}
}

// A server that dies under load fails that load point, is started again for the
// lower ones, and is given up when it dies once more.
func TestServerDiesUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend()
		deaths := 0
		b.dies = func(_ string, n int64) bool {
			if n == 10 && deaths < 1 {
				deaths++
				return true
			}
			return false
		}
		res, err := begin(t, t.Context(), b, somePlan(1))
		if err != nil {
			t.Fatal(err)
		}
		first := res.Rows[0]
		if first.Status != result.StatusOK || len(b.starts) != 2 || first.Points[0].Status != result.StatusOOM || !strings.Contains(first.Points[0].FailureReason, "died under load") {
			t.Errorf("%d starts; row %s %s; first point %s: %s", len(b.starts), first.Status, first.FailureReason, first.Points[0].Status, first.Points[0].FailureReason)
		}
		b = newBackend()
		b.dies = func(_ string, n int64) bool { return n == 10 }
		if res, err = begin(t, t.Context(), b, somePlan(1)); err != nil {
			t.Fatal(err)
		}
		if r := res.Rows[0]; r.Status != result.StatusOOM || len(b.starts) != maxDeaths || Passed(res.Rows) {
			t.Errorf("%d starts; row %s: %s", len(b.starts), r.Status, r.FailureReason)
		}
		if r := res.Rows[1]; r.Status != result.StatusFailed || !strings.Contains(r.FailureReason, "died 2 times") {
			t.Errorf("second scenario: %s: %s", r.Status, r.FailureReason)
		}
	})
}

// Interrupts at many moments: everything is stopped, and the resumed run ends
// with the rows of an undisturbed one without measuring a trial twice.
func TestInterruptAndResume(t *testing.T) {
	const moments = 8
	plan := func() *Plan {
		p := somePlan(2)
		p.Scenarios = p.Scenarios[:1]
		return p
	}
	var want []string
	var whole time.Duration
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		res, err := begin(t, t.Context(), newBackend(), plan())
		if err != nil {
			t.Fatal(err)
		}
		want, whole = words(res.Rows), time.Since(began)
	})
	for i := range moments {
		synctest.Test(t, func(t *testing.T) {
			after := whole * time.Duration(i) / moments
			ctx, cancel := context.WithTimeout(t.Context(), after)
			defer cancel()
			b := newBackend()
			res, err := begin(t, ctx, b, plan())
			if !errors.Is(err, ErrInterrupted) || res.State != artifact.StateInterrupted {
				t.Fatalf("after %s: %v, %s", after, err, res.State)
			}
			res, err = Resume(t.Context(), envOf(b), res.Dir, 0, nil)
			synctest.Wait()
			if err != nil || b.alive() != 0 {
				t.Fatalf("after %s: %v, %d servers up", after, err, b.alive())
			}
			if got := words(res.Rows); !slices.Equal(got, want) {
				t.Errorf("after %s: rows\n%s\nexpected\n%s", after, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			once(t, res.Dir)
			again, err := Resume(t.Context(), envOf(b), res.Dir, 0, nil)
			if err != nil || !again.Already || !slices.Equal(words(again.Rows), want) {
				t.Errorf("resuming a complete run: %v, %v", err, again.Already)
			}
		})
	}
}

// words are the rows without what depends on the clock.
func words(rows []result.Row) []string {
	var out []string
	for _, r := range rows {
		line := fmt.Sprintf("%s %s %s", r.CandidateID, r.Workload.Scenario, r.Status)
		for _, p := range r.Points {
			line += fmt.Sprintf(" %v:%v", *p.RequestRate, p.Passed)
		}
		out = append(out, line)
	}
	return out
}

// once demands that the journal holds each trial's end once.
func once(t *testing.T, dir string) {
	t.Helper()
	seen := map[string]bool{}
	_, err := artifact.ReadLines(filepath.Join(dir, journalName), 0, func(_ int, line []byte) error {
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil || e.Kind != KindTrialDone {
			return err
		}
		key := fmt.Sprintf("%s %s %v", e.Candidate, e.Scenario, *e.Load)
		if seen[key] {
			t.Errorf("measured twice: %s", key)
		}
		seen[key] = true
		return nil
	})
	if err != nil || len(seen) == 0 {
		t.Errorf("journal: %d trials, %v", len(seen), err)
	}
}

func TestMaxTimeSkipsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := somePlan(2)
		p.MaxTimeS = 60
		b := newBackend()
		res, err := begin(t, t.Context(), b, p)
		if err != nil || res.State != artifact.StateInterrupted || !strings.Contains(res.Stopped, "--max-time") {
			t.Fatalf("%v, %s, %q", err, res.State, res.Stopped)
		}
		last := res.Rows[len(res.Rows)-1]
		if last.Status != result.StatusSkipped || !strings.Contains(last.FailureReason, "--max-time") {
			t.Errorf("last row %s: %s", last.Status, last.FailureReason)
		}
		if res, err = Resume(t.Context(), envOf(b), res.Dir, time.Hour, nil); err != nil || res.State != artifact.StateComplete {
			t.Errorf("resumed: %v, %s", err, res.State)
		}
	})
}

// A folder that can no longer be written to ends the run with everything
// stopped.
func TestJournalThatCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend()
		p := somePlan(1)
		folder := newFolder(t, p)
		env := envOf(b)
		env.Observe = func(s Status) {
			if s.Phase == "measuring" {
				os.RemoveAll(folder.Dir())
				os.WriteFile(folder.Dir(), nil, 0o644)
			}
		}
		res, err := Start(t.Context(), env, folder, p, nil)
		synctest.Wait()
		if err == nil || res.State != artifact.StateFailed || b.alive() != 0 {
			t.Errorf("%v, %s, %d servers up", err, res.State, b.alive())
		}
	})
}
