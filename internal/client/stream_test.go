package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"llmdyno/internal/engine"
	"llmdyno/internal/load/sample"
)

// pipes is a listener whose connections are pipes within the process.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error   { close(p); return nil } // the server calls it once
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (p pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	p <- theirs
	return ours, nil
}

// exchange runs body in a bubble against a handler behind pipes.
func exchange(t *testing.T, h http.HandlerFunc, o Options, body func(ctx context.Context, c *Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := make(pipes)
		srv := &http.Server{Handler: h}
		go srv.Serve(p)
		o.BaseURL, o.Dial = "http://server/prefix/", p.dial
		c, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		body(t.Context(), c)
		c.Close()
		srv.Close()
		time.Sleep(time.Hour)
	})
}

// parts streams its parts 10 ms apart; "close" breaks the connection off.
func parts(list ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		for _, p := range list {
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond)
			if p == "close" {
				panic(http.ErrAbortHandler)
			}
			io.WriteString(w, p)
		}
	}
}

const (
	at10, at20, at30, at40, at50 = 10_000_000, 20_000_000, 30_000_000, 40_000_000, 50_000_000

	role     = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
	tokenA   = "data: {\"choices\":[{\"text\":\"a\"}]}\n\n"
	tokenB   = "data: {\"choices\":[{\"text\":\"b\"}]}\n\n"
	finish   = "data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"length\"}]}\n\n"
	usage2   = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2,\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\n"
	doneMark = "data: [DONE]\n\n"
)

// chatPart is an event of a chat with one part of an answer in it.
func chatPart(member, text string) string {
	if member == "tool_calls" {
		return fmt.Sprintf("data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":%q}}]}}]}\n\n", text)
	}
	return fmt.Sprintf("data: {\"choices\":[{\"delta\":{%q:%q}}]}\n\n", member, text)
}

// The first event of each kind of content has its instant, and TTFT is that of the
// first of any kind; nothing of it depends on whether the text is kept.
func TestKindsOfContent(t *testing.T) {
	const never = sample.Never
	type firsts struct{ Text, Reasoning, Visible, Tool int64 }
	think, say, call := chatPart("reasoning_content", "hm "), chatPart("content", "so "), chatPart("tool_calls", "{}")
	finished := "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
	tests := []struct {
		name   string
		stream []string
		want   firsts
		text   string
	}{
		{"text alone", []string{role, say, say}, firsts{at20, never, at20, never}, "so so "},
		{"reasoning first", []string{role, think, think, say}, firsts{at20, at20, at40, never}, "hm hm so "},
		{"the other spelling", []string{chatPart("reasoning", "hm "), chatPart("reasoning", "so ")}, firsts{at10, at10, never, never}, "hm so "},
		{"tool call alone", []string{role, call, call}, firsts{at20, never, never, at20}, "{}{}"},
		{"all three", []string{think, say, call, think, say}, firsts{at10, at10, at20, at30}, "hm so {}hm so "},
		{"two in one event", []string{role, "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\",\"content\":\"so\"}}]}\n\n"}, firsts{at20, at20, at20, never}, "hmso"},
		{"an empty text says nothing", []string{say, chatPart("reasoning_content", ""), chatPart("content", "")}, firsts{at10, never, at10, never}, "so "},
		{"a text like a known one, empty", []string{think, think, chatPart("reasoning_content", ""), say}, firsts{at10, at10, at40, never}, "hm hm so "},
	}
	for _, tt := range tests {
		for _, keep := range []int{0, 1 << 10, len(tt.text), len(tt.text) - 1} {
			exchange(t, parts(append(tt.stream, finished, doneMark)...), Options{}, func(ctx context.Context, c *Client) {
				rec := sample.New(0, 0)
				rec.KeepText = keep
				c.Stream(ctx, engine.OpenAIChat(engine.WireOptions{}), []byte("{}"), "r1", wallClock(time.Now()), &rec)
				if got := (firsts{rec.FirstText, rec.FirstReasoning, rec.FirstVisible, rec.FirstTool}); got != tt.want || !rec.OK() {
					t.Errorf("%s: %+v, want %+v (%s)", tt.name, got, tt.want, rec.Error)
				}
				want := tt.text
				if keep < len(want) {
					want = ""
				}
				if string(rec.Text) != want {
					t.Errorf("%s: %d bytes may be kept: %q, want %q", tt.name, keep, rec.Text, want)
				}
			})
		}
	}
}

