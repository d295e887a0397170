// Package pipenet is a network of pipes within the process, for tests that need
// a server and a bubble's clock at once: the real network has no place there.
//
//	Dial → net.Pipe → Accept
package pipenet

import (
	"context"
	"errors"
	"net"
	"sync"
)

// Listener is a [net.Listener] whose connections are pipes.
type Listener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// Listen opens a listener. It has no address but itself.
func Listen() *Listener {
	return &Listener{conns: make(chan net.Conn), done: make(chan struct{})}
}

// Accept waits for a dial; after Close it says [net.ErrClosed].
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and refuses further dials; it may be called again.
func (l *Listener) Close() error { l.once.Do(func() { close(l.done) }); return nil }

// Addr names the listener.
func (l *Listener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// Dial connects to the listener, whatever address is asked for; after Close it is
// refused.
func (l *Listener) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.done:
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: errors.New("connection refused")}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
