package sim

import (
	"bytes"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxBody bounds a request's body.
const maxBody = 64 << 20

// ServeHTTP answers as the engine that is simulated would.
func (e *Engine) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	unread(q)
	r, known := e.route(q)
	switch {
	case r == nil && known:
		e.fail(w, q, "method", http.StatusMethodNotAllowed, func(d *Data) { d.Message, d.Field = "Method Not Allowed", q.URL.Path })
		return
	case r == nil:
		e.fail(w, q, "not_found", http.StatusNotFound, func(d *Data) { d.Message, d.Field = "Not Found", q.URL.Path })
		return
	case (r.Auth || e.o.Faults.unauthorized && r.generates()) && !e.authorized(q):
		e.fail(w, q, "unauthorized", http.StatusUnauthorized, func(d *Data) { d.Message = "Unauthorized" })
		return
	}
	e.mu.Lock()
	ready, dead := e.ready, e.dead()
	e.mu.Unlock()
	switch {
	case !ready && r.Loading != nil:
		e.reply(w, q, *r.Loading, &Data{})
	case !ready && r.Kind != "static":
		e.fail(w, q, "not_ready", http.StatusServiceUnavailable, func(d *Data) { d.Message = "loading" })
	case dead && r.Dead != nil:
		e.reply(w, q, *r.Dead, &Data{})
	case r.generates():
		e.generate(w, q, r)
	case r.Kind == "tokenize":
		e.tokenize(w, q, r)
	case r.Kind == "static":
		e.reply(w, q, r.SurfaceReply, &Data{})
	default:
		e.act(w, q, r)
	}
}

// dead: the scheduler no longer takes requests up.
func (e *Engine) dead() bool {
	return e.o.Faults.deadScheduler && e.served >= e.o.Faults.deadAfter
}

// route finds the route of a request; known: the path exists with another method.
func (e *Engine) route(q *http.Request) (r *SurfaceRoute, known bool) {
	candidates := e.routes[q.URL.Path]
	if candidates == nil {
		for path, list := range e.routes {
			if prefix, any := strings.CutSuffix(path, "*"); any && strings.HasPrefix(q.URL.Path, prefix) {
				candidates = list
			}
		}
	}
	for _, c := range candidates {
		if c.Needs != "" && !e.inv.bool(c.Needs, false) || e.o.Faults.profileOff && strings.HasSuffix(c.Kind, "_profile") {
			continue
		}
		known = true
		for m := range strings.SplitSeq(c.Method, "|") {
			if m == q.Method || m == http.MethodGet && q.Method == http.MethodHead {
				return c, true
			}
		}
	}
	return nil, known
}

// authorized checks the bearer token against the key of the argv.
func (e *Engine) authorized(q *http.Request) bool {
	if e.o.Faults.unauthorized {
		return false
	}
	key := e.inv.text("api_key")
	if key == "" {
		return true
	}
	given := strings.TrimPrefix(q.Header.Get("Authorization"), "Bearer ")
	for _, k := range strings.Fields(key) {
		if subtle.ConstantTimeCompare([]byte(given), []byte(k)) == 1 {
			return true
		}
	}
	return false
}

// reply sends a body of the surface.
func (e *Engine) reply(w http.ResponseWriter, q *http.Request, r SurfaceReply, d *Data) {
	if r.AfterS > 0 && sleep(q.Context(), time.Duration(r.AfterS*1e9)) != nil {
		return
	}
	e.describe(d)
	if d.InputTokens == 0 && d.OutputTokens == 0 {
		e.state(d, q.URL.Path)
	}
	body := e.render(r.Body, d)
	if t := r.contentType(); t != "" {
		w.Header().Set("Content-Type", t)
	}
	for k, v := range r.Header {
		w.Header().Set(k, v)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	status := r.Status
	if status == 0 {
		status = http.StatusOK
	}
	w.WriteHeader(status)
	if q.Method != http.MethodHead {
		w.Write(body)
	}
}

// fail sends an error of the surface, or the bare status where it has none.
func (e *Engine) fail(w http.ResponseWriter, q *http.Request, kind string, status int, fill func(*Data)) {
	r, ok := e.surface.Errors[kind]
	if !ok {
		r = SurfaceReply{Status: status}
	}
	if r.Status == 0 {
		r.Status = status
	}
	d := &Data{}
	if fill != nil {
		fill(d)
	}
	e.reply(w, q, r, d)
}

func (e *Engine) readBody(w http.ResponseWriter, q *http.Request) ([]byte, bool) {
	b, err := io.ReadAll(http.MaxBytesReader(w, q.Body, maxBody))
	if err != nil {
		e.fail(w, q, "bad_request", http.StatusRequestEntityTooLarge, func(d *Data) { d.Message = "body cannot be read" })
		return nil, false
	}
	return b, true
}

// tokenize counts and numbers the words of a text.
func (e *Engine) tokenize(w http.ResponseWriter, q *http.Request, r *SurfaceRoute) {
	raw, ok := e.readBody(w, q)
	if !ok {
		return
	}
	var body map[string]json.RawMessage
	if err := json.Unmarshal(raw, &body); err != nil {
		e.fail(w, q, "bad_json", http.StatusBadRequest, func(d *Data) { d.Message = err.Error() })
		return
	}
	var ids []int
	names := []string{"prompt", "content", "text"}
	if f := r.TextField; f != "" {
		names = []string{f}
		if _, given := body[f]; !given {
			e.fail(w, q, "bad_request", http.StatusBadRequest, func(d *Data) { d.Message, d.Field = "Field required", f })
			return
		}
	}
	for _, name := range names {
		var text string
		if json.Unmarshal(body[name], &text) == nil && text != "" {
			for _, f := range strings.Fields(text) {
				ids = append(ids, int(hashText(f)%vocabulary))
			}
			break
		}
	}
	if ids == nil {
		ids = []int{}
	}
	e.reply(w, q, r.SurfaceReply, &Data{Tokens: ids, InputTokens: len(ids)})
}

// act does what an administrative route asks for.
func (e *Engine) act(w http.ResponseWriter, q *http.Request, r *SurfaceRoute) {
	d, err := &Data{}, error(nil)
	switch r.Kind {
	case "flush":
		err = e.flush()
	case "start_profile":
		var raw []byte
		if q.Body != nil {
			raw, _ = io.ReadAll(io.LimitReader(q.Body, 1<<20))
		}
		err = e.startProfile(raw)
	case "stop_profile":
		err = e.stopProfile()
	}
	if err != nil {
		d.Message = err.Error()
		if r.Refused != nil {
			e.reply(w, q, *r.Refused, d)
			return
		}
	}
	e.reply(w, q, r.SurfaceReply, d)
}

var errBusy = errors.New("requests are running or waiting")

func (e *Engine) flush() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.sched.idle() {
		return errBusy
	}
	e.sched.kv.flush()
	return nil
}

