package launch

import (
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
	fs, err := procfs.NewFS(proc)
	if err != nil {
		return nil
	}
	four, _ := fs.NetTCP()
	six, _ := fs.NetTCP6()
	ip := net.ParseIP(host)
	var inodes []uint64
	for _, l := range slices.Concat(four, six) {
		const listening = 0x0A // TCP_LISTEN, include/net/tcp_states.h
		if l.St != listening || l.LocalPort != uint64(port) {
			continue
		}
		if ip == nil || l.LocalAddr.IsUnspecified() || l.LocalAddr.Equal(ip) {
			inodes = append(inodes, l.Inode)
		}
	}
	return inodes
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
