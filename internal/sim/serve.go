package sim

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// shutdown bounds the wait for replies in flight after the engine is told to
// stop; what is left is cut, as engines do.
const shutdown = 400 * time.Millisecond

// Serve is the life of the engine's process: load, listen, answer, until ctx
// ends. listen opens the port; opened is told the address. It returns nil after
// an orderly stop, or a *Refusal.
func (e *Engine) Serve(ctx context.Context, listen func(addr string) (net.Listener, error), opened func(addr net.Addr) error) error {
	loop, stopLoop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { e.Run(loop) })
	defer wg.Wait()
	defer stopLoop()

	srv := &http.Server{Handler: e, ReadHeaderTimeout: 30 * time.Second}
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
