package enginetest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"llmdyno/internal/client"
	"llmdyno/internal/engine"
	"llmdyno/internal/load/sample"
	"llmdyno/internal/sim"
)

// ready: every readiness probe holds on a server that is ready.
func (u *suite) ready(t *testing.T) {
	if len(u.e.Ready.Probes) == 0 {
		t.Fatal("Ready.Probes is empty: an open port is never enough")
	}
	u.serve(t, setup{argv: u.argv(nil)}, func(s *server) {
		for i, p := range u.e.Ready.Probes {
			if err := s.c.Probe(s.ctx, p, model); err != nil {
				s.t.Errorf("probe %d (%s) fails on a ready server: %v", i, p.Endpoint, err)
			}
		}
	})
}

// loading: the probes together do not hold while the model is loading.
func (u *suite) loading(t *testing.T) {
	u.serve(t, setup{argv: u.argv(nil), loading: true}, func(s *server) {
		if u.probes(s) == nil {
			s.t.Error("every probe holds on a server that is still loading")
		}
	})
}

// deadScheduler: a server whose HTTP side is well and whose scheduler is dead is
// not ready, and the probes find out within their time-outs.
func (u *suite) deadScheduler(t *testing.T) {
	u.serve(t, setup{argv: u.argv(nil), faults: []string{"dead-scheduler"}}, func(s *server) {
		var bound time.Duration
		for _, p := range u.e.Ready.Probes {
			bound += p.Timeout
		}
		began := time.Now()
		if u.probes(s) == nil {
			s.t.Error("every probe holds on a server with a dead scheduler")
		}
		if took := time.Since(began); took > bound {
			s.t.Errorf("the probes took %v, their time-outs add up to %v", took, bound)
		}
	})
}

// endpoints: every endpoint of the table is a route of the engine, changes
// nothing where the table says so, and answers with success on a ready server.
func (u *suite) endpoints(t *testing.T) {
	u.serve(t, setup{argv: u.argv(nil)}, func(s *server) {
		for _, ep := range u.e.Endpoints {
			if !u.has(ep.Since, ep.Until) {
				continue
			}
			r := u.route(ep.Method, ep.Path)
			if r == nil {
				s.t.Errorf("endpoint %s: the engine has no %s %s", ep.Name, ep.Method, ep.Path)
				continue
			}
			if ep.ReadOnly && r.Kind != "static" && r.Kind != "tokenize" {
				s.t.Errorf("endpoint %s: read-only in the table, but it is one that acts (%s)", ep.Name, r.Kind)
			}
			if ep.Auth != r.Auth {
				s.t.Errorf("endpoint %s: needs a key: %v in the table, %v on the server", ep.Name, ep.Auth, r.Auth)
			}
			for _, old := range ep.Legacy {
				if u.route(ep.Method, old) == nil {
					s.t.Errorf("endpoint %s: the engine has no %s %s", ep.Name, ep.Method, old)
				}
			}
			if r.Needs != "" && u.s.Defaults[r.Needs] != "true" {
				continue // see needs
			}
			u.answers(s, ep)
		}
	})
}

// answers: the endpoint is there and succeeds.
func (u *suite) answers(s *server, ep engine.Endpoint) {
	s.t.Helper()
	reply, err := s.c.Call(s.ctx, ep.Name, nil, u.callBody(ep))
	if err != nil || reply.Status/100 != 2 {
		s.t.Errorf("endpoint %s: %s %s: HTTP %d: %v", ep.Name, ep.Method, ep.Path, reply.Status, err)
		return
	}
	if ep.Name == engine.EndpointVersion && !strings.Contains(string(reply.Body), u.s.Version) {
		s.t.Errorf("endpoint %s: %.80q does not tell the version %s", ep.Name, reply.Body, u.s.Version)
	}
	if ep.Name == engine.EndpointModels && !strings.Contains(string(reply.Body), model) {
		s.t.Errorf("endpoint %s: %.80q does not name the model", ep.Name, reply.Body)
	}
}

