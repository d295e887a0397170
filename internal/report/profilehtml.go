package report

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"net/url"
	"slices"
	"strings"

	"llmdyno/internal/profile"
	"llmdyno/internal/profile/attrib"
	"llmdyno/internal/profile/kernel"
)

//go:embed profiletriage.html
var triageSource string

var triageTemplate = template.Must(template.New("triage").Parse(triageSource))

// ProfileHTML writes a triage as one page that needs nothing but itself: stages by
// class, the timeline of a typical step of each stage, and all tables. The document
// must have been made with profile.Request.Keep to have a timeline.
func ProfileHTML(w io.Writer, d *profile.Document, o ProfileOptions) error {
	h := &triagePage{v: profileView{d}, o: o}
	if err := triageTemplate.Execute(w, h.build()); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}

// What the template is filled with.
type (
	triageData struct {
		Title, Lead string
		Facts       []Fact
		Warnings    []string
		Classes     []classKey
		Parts       []triagePart
		Across      []triageTable
		LeftOut     []Fact
		Similar     []string
		Pictures    []picture
	}
	classKey struct {
		Name  string
		Index int
	}
	triagePart struct {
		Title, Anchor string
		Stages        []triageStage
		Whole         []triageTable
	}
	triageStage struct {
		Name, Anchor, Lead string
		Share              float64
		Bars               []triageBar
		Tables             []triageTable
	}
	triageBar struct {
		Class, Label string
		Index        int
		Share        float64
		Wide         bool // there is room for its name
	}
	triageTable struct {
		Title, Lead, Empty, Table string
		Heads                     []triageHead
		Rows                      []triageRow
		After                     []string
	}
	triageHead struct {
		Text    string
		Numeric bool
	}
	triageRow struct {
		Class int // colour; -1 = none
		Cells []triageCell
	}
	triageCell struct {
		Lines         []triageLine
		Sort          string
		Numeric, Code bool
		Title         string
	}
	triageLine struct {
		Text string
		Href template.URL
	}
	// picture is a stretch of time to draw. Works are six numbers each: start and
	// duration in ns, lane, name, place, operator.
	picture struct {
		Label  string        `json:"label"`
		Stage  string        `json:"stage"`
		Span   int64         `json:"span"`
		Lanes  []string      `json:"lanes"`
		Names  []pictureName `json:"names"`
		Places []string      `json:"places"`
		Ops    []string      `json:"ops"`
		Works  []int64       `json:"works"`
	}
	pictureName struct {
		Short   string `json:"s"`
		Full    string `json:"f"`
		Class   int    `json:"c"`
		Verdict string `json:"v,omitempty"`
	}
)

type triagePage struct {
	v profileView
	o ProfileOptions
}

// triageClasses are the classes in the order of their colours.
var triageClasses = []kernel.Class{
	kernel.GEMM, kernel.Attention, kernel.MoE, kernel.Communication, kernel.Norm, kernel.Activation, kernel.Quantize, kernel.RoPE, kernel.KVCache,
	kernel.HybridLinear, kernel.Conv, kernel.Softmax, kernel.ReduceTopK, kernel.SamplingIO, kernel.Memory, kernel.Elementwise, kernel.Other,
}

func classIndex(c kernel.Class) int { return slices.Index(triageClasses, c) }

// What bounds the page.
const (
	maxPageRows     = 1000   // of one table
	maxPictures     = 8      // timelines
	maxPictureWorks = 20_000 // pieces of work in one timeline
)

func (h *triagePage) build() triageData {
	d := h.v.d
	page := triageData{Title: "Where the GPU time goes", Lead: d.Summary, Facts: profileFacts(d), Warnings: d.Warnings, Across: h.tables(h.v.across(ProfileTables()))}
	used := map[kernel.Class]bool{}
	for i, t := range h.v.parts() {
		part := triagePart{Anchor: fmt.Sprintf("part-%d", i), Whole: h.tables(h.v.whole(t, ProfileTables()))}
		if len(d.Others) > 0 {
			part.Title = partName(t)
		}
		for _, stage := range stagesOf(t) {
			if h.o.Stage == "" || stage == h.o.Stage {
				part.Stages = append(part.Stages, h.stage(t, stage, i))
				for _, c := range t.Classes[stage] {
					used[c.Category] = true
				}
			}
		}
		page.Parts = append(page.Parts, part)
		page.Similar = append(page.Similar, h.similar(t)...)
	}
	page.Pictures = h.pictures()
	for i, c := range triageClasses {
		if used[c] {
			page.Classes = append(page.Classes, classKey{string(c), i})
		}
	}
	for _, l := range d.LeftOut {
		page.LeftOut = append(page.LeftOut, Fact{l.Path, l.Reason})
	}
	return page
}

