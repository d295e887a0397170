package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// maxProfileSteps bounds the steps of one trace.
const maxProfileSteps = 4096

var (
	errProfiling    = errors.New("profiling is already in progress")
	errNotProfiling = errors.New("profiling is not in progress")
)

// profile is what the profiler records while it runs: the steps, from which the
// events are made when the files are written.
type profile struct {
	dir, id, path string // path: of a launch that named it
	most          int    // steps after which it stops by itself; 0 = none
	byStage       bool
	stage         string // of the steps so far, where they are kept by stage
	steps         []profiledStep
	began         time.Time
	over          bool // it stopped by itself
	counts        map[string]int
}

// profiledStep is one forward step.
type profiledStep struct {
	from, to                        time.Time
	prefills, promptTokens, decodes int
	graph                           bool
}

// kind is the stage of a step.
func (s profiledStep) kind() string {
	switch {
	case s.prefills > 0 && s.decodes > 0:
		return "mixed"
	case s.prefills > 0:
		return "prefill"
	}
	return "decode"
}

// profileAsk is the body of a start request.
type profileAsk struct {
	OutputDir string          `json:"output_dir"`
	NumSteps  json.RawMessage `json:"num_steps"`
	ProfileID string          `json:"profile_id"`
	ByStage   bool            `json:"profile_by_stage"`
}

