package witness

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"llmdyno/internal/client"
	"llmdyno/internal/engine"
)

// MaxLine bounds a line of server-metrics.jsonl: the first and the last reading
// hold the buckets of all histograms.
const MaxLine = 64 << 20

// maxReadings is some twelve days, one a second.
const maxReadings = 1 << 20

// header is the first line of server-metrics.jsonl.
type header struct {
	Schema        string `json:"schema"`
	SchemaVersion int    `json:"schema_version"`
	// Started is the wall clock at the first reading, so that the files of several
	// clients can be laid beside one another; the zero time = an older file.
	Started    time.Time `json:"started,omitzero"`
	GPUTool    string    `json:"gpu_tool"`
	GPUProblem string    `json:"gpu_problem"`
}

// Lines are the lines of server-metrics.jsonl.
func (r Record) Lines() ([][]byte, error) {
	lines := []any{header{Schema, SchemaVersion, r.Began.Round(0).UTC(), r.GPUTool, r.GPUProblem}}
	for _, x := range r.Readings {
		lines = append(lines, x)
	}
	out := make([][]byte, len(lines))
	for i, x := range lines {
		text, err := json.Marshal(x)
		if err != nil {
			return nil, fmt.Errorf("server metrics: %w", err)
		}
		out[i] = append(text, '\n')
	}
	return out, nil
}

// Decoder takes the lines of server-metrics.jsonl one after another and reads the
// raw ones by the table of the engine that wrote them.
type Decoder struct {
	Engine *engine.Engine
	Record Record
	seen   bool
}

// Line takes the next line; n is its number, for errors.
func (d *Decoder) Line(n int, line []byte) error {
	if !d.seen {
		d.seen = true
		var h header
		if err := json.Unmarshal(line, &h); err != nil {
			return fmt.Errorf("server metrics line %d: expected a header with \"schema\":%q: %w", n, Schema, err)
		}
		if h.Schema != Schema || h.SchemaVersion < 1 || h.SchemaVersion > SchemaVersion {
			return fmt.Errorf("server metrics line %d: schema %q version %d: expected %q version 1 to %d", n, h.Schema, h.SchemaVersion, Schema, SchemaVersion)
		}
		_, has := d.Engine.Endpoint(engine.EndpointMetrics)
		d.Record = Record{Has: has, Began: h.Started, GPUTool: h.GPUTool, GPUProblem: h.GPUProblem}
		return nil
	}
	if len(d.Record.Readings) >= maxReadings {
		return fmt.Errorf("server metrics line %d: more than %d readings", n, maxReadings)
	}
	var r Reading
	if err := json.Unmarshal(line, &r); err != nil {
		return fmt.Errorf("server metrics line %d: expected a reading: %w", n, err)
	}
	if k := len(d.Record.Readings); k > 0 && r.AtMs < d.Record.Readings[k-1].AtMs {
		return fmt.Errorf("server metrics line %d: at %g ms, before the reading above it", n, r.AtMs)
	}
	if err := d.full(&r); err != nil {
		return fmt.Errorf("server metrics line %d: %w", n, err)
	}
	r.absent = strings.Contains(r.Error, notFound)
	d.Record.Readings = append(d.Record.Readings, r)
	return nil
}

// full reads the raw lines again. They have no types: those of histograms are
// known from the table. A reading without buckets has no histograms.
func (d *Decoder) full(r *Reading) error {
	if len(r.Raw) == 0 {
		return nil
	}
	var page strings.Builder
	for _, m := range d.Engine.Metrics {
		if m.Quantity.Histogram() {
			fmt.Fprintf(&page, "# TYPE %s histogram\n", m.Name)
		}
	}
	for _, line := range r.Raw {
		page.WriteString(line + "\n")
	}
	full, err := client.ReadMetrics(d.Engine.Metrics, []byte(page.String()))
	if err != nil {
		return err
	}
	if !r.whole() {
		full.Histograms = nil
	}
	r.full, r.Values = full, full.Values
	return nil
}

// whole says that a reading has the buckets of histograms, as the first and the
// last have.
func (r *Reading) whole() bool {
	return slices.ContainsFunc(r.Raw, func(line string) bool { return strings.Contains(line, "_bucket{") })
}
