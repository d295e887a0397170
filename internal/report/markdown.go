package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"llmdyno/internal/bench/result"
)

// Markdown writes the comparison for people and for a repository: the warnings,
// the verdicts, and upstream's three sections.
func Markdown(w io.Writer, c result.Comparison) error {
	m := &markdown{view: view{c: c}}
	m.report()
	if _, err := io.WriteString(w, strings.TrimRight(m.String(), "\n")+"\n"); err != nil {
		return fmt.Errorf("writing Markdown: %w", err)
	}
	return nil
}

type markdown struct {
	view
	strings.Builder
}

func (m *markdown) line(format string, args ...any) { fmt.Fprintf(m, format+"\n", args...) }

func (m *markdown) report() {
	m.line("# %s\n", titleReport)
	head, rest := m.notices()
	for _, n := range head {
		m.line("> **%s**: %s.\n", noticeTitle(n), mdText(n.Message))
	}
	if len(m.c.Entries) == 0 {
		m.line(noRows)
		return
	}
	for _, k := range m.c.Classes {
		m.line("- **%s**: %s", mdText(k.Label), mdText(k.Verdict))
		if k.Noise != nil {
			m.line("  - %s", mdText(k.Noise.Words()))
		}
	}
	m.line("")
	if len(rest) > 0 {
		m.line("## Warnings\n")
		for _, n := range rest {
			m.line("- `%s`: %s", n.Code, mdText(n.Message))
		}
		m.line("")
	}
	m.best()
	m.cross()
	m.list(titleRunnersUp, m.entries(m.c.RunnersUp()), append([]column{colScenario, colFramework, colCandidate, colRank, colVersus}, append(figures, colCommand)...))
	m.list(titleFailed, m.entries(m.c.Failed), []column{colScenario, colFramework, colCandidate, colStatus, colSLA, colReason, colReqs, colTTFT, colTPOT, colCommand})
	m.superseded()
	m.server()
	m.notes()
}

func (m *markdown) best() {
	m.line("## %s\n", titleBest)
	for _, name := range m.c.FrameworkNames() {
		m.line("### %s\n", mdText(name))
		best := m.c.Best(name)
		if len(best) == 0 {
			m.line("%s\n", m.noBest(name))
			continue
		}
		columns := append([]column{colScenario, colCandidate, colStatus, colSLA}, figures...)
		m.table(m.fill(append(columns, colCommand, colArtifact), m.entries(best)))
	}
}

func (m *markdown) cross() {
	m.line("## %s\n", titleCross)
	var all []result.Entry
	for _, k := range m.c.Classes {
		all = append(all, m.crossEntries(k)...)
	}
	if len(all) == 0 {
		m.line("No candidate of any framework ran and met its SLA, so there is nothing to compare; the reasons are under %q.\n", titleFailed)
		return
	}
	m.table(m.fill(append([]column{colScenario, colPlace, colFramework, colCandidate, colVersus}, append(figures, colCommand)...), all))
}

func (m *markdown) list(title string, entries []result.Entry, columns []column) {
	if len(entries) == 0 {
		return
	}
	m.line("## %s\n", title)
	m.table(m.fill(columns, entries))
}

func (m *markdown) superseded() {
	entries := m.entries(m.c.Superseded)
	m.list(titleSuperseded, entries, []column{colScenario, colFramework, colCandidate, colStatus, {head: "what it left", text: func(_ view, e result.Entry) string { return leftBehind(e) }},
		{head: "replaced by", text: func(v view, e result.Entry) string { return replacedBy(v, e) }}})
}

// leftBehind is what an earlier attempt says.
func leftBehind(e result.Entry) string {
	if e.Row.Status != result.StatusOK {
		return or(e.Row.FailureReason, "no reason given")
	}
	return num(e.Row.Metrics.RequestThroughput) + " req/s, TTFT " + typical(e.Row.Metrics.TTFT) + " ms"
}

func replacedBy(v view, e result.Entry) string {
	later := v.c.Entries[e.SupersededBy]
	text := later.Name + ", status " + later.Row.Status
	if later.Row.Source != "" {
		text += " (" + later.Row.Source + ")"
	}
	return text
}

func (m *markdown) notes() {
	m.line("## How to read this\n")
	m.line("- Ranking: %s", m.c.Rule)
	m.line("- %s.", latencyNote)
	for _, l := range slices.Concat(m.legend(), m.sent(), m.searched()) {
		m.line("- %s.", mdText(l))
	}
	for _, k := range m.c.Classes {
		m.line("- Conditions of **%s**: %s.", mdText(k.Label), mdText(conditions(k)))
	}
}

func (m *markdown) table(t grid) {
	head, rule := make([]string, len(t.columns)), make([]string, len(t.columns))
	for i, c := range t.columns {
		head[i], rule[i] = c.head, " --- "
		if c.numeric {
			rule[i] = " ---: "
		}
	}
	m.line("| %s |", strings.Join(head, " | "))
	m.line("|%s|", strings.Join(rule, "|"))
	for _, row := range t.rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			if cells[i] = mdText(cell); t.columns[i].head == colCommand.head && cell != missing {
				cells[i] = mdCode(cell)
			}
		}
		m.line("| %s |", strings.Join(cells, " | "))
	}
	m.line("")
}

var mdEscapes = strings.NewReplacer(
	`\`, `\\`, "|", `\|`, "`", "&#96;", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "<", "&lt;", ">", "&gt;", "&", "&amp;", "~", `\~`,
)

// mdText escapes a text for a table cell or a list: nothing in it is markup. A
// backtick becomes an entity: behind a backslash it could still pair with one of
// another cell in a reader that looks for code before it looks for cells.
func mdText(s string) string { return mdEscapes.Replace(oneLine(clean(s))) }

var mdEntities = strings.NewReplacer(
	"&", "&amp;", "<", "&lt;", ">", "&gt;", "|", "&#124;", "`", "&#96;", `\`, "&#92;", "*", "&#42;", "_", "&#95;", "[", "&#91;", "]", "&#93;", "~", "&#126;",
)

// mdCode shows a command verbatim in a table cell. A code span cannot hold a
// backtick, nor a backslash before a pipe: such a text becomes a code element.
func mdCode(s string) string {
	s = clean(s)
	if strings.ContainsAny(s, "`\\") || strings.TrimSpace(s) == "" {
		return "<code>" + mdEntities.Replace(s) + "</code>"
	}
	return "`" + strings.ReplaceAll(s, "|", `\|`) + "`"
}

// clean drops control characters, which could move a terminal's cursor, and
// mends broken UTF-8.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r < 0x20 || r >= 0x7f && r < 0xa0, r == '\u2028', r == '\u2029', r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069':
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}
