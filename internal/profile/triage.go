package profile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"llmdyno/internal/engine"
	"llmdyno/internal/profile/attrib"
	"llmdyno/internal/profile/fusion"
	"llmdyno/internal/profile/kernel"
	"llmdyno/internal/profile/trace"
)

// Request is what a triage is asked for.
type Request struct {
	// Paths are trace files and folders, "-" is standard input. Instead of them:
	// Mapping (readable, for sources) and Formal (real settings, for times).
	Paths           []string
	Mapping, Formal []string

	Engines engine.Set
	Engine  engine.ID // whose trace it is; "" = told by the trace

	AllRanks bool   // tables of every rank and GPU, not of the first only
	Device   string // part of the id, name or label of the GPU's process; "" = any

	Stage    attrib.Stage // only rows of this stage; "" = all
	MinShare float64      // percent of the stage that a row must have
	Limit    int          // rows of each stage and table at most; 0 = no limit

	TP    int    // tensor-parallel size; 0 = told by settings and trace
	Model string // "" = told by settings

	// Keep leaves the timelines in [Tables.Timelines], for pictures and annotated
	// traces.
	Keep bool

	// Catalogs are files and folders with the user's own fusions, laid over the
	// built-in catalog.
	Catalogs []string

	Read trace.Options
	// Workers read files of several ranks at once; 0 is two, and never more than
	// the processors. Each holds one trace in memory.
	Workers int

	catalog *fusion.Catalog
}

// errNoPaths: nothing to do.
var errNoPaths = errors.New("no trace given")

// Triage reads the traces and makes the tables.
func Triage(ctx context.Context, r Request) (*Document, error) {
	d := &Document{SchemaVersion: SchemaVersion, Mode: ModeSingle, MinShare: r.MinShare, Limit: r.Limit, Warnings: []string{}, Evidence: []string{}, Devices: []DeviceLine{}}
	paths, role := r.Paths, ""
	if len(r.Formal) > 0 {
		paths, role, d.Mode = r.Formal, "formal", ModePair
	}
	if len(paths) == 0 {
		return nil, errNoPaths
	}
	catalog, err := fusion.Load(r.Catalogs...)
	if err != nil {
		return nil, err
	}
	r.catalog = catalog
	formal, left, err := choose(paths, r.AllRanks)
	if err != nil {
		return nil, err
	}
	for _, f := range formal {
		if err := refuseUnfit(r.Engines, f.path); err != nil {
			return nil, err
		}
	}
	o := attrib.Options{Engines: r.Engines, Device: r.Device}
	if d.Mode == ModePair {
		if o.Mapping, err = readMapping(ctx, r, d); err != nil {
			return nil, err
		}
	}
	d.LeftOut = append(d.LeftOut, left...)
	ranks, err := readRanks(ctx, r, o, formal)
	if err != nil {
		return nil, err
	}
	d.fill(r, ranks, role)
	return d, nil
}

// readMapping reads all mapping traces into one mapping.
func readMapping(ctx context.Context, r Request, d *Document) (*attrib.Mapping, error) {
	files, left, err := choose(r.Mapping, false)
	if err != nil {
		return nil, err
	}
	d.LeftOut = append(d.LeftOut, left...)
	var all *attrib.Mapping
	for _, f := range files {
		t, err := trace.Open(ctx, f.path, r.Read)
		if err != nil {
			return nil, err
		}
		m, err := attrib.NewMapping(t, attrib.Options{Engines: r.Engines, DefaultStage: f.stage})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.path, err)
		}
		d.Inputs = append(d.Inputs, f.input(t, "mapping"))
		d.warnAboutFile(f.path, t)
		all = all.Join(m)
	}
	return all, nil
}

// readFile is one trace, resolved.
type readFile struct {
	file
	input  Input
	stacks bool // it has Python frames
	tls    []*attrib.Timeline
	found  []findings // by timeline
	all    []attrib.Device
}

