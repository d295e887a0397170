package launch

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// markName is the variable by which a descendant is recognised wherever it went.
const markName = "LLMDYNO_RUN"

const proc = "/proc"

// identity names a process for good: a pid comes again, a pid with its start
// does not.
type identity struct {
	pid   int
	start uint64 // clock ticks since boot
}

// family is a started process with all that descends from it: its process
// group, its session, the children of members, and whoever carries the mark.
// It is for one goroutine.
type family struct {
	root int // process group and session; 0 = known by the mark alone
	mark string
	seen map[identity]bool // ours or not, once decided
}

func newFamily(root int, mark string) *family {
	return &family{root: root, mark: mark, seen: map[identity]bool{}}
}

// scan lists the living members, the leader included. A process that has ended
// and waits for its parent counts as dead. root must not have been reaped:
// that keeps its number from being given away.
func (f *family) scan() []procfs.ProcStat {
	all := processes()
	ours := map[int]bool{}
	seen := make(map[identity]bool, len(all))
	for _, p := range all {
		id := identity{p.PID, p.Starttime}
		mine, decided := f.seen[id]
		if f.root != 0 && (p.PGRP == f.root || p.Session == f.root) {
			mine, decided = true, true
		}
		if !decided {
			mine, decided = marked(p.PID, f.mark)
		}
		if decided {
			seen[id] = mine
		}
		ours[p.PID] = mine
	}
	addChildren(all, ours)
	members := slices.DeleteFunc(all, func(p procfs.ProcStat) bool { return !ours[p.PID] })
	for _, p := range members {
		seen[identity{p.PID, p.Starttime}] = true
	}
	f.seen = seen
	return members
}

// addChildren adds the descendants of those who are ours.
func addChildren(all []procfs.ProcStat, ours map[int]bool) {
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			if !ours[p.PID] && ours[p.PPID] {
				ours[p.PID], grown = true, true
			}
		}
	}
}

// processes lists all that live on this machine but this program itself.
func processes() []procfs.ProcStat {
	fs, err := procfs.NewFS(proc)
	if err != nil {
		return nil
	}
	procs, err := fs.AllProcs()
	if err != nil {
		return nil
	}
	self := os.Getpid()
	var all []procfs.ProcStat
	for _, p := range procs {
		if p.PID == self {
			continue
		}
		if s, err := p.Stat(); err == nil && living(s) {
			all = append(all, s)
		}
	}
	return all
}

// living: a process whose first thread alone has ended shows as a zombie, too.
func living(s procfs.ProcStat) bool {
	return s.State != "Z" && s.State != "X" && s.State != "x" || s.NumThreads > 1
}

// marked says whether a process carries the mark. It is not decided where the
// environment cannot be read or is empty, as in the middle of an exec.
func marked(pid int, mark string) (yes, decided bool) {
	env := environOf(pid)
	return slices.Contains(env, markName+"="+mark), len(env) > 0
}

func environOf(pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("%s/%d/environ", proc, pid))
	if err != nil || len(b) == 0 {
		return nil
	}
	return strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
}

// status reads one living process; false when there is none of that number.
func status(pid int) (procfs.ProcStat, bool) {
	fs, err := procfs.NewFS(proc)
	if err != nil {
		return procfs.ProcStat{}, false
	}
	p, err := fs.Proc(pid)
	if err != nil {
		return procfs.ProcStat{}, false
	}
	s, err := p.Stat()
	return s, err == nil
}

// send signals exactly this process: the handle is taken first and the start
// compared after, so that a number given away in between is left alone.
func send(id identity, sig syscall.Signal) error {
	p, err := os.FindProcess(id.pid)
	if err != nil {
		return err
	}
	defer p.Release()
	if s, ok := status(id.pid); !ok || s.Starttime != id.start {
		return os.ErrProcessDone
	}
	return p.Signal(sig)
}

// signal reaches every member. The group goes first, in one call, so that a
// fork cannot slip through between two; and before that all are looked up, as a
// child without the mark is known only while its parent lives.
func (f *family) signal(sig syscall.Signal) []procfs.ProcStat {
	f.scan()
	if f.root != 0 {
		syscall.Kill(-f.root, sig)
	}
	members := f.scan()
	for _, p := range members {
		if f.root == 0 || p.PGRP != f.root {
			send(identity{p.PID, p.Starttime}, sig)
		}
	}
	return members
}

// killWait bounds the wait for killed processes to go: giving back the memory
// of several GPUs takes a driver tens of seconds.
const killWait = 60 * time.Second

// sweep kills until nothing is left, c included, and returns who could not be
// ended within the time given.
func (f *family) sweep(c *child, within time.Duration) (left []int) {
	for end := time.Now().Add(within); ; time.Sleep(pollEvery) {
		members := f.signal(syscall.SIGKILL)
		if len(members) == 0 && c.hasEnded() {
			return nil
		}
		if time.Now().After(end) {
			left = pids(members)
			if pid := c.cmd.Process.Pid; !c.hasEnded() && !slices.Contains(left, pid) {
				left = append(left, pid)
			}
			return left
		}
	}
}

func pids(members []procfs.ProcStat) []int {
	var out []int
	for _, p := range members {
		out = append(out, p.PID)
	}
	slices.Sort(out)
	return out
}

// bootID changes with every boot of the machine.
func bootID() string {
	b, _ := os.ReadFile(proc + "/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}

// awaitExit blocks until a child has ended and leaves it unreaped: as long as
// it is, its number cannot be given to a stranger.
func awaitExit(pid int) {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