// The text is dropped where the server counts, and a cumulative one is kept once.
func TestKeptText(t *testing.T) {
	sofar := engine.OpenAICompletions(engine.WireOptions{})
	decode := sofar.Decode
	sofar.Alike = false
	sofar.Decode = func(data []byte, d *engine.Delta) error {
		err := decode(data, d)
		d.Cumulative = true
		return err
	}
	for _, tt := range []struct {
		name   string
		wire   engine.Wire
		stream []string
		want   string
		by     sample.TokenSource
	}{
		{"without usage", engine.OpenAICompletions(engine.WireOptions{}), []string{tokenA, tokenB, finish, doneMark}, "ab", sample.TokensEvents},
		{"with usage", engine.OpenAICompletions(engine.WireOptions{}), []string{tokenA, tokenB, finish, usage2, doneMark}, "", sample.TokensUsage},
		{"cumulative", sofar, []string{tokenA, "data: {\"choices\":[{\"text\":\"ab\"}]}\n\n", finish, doneMark}, "ab", sample.TokensEvents},
	} {
		exchange(t, parts(tt.stream...), Options{}, func(ctx context.Context, c *Client) {
			rec := sample.New(0, 0)
			rec.KeepText = 100
			c.Stream(ctx, tt.wire, []byte("{}"), "r1", wallClock(time.Now()), &rec)
			if string(rec.Text) != tt.want || rec.TokensBy != tt.by || !rec.OK() {
				t.Errorf("%s: kept %q, counted by %q, %s; want %q by %q", tt.name, rec.Text, rec.TokensBy, rec.Error, tt.want, tt.by)
			}
		})
	}
}

type event = sample.Event

// got is what a stream must leave in the record.
type got struct {
	First, FirstText, LastText, Last, Usage, Done int64
	In, Out, Cached                               int
	By                                            sample.TokenSource
	Finish                                        string
	Class                                         sample.Class
	Events                                        []event
}

func gotOf(r sample.Record) got {
	for i := range r.Events {
		r.Events[i].Bytes = 0
	}
	return got{r.FirstChoices, r.FirstText, r.LastText, r.LastChoices, r.UsageAt, r.Done, r.InputTokens, r.OutputTokens, r.CachedTokens, r.TokensBy, r.Finish, r.Class, r.Events}
}

