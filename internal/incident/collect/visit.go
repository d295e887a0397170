package collect

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"llmdyno/internal/client"
	"llmdyno/internal/engine"
	"llmdyno/internal/incident/bundle"
)

// patience is how long the probes with an effect wait for all others to answer:
// they go last, but a server that hangs does not make them late.
const patience = 300 * time.Millisecond

// visit is the capture of one target. All its fields belong to one goroutine;
// the requests themselves run in others and hand their answers over.
type visit struct {
	r       *round
	t       bundle.Target
	spec    Spec
	c       *client.Client
	engine  *engine.Engine
	answers chan answer
	flying  map[string]flight  // requests under way, by path
	asked   map[string]bool    // paths
	dropped map[string]bool    // paths under way whose answer nobody needs any more
	heard   []answer           // of paths that no known engine has claimed yet
	names   map[string]int     // files, by name
	out     map[engine.ID]bool // engines that it cannot be
	late    <-chan time.Time   // when the probes with an effect have waited long enough
	err     error
}

// flight is a request under way.
type flight struct {
	cancel context.CancelFunc
	of     engine.Endpoint
}

// answer is what became of one request.
type answer struct {
	of      engine.Endpoint
	path    string
	reply   client.Reply
	err     error
	started time.Time
	took    time.Duration
	tries   int
}

func (r *round) visit(ctx context.Context, id string, spec Spec) (bundle.Target, error) {
	v := &visit{r: r, spec: spec, engine: spec.Engine, answers: make(chan answer), flying: map[string]flight{}, asked: map[string]bool{}, dropped: map[string]bool{}, names: map[string]int{}, out: map[engine.ID]bool{}}
	v.t = bundle.Target{ID: id, URL: spec.URL, Name: spec.Name, Probes: []bundle.Probe{}, Notes: spec.Notes}
	c, err := client.New(client.Options{
		BaseURL: spec.URL, APIKey: r.o.Key, Dial: r.o.Dial, Conns: 2, MaxBody: r.o.MaxBody, Portable: true,
		Ports: r.o.Ports, Proxy: r.o.Proxy, TLS: r.o.TLS, Guard: guard(r.o.Engines, r.o.Include),
	})
	if err != nil {
		v.t.Notes = append(v.t.Notes, err.Error())
		return v.t, r.w.Target(v.t)
	}
	v.c = c
	defer c.Close()
	v.round(ctx)
	v.finish()
	if v.err == nil {
		v.err = r.w.Target(v.t)
	}
	if v.err == nil && r.o.Watch > 0 {
		v.watch(ctx)
		if v.err == nil {
			v.err = r.w.Target(v.t)
		}
	}
	return v.t, v.err
}

// guard lets pass what some engine marks as readable.
func guard(set engine.Set, include []engine.EndpointName) func(method, path string) error {
	allowed := map[string]bool{}
	for _, e := range set {
		for _, ep := range endpointsOf(e) {
			if !ep.Reading(slices.Contains(include, ep.Name)) {
				continue
			}
			for _, p := range append([]string{ep.Path}, ep.Legacy...) {
				allowed[p] = true
			}
		}
	}
	return func(method, path string) error {
		if method == http.MethodGet && allowed[path] {
			return nil
		}
		return fmt.Errorf("%s %s: not sent: no engine marks it as read-only", method, path)
	}
}

func endpointsOf(e *engine.Engine) []engine.Endpoint { return slices.Concat(e.Endpoints, e.Triage) }

// round asks everything once.
func (v *visit) round(ctx context.Context) {
	defer func() {
		for _, f := range v.flying {
			f.cancel()
		}
		for range v.flying {
			<-v.answers
		}
	}()
	if v.engine != nil {
		v.t.EngineBy = "named by the user"
		v.late = time.After(patience)
		v.askAll(ctx)
	} else {
		v.askMarks(ctx)
	}
	last := false // the probes with an effect are under way
	for {
		if len(v.flying) == 0 || last {
			if !last {
				last = true
				v.askLast(ctx)
			}
			if len(v.flying) == 0 {
				return
			}
		}
		select {
		case a := <-v.answers:
			delete(v.flying, a.path)
			v.hear(ctx, a)
		case <-v.late:
			if !last {
				last = true
				v.askLast(ctx)
			}
		}
	}
}