func (h *triagePage) similar(t *profile.Tables) []string {
	var out []string
	if !h.o.Similar {
		return nil
	}
	for _, stage := range stagesOf(t) {
		for _, n := range similarOf(t, stage) {
			out = append(out, fmt.Sprintf("%s, %s: %s", n.Similarity, stage, similarLine(n)))
		}
	}
	return out
}

func (h *triagePage) stage(t *profile.Tables, stage attrib.Stage, part int) triageStage {
	row := t.Stages[stage]
	s := triageStage{Name: string(stage), Anchor: fmt.Sprintf("%s-%d", stage, part), Share: row.Share,
		Lead: fmt.Sprintf("%s ms, %s of the GPU time, %s", millisOf(row.Total, row.Total), pct(row.Share), countLaunches(row.Launches))}
	for _, c := range t.Classes[stage] {
		if c.Share >= 0.05 {
			s.Bars = append(s.Bars, triageBar{Class: string(c.Category), Label: pct(c.Share), Index: classIndex(c.Category), Share: c.Share, Wide: c.Share >= 12})
		}
	}
	s.Tables = h.tables(h.v.ofStage(t, stage, ProfileTables()))
	return s
}

func (h *triagePage) tables(list []sheet) []triageTable {
	out := make([]triageTable, 0, len(list))
	for _, s := range list {
		out = append(out, h.table(s.in(inHTML)))
	}
	return out
}

func (h *triagePage) table(s sheet) triageTable {
	t := triageTable{Title: s.title, Lead: s.lead, Empty: s.empty, Table: s.table, After: s.after}
	for _, c := range s.columns {
		t.Heads = append(t.Heads, triageHead{c.head, c.numeric})
	}
	for i, row := range s.rows {
		if i == maxPageRows {
			t.After = append(t.After, fmt.Sprintf("%d more rows; CSV and JSON have all", len(s.rows)-maxPageRows))
			break
		}
		r := triageRow{Class: -1}
		if i < len(s.keys) {
			r.Class = classIndex(kernel.Class(s.keys[i]))
		}
		for k, cell := range row {
			r.Cells = append(r.Cells, h.cell(s.columns[k], cell))
		}
		t.Rows = append(t.Rows, r)
	}
	return t
}

// Short says that the cell's text is kept on one line.
func (c triageCell) Short() bool {
	return len(c.Lines) == 1 && len(c.Lines[0].Text) <= maxShort
}

func (h *triagePage) cell(c sheetColumn, cell sheetCell) triageCell {
	out := triageCell{Sort: cell.exact, Numeric: c.numeric, Code: c.code}
	text := cell.full
	if c.code && !c.path && len(text) > 60 && cell.show != text {
		text, out.Title = cell.show, strings.ReplaceAll(cell.full, "\n", ", ")
	}
	for line := range strings.SplitSeq(text, "\n") {
		l := triageLine{Text: clean(line)}
		switch {
		case c.path:
			l.Href = safeURL(h.o.link(line))
		case c.key == "sources":
			l.Href = safeURL(repositoryURL(line))
		}
		out.Lines = append(out.Lines, l)
	}
	return out
}

// repositoryURL is the address of a source as the catalog writes it:
// owner/name path@commit.
func repositoryURL(source string) string {
	repo, rest, ok := strings.Cut(source, " ")
	if !ok || strings.Count(repo, "/") != 1 {
		return ""
	}
	path, commit, pinned := strings.Cut(rest, "@")
	if !pinned {
		return ""
	}
	return "https://github.com/" + repo + "/blob/" + commit + "/" + path
}

// safeURL lets addresses through that open a page or an editor, and no script.
func safeURL(address string) template.URL {
	u, err := url.Parse(address)
	if err != nil || address == "" {
		return ""
	}
	switch u.Scheme {
	case "http", "https", "file", "vscode", "cursor", "idea":
		return template.URL(u.String())
	}
	return ""
}

