package launch

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"llmdyno/internal/engine"
)

// The test binary is also the server that the tests start: FAKE names what it
// does, its first argument is the port.
func TestMain(m *testing.M) {
	switch mode := os.Getenv("FAKE"); mode {
	case "":
		os.Exit(m.Run())
	case "child":
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP)
		fmt.Println("child is here")
		time.Sleep(10 * time.Minute)
	case "parent":
		parent()
	default:
		fake(mode, os.Args[1])
	}
}

func fake(mode, port string) {
	fmt.Println("loading on port", port)
	switch mode {
	case "ready":
		serve(port, http.StatusOK)
	case "late":
		time.Sleep(300 * time.Millisecond)
		serve(port, http.StatusOK)
	case "unready":
		serve(port, http.StatusServiceUnavailable)
	case "locked":
		serve(port, http.StatusUnauthorized)
	case "lost":
		lost(port)
	case "flicker":
		flicker(port)
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
		serve(port, http.StatusOK)
	case "silent":
		time.Sleep(10 * time.Minute)
	case "oom":
		fmt.Fprintln(os.Stderr, "torch: CUDA out of memory")
		fmt.Fprintln(os.Stderr, "Traceback: and so on")
		os.Exit(1)
	case "badflag":
		fmt.Fprintln(os.Stderr, "error: unrecognized arguments: --nope")
		os.Exit(2)
	case "busy-once":
		f, err := os.OpenFile(os.Getenv("FAKE_FILE"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err == nil {
			f.Close()
			fmt.Println("bind: address already in use")
			os.Exit(1)
		}
		serve(port, http.StatusOK)
	case "busy":
		fmt.Println("bind: address already in use")
		os.Exit(1)
	case "family":
		family3()
		serve(port, http.StatusOK)
	case "orphans":
		family3()
		os.Exit(7)
	case "chatty":
		for i := range 20000 {
			fmt.Printf("line %d %s\n", i, strings.Repeat("x", 50))
		}
		serve(port, http.StatusOK)
	case "secret":
		fmt.Println("started with api_key=" + os.Getenv("FAKE_TOKEN"))
		os.Exit(1)
	case "big":
		b := make([]byte, 64<<20)
		for i := range b {
			b[i] = 1
		}
		serve(port, http.StatusOK)
		fmt.Println(b[5])
	}
}

func serve(port string, code int) {
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }))
}

// lost is healthy and knows no other path.
func lost(port string) {
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		os.Exit(1)
	}
	http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
}

// flicker answers well once, then not, then well.
func flicker(port string) {
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		os.Exit(1)
	}
	answers := make(chan int, 3)
	answers <- http.StatusOK
	answers <- http.StatusServiceUnavailable
	http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		code := http.StatusOK
		select {
		case code = <-answers:
		default:
		}
		fmt.Println("answered", code)
		w.WriteHeader(code)
	}))
}

// family3 leaves three children that ignore SIGTERM: one in the group, one in
// its own session, one in its own session without the mark.
func family3() {
	for _, c := range []struct{ own, bare bool }{{}, {own: true}, {own: true, bare: true}} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "FAKE=child")
		if c.bare {
			cmd.Env = []string{"FAKE=child"}
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: c.own}
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(99)
		}
		out.Read(make([]byte, 1)) // it ignores signals from here on
		fmt.Println("child", cmd.Process.Pid)
	}
	if os.Getenv("FAKE") == "orphans" {
		time.Sleep(400 * time.Millisecond) // long enough to be seen as its children
	}
}

// parent starts a server, writes its group to a file, and waits to be killed.
func parent() {
	s, err := NewLocal(os.Environ()).Start(context.Background(), Spec{
		Name: "held", Engine: testEngine(), Argv: argv, Env: []string{"FAKE=family"}, Mark: os.Getenv("FAKE_MARK"),
	})
	if err == nil {
		err = s.WaitReady(context.Background(), nil)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	b, _ := json.Marshal(s.Group())
	file := os.Getenv("FAKE_FILE")
	os.WriteFile(file+".part", b, 0o600)
	os.Rename(file+".part", file)
	time.Sleep(10 * time.Minute)
}

func argv(port int) []string { return []string{os.Args[0], fmt.Sprint(port)} }

func testEngine() *engine.Engine {
	return &engine.Engine{
		ID: "test", Title: "test",
		Endpoints: []engine.Endpoint{{Name: engine.EndpointHealth, Method: "GET", Path: "/health"}, {Name: engine.EndpointModels, Method: "GET", Path: "/v1/models"}},
		Wires:     []engine.Wire{engine.OpenAICompletions(engine.WireOptions{})},
		Ready: engine.Ready{
			Probes:   []engine.Probe{{Endpoint: engine.EndpointHealth, Status: 200, Timeout: 5 * time.Second}},
			Interval: 20 * time.Millisecond, Deadline: time.Minute,
		},
		Logs: []engine.LogPattern{
			{Kind: engine.LogOOM, Pattern: regexp.MustCompile("out of memory"), Meaning: "lower the fraction"},
			{Kind: engine.LogBadFlag, Pattern: regexp.MustCompile("unrecognized arguments"), Meaning: "no such flag"},
			{Kind: engine.LogPortInUse, Pattern: regexp.MustCompile("address already in use"), Meaning: "port taken"},
			{Kind: engine.LogCrash, Pattern: regexp.MustCompile("Traceback"), Meaning: "a bug"},
		},
	}
}

func spec(mode string) Spec {
	return Spec{Name: mode, Engine: testEngine(), Argv: argv, Env: []string{"FAKE=" + mode}, Mark: newMark()}
}

func backend() *Local { return NewLocal([]string{"PATH=" + os.Getenv("PATH")}) }

// start starts a server and sees to its end.
func start(t *testing.T, s Spec) Server {
	t.Helper()
	srv, err := backend().Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		srv.Stop(context.Background(), 0)
		noneLeft(t, s.Mark)
	})
	return srv
}

// bearers are the living processes that carry a mark.
func bearers(mark string) []int {
	var out []int
	for _, p := range processes() {
		if yes, _ := marked(p.PID, mark); yes {
			out = append(out, p.PID)
		}
	}
	return out
}

func noneLeft(t *testing.T, mark string) {
	t.Helper()
	if left := bearers(mark); len(left) > 0 {
		t.Errorf("still alive: %v", left)
	}
}

// alive says whether a process lives and is no zombie.
func alive(pid int) bool {
	p, ok := status(pid)
	return ok && living(p)
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 600 {
		if holds() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("not within 12 s: %s", what)
}

// children are the pids that a fake server printed.
func children(t *testing.T, s Server) (pids []int) {
	t.Helper()
	eventually(t, "three children", func() bool {
		pids = nil
		for _, line := range s.Tail(100) {
			var pid int
			if n, _ := fmt.Sscanf(line, "child %d", &pid); n == 1 {
				pids = append(pids, pid)
			}
		}
		return len(pids) == 3
	})
	return pids
}

func tempFile(t *testing.T) string { return filepath.Join(t.TempDir(), "file") }