func TestStreams(t *testing.T) {
	const never = sample.Never
	two := []event{{At: at10, Text: 1}, {At: at20, Text: 1}}
	plain := got{at10, at10, at20, at30, at40, at50, 5, 2, 4, "usage", "length", "", two}
	with := func(change func(*got)) got { g := plain; change(&g); return g }
	crlf := strings.NewReplacer("\n", "\r\n").Replace
	cr := strings.NewReplacer("\n", "\r").Replace
	tests := []struct {
		name  string
		parts []string
		want  got
	}{
		{"plain", []string{tokenA, tokenB, finish, usage2, doneMark}, plain},
		{"carriage return and line feed", []string{crlf(tokenA), crlf(tokenB), crlf(finish), crlf(usage2), crlf(doneMark)}, plain},
		{"comments between", []string{": ping\n\n" + tokenA, ": ping\n\n" + tokenB, finish, usage2 + ": ping\n\n", doneMark}, plain},
		{"carriage return alone", []string{cr(tokenA), cr(tokenB), cr(finish), cr(usage2), cr(doneMark)}, plain},
		{"event split over reads", []string{tokenA[:7], tokenA[7:20], tokenA[20:] + tokenB, finish, usage2 + doneMark},
			got{at30, at30, at30, at40, at50, at50, 5, 2, 4, "usage", "length", "", []event{{At: at30, Text: 1, Shared: true}, {At: at30, Text: 1, Shared: true}}}},
		{"split character", []string{"data: {\"choices\":[{\"text\":\"\xf0\x9f", "\x98\x80\"}]}\n\n", finish, usage2, doneMark},
			got{at20, at20, at20, at30, at40, at50, 5, 2, 4, "usage", "length", "", []event{{At: at20, Text: 4}}}},
		{"data over several lines", []string{"data: {\"choices\":\ndata: [{\"text\":\ndata: \"a\"}]}\n\n", tokenB, finish, usage2, doneMark}, plain},
		{"role-only event is no text", []string{role, tokenA, finish, usage2, doneMark},
			got{at10, at20, at20, at30, at40, at50, 5, 2, 4, "usage", "length", "", []event{{At: at20, Text: 1}}}},
		{"reasoning and tool calls are text", []string{
			"data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"so\"}}]}\n\n",
			"data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"function\":{\"arguments\":\"{\\\"a\\\"\"}}]}}]}\n\n", finish, usage2, doneMark},
			with(func(g *got) { g.Events = []event{{At: at10, Text: 2}, {At: at20, Text: 4}} })},
		{"usage on each event", []string{
			"data: {\"choices\":[{\"text\":\"a\"}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1}}\n\n",
			"data: {\"choices\":[{\"text\":\"b c\"}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":4}}\n\n", finish,
			"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":4}}\n\n", doneMark},
			with(func(g *got) {
				g.Out, g.Cached, g.Events = 4, -1, []event{{At: at10, Text: 1, Tokens: 1}, {At: at20, Text: 3, Tokens: 4}}
			})},
		{"no usage: the events are counted", []string{tokenA, tokenB, finish, doneMark},
			with(func(g *got) { g.In, g.Cached, g.By, g.Usage, g.Done = 0, -1, "events", never, at40 })},
		{"usage, [DONE] and no text", []string{usage2, doneMark},
			got{never, never, never, never, at10, at20, 5, 2, 4, "usage", "", "", nil}},
		{"nothing but [DONE]", []string{doneMark},
			got{never, never, never, never, never, at10, 0, 0, -1, "", "", "empty", nil}},
		{"no [DONE]", []string{tokenA, tokenB, finish, usage2},
			with(func(g *got) { g.Class, g.Done = "truncated", at40 })},
		{"ends without a finish reason", []string{tokenA, tokenB},
			got{at10, at10, at20, at20, never, at20, 0, 2, -1, "events", "", "truncated", two}},
		{"ends within an event", []string{tokenA, tokenB, finish[:20]},
			got{at10, at10, at20, at20, never, at30, 0, 2, -1, "events", "", "truncated", two}},
		{"connection lost", []string{tokenA, tokenB, "close"},
			got{at10, at10, at20, at20, never, at30, 0, 2, -1, "events", "", "reset", two}},
		{"in-band error", []string{tokenA, tokenB, "data: {\"error\":{\"message\":\"out of blocks\"}}\n\n", doneMark},
			got{at10, at10, at20, at20, never, at30, 0, 2, -1, "events", "", "in_band", two}},
		{"malformed event", []string{tokenA, tokenB, "data: {\"choices\":[\n\n", doneMark},
			got{at10, at10, at20, at20, never, at30, 0, 2, -1, "events", "", "malformed", two}},
		{"nothing after [DONE] counts", []string{tokenA, tokenB, finish, usage2, doneMark + tokenA + "data: {\n\n"}, plain},
	}
	w := engine.OpenAICompletions(engine.WireOptions{IncludeUsage: true})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			exchange(t, parts(tt.parts...), Options{}, func(ctx context.Context, c *Client) {
				rec := sample.New(0, 0)
				c.Stream(ctx, w, []byte("{}"), "r1", wallClock(time.Now()), &rec)
				if d := cmp.Diff(tt.want, gotOf(rec)); d != "" {
					t.Errorf("(-want +got):\n%s\n%s", d, rec.Error)
				}
				if (rec.Error == "") != rec.OK() || strings.Contains(rec.Error, "\n") {
					t.Errorf("class %q with error %q", rec.Class, rec.Error)
				}
			})
		})
	}
}