// callBody is what an endpoint is sent: nothing to a GET, a small request to
// those that generate.
func (u *suite) callBody(ep engine.Endpoint) []byte {
	if ep.Method == http.MethodGet {
		return nil
	}
	for _, w := range u.e.Wires {
		if w.Endpoint == ep.Name {
			body, err := w.Encode(engine.GenerateRequest{Model: model, Prompt: "one two", MaxTokens: 2})
			if err == nil {
				return body
			}
		}
	}
	if ep.Name == engine.EndpointTokenize {
		if u.e.Tokenize == nil {
			return []byte("{}") // see tokenize
		}
		body, err := u.e.Tokenize.Encode(model, "one two three")
		if err == nil {
			return body
		}
	}
	return []byte("{}")
}

// tokenize: an engine that has the endpoint says how to ask it, and the server
// counts every text so.
func (u *suite) tokenize(t *testing.T) {
	if _, has := u.e.Endpoint(engine.EndpointTokenize); has != (u.e.Tokenize != nil) {
		t.Fatalf("endpoint %s is in the table: %v; the engine says how to ask it: %v", engine.EndpointTokenize, has, u.e.Tokenize != nil)
	}
	if u.e.Tokenize == nil {
		return
	}
	if u.e.Tokenize.Source == (engine.Source{}) {
		t.Error("Tokenize has no source")
	}
	u.serve(t, setup{argv: u.argv(nil)}, func(s *server) {
		for text, want := range map[string]int{
			"": 0, "one": 1, "one two\nthree": 3, "\"quoted\" \u00e4\u4e16 \\": 3, strings.Repeat("word ", 5000): 5000,
		} {
			if n, err := s.c.CountTokens(s.ctx, model, text); err != nil || n != want {
				s.t.Errorf("tokenize: %.40q has %d tokens: %v; want %d", text, n, err, want)
			}
		}
	})
}

// needs: an endpoint that is not there by default says in the table what it
// needs, and is there once that is given.
func (u *suite) needs(t *testing.T) {
	for _, ep := range u.e.Endpoints {
		r := u.route(ep.Method, ep.Path)
		if r == nil || r.Needs == "" || u.s.Defaults[r.Needs] == "true" || !u.has(ep.Since, ep.Until) {
			continue
		}
		if ep.Needs == "" {
			t.Errorf("endpoint %s: it is absent by default, and the table does not say what it needs", ep.Name)
		}
		u.serve(t, setup{argv: u.argv(nil)}, func(s *server) {
			reply, err := s.c.Call(s.ctx, ep.Name, nil, u.callBody(ep))
			if reply.Status != http.StatusNotFound || !strings.Contains(fmt.Sprint(err), ep.Needs) {
				s.t.Errorf("endpoint %s without %s: HTTP %d, %v; want 404 and the words of the table", ep.Name, ep.Needs, reply.Status, err)
			}
		})
		words := u.turnOn(r.Needs)
		if words == nil {
			continue // the environment of the server decides
		}
		u.serve(t, setup{argv: u.argv(nil, words...)}, func(s *server) { u.answers(s, ep) })
	}
}

// auth: with a key set, what the table says to need it is refused without it, as
// class auth, and works with it.
func (u *suite) auth(t *testing.T) {
	u.unauthorized(t)
	words := u.turnOn("api_key")
	if words == nil {
		for _, ep := range u.e.Endpoints {
			if ep.Auth {
				t.Errorf("endpoint %s: needs a key in the table, and the engine knows none", ep.Name)
			}
		}
		return
	}
	argv := u.argv(nil, append(words, u.metricsArgs()...)...)
	for _, key := range []string{"", "wrong", "given"} {
		u.serve(t, setup{argv: argv, key: key}, func(s *server) {
			for _, ep := range u.e.Endpoints {
				if r := u.route(ep.Method, ep.Path); r == nil || r.Needs != "" && !strings.HasSuffix(r.Needs, "metrics") {
					continue
				}
				_, err := s.c.Call(s.ctx, ep.Name, nil, u.callBody(ep))
				refused := client.ClassOf(err) == sample.ClassAuth
				if want := ep.Auth && key != "given"; refused != want {
					s.t.Errorf("endpoint %s with the key %q: refused for want of a key: %v, want %v (%v)", ep.Name, key, refused, want, err)
				}
			}
			for i, w := range u.e.Wires {
				body, err := w.Encode(engine.GenerateRequest{Model: model, Prompt: "one two", MaxTokens: 2, Stream: true})
				if err != nil {
					s.t.Fatal(err)
				}
				if rec := u.post(s, i, body); (rec.Class == sample.ClassAuth) != (key != "given") {
					s.t.Errorf("wire %s with the key %q: class %q: %s", w.Endpoint, key, rec.Class, rec.Error)
				}
			}
		})
	}
}

