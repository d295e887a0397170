// Command server is the engine that scripts/compare-clients holds clients
// against: it streams the replies of an OpenAI-compatible server at planned
// instants and keeps the instant of each write.
//
//	server -gap 20ms -first 200ms -truth truth.jsonl
//
// It prints its address and serves until its stdin ends. The first event of a
// reply is due -first after the request was read, each further one -gap later;
// streams are spread evenly over a gap, or tick together with -together, as the
// steps of an engine do. The number of events is the request's max_tokens.
//
// Clients that send no X-Request-Id are matched by the reply's text, whose first
// word is the number of the request: "r17 token token …".
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// request is what the server knows of one request: a line of the truth file.
// Its instants are CLOCK_MONOTONIC, which is also Python's perf_counter.
type request struct {
	Serial   int     `json:"serial"`
	ID       string  `json:"id,omitempty"` // X-Request-Id
	Want     int     `json:"want"`         // events
	Received int64   `json:"received_ns"`  // its last byte was read
	Events   []int64 `json:"events_ns"`    // just before each event was written
	Late     int64   `json:"late_ns"`      // of the write that was latest against its plan
}

// header is the first line of the truth file.
type header struct {
	WallMinusMono int64 `json:"wall_minus_mono_ns"`
}

type server struct {
	gap, first time.Duration
	slots      int64 // the streams are spread over so many instants of a gap
	together   bool

	mu     sync.Mutex
	serial int
	kept   []*request
}

func mono() int64 {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return t.Nano()
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

func run() error {
	var s server
	var truth string
	flag.DurationVar(&s.gap, "gap", 20*time.Millisecond, "between two events of a stream")
	flag.DurationVar(&s.first, "first", 200*time.Millisecond, "from the request to its first event")
	flag.Int64Var(&s.slots, "spread", 512, "instants of a gap that streams are spread over")
	flag.BoolVar(&s.together, "together", false, "all streams tick at the same instants")
	flag.StringVar(&truth, "truth", "truth.jsonl", "file that the instants are written to")
	flag.Parse()
	if s.gap <= 0 || s.slots < 1 {
		return errors.New("-gap and -spread must be above 0")
	}
	runtime.GOMAXPROCS(1)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + ln.Addr().String())
	go s.accept(ln)
	io.Copy(io.Discard, os.Stdin)
	ln.Close()
	return s.save(truth)
}

func (s *server) save(path string) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := e.Encode(header{time.Now().UnixNano() - mono()}); err != nil {
		return err
	}
	for _, r := range s.kept {
		if err := e.Encode(r); err != nil {
			return err
		}
	}
	return os.WriteFile(path, b.Bytes(), 0o600)
}

func (s *server) accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			s.serve(c)
		}()
	}
}

const maxBody = 64 << 20

// serve answers the requests of one connection, one after another.
func (s *server) serve(c net.Conn) {
	br := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		body, err := io.ReadAll(io.LimitReader(req.Body, maxBody))
		received := mono()
		if err != nil {
			return
		}
		if req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, "completions") {
			err = s.complete(c, req, body, received)
		} else {
			err = s.other(c, req)
		}
		if err != nil {
			return
		}
	}
}