// startProfile begins a trace as a start request asks.
func (e *Engine) startProfile(body []byte) error {
	shape := e.surface.profile
	var o profileAsk
	if len(body) > 0 && (shape == nil || shape.Asks) {
		if err := json.Unmarshal(body, &o); err != nil {
			return fmt.Errorf("start_profile: %w", err)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.profile != nil {
		return errProfiling
	}
	p := &profile{dir: o.OutputDir, id: o.ProfileID, byStage: o.ByStage, began: time.Now(), counts: map[string]int{}}
	if p.dir == "" {
		p.dir = e.traceDir()
	}
	if n, err := strconv.Atoi(strings.Trim(string(o.NumSteps), `"`)); err == nil && n > 0 {
		p.most = n
		if shape != nil && !p.byStage {
			p.most = max(n-shape.StepsMissing, 0)
		}
	} else if n := e.inv.int("profile_steps", 0); n > 0 {
		p.most = n
	}
	e.profile = p
	return nil
}

// traceDir is where traces go that no request has a folder for.
func (e *Engine) traceDir() string {
	if dir := e.inv.text("profile_dir"); dir != "" {
		return dir
	}
	return filepath.Join(e.o.Dir, "traces")
}

// profileStep records one step and ends what is complete. It needs e.mu.
func (e *Engine) profileStep(p *plan, from, to time.Time) {
	s := profiledStep{from: from, to: to, prefills: len(p.prefills), decodes: len(p.decodes)}
	for _, c := range p.prefills {
		s.promptTokens += c.tokens
	}
	s.graph = e.d.captured(step{prefillTokens: s.promptTokens, decodes: s.decodes}) && e.d.graphMaxBS > 0
	e.profileAtLaunch(to)
	if q := e.profile; q != nil && !q.over {
		e.record(q, s)
	}
}

// record adds a step to a running profile. By stage, a step of the other stage
// closes the trace of the one before, and each stage has its own count.
func (e *Engine) record(q *profile, s profiledStep) {
	if len(q.steps) >= maxProfileSteps {
		return
	}
	if q.byStage {
		kind := s.kind()
		if kind == "mixed" {
			kind = "prefill"
		}
		if q.counts[kind] >= q.most {
			e.endStage(q)
			return
		}
		if q.stage != kind {
			e.endStage(q)
		}
		q.stage = kind
		q.counts[kind]++
		q.steps = append(q.steps, s)
		if q.counts[kind] >= q.most {
			e.endStage(q)
		}
		if q.counts["decode"] >= q.most {
			e.profile = nil
		}
		return
	}
	if q.most > 0 && len(q.steps) >= q.most {
		e.endProfile(q)
		return
	}
	q.steps = append(q.steps, s)
	if q.most > 0 && len(q.steps) >= q.most {
		e.endProfile(q)
	}
}

// endStage writes what a profile by stage has of one stage.
func (e *Engine) endStage(q *profile) {
	if q.stage == "" || len(q.steps) == 0 {
		return
	}
	done := *q
	e.write(&done)
	q.steps, q.stage = nil, ""
}

// endProfile is the end that a profile comes to by itself.
func (e *Engine) endProfile(q *profile) {
	q.over = true
	if e.surface.profile == nil || !e.surface.profile.Stays {
		e.profile = nil
	}
	e.write(q)
}

// profileAtLaunch begins and ends the profile that the environment of the launch
// asked for, by the count of steps since the start.
func (e *Engine) profileAtLaunch(now time.Time) {
	window, path := e.inv.text("profile_window"), e.inv.text("profile_path")
	if window == "" || path == "" {
		return
	}
	first, last, ok := strings.Cut(window, "-")
	if !ok {
		last = first
	}
	from, errFrom := strconv.Atoi(first)
	to, errTo := strconv.Atoi(last)
	if errFrom != nil || errTo != nil {
		return
	}
	e.iteration++
	switch {
	case e.iteration == from && e.profile == nil:
		e.profile = &profile{path: path, dir: filepath.Dir(path), began: now, counts: map[string]int{}}
	case e.iteration >= to && e.profile != nil && e.profile.path == path:
		e.endProfile(e.profile)
	}
}

// stopProfile ends the profile and returns when its files are there.
func (e *Engine) stopProfile() error {
	e.mu.Lock()
	p := e.profile
	e.profile = nil
	if p != nil && !p.over {
		if p.byStage {
			e.endStage(p)
		} else {
			e.write(p)
		}
	}
	writing := e.writing
	e.writing = nil
	e.mu.Unlock()
	for _, done := range writing {
		<-done
	}
	if p == nil {
		return errNotProfiling
	}
	return nil
}

// leftRunning is the profile of the fault: begun before anybody asked.
func (e *Engine) leftRunning() {
	if e.o.Faults.profileRunning && e.surface.profile != nil {
		e.profile = &profile{dir: e.traceDir(), id: "left-running", began: time.Now(), counts: map[string]int{}}
	}
}

// write leaves a file a rank, behind the back of whoever steps on. It needs e.mu.
func (e *Engine) write(p *profile) {
	if e.surface.profile == nil {
		return
	}
	whole, done := *p, make(chan struct{})
	e.writing = append(e.writing, done)
	go func() {
		defer close(done)
		if err := e.writeTraces(&whole); err != nil && e.o.Stderr != nil {
			e.logMu.Lock()
			defer e.logMu.Unlock()
			fmt.Fprintf(e.o.Stderr, "trace: %v\n", err)
		}
	}()
}

// writeTraces writes the files of all ranks, one after the other.
func (e *Engine) writeTraces(p *profile) error {
	shape, world := e.surface.profile, e.d.tp*e.d.pp*e.d.dp
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return err
	}
	now := time.Now()
	n := profileName{
		ID: p.id, TP: e.d.tp, PP: e.d.pp, DP: e.d.dp, World: world, UnixNano: now.UnixNano(),
		UnixF: float64(now.UnixMicro()) / 1e6, Date: now.UTC().Format("20060102-150405"),
		Version: e.surface.Version, Model: e.inv.text("model"), Served: e.servedName(), GPU: e.d.gpu.Title,
	}
	if n.ID == "" {
		n.ID = shape.fill(shape.ID, n)
	}
	if p.stage != "" {
		n.Stage = shape.Stages[p.stage]
	}
	ranks := world - e.o.Faults.profileMissing
	for r := range ranks {
		n.Rank, n.TPRank, n.PPRank, n.DPRank = r, r%e.d.tp, r/e.d.tp%e.d.pp, r/(e.d.tp*e.d.pp)
		n.PID = e.o.PID + 100 + r
		if err := e.writeTrace(p, n, e.tracePath(p, n), false); err != nil {
			return err
		}
	}
	if shape.Frontend != "" && ranks > 0 {
		n.Rank, n.PID = 0, e.o.PID
		return e.writeTrace(p, n, filepath.Join(p.dir, shape.fileName(shape.Frontend, n)), true)
	}
	return nil
}

func (e *Engine) tracePath(p *profile, n profileName) string {
	shape := e.surface.profile
	if p.path == "" {
		return filepath.Join(p.dir, shape.fileName(shape.File, n))
	}
	base := filepath.Base(p.path)
	n.Ext = filepath.Ext(base)
	n.Base = strings.TrimSuffix(base, n.Ext)
	return filepath.Join(p.dir, shape.fileName(shape.FileAt, n))
}
