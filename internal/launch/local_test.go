package launch

import (
	"bytes"
	"context"
	"encoding/json"
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
	"testing"
	"time"

	"llmdyno/internal/client"
	"llmdyno/internal/engine"
	"llmdyno/internal/load/sample"
)

func TestReadyAfterDelay(t *testing.T) {
	log := &buffer{}
	sp := spec("late")
	sp.Log = log
	var groups []Group
	sp.Started = func(g Group) { groups = append(groups, g) }
	s := start(t, sp)
	var seen []Progress
	if err := s.WaitReady(t.Context(), func(p Progress) { seen = append(seen, p) }); err != nil {
		t.Fatal(err)
	}
	if len(seen) < 3 || seen[0].LastProbe == "" || seen[len(seen)-1].LastLine == "" || seen[0].Attempt != 1 || seen[0].Deadline != time.Minute {
		t.Errorf("progress: %+v", seen)
	}
	p, ok := status(s.PID())
	if !ok || p.PGRP != s.PID() || p.Session != s.PID() {
		t.Errorf("not the leader of its own group and session: %+v", p)
	}
	if len(groups) != 1 || groups[0] != s.Group() || groups[0].StartTicks != p.Starttime || groups[0].BootID == "" || groups[0].Mark != sp.Mark {
		t.Errorf("groups %+v, server %+v", groups, s.Group())
	}
	x := s.Stop(t.Context(), time.Minute)
	if !x.Requested || x.Signal != "SIGTERM" || x.Code != 143 || x.Lifetime <= 0 || len(x.Left) != 0 || x.LogError != "" {
		t.Errorf("exit %+v", x)
	}
	if x.PeakRSSBytes < 1<<20 {
		t.Errorf("peak memory %d bytes", x.PeakRSSBytes)
	}
	if !log.closed || !strings.Contains(log.String(), "loading on port") {
		t.Errorf("log (closed: %v): %q", log.closed, log.String())
	}
	if alive(p.PID) {
		t.Error("the server lives on")
	}
}

// A server that answers and will never answer otherwise is not waited for: the
// bound of an hour would be the test's.
func TestRefusalsEndTheWait(t *testing.T) {
	for _, c := range []struct {
		mode, key, says string
		probe           engine.Probe // after the first
	}{
		{mode: "locked", says: "HTTP 401 (no further words), expected 200: it wants an API key and none is given"},
		{mode: "locked", key: "wrong-key-0123", says: "it does not take the API key that is given"},
		{mode: "lost", says: "HTTP 404 (no further words), expected 200: it has no such path or model", probe: engine.Probe{Endpoint: engine.EndpointModels}},
		{mode: "lost", says: "404 Not Found", probe: engine.Probe{Endpoint: engine.EndpointCompletions, Generate: true}},
	} {
		t.Run(c.mode+" "+c.key+string(c.probe.Endpoint), func(t *testing.T) {
			t.Parallel()
			sp := spec(c.mode)
			sp.APIKey, sp.ReadyDeadline = c.key, time.Hour
			if c.mode == "lost" {
				sp.Probes = []engine.Probe{{Endpoint: engine.EndpointHealth}, c.probe}
			}
			err := start(t, sp).WaitReady(t.Context(), nil)
			var f *Failure
			if !errors.As(err, &f) || f.Status != StatusFailed || !strings.Contains(f.Reason, c.says) || strings.ContainsAny(f.Reason, "\n") {
				t.Errorf("%+v", err)
			}
			if strings.Contains(err.Error(), "wrong-key") || (client.ClassOf(err) == sample.ClassAuth) != (c.mode == "locked") {
				t.Errorf("%v of class %q", err, client.ClassOf(err))
			}
		})
	}
}

