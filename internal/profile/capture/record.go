package capture

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"llmdyno/internal/artifact"
	"llmdyno/internal/engine"
	"llmdyno/internal/load/sample"
)

// Schema names the format of capture.json, which docs/profile-capture.md describes.
const (
	Schema        = "llmdyno.capture"
	SchemaVersion = 1
	// FileName of the record, in the folder of the capture and in that of each stage.
	FileName = "capture.json"
)

// Capture is what was asked of a server's profiler and what came of it.
type Capture struct {
	Schema        string    `json:"schema"`
	SchemaVersion int       `json:"schema_version"`
	Role          string    `json:"role,omitempty"` // mapping or formal, of a pair
	Engine        engine.ID `json:"engine"`
	Version       string    `json:"version,omitempty"`
	Model         string    `json:"model"`
	Started       time.Time `json:"started"`
	Workload      Workload  `json:"workload"`
	Warmup        int       `json:"warmup_steps"`
	Steps         int       `json:"steps"`
	ByStage       bool      `json:"by_stage,omitempty"`
	AtLaunch      bool      `json:"at_launch,omitempty"`
	Seed          uint64    `json:"seed"`
	ServerDir     string    `json:"server_dir"` // by the server's own path
	Here          string    `json:"here"`       // the same folder on this machine
	Ranks         int       `json:"ranks,omitempty"`
	RanksBy       string    `json:"ranks_by,omitempty"` // the caller, the server, the traces
	Stages        []*Stage  `json:"stages"`

	dir string
}

// Stage is one session of the profiler.
type Stage struct {
	Stage     string `json:"stage"`  // prefill, decode, all, by-stage: the name of its folder
	Input     int    `json:"input"`  // tokens of a probe's prompt that were wanted
	Output    int    `json:"output"` // and of its answer
	LengthsBy string `json:"lengths_by"`
	Probes    int    `json:"probes"`
	Asked     int    `json:"asked_steps,omitempty"` // of the profiler; 0 = until it is stopped
	ServerDir string `json:"server_dir"`

	Start           time.Time `json:"start,omitzero"`
	Stop            time.Time `json:"stop,omitzero"`
	StopSeconds     float64   `json:"stop_s,omitempty"` // how long the stop took to answer
	StoppedByItself bool      `json:"stopped_by_itself,omitempty"`
	LeftRunning     bool      `json:"left_running,omitempty"` // a profile ran already

	Requests []Probe   `json:"requests,omitempty"`
	Files    []File    `json:"files"`
	Warnings []Warning `json:"warnings,omitempty"`
	// Problem is why the traces are not what was asked for; "" = they are.
	Problem string `json:"problem,omitempty"`
}

// Probe is one request that was profiled, as the server counted it.
type Probe struct {
	Input  int    `json:"input_tokens"` // 0 = not told
	Output int    `json:"output_tokens"`
	Cached int    `json:"cached_tokens"` // -1 = not told
	Error  string `json:"error,omitempty"`
}

// File is one trace.
type File struct {
	Path   string         `json:"path"` // on this machine, relative to the folder of the capture where it lies in it
	Bytes  int64          `json:"bytes"`
	Kind   string         `json:"kind"`
	Rank   int            `json:"rank"`             // global, or of tensor parallelism; -1 = its name does not tell
	Stage  string         `json:"stage,omitempty"`  // as its name tells
	Steps  map[string]int `json:"steps,omitempty"`  // step marks by stage ("" = of none)
	Graphs int            `json:"graphs,omitempty"` // replays of CUDA or HIP graphs

	source string // where it lies
}

// Warning is something that whoever reads the traces must know.
type Warning struct {
	Code    string `json:"code"` // kebab-case, stable
	Message string `json:"message"`
}

func (s *Stage) warn(code, format string, args ...any) {
	s.Warnings = append(s.Warnings, Warning{code, fmt.Sprintf(format, args...)})
}

// trouble notes the first problem; "" = none.
func (s *Stage) trouble(what string) {
	if s.Problem == "" {
		s.Problem = what
	}
}

func (s *Stage) take(records []sample.Record) {
	for i := range records {
		rec := &records[i]
		s.Requests = append(s.Requests, Probe{Input: rec.InputTokens, Output: rec.OutputTokens, Cached: rec.CachedTokens, Error: rec.Error})
	}
}

