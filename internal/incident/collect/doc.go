// Package collect asks live servers what they say of themselves and writes the
// answers into a bundle.
//
//	targets → recognise the engine → its endpoints, all at once → bundle
//	                                 └ metrics and loads again, every so often
//	this machine → GPUs, processes, ports, kernel messages, logs → bundle
//
// It reads only, by construction: its client refuses every method and path that
// no engine folder marks as read-only, and what a reading does to the server or
// to other readers (engine.Endpoint.Effect) is asked only when it was named.
// Redirects are not followed, so that a key never reaches another server.
//
// Every failure is a result: a probe has a class of error, a target without a
// reply stands in the bundle, too, and an interrupted capture is complete up to
// then.
package collect
