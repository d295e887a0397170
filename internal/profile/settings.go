package profile

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"llmdyno/internal/engine"
	"llmdyno/internal/profile/attrib"
	"llmdyno/internal/profile/kernel"
)

// settingsFile is what profiling clients write beside the traces: the server's
// arguments as it reports them.
const settingsFile = "server_args.json"

// maxSettings bounds that file, in bytes.
const maxSettings = 8 << 20

// settings are saved server arguments, as far as the triage uses them.
type settings struct {
	path  string
	model string
	tp    int
}

// readSettings reads the server arguments beside a trace. Those of a folder above
// may belong to another run and are left alone.
func readSettings(engines engine.Set, path string) settings {
	if path == "-" {
		return settings{}
	}
	file := filepath.Join(filepath.Dir(path), settingsFile)
	f, err := os.Open(file)
	if err != nil {
		return settings{}
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSettings))
	if err != nil {
		return settings{}
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(text, &members) != nil {
		return settings{}
	}
	s := settings{path: file}
	for _, e := range engines {
		if s.tp == 0 && e.Launch.TP != "" {
			s.tp = wholeNumber(members[e.Launch.TP])
		}
		for _, key := range e.Trace.Models {
			if s.model == "" {
				_ = json.Unmarshal(members[key], &s.model) // not a text: no name
			}
		}
	}
	return s
}

// wholeNumber reads a positive number, also a quoted one; 0 for anything else.
func wholeNumber(raw json.RawMessage) int {
	n, err := strconv.Atoi(strings.Trim(string(raw), `"`))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// tensorParallel tells the size: given, from settings, from the ranks that files
// and processes name, from the groups that collectives ran in.
func tensorParallel(given int, s settings, files []readFile) TPSize {
	switch {
	case given > 0:
		return TPSize{Size: given, Source: "given"}
	case s.tp > 0:
		return TPSize{Size: s.tp, Source: s.path}
	}
	group, world, collectives := 0, 0, false
	for _, f := range files {
		for _, tl := range f.tls {
			world = max(world, tl.Trace.Meta.Distributed.WorldSize)
			n, any := smallestGroup(tl)
			collectives = collectives || any
			if n > 0 && (group == 0 || n < group) {
				group = n
			}
		}
	}
	switch {
	case group > 0:
		return TPSize{Size: group, Source: "smallest group of the collectives in the trace", Inferred: true}
	case world == 1, world > 1 && collectives:
		source := "world size of the trace"
		if world > 1 {
			source += ", so at most"
		}
		return TPSize{Size: world, Source: source, Inferred: world > 1}
	}
	return TPSize{}
}

// smallestGroup is the least number of ranks that a collective of the timeline ran
// among (0 when none says), and whether there are collectives at all.
func smallestGroup(tl *attrib.Timeline) (size int, any bool) {
	for i := range tl.Works {
		w := &tl.Works[i]
		if tl.Names[w.Name].Class != kernel.Communication {
			continue
		}
		any = true
		n, ok := tl.Trace.ArgInt(tl.Trace.GPU.At(int(w.Row)).Args, "Group size")
		if ok && n > 1 && n < 1<<20 && (size == 0 || int(n) < size) {
			size = int(n)
		}
	}
	return size, any
}
