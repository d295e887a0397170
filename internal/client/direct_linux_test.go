package client

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// With few ports to a source, many connections come from several.
func TestSourcesWhenPortsRunOut(t *testing.T) {
	const low, ports, conns = 47_100, 4, 11
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	few := func(network, addr string, raw syscall.RawConn) error {
		var refused error
		err := raw.Control(func(fd uintptr) {
			refused = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_LOCAL_PORT_RANGE, low|(low+ports-1)<<16)
		})
		return errors.Join(err, refused, lateBind(network, addr, raw))
	}
	for _, sources := range [][]netip.Addr{nil, {netip.MustParseAddr("127.0.0.21"), netip.MustParseAddr("127.0.0.22"), netip.MustParseAddr("127.0.0.23")}} {
		dial, from := dialFrom(sources, few), map[string]int{}
		for i := range conns {
			c, err := dial(t.Context(), "tcp", ln.Addr().String())
			if errors.Is(err, unix.ENOPROTOOPT) {
				t.Skip("this kernel cannot narrow the ports of a socket (Linux 6.3 can)")
			}
			if err != nil {
				t.Fatalf("connection %d, sources %v: %v", i, sources, err)
			}
			defer c.Close()
			at := c.LocalAddr().(*net.TCPAddr)
			if at.Port < low || at.Port >= low+ports {
				t.Errorf("connection %d from port %d", i, at.Port)
			}
			from[at.IP.String()]++
		}
		if len(from) < (conns+ports-1)/ports {
			t.Errorf("%d connections of %d ports came from %v", conns, ports, from)
		}
	}
	// The only source given has no port left since the loop.
	if _, err := dialFrom([]netip.Addr{netip.MustParseAddr("127.0.0.21")}, few)(t.Context(), "tcp", ln.Addr().String()); !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Errorf("without a port: %v", err)
	}
}

// While others take up all the places, the wait for one ends with the request.
func TestDialingIsBounded(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := New(Options{BaseURL: "http://" + ln.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range maxDialing {
		c.direct.dialing <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.direct.open(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("without a place: %v", err)
	}
	<-c.direct.dialing
	for range 3 { // the place is given back
		cn, err := c.direct.open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		cn.drop()
	}
}

func TestPace(t *testing.T) {
	type batch struct {
		n      int
		after  time.Duration // from the batch before
		napped bool
	}
	times := func(n int, b batch) (out []batch) {
		for range n {
			out = append(out, b)
		}
		return out
	}
	sparse, near := batch{1, time.Millisecond, false}, batch{1, 20 * time.Microsecond, false}
	dense := slices.Clip(times(denseRun+1, near))
	tests := []struct {
		name    string
		batches []batch
		want    bool
	}{
		{"nothing yet", nil, false},
		{"sparse", times(10, sparse), false},
		{"dense", dense, true},
		{"nearly dense", times(denseRun, near), false},
		{"dense with a pause", append(append(times(denseRun-1, near), sparse), near), false},
		{"several after a nap", append(dense, batch{3, 100 * time.Microsecond, true}), true},
		{"one after a nap", append(dense, batch{1, 100 * time.Microsecond, true}), false},
		{"many after a nap", append(dense, batch{many, 100 * time.Microsecond, true}), false},
		{"caught up", append(dense, batch{many, 100 * time.Microsecond, true}, near), true},
		{"an empty batch", append(dense, batch{0, 0, true}), true},
		{"bursts far apart", times(denseRun, batch{many, time.Second, false}), false},
		{"one after such bursts", append(times(denseRun, batch{many, time.Second, false}), sparse), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var p pace
			at := int64(time.Hour)
			for _, b := range tt.batches {
				at += int64(b.after)
				p.batch(b.n, at, b.napped)
			}
			if got := p.gathers(); got != tt.want {
				t.Errorf("gathers = %v after %+v, want %v", got, tt.batches, tt.want)
			}
		})
	}
}

// Without ports left at one source address the next one serves.
func TestSourcesInTurn(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	tests := []struct {
		sources []netip.Addr
		want    string
	}{
		{[]netip.Addr{netip.MustParseAddr("127.0.0.9")}, "127.0.0.9"},
		// An address that no machine has gives the same error as one without ports.
		{[]netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("127.0.0.7")}, "127.0.0.7"},
		{nil, "127.0.0.1"},
	}
	for _, tt := range tests {
		c, err := dialFrom(tt.sources, lateBind)(t.Context(), "tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if host, _, _ := net.SplitHostPort(c.LocalAddr().String()); host != tt.want {
			t.Errorf("from %s, want %s", host, tt.want)
		}
		c.Close()
	}
	if _, err := dialFrom([]netip.Addr{netip.MustParseAddr("192.0.2.1")}, lateBind)(t.Context(), "tcp", ln.Addr().String()); err == nil {
		t.Error("dialed from an address that is not ours")
	}
	if from, ok := source(nil, 3); !ok || from.String() != "127.0.0.4" {
		t.Errorf("fourth loopback source %v", from)
	}
	if _, ok := source(nil, maxLoopback+1); ok {
		t.Error("the loopback sources have no end")
	}
}