// hear takes one answer in.
func (v *visit) hear(ctx context.Context, a answer) {
	if v.dropped[a.path] {
		delete(v.dropped, a.path)
		delete(v.asked, a.path) // an older name of an endpoint may be needed yet
		return
	}
	if v.engine == nil {
		v.heard = append(v.heard, a)
		header := func(name string) string { return a.reply.Header.Get(name) }
		if e := v.r.o.Engines.Recognise(a.path, a.reply.Status, header, a.reply.Body); e != nil {
			v.recognised(ctx, e, a.path)
			return
		}
		v.ruleOut(a)
		v.askMarks(ctx)
		return
	}
	v.take(ctx, a)
}

// recognised goes on with the endpoints of the engine; what was asked already is
// not asked again, and what is none of its endpoints is dropped.
func (v *visit) recognised(ctx context.Context, e *engine.Engine, by string) {
	v.engine, v.t.EngineBy = e, "reply of "+by
	own := map[string]bool{}
	for _, ep := range endpointsOf(e) {
		own[ep.Path] = true
	}
	for p, f := range v.flying {
		if !own[p] {
			f.cancel()
			v.dropped[p] = true
		}
	}
	v.late = time.After(patience)
	heard := v.heard
	v.heard = nil
	for _, a := range heard {
		if own[a.path] {
			v.take(ctx, a)
		}
	}
	v.askAll(ctx)
}

// ruleOut uses what an engine would never answer.
func (v *visit) ruleOut(a answer) {
	if a.reply.Status != 404 && a.reply.Status != 405 && a.reply.Status != 401 && a.reply.Status != 403 {
		return
	}
	for _, e := range v.r.o.Engines {
		for _, ep := range e.Endpoints {
			if ep.Path == a.path && ep.Needs == "" && ep.Since == "" && ep.Until == "" && !(ep.Auth && a.reply.Status < 404) {
				v.out[e.ID] = true
			}
		}
	}
}

// askMarks asks the paths whose replies tell engines apart, as far as none of
// the engines that are still possible minds.
func (v *visit) askMarks(ctx context.Context) {
	for _, e := range v.r.o.Engines {
		for _, m := range e.Marks {
			if m.Path == "" || v.asked[m.Path] || v.minded(m.Path) {
				continue
			}
			if ep, ok := readable(e, m.Path); ok {
				v.ask(ctx, ep, ep.Path)
			}
		}
	}
}

// minded says that some engine that the server may still be minds being asked,
// or is held up by it (a path that goes through the scheduler has a cost).
func (v *visit) minded(p string) bool {
	for _, e := range v.r.o.Engines {
		if v.out[e.ID] {
			continue
		}
		for _, ep := range endpointsOf(e) {
			if ep.Path == p && ep.Effect != "" {
				return true
			}
		}
	}
	return false
}

func readable(e *engine.Engine, p string) (engine.Endpoint, bool) {
	for _, ep := range endpointsOf(e) {
		if ep.Path == p && ep.Reading(false) {
			return ep, true
		}
	}
	return engine.Endpoint{}, false
}

// askAll asks every endpoint of the engine that has no effect.
func (v *visit) askAll(ctx context.Context) {
	for _, ep := range endpointsOf(v.engine) {
		if ep.Reading(false) && !v.asked[ep.Path] {
			v.ask(ctx, ep, ep.Path)
		}
	}
}

// askLast asks the endpoints with an effect that were named, and notes the others.
func (v *visit) askLast(ctx context.Context) {
	if v.engine == nil || ctx.Err() != nil {
		return
	}
	for _, ep := range endpointsOf(v.engine) {
		if ep.Effect == "" || ep.Method != http.MethodGet {
			continue
		}
		if slices.Contains(v.r.o.Include, ep.Name) {
			v.ask(ctx, ep, ep.Path)
			continue
		}
		v.t.Notes = append(v.t.Notes, fmt.Sprintf("%s (%s) was not asked: it %s; to ask it: --include %s", ep.Name, ep.Path, ep.Effect, ep.Name))
	}
}

