package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"llmdyno/internal/profile"
	"llmdyno/internal/profile/attrib"
)

// maxInfoCategories are the kinds of events that a terminal shows.
const maxInfoCategories = 16

// ProfileInfo writes what a trace holds for a terminal of the given width.
func ProfileInfo(w io.Writer, i *profile.Info, width int, colour bool) error {
	if width <= 0 {
		width = defaultWidth
	}
	p := &profileText{terminal: &terminal{width: max(width, minWidth), colour: colour}}
	p.info(i)
	if _, err := io.WriteString(w, strings.TrimRight(p.String(), "\n")+"\n"); err != nil {
		return fmt.Errorf("writing what the trace holds: %w", err)
	}
	return nil
}

func (p *profileText) info(i *profile.Info) {
	p.para(bold, "", "", fmt.Sprintf("%s: %s events, %s bytes of text, %s ms", i.Path, thousands(i.Events), thousands(i.Bytes), millisOf(i.Span, i.Span)))
	if b := i.Break; b != nil {
		p.para(bad, "! ", "  ", fmt.Sprintf("not whole: %s at byte %d; what follows is of the events before it", b.Reason, b.Offset))
	}
	for _, s := range i.Skipped {
		p.para("", "! ", "  ", fmt.Sprintf("%d %s left out: %s, the first at byte %d", s.Count, plural(int(min(s.Count, 2)), "event"), s.Reason, s.Offset))
	}
	p.line("")
	for _, f := range infoFacts(i) {
		p.para("", f.Name+": ", "  ", f.Value)
	}
	for k := range i.Devices {
		p.infoDevice(&i.Devices[k])
	}
	p.infoCategories(i)
	p.title("What is missing")
	if len(i.Missing) == 0 {
		p.line("Nothing: kernels can be traced to their source, stage by stage.")
	}
	for _, m := range i.Missing {
		text := m.What + ": " + m.So
		if m.Cure != "" {
			text += "; " + m.Cure
		}
		p.para("", "- ", "  ", text)
	}
}

// infoFacts are what the trace says of itself.
func infoFacts(i *profile.Info) []Fact {
	facts := []Fact{{"Framework", i.Framework}}
	if len(i.Evidence) > 0 {
		facts[0].Value += ": " + strings.Join(i.Evidence, "; ")
	}
	if i.BaseNS != 0 {
		start := time.Unix(0, i.BaseNS+int64(i.First)).UTC()
		facts = append(facts, Fact{"Recorded", start.Format("2006-01-02 15:04:05.000 UTC")})
	}
	for _, g := range i.GPUs {
		facts = append(facts, Fact{fmt.Sprintf("GPU %d", g.ID), fmt.Sprintf("%s, %d multiprocessors, %.0f GiB, compute %d.%d", or(g.Name, "model unknown"), g.NumSMs, float64(g.Memory)/(1<<30), g.Major, g.Minor)})
	}
	if i.Rank >= 0 {
		facts = append(facts, Fact{"Rank", fmt.Sprintf("%d of %d, %s", i.Rank, i.WorldSize, or(i.Backend, "backend unknown"))})
	}
	if len(i.Scopes) > 0 {
		facts = append(facts, Fact{"Merged ranks", strings.Join(i.Scopes, ", ")})
	}
	names := make([]string, 0, len(i.Versions))
	for k := range i.Versions {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		facts = append(facts, Fact{k, i.Versions[k]})
	}
	return facts
}

func (p *profileText) infoDevice(d *profile.InfoDevice) {
	name := "GPU process " + d.GPUPID
	if d.Rank != "" {
		name += ", " + d.Rank
	}
	p.title(name)
	e := d.GPUEvents
	p.para("", "", "  ", fmt.Sprintf("%d kernels of %d names, %d copies, %d fills: %s ms", e.Kernels, e.DistinctNames, e.Memcpy, e.Memset, millisOf(e.Total, e.Total)))
	streams := make([]string, len(d.Streams))
	for i, s := range d.Streams {
		streams[i] = fmt.Sprint(s)
	}
	p.para("", "streams: ", "  ", strings.Join(streams, ", "))
	for _, stage := range attrib.Stages() {
		row, is := d.Stages[stage]
		if !is {
			continue
		}
		text := fmt.Sprintf("%s ms, %s, %s", millisOf(row.Total, row.Total), pct(row.Share), countLaunches(row.Launches))
		if n := d.Steps[stage]; n > 0 {
			text += fmt.Sprintf(", %d marked %s", n, plural(n, "step"))
		}
		p.para("", string(stage)+": ", "  ", text)
	}
	p.para("", "source known: ", "  ", fmt.Sprintf("%s of the time; in GPU graphs %s; from before the recording %s",
		share0(e.Total-e.Unresolved.Total, e.Total), share0(e.Graph.Total, e.Total), share0(e.Residue.Total, e.Total)))
}

func (p *profileText) infoCategories(i *profile.Info) {
	p.title("Events")
	rest := int64(0)
	for k, c := range i.Categories {
		if k >= maxInfoCategories {
			rest += c.Events
			continue
		}
		p.line(fmt.Sprintf("%14s  %s  %s", thousands(c.Events), clean(or(c.Phase, "?")), clean(or(c.Category, "(no category)"))))
	}
	if rest > 0 {
		p.line(fmt.Sprintf("%14s  of other kinds", thousands(rest)))
	}
}
