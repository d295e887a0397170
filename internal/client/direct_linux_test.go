package client

import (
	"net"
	"net/netip"
	"testing"
)

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
		c, err := dialFrom(tt.sources)(t.Context(), "tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if host, _, _ := net.SplitHostPort(c.LocalAddr().String()); host != tt.want {
			t.Errorf("from %s, want %s", host, tt.want)
		}
		c.Close()
	}
	if _, err := dialFrom([]netip.Addr{netip.MustParseAddr("192.0.2.1")})(t.Context(), "tcp", ln.Addr().String()); err == nil {
		t.Error("dialed from an address that is not ours")
	}
	if from, ok := source(nil, 3); !ok || from.String() != "127.0.0.4" {
		t.Errorf("fourth loopback source %v", from)
	}
	if _, ok := source(nil, maxLoopback+1); ok {
		t.Error("the loopback sources have no end")
	}
}
