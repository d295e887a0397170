package launch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// maxOutput bounds what Output keeps.
const maxOutput = 4 << 20

// Local runs commands on this machine, with the environment that it is given.
type Local struct{ environ []string }

// NewLocal takes the environment (NAME=value) that every command inherits.
func NewLocal(environ []string) *Local { return &Local{environ} }

// begin starts cmd as the leader of its own process group, which the kernel
// kills when this program dies. That signal is tied to the thread that starts
// the child, so the thread is kept until the child has ended.
func begin(cmd *exec.Cmd) (ended <-chan error, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started, done := make(chan error, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			done <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return done, nil
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
	all := append(append([]string{}, l.environ...), env...)
	file, err := look(argv[0], all)
	if err != nil {
		return nil, -1, fmt.Errorf("running %s: %w", argv[0], err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, -1, fmt.Errorf("running %s: %w", argv[0], err)
	}
	defer r.Close()
	cmd := &exec.Cmd{Path: file, Args: argv, Env: all, Stdout: w, Stderr: w}
	ended, err := begin(cmd)
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
	case <-ended:
	case <-timer.C:
		err = fmt.Errorf("running %s: no end within %s, stopped", strings.Join(argv, " "), timeout)
	case <-ctx.Done():
		err = fmt.Errorf("running %s: %w", argv[0], ctx.Err())
	}
	// What is left of the group holds the pipe; the group id cannot have been
	// given away while a member lives, and an empty group makes this a no-op
	// right after its leader's end.
	syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if err != nil {
		<-ended
	}
	r.SetReadDeadline(time.Now().Add(time.Second))
	return <-text, cmd.ProcessState.ExitCode(), err
}
