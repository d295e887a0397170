// Package signal reads a bundle and says what is wrong with the servers in it:
// figures, rank by rank and server by server, then findings with their evidence,
// what speaks against them and the next step.
//
//	Bundle → targets → state and pages (engine folders) → figures → facts
//	facts × rules (YAML, conditions) → findings → ranking → answer of seven parts
//	two bundles → what happened in between, and what differs
//	many targets → the odd one out
//
// It touches no server and no file outside of the bundle. Rules are data: those
// of rules/*.yaml and a user's own, see docs/signals.md.
package signal
