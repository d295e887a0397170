package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"llmdyno/internal/engine"
	"llmdyno/internal/load/sample"
)

// Clock tells the nanoseconds since a trial began.
type Clock interface{ Now() int64 }

// drainTime bounds the wait for the end of the HTTP body after [DONE]; with the
// end seen the connection can be used again.
const drainTime = time.Second

// maxEvents bounds what one stream may leave in the record.
const maxEvents = 1 << 21

// readBuffer is the largest part of a stream that one read takes.
const readBuffer = 16 << 10

var readBuffers = sync.Pool{New: func() any { return new([readBuffer]byte) }}

// Stream posts body to the wire's endpoint, reads the reply, as a stream of
// events or whole, and fills rec: every instant from Begin on, counts, status
// and, when it failed, class and error. Sched, Index and the wanted lengths are
// the caller's. A request that died on a kept-alive connection before a byte of
// the reply is sent once more on a fresh one and marked StaleRetry. ctx bounds
// it. The caller makes rec with [sample.New].
func (c *Client) Stream(ctx context.Context, w engine.Wire, body []byte, id string, clock Clock, rec *sample.Record) {
	rec.RequestID = id
	rec.Begin = clock.Now()
	rec.Send = rec.Begin
	if c.direct != nil && plainID(id) {
		c.streamDirect(ctx, &w, body, clock, rec)
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := c.send(ctx, w.Path, body, id, clock, rec)
	if err != nil {
		c.failed(rec, clock, ClassOf(err), "POST "+w.Path+": "+err.Error())
		return
	}
	defer resp.Body.Close()
	rec.Header, rec.Status = clock.Now(), resp.StatusCode
	s := stream{client: c, wire: &w, clock: clock, rec: rec}
	switch {
	case resp.StatusCode != http.StatusOK:
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 16<<10))
		c.failed(rec, clock, statusClass(resp.StatusCode), "POST "+w.Path+": "+resp.Status+": "+c.reason(text))
	case strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json"):
		s.whole(ctx, resp.Body)
	default:
		s.events(ctx, cancel, resp.Body)
	}
}

func (c *Client) failed(rec *sample.Record, clock Clock, class sample.Class, text string) {
	if rec.Done == sample.Never {
		rec.Done = clock.Now()
	}
	rec.Class, rec.Error = class, c.oneLine("%s", text)
}

// cause prefers the reason why ctx ended over the transport's words for it.
func cause(ctx context.Context, err error) error {
	switch ctx.Err() {
	case nil:
		return err
	case context.Canceled:
		return ended{context.Cause(ctx)}
	}
	return ctx.Err()
}

// ended is an interruption with the words of whoever interrupted.
type ended struct{ why error }

func (e ended) Error() string {
	if e.why == context.Canceled {
		return "interrupted"
	}
	return "interrupted: " + e.why.Error()
}
func (e ended) Unwrap() []error { return []error{e.why, context.Canceled} }

// attempt is what the transport tells of one attempt, from its own goroutines.
type attempt struct {
	conns      atomic.Int32 // connections taken: net/http itself tries again when nothing was written
	send       atomic.Int64
	dialed     atomic.Bool // had to wait for a connection to be made, its own or another's
	reused     atomic.Bool
	firstBytes atomic.Bool
}

// send posts a request. err's class is known from where it broke off: without a
// connection it is a failure to connect.
func (c *Client) send(ctx context.Context, path string, body []byte, id string, clock Clock, rec *sample.Record) (*http.Response, error) {
	a := new(attempt)
	resp, err := c.attempt(ctx, c.kept, path, body, id, clock, a)
	retried := a.conns.Load() > 1
	if err != nil && a.reused.Load() && !a.firstBytes.Load() && stale(ctx, err) {
		retried, a = true, new(attempt) // the transport may still write to the old one
		resp, err = c.attempt(ctx, c.fresh, path, body, id, clock, a)
	}
	connected := a.conns.Load() > 0
	if connected {
		rec.Send = a.send.Load()
		rec.ConnReused = a.reused.Load()
		if !rec.ConnReused || a.dialed.Load() {
			rec.Conn = rec.Send
		}
	}
	rec.StaleRetry = retried
	if err == nil {
		return resp, nil
	}
	class, words := classify(cause(ctx, err))
	if !connected && class == sample.ClassTimeout {
		class, words = sample.ClassConnect, "no connection within the time allowed"
	}
	return nil, &Error{class, words, err}
}

