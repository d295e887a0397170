package client

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"llmdyno/internal/load/sample"
)

// direct keeps the connections of a client that are read by pollers.
type direct struct {
	heads   heads
	addr    string
	dial    dialer
	maxIdle int
	pollers []poller
	next    atomic.Uint32
	dialing chan struct{} // holds one for each connection that is being made

	mu   sync.Mutex
	idle []*conn // the one used last is at the end; some may be dead
}

// maxPollers bounds the goroutines that read; one reads more than 100,000 events
// a second.
const maxPollers = 8

// maxDialing bounds the connections that are being made at once, and with them
// the deep stacks, whose memory a process keeps.
const maxDialing = 1024

// newDirect is nil where streams must go through net/http: over TLS, or through
// somebody else's dialer.
func newDirect(c *Client, o Options) *direct {
	if c.base.Scheme != "http" || o.Dial != nil || o.Portable {
		return nil
	}
	addr := c.base.Host
	if c.base.Port() == "" {
		addr = net.JoinHostPort(c.base.Hostname(), "80")
	}
	d := &direct{addr: addr, maxIdle: o.Conns, dial: dialFrom(o.Sources, lateBind), dialing: make(chan struct{}, maxDialing)}
	if d.maxIdle <= 0 {
		d.maxIdle = 1 << 30
	}
	// One CPU is left to the pacer.
	d.pollers = make([]poller, min(max(runtime.GOMAXPROCS(0)-1, 1), maxPollers))
	return d
}

// maxLoopback is how many source addresses are tried towards a loopback server:
// each has about 28,000 ports (ip_local_port_range, 32768 to 60999 by default).
const maxLoopback = 64

// dialFrom dials TCP from the source addresses in turn, each until its ports run
// out. Towards a loopback server 127.0.0.2 and so on follow by themselves. control
// is done to each socket first.
func dialFrom(sources []netip.Addr, control func(network, addr string, raw syscall.RawConn) error) dialer {
	var now atomic.Int32 // source in use
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		for {
			i := now.Load()
			from, ok := source(sources, i)
			d := net.Dialer{Control: control}
			if ok {
				d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
			}
			c, err := d.DialContext(ctx, network, addr)
			if !errors.Is(err, unix.EADDRNOTAVAIL) {
				return c, err
			}
			if _, more := source(sources, i+1); !more || len(sources) == 0 && !loopback(addr) {
				return c, err
			}
			now.CompareAndSwap(i, i+1)
		}
	}
}

// source is the address to dial from after i others ran out; false = the
// system's choice.
func source(sources []netip.Addr, i int32) (netip.Addr, bool) {
	switch {
	case len(sources) > 0 && int(i) < len(sources):
		return sources[i], true
	case len(sources) == 0 && i > 0 && i <= maxLoopback:
		return netip.AddrFrom4([4]byte{127, 0, 0, byte(i + 1)}), true
	}
	return netip.Addr{}, false
}

func loopback(addr string) bool {
	host, _, _ := net.SplitHostPort(addr)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Is4() && ip.IsLoopback()
}

// lateBind lets connect choose the port, so that a source's ports are counted
// for each destination and not once for all.
func lateBind(_, _ string, raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1) // without it there are fewer ports
	})
}

// connect gives a kept connection or a new one, and notes which in rec.
func (d *direct) connect(ctx context.Context, clock Clock, rec *sample.Record, fresh bool) (*conn, error) {
	rec.ConnReused = false
	for !fresh {
		c, old := d.pop()
		if c == nil {
			break
		}
		if old {
			c.drop()
			continue
		}
		rec.ConnReused = true
		return c, nil
	}
	bounded, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	c, err := d.open(bounded)
	rec.Conn = clock.Now()
	if err != nil {
		rec.Conn = sample.Never
	}
	return c, err
}

