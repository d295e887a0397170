package launch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"llmdyno/internal/artifact"
	"llmdyno/internal/engine"
)

const (
	// maxAttempts bounds the starts on another port after a lost one.
	maxAttempts = 5
	// interruptGrace is the grace of a server whose context ended.
	interruptGrace = 5 * time.Second
	// orphanGrace is how long descendants may outlive their leader; where it
	// ended by itself, they get SIGTERM after a quarter of it.
	orphanGrace = 2 * time.Second
	// drainWait bounds the wait for the rest of the log.
	drainWait = time.Second
)

var (
	_ Backend = (*Local)(nil)
	_ Server  = (*server)(nil)
)

// server is a server process of this machine, over all its attempts.
type server struct {
	backend  *Local
	spec     Spec
	mark     string
	env      []string
	log      *sink
	redactor *artifact.Redactor

	stopOnce, killOnce sync.Once
	stopping           chan struct{} // Stop was called
	killing            chan struct{} // its grace is over
	done               chan struct{}

	mu    sync.Mutex
	cur   *attempt
	ready bool
	exit  Exit // valid once done is closed
}

// attempt is one process of a server.
type attempt struct {
	*child
	n       int // 1, 2, …
	port    int
	group   Group
	began   time.Time
	kills   int64 // of the host's out-of-memory killer before it began
	kept    *lines
	pipe    *os.File
	drained <-chan struct{}
	lost    sync.Once
	foreign chan struct{} // closed when somebody else listens on the port
	settled chan struct{} // closed when it is known what comes after it
}

// Start implements [Backend].
func (l *Local) Start(ctx context.Context, spec Spec) (Server, error) {
	if err := ctx.Err(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting %s: %w", spec.Name, err), closeLog(spec))
	}
	s, err := l.newServer(spec)
	if err == nil {
		s.cur, err = s.begin(1)
	}
	if err != nil {
		return nil, errors.Join(err, closeLog(spec))
	}
	unwatch := context.AfterFunc(ctx, func() { s.Stop(context.Background(), interruptGrace) })
	go func() {
		defer unwatch()
		s.supervise()
	}()
	return s, nil
}

func closeLog(s Spec) error {
	if s.Log == nil {
		return nil
	}
	return s.Log.Close()
}

func (l *Local) newServer(spec Spec) (*server, error) {
	if spec.Argv == nil {
		return nil, fmt.Errorf("starting %s: no command given", spec.Name)
	}
	if spec.Host == "" {
		spec.Host = "127.0.0.1"
	}
	if spec.Dir != "" {
		if info, err := os.Stat(spec.Dir); err != nil || !info.IsDir() {
			return nil, fmt.Errorf("starting %s: the working folder %s is not a folder; create it or choose another", spec.Name, spec.Dir)
		}
	}
	s := &server{
		backend: l, spec: spec, mark: spec.Mark, log: &sink{w: spec.Log}, redactor: artifact.NewRedactor(),
		stopping: make(chan struct{}), killing: make(chan struct{}), done: make(chan struct{}),
	}
	if s.mark == "" {
		s.mark = newMark()
	}
	s.env = slices.Clone(l.environ)
	if spec.Engine != nil {
		for _, v := range spec.Engine.Launch.Env {
			s.env = append(s.env, v.Name+"="+v.Value)
		}
	}
	s.env = slices.Concat(s.env, spec.Env, markEnv(s.mark))
	s.redactor.AddEnviron(s.env)
	s.redactor.AddSecret(spec.APIKey)
	return s, nil
}

// begin starts the process of attempt n.
func (s *server) begin(n int) (*attempt, error) {
	port, err := s.takePort()
	if err != nil {
		return nil, err
	}
	a, err := s.spawn(n, port)
	if err != nil {
		s.backend.leavePort(port)
		return nil, err
	}
	if s.spec.Started != nil {
		s.spec.Started(a.group)
	}
	return a, nil
}

// takePort is the fixed port, or one that is free and not given to another of
// our servers that has yet to listen.
func (s *server) takePort() (int, error) {
	l := s.backend
	l.mu.Lock()
	defer l.mu.Unlock()
	port, err := s.spec.Port, error(nil)
	if port == 0 {
		if port, err = choosePort(s.spec.Host, func(p int) bool { return l.ports[p] }); err != nil {
			return 0, fmt.Errorf("starting %s: %w", s.spec.Name, err)
		}
	} else if err := s.fixedPort(l.ports[port]); err != nil {
		return 0, err
	}
	l.ports[port] = true
	return port, nil
}

func (s *server) fixedPort(given bool) error {
	err := portFree(s.spec.Host, s.spec.Port)
	if !given && err == nil {
		return nil
	}
	why, kind, todo := "another server of this run has it", engine.LogPortInUse, "choose another port, or 0 for a free one"
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		why = owner(listeners(s.spec.Host, s.spec.Port)) + " listens on it"
	case err != nil:
		why, kind = err.Error(), ""
	}
	return &Failure{Status: StatusFailed, Kind: kind, ExitCode: -1, err: err,
		Reason: fmt.Sprintf("starting %s: port %d on %s cannot be used: %s; %s", s.spec.Name, s.spec.Port, s.spec.Host, why, todo)}
}

func (l *Local) leavePort(port int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.ports, port)
}

