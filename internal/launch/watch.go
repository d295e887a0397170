package launch

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sampleEvery is the pace of memory samples and of looking for descendants
// while nothing happens.
const sampleEvery = time.Second

// watch follows one process until it and all that it started are gone.
func (s *server) watch(a *attempt) Exit {
	f := newFamily(a.group.PGID, s.mark)
	peak := s.untilEnding(a, f)
	left := s.end(a, f)
	a.pipe.SetReadDeadline(time.Now().Add(drainWait))
	exit := Exit{PeakRSSBytes: peak, Lifetime: time.Since(a.began), Requested: closed(s.stopping), Left: left, Code: -1}
	if a.hasEnded() {
		exit.Code, exit.Signal = codeOf(a.finish().Sys().(syscall.WaitStatus))
	} else {
		close(a.release) // reaped whenever the kernel lets go of it
	}
	select {
	case <-a.drained:
	case <-time.After(2 * drainWait):
	}
	exit.HostOOM = hostOOMKills() > a.kills
	return exit
}

// untilEnding samples memory until the leader has ended or is to be ended, and
// returns the peak in bytes.
func (s *server) untilEnding(a *attempt, f *family) (peak int64) {
	wait := time.NewTimer(0)
	defer wait.Stop()
	for pause := sampleEvery / 8; ; pause = min(2*pause, sampleEvery) {
		select {
		case <-a.ended:
			return peak
		case <-s.stopping:
			return peak
		case <-a.foreign:
			return peak
		case <-wait.C:
		}
		peak = max(peak, residentBytes(f.scan()), highWaterBytes(a.group.PGID))
		wait.Reset(pause)
	}
}

// end brings the family to its end: SIGTERM, then SIGKILL when the grace of
// Stop is over, or that of descendants whose leader has ended. Those of one that
// ended by itself are left alone for a moment: they may still be saying why.
func (s *server) end(a *attempt, f *family) (left []int) {
	var alone time.Time // since when the leader is gone
	for asked := false; !closed(s.killing) && !closed(a.foreign); time.Sleep(pollEvery) {
		gone := a.hasEnded()
		if gone && len(f.scan()) == 0 {
			return nil
		}
		if gone && alone.IsZero() {
			alone = time.Now()
		}
		if gone && time.Since(alone) > orphanGrace {
			break
		}
		if !asked && (closed(s.stopping) || gone && time.Since(alone) > orphanGrace/4) {
			f.signal(syscall.SIGTERM)
			asked = true
		}
	}
	return f.sweep(a.child, killWait)
}

// codeOf is the exit code and the signal that ended a process.
func codeOf(w syscall.WaitStatus) (code int, signal string) {
	if w.Signaled() {
		return 128 + int(w.Signal()), unix.SignalName(w.Signal())
	}
	return w.ExitStatus(), ""
}