// unauthorized: a server that refuses every key fails requests as class auth, even
// where the engine itself knows none and a proxy stands before it.
func (u *suite) unauthorized(t *testing.T) {
	t.Helper()
	u.serve(t, setup{argv: u.argv(nil), faults: []string{"unauthorized"}}, func(s *server) {
		for i, w := range u.e.Wires {
			body, err := w.Encode(u.request(true))
			if err != nil {
				s.t.Fatal(err)
			}
			if rec := u.post(s, i, body); rec.Class != sample.ClassAuth {
				s.t.Errorf("wire %s of a server that refuses every key: class %q: %s", w.Endpoint, rec.Class, rec.Error)
			}
		}
	})
}

// wireKind is the captured wire of a table's wire: that of the route it posts to.
func (u *suite) wireKind(t *testing.T, w engine.Wire) string {
	t.Helper()
	r := u.route(http.MethodPost, w.Path)
	if r == nil {
		t.Fatalf("wire %s: the engine has no POST %s", w.Endpoint, w.Path)
	}
	return r.Kind
}

// fields: the allow-list of each wire is of fields that the engine knows; a
// field outside of it is refused before it is sent, and by an engine that
// refuses such fields itself too.
func (u *suite) fields(t *testing.T) {
	for i, w := range u.e.Wires {
		captured := u.s.Wires[u.wireKind(t, w)]
		for _, f := range w.Fields {
			if !knows(captured, f) {
				t.Errorf("wire %s: the engine does not know the field %s", w.Endpoint, f)
			}
		}
		request := engine.GenerateRequest{Model: model, Prompt: "one two", MaxTokens: 2, Stream: true}
		request.Extra = map[string]any{"no_such_field": 1}
		if _, err := w.Encode(request); err == nil || !strings.Contains(err.Error(), "no_such_field") {
			t.Errorf("wire %s: Encode of an unknown field: %v; want an error that names it", w.Endpoint, err)
		}
		request.Extra = nil
		body, err := w.Encode(request)
		if err != nil {
			t.Fatalf("wire %s: %v", w.Endpoint, err)
		}
		body = append([]byte(`{"no_such_field":1,`), body[1:]...)
		u.serve(t, setup{argv: u.argv(nil)}, func(s *server) {
			rec := u.post(s, i, body)
			if refused := rec.Status == http.StatusBadRequest; refused != (captured.UnknownField == "reject") {
				s.t.Errorf("wire %s: an unknown field: HTTP %d: %s; the engine is said to %s it", w.Endpoint, rec.Status, rec.Error, captured.UnknownField)
			}
		})
	}
}

// knows: the field stands in the body or in an object of it, where some engines
// keep the sampling parameters.
func knows(w sim.SurfaceWire, field string) bool {
	if slices.Contains(w.Fields, field) {
		return true
	}
	for _, inner := range w.Nested {
		if slices.Contains(inner, field) {
			return true
		}
	}
	return false
}

// streamed is the length of a streamed reply in tokens; the prompt has four
// words, and a chat's template adds tokens of its own.
const (
	streamed = 17
	prompt   = "one two three four"
	words    = 4
)

func (u *suite) request(stream bool) engine.GenerateRequest {
	zero := 0.0
	return engine.GenerateRequest{Model: model, Prompt: prompt, MaxTokens: streamed, IgnoreEOS: true, Stream: stream, Temperature: &zero}
}

