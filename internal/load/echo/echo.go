// Package echo is the built-in server that a load generator is measured
// against: it streams events of a fixed shape at planned instants over plain
// TCP and keeps when it wrote each of them.
//
//	Config  →  Start  →  requests  →  Truth (request id → instants)
//
// It speaks enough HTTP/1.1 for one POST after another on a connection, in the
// form of an OpenAI-compatible /v1/completions stream, and writes with bare
// system calls, so that it is not the slower side.
package echo

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// Config is what the server does with every request.
type Config struct {
	Events int           // content events of a stream; at least 1
	Gap    time.Duration // between two writes of a stream; 0 = as fast as they are taken
	Batch  int           // events of one write; 0 = 1
	// Streams is how many requests are awaited before the first event of any is
	// written; their events then alternate evenly, or come all at once with
	// Together. 0 = each reply is written whole as soon as its request has come.
	Streams  int
	Together bool
	// Spin keeps a CPU busy between two writes in place of sleeping, so that
	// writes are on time to the microsecond. Only for a server on a CPU of its own.
	Spin bool
	// Wait bounds how long the first request waits for the last of Streams; 0 = 10 s.
	Wait time.Duration
}

// Request is what the server knows of one request, all in Unix nanoseconds.
type Request struct {
	ID       string  `json:"id"`          // X-Request-Id
	Received int64   `json:"received_ns"` // just after its last byte was read
	Events   []int64 `json:"events_ns"`   // just before each event was written
}

// Server is a server under way.
type Server struct {
	cfg    Config
	ln     net.Listener
	frames frames
	joined chan *stream
	quit   chan struct{}
	ended  sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
	truth []*Request
	late  int64 // largest lateness of a write, ns
}

// Start listens on a loopback port until Close.
func Start(cfg Config) (*Server, error) {
	if cfg.Events < 1 || cfg.Streams < 0 || cfg.Batch < 0 || cfg.Gap < 0 {
		return nil, fmt.Errorf("echo: %d events, %d streams, %d a write, gap %v: expected at least one event and nothing below 0", cfg.Events, cfg.Streams, cfg.Batch, cfg.Gap)
	}
	if cfg.Batch == 0 {
		cfg.Batch = 1
	}
	if cfg.Wait <= 0 {
		cfg.Wait = 10 * time.Second
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("echo: %w", err)
	}
	s := &Server{cfg: cfg, ln: ln, frames: makeFrames(cfg), conns: map[net.Conn]bool{}, joined: make(chan *stream, max(cfg.Streams, 1)), quit: make(chan struct{})}
	s.ended.Go(s.accept)
	if cfg.Streams > 0 {
		s.ended.Go(s.pace)
	}
	return s, nil
}

// URL is the server's address.
func (s *Server) URL() string { return "http://" + s.ln.Addr().String() }

// Close ends the server with all its connections.
func (s *Server) Close() {
	close(s.quit)
	s.ln.Close()
	s.mu.Lock()
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.ended.Wait()
}

// Truth is what the server saw, in the order of the requests. Call it after
// Close, which ends the writing of it.
func (s *Server) Truth() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Request, len(s.truth))
	for i, r := range s.truth {
		out[i] = *r
	}
	return out
}

// Lateness is the largest time by which a paced write came after its instant.
func (s *Server) Lateness() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Duration(s.late)
}

// frames are the bytes of every reply: its head, and its events one after the
// other, each a chunk of its own.
type frames struct {
	head   []byte
	events []byte
	at     []int // where each event begins; the last entry is the end, with usage, [DONE] and the end of the body
}

// eventData is an event of the size that engines send, with the token counts of
// those that tell them on each: about 300 bytes.
const eventData = `{"id":"cmpl-0123456789abcdef0123456789abcdef","object":"text_completion","created":1800000000,"model":"calibration","choices":[{"index":0,"text":" token","logprobs":null,"finish_reason":%s,"stop_reason":null,"token_ids":null}],"system_fingerprint":null,"usage":{"prompt_tokens":64,"total_tokens":%d,"completion_tokens":%d}}`

func makeFrames(cfg Config) frames {
	f := frames{head: []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n")}
	chunk := func(format string, args ...any) {
		data := fmt.Sprintf("data: "+format+"\n\n", args...)
		f.events = fmt.Appendf(f.events, "%x\r\n%s\r\n", len(data), data)
	}
	for k := range cfg.Events {
		finish := "null"
		if k == cfg.Events-1 {
			finish = `"length"`
		}
		f.at = append(f.at, len(f.events))
		chunk(eventData, finish, 64+k+1, k+1)
	}
	chunk(`{"choices":[],"usage":{"prompt_tokens":64,"total_tokens":%d,"completion_tokens":%d}}`, 64+cfg.Events, cfg.Events)
	chunk("[DONE]")
	f.events = append(f.events, "0\r\n\r\n"...)
	f.at = append(f.at, len(f.events))
	return f
}

func (s *Server) accept() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(10 * time.Millisecond) // no file left: the client says so
			continue
		}
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		s.ended.Go(func() {
			s.serve(c)
			c.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
	}
}

// maxBody bounds a request.
const maxBody = 64 << 20