// readRanks reads the files, several at once where they are of different ranks,
// and resolves them. The result is in the order of the files.
func readRanks(ctx context.Context, r Request, o attrib.Options, files []file) ([]readFile, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	workers := r.Workers
	if workers <= 0 {
		workers = 2
	}
	workers = max(1, min(workers, runtime.GOMAXPROCS(0), len(files)))
	out := make([]readFile, len(files))
	next := make(chan int)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range next {
				read, err := readOne(ctx, r, o, files[i], len(files) > 2)
				if err != nil {
					cancel(err)
					continue
				}
				out[i] = read
			}
		})
	}
	for i := range files {
		next <- i
	}
	close(next)
	wg.Wait()
	return out, context.Cause(ctx)
}

// readOne reads and resolves a file. With release the trace then lets go of what
// only resolving needs, so that many ranks fit into memory.
func readOne(ctx context.Context, r Request, o attrib.Options, f file, release bool) (readFile, error) {
	if err := ctx.Err(); err != nil {
		return readFile{}, err
	}
	t, err := trace.Open(ctx, f.path, r.Read)
	if err != nil {
		return readFile{}, err
	}
	o.DefaultStage = f.stage
	read := readFile{file: f, input: f.input(t, "")}
	if read.all, err = attrib.Devices(t, ""); err != nil {
		return readFile{}, fmt.Errorf("%s: %w", f.path, err)
	}
	if r.AllRanks {
		read.tls, err = attrib.ResolveAll(t, o)
	} else {
		var tl *attrib.Timeline
		tl, err = attrib.Resolve(t, o)
		read.tls = []*attrib.Timeline{tl}
	}
	if err != nil {
		return readFile{}, fmt.Errorf("%s: %w", f.path, err)
	}
	read.stacks = t.Frames.Len() > 0
	for _, tl := range read.tls {
		found := find(tl, r.Engines)
		found.fusion, found.similar = r.catalog.Find(tl, fusionContext(r, read, tl))
		read.found = append(read.found, found)
	}
	if release {
		t.Frames, t.Ops, t.Launches = trace.Table[trace.Frame]{}, trace.Table[trace.Op]{}, trace.Table[trace.Launch]{}
	}
	return read, nil
}

// findings is what one timeline shows beside its kernels.
type findings struct {
	overlapSummary attrib.OverlapSummary
	overlap        []attrib.OverlapRow
	idle           attrib.IdleSummary
	gaps           []attrib.GapRow
	steps          []attrib.StepRow
	stepStages     []attrib.StepStage
	layers         []attrib.Layer
	fusion         []fusion.Finding
	similar        []fusion.Note
}

// fusionContext is what the run says of itself, for the gates of the catalog.
func fusionContext(r Request, f readFile, tl *attrib.Timeline) fusion.Context {
	s := readSettings(r.Engines, f.path)
	c := fusion.Context{Engine: string(r.Engine), Model: cmp.Or(r.Model, s.model), MinShare: r.MinShare}
	size := tensorParallel(r.TP, s, []readFile{{tls: []*attrib.Timeline{tl}}})
	c.TP, c.TPInferred = size.Size, size.Inferred
	return c
}

func find(tl *attrib.Timeline, engines engine.Set) findings {
	var f findings
	if len(tl.Works) == 0 {
		return f
	}
	f.overlapSummary, f.overlap = attrib.Overlap(tl, attrib.Kernels(tl))
	f.idle, f.gaps = attrib.Gaps(tl, engines)
	f.steps, f.stepStages = attrib.StepTable(tl)
	f.layers = attrib.Layers(tl)
	return f
}

// part is one GPU: the timelines of the files that recorded it, one for each
// stage that was recorded apart.
type part struct {
	rank    string
	sources []string
	tls     []*attrib.Timeline
	found   []findings
}

