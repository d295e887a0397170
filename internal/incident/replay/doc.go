// Package replay sends recorded requests again and says whether what was recorded
// came back:
//
//	[]dump.Request + Target  →  Plan (bodies, instants, what is left out and why)
//	Plan + server            →  Run (outcome of each request beside the recorded one)
//	[]Run                    →  Verdict: reproduced, not_reproduced, different, undecided
//	Plan + server launches   →  Minimized: the smallest set that still does it
//
// Requests leave at begin + offset ÷ speed, whatever the earlier ones do; the load
// generator sends, reads and times them. What a recorded request must not carry
// again is known to the engine folder that its dump comes from.
//
// Left of Run are effects; Judge and the plan are pure functions.
package replay