// An engine whose stream ends without [DONE] needs only its finish reason.
func TestStreamWithoutDoneMarker(t *testing.T) {
	w := engine.OpenAICompletions(engine.WireOptions{NoDoneMarker: true})
	exchange(t, parts(tokenA, finish), Options{}, func(ctx context.Context, c *Client) {
		rec := sample.New(0, 0)
		c.Stream(ctx, w, []byte("{}"), "r1", wallClock(time.Now()), &rec)
		if !rec.OK() || rec.Done != at20 {
			t.Errorf("%+v", rec)
		}
	})
}

// cumulative is a native wire: each event carries all text so far.
var cumulative = engine.Wire{
	Path: "/generate", DoneMarker: true,
	Decode: func(data []byte, d *engine.Delta) error {
		text, n, _ := strings.Cut(string(data), "|")
		*d = engine.Delta{Text: text, Cumulative: true, HasChoices: true, Tokens: len(n)}
		return nil
	},
}

func TestCumulativeText(t *testing.T) {
	// The third event replaces half a character (3 bytes for its mark) by the
	// whole one (2 bytes) and adds nothing else.
	stream := []string{"data: ab|1\n\n", "data: ab\ufffd|11\n\n", "data: abé|111\n\n", "data: abé cd|1111\n\n", doneMark}
	exchange(t, parts(stream...), Options{}, func(ctx context.Context, c *Client) {
		rec := sample.New(0, 0)
		c.Stream(ctx, cumulative, []byte("{}"), "r1", wallClock(time.Now()), &rec)
		want := []event{{At: at10, Text: 2, Tokens: 1}, {At: at20, Text: 3, Tokens: 2}, {At: at40, Text: 3, Tokens: 4}}
		if d := cmp.Diff(want, gotOf(rec).Events); d != "" || !rec.OK() || rec.OutputTokens != 4 {
			t.Errorf("(-want +got):\n%s\n%+v", d, rec)
		}
	})
}

func TestEventOfFiveMegabytes(t *testing.T) {
	long := "data: {\"choices\":[{\"text\":\"" + strings.Repeat("x", 5<<20) + "\"}]}\n\n"
	exchange(t, parts(long, finish+usage2+doneMark), Options{}, func(ctx context.Context, c *Client) {
		rec := sample.New(0, 0)
		c.Stream(ctx, engine.OpenAICompletions(engine.WireOptions{}), []byte("{}"), "r1", wallClock(time.Now()), &rec)
		if !rec.OK() || len(rec.Events) != 1 || rec.Events[0].Text != 5<<20 || rec.FirstText != at10 {
			t.Errorf("%q %q, %d events", rec.Class, rec.Error, len(rec.Events))
		}
	})
}

func TestWholeReply(t *testing.T) {
	reply := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			time.Sleep(10 * time.Millisecond)
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			io.WriteString(w, body)
		}
	}
	tests := []struct {
		name, body string
		class      sample.Class
		out        int
		by         sample.TokenSource
	}{
		{"with usage", `{"choices":[{"text":"a b","finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":2}}`, "", 2, "usage"},
		{"without usage", `{"choices":[{"text":"a b"}]}`, "", 0, ""},
		{"error", `{"error":{"message":"too long"}}`, "in_band", 0, ""},
		{"no JSON", `<html>`, "malformed", 0, ""},
		{"too long", `{"choices":[{"text":"` + strings.Repeat("x", 3000) + `"}]}`, "malformed", 0, ""},
		{"nothing", `{"choices":[]}`, "empty", 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			exchange(t, reply(tt.body), Options{MaxBody: 2000}, func(ctx context.Context, c *Client) {
				rec := sample.New(0, 0)
				c.Stream(ctx, engine.OpenAICompletions(engine.WireOptions{}), []byte("{}"), "r1", wallClock(time.Now()), &rec)
				if rec.Class != tt.class || rec.OutputTokens != tt.out || rec.TokensBy != tt.by || rec.FirstText != sample.Never || rec.Done != at10 {
					t.Errorf("%+v", rec)
				}
			})
		})
	}
}

