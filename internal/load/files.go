package load

import "golang.org/x/sys/unix"

// spareFiles are open files beside the connections: journal, samples, logs, the
// process's own.
const spareFiles = 128

// raiseFiles makes room for need open files where the system allows it, and
// returns the number that it allows; 0 = unknown.
func raiseFiles(need uint64) uint64 {
	return raise(need,
		func(l *unix.Rlimit) error { return unix.Getrlimit(unix.RLIMIT_NOFILE, l) },
		func(l *unix.Rlimit) error { return unix.Setrlimit(unix.RLIMIT_NOFILE, l) })
}

// raise tries the hard limit's own raising first, which only a privileged
// process may do, and then the most below it.
func raise(need uint64, get, set func(*unix.Rlimit) error) uint64 {
	var now unix.Rlimit
	if get(&now) != nil {
		return 0
	}
	if now.Cur >= need {
		return now.Cur
	}
	for _, want := range []unix.Rlimit{{Cur: need, Max: max(now.Max, need)}, {Cur: min(need, now.Max), Max: now.Max}} {
		if want.Cur > now.Cur && set(&want) == nil {
			return want.Cur
		}
	}
	return now.Cur
}
