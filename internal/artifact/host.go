package artifact

import (
	"bufio"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Host is the machine on which a run was made. What could not be read is
// absent.
type Host struct {
	OS          string `json:"os"`               // name and version of the distribution, else the kernel's name
	Kernel      string `json:"kernel,omitempty"` // release
	Arch        string `json:"arch"`
	CPU         string `json:"cpu,omitempty"`          // model name
	Cores       int    `json:"cores"`                  // logical CPUs that this process may use
	MemoryBytes int64  `json:"memory_bytes,omitempty"` // total memory
}

// ThisHost reads what this machine is, from /proc and uname.
func ThisHost() Host {
	h := Host{OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.NumCPU()}
	if name := field("/etc/os-release", "PRETTY_NAME", "="); name != "" {
		h.OS = strings.Trim(name, `"`)
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	h.CPU = field("/proc/cpuinfo", "model name", ":")
	if kb, ok := strings.CutSuffix(field("/proc/meminfo", "MemTotal", ":"), " kB"); ok {
		if n, err := strconv.ParseInt(kb, 10, 64); err == nil {
			h.MemoryBytes = n * 1024
		}
	}
	return h
}

// field is the value of the first line "key<sep>value" within the first MiB of
// a file; "" when there is none.
func field(path, key, sep string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	lines := bufio.NewScanner(io.LimitReader(f, 1<<20))
	for lines.Scan() {
		if k, v, ok := strings.Cut(lines.Text(), sep); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