// generate answers a generating request.
func (e *Engine) generate(w http.ResponseWriter, q *http.Request, r *SurfaceRoute) {
	raw, ok := e.readBody(w, q)
	if !ok {
		return
	}
	if p := e.o.Faults.poison; p != "" && bytes.Contains(raw, []byte(p)) {
		e.die()
	}
	received := time.Now()
	wire := e.surface.Wires[r.Kind]
	g, bad := readGeneration(raw, r.Kind, wire, e.d.granule())
	if bad != nil {
		e.fail(w, q, bad.kind, http.StatusBadRequest, func(d *Data) { d.Message, d.Field = bad.message, bad.field })
		return
	}
	if wire.CheckModel && g.model != "" && g.model != e.servedName() {
		e.fail(w, q, "unknown_model", http.StatusNotFound, func(d *Data) {
			d.Field, d.Value, d.Message = "model", g.model, "The model `"+g.model+"` does not exist."
		})
		return
	}
	bound, ok := e.bound(w, q, g, wire)
	if !ok {
		return
	}
	s := &stream{e: e, w: w, q: q, wire: wire, chat: r.Kind == "chat", g: g, received: received, id: q.Header.Get("X-Request-Id")}
	s.key = hashText(s.id) ^ g.key ^ e.o.Seed
	if e.spoil(s) {
		return
	}
	n, stops := outputLength(g, bound, e.o.Seed)
	s.r = &request{id: s.id, key: s.key, hashes: g.hashes, input: g.input, output: n, stop: stops, arrived: received, sink: s.sink}
	s.news = make(chan struct{}, 1)
	e.submit(s.r)
	s.answer()
}

// die ends the process, as an engine that a request makes crash: what is in
// flight is cut.
func (e *Engine) die() {
	select {
	case e.died <- struct{}{}:
	default:
	}
	panic(http.ErrAbortHandler)
}

// bound is the largest output that the request may have.
func (e *Engine) bound(w http.ResponseWriter, q *http.Request, g *generation, wire SurfaceWire) (int, bool) {
	bound := g.output
	if bound == 0 {
		bound = wire.MaxTokens
	}
	if bound == 0 {
		bound = max(1, e.d.contextLen-g.input)
	}
	tooLong := g.input >= e.d.contextLen || g.input+bound > e.d.contextLen
	if g.output == 0 && g.input < e.d.contextLen {
		bound, tooLong = min(bound, e.d.contextLen-g.input), false
	}
	if !e.d.chunked && g.input > e.d.stepTokens {
		tooLong = true // a prompt that no step can take whole
	}
	e.mu.Lock()
	fits := e.sched.fits(g.input, bound)
	full := false
	if most := e.inv.int("max_queued", 0); most > 0 {
		full = len(e.sched.waiting) >= most
	}
	e.mu.Unlock()
	switch {
	case tooLong || !fits:
		e.fail(w, q, "too_long", http.StatusBadRequest, func(d *Data) {
			d.Limit, d.Wanted = e.d.contextLen, g.input+bound
			d.Message = "This request needs " + strconv.Itoa(d.Wanted) + " tokens; the limit is " + strconv.Itoa(d.Limit)
		})
		return 0, false
	case full:
		e.fail(w, q, "overloaded", http.StatusServiceUnavailable, func(d *Data) { d.Message = "The request queue is full." })
		return 0, false
	}
	return bound, true
}

// spoil does what a fault asks for instead of an answer.
func (e *Engine) spoil(s *stream) bool {
	f := e.o.Faults
	e.mu.Lock()
	e.seen++
	seen, dead := e.seen, e.dead()
	e.mu.Unlock()
	if s.id == "" {
		s.key ^= hashText(strconv.Itoa(seen)) // requests without an id are still told apart
	}
	switch {
	case dead, f.hangRequest > 0 && seen == f.hangRequest:
		<-s.q.Context().Done()
		return true
	case f.http500 > 0 && draw(e.o.Seed, "http-500", s.key) < f.http500:
		e.fail(s.w, s.q, "internal", http.StatusInternalServerError, func(d *Data) { d.Message = "Internal Server Error" })
		return true
	}
	return false
}
