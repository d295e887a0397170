package workload

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"llmdyno/internal/lines"
)

// Limits of a file of requests.
const (
	maxRowBytes = 64 << 20
	maxRows     = 1_000_000
	maxFile     = 2 << 30
)

// eachLine calls fn with every line of a JSONL file that is not empty; name
// stands in errors. holds says what a row is, for the error of an empty file.
func eachLine(r io.Reader, name, holds string, fn func(text []byte) error) error {
	br := bufio.NewReaderSize(io.LimitReader(r, maxFile+1), 64<<10)
	total, rows := 0, 0
	for line := 1; ; line++ {
		fail := func(err error) error { return fmt.Errorf("workload %s, line %d: %w", name, line, err) }
		text, err := lines.Next(br, nil, maxRowBytes)
		switch {
		case errors.Is(err, bufio.ErrTooLong):
			return fail(fmt.Errorf("longer than %d bytes", maxRowBytes))
		case err != nil && !errors.Is(err, io.EOF):
			return fail(err)
		}
		if total += len(text); total > maxFile {
			return fail(fmt.Errorf("the file is longer than %d bytes; split it", maxFile))
		}
		if text = bytes.TrimSpace(text); len(text) > 0 {
			if rows++; rows > maxRows {
				return fail(fmt.Errorf("more than %d rows; split the file", maxRows))
			}
			if bad := fn(text); bad != nil {
				return fail(bad)
			}
		}
		if err != nil {
			break
		}
	}
	if rows == 0 {
		return fmt.Errorf("workload %s holds no rows; expected one JSON object a line with %s", name, holds)
	}
	return nil
}

// decodeRow reads one row.
func decodeRow(text []byte, into any) error {
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("expected a JSON object: %w", err)
	}
	return nil
}

// stamp is an instant of a trace: a number of milliseconds, or an RFC 3339 text.
type stamp struct {
	given bool
	ns    int64
}

const nsPerMs = float64(time.Millisecond)

// UnmarshalJSON reads an instant.
func (s *stamp) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	s.given = true
	if data[0] == '"' {
		var text string
		if err := json.Unmarshal(data, &text); err != nil {
			return err
		}
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil || t.Year() < 1970 || t.Year() > 2200 {
			return fmt.Errorf("timestamp %q: expected milliseconds or an RFC 3339 instant from 1970 to 2200", cut(text))
		}
		s.ns = t.UnixNano()
		return nil
	}
	var ms float64
	if err := json.Unmarshal(data, &ms); err != nil {
		return fmt.Errorf("timestamp: expected milliseconds or an RFC 3339 instant: %w", err)
	}
	if ms < 0 || ms*nsPerMs > maxStamp {
		return fmt.Errorf("timestamp %v ms: expected 0 to %g", ms, maxStamp/nsPerMs)
	}
	s.ns = int64(math.Round(ms * nsPerMs))
	return nil
}

// maxStamp is the year 2200, in nanoseconds.
const maxStamp = 7.25e18

func cut(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}

// ReadOffsets reads the instants of a trace in JSONL: objects with "timestamp",
// in milliseconds or as an RFC 3339 text. Other members are ignored. The offsets
// are since the first instant, in order.
func ReadOffsets(r io.Reader, name string) ([]time.Duration, error) {
	var at []int64
	err := eachLine(r, name, `a "timestamp"`, func(text []byte) error {
		var x struct {
			Timestamp stamp `json:"timestamp"`
		}
		if err := decodeRow(text, &x); err != nil {
			return err
		}
		if !x.Timestamp.given {
			return errors.New(`no "timestamp"; expected milliseconds or an RFC 3339 instant`)
		}
		at = append(at, x.Timestamp.ns)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(at)
	out := make([]time.Duration, len(at))
	for i, ns := range at {
		if out[i] = time.Duration(ns - at[0]); float64(out[i]) > maxOffset {
			return nil, fmt.Errorf("workload %s: its instants span more than %v", name, time.Duration(maxOffset))
		}
	}
	return out, nil
}

// Offsets are the instants of the requests that have arrivals of their own, in
// the trace that they come from; false when all are the same, as without one.
func Offsets(reqs []Request) ([]time.Duration, bool) {
	var out []time.Duration
	for _, q := range reqs {
		if q.After == 0 {
			out = append(out, q.At)
		}
	}
	return out, len(out) > 0 && slices.IsSorted(out) && out[len(out)-1] > out[0]
}