// parts groups the timelines by rank and place within their file. Files of one
// rank belong together when each is of another stage; a second recording of a
// stage is a part of its own.
func parts(files []readFile) []part {
	type key struct {
		rank      string
		nth, copy int
	}
	type recording struct {
		rank  string
		stage attrib.Stage
	}
	var out []part
	at, copies := map[key]int{}, map[recording]int{}
	for _, f := range files {
		again := copies[recording{f.rank, f.stage}]
		copies[recording{f.rank, f.stage}]++
		for n, tl := range f.tls {
			k := key{f.rank, n, again}
			i, known := at[k]
			if !known {
				i = len(out)
				at[k] = i
				out = append(out, part{rank: rankOf(f, tl)})
			}
			out[i].tls = append(out[i].tls, tl)
			out[i].found = append(out[i].found, f.found[n])
			out[i].sources = append(out[i].sources, f.path)
		}
	}
	return out
}

// rankOf is the rank that a merged file names, else that of the file.
func rankOf(f readFile, tl *attrib.Timeline) string {
	if int(tl.Scope) < len(tl.Trace.Scopes) {
		if l := tl.Trace.Scopes[tl.Scope].Label; l != "" {
			return l
		}
	}
	return f.rank
}

// fill makes the document of what was read.
func (d *Document) fill(r Request, files []readFile, role string) {
	groups := parts(files)
	first := groups[0]
	for _, f := range files {
		in := f.input
		in.Role = role
		d.Inputs = append(d.Inputs, in)
		d.Events += in.Events
		d.warnAboutFile(f.path, f.tls[0].Trace)
	}
	d.Framework, d.Evidence = first.tls[0].Engine, append(d.Evidence, first.tls[0].Evidence...)
	if r.Engine != "" {
		d.Framework, d.Evidence = string(r.Engine), []string{"named by the caller"}
	}
	settings := readSettings(r.Engines, files[0].path)
	d.Model = cmp.Or(r.Model, settings.model)
	d.TP = tensorParallel(r.TP, settings, files)
	d.Mapping = first.tls[0].Mapped
	for i, g := range groups {
		t := makeTables(r, g)
		if i == 0 {
			d.Tables = t
		} else {
			d.Others = append(d.Others, t)
		}
	}
	d.Ranks = compareRanks(groups)
	d.listDevices(files, r.AllRanks)
	d.warnAboutWork(first, files[0].stacks)
	d.warnAboutCopies(files)
	d.Summary = d.summarise()
}

// makeTables makes the tables of one GPU.
func makeTables(r Request, p part) Tables {
	tl := p.tls[0]
	t := Tables{
		Rank: p.rank, Sources: p.sources, GPUEvents: attrib.CountGPU(p.tls...), Stages: attrib.StageTotals(p.tls...),
		Omitted: map[attrib.Stage]attrib.Part{},
	}
	if tl.Proc >= 0 {
		t.GPUPID = tl.PID()
	}
	if devices := tl.Trace.Meta.Devices; len(devices) > 0 {
		t.Device = devices[0].Name
	}
	if r.Keep {
		t.Timelines = p.tls
	}
	all := attrib.Kernels(p.tls...)
	t.Classes = attrib.Classes(all)
	t.Kernels = make([]attrib.KernelRow, 0, len(all))
	shown := map[attrib.Stage]int{}
	for i := range all {
		row := &all[i]
		if r.Stage != "" && row.Stage != r.Stage {
			continue
		}
		if row.Share < r.MinShare || r.Limit > 0 && shown[row.Stage] >= r.Limit {
			o := t.Omitted[row.Stage]
			o.Launches += row.Launches
			o.Total += row.Total
			t.Omitted[row.Stage] = o
			continue
		}
		shown[row.Stage]++
		describe(row)
		t.Kernels = append(t.Kernels, *row)
	}
	t.add(r, p.found)
	t.OverlapNotes = r.catalog.OverlapNotes(cmp.Or(string(r.Engine), tl.Engine), t.Overlap)
	return t
}

