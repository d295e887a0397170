package attrib

import (
	"strings"

	"llmdyno/internal/engine"
	"llmdyno/internal/profile/trace"
)

// The ranks of frames that belong to no engine. A stack's frame with the highest
// rank is the site: the code of a model says more than the library below it.
const (
	rankTritonKernels = 220 // the kernel library of that name
	rankOther         = 120
	rankTorch         = 20
	rankGlue          = 5  // forwards every call there is
	lowSignal         = 80 // taken off a frame that only forwards a call
)

// noise are files of the interpreter and of process plumbing: no launch comes
// from there.
var noise = []string{
	"threading.py", "multiprocessing/", "contextlib.py", "torch/utils/_contextlib.py", "runpy.py",
	"asyncio/", "selectors.py", "queue.py", "socket.py", "tqdm/_monitor.py",
}

var glue = []string{"triton/runtime/", "triton/backends/", "torch/_ops.py", "torch/nn/modules/module.py"}

// forwards are parts of a frame's text that say that it only passes a call on,
// beside those that each engine names.
var forwards = []string{
	"__torch_function__", "__torch_dispatch__", "__call__", "_call_impl", "_wrapped_call_impl",
	"torch/fx/graph_module.py:",
}

// place is a frame's text, read once.
type place struct {
	rank           int32
	engine         int32 // row of sources.engines; -1 without
	location, path string
}

// sources reads frames into places. It remembers each text of one trace.
type sources struct {
	engines engine.Set
	low     []string
	places  []place // by NameID; path "" = not read yet, "-" = no Python file
}

func newSources(engines engine.Set) *sources {
	s := &sources{engines: engines, low: forwards}
	for _, e := range engines {
		s.low = append(s.low[:len(s.low):len(s.low)], e.Trace.LowSignal...)
	}
	return s
}

// of reads the frame with this name.
func (s *sources) of(t *trace.Trace, id trace.NameID) *place {
	if int(id) >= len(s.places) {
		s.places = append(s.places, make([]place, int(id)+1-len(s.places)+256)...)
	}
	p := &s.places[id]
	if p.path == "" {
		*p = s.read(t.Text(id))
	}
	return p
}

// frame reads the frame behind an active span.
func (s *sources) frame(t *trace.Trace, a active) *place {
	return s.of(t, t.Frames.At(int(a.row)).Name)
}

// foremost is the frame with the highest rank among those that contain a time,
// of equals the innermost; -1 when none says anything.
func (s *sources) foremost(t *trace.Trace, at int64, stack []active) int {
	best, rank := -1, int32(0)
	for i := range stack {
		if stack[i].contains(at) {
			if p := s.frame(t, stack[i]); p.rank > 0 && p.rank >= rank {
				best, rank = i, p.rank
			}
		}
	}
	return best
}

// read splits "path.py(12): function" and ranks it.
func (s *sources) read(text string) place {
	none := place{path: "-", engine: -1}
	at := strings.LastIndex(text, ".py(")
	if at < 0 {
		return none
	}
	file, rest := text[:at+3], text[at+4:]
	line, function, ok := strings.Cut(rest, ")")
	if !ok {
		return none
	}
	function = strings.TrimPrefix(strings.TrimPrefix(function, ":"), " ")
	path, owner, rank := s.normalise(file)
	for _, n := range noise {
		if below(path, n) || below(afterStdlib(path), n) {
			return none
		}
	}
	p := place{path: path, engine: int32(owner), rank: int32(rank)}
	p.location = path + ":" + line
	if function != "" {
		p.location += " " + function
	}
	switch {
	case owner >= 0:
	case below(path, "triton_kernels/"):
		p.rank = rankTritonKernels
		return p
	case belowAny(path, glue):
		p.rank = rankGlue
		return p
	case below(path, "torch/"):
		p.rank = rankTorch
		return p
	default:
		p.rank = rankOther
	}
	for _, low := range s.low {
		if strings.Contains(p.location, low) {
			p.rank -= lowSignal
			break
		}
	}
	return p
}

// below reports whether a path is the file, or lies in the folder, of that name.
func below(path, name string) bool {
	return strings.HasPrefix(path, name) && (strings.HasSuffix(name, "/") || len(path) == len(name))
}

func belowAny(path string, names []string) bool {
	for _, n := range names {
		if below(path, n) {
			return true
		}
	}
	return false
}

// normalise cuts what belongs to the machine off a path: all before the last
// site-packages or dist-packages, else before the last folder of an engine. It
// says whose folder the path then begins with, -1 for none.
func (s *sources) normalise(file string) (path string, owner, rank int) {
	cut := max(after(file, "site-packages/"), after(file, "dist-packages/"))
	if cut > 0 {
		path = file[cut:]
		for i, e := range s.engines {
			for _, f := range e.Trace.Folders {
				if strings.HasPrefix(path, f.Path) {
					return path, i, f.Rank
				}
			}
		}
		return path, -1, 0
	}
	// An environment's own library is nobody's source, whatever the folder above
	// it is called.
	from := len(file) - len(afterStdlib(file))
	at, long := -1, 0
	owner = -1
	for i, e := range s.engines {
		for _, f := range e.Trace.Folders {
			j := lastFolder(file, f.Path, from)
			if j < 0 {
				continue
			}
			end := j + len(f.Path)
			if end > at || end == at && len(f.Path) > long {
				at, long, owner, rank = end, len(f.Path), i, f.Rank
			}
		}
	}
	if owner >= 0 {
		return file[at-long:], owner, rank
	}
	return strings.TrimPrefix(file, "/"), -1, 0
}

// after is the offset behind the last occurrence of a folder; 0 without.
func after(file, folder string) int {
	if i := lastFolder(file, folder, 0); i >= 0 {
		return i + len(folder)
	}
	return 0
}

// lastFolder finds the last place, not before from, where a folder begins.
func lastFolder(file, folder string, from int) int {
	for end := len(file); end > from; {
		i := strings.LastIndex(file[from:end], folder)
		if i < 0 {
			return -1
		}
		i += from
		if i == 0 || file[i-1] == '/' {
			return i
		}
		end = i + len(folder) - 1
	}
	return -1
}

// afterStdlib is what follows lib/python3.N/ in a path; all of it without.
func afterStdlib(path string) string {
	const lib = "lib/python3"
	i := lastFolder(path, lib, 0)
	if i < 0 {
		return path
	}
	if j := strings.IndexByte(path[i+len(lib):], '/'); j >= 0 {
		return path[i+len(lib)+j+1:]
	}
	return path
}
