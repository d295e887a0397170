package enginetest

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// bodies: what the engine answers to plain reads is what its content type says,
// idle and under load; series that carry a model's name carry the served one.
func (u *suite) bodies(t *testing.T) {
	u.serve(t, setup{argv: u.argv(nil, u.metricsArgs()...)}, func(s *server) {
		u.readAll(s, "idle")
		body, err := u.e.Wires[0].Encode(u.request(true))
		if err != nil {
			s.t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { u.post(s, 0, body) })
		}
		synctest.Wait()
		time.Sleep(10 * time.Millisecond)
		u.readAll(s, "under load")
		wg.Wait()
		u.readAll(s, "after the load")
	})
}

func (u *suite) readAll(s *server, when string) {
	s.t.Helper()
	for _, r := range u.s.Routes {
		if r.Kind != "static" || r.Method == http.MethodPost || r.Needs != "" && u.s.Defaults[r.Needs] != "true" && !strings.HasSuffix(r.Needs, "metrics") {
			continue
		}
		kind, body := s.get(r.Path)
		switch {
		case strings.HasPrefix(kind, "application/json"):
			if !json.Valid(body) {
				s.t.Errorf("%s %s: not JSON: %.300s", r.Path, when, body)
			}
		case strings.HasPrefix(kind, "text/plain; version="):
			page, err := readMetrics(string(body))
			if err != nil || len(page) == 0 {
				s.t.Errorf("%s %s: %d series: %v", r.Path, when, len(page), err)
			}
			for _, x := range page {
				if name, ok := x.labels["model_name"]; ok && name != model {
					s.t.Errorf("%s %s: %s carries the model name %q, want %q", r.Path, when, x.name, name, model)
				}
			}
		}
	}
}

// get reads a path of the server, whether or not a table knows it.
func (s *server) get(path string) (contentType string, body []byte) {
	s.t.Helper()
	q, err := http.NewRequestWithContext(s.ctx, http.MethodGet, "http://engine"+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := (&http.Transport{DialContext: s.dial, DisableKeepAlives: true}).RoundTrip(q)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		s.t.Errorf("GET %s: HTTP %d: %v", path, resp.StatusCode, err)
	}
	return resp.Header.Get("Content-Type"), body
}
