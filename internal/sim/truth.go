package sim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"slices"
	"sync"
	"time"
)

// TruthRecord is what really happened to one request; instants are Unix
// nanoseconds. First and Last are taken just before the first and last text
// event is written.
type TruthRecord struct {
	ID           string  `json:"id"` // X-Request-Id
	ReceivedNs   int64   `json:"received_ns"`
	FirstNs      int64   `json:"first_ns"`
	LastNs       int64   `json:"last_ns"`
	FinishedNs   int64   `json:"finished_ns"` // after the last write
	InputTokens  int     `json:"input_tokens"`
	OutputTokens int     `json:"output_tokens"`
	EventsNs     []int64 `json:"events_ns"`
}

// truthWriter keeps records until the next flush, so that writing costs the
// streams nothing, and writes those of one instant in the order of their ids.
type truthWriter struct {
	mu      sync.Mutex
	w       io.Writer
	pending []TruthRecord
}

func (t *truthWriter) add(r TruthRecord) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending = append(t.pending, r)
}

// flush writes the records that finished before now, or all of them.
func (t *truthWriter) flush(now time.Time, all bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.SortFunc(t.pending, func(a, b TruthRecord) int {
		return cmp.Or(cmp.Compare(a.FinishedNs, b.FinishedNs), cmp.Compare(a.ID, b.ID))
	})
	n := len(t.pending)
	for !all && n > 0 && t.pending[n-1].FinishedNs >= now.UnixNano() {
		n--
	}
	if n == 0 {
		return
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, r := range t.pending[:n] {
		_ = enc.Encode(r) // numbers and a string: it cannot fail
	}
	t.w.Write(b.Bytes())
	t.pending = append([]TruthRecord(nil), t.pending[n:]...)
}
