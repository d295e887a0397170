package launch

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
)

// residentBytes is the sum of the members' resident memory; pages that they
// share count once for each.
func residentBytes(members []procfs.ProcStat) int64 {
	var sum int64
	for _, p := range members {
		sum += int64(p.ResidentMemory())
	}
	return sum
}

// highWaterBytes is the most resident memory that one process ever had, as the
// kernel counted it; 0 = not known.
func highWaterBytes(pid int) int64 {
	fs, err := procfs.NewFS(proc)
	if err != nil {
		return 0
	}
	p, err := fs.Proc(pid)
	if err != nil {
		return 0
	}
	s, err := p.NewStatus()
	if err != nil {
		return 0
	}
	return int64(s.VmHWM)
}

// oomKills counts how often the kernel's out-of-memory killer struck in our
// cgroup: "oom_kill" in memory.events (v2) or memory.oom_control (v1)
// (Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst of Linux
// 6.18). 0 where the kernel does not say.
func oomKills(cgroup, mount string) int64 {
	b, err := os.ReadFile(cgroup)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		var files []string
		switch {
		case parts[0] == "0" && parts[1] == "":
			files = []string{filepath.Join(mount, parts[2], "memory.events"), filepath.Join(mount, "memory.events")}
		case strings.Contains(","+parts[1]+",", ",memory,"):
			files = []string{filepath.Join(mount, "memory", parts[2], "memory.oom_control"), filepath.Join(mount, "memory", "memory.oom_control")}
		}
		for _, f := range files {
			if n, ok := keyed(f, "oom_kill"); ok {
				return n
			}
		}
	}
	return 0
}

// keyed reads the number after a key in a file of "key number" lines.
func keyed(path, key string) (int64, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), " "); ok && k == key {
			n, err := strconv.ParseInt(v, 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

func hostOOMKills() int64 { return oomKills(proc+"/self/cgroup", "/sys/fs/cgroup") }
