package sim

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// stream is the answer to one generating request: tokens come in from the
// scheduler through sink, events go out.
type stream struct {
	e        *Engine
	w        http.ResponseWriter
	q        *http.Request
	wire     SurfaceWire
	g        *generation
	r        *request
	chat     bool
	id       string // X-Request-Id
	key      uint64
	received time.Time
	news     chan struct{}

	mu      sync.Mutex
	arrived int   // tokens from the scheduler
	steps   []int // of these, those of each step that is still to be written; with speculation only
	done    bool
	first   time.Time // first token, by the scheduler

	data   Data
	out    int // tokens written
	think  int // tokens of reasoning that come before the text that a user sees
	soFar  strings.Builder
	frame  [2]string
	delta  *text
	parts  []part // of a delta that can be put together without its template; nil = fill the template
	buf    bytes.Buffer
	events []int64
	broken bool // the connection is gone, or was cut on purpose
}

// sink is called by the scheduler's loop, which it must not hold up.
func (s *stream) sink(n int, at time.Time, done bool) {
	s.mu.Lock()
	if s.first.IsZero() {
		s.first = at
	}
	s.arrived += n
	if s.e.d.specTokens > 0 && n > 0 {
		s.steps = append(s.steps, n)
	}
	s.done = done
	s.mu.Unlock()
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// take waits for tokens beyond those written.
func (s *stream) take() (arrived int, done, ok bool) {
	select {
	case <-s.news:
	case <-s.q.Context().Done():
		return 0, false, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.arrived, s.done, true
}

// step is the number of tokens of the next event: those of a step of the model,
// which are several where drafted ones were right, and one otherwise.
func (s *stream) step() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.steps) == 0 {
		return 1
	}
	n := s.steps[0]
	s.steps = s.steps[1:]
	return n
}

// answer writes the reply until its end or that of the connection.
func (s *stream) answer() {
	s.prepare()
	if s.g.stream {
		s.events = make([]int64, 0, min(s.r.output, 4096))
		s.answerStream()
	} else {
		s.answerWhole()
	}
	if s.broken || s.q.Context().Err() != nil {
		s.e.cancel(s.r)
		return
	}
	s.record()
	s.e.log("request", func(d *Data) {
		*d = mergeReply(*d, s.data)
	})
}

// mergeReply puts what is known of a reply into the data of a log line.
func mergeReply(d, reply Data) Data {
	d.ID, d.InputTokens, d.OutputTokens, d.CachedTokens, d.Finish = reply.ID, reply.InputTokens, reply.OutputTokens, reply.CachedTokens, reply.Finish
	d.E2EMs, d.TTFTMs, d.QueueMs, d.Stream = reply.E2EMs, reply.TTFTMs, reply.QueueMs, reply.Stream
	return d
}

func (s *stream) prepare() {
	s.e.describe(&s.data)
	s.data.ID = s.replyID()
	s.data.Created = s.received.Unix()
	s.data.InputTokens, s.data.Stream = s.g.input, s.g.stream
	if s.e.o.Faults.wrongUsage {
		s.data.InputTokens = s.g.input + s.g.input/3 + 1
	}
	s.frame[0], s.frame[1], _ = strings.Cut(s.wire.Frame, "{event}")
	if s.chat && s.e.reasons() {
		s.think = s.r.output / 2
	}
	s.data.Thinking = s.think > 0
}

// reasons says that the argv names a parser of reasoning, without which a model's
// thoughts are text like any other. "auto" leaves it to the model, and the
// simulated one does not think.
func (e *Engine) reasons() bool {
	switch e.inv.text("reasoning") {
	case "", "auto", "off", "none", "false":
		return false
	}
	return true
}

// replyID is 32 hexadecimal digits that depend on the request alone.
func (s *stream) replyID() string {
	return fmt.Sprintf("%016x%016x", s.key*0x9E3779B97F4A7C15, (s.key^0xabcdef)*0xBF58476D1CE4E5B9)
}

// progress sets the fields that change with each token.
func (s *stream) progress(now time.Time, last bool) {
	d := &s.data
	d.OutputTokens = s.out
	if s.e.o.Faults.wrongUsage {
		d.OutputTokens = s.out*2 + 3
	}
	d.E2EMs = float64(now.Sub(s.received).Microseconds()) / 1000
	d.Finish = ""
	if last {
		d.Finish = "length"
		if s.r.stop {
			d.Finish = "stop"
		}
	}
}

// learn takes over what the scheduler knows of the request by its first token.
func (s *stream) learn() {
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	s.data.CachedTokens = s.r.cached
	s.data.QueueMs = float64(s.r.started.Sub(s.received).Microseconds()) / 1000
	s.data.TTFTMs = float64(s.r.firstToken.Sub(s.received).Microseconds()) / 1000
}