// One good answer does not make a server ready.
func TestRoundsMustHold(t *testing.T) {
	s := start(t, spec("flicker"))
	if err := s.WaitReady(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	want := []string{"answered 200", "answered 503", "answered 200", "answered 200"}
	eventually(t, "four answers in the log", func() bool { return slices.Equal(s.Tail(4), want) })
}

func TestFailuresBeforeReady(t *testing.T) {
	for _, c := range []struct {
		mode, status string
		kind         engine.LogKind
		code         int
		says         string
	}{
		{"oom", StatusOOM, engine.LogOOM, 1, "lower the fraction"},
		{"badflag", StatusFailed, engine.LogBadFlag, 2, `"error: unrecognized arguments: --nope"`},
		{"unready", StatusTimeout, "", 0, "HTTP 503"},
		{"silent", StatusTimeout, "", 0, "last line of its log: \"loading on port"},
		{"orphans", StatusFailed, "", 7, "exit code 7"},
		{"busy", StatusFailed, engine.LogPortInUse, 1, "port taken"},
	} {
		t.Run(c.mode, func(t *testing.T) {
			t.Parallel()
			sp := spec(c.mode)
			if c.status == StatusTimeout {
				sp.ReadyDeadline = 3 * time.Second
			}
			s := start(t, sp)
			var pids []int
			if c.mode == "orphans" {
				pids = children(t, s)
			}
			err := s.WaitReady(t.Context(), nil)
			var f *Failure
			if !errors.As(err, &f) || f.Status != c.status || f.Kind != c.kind || f.ExitCode != c.code || !strings.Contains(f.Reason, c.says) {
				t.Errorf("%+v", err)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than a line: %q", err)
			}
			for _, pid := range pids {
				if alive(pid) {
					t.Errorf("child %d outlived its server", pid)
				}
			}
		})
	}
}

func TestStopEndsDescendantsThatLeftTheGroup(t *testing.T) {
	sp := spec("family")
	s := start(t, sp)
	if err := s.WaitReady(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	pids := children(t, s)
	for _, pid := range pids {
		if !alive(pid) {
			t.Fatalf("child %d did not live", pid)
		}
	}
	// The leader obeys; its children do not get the whole grace.
	x := s.Stop(t.Context(), time.Hour)
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("child %d lives on", pid)
		}
	}
	if len(x.Left) != 0 {
		t.Errorf("exit %+v", x)
	}
}

func TestStopKillsWhenTermIsIgnored(t *testing.T) {
	s := start(t, spec("deaf"))
	if err := s.WaitReady(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	exits := make([]Exit, 4)
	for i := range exits {
		all.Go(func() { exits[i] = s.Stop(t.Context(), 50*time.Millisecond) })
	}
	all.Wait()
	for _, x := range append(exits, s.Stop(t.Context(), time.Hour), s.Exit()) {
		if x.Signal != "SIGKILL" || x.Code != 137 || !x.Requested {
			t.Errorf("exit %+v", x)
		}
	}
}

func TestStopIsAtOnceWhenItsContextHasEnded(t *testing.T) {
	s := start(t, spec("deaf"))
	if err := s.WaitReady(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if x := s.Stop(ctx, time.Hour); x.Signal != "SIGKILL" {
		t.Errorf("exit %+v", x)
	}
}

func TestInterruptLeavesNoProcess(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	log := &buffer{}
	sp := spec("ready")
	sp.Log = log
	if _, err := backend().Start(ctx, sp); !errors.Is(err, context.Canceled) || !log.closed {
		t.Errorf("start after the interrupt: %v, log closed: %v", err, log.closed)
	}
	for _, mode := range []string{"silent", "late", "family"} {
		for _, after := range []time.Duration{0, time.Millisecond, 100 * time.Millisecond} {
			t.Run(fmt.Sprint(mode, after), func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				sp := spec(mode)
				s, err := backend().Start(ctx, sp)
				if err != nil {
					t.Fatal(err)
				}
				time.AfterFunc(after, cancel)
				if err := s.WaitReady(ctx, nil); err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				<-ctx.Done()
				s.Stop(ctx, time.Hour)
				noneLeft(t, sp.Mark)
			})
		}
	}
	t.Run("without Stop", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s, err := backend().Start(ctx, spec("ready"))
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		<-s.Done()
		noneLeft(t, s.Group().Mark)
	})
}

