package echo

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// read posts a request and returns the data of the reply's events.
func read(t *testing.T, hc *http.Client, url, id string) (events []string) {
	req, err := http.NewRequest(http.MethodPost, url+"/v1/completions", strings.NewReader("{}"))
	if err != nil {
		t.Error(err)
		return nil
	}
	req.Header.Set("X-Request-Id", id)
	resp, err := hc.Do(req)
	if err != nil {
		t.Error(err)
		return nil
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			events = append(events, data)
		}
	}
	if err := lines.Err(); err != nil {
		t.Error(err)
	}
	return events
}

func TestServer(t *testing.T) {
	tests := []struct {
		name     string
		cfg      Config
		requests int
	}{
		{"at once", Config{Events: 3}, 4},
		{"paced", Config{Events: 5, Streams: 3, Gap: 2 * time.Millisecond}, 3},
		{"together, in batches that do not divide", Config{Events: 5, Streams: 3, Gap: 2 * time.Millisecond, Batch: 2, Together: true, Spin: true}, 3},
		{"two sets on kept connections", Config{Events: 2, Streams: 2, Gap: time.Millisecond}, 4},
		{"at full speed", Config{Events: 20_000, Streams: 2, Batch: 16}, 2},
		{"too few streams", Config{Events: 2, Streams: 5, Gap: time.Millisecond, Wait: 20 * time.Millisecond}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Start(tt.cfg)
			if err != nil {
				t.Fatal(err)
			}
			hc := &http.Client{Transport: &http.Transport{}}
			var all sync.WaitGroup
			for i := range tt.requests {
				all.Go(func() {
					events := read(t, hc, s.URL(), fmt.Sprint(i))
					if n := len(events); n != tt.cfg.Events+2 || events[n-1] != "[DONE]" || !strings.Contains(events[n-3], `"length"`) ||
						!strings.Contains(events[n-2], fmt.Sprintf(`"completion_tokens":%d}`, tt.cfg.Events)) {
						t.Errorf("request %d: %d events, the last %q", i, n, events[max(0, n-3):])
					}
				})
			}
			all.Wait()
			s.Close()
			truth := s.Truth()
			if len(truth) != tt.requests {
				t.Errorf("%d requests known of %d", len(truth), tt.requests)
			}
			for _, r := range truth {
				last := r.Received
				for k, at := range r.Events {
					// A late write may be followed by one on time, but none is early.
					if at < last || at < r.Received+int64(tt.cfg.Gap)*int64(k/max(tt.cfg.Batch, 1)) {
						t.Errorf("request %s: event %d written at %d after %d", r.ID, k, at, last)
					}
					last = at
				}
				if len(r.Events) != tt.cfg.Events {
					t.Errorf("request %s: %d events", r.ID, len(r.Events))
				}
			}
		})
	}
}

func TestStartRefuses(t *testing.T) {
	for _, cfg := range []Config{{}, {Events: 1, Streams: -1}, {Events: 1, Gap: -1}, {Events: 1, Batch: -1}} {
		if s, err := Start(cfg); err == nil {
			s.Close()
			t.Errorf("%+v: started", cfg)
		}
	}
}

// Close ends a server whose streams are still running.
func TestCloseInTheMiddle(t *testing.T) {
	s, err := Start(Config{Events: 1000, Streams: 1, Gap: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(s.URL(), "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	s.Close()
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the reply ended well")
	}
}