func (s *stream) nextWord() string {
	t := word(s.g.key^s.e.o.Seed, s.out)
	if s.out > 0 {
		t = " " + t
	}
	s.out++
	return t
}

func (s *stream) answerWhole() {
	for {
		arrived, done, ok := s.take()
		if !ok {
			return
		}
		if !done {
			continue
		}
		if arrived == 0 {
			s.e.fail(s.w, s.q, "internal", http.StatusInternalServerError, func(d *Data) { d.Message = "request aborted" })
			s.broken = true
			return
		}
		s.learn()
		var thoughts strings.Builder
		for s.out < arrived {
			b := &s.soFar
			if s.out < s.think {
				b = &thoughts
			}
			b.WriteString(s.nextWord())
		}
		s.data.Thoughts = thoughts.String()
		break
	}
	now := time.Now()
	s.progress(now, true)
	s.events = []int64{now.UnixNano()}
	s.data.SoFar = s.soFar.String()
	s.data.Text = s.data.SoFar
	s.data.WithUsage = !s.e.o.Faults.noUsage
	body := s.e.surface.fill(s.wire.Whole, &s.data)
	if s.e.o.Faults.noUsage {
		body = dropUsage(body)
	}
	h := s.w.Header()
	h.Set("Content-Type", s.wire.WholeType)
	if s.wire.WholeType == "" {
		h.Set("Content-Type", jsonType)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	s.w.Write(body)
}

func (s *stream) answerStream() {
	cut := s.faultAt("reset-stream", s.e.o.Faults.resetStream)
	garble := s.faultAt("malformed-sse", s.e.o.Faults.malformedSSE)
	s.delta = s.e.surface.files[s.wire.Delta]
	for {
		arrived, done, ok := s.take()
		if !ok {
			return
		}
		if arrived == 0 { // given up before its first token
			s.e.fail(s.w, s.q, "internal", http.StatusInternalServerError, func(d *Data) { d.Message = "request aborted" })
			s.broken = true
			return
		}
		if s.out == 0 {
			s.begin()
		}
		for s.out < arrived && !s.broken {
			n := s.step()
			within := func(token int) bool { return s.out < token && token <= s.out+n }
			switch {
			case within(cut):
				s.reset()
				return
			case within(garble):
				s.send(s.frame[0] + `{"id":"` + s.data.ID + `","choices":[{"index":0,"te` + s.frame[1])
				garble = 0
			}
			s.event(n, done && s.out+n == arrived)
		}
		if s.broken {
			return
		}
		if done {
			s.end()
			return
		}
	}
}

// faultAt is the event, from 1, at which a fault strikes this stream; 0 = never.
func (s *stream) faultAt(name string, share float64) int {
	if share <= 0 || draw(s.e.o.Seed, name, s.key) >= share {
		return 0
	}
	return 2 + int(draw(s.e.o.Seed, name+"-at", s.key)*float64(min(s.r.output, 8)))
}

// begin sends the header and the event before the first text.
func (s *stream) begin() {
	h := s.w.Header()
	h.Set("Content-Type", s.wire.ContentType)
	h.Set("Cache-Control", "no-cache")
	if s.wire.CloseAfterStream {
		h.Set("Keep-Alive", "timeout=5, max=100")
	}
	s.w.WriteHeader(http.StatusOK)
	s.learn()
	s.data.WithUsage = s.eventUsage()
	s.findParts()
	if s.wire.First != "" {
		s.sendEvent(s.wire.First)
	}
}

func (s *stream) eventUsage() bool {
	switch {
	case s.e.o.Faults.noUsage:
		return false
	case s.wire.UsageWhen == "always":
		return true
	}
	return s.wire.UsageWhen == "each_event_when_asked" && s.g.perEvent
}

// event sends n tokens. One that begins with reasoning is all reasoning.
func (s *stream) event(n int, last bool) {
	if thinking := s.out < s.think; thinking != s.data.Thinking {
		s.data.Thinking = thinking
		s.findParts()
	}
	t := s.nextWord()
	for range n - 1 {
		t += s.nextWord()
	}
	now := time.Now()
	s.progress(now, last && s.wire.FinishInLastDelta)
	s.data.Text = t
	if s.wire.Cumulative {
		s.soFar.WriteString(t)
		s.data.SoFar = s.soFar.String()
	}
	s.buf.Reset()
	s.buf.WriteString(s.frame[0])
	switch {
	case s.parts != nil && !last:
		s.writeParts(&s.buf, &s.data)
	case s.delta != nil:
		if s.e.o.Faults.noUsage && s.wire.UsageWhen == "always" {
			s.buf.Write(dropUsage(s.e.surface.fill(s.wire.Delta, &s.data)))
		} else {
			s.delta.write(&s.buf, &s.data)
		}
	}
	s.buf.WriteString(s.frame[1])
	s.events = append(s.events, time.Now().UnixNano())
	s.flush(s.buf.Bytes())
}

// part is a piece of a delta: literal text, or what changes with each token.
type part struct {
	literal string
	kind    partKind
}

type partKind byte

const (
	partLiteral partKind = iota
	partText
	partOutput // output tokens so far
	partTotal  // with those of the prompt
)

// What stands for a token's text and count where a delta is tried: nothing else
// in it reads so.
const (
	probeText  = "Qx7tokenQx7"
	probeCount = 710_000_017
)

// findParts fills the delta once with marks for what changes from token to
// token and cuts it at them; where the pieces, put together for another token,
// equal what the template makes of it, the template need not run for each token:
// it is nine tenths of an event's cost. Generated words are plain letters, so
// that they stand in JSON as they are.
func (s *stream) findParts() {
	s.parts = nil
	if s.wire.Cumulative || s.delta == nil || s.delta.tmpl == nil || s.e.o.Faults.noUsage {
		return
	}
	d := s.data
	d.Text, d.OutputTokens, d.SoFar, d.Finish, d.E2EMs = probeText, probeCount, "a", "", 1.5
	var b bytes.Buffer
	s.delta.write(&b, &d)
	s.parts = cutParts(b.String(), []string{partText: probeText, partOutput: strconv.Itoa(probeCount), partTotal: strconv.Itoa(probeCount + d.InputTokens)})
	d.Text, d.OutputTokens, d.SoFar, d.E2EMs = "other", 41, "b", 77.25
	var want, got bytes.Buffer
	s.delta.write(&want, &d)
	s.writeParts(&got, &d)
	if want.String() != got.String() {
		s.parts = nil
	}
}

func cutParts(text string, marks []string) (out []part) {
	for text != "" {
		at, kind := len(text), partLiteral
		for k := partText; k <= partTotal; k++ {
			if i := strings.Index(text, marks[k]); i >= 0 && i < at {
				at, kind = i, k
			}
		}
		if at > 0 {
			out = append(out, part{literal: text[:at]})
		}
		if kind == partLiteral {
			return out
		}
		out = append(out, part{kind: kind})
		text = text[at+len(marks[kind]):]
	}
	return out
}

func (s *stream) writeParts(b *bytes.Buffer, d *Data) {
	for _, p := range s.parts {
		switch p.kind {
		case partLiteral:
			b.WriteString(p.literal)
		case partText:
			b.WriteString(d.Text)
		case partOutput:
			b.Write(strconv.AppendInt(b.AvailableBuffer(), int64(d.OutputTokens), 10))
		case partTotal:
			b.Write(strconv.AppendInt(b.AvailableBuffer(), int64(d.OutputTokens+d.InputTokens), 10))
		}
	}
}

// end sends what follows the last token.
func (s *stream) end() {
	now := time.Now()
	s.progress(now, true)
	s.data.Text = ""
	if s.wire.Finish != "" {
		s.sendEvent(s.wire.Finish)
	}
	asked := s.g.usage || s.wire.UsageWhen == "always"
	if s.wire.Usage != "" && asked && !s.e.o.Faults.noUsage {
		s.data.WithUsage = true
		s.sendEvent(s.wire.Usage)
	}
	if s.wire.Done != "" {
		s.send(s.wire.Done)
	}
	if s.wire.CloseAfterStream {
		closeSilently(s.q)
	}
}

func (s *stream) sendEvent(file string) {
	body := s.e.surface.fill(file, &s.data)
	if s.e.o.Faults.noUsage {
		body = dropUsage(body)
	}
	s.send(s.frame[0] + string(body) + s.frame[1])
}

func (s *stream) send(text string) { s.flush([]byte(text)) }

func (s *stream) flush(b []byte) {
	if _, err := s.w.Write(b); err != nil {
		s.broken = true
		return
	}
	if f, ok := s.w.(http.Flusher); ok {
		f.Flush()
	}
}

// reset cuts the connection as a crash does: without the end of the body, and
// on TCP with a reset.
func (s *stream) reset() {
	s.broken = true
	h, ok := s.w.(http.Hijacker)
	if !ok {
		panic(http.ErrAbortHandler) // net/http's own way to cut a reply short
	}
	conn, _, err := h.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}

// record writes the truth of a finished request.
func (s *stream) record() {
	if s.e.truth == nil {
		return
	}
	t := TruthRecord{
		ID: s.id, ReceivedNs: s.received.UnixNano(), FinishedNs: time.Now().UnixNano(),
		InputTokens: s.g.input, OutputTokens: s.out, EventsNs: s.events,
	}
	if n := len(s.events); n > 0 {
		t.FirstNs, t.LastNs = s.events[0], s.events[n-1]
	}
	s.e.truth.add(t)
}