func TestAnotherPortWhenTheServerFindsItTaken(t *testing.T) {
	sp := spec("busy-once")
	sp.Env = append(sp.Env, "FAKE_FILE="+tempFile(t))
	var ports []int
	sp.Argv = func(port int) []string { ports = append(ports, port); return argv(port) }
	log := &buffer{}
	sp.Log = log
	s := start(t, sp)
	if err := s.WaitReady(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if len(ports) != 2 || ports[0] == ports[1] || s.URL() != fmt.Sprintf("http://127.0.0.1:%d", ports[1]) {
		t.Errorf("ports %v, %s", ports, s.URL())
	}
	s.Stop(t.Context(), time.Minute)
	if !strings.Contains(log.String(), "starting again on another") {
		t.Errorf("log %q", log.String())
	}
}

// Somebody takes the port between our choice and the server's start.
func TestAnotherPortWhenSomebodyElseListens(t *testing.T) {
	sp := spec("ready")
	var ports []int
	sp.Argv = func(port int) []string {
		if ports = append(ports, port); len(ports) > 1 {
			return argv(port)
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Error(err)
		}
		t.Cleanup(func() { l.Close() })
		return []string{"sh", "-c", "sleep 600"} // keeps silent about it
	}
	s := start(t, sp)
	if err := s.WaitReady(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if len(ports) != 2 || s.URL() != fmt.Sprintf("http://127.0.0.1:%d", ports[1]) {
		t.Errorf("ports %v, %s", ports, s.URL())
	}
}

// A server that has another process listen for it, as a container's does: that
// process came later, so it is not taken for a stranger.
func TestListenerThatIsNoDescendant(t *testing.T) {
	sp := spec("silent")
	var port int
	sp.Argv = func(p int) []string { port = p; return argv(p) }
	sp.Started = func(Group) {
		time.Sleep(50 * time.Millisecond) // starts are counted in ticks of 10 ms
		other := exec.Command(os.Args[0], fmt.Sprint(port))
		other.Env = []string{"FAKE=ready"}
		if err := other.Start(); err != nil {
			t.Error(err)
		}
		t.Cleanup(func() { other.Process.Kill(); other.Wait() })
	}
	s := start(t, sp)
	if err := s.WaitReady(t.Context(), nil); err != nil || !strings.HasSuffix(s.URL(), fmt.Sprint(port)) {
		t.Errorf("%v at %s", err, s.URL())
	}
}

func TestFixedPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sp := spec("ready")
	sp.Port = l.Addr().(*net.TCPAddr).Port
	_, err = backend().Start(t.Context(), sp)
	var f *Failure
	if !errors.As(err, &f) || f.Kind != engine.LogPortInUse || !strings.Contains(f.Reason, fmt.Sprintf("port %d on 127.0.0.1 cannot be used: this program listens on it", sp.Port)) {
		t.Errorf("taken: %v", err)
	}
	l.Close()
	s := start(t, sp)
	if err := s.WaitReady(t.Context(), nil); err != nil || !strings.HasSuffix(s.URL(), fmt.Sprint(sp.Port)) {
		t.Errorf("free: %v %s", err, s.URL())
	}
}

func TestFixedPortTakenMeanwhile(t *testing.T) {
	sp := spec("silent")
	sp.Port, _ = choosePort("127.0.0.1", func(int) bool { return false })
	sp.Argv = func(port int) []string {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Error(err)
		}
		t.Cleanup(func() { l.Close() })
		return argv(port)
	}
	var f *Failure
	if err := start(t, sp).WaitReady(t.Context(), nil); !errors.As(err, &f) || f.Kind != engine.LogPortInUse || !strings.Contains(f.Reason, "belongs to this program") {
		t.Errorf("%v", err)
	}
}

