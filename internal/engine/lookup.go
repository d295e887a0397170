package engine

import "strings"

// Set is the engines that a program was built with, in the order in which
// tables list them.
type Set []*Engine

// Lookup finds an engine by id or alias, ignoring case. The boolean is false
// when no engine has that name.
func (s Set) Lookup(name string) (*Engine, bool) {
	name = strings.ToLower(strings.TrimSpace(name))
	for _, e := range s {
		if string(e.ID) == name {
			return e, true
		}
		for _, a := range e.Aliases {
			if strings.ToLower(a) == name {
				return e, true
			}
		}
	}
	return nil, false
}

// IDs are the ids of the set, in its order.
func (s Set) IDs() []ID {
	ids := make([]ID, len(s))
	for i, e := range s {
		ids[i] = e.ID
	}
	return ids
}

// Flag finds a flag by its key.
func (e *Engine) Flag(key string) (Flag, bool) {
	for _, f := range e.Flags {
		if f.Key == key {
			return f, true
		}
	}
	return Flag{}, false
}

// Endpoint finds an endpoint by its neutral name.
func (e *Engine) Endpoint(name EndpointName) (Endpoint, bool) {
	for _, ep := range e.Endpoints {
		if ep.Name == name {
			return ep, true
		}
	}
	return Endpoint{}, false
}

// Wire finds the wire format of a generating endpoint.
func (e *Engine) Wire(name EndpointName) (Wire, bool) {
	for _, w := range e.Wires {
		if w.Endpoint == name {
			return w, true
		}
	}
	return Wire{}, false
}

// Option is the option string of a key: the flag table's own spelling, else
// "--" and the key by the engine's rule for underscores.
func (e *Engine) Option(key string) string {
	if f, ok := e.Flag(key); ok && f.Option != "" {
		return f.Option
	}
	if e.Launch.Underscores {
		return "--" + key
	}
	return "--" + strings.ReplaceAll(key, "_", "-")
}

// MatchLog names the first pattern that a log line matches.
func (e *Engine) MatchLog(line string) (LogPattern, bool) {
	for _, p := range e.Logs {
		if p.Pattern.MatchString(line) {
			return p, true
		}
	}
	return LogPattern{}, false
}