// pictures are the timelines of a typical step of each stage: the one with the
// median span. Without marked steps it is the beginning of the stage's work.
func (h *triagePage) pictures() []picture {
	var out []picture
	for _, t := range h.v.parts() {
		for _, tl := range t.Timelines {
			for _, stage := range stagesOf(t) {
				if len(out) == maxPictures || h.o.Stage != "" && stage != h.o.Stage {
					continue
				}
				if p := h.picture(t, tl, stage); len(p.Works) > 0 {
					out = append(out, p)
				}
			}
		}
	}
	return out
}

func (h *triagePage) picture(t *profile.Tables, tl *attrib.Timeline, stage attrib.Stage) picture {
	from, to, label := h.stretch(tl, stage)
	p := picture{Label: label, Stage: string(stage), Span: to - from, Lanes: []string{}, Names: []pictureName{}, Works: []int64{}}
	if len(h.v.d.Others) > 0 {
		p.Label = partName(t) + ": " + p.Label
	}
	verdicts := map[string]string{}
	for i := range t.Overlap {
		if o := &t.Overlap[i]; o.Stage == stage {
			verdicts[o.Kernel] = o.Priority + " " + o.Recommendation
		}
	}
	names, places, ops := map[int32]int64{}, map[string]int64{}, map[string]int64{}
	lanes := laneSet{ends: map[int32][]int64{}, index: map[[2]int32]int64{}}
	for i := range tl.Works {
		w := &tl.Works[i]
		if w.End() <= from || w.Start >= to || len(p.Works) >= 6*maxPictureWorks {
			continue
		}
		name, known := names[w.Name]
		if !known {
			n := &tl.Names[w.Name]
			name = int64(len(p.Names))
			names[w.Name] = name
			p.Names = append(p.Names, pictureName{clean(n.Short), clean(n.Canonical), classIndex(n.Class), verdicts[n.Canonical]})
		}
		p.Works = append(p.Works, w.Start-from, w.Dur, lanes.of(tl, w, &p.Lanes), name, indexOf(places, &p.Places, clean(tl.Location(w))), indexOf(ops, &p.Ops, clean(tl.Ops[w.Op])))
	}
	return p
}

// laneSet gives work of one stream that overlaps lanes of its own.
type laneSet struct {
	ends  map[int32][]int64
	index map[[2]int32]int64
}

func (l *laneSet) of(tl *attrib.Timeline, w *attrib.Work, names *[]string) int64 {
	const most = 8
	at := slices.IndexFunc(l.ends[w.Stream], func(end int64) bool { return end <= w.Start })
	if at < 0 {
		if at = len(l.ends[w.Stream]); at < most {
			l.ends[w.Stream] = append(l.ends[w.Stream], 0)
		} else {
			at = most - 1
		}
	}
	l.ends[w.Stream][at] = w.End()
	key := [2]int32{w.Stream, int32(at)}
	i, known := l.index[key]
	if !known {
		i = int64(len(*names))
		l.index[key] = i
		*names = append(*names, fmt.Sprintf("stream %d", tl.Streams[w.Stream].Number))
	}
	return i
}

func indexOf(known map[string]int64, list *[]string, text string) int64 {
	i, is := known[text]
	if !is {
		i = int64(len(*list))
		known[text] = i
		*list = append(*list, text)
	}
	return i
}

// stretch is the time that a picture shows.
func (h *triagePage) stretch(tl *attrib.Timeline, stage attrib.Stage) (from, to int64, label string) {
	type span struct {
		step     int32
		from, to int64
	}
	at := map[int32]int{}
	var spans []span
	n := 0
	for i := range tl.Works {
		w := &tl.Works[i]
		if w.Stage != stage {
			continue
		}
		if n == 0 {
			from = w.Start
		}
		if n++; n <= maxPictureWorks/4 {
			to = max(to, w.End())
		}
		if w.Step >= 0 {
			k, known := at[w.Step]
			if !known {
				k = len(spans)
				at[w.Step] = k
				spans = append(spans, span{step: w.Step, from: w.Start})
			}
			spans[k].to = max(spans[k].to, w.End())
		}
	}
	if len(spans) == 0 {
		return from, to, "the beginning of the work"
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Or(cmp.Compare(a.to-a.from, b.to-b.from), cmp.Compare(a.from, b.from)) })
	s := spans[(len(spans)-1)/2]
	return s.from, s.to, clean(tl.Steps[s.step].Label)
}
