package trace

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// ArgText is the kept args of an event as a JSON object, "" without.
func (t *Trace) ArgText(a Args) string {
	return string(t.argBytes(a))
}

// Arg is the JSON text of one member of the args, nil when it is absent or was
// not kept. The bytes belong to the trace.
func (t *Trace) Arg(a Args, key string) []byte {
	var found []byte
	members(t.argBytes(a), func(k, v []byte) bool {
		if string(k) == key {
			found = v
		}
		return true
	})
	return found
}

// ArgString is a member that is a string, "" otherwise.
func (t *Trace) ArgString(a Args, key string) string {
	v := t.Arg(a, key)
	if len(v) < 2 || v[0] != '"' {
		return ""
	}
	return string(unquote(v[1:len(v)-1], nil))
}

// ArgInt is a member that is an integer, also a quoted one.
func (t *Trace) ArgInt(a Args, key string) (int64, bool) {
	return parseInt(t.Arg(a, key))
}

// ArgFloat is a member that is a number, also a quoted one ("N/A" and the like are none).
func (t *Trace) ArgFloat(a Args, key string) (float64, bool) {
	v, err := strconv.ParseFloat(string(bytes.Trim(t.Arg(a, key), `"`)), 64)
	return v, err == nil && v == v
}

// ArgInts is a member that is a list of integers (grid, block), nil otherwise.
func (t *Trace) ArgInts(a Args, key string) []int64 {
	var list []int64
	if json.Unmarshal(t.Arg(a, key), &list) != nil {
		return nil
	}
	return list
}

// members calls f with each raw key and value of a JSON object until f says
// false; it reports whether the object could be read to its end.
func members(b []byte, f func(key, value []byte) bool) bool {
	if len(b) < 2 || b[0] != '{' {
		return false
	}
	i := blanks(b, 1)
	if i < len(b) && b[i] == '}' {
		return true
	}
	for {
		if i >= len(b) || b[i] != '"' {
			return false
		}
		end := stringEnd(b, i+1)
		if end < 0 {
			return false
		}
		key := b[i+1 : end]
		i = blanks(b, end+1)
		if i >= len(b) || b[i] != ':' {
			return false
		}
		i = blanks(b, i+1)
		stop, st := valueEnd(b, i)
		if st != whole {
			return false
		}
		if !f(key, b[i:stop]) {
			return true
		}
		i = blanks(b, stop)
		if i >= len(b) {
			return false
		}
		if b[i] == '}' {
			return true
		}
		if b[i] != ',' {
			return false
		}
		i = blanks(b, i+1)
	}
}

// argValues are the columns that args carry.
type argValues struct {
	corr, ext, stream, device int64
	kernel                    []byte // raw text between the quotes
	name, labels              []byte // of M rows, raw
	kept                      []byte // the rest, as a JSON object; "" without
	hasStream, hasDevice, bad bool
}

type argKey uint8

const (
	argOther argKey = iota // kept under ArgsUseful
	argDrop
	argCorr
	argExt
	argStream
	argDevice
	argKernel
	argNameKey
	argLabels
)

// argKeys are the members that are not simply kept. What is dropped is a number
// of its own in every event or a pointer: it would keep equal args apart.
// Keys as written by pytorch/kineto libkineto/src/output_json.cpp@114171df and torch/csrc/autograd/profiler_kineto.cpp.
var argKeys = map[string]argKey{
	"correlation": argCorr, "External id": argExt, "external id": argExt, "stream": argStream, "device": argDevice,
	"kernel": argKernel, "name": argNameKey, "labels": argLabels,
	"Ev Idx": argDrop, "Record function id": argDrop, "Sequence number": argDrop, "Fwd thread id": argDrop,
	"Python id": argDrop, "Python parent id": argDrop, "Trace iteration": argDrop, "Trace name": argDrop,
	"cbid": argDrop, "cid": argDrop, "ptr": argDrop, "src": argDrop, "dst": argDrop, "queued": argDrop, "context": argDrop,
	"hsa_queue": argDrop, "Addr": argDrop, "Total Reserved": argDrop, "Total Allocated": argDrop,
}

// readArgs takes apart an args object. room is reused for the kept text.
func readArgs(b []byte, policy ArgPolicy, launch bool, room []byte) argValues {
	a := argValues{corr: NoID, ext: NoID, device: -1, kept: room[:0]}
	ok := members(b, func(k, v []byte) bool {
		key := argKeys[string(k)]
		if key == argKernel && !launch {
			key = argOther
		}
		a.take(key, v)
		if keeps(policy, key) {
			a.keep(k, v)
		}
		return true
	})
	a.bad = !ok
	if len(a.kept) > 0 {
		a.kept = append(a.kept, '}')
	}
	return a
}

func keeps(policy ArgPolicy, key argKey) bool {
	return policy == ArgsAll || policy == ArgsUseful && (key == argOther || key == argNameKey || key == argLabels)
}

func (a *argValues) keep(k, v []byte) {
	sep := byte(',')
	if len(a.kept) == 0 {
		sep = '{'
	}
	a.kept = append(a.kept, sep, '"')
	a.kept = append(a.kept, k...)
	a.kept = append(a.kept, '"', ':')
	a.kept = append(a.kept, v...)
}

func (a *argValues) take(key argKey, v []byte) {
	switch key {
	case argCorr:
		if n, ok := parseInt(v); ok {
			a.corr = n
		} else {
			a.corr = NoID
		}
	case argExt:
		if n, ok := parseInt(v); ok {
			a.ext = n
		} else {
			a.ext = NoID
		}
	case argStream:
		a.stream, a.hasStream = parseInt(v)
	case argDevice:
		a.device, a.hasDevice = parseInt(v)
		if !a.hasDevice || a.device != int64(int32(a.device)) {
			a.device = -1
		}
	case argKernel:
		a.kernel = inQuotes(v)
	case argNameKey:
		a.name = inQuotes(v)
	case argLabels:
		a.labels = inQuotes(v)
	}
}

func inQuotes(v []byte) []byte {
	if len(v) < 2 || v[0] != '"' {
		return nil
	}
	return v[1 : len(v)-1]
}