func (c *Client) attempt(ctx context.Context, t *http.Transport, path string, body []byte, id string, clock Clock, a *attempt) (*http.Response, error) {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		ConnectStart: func(string, string) { a.dialed.Store(true) },
		GotConn: func(i httptrace.GotConnInfo) {
			a.reused.Store(i.Reused)
			a.conns.Add(1)
			a.send.Store(clock.Now())
		},
		GotFirstResponseByte: func() { a.firstBytes.Store(true) },
	})
	r := c.request(ctx, http.MethodPost, path, nil, body)
	r.Header.Set("X-Request-Id", id)
	r.Header.Set("Accept", "text/event-stream")
	return t.RoundTrip(r)
}

// stale says that an error is what a connection gives that the other side had
// already closed. net/http has no exported error for it (Go 1.26 net/http
// transport.go, errServerClosedIdle), so its words are matched as well.
func stale(ctx context.Context, err error) bool {
	return ctx.Err() == nil && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) ||
		strings.Contains(err.Error(), "server closed idle connection"))
}

// stream turns the reply of one request into its record.
type stream struct {
	client *Client
	wire   *engine.Wire
	clock  Clock
	rec    *sample.Record
	delta  engine.Delta
	shape  engine.Shape

	text   int    // bytes of a cumulative text so far
	tokens int    // tokens so far by the events
	texts  int    // events with text
	inRead int    // events with text in the present read
	now    int64  // instant of the present read
	lag    uint16 // µs from the arrival in the kernel to the read
	kernel bool   // now is the kernel's
	done   bool   // [DONE] has come
	usage  engine.Usage
	told   bool // usage has come
	cut    bool // the text was longer than what may be kept
}

var (
	errDone   = errors.New("end of stream")
	errCut    = errors.New("the stream ended within an event")
	errEvents = fmt.Errorf("more than %d events in one stream", maxEvents)
)

// inBand is an error that came as an event.
type inBand string

func (e inBand) Error() string { return "the stream says: " + string(e) }

// malformed is an event that cannot be decoded.
type malformed struct{ err error }

func (e malformed) Error() string { return "the reply cannot be read: " + e.err.Error() }

func (s *stream) events(ctx context.Context, cancel func(), body io.Reader) {
	buf := readBuffers.Get().(*[readBuffer]byte)
	defer readBuffers.Put(buf)
	var sse sseReader
	var err error
	for err == nil {
		var n int
		n, err = body.Read(buf[:])
		s.now = s.clock.Now()
		first := s.readBegins()
		if bad := sse.feed(buf[:n], s.event); bad != nil {
			err = bad
		} else if err == io.EOF {
			err = s.lastEvent(&sse)
		}
		s.readEnds(first)
	}
	s.rec.Done = s.now
	if errors.Is(err, errDone) {
		s.drain(cancel, body, buf[:])
	}
	s.close(ctx, err)
}

func (s *stream) readBegins() (first int) {
	s.inRead = 0
	return len(s.rec.Events)
}

// readEnds marks the events of a read that brought several.
func (s *stream) readEnds(first int) {
	if s.inRead > 1 {
		for i := first; i < len(s.rec.Events); i++ {
			s.rec.Events[i].Shared = true
		}
	}
}

