package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"llmdyno/internal/launch"
)

func TestDoctorGaps(t *testing.T) {
	everything := doctorReport{
		GPUs:    []launch.GPU{{Name: "x"}},
		Engines: []doctorEngine{{}, {Found: true}},
		Tools:   []doctorTool{{Tool: "podman", Found: true}, {Tool: "sinfo", Found: true}, {Tool: "kubectl", Found: true}},
		Limits:  doctorLimits{OpenFiles: 1 << 20, PortFrom: 32768, PortTo: 60999},
	}
	for _, c := range []struct {
		name   string
		change func(*doctorReport)
		want   string
	}{
		{"all there", func(*doctorReport) {}, ""},
		{"no engine", func(r *doctorReport) { r.Engines = r.Engines[:1] }, "an engine"},
		{"no GPU", func(r *doctorReport) { r.GPUs = nil }, "a GPU"},
		{"runtime without service", func(r *doctorReport) { r.Tools[0].Problem = "no service" }, "a container runtime"},
		{"few files", func(r *doctorReport) { r.Limits.OpenFiles = 1024 }, "open files"},
		{"few ports", func(r *doctorReport) { r.Limits.PortTo = 33000 }, "outgoing ports"},
		{"limits not known", func(r *doctorReport) { r.Limits = doctorLimits{} }, ""},
	} {
		r := everything
		r.Tools = append([]doctorTool{}, everything.Tools...)
		c.change(&r)
		var got []string
		for _, g := range r.gaps("A or B") {
			got = append(got, g.What)
			if g.For == "" || g.Do == "" {
				t.Errorf("%s: %+v", c.name, g)
			}
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: missing %q, expected %q", c.name, got, c.want)
		}
	}
}

func TestLimits(t *testing.T) {
	dir := t.TempDir()
	if l := limitsOf(dir); l.OpenFiles == 0 || l.AvailableBytes != 0 || l.PortFrom != 0 || l.PortTo != 0 {
		t.Errorf("without files: %+v", l)
	}
	net := filepath.Join(dir, "sys/net/ipv4")
	os.MkdirAll(net, 0o700)
	os.WriteFile(filepath.Join(net, "ip_local_port_range"), []byte("32768\t60999\n"), 0o600)
	os.WriteFile(filepath.Join(dir, "meminfo"), []byte("MemTotal:       16 kB\nMemAvailable:    8 kB\n"), 0o600)
	if l := limitsOf(dir); l.AvailableBytes != 8192 || l.PortFrom != 32768 || l.PortTo != 60999 {
		t.Errorf("%+v", l)
	}
	os.WriteFile(filepath.Join(net, "ip_local_port_range"), []byte("32768\n"), 0o600)
	if l := limitsOf(dir); l.PortFrom != 0 {
		t.Errorf("half a range: %+v", l)
	}
}

func FuzzForeignText(f *testing.F) {
	f.Add([]byte("a\nb\x1b[31m\n\n"), 1)
	f.Add([]byte{}, 0)
	f.Fuzz(func(t *testing.T, out []byte, exit int) {
		s := lastLine(out, exit)
		if s == "" || len(s) > 210 || !utf8.ValidString(s) || strings.ContainsAny(s, "\n\r\x1b") {
			t.Errorf("%q → %q", out, s)
		}
	})
}
