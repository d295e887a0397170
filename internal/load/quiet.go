package load

import (
	"math"
	"runtime"
	"runtime/debug"
	"sync"
)

// The memory that a trial may fill before the garbage collector runs: half of
// what the machine has free, and no more than quietMost beyond what is in use.
const (
	quietMost  = int64(8) << 30
	quietLeast = int64(256) << 20
)

// quiet counts the trials under way in the process and keeps what they change.
var quiet struct {
	sync.Mutex
	trials  int
	percent int
	limit   int64
}

// quietGC keeps the garbage collector out of a trial: it runs only when the
// memory limit is reached. The returned func puts back what was set. Trials that
// overlap share the setting.
func quietGC() (loud func()) {
	quiet.Lock()
	defer quiet.Unlock()
	if quiet.trials++; quiet.trials == 1 {
		runtime.GC() // what encoding left is not collected in the middle of the trial
		quiet.limit = debug.SetMemoryLimit(-1)
		debug.SetMemoryLimit(min(quiet.limit, memoryFor(freeMemory())))
		quiet.percent = debug.SetGCPercent(-1)
	}
	return func() {
		quiet.Lock()
		defer quiet.Unlock()
		if quiet.trials--; quiet.trials == 0 {
			debug.SetGCPercent(quiet.percent)
			debug.SetMemoryLimit(quiet.limit)
		}
	}
}

// memoryFor is the limit for a machine with free bytes left; 0 = unknown.
func memoryFor(free int64) int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	room := quietMost
	if free > 0 {
		room = min(room, max(free/2, quietLeast))
	}
	return int64(min(m.Sys, math.MaxInt64/2)) + room
}