// open makes a connection.
func (d *direct) open(ctx context.Context) (c *conn, err error) {
	select {
	case d.dialing <- struct{}{}:
		defer func() { <-d.dialing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	// In a goroutine of its own, whose deep stack serves others when it ends: a
	// waiting stream keeps a small one.
	made := make(chan struct{})
	go func() {
		defer close(made)
		var tcp net.Conn
		if tcp, err = d.dial(ctx, "tcp", d.addr); err == nil {
			c, err = d.adopt(tcp)
		}
	}()
	<-made
	return c, err
}

func (d *direct) pop() (c *conn, old bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.idle) == 0 {
		return nil, false
	}
	c = d.idle[len(d.idle)-1]
	d.idle = d.idle[:len(d.idle)-1]
	return c, time.Since(c.idleSince) > idleTimeout
}

func (d *direct) push(c *conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.idle) >= d.maxIdle {
		return false
	}
	c.idleSince = time.Now()
	d.idle = append(d.idle, c)
	return true
}

func (d *direct) close() {
	d.mu.Lock()
	idle := d.idle
	d.idle = nil
	d.mu.Unlock()
	for _, c := range idle {
		c.drop()
	}
}

// adopt takes the socket of a connection away from the Go runtime, which would
// wake up for each of its reads, and gives it to a poller.
func (d *direct) adopt(tcp net.Conn) (*conn, error) {
	defer tcp.Close()
	raw, err := tcp.(*net.TCPConn).SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	if ctl := raw.Control(func(s uintptr) { fd, err = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0) }); ctl != nil {
		return nil, ctl
	}
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("fcntl", err)}
	}
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) // refused: the clock after the read serves
	c := &conn{fd: fd, direct: d, poller: &d.pollers[int(d.next.Add(1))%len(d.pollers)]}
	if err := c.poller.add(c); err != nil {
		unix.Close(fd)
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	return c, nil
}

// conn is a connection; its lock guards the rest and the exchange under way.
type conn struct {
	mu        sync.Mutex
	fd        int
	direct    *direct
	poller    *poller
	x         *pending // nil = idle
	dead      bool
	idleSince time.Time // guarded by direct.mu
}

// send writes the request of x and waits until its reply has ended. True: the
// connection was a kept one that the server had already closed, and nothing of
// a reply has come.
func (c *conn) send(ctx context.Context, x *pending, head, body []byte) (again bool) {
	reused := x.rec.ConnReused
	c.mu.Lock()
	x.rec.Send = x.clock.Now()
	if !reused {
		x.rec.Conn = x.rec.Send
	}
	if c.dead {
		c.mu.Unlock()
		return true
	}
	c.x = x
	if !c.write(ctx, x, head, body) {
		select {
		case <-x.ended:
		case <-ctx.Done():
			c.give(x, ctx.Err())
		}
	}
	return reused && !x.answered && stale(ctx, x.verdict)
}

// write sends the whole request; it is called with the lock and returns without
// it. True: the exchange ended over it.
func (c *conn) write(ctx context.Context, x *pending, head, body []byte) (ended bool) {
	for {
		n, err := unix.Writev(c.fd, [][]byte{head, body})
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			n = 0
		case err != nil:
			c.mu.Unlock()
			c.give(x, os.NewSyscallError("write", err))
			return true
		}
		cut := min(n, len(head))
		head, body = head[cut:], body[n-cut:]
		if len(head)+len(body) == 0 {
			c.mu.Unlock()
			return false
		}
		if x.writable == nil {
			x.writable = make(chan struct{}, 1)
		}
		c.mu.Unlock()
		select {
		case <-x.writable:
		case <-x.ended:
			return true
		case <-ctx.Done():
			c.give(x, ctx.Err())
			return true
		}
		if c.mu.Lock(); c.x != x {
			c.mu.Unlock()
			<-x.ended
			return true
		}
	}
}

// give ends an exchange from outside, unless it has ended by itself.
func (c *conn) give(x *pending, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.x == x {
		x.now = x.clock.Now()
		x.settle(err)
		c.end(false)
	}
}

// end ends the exchange under way; it is called with the lock.
func (c *conn) end(reusable bool) {
	x := c.x
	c.x = nil
	if !reusable || !c.direct.push(c) {
		c.kill()
	}
	close(x.ended)
}

