package launch

import (
	"slices"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// reapWait bounds Reap and ReapMark.
const reapWait = 20 * time.Second

// Reap ends what is left of the groups of a dead run and returns the pids that
// it ended. A group of an earlier boot is gone. A group is ours when its leader
// has the start that was written down, or when one of its members carries the
// mark (a group keeps its number as long as it has a member); without either
// it is left alone: the number may belong to a stranger by now.
func Reap(groups []Group) []int {
	boot := bootID()
	return reap(func(all []procfs.ProcStat) map[int]bool {
		ours := map[int]bool{}
		for _, g := range groups {
			if g.BootID == boot && g.BootID != "" {
				g.claim(all, ours)
			}
		}
		return ours
	})
}

// ReapMark ends every process that carries the mark, with its descendants, and
// returns the pids that it ended.
func ReapMark(mark string) []int {
	return reap(func(all []procfs.ProcStat) map[int]bool {
		ours := map[int]bool{}
		Group{Mark: mark}.claimMarked(all, ours)
		return ours
	})
}

// claim adds the members of one group and the bearers of its mark to ours.
func (g Group) claim(all []procfs.ProcStat, ours map[int]bool) {
	g.claimMarked(all, ours)
	if g.PGID <= 1 {
		return
	}
	in := func(p procfs.ProcStat) bool {
		return p.PGRP == g.PGID || g.Session == g.PGID && p.Session == g.Session
	}
	sure := slices.ContainsFunc(all, func(p procfs.ProcStat) bool {
		return p.PID == g.PGID && p.Starttime == g.StartTicks || in(p) && ours[p.PID]
	})
	for _, p := range all {
		if sure && in(p) {
			ours[p.PID] = true
		}
	}
}

func (g Group) claimMarked(all []procfs.ProcStat, ours map[int]bool) {
	if g.Mark == "" {
		return
	}
	for _, p := range all {
		if yes, _ := marked(p.PID, g.Mark); yes && p.Starttime >= g.StartTicks {
			ours[p.PID] = true
		}
	}
}

// reap kills those whom find names, with their descendants, until none is left.
func reap(find func([]procfs.ProcStat) map[int]bool) (ended []int) {
	targets := map[identity]bool{}
	for end := time.Now().Add(reapWait); ; time.Sleep(pollEvery) {
		all := processes()
		ours := find(all)
		for _, p := range all {
			if targets[identity{p.PID, p.Starttime}] {
				ours[p.PID] = true
			}
		}
		addChildren(all, ours)
		alive := slices.DeleteFunc(all, func(p procfs.ProcStat) bool { return !ours[p.PID] })
		if len(alive) == 0 || time.Now().After(end) {
			return gone(targets, alive)
		}
		for _, p := range alive {
			id := identity{p.PID, p.Starttime}
			targets[id] = true
			send(id, syscall.SIGKILL)
		}
	}
}

// gone lists the targets that are no longer alive.
func gone(targets map[identity]bool, alive []procfs.ProcStat) []int {
	var out []int
	for id := range targets {
		if !slices.ContainsFunc(alive, func(p procfs.ProcStat) bool { return p.PID == id.pid }) {
			out = append(out, id.pid)
		}
	}
	slices.Sort(out)
	return out
}
