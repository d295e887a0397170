// Package launch starts, watches and stops a server.
//
//	Spec → Start → process group → log → head, tail and the run's log file
//	                             → probes until ready, or Failure with a reason
//	       Stop  → SIGTERM, grace, SIGKILL, until nothing of it is left → Exit
//
// The local backend runs the server as a process of this machine. Nothing that
// it starts outlives its purpose: the server is the leader of its own session
// and process group, dies by the kernel's hand when this program dies, carries a
// mark in its environment by which descendants that left the group are found,
// and what is left after a SIGKILL of this program is ended by [Reap] at the
// next start, from the [Group] in the journal. A number is never trusted alone:
// a process is killed only when its start, or its mark, is the one that was
// written down. Beyond reach after such a SIGKILL is only a process that left
// both the session and the environment behind.
package launch