func (v *visit) ask(ctx context.Context, ep engine.Endpoint, p string) {
	ctx, cancel := context.WithCancel(ctx)
	v.asked[p] = true
	v.flying[p] = flight{cancel, ep}
	go func() {
		defer cancel()
		v.answers <- v.send(ctx, ep, p)
	}()
}

// send makes the request, once more where the connection broke before a reply and
// asking again is harmless.
func (v *visit) send(ctx context.Context, ep engine.Endpoint, p string) answer {
	limit := max(v.r.o.Timeout, ep.Timeout)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	a := answer{of: ep, path: p, started: time.Now()}
	for a.tries = 1; ; a.tries++ {
		a.reply, a.err = v.c.Ask(ctx, ep, p)
		if a.tries > 1 || ep.Effect != "" || a.reply.Status != 0 || ctx.Err() != nil || classOf(ctx, a.reply.Status, a.err) != bundle.ClassBroken {
			break
		}
	}
	a.took = time.Since(a.started)
	return a
}

// take records an answer as a probe, or asks an older path after a 404.
func (v *visit) take(ctx context.Context, a answer) {
	i := slices.IndexFunc(endpointsOf(v.engine), func(ep engine.Endpoint) bool { return ep.Path == a.path || slices.Contains(ep.Legacy, a.path) })
	if i < 0 {
		return
	}
	ep := endpointsOf(v.engine)[i]
	if at := slices.Index(ep.Legacy, a.path); a.reply.Status == http.StatusNotFound && at+1 < len(ep.Legacy) && ctx.Err() == nil {
		v.ask(ctx, ep, ep.Legacy[at+1])
		return
	}
	a.of = ep
	if version := v.engine.VersionIn(a.path, a.reply.Status, a.reply.Body); version != "" && v.t.EngineVersion == "" {
		v.t.EngineVersion = version
	}
	v.t.Probes = append(v.t.Probes, v.record(ctx, a, string(ep.Name)))
}

// record makes a probe of an answer and writes its body.
func (v *visit) record(ctx context.Context, a answer, file string) bundle.Probe {
	p := bundle.Probe{
		Name: string(a.of.Name), Method: a.of.Method, Path: a.path, Status: a.reply.Status, Started: a.started.UTC(),
		DurationMS: float64(a.took.Microseconds()) / 1000, Bytes: int64(len(a.reply.Body)), Truncated: a.reply.Truncated,
		Headers: headers(a.reply.Header), Cost: a.of.Cost,
	}
	if a.tries > 1 {
		p.Tries = a.tries
	}
	isJSON := len(a.reply.Body) > 0 && (a.reply.Body[0] == '{' || a.reply.Body[0] == '[' || a.of.Name.JSON()) && json.Valid(a.reply.Body)
	v.class(ctx, a, &p, isJSON)
	if len(a.reply.Body) == 0 {
		return p
	}
	ext := ".txt"
	if isJSON {
		ext = ".json"
	}
	if v.names[file]++; v.names[file] > 1 {
		file = fmt.Sprintf("%s-%d", file, v.names[file])
	}
	p.File = path.Join("targets", v.t.ID, file+ext)
	v.r.pens <- struct{}{}
	err := v.r.w.Write(p.File, a.reply.Body)
	<-v.r.pens
	if err != nil && v.err == nil {
		v.err = err
	}
	return p
}

// class says what went wrong.
func (v *visit) class(ctx context.Context, a answer, p *bundle.Probe, isJSON bool) {
	p.ErrorClass = classOf(ctx, a.reply.Status, a.err)
	if a.err != nil {
		p.Error = a.err.Error()
	}
	switch {
	case p.ErrorClass == bundle.ClassTimeout && len(a.reply.Body) > 0, p.ErrorClass == bundle.ClassTruncated:
		p.Truncated = true
	case p.ErrorClass != "":
	case p.Truncated:
		p.ErrorClass, p.Error = bundle.ClassTooLarge, fmt.Sprintf("the reply is longer than %d bytes; the rest was left out", v.r.o.MaxBody)
	case bundle.ClassOfStatus(p.Status) != "":
		p.ErrorClass, p.Error = bundle.ClassOfStatus(p.Status), fmt.Sprintf("HTTP %d", p.Status)
	case a.of.Name.JSON() && !isJSON:
		p.ErrorClass, p.Error = bundle.ClassNotJSON, "expected JSON, found "+kindOf(a.reply)
	}
	if p.Status == http.StatusNotFound && a.of.Needs != "" {
		p.Error += "; it needs " + a.of.Needs
	}
	if at := p.Headers["Location"]; p.Status >= 300 && p.Status < 400 && at != "" {
		p.Error = fmt.Sprintf("HTTP %d: redirects are not followed; name the server itself", p.Status)
	}
}