// add puts the findings of a GPU's timelines together: they are of other stages,
// or at other times, so that lists follow one another and times add up.
func (t *Tables) add(r Request, found []findings) {
	t.Overlap, t.Gaps, t.Steps = []attrib.OverlapRow{}, []attrib.GapRow{}, []attrib.StepRow{}
	t.StepStages, t.Layers = []attrib.StepStage{}, []attrib.Layer{}
	t.Fusion, t.Similar = []fusion.Finding{}, []fusion.Note{}
	for _, f := range found {
		t.OverlapSummary.Add(f.overlapSummary)
		t.Idle.Add(f.idle)
		t.Overlap = append(t.Overlap, ofStage(r, f.overlap, func(o attrib.OverlapRow) attrib.Stage { return o.Stage })...)
		t.Gaps = append(t.Gaps, ofStage(r, f.gaps, func(g attrib.GapRow) attrib.Stage { return g.Stage })...)
		t.Steps = append(t.Steps, ofStage(r, f.steps, func(s attrib.StepRow) attrib.Stage { return s.Stage })...)
		t.StepStages = append(t.StepStages, ofStage(r, f.stepStages, func(s attrib.StepStage) attrib.Stage { return s.Stage })...)
		t.Fusion = append(t.Fusion, ofStage(r, f.fusion, func(f fusion.Finding) attrib.Stage { return f.Stage })...)
		t.Similar = append(t.Similar, ofStage(r, f.similar, func(n fusion.Note) attrib.Stage { return n.Stage })...)
		t.Layers = append(t.Layers, ofStage(r, f.layers, func(l attrib.Layer) attrib.Stage { return l.Stage })...)
	}
}

// ofStage keeps the rows of the stage that was asked for.
func ofStage[T any](r Request, rows []T, stage func(T) attrib.Stage) []T {
	if r.Stage == "" {
		return rows
	}
	return slices.DeleteFunc(rows, func(row T) bool { return stage(row) != r.Stage })
}

// compareRanks compares the GPUs that have tables.
func compareRanks(groups []part) *attrib.RankReport {
	if len(groups) < 2 {
		return nil
	}
	var ranks []attrib.Rank
	for i, g := range groups {
		for j, tl := range g.tls {
			if len(tl.Works) > 0 {
				ranks = append(ranks, attrib.Rank{Label: cmp.Or(g.rank, fmt.Sprintf("%d", i)), Timeline: tl, Overlap: g.found[j].overlapSummary})
			}
		}
	}
	if len(ranks) < 2 {
		return nil
	}
	report := attrib.Ranks(ranks)
	return &report
}

// describe adds what the name says about itself: tile, types, library.
func describe(row *attrib.KernelRow) {
	if row.Category == kernel.Memory {
		return
	}
	if detail := kernel.Describe(row.RawNames[0]); detail.Library != "" {
		row.Detail = &detail
	}
}

// listDevices names every GPU of the files, so that none vanishes without a word.
func (d *Document) listDevices(files []readFile, all bool) {
	without := 0
	for _, f := range files {
		shown := map[trace.ProcID]bool{}
		for _, tl := range f.tls {
			shown[tl.Proc] = true
		}
		t := f.tls[0].Trace
		for _, dev := range f.all {
			p := t.Procs[dev.Proc]
			line := DeviceLine{Input: f.path, Rank: f.rank, GPUPID: p.PID, Name: p.Name, Launches: dev.Launches, Total: dev.Total, Tables: shown[dev.Proc]}
			if int(p.Scope) < len(t.Scopes) && t.Scopes[p.Scope].Label != "" {
				line.Rank = t.Scopes[p.Scope].Label
			}
			if !line.Tables {
				without++
			}
			d.Devices = append(d.Devices, line)
		}
	}
	if without > 0 && !all {
		d.warnf("%d more %s GPU work in these files; the tables are those of process %s (ask for all ranks to see every GPU)",
			without, plural(without, "GPU has", "GPUs have"), d.GPUPID)
	}
}

