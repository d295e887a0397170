package launch

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// maxOutput bounds what Output keeps.
const maxOutput = 4 << 20

// pollEvery is the pace at which processes are looked for.
const pollEvery = 25 * time.Millisecond

// Local runs commands on this machine, with the environment that it is given.
type Local struct {
	environ []string
	mu      sync.Mutex
	ports   map[int]bool // given to servers that have not ended
}

// NewLocal takes the environment (NAME=value) that every command inherits.
func NewLocal(environ []string) *Local { return &Local{environ: environ, ports: map[int]bool{}} }

// child is a started process that is not reaped before it is released, so that
// its number stays its own while its group is being ended.
type child struct {
	cmd     *exec.Cmd
	ended   chan struct{} // it has ended
	release chan struct{}
	reaped  chan struct{} // cmd.ProcessState is filled in
}

// begin starts cmd as the leader of its own session and process group, which
// the kernel kills when this program dies. That signal is tied to the thread
// that starts the child, so the thread is kept until the child has ended.
func begin(cmd *exec.Cmd) (*child, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	c := &child{cmd: cmd, ended: make(chan struct{}), release: make(chan struct{}), reaped: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		awaitExit(cmd.Process.Pid)
		close(c.ended)
		<-c.release
		cmd.Wait() // its error says what ProcessState says
		close(c.reaped)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return c, nil
}

func (c *child) hasEnded() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// finish reaps the child, once everything else of its family is gone.
func (c *child) finish() *os.ProcessState {
	close(c.release)
	<-c.reaped
	return c.cmd.ProcessState
}

// look finds a binary in the PATH of env, the last entry of which counts.
func look(name string, env []string) (string, error) {
	var path string
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("%q is not in PATH (%s): install it or give its full path: %w", name, path, fs.ErrNotExist)
}

// Output implements [Backend].
func (l *Local) Output(ctx context.Context, argv, env []string, timeout time.Duration) (out []byte, exit int, err error) {
	if len(argv) == 0 {
		return nil, -1, errors.New("running a command: it has no words")
	}
	mark := newMark()
	all := slices.Concat(l.environ, env, markEnv(mark))
	file, err := look(argv[0], all)
	if err != nil {
		return nil, -1, fmt.Errorf("running %s: %w", argv[0], err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, -1, fmt.Errorf("running %s: %w", argv[0], err)
	}
	defer r.Close()
	c, err := begin(&exec.Cmd{Path: file, Args: argv, Env: all, Stdout: w, Stderr: w})
	w.Close()
	if err != nil {
		return nil, -1, fmt.Errorf("running %s: %w", argv[0], err)
	}
	text := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(io.LimitReader(r, maxOutput))
		io.Copy(io.Discard, r)
		text <- b
	}()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-c.ended:
	case <-timer.C:
		err = fmt.Errorf("running %s: no end within %s, stopped", argv[0], timeout)
	case <-ctx.Done():
		err = fmt.Errorf("running %s: %w", argv[0], ctx.Err())
	}
	// What is left holds the pipe.
	left := newFamily(c.cmd.Process.Pid, mark).sweep(c, killWait)
	r.SetReadDeadline(time.Now().Add(time.Second))
	if !c.hasEnded() {
		close(c.release)
		return <-text, -1, fmt.Errorf("running %s: killed, but it does not end (process %v)", argv[0], left)
	}
	return <-text, c.finish().ExitCode(), err
}

// newMark is a random value for the mark.
func newMark() string {
	var b [16]byte
	rand.Read(b[:]) // never fails (crypto/rand since Go 1.24)
	return hex.EncodeToString(b[:])
}

// markEnv marks a process and its descendants. The second variable keeps the
// process titles that Python servers set from overwriting the first
// (py-setproctitle README, "Environment variables", 2026-08).
func markEnv(mark string) []string {
	return []string{markName + "=" + mark, "SPT_NOENV=1"}
}
