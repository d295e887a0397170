package signal

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"llmdyno/internal/engine"
	"llmdyno/internal/incident/bundle"
	"llmdyno/internal/metrictext"
)

// Health is what the server's own checks say.
type Health struct {
	Health         Check `json:"health"`
	HealthGenerate Check `json:"health_generate"` // one generated token
	Answers        bool  `json:"answers"`         // anything at all came back
}

// Outcomes of a check.
const (
	CheckOK      = "ok"
	CheckFailed  = "failed"  // any other status
	CheckTimeout = "timeout" // no answer in time
	CheckRefused = "refused" // no connection
	CheckAbsent  = "absent"  // the engine has none, or it answers 404
	CheckAuth    = "auth"    // 401 or 403
	CheckUnasked = "unasked"
)

// Check is the outcome of one request.
type Check struct {
	Outcome string  `json:"outcome"`
	Status  int     `json:"status,omitempty"`
	WaitedS float64 `json:"waited_s,omitempty"`
	Error   string  `json:"error,omitempty"`
}

// Unread is something that could not be read, and why.
type Unread struct {
	Target string `json:"target,omitempty"`
	What   string `json:"what"`
	Why    string `json:"why"`
}

// moment is what was seen of a server at one time.
type moment struct {
	at    time.Time
	page  *page
	state engine.State
	known map[engine.EndpointName]bool // endpoints that told something
}

// target is one server of a bundle as it is being read.
type target struct {
	b      *bundle.Bundle
	t      bundle.Target
	e      *engine.Engine // never nil; without tables where the engine is not known
	known  bool           // the engine was recognised
	health Health
	now    moment
	series []moment // sampled over time, oldest first
	stale  bool     // the page is from an earlier capture
	unread []Unread
	auth   []string // what answered 401 or 403
	bad    []string // what answered 200 with another shape
	noPage string   // why there is no page of metrics; "" = there is one, or it was not asked for
	logs   []logLine
}

func readTarget(b *bundle.Bundle, t bundle.Target, engines engine.Set) *target {
	x := &target{b: b, t: t, e: &engine.Engine{}}
	x.recognise(engines)
	x.readHealth()
	x.now = x.readMoment(t.Probes, true)
	if x.now.page == nil {
		x.readLeftOver()
	}
	x.readSeries()
	x.readLogs()
	return x
}

// recognise takes the engine that the collector named, or finds it in the replies.
func (x *target) recognise(engines engine.Set) {
	if e, ok := engines.Lookup(x.t.Engine); ok && x.t.Engine != "" {
		x.e, x.known = e, true
		return
	}
	for _, p := range slices.Concat(x.t.Probes, x.t.Samples) {
		body, err := x.b.Body(p)
		if err != nil || p.Status == 0 {
			continue
		}
		path, _, _ := strings.Cut(p.Path, "?")
		if u, err := url.Parse(p.Path); err == nil {
			path = u.Path
		}
		header := func(name string) string { return p.Headers[http.CanonicalHeaderKey(name)] }
		if e := engines.Recognise(path, p.Status, header, body); e != nil {
			x.e, x.known = e, true
			return
		}
	}
}

func (x *target) note(what, format string, args ...any) {
	x.unread = append(x.unread, Unread{Target: x.t.ID, What: what, Why: fmt.Sprintf(format, args...)})
}

// check sorts the outcome of a request.
func (x *target) check(name engine.EndpointName) Check {
	p, asked := x.t.Probe(string(name))
	if !asked {
		return Check{Outcome: CheckUnasked}
	}
	c := Check{Status: p.Status, WaitedS: p.DurationMS / 1000, Error: p.Error}
	if c.WaitedS == 0 && p.ErrorClass == bundle.ClassTimeout {
		c.WaitedS = x.b.Manifest.Settings.TimeoutS
	}
	_, has := x.e.Endpoint(name)
	switch {
	case p.Status >= 200 && p.Status < 300 && (p.ErrorClass == "" || p.ErrorClass == bundle.ClassNotJSON):
		c.Outcome = CheckOK
	case p.Status == 404 || p.Status == 405 || p.Status == 501, x.known && !has && p.Status > 0:
		c.Outcome = CheckAbsent
	case p.ErrorClass == bundle.ClassAuth || p.Status == 401 || p.Status == 403:
		c.Outcome = CheckAuth
	case p.ErrorClass == bundle.ClassTimeout:
		c.Outcome = CheckTimeout
	case p.ErrorClass == bundle.ClassCancelled:
		c.Outcome = CheckUnasked
	case p.Status > 0:
		c.Outcome = CheckFailed
	default:
		c.Outcome = CheckRefused
	}
	return c
}

