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

func TestParseListener(t *testing.T) {
	for _, c := range []struct {
		line string
		want string
		ok   bool
	}{
		{"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0", "127.0.0.1 8080 4711", true},
		{"   1: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 12 1", ":: 22 12", true},
		{"   2: 0000000000000000FFFF00000100007F:0050 0:0 0A 0:0 0:0 0 0 0 13 1", "127.0.0.1 80 13", true},
		{"   3: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 4712 1", "", false},
		{"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode", "", false},
		{"", "", false},
	} {
		l, ok := parseListener(c.line)
		if ok != c.ok || ok && fmt.Sprint(l.ip, l.port, l.inode) != c.want {
			t.Errorf("%q: %v %v", c.line, l, ok)
		}
	}
}

func TestListenersOfThisMachine(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", ":0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		inodes := listeners("127.0.0.1", port)
		if yes, known := holds(os.Getpid(), inodes); len(inodes) != 1 || !yes || !known {
			t.Errorf("%s: sockets %v, ours: %v", address, inodes, yes)
		}
		if len(listeners("127.0.0.2", port)) != map[string]int{":0": 1}[address] {
			t.Errorf("%s: another address", address)
		}
		l.Close()
		if inodes := listeners("127.0.0.1", port); len(inodes) != 0 {
			t.Errorf("%s: closed, but %v", address, inodes)
		}
	}
}

func FuzzParseListener(f *testing.F) {
	f.Add("   0: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 0 0 4711 1")
	f.Add("x y:z 0 0A 1 2 3 4 5 6")
	f.Fuzz(func(t *testing.T, line string) {
		if l, ok := parseListener(line); ok && (l.port < 0 || l.port > 65535 || l.ip.To16() == nil) {
			t.Errorf("%q: %+v", line, l)
		}
	})
}
