package attrib

import (
	"cmp"
	"slices"

	"llmdyno/internal/profile/kernel"
	"llmdyno/internal/profile/trace"
)

// KernelRow is one kernel of one stage, all its launches together.
type KernelRow struct {
	Stage    Stage        `json:"stage"`
	Name     string       `json:"name"` // canonical
	Short    string       `json:"short_name"`
	RawNames []string     `json:"raw_names"` // as in the trace
	Category kernel.Class `json:"category"`
	Total    Nanos        `json:"total_us"`
	Share    float64      `json:"share_pct"` // of the stage's GPU time
	Launches int          `json:"launches"`
	Mean     Nanos        `json:"mean_us"`
	Min      Nanos        `json:"min_us"`
	Max      Nanos        `json:"max_us"`
	// Location and Op are those of the first site. Op is the CPU operator, or the
	// API call where there is none.
	Location string    `json:"location"`
	Op       string    `json:"cpu_op"`
	Sites    []SiteRow `json:"sites"`
	// File is the source file of a generated kernel, where the trace names it.
	File   string         `json:"kernel_file,omitempty"`
	Detail *kernel.Detail `json:"detail,omitempty"`

	// Residue is the part that was launched before recording began; it is
	// counted in the row.
	ResidueLaunches int   `json:"residue_launches,omitempty"`
	ResidueTotal    Nanos `json:"residue_us,omitempty"`
	GraphLaunches   int   `json:"graph_launches,omitempty"`
	Streams         int   `json:"streams"`
	// MappedLaunches have their source from the mapping trace.
	MappedLaunches int `json:"mapped_launches,omitempty"`

	Measured
}

// SiteRow is the part of a kernel's time that one place in the source started.
type SiteRow struct {
	Location string   `json:"location"`
	Launches int      `json:"launches"`
	Total    Nanos    `json:"total_us"`
	Share    float64  `json:"share_pct"` // of the kernel's time
	Op       string   `json:"cpu_op,omitempty"`
	Stack    []string `json:"stack,omitempty"`  // of those that lead here the one with most time, outermost first
	Stacks   int      `json:"stacks,omitempty"` // how many different ones lead here
}

// Kernels are all kernels of the timelines, stage by stage, by time; of equal
// time by name. Timelines of one device that were recorded apart (a file for each
// stage) make one table.
func Kernels(tls ...*Timeline) []KernelRow {
	totals := map[Stage]int64{}
	rows := map[kernelKey]*kernelSum{}
	for _, tl := range tls {
		args := argReader{t: tl.Trace, known: map[argKey]gpuArgs{}}
		for i := range tl.Works {
			w := &tl.Works[i]
			totals[w.Stage] += w.Dur
			key := kernelKey{w.Stage, tl.Names[w.Name].Canonical}
			k := rows[key]
			if k == nil {
				k = newKernelSum(w.Stage, &tl.Names[w.Name])
				rows[key] = k
			}
			k.add(tl, w)
			k.measured.add(args.of(tl.Trace.GPU.At(int(w.Row))), tl.flop(i), w.Dur)
		}
	}
	out := make([]KernelRow, 0, len(rows))
	for _, k := range rows {
		out = append(out, k.finish(totals[k.row.Stage]))
	}
	order := Stages()
	slices.SortFunc(out, func(a, b KernelRow) int {
		return cmp.Or(
			cmp.Compare(slices.Index(order, a.Stage), slices.Index(order, b.Stage)),
			cmp.Compare(b.Total, a.Total), cmp.Compare(a.Name, b.Name))
	})
	return out
}

type kernelKey struct {
	stage Stage
	name  string
}

// kernelSum adds up one row.
type kernelSum struct {
	row      KernelRow
	sites    map[string]*siteSum
	streams  map[streamKey]bool
	raw      map[string]bool
	measured measureSum
}

type streamKey struct {
	tl     *Timeline
	stream int32
}

type siteSum struct {
	launches int
	total    int64
	ops      map[string]int
	stacks   map[*Site]int64
}

func newKernelSum(stage Stage, name *kernel.Name) *kernelSum {
	return &kernelSum{
		row:   KernelRow{Stage: stage, Name: name.Canonical, Short: name.Short, Category: name.Class},
		sites: map[string]*siteSum{}, streams: map[streamKey]bool{}, raw: map[string]bool{},
	}
}

func (k *kernelSum) add(tl *Timeline, w *Work) {
	r := &k.row
	d := Nanos(w.Dur)
	if r.Launches == 0 || d < r.Min {
		r.Min = d
	}
	r.Max = max(r.Max, d)
	r.Launches++
	r.Total += d
	if w.Residue {
		r.ResidueLaunches++
		r.ResidueTotal += d
	}
	if w.Graph {
		r.GraphLaunches++
	}
	if w.Mapped {
		r.MappedLaunches++
	}
	if r.File == "" {
		r.File = tl.Files[w.Name]
	}
	k.streams[streamKey{tl, w.Stream}] = true
	k.raw[tl.Names[w.Name].Raw] = true
	k.site(tl, w)
}

func (k *kernelSum) site(tl *Timeline, w *Work) {
	location := tl.Location(w)
	s := k.sites[location]
	if s == nil {
		s = &siteSum{ops: map[string]int{}, stacks: map[*Site]int64{}}
		k.sites[location] = s
	}
	s.launches++
	s.total += w.Dur
	if w.Op != 0 {
		s.ops[tl.Ops[w.Op]]++
	}
	if w.Site >= 0 {
		s.stacks[&tl.Sites[w.Site]] += w.Dur
	}
}