func TestStatusOfAStream(t *testing.T) {
	for status, class := range map[int]sample.Class{401: "auth", 403: "auth", 400: "http_status", 503: "http_status", 204: "http_status", 307: "http_status"} {
		refuse := func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://elsewhere/")
			w.WriteHeader(status)
			if status != 204 {
				io.WriteString(w, `{"error":{"message":"the key k-secret is not known\n here"}}`)
			}
		}
		exchange(t, refuse, Options{APIKey: "k-secret"}, func(ctx context.Context, c *Client) {
			rec := sample.New(0, 0)
			c.Stream(ctx, engine.OpenAICompletions(engine.WireOptions{}), []byte("{}"), "r1", wallClock(time.Now()), &rec)
			if rec.Class != class || rec.Status != status || strings.Contains(rec.Error, "k-secret") {
				t.Errorf("%d: %+v", status, rec)
			}
			if want := "the key [redacted] is not known here"; status != 204 && !strings.Contains(rec.Error, want) {
				t.Errorf("%d: %q lacks %q", status, rec.Error, want)
			}
		})
	}
}

// What the server sees of a request.
func TestRequestOnTheWire(t *testing.T) {
	var seen *http.Request
	var body []byte
	look := func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		seen = r
		parts(tokenA+finish+doneMark)(w, r)
	}
	o := Options{APIKey: "key", Header: http.Header{"X-Team": {"a"}}}
	exchange(t, look, o, func(ctx context.Context, c *Client) {
		rec := sample.New(0, 0)
		c.Stream(ctx, engine.OpenAICompletions(engine.WireOptions{}), []byte(`{"model":"m"}`), "trial-7", wallClock(time.Now()), &rec)
		h := seen.Header
		if !rec.OK() || rec.RequestID != "trial-7" || seen.URL.Path != "/prefix/v1/completions" || string(body) != `{"model":"m"}` || seen.ContentLength != 13 ||
			h.Get("Authorization") != "Bearer key" || h.Get("X-Team") != "a" || h.Get("X-Request-Id") != "trial-7" ||
			h.Get("Content-Type") != "application/json" || h.Get("Accept-Encoding") != "" || seen.ProtoMajor != 1 {
			t.Errorf("%s %v, body %s, %+v", seen.URL, h, body, rec)
		}
	})
}

// A server that never ends the body after [DONE] costs the connection, not the
// request.
func TestBodyThatStaysOpen(t *testing.T) {
	stay := func(w http.ResponseWriter, r *http.Request) {
		parts(tokenA+finish+doneMark)(w, r)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	exchange(t, stay, Options{}, func(ctx context.Context, c *Client) {
		clock, rec := wallClock(time.Now()), sample.New(0, 0)
		c.Stream(ctx, engine.OpenAICompletions(engine.WireOptions{}), []byte("{}"), "r1", clock, &rec)
		if !rec.OK() || rec.Done != at10 || clock.Now() != at10+int64(drainTime) {
			t.Errorf("%+v, returned at %d", rec, clock.Now())
		}
	})
}

func TestErrorsOfAConnection(t *testing.T) {
	dialError := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	hangs := func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	tests := []struct {
		name  string
		dial  dialer
		class sample.Class
		want  string
	}{
		{"refused", func(context.Context, string, string) (net.Conn, error) { return nil, dialError }, "connect", "no connection"},
		{"no host", func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.DNSError{Err: "no such host", Name: "server", IsNotFound: true}
		}, "connect", "host name not found"},
		{"no files", func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Err: fmt.Errorf("socket: %w", syscall.EMFILE)}
		}, "connect", LocalLimit},
		{"no answer to the dial", hangs, "connect", "no connection within the time allowed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, err := New(Options{BaseURL: "http://server", Dial: tt.dial})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				rec := sample.New(0, 0)
				c.Stream(ctx, cumulative, []byte("{}"), "r1", wallClock(time.Now()), &rec)
				if rec.Class != tt.class || !strings.Contains(rec.Error, tt.want) || rec.Send != rec.Begin || rec.Conn != sample.Never {
					t.Errorf("%+v", rec)
				}
				time.Sleep(connectTimeout) // the transport has given up dialing
			})
		})
	}
}