// spawn starts the process.
func (s *server) spawn(n, port int) (*attempt, error) {
	argv := s.spec.Argv(port)
	if len(argv) == 0 {
		return nil, fmt.Errorf("starting %s: its command has no words", s.spec.Name)
	}
	file, err := look(argv[0], s.env)
	if err != nil {
		return nil, s.startFailure(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", s.spec.Name, err)
	}
	a := &attempt{n: n, port: port, began: time.Now(), kills: hostOOMKills(), kept: &lines{}, pipe: r,
		foreign: make(chan struct{}), settled: make(chan struct{})}
	a.child, err = begin(&exec.Cmd{Path: file, Args: argv, Env: s.env, Dir: s.spec.Dir, Stdout: w, Stderr: w})
	w.Close()
	if err != nil {
		r.Close()
		return nil, s.startFailure(s.explain(file, err))
	}
	a.drained = pump(r, s.log, s.redactor, a.kept)
	a.group = groupOf(a.cmd.Process.Pid, s.mark)
	return a, nil
}

// startFailure is the failure of a command that cannot be started at all.
func (s *server) startFailure(err error) error {
	return &Failure{Status: StatusFailed, ExitCode: -1, Reason: fmt.Sprintf("starting %s: %v", s.spec.Name, err), err: err}
}

// explain says in words why a file could not be started.
func (s *server) explain(file string, err error) error {
	path := file
	if !filepath.IsAbs(path) {
		path = filepath.Join(s.spec.Dir, path)
	}
	info, statErr := os.Stat(path)
	switch {
	case errors.Is(statErr, fs.ErrNotExist):
		return fmt.Errorf("%s does not exist: install it or correct the path", file)
	case statErr == nil && info.IsDir():
		return fmt.Errorf("%s is a folder: name the program in it", file)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s is not executable: chmod +x it, or choose another", file)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s needs an interpreter (its first line) or a loader that is not there", file)
	case errors.Is(err, syscall.ENOEXEC):
		return fmt.Errorf("%s is not a program of this machine: wrong architecture, or a script without a #! line", file)
	case errors.Is(err, syscall.E2BIG):
		return fmt.Errorf("%s: its arguments and environment are too long: %w", file, syscall.E2BIG)
	}
	return fmt.Errorf("%s: %w", file, err)
}

func groupOf(pid int, mark string) Group {
	g := Group{PGID: pid, BootID: bootID(), Session: pid, Mark: mark}
	if p, ok := status(pid); ok {
		g.StartTicks = p.Starttime
	}
	return g
}

// URL implements [Server].
func (s *server) URL() string {
	return "http://" + net.JoinHostPort(s.spec.Host, fmt.Sprint(s.current().port))
}

// PID implements [Server].
func (s *server) PID() int { return s.current().group.PGID }

// Group implements [Server].
func (s *server) Group() Group { return s.current().group }

// Done implements [Server].
func (s *server) Done() <-chan struct{} { return s.done }

// Exit implements [Server].
func (s *server) Exit() Exit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.exit
}

// Tail implements [Server].
func (s *server) Tail(n int) []string {
	all := s.current().kept.all()
	return all[max(0, len(all)-max(0, n)):]
}

func (s *server) current() *attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cur
}

// Stop implements [Server].
func (s *server) Stop(ctx context.Context, grace time.Duration) Exit {
	s.stopOnce.Do(func() { close(s.stopping) })
	timer := time.NewTimer(max(0, grace))
	defer timer.Stop()
	select {
	case <-s.done:
		return s.Exit()
	case <-timer.C:
	case <-ctx.Done():
	}
	s.killOnce.Do(func() { close(s.killing) })
	<-s.done // bounded by killWait and drainWait
	return s.Exit()
}

// lostPort ends an attempt whose port belongs to somebody else.
func (a *attempt) lostPort() { a.lost.Do(func() { close(a.foreign) }) }

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// supervise sees the server through: to its end, over lost ports.
func (s *server) supervise() {
	a := s.cur
	for {
		exit := s.watch(a)
		s.backend.leavePort(a.port)
		next := s.again(a, exit)
		s.mu.Lock()
		if next == nil {
			exit.LogError = s.log.close()
			s.exit = exit
			s.mu.Unlock()
			close(s.done)
			close(a.settled)
			return
		}
		s.cur = next
		s.mu.Unlock()
		close(a.settled)
		a = next
	}
}

// again starts the next attempt when the last one lost its port before it was
// ready; nil = that was the end.
func (s *server) again(a *attempt, exit Exit) *attempt {
	if s.spec.Port != 0 || closed(s.stopping) || s.isReady() || a.n >= maxAttempts {
		return nil
	}
	if !closed(a.foreign) && Diagnose(s.spec.Engine, a.kept.all(), exit).Kind != engine.LogPortInUse {
		return nil
	}
	s.note(a, "port %d was taken by somebody else: starting again on another", a.port)
	next, err := s.begin(a.n + 1)
	if err != nil {
		s.note(a, "%v", err)
		return nil
	}
	return next
}

// note puts a line of our own into the log.
func (s *server) note(a *attempt, format string, args ...any) {
	line := "[llmdyno: " + strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " ") + "]\n"
	line = s.redactor.String(line)
	s.log.Write([]byte(line))
	a.kept.Write([]byte(line))
}

func (s *server) isReady() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready
}
