package launch

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/prometheus/procfs"
)

// portTries bounds the search for a free port.
const portTries = 200

// choosePort finds a port that nobody listens on, below the range from which
// the kernel gives ports to outgoing connections: one of those, our own load
// included, could otherwise take it before the server does. taken are refused.
func choosePort(host string, taken func(int) bool) (int, error) {
	low, high := 20000, outgoingFrom()
	if high-low < 1000 {
		low, high = 1024, 65536
	}
	for range portTries {
		port := low + rand.IntN(high-low)
		if !taken(port) && portFree(host, port) == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port found between %d and %d on %s in %d tries", low, high-1, host, portTries)
}

// outgoingFrom is the lowest port of outgoing connections.
func outgoingFrom() int {
	b, _ := os.ReadFile(proc + "/sys/net/ipv4/ip_local_port_range")
	if f := strings.Fields(string(b)); len(f) == 2 {
		if n, err := strconv.Atoi(f[0]); err == nil {
			return n
		}
	}
	return 32768
}

// portFree tries to listen; nil = free now. An address that is not of this
// machine is tried on all of its own.
func portFree(host string, port int) error {
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil && !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EACCES) {
		l, err = net.Listen("tcp", ":"+strconv.Itoa(port))
	}
	if err != nil {
		return err
	}
	return l.Close()
}

// listeners are the sockets (by inode) that listen on a port in a way that a
// server at host would meet.
func listeners(host string, port int) []uint64 {
	var inodes []uint64
	for _, name := range []string{"/net/tcp", "/net/tcp6"} {
		b, _ := os.ReadFile(proc + name)
		for line := range strings.Lines(string(b)) {
			if l, ok := parseListener(line); ok && l.port == port && l.meets(host) {
				inodes = append(inodes, l.inode)
			}
		}
	}
	return inodes
}

// listener is a listening socket.
type listener struct {
	ip    net.IP
	port  int
	inode uint64
}

// parseListener reads one line of /proc/net/tcp or tcp6: number, local address,
// remote address, state, …, inode as the tenth word. An address is hexadecimal
// and stands in words of 32 bits in the byte order of the machine
// (Documentation/networking/proc_net_tcp.rst of Linux 6.18). False for other
// states and what cannot be read.
func parseListener(line string) (l listener, ok bool) {
	const listening = "0A" // TCP_LISTEN, include/net/tcp_states.h
	f := strings.Fields(line)
	if len(f) < 10 || f[3] != listening {
		return l, false
	}
	address, port, _ := strings.Cut(f[1], ":")
	b, err := hex.DecodeString(address)
	if err != nil || len(b) != net.IPv4len && len(b) != net.IPv6len {
		return l, false
	}
	for i := 0; i < len(b); i += 4 {
		binary.BigEndian.PutUint32(b[i:], binary.NativeEndian.Uint32(b[i:]))
	}
	p, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return l, false
	}
	inode, err := strconv.ParseUint(f[9], 10, 64)
	return listener{net.IP(b), int(p), inode}, err == nil
}

// meets says whether a connection to host would arrive here. A name instead of
// an address may mean any.
func (l listener) meets(host string) bool {
	ip := net.ParseIP(host)
	return ip == nil || l.ip.IsUnspecified() || l.ip.Equal(ip)
}

// holds says whether a process has one of the sockets open, and whether that
// could be read.
func holds(pid int, inodes []uint64) (yes, known bool) {
	fs, err := procfs.NewFS(proc)
	if err != nil {
		return false, false
	}
	p, err := fs.Proc(pid)
	if err != nil {
		return false, false
	}
	targets, err := p.FileDescriptorTargets()
	if err != nil {
		return false, false
	}
	for _, inode := range inodes {
		if slices.Contains(targets, fmt.Sprintf("socket:[%d]", inode)) {
			return true, true
		}
	}
	return false, true
}

// owner says in words who holds one of the sockets, as far as we may see.
func owner(inodes []uint64) string {
	for _, p := range processes() {
		if yes, _ := holds(p.PID, inodes); yes {
			return fmt.Sprintf("process %d (%s)", p.PID, p.Comm)
		}
	}
	if yes, _ := holds(os.Getpid(), inodes); yes {
		return "this program"
	}
	return "another process"
}