func (x *target) readHealth() {
	x.health.Health, x.health.HealthGenerate = x.check(engine.EndpointHealth), x.check(engine.EndpointHealthGenerate)
	for _, p := range x.t.Probes {
		x.health.Answers = x.health.Answers || p.Status > 0
		blind := p.Name == string(engine.EndpointModelInfo) || p.Name == string(engine.EndpointServerInfo) || p.Name == string(engine.EndpointLoads) || p.Name == string(engine.EndpointModels)
		if blind && (p.Status == 401 || p.Status == 403) {
			x.auth = append(x.auth, fmt.Sprintf("%s answered %d", p.Path, p.Status))
			x.note(p.Path, "the server wants another key: HTTP %d", p.Status)
		}
	}
	x.metricsMissing()
}

// metricsMissing tells why there is no page although the server answers.
func (x *target) metricsMissing() {
	p, asked := x.t.Probe(string(engine.EndpointMetrics))
	if !asked || p.OK() || !x.health.Answers || p.ErrorClass == bundle.ClassCancelled {
		return
	}
	ep, _ := x.e.Endpoint(engine.EndpointMetrics)
	switch {
	case ep.Port != "" && p.Status == 0:
		x.note(p.Path, "no page of metrics on the port that was asked: %s", orElse(p.Error, p.ErrorClass))
		return
	case p.Status > 0 && !(p.Status >= 200 && p.Status < 300):
		x.noPage = fmt.Sprintf("%s answered %d", p.Path, p.Status)
	default:
		x.noPage = fmt.Sprintf("%s: %s", p.Path, orElse(p.Error, p.ErrorClass))
	}
	if ep.Needs != "" {
		x.noPage += "; it needs " + ep.Needs
	}
	x.note(p.Path, "no figures: %s", x.noPage)
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// readMoment reads the page and the state of one round of requests. judge says
// that what has a wrong shape is to be told.
func (x *target) readMoment(probes []bundle.Probe, judge bool) moment {
	m := moment{known: map[engine.EndpointName]bool{}}
	for _, p := range probes {
		if m.at.Before(p.Started) {
			m.at = p.Started
		}
		if p.Name == string(engine.EndpointMetrics) && m.page == nil && p.Status == 200 {
			m.page = x.readPage(p, judge)
		}
	}
	if x.e.State != nil {
		for _, name := range x.e.State.Order {
			x.readBody(&m, name, probes, judge)
		}
	}
	if judge {
		x.judgeShapes(probes)
	}
	return m
}

func (x *target) readPage(p bundle.Probe, judge bool) *page {
	body, err := x.b.Body(p)
	if err != nil {
		x.note(p.Path, "%v", err)
		return nil
	}
	pg := metrictext.Parse(body)
	if err := pg.Err(); err != nil {
		if judge {
			x.note(p.Path, "%v", err)
		}
		return nil
	}
	if judge && pg.MalformedLines > 0 {
		x.note(p.Path, "%d lines could not be read: %s", pg.MalformedLines, strings.Join(pg.Malformed, ", "))
	}
	if judge && pg.Left > 0 {
		x.note(p.Path, "%d samples beyond the first %d were left out", pg.Left, metrictext.MaxSamples)
	}
	return &page{pg, x.e}
}

// readBody reads an endpoint that says something of the state. Of several probes
// of one endpoint the first that can be read counts.
func (x *target) readBody(m *moment, name engine.EndpointName, probes []bundle.Probe, judge bool) {
	for _, p := range probes {
		if p.Name != string(name) || !(p.Status >= 200 && p.Status < 300) || m.known[name] {
			continue
		}
		body, err := x.b.Body(p)
		if err != nil {
			x.note(p.Path, "%v", err)
			continue
		}
		if err := x.e.State.Bodies[name](body, &m.state); err != nil {
			if judge && !p.Truncated {
				x.bad = append(x.bad, fmt.Sprintf("%s: %v", p.Path, err))
			}
			if judge {
				x.note(p.Path, "%v", err)
			}
			continue
		}
		m.known[name] = true
	}
}

// judgeShapes looks at the JSON endpoints that no decoder reads.
func (x *target) judgeShapes(probes []bundle.Probe) {
	for _, p := range probes {
		name := engine.EndpointName(p.Name)
		if !name.JSON() || p.Status != 200 || p.Truncated || x.e.State != nil && x.e.State.Bodies[name] != nil {
			continue
		}
		body, err := x.b.Body(p)
		if err != nil {
			continue
		}
		if p.ErrorClass == bundle.ClassNotJSON || !json.Valid(body) || strings.TrimSpace(string(body)) == "null" {
			x.bad = append(x.bad, fmt.Sprintf("%s: expected JSON", p.Path))
			x.note(p.Path, "the reply is no JSON")
		}
	}
}

// readLeftOver reads the page of an earlier capture into the same folder, for the
// record: no rule looks at it.
func (x *target) readLeftOver() {
	for _, name := range x.b.Manifest.Stale {
		if !strings.HasPrefix(name, "metrics") || strings.HasSuffix(name, ".json") {
			continue
		}
		if body, err := x.b.Read(name); err == nil {
			if pg := metrictext.Parse(body); pg.Err() == nil {
				x.now.page, x.stale = &page{pg, x.e}, true
				x.note(name, "left from an earlier capture; its figures are not of this one")
			}
		}
	}
}

// maxRounds bounds the rounds of a series that are read; of more, every so-manieth
// counts.
const maxRounds = 600

// readSeries cuts the samples into rounds: one begins when an endpoint comes again.
func (x *target) readSeries() {
	var rounds [][]bundle.Probe
	seen := map[string]bool{}
	samples := slices.Clone(x.t.Samples)
	slices.SortStableFunc(samples, func(a, b bundle.Probe) int { return a.Started.Compare(b.Started) })
	for _, p := range samples {
		if len(rounds) == 0 || seen[p.Name] {
			rounds = append(rounds, nil)
			clear(seen)
		}
		seen[p.Name] = true
		rounds[len(rounds)-1] = append(rounds[len(rounds)-1], p)
	}
	step := max((len(rounds)+maxRounds-1)/maxRounds, 1)
	for i := 0; i < len(rounds); i += step {
		if m := x.readMoment(rounds[i], false); m.page != nil || len(m.known) > 0 {
			x.series = append(x.series, m)
		}
	}
	if len(x.series) == 0 {
		return
	}
	last := x.series[len(x.series)-1]
	if x.now.page == nil || x.stale {
		if last.page != nil {
			x.now.page, x.stale, x.noPage = last.page, false, ""
		}
	} else if !x.now.at.Before(last.at) {
		x.series = append(x.series, x.now)
	} else if x.now.at.Before(x.series[0].at) {
		x.series = slices.Insert(x.series, 0, x.now)
	}
	// What is now is what was seen last.
	if last.page != nil && x.now.at.Before(last.at) {
		x.now.page, x.now.at = last.page, last.at
		if len(last.state.Ranks) > 0 {
			x.now.state.Ranks, x.now.state.At, x.now.state.Totals = last.state.Ranks, last.state.At, last.state.Totals
		}
	}
}

type logLine struct {
	file string
	n    int
	text string
}

// Bounds on the logs that are read, of each target.
const (
	maxLogFiles = 64
	maxLogLines = 400_000
	maxLogLine  = 4096
)

func (x *target) readLogs() {
	files := slices.Concat(x.t.Logs, x.t.Host)
	if len(x.b.Targets) == 1 {
		files = slices.Concat(files, x.b.Logs, x.b.Host)
	}
	for i, f := range files {
		if f.File == "" || i == maxLogFiles {
			continue
		}
		text, err := x.b.Read(f.File)
		if err != nil {
			x.note(f.File, "%v", err)
			continue
		}
		n := 0
		for line := range strings.Lines(string(text)) {
			if n++; len(x.logs) == maxLogLines {
				x.note(f.File, "log lines beyond the first %d were left out", maxLogLines)
				return
			}
			x.logs = append(x.logs, logLine{orElse(f.Name, f.File), n, strings.TrimRight(line[:min(len(line), maxLogLine)], "\r\n")})
		}
	}
}

var errNoTargets = errors.New("the bundle has no target: nothing was asked")
