package fusion

import (
	"bufio"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"llmdyno/internal/profile/attrib"
	"llmdyno/internal/profile/trace"
)

// A fixture is a text file that shows what fires a pattern and what must not:
// lines that say what is known of the run, then timelines in the text form of
// [trace.ParseText].
//
//	engine sglang
//	model Qwen/Qwen3-8B
//	tp 2
//	times 3
//	-- active --
//	kernel 10 5 fused_kernel
//	…
//	-- split --
//	…
//	-- neighbour --
//	…
//
// times is how often the pattern must be found in active and in split; the
// neighbour must not show it at all. A pattern with an identity needs active, one
// with roles needs split, all need neighbour.
type fixture struct {
	ctx      Context
	times    int
	sections map[string]string
}

// Names of the sections.
const (
	sectionActive    = string(StateActive)
	sectionSplit     = string(StateSplit)
	sectionNeighbour = "neighbour"
)

// maxFixture bounds a fixture, in bytes.
const maxFixture = 1 << 20

func readFixture(text string) (*fixture, error) {
	if len(text) > maxFixture {
		return nil, fmt.Errorf("the file is larger than %d KiB", maxFixture>>10)
	}
	f := &fixture{sections: map[string]string{}}
	section := ""
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, maxFixture)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if name, ok := strings.CutPrefix(line, "-- "); ok && strings.HasSuffix(name, " --") {
			section = strings.TrimSuffix(name, " --")
			if !slices.Contains([]string{sectionActive, sectionSplit, sectionNeighbour}, section) {
				return nil, fmt.Errorf("line %d: %q is no section; expected active, split, neighbour", n, section)
			}
			// Lines of a timeline count from the top of the file.
			f.sections[section] = strings.Repeat("\n", n)
			continue
		}
		if section != "" {
			f.sections[section] += line + "\n"
			continue
		}
		if err := f.header(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return f, lines.Err()
}

func (f *fixture) header(line string) error {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return nil
	}
	key, value, _ := strings.Cut(line, " ")
	var err error
	switch key {
	case "engine":
		f.ctx.Engine = value
	case "model":
		f.ctx.Model = value
	case "tp":
		f.ctx.TP, err = strconv.Atoi(value)
	case "times":
		f.times, err = strconv.Atoi(value)
	default:
		return fmt.Errorf("%q is no key; expected engine, model, tp, times", key)
	}
	if err != nil {
		return fmt.Errorf("%s: %q is no whole number", key, value)
	}
	return nil
}

// Result is how one pattern did with its fixture.
type Result struct {
	Pattern string `json:"pattern"`
	Fixture string `json:"fixture"`
	// Problems is empty where the fixture fires the pattern and its neighbour does
	// not.
	Problems []string `json:"problems"`
}

// Test runs the fixtures of the patterns of this catalog that are named, all of
// them if none is. Each is matched with the whole catalog: an entry that another
// one always covers can't be found and fails.
func (c *Catalog) Test(ids ...string) []Result {
	out := []Result{}
	for i := range c.Patterns {
		p := &c.Patterns[i]
		if len(ids) > 0 && !slices.Contains(ids, p.ID) {
			continue
		}
		out = append(out, Result{Pattern: p.ID, Fixture: p.Fixture, Problems: c.test(p)})
	}
	return out
}

func (c *Catalog) test(p *Pattern) []string {
	problems := []string{}
	if p.Fixture == "" {
		return append(problems, "it has no fixture")
	}
	text, err := fs.ReadFile(p.dir, p.Fixture)
	if err != nil {
		return append(problems, "its fixture can't be read: "+err.Error())
	}
	f, err := readFixture(string(text))
	if err != nil {
		return append(problems, p.Fixture+": "+err.Error())
	}
	needed := []string{sectionNeighbour}
	if len(p.Active.Kernels)+len(p.Active.Ops)+len(p.Active.Roles) > 0 {
		needed = append(needed, sectionActive)
	}
	if len(p.Split) > 1 {
		needed = append(needed, sectionSplit)
	}
	for _, section := range needed {
		timeline, is := f.sections[section]
		if !is {
			problems = append(problems, p.Fixture+": the section "+section+" is missing")
			continue
		}
		if problem := c.try(p, f, section, timeline); problem != "" {
			problems = append(problems, fmt.Sprintf("%s: %s: %s", p.Fixture, section, problem))
		}
	}
	return problems
}

// try matches one timeline; "" = as it should be.
func (c *Catalog) try(p *Pattern, f *fixture, section, timeline string) string {
	t, err := trace.ParseText(timeline)
	if err != nil {
		return err.Error()
	}
	tl, err := attrib.Resolve(t, attrib.Options{})
	if err != nil {
		return err.Error()
	}
	if len(tl.Works) == 0 {
		return "the timeline holds no GPU work"
	}
	found := c.Match(tl, f.ctx)
	at := slices.IndexFunc(found, func(f Finding) bool {
		return f.Pattern == p.ID && (section == sectionNeighbour || string(f.State) == section)
	})
	switch {
	case section == sectionNeighbour && at >= 0:
		return fmt.Sprintf("must not be found, is %s %d times: %s", found[at].State, found[at].Occurrences, strings.Join(found[at].Evidence, ", "))
	case section == sectionNeighbour:
		return ""
	case at < 0:
		return "not found; " + coveredBy(found, p.ID)
	case found[at].Occurrences != f.times:
		return fmt.Sprintf("found %d times, expected %d", found[at].Occurrences, f.times)
	}
	return ""
}

func coveredBy(found []Finding, id string) string {
	for _, f := range found {
		if slices.Contains(f.Covers, id) {
			return "covered by " + f.Pattern
		}
	}
	if len(found) == 0 {
		return "nothing was found"
	}
	return "found was " + found[0].Pattern
}
