package load

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// spin is the last part of a wait, which the pacer spends reading the clock: a
// wake-up through the kernel's timer comes tens of microseconds late.
const spin = 100 * time.Microsecond

// kernelTimer waits on a timerfd that the Go runtime polls as a file: it wakes
// about 100 times more exactly than timers of the runtime, whose poll sleeps in
// whole milliseconds.
type kernelTimer struct {
	ctx  context.Context
	file *os.File
	fd   int
	stop func() bool
}

// newPacer is the most exact pacer that works here: a timerfd, unless the clock
// is the fake one of a testing/synctest bubble or the kernel has none to give.
func newPacer(ctx context.Context) pacer {
	if clockStands() {
		return newTimers(ctx)
	}
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return newTimers(ctx)
	}
	k := &kernelTimer{ctx: ctx, fd: fd, file: os.NewFile(uintptr(fd), "timerfd")}
	if err := k.file.SetReadDeadline(time.Time{}); err != nil { // not polled: a read would not end with ctx
		k.file.Close()
		return newTimers(ctx)
	}
	k.stop = context.AfterFunc(ctx, func() { k.file.SetReadDeadline(time.Unix(1, 0)) })
	return k
}

// clockStands says that time does not pass while the thread sleeps.
func clockStands() bool {
	before := time.Now()
	unix.Nanosleep(&unix.Timespec{Nsec: 1000}, nil)
	return time.Since(before) == 0
}

func (k *kernelTimer) until(c clock, at int64) bool {
	var expirations [8]byte
	for k.ctx.Err() == nil {
		left := time.Duration(at - c.Now())
		if left <= 0 {
			return true
		}
		if left <= spin {
			continue
		}
		spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(left - spin))}
		if unix.TimerfdSettime(k.fd, 0, &spec, nil) == nil {
			_, err := k.file.Read(expirations[:])
			if err == nil || k.ctx.Err() != nil {
				continue
			}
		}
		time.Sleep(left - spin) // never seen; late is better than a busy loop
	}
	return false
}

func (k *kernelTimer) close() {
	k.stop()
	k.file.Close()
}
