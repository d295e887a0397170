package sample

import (
	"encoding/json"
	"fmt"
	"time"
)

// Header is the first line of a samples file.
type Header struct {
	Schema        string `json:"schema"`
	SchemaVersion int    `json:"schema_version"`
	// Started is the wall clock at instant 0, so that instants can be laid beside
	// other logs. The zero time is unknown.
	Started    time.Time `json:"started,omitzero"`
	DurationNs int64     `json:"duration_ns,omitempty"` // of the trial; 0 = unknown
}

// Limits of a samples file.
const (
	MaxLine    = 256 << 20 // a record with millions of events
	MaxRecords = 20_000_000
)

// Write writes a whole file through line, which appends one JSON line: records
// in their order after the header, whose schema fields are filled in here.
func Write(line func(v any) error, h Header, records []Record) error {
	h.Schema, h.SchemaVersion = Schema, SchemaVersion
	if err := line(h); err != nil {
		return fmt.Errorf("samples header: %w", err)
	}
	for i := range records {
		if err := line(&records[i]); err != nil {
			return fmt.Errorf("sample of request %d: %w", records[i].Index, err)
		}
	}
	return nil
}

// Decoder takes the lines of a samples file one after another.
type Decoder struct {
	Header  Header
	Records []Record
	seen    bool
}

// Line takes the next line; n is its number, for errors. Unknown members are
// ignored; a newer schema version is refused.
func (d *Decoder) Line(n int, line []byte) error {
	if !d.seen {
		d.seen = true
		if err := json.Unmarshal(line, &d.Header); err != nil {
			return fmt.Errorf("samples line %d: expected a header with \"schema\":%q: %w", n, Schema, err)
		}
		if d.Header.Schema != Schema || d.Header.SchemaVersion < 1 || d.Header.SchemaVersion > SchemaVersion {
			return fmt.Errorf("samples line %d: schema %q version %d: expected %q version 1 to %d; use a newer program or another file", n, d.Header.Schema, d.Header.SchemaVersion, Schema, SchemaVersion)
		}
		return nil
	}
	if len(d.Records) >= MaxRecords {
		return fmt.Errorf("samples line %d: more than %d records", n, MaxRecords)
	}
	r := absent()
	if err := json.Unmarshal(line, &r); err != nil {
		return fmt.Errorf("samples line %d: expected a record: %w", n, err)
	}
	if r.InputTokens < 0 || r.OutputTokens < 0 {
		return fmt.Errorf("samples line %d: token counts %d and %d: expected none below 0", n, r.InputTokens, r.OutputTokens)
	}
	if at := r.earliest(); at < Never {
		return fmt.Errorf("samples line %d: an instant of %d ns: expected none below 0, or %d for one that did not happen", n, at, Never)
	}
	d.Records = append(d.Records, r)
	return nil
}

// End says what is wrong with a file that had no more lines than these.
func (d *Decoder) End() error {
	if !d.seen {
		return fmt.Errorf("samples: empty; expected a header with \"schema\":%q", Schema)
	}
	return nil
}

// absent is a record in which nothing has happened, so that a member that an
// older file lacks is not read as instant 0.
func absent() Record {
	return Record{
		Begin: Never, Send: Never, Conn: Never, Header: Never, FirstChoices: Never, FirstText: Never,
		LastText: Never, FirstReasoning: Never, FirstVisible: Never, FirstTool: Never, LastChoices: Never, UsageAt: Never, Done: Never, CachedTokens: -1,
	}
}

// earliest is the smallest of the record's instants.
func (r *Record) earliest() int64 {
	first := min(r.Sched, r.Begin, r.Send, r.Conn, r.Header, r.FirstChoices, r.FirstText, r.LastText,
		r.FirstReasoning, r.FirstVisible, r.FirstTool, r.LastChoices, r.UsageAt, r.Done)
	for _, e := range r.Events {
		first = min(first, e.At)
	}
	return first
}

// New is the record of a request that has not been sent.
func New(index int, sched int64) Record {
	r := absent()
	r.Index, r.Sched = index, sched
	return r
}