// lastEvent takes what the end of the body left without its blank line. What
// cannot be read of it was cut.
func (s *stream) lastEvent(sse *sseReader) error {
	err := sse.end(s.event)
	var bad malformed
	switch {
	case errors.As(err, &bad):
		return errCut
	case err != nil:
		return err
	}
	return io.EOF
}

// drain reads on to the end of the body, for a bounded time.
func (s *stream) drain(cancel func(), body io.Reader, buf []byte) {
	stop := time.AfterFunc(drainTime, cancel)
	defer stop.Stop()
	for {
		if _, err := body.Read(buf); err != nil {
			return
		}
	}
}

// event takes the data of one event.
func (s *stream) event(data []byte) error {
	if s.rec.KeepText == 0 { // a match says how long the text is, not what it is
		if text, ok := s.shape.Match(data); ok {
			s.shape.Matched()
			s.count(s.shape.Like())
			if text > 0 {
				s.firstOf(s.shape.Kind())
			}
			return s.decoded(s.shape.Like(), len(data), text)
		}
	}
	if bytes.Equal(bytes.TrimSpace(data), []byte("[DONE]")) {
		s.done = true
		return errDone
	}
	if err := s.wire.Decode(data, &s.delta); err != nil {
		return malformed{err}
	}
	d := &s.delta
	if d.Error != "" {
		return inBand(d.Error)
	}
	if s.wire.Alike {
		s.shape.Learn(data, d, s.wire.Decode)
	}
	s.count(d)
	s.firsts(d)
	s.keep(d)
	return s.decoded(d, len(data), len(d.Text)+len(d.Reasoning)+len(d.ToolArgs))
}

// firstOf marks the first text of a kind.
func (s *stream) firstOf(k engine.TextKind) {
	at := &s.rec.FirstVisible
	switch k {
	case engine.TextReasoning:
		at = &s.rec.FirstReasoning
	case engine.TextTool:
		at = &s.rec.FirstTool
	}
	if *at == sample.Never {
		*at = s.now
	}
}

func (s *stream) firsts(d *engine.Delta) {
	if d.Text != "" {
		s.firstOf(engine.TextVisible)
	}
	if d.Reasoning != "" {
		s.firstOf(engine.TextReasoning)
	}
	if d.ToolArgs != "" {
		s.firstOf(engine.TextTool)
	}
}

// keep adds what an event says to the text that is kept, up to its bound. A
// cumulative text takes the place of the one before.
func (s *stream) keep(d *engine.Delta) {
	r := s.rec
	if r.KeepText == 0 || s.cut {
		return
	}
	if d.Cumulative && d.Text != "" {
		r.Text = r.Text[:0]
	}
	if len(r.Text)+len(d.Reasoning)+len(d.Text)+len(d.ToolArgs) > r.KeepText {
		r.Text, s.cut = nil, true
		return
	}
	r.Text = append(append(append(r.Text, d.Reasoning...), d.Text...), d.ToolArgs...)
}

// decoded takes an event of size bytes with text bytes of text.
func (s *stream) decoded(d *engine.Delta, size, text int) error {
	if d.HasChoices {
		if s.rec.FirstChoices == sample.Never {
			s.rec.FirstChoices = s.now
		}
		s.rec.LastChoices = s.now
	}
	if n := s.newText(d, text); n > 0 {
		if len(s.rec.Events) >= maxEvents {
			return malformed{errEvents}
		}
		s.content(size, n, d.Tokens)
	}
	return nil
}

func (s *stream) count(d *engine.Delta) {
	if d.Usage != nil {
		s.usage, s.told, s.rec.UsageAt = *d.Usage, true, s.now
	}
	s.tokens = max(s.tokens, d.Tokens)
	if d.Finish != "" {
		s.rec.Finish = d.Finish
	}
}

// newText is the number of bytes of generated content that an event adds, of
// those that it carries.
func (s *stream) newText(d *engine.Delta, text int) int {
	if !d.Cumulative {
		return text
	}
	rest := len(d.Reasoning) + len(d.ToolArgs)
	sofar := text - rest
	n := max(0, sofar-s.text) // a text can shrink: the mark of half a character gives way to the whole one
	s.text = sofar
	return n + rest
}