// Two requests over one connection: the second has it at once.
func TestKeptConnection(t *testing.T) {
	exchange(t, parts(tokenA+finish+doneMark), Options{}, func(ctx context.Context, c *Client) {
		clock := wallClock(time.Now())
		for i := range 2 {
			rec := sample.New(i, 0)
			c.Stream(ctx, engine.OpenAICompletions(engine.WireOptions{}), []byte("{}"), "r", clock, &rec)
			if !rec.OK() || rec.ConnReused != (i == 1) || (rec.Conn == sample.Never) != (i == 1) || rec.StaleRetry {
				t.Errorf("request %d: %+v", i, rec)
			}
			time.Sleep(time.Second)
		}
	})
}

// kept lets a test read a stream without a connection: each read brings one
// part.
type kept [][]byte

func (k *kept) Read(p []byte) (int, error) {
	if len(*k) == 0 {
		return 0, io.EOF
	}
	n := copy(p, (*k)[0])
	if (*k)[0] = (*k)[0][n:]; len((*k)[0]) == 0 {
		*k = (*k)[1:]
	}
	return n, nil
}

// ticks is a clock that moves on at every look.
type ticks int64

func (t *ticks) Now() int64 { *t++; return int64(*t) }

// FuzzStream: whatever a server sends, the record is in order and says why the
// request failed, or it holds tokens.
func FuzzStream(f *testing.F) {
	f.Add(role+tokenA+tokenB+finish+usage2+doneMark, 7)
	f.Add(tokenA+"data: {\"error\":\"x\"}\n\n", 30)
	f.Add("data: {\"choices\":[{\"text\":\"a\"}],\"usage\":{\"prompt_tokens\":-5,\"completion_tokens\":99999999999}}\n\n"+doneMark, 1)
	f.Add("\ufeff: \r\rdata", 2)
	c, err := New(Options{BaseURL: "http://server"})
	if err != nil {
		f.Fatal(err)
	}
	w := engine.OpenAIChat(engine.WireOptions{})
	f.Fuzz(func(t *testing.T, text string, size int) {
		var body kept
		for rest := []byte(text); len(rest) > 0; {
			n := min(max(size, 1), len(rest))
			body, rest = append(body, rest[:n]), rest[n:]
		}
		rec, now := sample.New(0, 0), ticks(0)
		s := stream{client: c, wire: &w, clock: &now, rec: &rec}
		s.events(t.Context(), func() {}, &body)
		if (rec.Error == "") != rec.OK() || len(rec.Error) > maxErrorText+10 || strings.ContainsAny(rec.Error, "\r\n") {
			t.Errorf("class %q, error %q", rec.Class, rec.Error)
		}
		if rec.OK() && (rec.OutputTokens <= 0 || rec.TokensBy == sample.TokensNone) || rec.InputTokens < 0 || rec.OutputTokens < 0 {
			t.Errorf("%+v", rec)
		}
		last := int64(0)
		for _, e := range rec.Events {
			if e.At < last || e.Text <= 0 || e.Bytes <= 0 {
				t.Errorf("event %+v after %d", e, last)
			}
			last = e.At
		}
		if n := len(rec.Events); n > 0 && (rec.FirstText != rec.Events[0].At || rec.LastText != rec.Events[n-1].At || rec.FirstChoices > rec.FirstText || rec.LastChoices < rec.LastText || rec.Done < rec.LastChoices) {
			t.Errorf("%+v", rec)
		}
	})
}