func TestCommandsThatCannotStart(t *testing.T) {
	dir := t.TempDir()
	plain, script := filepath.Join(dir, "plain"), filepath.Join(dir, "script")
	os.WriteFile(plain, []byte("text"), 0o600)
	os.WriteFile(script, []byte("#!/no/such/interpreter\n"), 0o700)
	text := filepath.Join(dir, "text")
	os.WriteFile(text, []byte("no program"), 0o700)
	for _, c := range []struct {
		argv []string
		dir  string
		says string
	}{
		{[]string{"no-such-binary"}, "", `"no-such-binary" is not in PATH (` + os.Getenv("PATH") + `)`},
		{[]string{dir + "/missing"}, "", "does not exist"},
		{[]string{plain}, "", "not executable"},
		{[]string{script}, "", "interpreter"},
		{[]string{text}, "", "not a program of this machine"},
		{[]string{dir}, "", "is a folder"},
		{nil, "", "no words"},
		{[]string{"sh"}, dir + "/gone", "working folder"},
	} {
		log := &buffer{}
		_, err := backend().Start(t.Context(), Spec{Name: "x", Argv: func(int) []string { return c.argv }, Dir: c.dir, Log: log})
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") || !log.closed {
			t.Errorf("%v in %q: %v, log closed: %v", c.argv, c.dir, err, log.closed)
		}
	}
	_, err := backend().Start(t.Context(), Spec{Name: "x", Argv: func(int) []string { return []string{"no-such-binary"} }})
	if f := (*Failure)(nil); !errors.As(err, &f) || f.Status != StatusFailed || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%#v", err)
	}
}

func TestWorkingFolderAndEnvironment(t *testing.T) {
	dir := t.TempDir()
	sp := Spec{Name: "x", Engine: testEngine(), Dir: dir, Env: []string{"B=mine"}, Argv: func(int) []string { return []string{"sh", "-c", "echo $PWD $A $B"} }}
	sp.Engine.Launch.Env = []engine.EnvVar{{Name: "A", Value: "engine"}, {Name: "B", Value: "engine"}}
	s := start(t, sp)
	<-s.Done()
	if got := s.Tail(1); !slices.Equal(got, []string{dir + " engine mine"}) {
		t.Errorf("%q", got)
	}
	if x := s.Exit(); x.Code != 0 || x.Requested {
		t.Errorf("%+v", x)
	}
}

