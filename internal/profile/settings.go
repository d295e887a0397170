package profile

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"llmdyno/internal/engine"
	"llmdyno/internal/profile/trace"
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
		return TPSize{given, "given"}
	case s.tp > 0:
		return TPSize{s.tp, s.path}
	}
	group, world := 0, 0
	for _, f := range files {
		for _, tl := range f.tls {
			for i := range tl.Works {
				g := tl.Trace.GPU.At(int(tl.Works[i].Row))
				if g.Cat != trace.CatKernel {
					continue
				}
				if n, ok := tl.Trace.ArgInt(g.Args, "Group size"); ok && n > 1 && n < 1<<20 {
					if group == 0 || int(n) < group {
						group = int(n)
					}
				}
			}
			if tl.Trace.Meta.Distributed.WorldSize > world {
				world = tl.Trace.Meta.Distributed.WorldSize
			}
		}
	}
	switch {
	case group > 0:
		return TPSize{group, "smallest group of the collectives in the trace"}
	case world > 0:
		return TPSize{world, "world size of the trace, so at most"}
	}
	return TPSize{}
}
