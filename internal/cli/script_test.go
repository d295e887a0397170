package cli_test

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"llmdyno/internal/cli"
)

// llmdyno is the program as cmd/llmdyno wires it.
func llmdyno() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"llmdyno": llmdyno, "llama-server": leakyServer})
}

// Every script under testdata/script is one subject: help, wrong input, output
// formats, interrupts. UPDATE_SCRIPTS=1 rewrites the golden parts.
func TestScripts(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("ROOT", root)
			env.Setenv("NO_COLOR", "1")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"waitfile": waitFile, "exits": exits, "nochild": noChild, "oneline": oneLine,
		},
	})
}

// waitFile waits until a file exists: waitfile NAME.
func waitFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waitfile NAME")
	}
	path := ts.MkAbs(args[0])
	for range 600 {
		if _, err := os.Stat(path); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("%s did not appear within 30 s", args[0])
}

// exits runs a command and demands its exit code: exits 2 llmdyno ….
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	want := args[0]
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		var ok bool
		if got, ok = strings.CutPrefix(err.Error(), "exit status "); !ok {
			ts.Fatalf("%s: %v", args[1], err)
		}
	}
	if got != want {
		ts.Fatalf("%s: exit code %s, expected %s", strings.Join(args[1:], " "), got, want)
	}
}

// noChild demands that no process lives whose command line or environment
// names the script's own work folder, as every server that a script starts
// does.
func noChild(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: nochild")
	}
	work := ts.Getenv("WORK")
	var left []string
	for range 40 {
		if left = living(work); len(left) == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("still alive: %s", strings.Join(left, "; "))
}

// living lists the processes other than this one that name text.
func living(text string) []string {
	var found []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if filepath.Base(dir) == filepath.Base(mustSelf()) {
			continue
		}
		for _, name := range []string{"cmdline", "environ"} {
			b, _ := os.ReadFile(filepath.Join(dir, name))
			if strings.Contains(string(b), text) {
				words, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
				found = append(found, filepath.Base(dir)+" "+strings.ReplaceAll(string(words), "\x00", " "))
				break
			}
		}
	}
	return found
}

func mustSelf() string {
	self, err := os.Readlink("/proc/self")
	if err != nil {
		return "self"
	}
	return self
}

// oneLine demands that stderr of the last command is one line that begins with
// the program's name.
func oneLine(ts *testscript.TestScript, neg bool, args []string) {
	text := ts.ReadFile("stderr")
	if strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, "llmdyno: ") {
		ts.Fatalf("expected one line from llmdyno on stderr, got:\n%s", text)
	}
}
