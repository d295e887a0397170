package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"llmdyno/internal/artifact"
	"llmdyno/internal/bench/result"
	"llmdyno/internal/bench/search"
	"llmdyno/internal/engine"
	"llmdyno/internal/launch"
	"llmdyno/internal/load/metric"
)

// The schema of journal.jsonl; it stands in the first line.
const (
	JournalSchema        = "llmdyno.journal"
	JournalSchemaVersion = 1
	journalName          = "journal.jsonl"
)

// Kind is what a line of the journal tells.
type Kind string

// The kinds of lines. A step has a line at its begin and one at its end; a step
// without its end was cut off and is done again.
const (
	KindSession       Kind = "session_begun" // first line, and once more for each resume
	KindEngine        Kind = "engine_done"   // version and help captured, or not installed
	KindServerBegun   Kind = "server_begun"  // mark, before the process exists
	KindServerGroup   Kind = "server_group"  // process group, as soon as it exists
	KindServerReady   Kind = "server_ready"
	KindServerEnded   Kind = "server_ended" // nothing of it is left
	KindStartFailed   Kind = "start_failed" // the candidate cannot be measured
	KindAnswers       Kind = "answers_done" // its greedy answers, and the evaluation command
	KindTrialBegun    Kind = "trial_begun"
	KindTrialDone     Kind = "trial_done"
	KindScenarioDone  Kind = "scenario_done" // its row is final
	KindSessionPaused Kind = "session_ended" // with the reason: done, interrupted, out of time
)

// Entry is one line of the journal. Fields that a kind does not use are absent.
type Entry struct {
	Schema        string    `json:"schema,omitempty"`
	SchemaVersion int       `json:"schema_version,omitempty"`
	Time          time.Time `json:"time"`
	Kind          Kind      `json:"event"`

	Engine    *EngineFacts  `json:"engine,omitempty"`
	Candidate string        `json:"candidate,omitempty"`
	Scenario  string        `json:"scenario,omitempty"`
	Load      *search.Load  `json:"load,omitempty"`
	Mark      string        `json:"mark,omitempty"`
	Group     *launch.Group `json:"group,omitempty"`
	StartupS  float64       `json:"startup_s,omitempty"`
	Failure   *Failure      `json:"failure,omitempty"`
	Answers   *Answers      `json:"answers,omitempty"`
	Trial     *Trial        `json:"trial,omitempty"`
	Reason    string        `json:"reason,omitempty"`
	Status    string        `json:"status,omitempty"`
	// Found is how the rate searches of a scenario ended.
	Found []search.Found `json:"found,omitempty"`
}

// EngineFacts are what an installed engine says of itself.
type EngineFacts struct {
	ID      engine.ID `json:"id"`
	Version string    `json:"version,omitempty"`
	Help    string    `json:"help,omitempty"` // file; "" = none
	Options []string  `json:"options,omitempty"`
	// Missing says why no candidate of the engine can be started; "" = it can.
	Missing  string           `json:"missing,omitempty"`
	Warnings []result.Warning `json:"warnings,omitempty"`
}

// Failure is why a candidate cannot be measured.
type Failure struct {
	Phase  string `json:"phase"`  // start, warmup, load
	Status string `json:"status"` // failed, oom, timeout
	Kind   string `json:"kind,omitempty"`
	Reason string `json:"reason"`
	Line   string `json:"line,omitempty"` // of the server's log
	Log    string `json:"log,omitempty"`  // file
}

// Trial is one load point as measured.
type Trial struct {
	Point result.Point `json:"point"` // with all its metrics
	// Died: the server did not survive it.
	Died     bool             `json:"died,omitempty"`
	Warnings []result.Warning `json:"warnings,omitempty"`
	Cache    *result.Cache    `json:"cache,omitempty"`
	Server   *metric.Server   `json:"server,omitempty"`
	// Verdict is that of the sequential tests; only a ladder asks for it. Reason is
	// what the server says of a point that fails.
	Verdict *search.Verdict `json:"verdict,omitempty"`
	Reason  string          `json:"server_reason,omitempty"`
	// Lengths as measured, tokens.
	InputP50  *float64 `json:"input_len_p50,omitempty"`
	InputP95  *float64 `json:"input_len_p95,omitempty"`
	OutputP50 *float64 `json:"output_len_p50,omitempty"`
	OutputP95 *float64 `json:"output_len_p95,omitempty"`
	Seed      uint64   `json:"seed"` // of its prompts
	// Prompts says by whom the lengths of the prompts were counted and what that
	// was found to be worth; "" = they are in words, or come from a file.
	Prompts string `json:"prompts,omitempty"`
	// Workload is the workload in words where that is not what the plan says.
	Workload string `json:"workload,omitempty"`
	Flushed  bool   `json:"cache_flushed,omitempty"`
	// PlannedHitRate is the prefix-hit rate that the workload means, 0 to 1; see
	// workload.SharedRatio. Absent = not known.
	PlannedHitRate *float64 `json:"planned_prefix_hit_rate,omitempty"`
}