func kindOf(r client.Reply) string {
	if len(r.Body) == 0 {
		return "an empty reply"
	}
	if t := r.Header.Get("Content-Type"); t != "" {
		return t
	}
	return "other text"
}

// Bounds on the headers that are kept.
const (
	maxHeaders     = 40
	maxHeaderValue = 1 << 10
)

func headers(h http.Header) map[string]string {
	out := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if len(out) == maxHeaders {
			break
		}
		value := strings.Join(h[name], ", ")
		out[name] = value[:min(len(value), maxHeaderValue)]
	}
	return out
}

// finish orders the probes as the engine lists them, and keeps those of a server
// that was not recognised.
func (v *visit) finish() {
	if v.engine == nil {
		any := slices.ContainsFunc(v.heard, func(a answer) bool { return a.reply.Status != 0 })
		for _, a := range v.heard {
			if any && a.reply.Status == http.StatusNotFound {
				continue // another engine's path
			}
			v.t.Probes = append(v.t.Probes, v.record(context.Background(), a, string(a.of.Name)))
		}
		v.heard = nil
		slices.SortStableFunc(v.t.Probes, func(a, b bundle.Probe) int { return strings.Compare(a.Path, b.Path) })
		v.t.Notes = append(v.t.Notes, "the engine was not recognised: name it with --engine where its replies do not tell")
		return
	}
	v.t.Engine = string(v.engine.ID)
	order := map[string]int{}
	for i, ep := range endpointsOf(v.engine) {
		if _, seen := order[string(ep.Name)]; !seen {
			order[string(ep.Name)] = i
		}
	}
	slices.SortStableFunc(v.t.Probes, func(a, b bundle.Probe) int { return order[a.Name] - order[b.Name] })
}

// watch samples what moves until its time is over or the user has seen enough.
func (v *visit) watch(ctx context.Context) {
	if v.engine == nil {
		return
	}
	every := max(v.r.o.Every, 10*time.Millisecond)
	var series []engine.Endpoint
	for _, ep := range endpointsOf(v.engine) {
		if (ep.Name == engine.EndpointMetrics || ep.Name == engine.EndpointLoads) && ep.Reading(false) && v.answersWell(ep.Name) {
			series = append(series, ep)
		}
	}
	if len(series) == 0 {
		v.t.Notes = append(v.t.Notes, "nothing to sample: neither metrics nor loads answered well")
		return
	}
	for n := 1; ; n++ {
		at := v.r.began.Add(time.Duration(n) * every)
		if at.Sub(v.r.began) > v.r.o.Watch {
			return
		}
		wait := time.Until(at)
		if wait < -every {
			continue // a sample took longer than the interval: that instant is over
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		v.sample(ctx, series, n)
		if v.err != nil {
			return
		}
	}
}

func (v *visit) answersWell(name engine.EndpointName) bool {
	p, ok := v.t.Probe(string(name))
	return ok && p.OK()
}

func (v *visit) sample(ctx context.Context, series []engine.Endpoint, n int) {
	for _, ep := range series {
		p, _ := v.t.Probe(string(ep.Name))
		v.ask(ctx, ep, p.Path)
	}
	for range series {
		a := <-v.answers
		delete(v.flying, a.path)
		if ctx.Err() != nil && a.reply.Status == 0 {
			continue // the user stopped: not the server's failure
		}
		v.t.Samples = append(v.t.Samples, v.record(ctx, a, fmt.Sprintf("samples/%s-%04d", a.of.Name, n)))
	}
}