// A log that cannot be written must not stop the server.
func TestLogThatFails(t *testing.T) {
	sp := spec("chatty")
	sp.Log = &buffer{fail: syscall.ENOSPC}
	s := start(t, sp)
	if err := s.WaitReady(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := s.Tail(1); !slices.Equal(got, []string{"line 19999 " + strings.Repeat("x", 50)}) {
		t.Errorf("tail %q", got)
	}
	if x := s.Stop(t.Context(), time.Minute); !strings.Contains(x.LogError, "no space left") {
		t.Errorf("%+v", x)
	}
}

func TestSecretsStayOutOfMemoryAndVerdict(t *testing.T) {
	const planted = "Zq8-planted-value-71"
	sp := spec("secret")
	sp.Env = append(sp.Env, "FAKE_TOKEN="+planted)
	s := start(t, sp)
	err := s.WaitReady(t.Context(), nil)
	if text := fmt.Sprint(err, s.Tail(10)); strings.Contains(text, planted) || !strings.Contains(text, "[redacted:") {
		t.Error(text)
	}
}

func TestPeakMemory(t *testing.T) {
	s := start(t, spec("big"))
	if err := s.WaitReady(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	time.Sleep(sampleEvery + sampleEvery/2) // a sample is taken at least each second
	if x := s.Stop(t.Context(), time.Minute); x.PeakRSSBytes < 64<<20 || x.PeakRSSBytes > 1<<30 {
		t.Errorf("peak %d bytes, the server alone touched 64 MiB", x.PeakRSSBytes)
	}
}

// The program is killed: the kernel ends the server, Reap the rest.
func TestReapAfterSIGKILL(t *testing.T) {
	for _, how := range []string{"group", "mark"} {
		t.Run(how, func(t *testing.T) {
			file, mark := tempFile(t), newMark()
			helper := exec.Command(os.Args[0])
			helper.Env = []string{"FAKE=parent", "FAKE_FILE=" + file, "FAKE_MARK=" + mark, "PATH=" + os.Getenv("PATH")}
			if err := helper.Start(); err != nil {
				t.Fatal(err)
			}
			defer helper.Process.Kill()
			var g Group
			eventually(t, "a ready server", func() bool {
				b, err := os.ReadFile(file)
				return err == nil && json.Unmarshal(b, &g) == nil
			})
			var bare []int // the child without the mark: nobody's once its parent is gone
			for _, p := range processes() {
				if p.PPID == g.PGID && p.Session != g.Session && !slices.Contains(environOf(p.PID), markName+"="+mark) {
					bare = append(bare, p.PID)
				}
			}
			defer func() {
				for _, pid := range bare {
					syscall.Kill(pid, syscall.SIGKILL)
				}
			}()
			helper.Process.Kill()
			helper.Wait()
			eventually(t, "the server to end with its parent", func() bool { return !alive(g.PGID) })
			left := bearers(mark)
			if len(left) != 2 {
				t.Fatalf("expected two children that ignore signals, got %v", left)
			}
			other := g
			other.BootID, other.Mark = "another boot", ""
			if ended := Reap([]Group{other}); len(ended) != 0 {
				t.Errorf("a group of another boot: ended %v", ended)
			}
			var ended []int
			if how == "group" {
				ended = Reap([]Group{g, {}})
			} else {
				ended = ReapMark(mark)
			}
			if !slices.Equal(ended, left) {
				t.Errorf("ended %v, expected %v", ended, left)
			}
			noneLeft(t, mark)
			if again := Reap([]Group{g}); len(again) != 0 {
				t.Errorf("ended again: %v", again)
			}
		})
	}
}

// A number that was given away belongs to a stranger.
func TestReapSparesStrangers(t *testing.T) {
	stranger := exec.Command("sleep", "600")
	stranger.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer stranger.Wait()
	defer stranger.Process.Kill()
	real := groupOf(stranger.Process.Pid, "")
	for _, g := range []Group{
		{PGID: real.PGID, Session: real.Session, BootID: real.BootID, StartTicks: real.StartTicks - 1},
		{PGID: real.PGID, Session: real.Session, BootID: real.BootID, StartTicks: real.StartTicks + 1, Mark: newMark()},
		{PGID: real.PGID, Session: real.Session, BootID: "x", StartTicks: real.StartTicks},
		{PGID: real.PGID, Session: real.Session, StartTicks: real.StartTicks},
		{PGID: 1, BootID: real.BootID}, {PGID: 0, BootID: real.BootID}, {PGID: -1, BootID: real.BootID},
	} {
		if ended := Reap([]Group{g}); len(ended) != 0 {
			t.Errorf("%+v: ended %v", g, ended)
		}
	}
	if ReapMark("") != nil || !alive(real.PGID) {
		t.Fatal("the stranger was killed")
	}
	if ended := Reap([]Group{real}); !slices.Equal(ended, []int{real.PGID}) {
		t.Errorf("the group itself: ended %v", ended)
	}
}

// buffer is a log in memory.
type buffer struct {
	mu     sync.Mutex
	b      bytes.Buffer
	closed bool
	fail   error
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return 0, b.fail
	}
	return b.b.Write(p)
}

func (b *buffer) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
