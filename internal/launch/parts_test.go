package launch

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestLinesKeepHeadAndTail(t *testing.T) {
	l := &lines{}
	for i := range headLines + 3*tailLines + 7 {
		fmt.Fprintf(l, "line %d\n\r\n", i)
	}
	fmt.Fprintf(l, "no end")
	all := l.all()
	if len(all) != headLines+tailLines+1 || all[0] != "line 0" || all[headLines-1] != fmt.Sprint("line ", headLines-1) {
		t.Fatalf("%d lines, head %q … %q", len(all), all[0], all[headLines-1])
	}
	for i, line := range all[headLines : headLines+tailLines] {
		if want := fmt.Sprint("line ", headLines+2*tailLines+7+i); line != want {
			t.Fatalf("tail line %d is %q, expected %q", i, line, want)
		}
	}
	if l.last() != "no end" {
		t.Errorf("last %q", l.last())
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("a\nb\rc"), 2)
	f.Add([]byte("\xff\xfe\n\n\n"), 1)
	f.Add(bytes.Repeat([]byte("long"), 3000), 1000)
	f.Fuzz(func(t *testing.T, b []byte, step int) {
		whole, pieces := &lines{}, &lines{}
		whole.Write(b)
		for piece := range slices.Chunk(b, max(1, step)) {
			pieces.Write(piece)
		}
		if !slices.Equal(whole.all(), pieces.all()) {
			t.Errorf("depends on how it is cut:\n%q\n%q", whole.all(), pieces.all())
		}
		for _, line := range whole.all() {
			if strings.ContainsAny(line, "\n\r") || !utf8.ValidString(line) || len(line) > 4*longLine {
				t.Errorf("%q", line)
			}
		}
	})
}

func TestOOMKills(t *testing.T) {
	mount := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(mount, name)
		os.MkdirAll(filepath.Dir(path), 0o700)
		os.WriteFile(path, []byte(text), 0o600)
		return path
	}
	write("a/b/memory.events", "low 0\nhigh 3\nmax 9\noom 4\noom_kill 2\noom_group_kill 0\n")
	write("memory/c/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n")
	for _, c := range []struct {
		cgroup string
		want   int64
	}{
		{"0::/a/b\n", 2},
		{"9:name=systemd:/\n4:cpu,memory:/c\n0::/\n", 5},
		{"0::/gone\n", 0},
		{"nonsense\n", 0},
		{"", 0},
	} {
		if got := oomKills(write("self", c.cgroup), mount); got != c.want {
			t.Errorf("%q: %d, expected %d", c.cgroup, got, c.want)
		}
	}
	if got := oomKills(mount+"/none", mount); got != 0 {
		t.Errorf("no cgroup: %d", got)
	}
}

func TestChoosePortAvoidsTakenAndOutgoing(t *testing.T) {
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := portFree("127.0.0.1", l.Addr().(*net.TCPAddr).Port); err == nil {
		t.Error("a listener on all addresses was not noticed")
	}
	given := map[int]bool{}
	for range 50 {
		port, err := choosePort("127.0.0.1", func(p int) bool { return given[p] })
		if err != nil || given[port] || port >= outgoingFrom() && outgoingFrom() > 21000 {
			t.Fatalf("port %d given %v: %v", port, given[port], err)
		}
		given[port] = true
	}
	if _, err := choosePort("127.0.0.1", func(int) bool { return true }); err == nil {
		t.Error("a port although all are taken")
	}
}