// serve answers the requests of one connection, one after another.
func (s *Server) serve(c net.Conn) {
	br := bufio.NewReaderSize(c, 1<<10)
	for {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, io.LimitReader(req.Body, maxBody)); err != nil {
			return
		}
		r := &Request{ID: req.Header.Get("X-Request-Id"), Received: time.Now().UnixNano(), Events: make([]int64, 0, s.cfg.Events)}
		s.mu.Lock()
		s.truth = append(s.truth, r)
		s.mu.Unlock()
		if s.cfg.Streams == 0 {
			err = s.atOnce(c, r)
		} else {
			err = s.paced(c, r)
		}
		if err != nil {
			return
		}
	}
}

// atOnce writes a whole reply.
func (s *Server) atOnce(c net.Conn, r *Request) error {
	all := append(append([]byte(nil), s.frames.head...), s.frames.events...)
	now := time.Now().UnixNano()
	s.mu.Lock()
	for range s.cfg.Events {
		r.Events = append(r.Events, now)
	}
	s.mu.Unlock()
	_, err := c.Write(all)
	return err
}

// paced hands the connection to the pacing goroutine and waits until it has
// written everything.
func (s *Server) paced(c net.Conn, r *Request) error {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return errors.New("echo: not a TCP connection")
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	if _, err := c.Write(s.frames.head); err != nil {
		return err
	}
	st := &stream{r: r, done: make(chan error, 1)}
	if err := raw.Control(func(fd uintptr) { st.fd = int(fd) }); err != nil { // stays open while this goroutine holds c
		return err
	}
	select {
	case s.joined <- st:
	case <-s.quit:
		return net.ErrClosed
	}
	select {
	case err = <-st.done:
		return err
	case <-s.quit:
		return net.ErrClosed
	}
}

// stream is one reply that the pacing goroutine writes.
type stream struct {
	fd    int
	r     *Request
	rest  []byte // of a write that the socket did not take whole
	ended bool
	done  chan error
}

func (st *stream) end(err error) {
	if !st.ended {
		st.ended = true
		st.done <- err
	}
}

// pace writes the events of one set of streams after another.
func (s *Server) pace() {
	for {
		streams := s.gather()
		if streams == nil {
			return
		}
		s.play(streams)
		for _, st := range streams {
			st.end(nil)
		}
	}
}

// gather waits for the streams of a set; nil = the server was closed.
func (s *Server) gather() (streams []*stream) {
	var patience <-chan time.Time
	for len(streams) < s.cfg.Streams {
		select {
		case st := <-s.joined:
			streams = append(streams, st)
			if patience == nil {
				patience = time.After(s.cfg.Wait)
			}
		case <-patience:
			return streams
		case <-s.quit:
			return nil
		}
	}
	return streams
}

// play writes every event of the streams at its instant.
func (s *Server) play(streams []*stream) {
	gap, n := int64(s.cfg.Gap), int64(len(streams))
	start := time.Now().Add(5 * time.Millisecond)
	for k := 0; k < s.cfg.Events; k += s.cfg.Batch {
		next := min(k+s.cfg.Batch, s.cfg.Events)
		for i, st := range streams {
			if due := int64(k/s.cfg.Batch) * gap; gap > 0 {
				if !s.cfg.Together {
					due += gap * int64(i) / n
				}
				s.until(start, due)
			}
			s.write(st, k, next)
		}
		select {
		case <-s.quit:
			return
		default:
		}
	}
	s.flush(streams)
}

// until waits for an instant and notes how late it was met.
func (s *Server) until(start time.Time, due int64) {
	for {
		wait := due - int64(time.Since(start))
		if wait <= 0 {
			if -wait > s.late {
				s.mu.Lock()
				s.late = -wait
				s.mu.Unlock()
			}
			return
		}
		if !s.cfg.Spin {
			time.Sleep(time.Duration(wait))
		}
	}
}

// write writes the events of a stream from k up to next.
func (s *Server) write(st *stream, k, next int) {
	if st.ended {
		return
	}
	data := s.frames.events[s.frames.at[k]:s.frames.at[next]]
	now := time.Now().UnixNano()
	for range next - k {
		st.r.Events = append(st.r.Events, now)
	}
	if len(st.rest) > 0 {
		st.rest = append(st.rest, data...)
		data = st.rest
	}
	st.put(data)
	for s.cfg.Gap == 0 && len(st.rest) > 0 && !st.ended { // the client is the slower side
		time.Sleep(50 * time.Microsecond)
		st.put(st.rest)
	}
}

// put writes what the socket takes and keeps the rest.
func (st *stream) put(data []byte) {
	for len(data) > 0 {
		n, err := syscall.Write(st.fd, data)
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			st.rest = append([]byte(nil), data...)
			return
		case err != nil:
			st.end(err)
			return
		default:
			data = data[n:]
		}
	}
	st.rest = nil
}

// flush writes what sockets have not taken, for a bounded time.
func (s *Server) flush(streams []*stream) {
	for deadline := time.Now().Add(s.cfg.Wait); time.Now().Before(deadline); {
		left := false
		for _, st := range streams {
			if len(st.rest) > 0 && !st.ended {
				st.put(st.rest)
				left = left || len(st.rest) > 0
			}
		}
		if !left {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