// kill closes the socket; it is called with the lock.
func (c *conn) kill() {
	if !c.dead {
		c.dead = true
		c.poller.remove(c)
		unix.Close(c.fd)
	}
}

func (c *conn) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kill()
}

// ready reads what has come; flags say what the kernel reported.
func (c *conn) ready(p *polling, flags uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return
	}
	if flags&unix.EPOLLOUT != 0 && c.x != nil && c.x.writable != nil {
		select {
		case c.x.writable <- struct{}{}:
		default:
		}
	}
	const closing = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	for flags&(unix.EPOLLIN|closing) != 0 {
		n, at, err := p.receive(c.fd)
		switch {
		case err == unix.EAGAIN:
			return
		case err == unix.EINTR:
			continue
		}
		if c.x == nil { // nobody asked: it has been closed, or cannot be trusted any more
			c.kill()
			return
		}
		if n == 0 || err != nil {
			c.lost(at, err)
			return
		}
		c.got(p.buf[:n], at)
		// A read that leaves room has emptied the socket, and what comes next is
		// reported anew.
		if c.dead || n < len(p.buf) && flags&closing == 0 {
			return
		}
	}
}

func (c *conn) lost(at stamp, err error) {
	if err == nil {
		err = io.EOF
	} else {
		err = os.NewSyscallError("recvmsg", err)
	}
	c.x.arrived(at)
	c.x.broken(err)
	c.end(false)
}

func (c *conn) got(data []byte, at stamp) {
	x := c.x
	over, reusable := x.read(data, at)
	switch {
	case over:
		c.end(reusable)
	case x.over && x.drain == nil:
		x.drain = time.AfterFunc(drainTime, func() { c.give(x, nil) })
	}
}

// readSize is the most that one read takes. It is the poller's, not the
// stream's, so that idle streams need no buffer.
const readSize = 256 << 10

// poller waits for the sockets of its connections and reads them, in one
// goroutine that lives as long as it has any. Its epoll descriptor is itself
// waited for by the Go runtime, so that no thread is held.
type poller struct {
	mu    sync.Mutex
	file  *os.File // the epoll descriptor; nil = not running
	epfd  int
	conns []*conn // by descriptor
	n     int
}

func (p *poller) add(c *conn) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.file == nil {
		if err := p.start(); err != nil {
			return err
		}
	}
	for len(p.conns) <= c.fd {
		p.conns = append(p.conns, nil)
	}
	e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(c.fd)}
	if err := unix.EpollCtl(p.epfd, unix.EPOLL_CTL_ADD, c.fd, &e); err != nil {
		p.rest()
		return os.NewSyscallError("epoll_ctl", err)
	}
	p.conns[c.fd] = c
	p.n++
	return nil
}

func (p *poller) remove(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	unix.EpollCtl(p.epfd, unix.EPOLL_CTL_DEL, c.fd, nil) // it is closed next in any case
	p.conns[c.fd] = nil
	p.n--
	p.rest()
}

// rest ends the goroutine of a poller without connections.
func (p *poller) rest() {
	if p.n == 0 && p.file != nil {
		go p.file.Close() // which waits for run, perhaps the caller
		p.file = nil
	}
}

func (p *poller) start() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or the runtime would not wait for it
		unix.Close(fd)
		return os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(fd), "epoll")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return err
	}
	p.file, p.epfd = file, fd
	go p.run(raw, newPolling())
	return nil
}

// run hands each readiness to its connection until the descriptor is closed. It
// stays within one Read of the runtime, which notes what becomes ready from its
// beginning on, so that no wait misses any.
func (p *poller) run(raw syscall.RawConn, q *polling) {
	raw.Read(func(fd uintptr) (stop bool) { // its error is that of the closing
		napped := q.pace.gathers()
		if napped {
			nap()
		}
		for {
			n, err := unix.EpollWait(int(fd), q.events, 0)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return true
			}
			for i, c := range p.holders(q, n) {
				if c != nil {
					c.ready(q, q.events[i].Events)
				}
			}
			q.pace.batch(n, q.seen, napped)
			if n < len(q.events) {
				return false
			}
		}
	})
}