func (d *Document) warnf(format string, args ...any) {
	d.Warnings = append(d.Warnings, fmt.Sprintf(format, args...))
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// warnAboutFile says what of a file could not be read.
func (d *Document) warnAboutFile(path string, t *trace.Trace) {
	if t.Break != nil {
		d.warnf("%s is not whole: %s at byte %d; the tables hold what precedes it", path, t.Break.Reason, t.Break.Offset)
	}
	for _, s := range t.Skipped {
		d.warnf("%s: %d %s skipped: %s (first at byte %d)", path, s.Count, plural(int(min(s.Count, 2)), "event was", "events were"), s.Reason, s.Offset)
	}
}

// warnAboutWork says what stands between the trace and its full attribution.
func (d *Document) warnAboutWork(p part, stacks bool) {
	t := p.tls[0].Trace
	if d.GPUEvents.Launches == 0 {
		d.warnf("no GPU activity in this trace%s", foreign(t))
		return
	}
	if !stacks {
		d.warnf("no Python frames in this trace: kernels can't be traced to their source; record with stacks (with_stack), or give a mapping trace")
	}
	if r := d.GPUEvents.Residue; r.Launches > 0 {
		d.warnf("%d pieces of GPU work (%s ms) were launched before recording began and have no known source; the rows count them and show them apart", r.Launches, millis(r.Total))
	}
	if p.tls[0].Unlinked {
		d.warnf("External ids of this trace link nothing (written before October 2024): operators were found by time")
	}
	if g := d.GPUEvents.Graph; g.Launches > 0 && d.Mapping == nil {
		d.warnf("%d kernels (%s ms) were started by %d graph launches: their source is the place that launches the graph; a mapping trace tells more", g.Launches, millis(g.Total), g.Graphs)
	}
	if m := d.Mapping; m != nil && m.Method == attrib.MethodName {
		d.warnf("the captured launches do not line up with the kernels of the graphs (%d and %d): sources were found by the kernels' names", m.CapturedLaunches, m.GraphKernels)
	}
}

// warnAboutCopies says so when one rank and stage were recorded twice.
func (d *Document) warnAboutCopies(files []readFile) {
	seen := map[file]string{}
	for _, f := range files {
		k := file{rank: f.rank, stage: f.stage}
		if first, again := seen[k]; again {
			d.warnf("%s is of the same rank and stage as %s: its tables stand apart", f.path, first)
			continue
		}
		seen[k] = f.path
	}
}

// foreign says what else than GPU work the trace holds.
func foreign(t *trace.Trace) string {
	n := int64(0)
	for _, c := range t.Counts {
		if strings.HasPrefix(strings.ToLower(c.Category), "mtia") {
			n += c.Events
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(": its %d events of another accelerator (mtia) are not read as GPU work", n)
}

func millis(n attrib.Nanos) string { return fmt.Sprintf("%.2f", float64(n)/1e6) }

// summarise is one sentence on what dominates the run.
func (d *Document) summarise() string {
	if d.GPUEvents.Launches == 0 {
		return "This trace holds no GPU work."
	}
	var stages []string
	var most attrib.Stage
	for _, s := range attrib.Stages() {
		row, is := d.Stages[s]
		if !is {
			continue
		}
		stages = append(stages, fmt.Sprintf("%s %.1f %%", s, row.Share))
		if most == "" || row.Total > d.Stages[most].Total {
			most = s
		}
	}
	text := fmt.Sprintf("%s ms of GPU time (%s)", millis(d.GPUEvents.Total), strings.Join(stages, ", "))
	if list := d.Classes[most]; len(list) > 0 {
		names := make([]string, 0, 2)
		for _, c := range list[:min(2, len(list))] {
			names = append(names, fmt.Sprintf("%s %.1f %%", c.Category, c.Share))
		}
		text += fmt.Sprintf("; %s is dominated by %s", most, strings.Join(names, ", "))
	}
	if i := slices.IndexFunc(d.Kernels, func(k attrib.KernelRow) bool { return k.Stage == most }); i >= 0 {
		k := d.Kernels[i]
		text += fmt.Sprintf("; largest kernel %s, %.1f %%", k.Short, k.Share)
		if k.Location != attrib.Unresolved {
			text += ", launched at " + k.Location
		}
	}
	return text + "."
}