// other answers what clients ask before they begin.
func (s *server) other(c net.Conn, req *http.Request) error {
	text, status := `{"object":"list","data":[{"id":"m","object":"model","created":1800000000,"owned_by":"llmdyno"}]}`, "200 OK"
	switch req.URL.Path {
	case "/v1/models":
	case "/health", "/health_generate":
		text = "{}"
	default:
		text, status = `{"error":"no such page"}`, "404 Not Found"
	}
	_, err := fmt.Fprintf(c, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", status, len(text), text)
	return err
}

// asked is the part of a request that matters here.
type asked struct {
	Stream              bool `json:"stream"`
	MaxTokens           int  `json:"max_tokens"`
	MaxCompletionTokens int  `json:"max_completion_tokens"`
	StreamOptions       struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
}

func (s *server) complete(c net.Conn, req *http.Request, body []byte, received int64) error {
	var a asked
	if err := json.Unmarshal(body, &a); err != nil {
		return err
	}
	r := &request{ID: req.Header.Get("X-Request-Id"), Want: max(a.MaxTokens, a.MaxCompletionTokens, 1), Received: received}
	s.mu.Lock()
	r.Serial = s.serial
	s.serial++
	s.kept = append(s.kept, r)
	s.mu.Unlock()
	r.Events = make([]int64, 0, r.Want)
	f := format{chat: strings.HasSuffix(req.URL.Path, "chat/completions"), serial: r.Serial, want: r.Want, counted: a.StreamOptions.IncludeUsage}
	if !a.Stream {
		text := f.whole()
		_, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
		return err
	}
	return s.stream(c, r, f)
}

// due is the instant of a request's first event.
func (s *server) due(r *request) int64 {
	at, gap := r.Received+int64(s.first), int64(s.gap)
	phase := gap * (int64(r.Serial) % s.slots) / s.slots
	if s.together {
		phase = 0
	}
	return at + (gap+phase-at%gap)%gap
}

func (s *server) stream(c net.Conn, r *request, f format) error {
	if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"); err != nil {
		return err
	}
	first, middle, last := f.event(0), f.event(1), f.event(r.Want-1)
	due := s.due(r)
	for k := range r.Want {
		if wait := due - mono(); wait > 0 {
			time.Sleep(time.Duration(wait))
		}
		data := middle
		switch {
		case k == r.Want-1:
			data = last
		case k == 0:
			data = first
		}
		now := mono()
		r.Events = append(r.Events, now)
		r.Late = max(r.Late, now-due)
		if _, err := c.Write(data); err != nil {
			return err
		}
		due += int64(s.gap)
	}
	return nil
}

// format writes the replies of one request.
type format struct {
	chat         bool
	serial, want int
	counted      bool // the stream ends with an event of the token counts
}

const promptTokens = 64

func (f format) word(k int) string {
	if k == 0 {
		return "r" + strconv.Itoa(f.serial)
	}
	return " token"
}

func (f format) head(object string) string {
	return fmt.Sprintf(`{"id":"cmpl-0123456789abcdef-%d","object":"%s","created":1800000000,"model":"m",`, f.serial, object)
}

func (f format) usage() string {
	return fmt.Sprintf(`"usage":{"prompt_tokens":%d,"total_tokens":%d,"completion_tokens":%d}`, promptTokens, promptTokens+f.want, f.want)
}

// event is event k, the last one with all that ends the reply.
func (f format) event(k int) []byte {
	finish := "null"
	if k == f.want-1 {
		finish = `"length"`
	}
	object, choice := "text_completion", fmt.Sprintf(`"text":"%s","logprobs":null,"finish_reason":%s,"stop_reason":null,"token_ids":null`, f.word(k), finish)
	if f.chat {
		object, choice = "chat.completion.chunk", fmt.Sprintf(`"delta":{"content":"%s","reasoning_content":null},"logprobs":null,"finish_reason":%s,"token_ids":null`, f.word(k), finish)
	}
	out := chunk(f.head(object) + `"choices":[{"index":0,` + choice + `}],"system_fingerprint":null}`)
	if k == f.want-1 {
		if f.counted {
			out = append(out, chunk(f.head(object)+`"choices":[],`+f.usage()+`}`)...)
		}
		out = append(out, chunk("[DONE]")...)
		out = append(out, "0\r\n\r\n"...)
	}
	return out
}

func chunk(data string) []byte {
	return fmt.Appendf(nil, "%x\r\ndata: %s\n\n\r\n", len(data)+8, data)
}

// whole is a reply that is not streamed.
func (f format) whole() string {
	text := f.word(0) + strings.Repeat(" token", f.want-1)
	object, choice := "text_completion", `"text":"`+text+`"`
	if f.chat {
		object, choice = "chat.completion", `"message":{"role":"assistant","content":"`+text+`"}`
	}
	return f.head(object) + `"choices":[{"index":0,` + choice + `,"finish_reason":"length"}],` + f.usage() + `}`
}
