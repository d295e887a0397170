// Package run carries a benchmark out, from the plan to the rows:
//
//	config.File + Options → NewPlan → plan.json
//	Plan + State → next → step → effects → journal line → State → …
//	Plan + State → Rows → results.jsonl
//
// The journal is the run's only memory. Every effect (an engine asked for its
// help, a server started, a trial measured) ends in one line of journal.jsonl,
// and State is what the lines say: the same function takes a line when it is
// written and when a resumed run reads it. What comes next, and what the rows
// are, follows from plan and state alone, so that a run that was killed and
// resumed takes the steps that it would have taken undisturbed.
//
//	plan.json      schema llmdyno.plan       see [Plan]
//	journal.jsonl  schema llmdyno.journal    see [Entry]
//
// Servers are started through launch.Backend and loaded through package load;
// there is no other code for simulated engines than the Rewrite of a command.
package run