// streams: every wire streams as many tokens as were asked for, one event each,
// with counts, usage and finish reason.
func (u *suite) streams(t *testing.T) {
	if len(u.e.Wires) == 0 {
		t.Fatal("Wires is empty: nothing can be generated")
	}
	u.serve(t, setup{argv: u.argv(nil)}, func(s *server) {
		for i, w := range u.e.Wires {
			body, err := w.Encode(u.request(true))
			if err != nil {
				s.t.Fatalf("wire %s: %v", w.Endpoint, err)
			}
			rec := u.post(s, i, body)
			u.full(s.t, w, rec)
			if len(rec.Events) != streamed {
				s.t.Errorf("wire %s: %d content events, want %d", w.Endpoint, len(rec.Events), streamed)
			}
			if rec.FirstText == sample.Never || rec.LastText <= rec.FirstText {
				s.t.Errorf("wire %s: first text at %d ns, last at %d ns", w.Endpoint, rec.FirstText, rec.LastText)
			}
			if last := lastCount(rec.Events); last != 0 && last != streamed {
				s.t.Errorf("wire %s: the last event that counts tells %d tokens, want %d", w.Endpoint, last, streamed)
			}
		}
	})
}

// several: with speculative decoding an event brings several tokens; the record
// holds fewer events than tokens, and counts that add up.
func (u *suite) several(t *testing.T) {
	on := u.speculate()
	if on == nil {
		return // its counts are held by the streams above
	}
	u.serve(t, setup{argv: u.argv(nil, on...)}, func(s *server) {
		for i, w := range u.e.Wires {
			body, err := w.Encode(u.request(true))
			if err != nil {
				s.t.Fatalf("wire %s: %v", w.Endpoint, err)
			}
			rec := u.post(s, i, body)
			u.full(s.t, w, rec)
			if n := len(rec.Events); n < 2 || n >= streamed {
				s.t.Errorf("wire %s: %d content events for %d tokens with speculative decoding, want fewer", w.Endpoint, n, streamed)
			}
			if last := lastCount(rec.Events); last != 0 && last != streamed {
				s.t.Errorf("wire %s: the last event that counts tells %d tokens, want %d", w.Endpoint, last, streamed)
			}
			instants := map[int64]bool{}
			for _, e := range rec.Events {
				instants[e.At] = true
			}
			if len(instants) != len(rec.Events) {
				s.t.Errorf("wire %s: %d content events at %d instants: one event a step is wanted", w.Endpoint, len(rec.Events), len(instants))
			}
		}
	})
}

// reasoning: where the server parses reasoning, the thoughts of a chat are told
// apart from the text that a user sees, in a stream and in a whole reply; where
// it does not, all is text that a user sees.
func (u *suite) reasoning(t *testing.T) {
	at := slices.IndexFunc(u.e.Wires, func(w engine.Wire) bool { return w.Endpoint == engine.EndpointChat })
	if at < 0 {
		t.Skip("the engine has no chat")
	}
	w := u.e.Wires[at]
	send := func(s *server, stream bool) sample.Record {
		body, err := w.Encode(u.request(stream))
		if err != nil {
			s.t.Fatal(err)
		}
		rec := sample.New(0, 0)
		rec.KeepText = 1 << 10
		s.c.Stream(s.ctx, w, body, "request-0", clock(time.Now()), &rec)
		u.full(s.t, w, rec)
		return rec
	}
	u.serve(t, setup{argv: u.argv(nil)}, func(s *server) {
		if rec := send(s, true); rec.FirstReasoning != sample.Never || rec.FirstVisible != rec.FirstText {
			s.t.Errorf("without a parser: first reasoning at %d ns, first visible text at %d, first text at %d", rec.FirstReasoning, rec.FirstVisible, rec.FirstText)
		}
	})
	on := u.parseReasoning()
	if on == nil {
		t.Fatal("no option switches the parsing of reasoning on")
	}
	u.serve(t, setup{argv: u.argv(nil, on...)}, func(s *server) {
		rec := send(s, true)
		if rec.FirstReasoning != rec.FirstText || rec.FirstVisible <= rec.FirstReasoning || rec.FirstVisible > rec.LastText || rec.FirstTool != sample.Never {
			s.t.Errorf("%v: first reasoning at %d ns, first visible text at %d, first tool call at %d, text from %d to %d", on, rec.FirstReasoning, rec.FirstVisible, rec.FirstTool, rec.FirstText, rec.LastText)
		}
		if at := slices.IndexFunc(rec.Events, func(e sample.Event) bool { return e.At == rec.FirstVisible }); at != streamed/2 {
			s.t.Errorf("%v: visible text begins with event %d, want %d", on, at, streamed/2)
		}
		body, err := w.Encode(u.request(false))
		if err != nil {
			s.t.Fatal(err)
		}
		r, err := s.c.Call(s.ctx, w.Endpoint, nil, body)
		var d engine.Delta
		if err != nil || w.Decode(r.Body, &d) != nil {
			s.t.Fatalf("%v: %v: %.200s", on, err, r.Body)
		}
		if n, m := len(strings.Fields(d.Reasoning)), len(strings.Fields(d.Text)); n != streamed/2 || m != streamed-streamed/2 {
			s.t.Errorf("%v: a whole reply with %d words of reasoning and %d visible, want %d and %d", on, n, m, streamed/2, streamed-streamed/2)
		}
	})
}