// holders are the connections of the first n events.
func (p *poller) holders(q *polling, n int) []*conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, e := range q.events[:n] {
		q.who[i] = nil
		if int(e.Fd) < len(p.conns) {
			q.who[i] = p.conns[e.Fd]
		}
	}
	return q.who[:n]
}

// napTime is how long a poller lets arrivals gather, about 90 us with the timer
// slack of 50 us that Linux adds to a sleep (prctl(2), PR_SET_TIMERSLACK). It
// adds to the lag of an event and, since the kernel stamps it, to no instant.
const napTime = 40 * time.Microsecond

// nap sleeps without the scheduler's knowledge, so that the CPU is not taken for
// idle: giving it up and taking it again wakes threads of the Go runtime and
// costs more than the reading of an event.
func nap() {
	t := unix.NsecToTimespec(int64(napTime))
	syscall.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&t)), 0, 0)
}

// pace follows how dense the arrivals are. One by one, each costs a wake-up,
// which is dearer than its read.
type pace struct {
	last  int64 // Unix ns of the last read of the batch before
	dense int   // dense batches in a row
	n     int   // events of the last batch
}

// Batches are dense that come within denseGap of the one before, or bring many
// events, or several after a nap; from denseRun of them on it pays to nap. After
// a batch of many there is nothing to wait for: the poller is behind.
const (
	denseGap = int64(50 * time.Microsecond)
	denseRun = 4
	many     = 8
)

// batch notes a batch of n events, the last of them read at the instant at.
func (p *pace) batch(n int, at int64, napped bool) {
	if p.n = n; n == 0 {
		return
	}
	if n >= many || napped && n > 1 || !napped && at-p.last < denseGap {
		p.dense++
	} else {
		p.dense = 0
	}
	p.last = at
}

// gathers says whether to nap before the next batch.
func (p *pace) gathers() bool { return p.dense >= denseRun && p.n < many }

// polling is what one goroutine of a poller works with.
type polling struct {
	pace   pace
	seen   int64 // Unix ns of the last read
	events []unix.EpollEvent
	who    []*conn
	buf    []byte
	oob    []byte // room for one SCM_TIMESTAMPNS
	iov    unix.Iovec
	msg    unix.Msghdr
}

func newPolling() *polling {
	const batch = 256
	q := &polling{events: make([]unix.EpollEvent, batch), who: make([]*conn, batch), buf: make([]byte, readSize), oob: make([]byte, 64)}
	q.iov.Base = &q.buf[0]
	q.iov.SetLen(len(q.buf))
	q.msg.Iov = &q.iov
	q.msg.SetIovlen(1)
	return q
}

// receive reads what the socket has, without waiting, and tells when the last
// segment of it arrived. A raw system call does not make the scheduler expect a
// wait.
func (q *polling) receive(fd int) (n int, at stamp, err error) {
	q.msg.Control = &q.oob[0]
	q.msg.SetControllen(len(q.oob))
	r, _, errno := syscall.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&q.msg)), unix.MSG_DONTWAIT)
	at.wall = time.Now().UnixNano()
	q.seen = at.wall
	if errno != 0 {
		return 0, at, errno
	}
	if sent, ok := q.kernelTime(); ok {
		at.lag = at.wall - sent
		at.kernel = at.lag >= 0 && at.lag < maxKernelLag
		if !at.kernel {
			at.lag = 0
		}
	}
	return int(r), at, nil
}

// kernelTime is the SCM_TIMESTAMPNS of the last read in Unix nanoseconds. The
// first reads after switching it on may have none.
func (q *polling) kernelTime() (ns int64, ok bool) {
	got := q.oob[:q.msg.Controllen]
	if len(got) < unix.CmsgSpace(int(unsafe.Sizeof(unix.Timespec{}))) {
		return 0, false
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&got[0]))
	if h.Level != unix.SOL_SOCKET || h.Type != unix.SO_TIMESTAMPNS {
		return 0, false
	}
	return (*unix.Timespec)(unsafe.Pointer(&got[unix.CmsgLen(0)])).Nano(), true
}