// save writes the record beside the traces, of all stages in the folder of the
// capture and of one in its own.
func (r *runner) save() {
	write := func(path string, c *Capture) {
		b, err := json.MarshalIndent(c, "", "  ")
		if err == nil {
			err = artifact.WriteWhole(path, append(b, '\n'), r.q.Redactor)
		}
		if err != nil && r.saved == nil {
			r.saved = err
		}
	}
	write(filepath.Join(r.q.Dir, FileName), r.result)
	for _, s := range r.result.Stages {
		if _, err := os.Stat(filepath.Join(r.q.Dir, s.Stage)); err == nil {
			one := *r.result
			one.Stages = []*Stage{s}
			write(filepath.Join(r.q.Dir, s.Stage, FileName), &one)
		}
	}
}

// Folders are the folders with traces that are whole, for the triage.
func (c *Capture) Folders() (out []string) {
	for _, s := range c.Stages {
		for _, f := range s.Files {
			dir := filepath.Join(c.dir, filepath.Dir(f.Path))
			if f.Kind == string(engine.ProfileTrace) && !filepath.IsAbs(f.Path) && !slices.Contains(out, dir) {
				out = append(out, dir)
			}
		}
	}
	return out
}

// Read reads a record.
func Read(data []byte) (*Capture, error) {
	c := new(Capture)
	if err := json.Unmarshal(data, c); err != nil {
		return nil, fmt.Errorf("%s: %w", FileName, err)
	}
	if c.Schema != Schema || c.SchemaVersion != SchemaVersion {
		return nil, fmt.Errorf("%s: schema %q version %d: expected %q version %d", FileName, c.Schema, c.SchemaVersion, Schema, SchemaVersion)
	}
	return c, nil
}

// collect waits for the files of a session and puts them into the folders of
// their stages.
func (r *runner) collect(ctx context.Context, plan stagePlan, s *Stage, w *watcher) error {
	ranks := r.result.Ranks
	want := ranks * max(len(plan.files), 1)
	if plan.byStage && want == 0 {
		want = len(plan.files)
	}
	st, err := w.await(ctx, want, r.q.FileTimeout, func(f string, args ...any) { r.q.Say(s.Stage+": "+f, args...) })
	if err != nil {
		return err
	}
	if ranks == 0 && st.world > 0 {
		r.result.Ranks, r.result.RanksBy = st.world, "the traces"
		want = st.world * max(len(plan.files), 1)
	}
	for _, f := range append(st.files, st.others...) {
		c := w.check(f)
		if c.err != nil && f.file.Kind != engine.ProfileTrace {
			continue // nobody waits for those
		}
		if c.err == nil {
			s.Files = append(s.Files, r.place(plan, s, w, f, c.scan))
		}
	}
	s.trouble(problem(st, want, r.q.FileTimeout, w.dir, s))
	return nil
}

// problem is what is wrong with the files that came.
func problem(st state, want int, quiet time.Duration, dir string, s *Stage) string {
	switch {
	case len(st.files) == 0:
		return fmt.Sprintf("no new trace appeared in %s within %s of the stop (the server was told %s): see its log; if it writes to another place, give that with --server-dir PATH=PATH-HERE", dir, quiet, s.ServerDir)
	case st.pending != "":
		return fmt.Sprintf("%s, and did not change for %s: the server was cut off, or its disk is full", st.pending, quiet)
	case want > 0 && st.whole < want:
		return fmt.Sprintf("%d of %d traces came within %s: %s; ranks on other nodes write there, otherwise see the server's log", st.whole, want, quiet, missing(st.files, want))
	}
	return ""
}

// missing names the ranks without a trace.
func missing(files []found, want int) string {
	have := map[int]bool{}
	for _, f := range files {
		have[rankOf(f.file)] = true
	}
	var out []string
	for i := range want {
		if !have[i] && len(out) < 8 {
			out = append(out, fmt.Sprint(i))
		}
	}
	if len(out) == 0 || have[-1] {
		return "the names of those that came do not tell which are missing"
	}
	return "none of rank " + strings.Join(out, ", ")
}

func rankOf(f engine.ProfileFile) int {
	if f.Rank >= 0 {
		return f.Rank
	}
	return f.TP
}

// place links a trace into the folder of its stage, where the server has not
// written it there. Nothing is moved: the folder is the server's.
func (r *runner) place(plan stagePlan, s *Stage, w *watcher, f found, sc scan) File {
	out := File{Bytes: f.size, Kind: string(f.file.Kind), Rank: rankOf(f.file), Stage: f.file.Stage, Graphs: sc.graphs, Steps: r.steps(sc), source: filepath.Join(w.dir, f.name)}
	name := plan.name
	if plan.byStage && f.file.Stage != "" {
		name = f.file.Stage
	}
	at := filepath.Join(r.q.Dir, name, f.name)
	if abs, err := filepath.Abs(out.source); err == nil && at != out.source {
		if err := link(abs, at); err != nil {
			s.warn("not-linked", "%s lies where the server wrote it, and could not be linked to %s: %v", out.source, at, err)
			out.Path = abs
			return out
		}
	}
	out.Path = filepath.Join(name, f.name)
	return out
}

