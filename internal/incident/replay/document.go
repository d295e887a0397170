package replay

import (
	"cmp"
	"slices"

	"llmdyno/internal/incident/dump"
)

// The schema of a replay's document.
const (
	Schema        = "llmdyno.replay"
	SchemaVersion = 1
)

// Document is a replay as a whole: what was sent, what became of it, the verdict.
type Document struct {
	Schema        string     `json:"schema"`
	SchemaVersion int        `json:"schema_version"`
	State         string     `json:"state"` // complete, interrupted, failed, or planned for a dry run
	Error         string     `json:"error,omitempty"`
	Sources       []string   `json:"sources"`
	Plan          *PlanView  `json:"plan,omitempty"`
	Target        TargetView `json:"target"`
	Runs          []*Run     `json:"runs"`
	Verdict       Word       `json:"verdict,omitempty"`
	Asserted      []Asserted `json:"assertions,omitempty"`
	// Answer is what a bisection is told, where assertions or --bisect ask for one.
	Answer   Answer     `json:"answer,omitempty"`
	Minimize *Minimized `json:"minimized,omitempty"`
}

// The states of a document beside those of artifacts.
const StatePlanned = "planned"

// NewDocument begins a document.
func NewDocument(sources []string) *Document {
	return &Document{Schema: Schema, SchemaVersion: SchemaVersion, Sources: sources, Runs: []*Run{}}
}

// TargetView is the server that requests went to.
type TargetView struct {
	URL     string   `json:"url,omitempty"`
	Engine  string   `json:"engine,omitempty"` // "" = not known
	Version string   `json:"version,omitempty"`
	Model   string   `json:"model,omitempty"`
	Command []string `json:"command,omitempty"` // that starts it, redacted
}

// PlanView is what will be sent.
type PlanView struct {
	Requests    int         `json:"requests"`
	Speed       float64     `json:"speed"`
	Concurrency int         `json:"concurrency,omitempty"` // cap; absent = none
	RecordedS   float64     `json:"recorded_span_s"`       // first to last request
	SpanS       float64     `json:"span_s"`                // the same at this speed
	Streaming   int         `json:"streaming"`
	Greedy      int         `json:"greedy"`
	Bytes       int         `json:"body_bytes"`
	MaxTokens   int         `json:"max_tokens"` // asked for, all together
	Paths       []PathCount `json:"paths"`
	// Dropped says which fields are not sent and why, with the requests that had
	// them; Notes what else is not as recorded.
	Dropped []DropCount `json:"dropped"`
	Notes   []NoteCount `json:"notes,omitempty"`
	Skipped []Skipped   `json:"skipped"`
	Items   []Item      `json:"requests_planned,omitempty"`
}

// PathCount counts the requests to an endpoint.
type PathCount struct {
	Path     string `json:"path"`
	Requests int    `json:"requests"`
}

// DropCount is a field that is not sent again.
type DropCount struct {
	Field    string `json:"field"`
	Reason   string `json:"reason"`
	Requests int    `json:"requests"`
}

// NoteCount is what else is not as recorded.
type NoteCount struct {
	Note     string `json:"note"`
	Requests int    `json:"requests"`
}

// View is a plan for people and programs; items adds each request.
func (p *Plan) View(items bool) *PlanView {
	v := &PlanView{Requests: len(p.Items), Speed: p.Options.speed(), Concurrency: p.Options.Concurrency, SpanS: p.Span().Seconds(),
		Skipped: p.Skipped, Dropped: []DropCount{}}
	if v.Skipped == nil {
		v.Skipped = []Skipped{}
	}
	paths, notes, drops := map[string]int{}, map[string]int{}, map[dump.Dropped]int{}
	for i := range p.Items {
		x := &p.Items[i]
		v.RecordedS = max(v.RecordedS, (x.At - p.Items[0].At).Seconds())
		v.Bytes += x.Bytes
		v.MaxTokens += x.MaxTokens
		v.Streaming += one(x.Stream)
		v.Greedy += one(x.Greedy)
		paths[x.Path]++
		for _, n := range x.Notes {
			notes[n]++
		}
		for _, d := range x.Dropped {
			drops[d]++
		}
	}
	for path, n := range paths {
		v.Paths = append(v.Paths, PathCount{path, n})
	}
	for d, n := range drops {
		v.Dropped = append(v.Dropped, DropCount{d.Field, d.Reason, n})
	}
	for note, n := range notes {
		v.Notes = append(v.Notes, NoteCount{note, n})
	}
	slices.SortFunc(v.Paths, func(a, b PathCount) int { return cmp.Compare(a.Path, b.Path) })
	slices.SortFunc(v.Dropped, func(a, b DropCount) int {
		return cmp.Or(cmp.Compare(a.Field, b.Field), cmp.Compare(a.Reason, b.Reason))
	})
	slices.SortFunc(v.Notes, func(a, b NoteCount) int {
		return cmp.Or(-cmp.Compare(a.Requests, b.Requests), cmp.Compare(a.Note, b.Note))
	})
	if items {
		v.Items = p.Items
	}
	return v
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Conclude fills in what follows from the runs.
func (d *Document) Conclude(a Assertions, bisect bool) {
	if len(d.Runs) == 0 {
		if bisect || len(a) > 0 {
			d.Answer = CannotTell
		}
		return
	}
	d.Verdict = Together(d.Runs)
	d.Asserted = a.Check(d.Runs)
	if bisect || len(a) > 0 {
		d.Answer = Bisect(d.Asserted, d.Verdict)
	}
}