// State is what the journal says of a run.
type State struct {
	Sessions   int
	Engines    map[engine.ID]EngineFacts
	Candidates map[string]*CandidateState
	Open       []OpenServer // servers that may still live
	Final      map[[2]string]bool
	Found      map[[2]string][]search.Found // of final rows
	Complete   bool                         // the last session ended with nothing left to do
	Began      time.Time                    // of the first session
	Ended      time.Time                    // of the last line
}

// CandidateState is what is known of one candidate.
type CandidateState struct {
	Starts  int // servers begun
	Ready   int // of these, ready
	Deaths  int // trials that the server did not survive
	Failure *Failure
	Answers *Answers               // nil = not asked
	Trials  map[string][]TrialDone // by scenario, in the order of their end
}

// TrialDone is a finished trial.
type TrialDone struct {
	Load  search.Load
	Trial Trial
}

// OpenServer is a server whose end is not in the journal.
type OpenServer struct {
	Mark   string
	Groups []launch.Group
}

// NewState is the state of a run that has not begun.
func NewState() *State {
	return &State{Engines: map[engine.ID]EngineFacts{}, Candidates: map[string]*CandidateState{}, Final: map[[2]string]bool{}, Found: map[[2]string][]search.Found{}}
}

func (s *State) candidate(id string) *CandidateState {
	c := s.Candidates[id]
	if c == nil {
		c = &CandidateState{Trials: map[string][]TrialDone{}}
		s.Candidates[id] = c
	}
	return c
}

var errJournal = errors.New("not a line of this journal")

// Apply takes one line into the state. A second end of the same trial changes
// nothing.
func (s *State) Apply(e Entry) error {
	c := s.candidate(e.Candidate)
	s.Ended = e.Time
	switch e.Kind {
	case KindSession:
		if e.Schema != JournalSchema || e.SchemaVersion != JournalSchemaVersion {
			return fmt.Errorf("schema %q version %d, expected %q version %d: use the version of llmdyno that wrote it", e.Schema, e.SchemaVersion, JournalSchema, JournalSchemaVersion)
		}
		if s.Sessions++; s.Sessions == 1 {
			s.Began = e.Time
		}
		s.Complete = false
	case KindEngine:
		if e.Engine == nil {
			return fmt.Errorf("%s without engine: %w", e.Kind, errJournal)
		}
		s.Engines[e.Engine.ID] = *e.Engine
	case KindServerBegun:
		c.Starts++
		s.Open = append(s.Open, OpenServer{Mark: e.Mark})
	case KindServerGroup:
		if i := s.open(e.Mark); i >= 0 && e.Group != nil {
			s.Open[i].Groups = append(s.Open[i].Groups, *e.Group)
		}
	case KindServerReady:
		c.Ready++
	case KindServerEnded:
		if i := s.open(e.Mark); i >= 0 {
			s.Open = slices.Delete(s.Open, i, i+1)
		}
	case KindStartFailed:
		if e.Failure == nil {
			return fmt.Errorf("%s without failure: %w", e.Kind, errJournal)
		}
		c.Failure = e.Failure
	case KindAnswers:
		if e.Answers == nil {
			return fmt.Errorf("%s without answers: %w", e.Kind, errJournal)
		}
		c.Answers = e.Answers
	case KindTrialDone:
		if e.Trial == nil || e.Load == nil {
			return fmt.Errorf("%s without trial or load: %w", e.Kind, errJournal)
		}
		s.trialDone(c, e)
	case KindScenarioDone:
		s.Final[[2]string{e.Candidate, e.Scenario}] = true
		s.Found[[2]string{e.Candidate, e.Scenario}] = e.Found
	case KindSessionPaused:
		s.Complete = e.Status == artifact.StateComplete
	case KindTrialBegun:
	default:
		return fmt.Errorf("event %q: %w", e.Kind, errJournal)
	}
	return nil
}

func (s *State) open(mark string) int {
	return slices.IndexFunc(s.Open, func(o OpenServer) bool { return o.Mark == mark })
}

func (s *State) trialDone(c *CandidateState, e Entry) {
	if slices.ContainsFunc(c.Trials[e.Scenario], func(t TrialDone) bool { return t.Load == *e.Load }) {
		return
	}
	c.Trials[e.Scenario] = append(c.Trials[e.Scenario], TrialDone{*e.Load, *e.Trial})
	if e.Trial.Died {
		c.Deaths++
	}
}

// Replay reads the journal of a run folder. A torn last line, left by a process
// that was killed while writing it, does not count.
func Replay(path string) (*State, error) {
	s := NewState()
	_, err := artifact.ReadLines(path, 0, func(_ int, line []byte) error { return s.line(line) })
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // killed before its first line
	}
	return s, err
}

func (s *State) line(line []byte) error {
	var e Entry
	if err := json.Unmarshal(line, &e); err != nil {
		return fmt.Errorf("expected a journal entry: %w", err)
	}
	if s.Sessions == 0 && e.Kind != KindSession {
		return fmt.Errorf("the first line is %q, expected %q: %w", e.Kind, KindSession, errJournal)
	}
	return s.Apply(e)
}
