package client

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"llmdyno/internal/engine"
	"llmdyno/internal/load/sample"
)

// rawServer answers each request with the bytes that its body names, written
// in pieces, then closes the connection where close is asked for.
func rawServer(t testing.TB, answer func(request int) (pieces [][]byte, end bool)) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	var mu sync.Mutex
	n := 0
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 64<<10)
				for {
					c.SetReadDeadline(time.Now().Add(20 * time.Second))
					var request []byte
					for !bytes.Contains(request, []byte("\r\n\r\n{}")) {
						k, err := c.Read(buf)
						if err != nil {
							return
						}
						request = append(request, buf[:k]...)
					}
					mu.Lock()
					pieces, end := answer(n)
					n++
					mu.Unlock()
					for _, p := range pieces {
						if _, err := c.Write(p); err != nil {
							return
						}
					}
					if end {
						return
					}
				}
			}()
		}
	}()
	return "http://" + ln.Addr().String()
}

func clientTo(t testing.TB, url string, portable bool) *Client {
	t.Helper()
	c, err := New(Options{BaseURL: url, Portable: portable})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func streamOnce(ctx context.Context, c *Client, w engine.Wire) sample.Record {
	rec := sample.New(0, 0)
	c.Stream(ctx, w, []byte("{}"), "r1", wallClock(time.Now()), &rec)
	return rec
}

// timeless is what must be equal however a stream was read.
func timeless(r sample.Record) sample.Record {
	happened := func(at int64) int64 { return min(at, 0) | 1 }
	for _, at := range []*int64{&r.Header, &r.FirstChoices, &r.FirstText, &r.LastText, &r.FirstReasoning, &r.FirstVisible, &r.FirstTool, &r.LastChoices, &r.UsageAt, &r.Done} {
		*at = happened(*at)
	}
	r.Begin, r.Send, r.Conn = 0, 0, 0
	for i := range r.Events {
		r.Events[i] = sample.Event{Bytes: r.Events[i].Bytes, Text: r.Events[i].Text, Tokens: r.Events[i].Tokens}
	}
	if r.Class == sample.ClassReset { // the same in other words
		r.Error = ""
	}
	return r
}

// chunked is a body in chunks of the given size.
func chunked(body string, size int) string {
	var b strings.Builder
	for len(body) > 0 {
		n := min(size, len(body))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return b.String() + "0\r\n\r\n"
}

const (
	ok200  = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
	inPart = "Transfer-Encoding: chunked\r\n\r\n"
)

// replies are whole replies; the reading ends with the connection.
var replies = []struct{ name, reply string }{
	{"chunks", ok200 + inPart + chunked(tokenA+tokenB+finish+usage2+doneMark, 40)},
	{"chunk extensions and a trailer", ok200 + inPart + "5;a=b\r\ndata:\r\n" + strings.TrimSuffix(chunked(" [DONE]\n\n", 9), "\r\n") + "X: y\r\n\r\n"},
	{"a length", ok200 + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(tokenA+finish+doneMark)) + tokenA + finish + doneMark},
	{"until the end", ok200 + "\r\n" + tokenA + finish + usage2 + doneMark},
	{"until the end, cut", ok200 + "\r\n" + tokenA},
	{"HTTP/1.0", strings.Replace(ok200, "1.1", "1.0", 1) + "\r\n" + tokenA + finish + doneMark},
	{"continue first", "HTTP/1.1 100 Continue\r\n\r\n" + ok200 + inPart + chunked(tokenA+finish+usage2+doneMark, 1000)},
	{"cut within a chunk", ok200 + inPart + "1000\r\n" + tokenA},
	{"cut within the head", ok200},
	{"a broken chunk size", ok200 + inPart + "zz\r\n" + tokenA},
	{"two lengths", ok200 + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"},
	{"no HTTP", "SSH-2.0-x\r\n\r\n"},
	{"unauthorized", "HTTP/1.1 401 Unauthorized\r\nContent-Length: 31\r\n\r\n{\"error\":{\"message\":\"no entry\"}}"},
	{"server error without a body", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"},
	{"whole reply", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + inPart + chunked(`{"choices":[{"text":"ab","finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}`, 30)},
	{"whole reply, malformed", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n{"},
	{"in-band error", ok200 + inPart + chunked(tokenA+"data: {\"error\":{\"message\":\"x\"}}\n\n"+tokenB, 50)},
	{"malformed event", ok200 + inPart + chunked(tokenA+"data: {\n\n"+tokenB, 50)},
	{"no [DONE]", ok200 + inPart + chunked(tokenA+finish, 50)},
	{"no content", "HTTP/1.1 204 No Content\r\n\r\n"},
}

// Both ways leave the same record of the same reply, however it is cut.
func TestDirectEqualsPortable(t *testing.T) {
	w := engine.OpenAICompletions(engine.WireOptions{IncludeUsage: true})
	for _, tt := range replies {
		for _, size := range []int{1 << 20, 7} {
			t.Run(fmt.Sprintf("%s, %d bytes a write", tt.name, size), func(t *testing.T) {
				var pieces [][]byte
				for rest := []byte(tt.reply); len(rest) > 0; {
					n := min(size, len(rest))
					pieces, rest = append(pieces, rest[:n]), rest[n:]
				}
				url := rawServer(t, func(int) ([][]byte, bool) { return pieces, true })
				direct := timeless(streamOnce(t.Context(), clientTo(t, url, false), w))
				portable := timeless(streamOnce(t.Context(), clientTo(t, url, true), w))
				if d := cmp.Diff(portable, direct); d != "" {
					t.Errorf("(-portable +direct):\n%s", d)
				}
			})
		}
	}
}

// Over TCP on Linux an event has the instant of the kernel and not that of a
// reader that comes late.
func TestKernelInstants(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("kernel instants are read on Linux only")
	}
	url := rawServer(t, func(int) ([][]byte, bool) {
		return [][]byte{[]byte(ok200 + inPart + chunked(tokenA+tokenB+finish+usage2+doneMark, 1000))}, false
	})
	c := clientTo(t, url, false)
	w := engine.OpenAICompletions(engine.WireOptions{IncludeUsage: true})
	kernel := 0
	for range 200 { // the first reads may have none
		rec := streamOnce(t.Context(), c, w)
		if !rec.OK() || len(rec.Events) != 2 || !rec.Events[0].Shared || rec.FirstText < rec.Send || rec.Done < rec.LastText {
			t.Fatalf("%+v", rec)
		}
		if rec.Events[0].Kernel {
			kernel++
		}
	}
	if kernel == 0 {
		t.Error("no event has the kernel's instant")
	}
}

func TestDirectKeepsConnections(t *testing.T) {
	whole := []byte(ok200 + inPart + chunked(tokenA+finish+usage2+doneMark, 1000))
	w := engine.OpenAICompletions(engine.WireOptions{IncludeUsage: true})
	t.Run("kept", func(t *testing.T) {
		c := clientTo(t, rawServer(t, func(int) ([][]byte, bool) { return [][]byte{whole}, false }), false)
		for i := range 3 {
			if rec := streamOnce(t.Context(), c, w); !rec.OK() || rec.ConnReused != (i > 0) || (rec.Conn == sample.Never) != (i > 0) || rec.StaleRetry {
				t.Errorf("%d: %+v", i, rec)
			}
		}
	})
	t.Run("closed by the server at the next request", func(t *testing.T) {
		c := clientTo(t, rawServer(t, func(n int) ([][]byte, bool) {
			if n == 1 { // takes the second request and closes
				return nil, true
			}
			return [][]byte{whole}, false
		}), false)
		streamOnce(t.Context(), c, w)
		if rec := streamOnce(t.Context(), c, w); !rec.OK() || !rec.StaleRetry || rec.ConnReused {
			t.Errorf("%+v", rec)
		}
	})
	t.Run("not asked to be kept", func(t *testing.T) {
		closing := bytes.Replace(whole, []byte("Transfer"), []byte("Connection: close\r\nTransfer"), 1)
		c := clientTo(t, rawServer(t, func(int) ([][]byte, bool) { return [][]byte{closing}, false }), false)
		for range 2 {
			if rec := streamOnce(t.Context(), c, w); !rec.OK() || rec.ConnReused {
				t.Errorf("%+v", rec)
			}
		}
	})
}

// A request of many megabytes to a server that reads slowly leaves whole, and one
// that is given up ends at once.
func TestDirectLargeRequest(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(20 * time.Millisecond)
		got, err := io.ReadAll(r.Body)
		if err != nil || !bytes.Equal(got, body) {
			http.Error(w, "other bytes", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, tokenA+finish+doneMark)
	}))
	defer srv.Close()
	c := clientTo(t, srv.URL, false)
	rec := sample.New(0, 0)
	w := engine.OpenAICompletions(engine.WireOptions{})
	c.Stream(t.Context(), w, body, "r1", wallClock(time.Now()), &rec)
	if !rec.OK() {
		t.Errorf("%+v", rec)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	rec = sample.New(0, 0)
	c.Stream(ctx, w, body, "r2", wallClock(time.Now()), &rec)
	if rec.Class != sample.ClassTimeout {
		t.Errorf("%+v", rec)
	}
}

func TestDirectIsInterrupted(t *testing.T) {
	w := engine.OpenAICompletions(engine.WireOptions{})
	asked := make(chan bool, 1)
	c := clientTo(t, rawServer(t, func(int) ([][]byte, bool) { asked <- true; return [][]byte{[]byte(ok200 + inPart)}, false }), false)
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { <-asked; cancel(fmt.Errorf("enough")) }()
	rec := streamOnce(ctx, c, w)
	if rec.Class != sample.ClassCancelled || !strings.Contains(rec.Error, "enough") || rec.Done < rec.Send {
		t.Errorf("%+v", rec)
	}
}

// FuzzReply: however a reply is cut into reads, its body is the same, and no
// reply makes the reader fail otherwise than by an error.
func FuzzReply(f *testing.F) {
	for _, tt := range replies {
		f.Add([]byte(tt.reply), uint64(1))
	}
	read := func(parts [][]byte) (body []byte, end reply, err error) {
		var r reply
		for _, p := range parts {
			if err = r.feed(p, func(b []byte) error { body = append(body, b...); return nil }); err != nil {
				break
			}
		}
		return body, reply{state: r.state, status: r.status, content: r.content, phrase: r.phrase, chunked: r.chunked}, err
	}
	f.Fuzz(func(t *testing.T, text []byte, seed uint64) {
		body, end, err := read([][]byte{bytes.Clone(text)})
		rnd := rand.New(rand.NewPCG(seed, 0))
		var parts [][]byte
		for rest := text; len(rest) > 0; {
			n := 1 + rnd.IntN(min(len(rest), 9))
			parts, rest = append(parts, bytes.Clone(rest[:n])), rest[n:]
		}
		cut, cutEnd, cutErr := read(parts)
		if !bytes.Equal(body, cut) || (err == nil) != (cutErr == nil) || err == nil && !cmp.Equal(end, cutEnd, cmp.AllowUnexported(reply{})) {
			t.Errorf("whole %q %+v %v, in parts %q %+v %v", body, end, err, cut, cutEnd, cutErr)
		}
	})
}