// parseReasoning are the words that make the server tell reasoning apart; nil
// when no option does.
func (u *suite) parseReasoning() []string {
	for _, o := range u.s.Options {
		if o.Knob != "reasoning" {
			continue
		}
		word := "deepseek_r1"
		if i := slices.IndexFunc(o.Choices, func(c string) bool { return c != "auto" }); i >= 0 {
			word = o.Choices[i]
		}
		return []string{o.Names[len(o.Names)-1], word}
	}
	return nil
}

func lastCount(events []sample.Event) int32 {
	for _, e := range slices.Backward(events) {
		if e.Tokens != 0 {
			return e.Tokens
		}
	}
	return 0
}

// full: the record of a request holds all that the engine tells.
func (u *suite) full(t *testing.T, w engine.Wire, rec sample.Record) {
	t.Helper()
	switch {
	case !rec.OK():
		t.Errorf("wire %s: class %s: %s", w.Endpoint, rec.Class, rec.Error)
	case rec.OutputTokens != streamed || rec.TokensBy != sample.TokensUsage:
		t.Errorf("wire %s: %d output tokens by %q, want %d by %q", w.Endpoint, rec.OutputTokens, rec.TokensBy, streamed, sample.TokensUsage)
	case rec.InputTokens < words:
		t.Errorf("wire %s: %d input tokens, want at least %d", w.Endpoint, rec.InputTokens, words)
	case rec.Finish != "length":
		t.Errorf("wire %s: finish reason %q, want length", w.Endpoint, rec.Finish)
	}
}

// wholeReplies: every wire reads a reply that is not streamed.
func (u *suite) wholeReplies(t *testing.T) {
	u.serve(t, setup{argv: u.argv(nil)}, func(s *server) {
		for i, w := range u.e.Wires {
			body, err := w.Encode(u.request(false))
			if err != nil {
				s.t.Fatalf("wire %s: %v", w.Endpoint, err)
			}
			u.full(s.t, w, u.post(s, i, body))
		}
	})
}

// serverErrors: what the engine says in an error reply reaches the record's
// error, whatever shape its body has.
func (u *suite) serverErrors(t *testing.T) {
	u.serve(t, setup{argv: u.argv(nil), faults: []string{"http-500"}}, func(s *server) {
		for i, w := range u.e.Wires {
			body, err := w.Encode(u.request(true))
			if err != nil {
				s.t.Fatal(err)
			}
			rec := u.post(s, i, body)
			if rec.Class != sample.ClassStatus || rec.Status != http.StatusInternalServerError || strings.ContainsAny(rec.Error, "{}") {
				s.t.Errorf("wire %s: class %q, HTTP %d, %q; want class %q, 500 and the engine's words without JSON", w.Endpoint, rec.Class, rec.Status, rec.Error, sample.ClassStatus)
			}
		}
	})
	u.serve(t, setup{argv: u.argv(nil)}, func(s *server) {
		for i, w := range u.e.Wires {
			long := u.request(true)
			long.Prompt = strings.Repeat("word ", 200_000)
			body, err := w.Encode(long)
			if err != nil {
				s.t.Fatal(err)
			}
			rec := u.post(s, i, body)
			if rec.Class != sample.ClassStatus || rec.Status != http.StatusBadRequest || !strings.Contains(rec.Error, "200") {
				s.t.Errorf("wire %s with a prompt that is too long: class %q, HTTP %d, %q; want class %q, 400 and the counts", w.Endpoint, rec.Class, rec.Status, rec.Error, sample.ClassStatus)
			}
		}
	})
}