func (s *stream) content(size, text, tokens int) {
	if s.rec.FirstText == sample.Never {
		s.rec.FirstText = s.now
	}
	s.rec.LastText = s.now
	s.texts++
	s.inRead++
	e := sample.Event{At: s.now, Bytes: int32(size), Text: int32(text), LagUs: s.lag, Kernel: s.kernel}
	if tokens > 0 {
		e.Tokens = int32(min(tokens, 1<<31-1))
	}
	s.rec.Events = append(s.rec.Events, e)
}

// close judges how the stream ended.
func (s *stream) close(ctx context.Context, err error) {
	s.countTokens()
	var said inBand
	var bad malformed
	fail := func(class sample.Class, text string) {
		s.client.failed(s.rec, s.clock, class, "POST "+s.wire.Path+": "+text)
	}
	switch {
	case errors.As(err, &said):
		fail(sample.ClassInBand, err.Error())
	case errors.As(err, &bad):
		fail(sample.ClassMalformed, err.Error())
	case errors.Is(err, errCut):
		fail(sample.ClassTruncated, err.Error())
	case !s.done && !errors.Is(err, io.EOF):
		class, words := classify(cause(ctx, err))
		fail(class, words)
	case !s.done && s.wire.DoneMarker:
		fail(sample.ClassTruncated, "the stream ended without [DONE]")
	case !s.done && s.rec.Finish == "":
		fail(sample.ClassTruncated, "the stream ended without a finish reason")
	case s.rec.OutputTokens == 0:
		fail(sample.ClassEmpty, "the stream ended well but brought no token")
	}
}

// countTokens takes the server's own counts; without them the events with text
// are counted, which is a lower bound. The requested length is never used.
func (s *stream) countTokens() {
	r := s.rec
	switch {
	case s.told:
		r.InputTokens, r.OutputTokens = max(s.usage.Prompt, 0), max(s.usage.Completion, 0)
		r.CachedTokens, r.TokensBy = s.usage.Cached, sample.TokensUsage
	case s.tokens > 0:
		r.OutputTokens, r.TokensBy = s.tokens, sample.TokensUsage
	case s.texts > 0:
		r.OutputTokens, r.TokensBy = s.texts, sample.TokensEvents
	}
	if r.TokensBy == sample.TokensUsage && !r.KeepCounted {
		r.Text = nil
	}
}

// whole takes a reply that is not a stream: it has no first token.
func (s *stream) whole(ctx context.Context, body io.Reader) {
	data, err := io.ReadAll(io.LimitReader(body, s.client.maxBody+1))
	s.now = s.clock.Now()
	s.rec.Done = s.now
	s.take(ctx, data, err)
}

// take takes the whole body of such a reply, read up to err.
func (s *stream) take(ctx context.Context, data []byte, err error) {
	if err == nil && int64(len(data)) > s.client.maxBody {
		err = malformed{fmt.Errorf("longer than %d bytes", s.client.maxBody)}
	}
	if err == nil {
		if bad := s.wire.Decode(data, &s.delta); bad != nil {
			err = malformed{bad}
		} else if s.delta.Error != "" {
			err = inBand(s.delta.Error)
		}
	}
	if err != nil {
		s.close(ctx, err)
		return
	}
	s.count(&s.delta)
	s.keep(&s.delta)
	if s.delta.HasChoices {
		s.rec.LastChoices = s.now
	}
	s.texts = 0 // one reply is no count of tokens
	s.done = true
	s.countTokens()
	d := &s.delta
	if len(d.Text)+len(d.Reasoning)+len(d.ToolArgs) == 0 && s.rec.OutputTokens == 0 {
		s.client.failed(s.rec, s.clock, sample.ClassEmpty, "POST "+s.wire.Path+": the reply brought no token")
	}
}
