package launch

import (
	"context"
	"io"
	"time"

	"llmdyno/internal/engine"
)

// Spec is one server to start.
type Spec struct {
	Name   string // for messages: the candidate
	Engine *engine.Engine
	// Argv is the whole command for the port that was chosen; it is called
	// again for each attempt.
	Argv func(port int) []string
	Env  []string // NAME=value, on top of the backend's environment
	Dir  string   // working folder; "" = that of this program
	Host string   // address to reach the server at; "" = 127.0.0.1
	// Port is a fixed port, refused when taken. 0 = choose a free one, and
	// another when somebody was faster.
	Port  int
	Model string // for probes that generate
	// Log receives everything that the server prints; it is closed when the
	// server has ended. nil = kept in memory only (head and tail).
	Log io.WriteCloser
	// ReadyDeadline bounds WaitReady; 0 = the engine's own.
	ReadyDeadline time.Duration
	Probes        []engine.Probe // nil = the engine's own
	APIKey        string
	// Mark is the value of LLMDYNO_RUN in the server's environment; "" = a
	// random one. A caller that journals it before Start can find the server
	// even when it was killed before it could journal the Group; see ReapMark.
	Mark string
	// Started is called for each process that is started (again after a lost
	// port), before anything is waited for: the place to journal the group.
	Started func(Group)
}

// Progress is how far a start has come.
type Progress struct {
	Elapsed   time.Duration
	Deadline  time.Duration
	LastProbe string // why the last round of probes did not hold; "" = none yet
	LastLine  string // last line of the log
	Attempt   int    // 1, and more after a lost port
}

// Exit is how a server ended.
type Exit struct {
	Code         int    // exit code; 128 + signal number when a signal ended it
	Signal       string // "SIGKILL", …; "" = it exited by itself
	PeakRSSBytes int64  // highest sum over the process tree, sampled each second, and the leader's own high-water mark; 0 = not measured
	Lifetime     time.Duration
	Requested    bool // Stop had been called
	// HostOOM: the kernel's out-of-memory killer struck in our cgroup during
	// the server's life.
	HostOOM bool
	// LogError says why the log is not whole (a full disk); "" = it is. The
	// server ran on.
	LogError string
	Left     []int // processes that could not be ended (stuck in the kernel); normally empty
}

// Server is a started server.
type Server interface {
	// URL is its base URL. It changes when another port had to be taken, so ask
	// after WaitReady.
	URL() string
	PID() int
	Group() Group
	// WaitReady waits until the probes hold one round after the other, the
	// process ends, it refuses what it is asked for good (no key, no such model),
	// the deadline passes (all three: a *Failure) or ctx ends. It does not stop the
	// server.
	WaitReady(ctx context.Context, progress func(Progress)) error
	// Stop ends the server and everything that it started: SIGTERM to the group,
	// SIGKILL after grace (at once when ctx ends), and returns when nothing is
	// left. It may be called several times and always runs to the end.
	Stop(ctx context.Context, grace time.Duration) Exit
	Done() <-chan struct{} // closed when the server has ended
	Exit() Exit            // valid once Done is closed
	Tail(n int) []string   // last lines of the log, redacted, oldest first
}

// Backend starts servers somewhere.
type Backend interface {
	// Start begins a server and does not wait for it. The server's life is
	// bounded by ctx: when ctx ends, it is stopped as by Stop. A port or
	// command that cannot work is an error at once, a *Failure where it is the
	// candidate's fault.
	Start(ctx context.Context, s Spec) (Server, error)
	// Output runs a short command (--help, --version) and returns what it
	// printed on stdout and stderr, bounded, and its exit code. A command that
	// runs longer than timeout is ended with its whole group, which is an error.
	Output(ctx context.Context, argv, env []string, timeout time.Duration) (out []byte, exit int, err error)
}

// Group identifies a started process group across our own death.
type Group struct {
	PGID       int    `json:"pgid"`
	StartTicks uint64 `json:"start_ticks"` // start of its leader, clock ticks since boot
	BootID     string `json:"boot_id"`
	Session    int    `json:"session"`        // session id of the leader
	Mark       string `json:"mark,omitempty"` // value of LLMDYNO_RUN in its environment
}

// Failure says why a server did not become ready, or died.
type Failure struct {
	Status   string         // failed, oom or timeout
	Kind     engine.LogKind // kind of the log line that gave it away; "" = none
	Reason   string         // one line that a person can act on
	Line     string         // the log line, quoted as printed; "" = none
	ExitCode int

	err error // what it came from; may be nil
}

func (f *Failure) Error() string { return f.Reason }
func (f *Failure) Unwrap() error { return f.err }

// The statuses of a Failure.
const (
	StatusFailed  = "failed"
	StatusOOM     = "oom"
	StatusTimeout = "timeout"
)