func (k *kernelSum) finish(stage int64) KernelRow {
	r := k.row
	r.Share = share(int64(r.Total), stage)
	r.Mean = (r.Total + Nanos(r.Launches)/2) / Nanos(r.Launches)
	r.Streams = len(k.streams)
	r.Measured = k.measured.finish(r.Launches)
	for raw := range k.raw {
		r.RawNames = append(r.RawNames, raw)
	}
	slices.Sort(r.RawNames)
	for location, s := range k.sites {
		r.Sites = append(r.Sites, s.row(location, int64(r.Total)))
	}
	slices.SortFunc(r.Sites, func(a, b SiteRow) int {
		return cmp.Or(
			cmp.Compare(btoi(a.Location == Unresolved), btoi(b.Location == Unresolved)),
			cmp.Compare(b.Total, a.Total), cmp.Compare(a.Location, b.Location))
	})
	r.Location, r.Op = r.Sites[0].Location, r.Sites[0].Op
	return r
}

func (s *siteSum) row(location string, kernel int64) SiteRow {
	row := SiteRow{Location: location, Launches: s.launches, Total: Nanos(s.total), Share: share(s.total, kernel), Stacks: len(s.stacks)}
	count := 0
	for op, n := range s.ops {
		if n > count || n == count && op < row.Op {
			row.Op, count = op, n
		}
	}
	longest := int64(-1)
	for site, total := range s.stacks {
		if total > longest || total == longest && slices.Compare(site.Stack, row.Stack) < 0 {
			row.Stack, longest = site.Stack, total
		}
	}
	return row
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// StageRow is the GPU time of one stage.
type StageRow struct {
	Launches int     `json:"launches"`
	Total    Nanos   `json:"total_us"`
	Share    float64 `json:"share_pct"` // of all GPU time
}

// StageTotals are the GPU times of the stages that have any; their shares add up
// to 100 percent.
func StageTotals(tls ...*Timeline) map[Stage]StageRow {
	out := map[Stage]StageRow{}
	whole := int64(0)
	for _, tl := range tls {
		for i := range tl.Works {
			w := &tl.Works[i]
			s := out[w.Stage]
			s.Launches++
			s.Total += Nanos(w.Dur)
			out[w.Stage] = s
			whole += w.Dur
		}
	}
	for stage, s := range out {
		s.Share = share(int64(s.Total), whole)
		out[stage] = s
	}
	return out
}

// Part is a part of a device's work.
type Part struct {
	Launches int   `json:"launches"`
	Total    Nanos `json:"total_us"`
}

// GraphPart is the work that graph launches started.
type GraphPart struct {
	Part
	Graphs int `json:"graphs"` // graph launches
}

// GPUEvents says what the GPU work consists of.
type GPUEvents struct {
	Part
	Kernels       int       `json:"kernels"`
	Memcpy        int       `json:"memcpy"`
	Memset        int       `json:"memset"`
	DistinctNames int       `json:"distinct_names"`
	NoLaunch      Part      `json:"without_launch_record"`
	Residue       Part      `json:"residue"`
	Graph         GraphPart `json:"graph_launched"`
	Unresolved    Part      `json:"unresolved"` // no Python source known
	InvalidLinks  int       `json:"invalid_external_links"`
}

// CountGPU sums up the GPU work of timelines of one device.
func CountGPU(tls ...*Timeline) GPUEvents {
	var e GPUEvents
	names := map[string]bool{}
	for _, tl := range tls {
		graphs := map[int32]bool{}
		for i := range tl.Works {
			w := &tl.Works[i]
			e.Part.add(w)
			switch tl.Trace.GPU.At(int(w.Row)).Cat {
			case trace.CatMemcpy:
				e.Memcpy++
			case trace.CatMemset:
				e.Memset++
			default:
				e.Kernels++
			}
			names[tl.Names[w.Name].Canonical] = true
			if w.Launch < 0 {
				e.NoLaunch.add(w)
			}
			if w.Residue {
				e.Residue.add(w)
			}
			if w.Graph {
				e.Graph.add(w)
				graphs[w.Launch] = true
			}
			if w.Site < 0 {
				e.Unresolved.add(w)
			}
		}
		e.Graph.Graphs += len(graphs)
		e.InvalidLinks += tl.InvalidLinks
	}
	e.DistinctNames = len(names)
	return e
}

func (p *Part) add(w *Work) {
	p.Launches++
	p.Total += Nanos(w.Dur)
}

// ClassRow is the time of one class of kernels in a stage.
type ClassRow struct {
	Category kernel.Class `json:"category"`
	Launches int          `json:"launches"`
	Total    Nanos        `json:"total_us"`
	Share    float64      `json:"share_pct"` // of the stage's GPU time
}

// Classes sums rows up by stage and class, most time first. The rows must be all
// of their stages.
func Classes(rows []KernelRow) map[Stage][]ClassRow {
	out := map[Stage][]ClassRow{}
	totals := map[Stage]Nanos{}
	for i := range rows {
		r := &rows[i]
		totals[r.Stage] += r.Total
		list := out[r.Stage]
		at := slices.IndexFunc(list, func(c ClassRow) bool { return c.Category == r.Category })
		if at < 0 {
			at = len(list)
			list = append(list, ClassRow{Category: r.Category})
		}
		list[at].Launches += r.Launches
		list[at].Total += r.Total
		out[r.Stage] = list
	}
	for stage, list := range out {
		for i := range list {
			list[i].Share = share(int64(list[i].Total), int64(totals[stage]))
		}
		slices.SortFunc(list, func(a, b ClassRow) int {
			return cmp.Or(cmp.Compare(b.Total, a.Total), cmp.Compare(a.Category, b.Category))
		})
	}
	return out
}
