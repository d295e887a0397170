package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"llmdyno/internal/engine"
	"llmdyno/internal/load/sample"
)

// This file is the short way of a stream: over plain TCP on Linux a request is
// written in one call, and its reply read by a [poller] that asks the kernel
// when each part of it arrived. Everything else goes through net/http.

// stamp is the instant of a read.
type stamp struct {
	wall   int64 // Unix nanoseconds after the read
	lag    int64 // ns from the arrival to the read; 0 where the kernel gave no instant
	kernel bool
}

// maxKernelLag is the longest lag that is believed: beyond it the wall clock was
// set between arrival and read.
const maxKernelLag = int64(time.Minute)

// head is the constant part of the head of every request to a path.
func (c *Client) head(path string) []byte {
	u := url.URL{Path: c.base.Path + path}
	h := c.header.Clone()
	h.Set("Content-Type", "application/json")
	h.Set("Accept", "text/event-stream")
	agent := h.Get("User-Agent")
	if agent == "" {
		agent = "Go-http-client/1.1" // as the other way says
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\n", u.RequestURI(), c.base.Host, strings.Join(strings.Fields(agent), " "))
	h.WriteSubset(&b, map[string]bool{ // a bytes.Buffer takes everything
		"Host": true, "User-Agent": true, "Content-Length": true, "Transfer-Encoding": true, "Trailer": true, "X-Request-Id": true, "Connection": true,
	})
	return b.Bytes()
}

// plainID says that an id can stand in a head as it is.
func plainID(id string) bool {
	for i := range len(id) {
		if id[i] < 0x20 || id[i] > 0x7e {
			return false
		}
	}
	return true
}

func fullHead(fixed []byte, id string, length int) []byte {
	b := make([]byte, 0, len(fixed)+len(id)+64)
	b = append(append(append(b, fixed...), "X-Request-Id: "...), id...)
	b = strconv.AppendInt(append(b, "\r\nContent-Length: "...), int64(length), 10)
	return append(b, "\r\n\r\n"...)
}

// pending is one request on a connection and what has come of its reply. Its
// members belong to the holder of the connection's lock until ended is closed.
type pending struct {
	stream
	reply    reply
	sse      sseReader
	text     []byte // body of a reply that is no stream
	max      int    // bound on text
	answered bool   // a byte of the reply has come
	headed   bool   // its head has come
	streams  bool
	over     bool // nothing further of the body counts
	verdict  error
	ended    chan struct{}
	writable chan struct{} // non-nil: the writer waits for room
	drain    *time.Timer
}

// errTextFull is a reply longer than is wanted of it.
var errTextFull = errors.New("longer than is read")

// read takes the bytes of one read. It reports that the exchange is over and
// whether the connection can be used again.
func (x *pending) read(p []byte, at stamp) (over, reusable bool) {
	x.answered = true
	x.arrived(at)
	first := x.readBegins()
	err := x.reply.feed(p, x.body)
	if x.reply.inBody() {
		x.head()
	}
	if err == nil && x.reply.state == atEnd {
		x.bodyEnded()
		x.readEnds(first)
		return true, x.reply.keep
	}
	x.readEnds(first)
	if err != nil {
		x.settle(err)
		return true, false
	}
	return false, false
}

// arrived sets the instant of what is being read: not before what was read
// earlier, whose instant may have been that of the read.
func (x *pending) arrived(at stamp) {
	x.now = max(x.now, x.rec.Send, x.clock.Now()-at.lag)
	x.kernel, x.lag = at.kernel, uint16(min(at.lag/int64(time.Microsecond), 1<<16-1))
}

// head notes that the status is known, once.
func (x *pending) head() {
	if x.headed {
		return
	}
	x.headed = true
	x.rec.Header, x.rec.Status = x.now, x.reply.status
	switch {
	case x.reply.status != http.StatusOK:
		x.max = 16 << 10
	case strings.HasPrefix(x.reply.content, "application/json"):
		x.max = int(min(x.client.maxBody, 1<<40)) + 1
	default:
		x.streams = true
	}
}

func (x *pending) body(p []byte) error {
	x.head()
	switch {
	case x.over:
		return nil
	case !x.streams:
		x.text = append(x.text, p[:min(len(p), x.max-len(x.text))]...)
		if len(x.text) >= x.max {
			return errTextFull
		}
		return nil
	}
	err := x.sse.feed(p, x.event)
	if errors.Is(err, errDone) {
		x.settle(err)
		return nil // on to the end, so that the connection can be used again
	}
	return err
}

// settle fixes how the reply ended; what comes later changes nothing.
func (x *pending) settle(err error) {
	if !x.over {
		x.over, x.verdict, x.rec.Done = true, err, x.now
	}
}

func (x *pending) bodyEnded() {
	switch {
	case x.over:
	case x.streams:
		x.settle(x.lastEvent(&x.sse))
	default:
		x.settle(io.EOF)
	}
}

// broken takes the end of the connection, or the reason why it cannot be read.
func (x *pending) broken(err error) {
	switch {
	case !errors.Is(err, io.EOF):
		x.settle(err)
	case x.reply.state == atOpen:
		x.bodyEnded()
	case x.answered:
		x.settle(io.ErrUnexpectedEOF)
	default:
		x.settle(io.EOF)
	}
}

// judge fills the record from how the exchange ended.
func (x *pending) judge(ctx context.Context) {
	c, err := x.client, x.verdict
	if x.drain != nil {
		x.drain.Stop()
	}
	switch {
	case !x.headed:
		class, words := classify(cause(ctx, err))
		c.failed(x.rec, x.clock, class, "POST "+x.wire.Path+": "+words)
	case x.reply.status != http.StatusOK:
		c.failed(x.rec, x.clock, statusClass(x.reply.status), "POST "+x.wire.Path+": "+x.reply.phrase+": "+c.reason(x.text))
	case x.streams:
		x.close(ctx, err)
	case errors.Is(err, io.EOF) || errors.Is(err, errTextFull):
		x.take(ctx, x.text, nil)
	default:
		x.take(ctx, x.text, err)
	}
}

// heads keeps the heads of the paths that requests go to.
type heads struct {
	mu sync.Mutex
	of map[string][]byte
}

func (h *heads) get(c *Client, path string) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	b, ok := h.of[path]
	if !ok {
		if h.of == nil {
			h.of = map[string][]byte{}
		}
		b = c.head(path)
		h.of[path] = b
	}
	return b
}

// streamDirect is Stream over the direct way.
func (c *Client) streamDirect(ctx context.Context, w *engine.Wire, body []byte, clock Clock, rec *sample.Record) {
	head := fullHead(c.direct.heads.get(c, w.Path), rec.RequestID, len(body))
	for attempt := 0; ; attempt++ {
		x := &pending{stream: stream{client: c, wire: w, clock: clock, rec: rec}, ended: make(chan struct{})}
		cn, err := c.direct.connect(ctx, clock, rec, attempt > 0)
		if err != nil {
			class, words := classify(cause(ctx, err))
			if class == sample.ClassTimeout {
				class, words = sample.ClassConnect, "no connection within the time allowed"
			}
			c.failed(rec, clock, class, "POST "+w.Path+": "+words)
			return
		}
		if cn.send(ctx, x, head, body) {
			rec.StaleRetry = true
			rec.Done = sample.Never
			continue
		}
		x.judge(ctx)
		return
	}
}