func link(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if os.Link(from, to) == nil {
		return nil
	}
	return os.Symlink(from, to)
}

// steps counts the step marks of a trace by stage; nil where the engine writes none.
func (r *runner) steps(sc scan) map[string]int {
	if r.e.Trace.Step == nil {
		return nil
	}
	var out map[string]int
	for name, n := range sc.marks {
		if m, ok := r.e.Trace.Step(name); ok {
			if out == nil {
				out = map[string]int{}
			}
			out[string(m.Kind)] += n
		}
	}
	return out
}

// judgeProbes holds the probes against what was wanted, and refuses a prefill
// that the prefix cache has shortened.
func (r *runner) judgeProbes(ctx context.Context, s *Stage, records []sample.Record, before float64) {
	failed, inexact, cached, told, input := 0, 0, 0, 0, 0
	for i := range records {
		rec := &records[i]
		if !rec.OK() {
			failed++
			continue
		}
		if rec.InputTokens > 0 && rec.InputTokens != rec.WantInput {
			inexact++
		}
		input += max(rec.InputTokens, rec.WantInput)
		if rec.CachedTokens >= 0 {
			told, cached = told+1, cached+rec.CachedTokens
		}
	}
	switch {
	case failed > 0:
		s.trouble(fmt.Sprintf("%d of %d probes failed; the first with: %s", failed, len(records), firstError(records)))
	case inexact > 0:
		s.warn("lengths-differ", "%d of %d prompts are not of the length that was wanted: the server counts %d tokens in the first", inexact, len(records), records[0].InputTokens)
	}
	if told == 0 {
		after := r.counters(ctx)
		if before < 0 || after < before {
			s.warn("cache-not-told", "the server does not tell what it took from its prefix cache; the prompts are unlike any sent before")
			return
		}
		cached = int(after - before)
	}
	// A start token that every prompt has, or a block of a few, is no hit.
	if most := max(4*len(records), input/100); cached > most {
		s.trouble(fmt.Sprintf("contaminated: %d of %d prompt tokens came from the prefix cache, so that the profile shows less than the whole prompts; take another --seed, or flush the cache", cached, input))
	}
}

func firstError(records []sample.Record) string {
	for i := range records {
		if !records[i].OK() {
			return records[i].Error
		}
	}
	return ""
}

// judgeFiles holds the steps that the traces mark against those wanted, and the
// graphs against what the server's role needs.
func (r *runner) judgeFiles(plan stagePlan, s *Stage) {
	graphs := 0
	for _, f := range s.Files {
		if f.Kind != string(engine.ProfileTrace) {
			continue
		}
		graphs += f.Graphs
		for _, l := range plan.loads {
			if l.stage == stageAll || f.Stage != "" && f.Stage != l.stage || f.Steps == nil {
				continue
			}
			if have := f.Steps[l.stage]; have < l.steps {
				s.warn("fewer-steps", "%s marks %d steps of %s, %d were wanted", f.Path, have, l.stage, l.steps)
			}
			if other := others(f.Steps, l.stage); other > 0 && f.Stage != "" {
				s.warn("stages-mixed", "%s is named for %s and marks %d steps of other stages: other traffic ran meanwhile", f.Path, f.Stage, other)
			}
		}
	}
	decodes := slices.ContainsFunc(plan.loads, func(l probeLoad) bool { return l.stage != stagePrefill })
	switch {
	case r.q.Server.Role == "mapping" && graphs > 0:
		s.warn("mapping-with-graphs", "the mapping server replays graphs (%d times), so that its kernels do not tell who launched them: launch it with %s", graphs, strings.Join(r.p.Graphs, " "))
	case r.q.Server.Role == "formal" && graphs == 0 && decodes && len(s.Files) > 0:
		s.warn("formal-without-graphs", "the formal server replays no graph: it runs other than a server in use")
	}
}

func others(steps map[string]int, stage string) int {
	n := 0
	for kind, count := range steps {
		if kind != stage && kind != "" {
			n = int(math.Min(float64(n+count), math.MaxInt32))
		}
	}
	return n
}
