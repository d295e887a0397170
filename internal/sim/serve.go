package sim

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// shutdown bounds the wait for replies in flight after the engine is told to
// stop; what is left is cut, as engines do.
const shutdown = 400 * time.Millisecond

// keepAlive of an idle connection is that of the engines' servers (uvicorn's
// timeout_keep_alive, and "Keep-Alive: timeout=5" of another, 2026-08).
const keepAlive = 5 * time.Second

// connKey finds a request's connection in its context.
type connKey struct{}

// closeLag is the time between the end of a stream and that of its connection
// where a server closes it without saying so: about 3 ms were measured
// (llama.cpp 0.7.0, 2026-11-23).
const closeLag = 3 * time.Millisecond

// closeSilently ends the connection shortly after the reply, although the header
// has promised to keep it.
func closeSilently(q *http.Request) {
	if c, ok := q.Context().Value(connKey{}).(*conn); ok {
		c.over.Store(true)
		time.AfterFunc(closeLag, func() { c.Close() })
	}
}

// conn is a connection that may be over before it is closed: then nothing more
// is read from it.
type conn struct {
	net.Conn
	over atomic.Bool
}

// unread ends a request that came on a connection that is over, without a byte
// of a reply.
func unread(q *http.Request) {
	if c, ok := q.Context().Value(connKey{}).(*conn); ok && c.over.Load() {
		time.Sleep(closeLag)
		panic(http.ErrAbortHandler)
	}
}

// Serve is the life of the engine's process: load, listen, answer, until ctx
// ends. listen opens the port; opened is told the address. It returns nil after
// an orderly stop, or a *Refusal.
func (e *Engine) Serve(ctx context.Context, listen func(addr string) (net.Listener, error), opened func(addr net.Addr) error) error {
	loop, stopLoop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { e.Run(loop) })
	defer wg.Wait()
	defer stopLoop()

	srv := &http.Server{
		Handler: e, ReadHeaderTimeout: 30 * time.Second, IdleTimeout: keepAlive,
		ErrorLog: log.New(io.Discard, "", 0), // the engine's log is all that a user sees
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, &conn{Conn: c})
		},
	}
	failed := make(chan error, 1)
	open := func() error {
		l, err := listen(e.Addr())
		if err != nil {
			return err
		}
		if tcp, ok := l.Addr().(*net.TCPAddr); ok {
			e.SetPort(tcp.Port)
		}
		if err := opened(l.Addr()); err != nil {
			l.Close()
			return err
		}
		wg.Go(func() { failed <- srv.Serve(l) })
		return nil
	}
	if e.ListenEarly() {
		if err := open(); err != nil {
			return err
		}
	}
	defer srv.Close()
	if err := e.Load(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	if !e.ListenEarly() {
		if err := open(); err != nil {
			return err
		}
	}
	e.Ready()
	select {
	case <-ctx.Done():
	case <-e.died:
		return e.refusal("crash", "fault injected by a request")
	case err := <-failed:
		if !errors.Is(err, http.ErrServerClosed) {
			return err
		}
	}
	e.log("stop", nil)
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdown)
	defer cancel()
	_ = srv.Shutdown(bounded) // the deferred Close cuts what is left
	return nil
}
