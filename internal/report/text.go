package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"llmdyno/internal/bench/result"
)

const (
	defaultWidth = 80
	minWidth     = 40
)

// Text writes the comparison for a terminal of the given width (0 = 80 columns;
// below 40 counts as 40). Colour is emphasis only: nothing is said by it alone.
// Commands stand below the tables, broken at words so that they can be pasted.
func Text(w io.Writer, c result.Comparison, width int, colour bool) error {
	if width <= 0 {
		width = defaultWidth
	}
	t := &terminal{view: view{c: c, short: true}, width: max(width, minWidth), colour: colour}
	t.report()
	if _, err := io.WriteString(w, strings.TrimRight(t.String(), "\n")+"\n"); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

type terminal struct {
	view
	strings.Builder
	width  int
	colour bool
}

// paint is what a piece of text is; colour follows from it.
type paint string

const (
	bold   paint = "1"
	good   paint = "32"
	bad    paint = "31"
	notice paint = "1;33"
	faint  paint = "2"
)

func (t *terminal) paint(p paint, s string) string {
	if !t.colour || s == "" {
		return s
	}
	return "\x1b[" + string(p) + "m" + s + "\x1b[0m"
}

func (t *terminal) line(s string) { t.WriteString(strings.TrimRight(s, " ") + "\n") }

// para writes a text wrapped to the width, continued lines indented.
func (t *terminal) para(p paint, first, rest, s string) {
	wrapped := text.WrapSoft(oneLine(clean(s)), max(t.width-max(len([]rune(first)), len([]rune(rest))), 20))
	lead := first
	for l := range strings.Lines(wrapped) {
		t.line(lead + t.paint(p, strings.TrimSpace(l)))
		lead = rest
	}
}

func (t *terminal) title(s string) { t.line("\n" + t.paint(bold, s) + "\n") }

func (t *terminal) report() {
	head, rest := t.notices()
	for _, n := range head {
		t.para(notice, "", "", noticeTitle(n)+": "+n.Message+".")
	}
	if len(head) > 0 {
		t.line("")
	}
	if len(t.c.Entries) == 0 {
		t.line(noRows)
		return
	}
	for _, k := range t.c.Classes {
		t.line(t.paint(bold, clean(k.Label)))
		p := good
		if len(k.Tied) == 0 {
			p = bad
		}
		t.para(faint, "  ", "  ", conditions(k))
		t.para(p, "  ", "  ", k.Verdict)
		if k.Noise != nil {
			t.para(faint, "  ", "  ", k.Noise.Words())
		}
	}
	if len(rest) > 0 {
		t.title("Warnings")
		for _, n := range rest {
			t.para("", "! ", "  ", n.Message+" ["+n.Code+"]")
		}
	}
	t.best()
	t.cross()
	t.section(titleRunnersUp, t.c.RunnersUp(), colScenario, colFull, colRank, colVersus, colReqs, colOut, colOutGPU, colTTFT, colTPOT)
	t.failed()
	t.superseded()
	t.server()
	t.notes()
}

// terminalFigures are the figures that a terminal shows; the other forms of the
// report have them all.
var terminalFigures = []column{colReqs, colOut, colOutGPU, colTTFT, colTPOT, colP99TTFT, colVisible, colReasoning, colTool, colSuccess, colLoad, colGPUs}

func (t *terminal) best() {
	t.title(titleBest)
	for i, name := range t.c.FrameworkNames() {
		if i > 0 {
			t.line("")
		}
		t.line(t.paint(bold, clean(name)))
		best := t.c.Best(name)
		if len(best) == 0 {
			t.para("", "  ", "  ", t.noBest(name))
			continue
		}
		entries := t.entries(best)
		t.table(t.fitted(append([]column{colScenario, colCandidate}, terminalFigures...), entries))
		t.commands(entries)
	}
}

// commands shows each command once, under all the classes that it is best in.
func (t *terminal) commands(entries []result.Entry) {
	labels := map[string][]string{}
	var order []string
	for _, e := range entries {
		if c := e.Row.ServerCommand; labels[c] == nil {
			order = append(order, c)
		}
		labels[e.Row.ServerCommand] = append(labels[e.Row.ServerCommand], t.label(e))
	}
	for _, c := range order {
		t.command(strings.Join(labels[c], ", ")+":", c)
	}
}

func (t *terminal) cross() {
	t.title(titleCross)
	var all []result.Entry
	for _, k := range t.c.Classes {
		all = append(all, t.crossEntries(k)...)
	}
	if len(all) == 0 {
		t.para("", "", "", fmt.Sprintf("No candidate of any framework ran and met its SLA; the reasons are under %q.", titleFailed))
		return
	}
	t.table(t.fitted([]column{colScenario, colPlace, colFull, colVersus, colReqs, colOut, colOutGPU, colTTFT, colTPOT, colGPUs}, all))
}

func (t *terminal) section(title string, at []int, columns ...column) {
	if len(at) == 0 {
		return
	}
	t.title(title)
	t.table(t.fitted(columns, t.entries(at)))
}

func (t *terminal) failed() {
	if len(t.c.Failed) == 0 {
		return
	}
	t.title(titleFailed)
	for _, e := range t.entries(t.c.Failed) {
		if e.Row.Status == result.StatusSkipped {
			continue
		}
		what := e.Row.Status
		if what == result.StatusOK {
			what = "SLA missed"
		}
		t.line(fmt.Sprintf("%s  %s, %s", t.paint(bad, what), clean(fullName(e)), clean(t.label(e))))
		t.para("", "  ", "  ", e.Reason)
		t.command("", e.Row.ServerCommand)
	}
	t.skipped()
}

// skipped names together what was not tried for one reason: there can be many.
func (t *terminal) skipped() {
	names := map[string][]string{}
	var order []string
	for _, e := range t.entries(t.c.Failed) {
		if e.Row.Status != result.StatusSkipped {
			continue
		}
		key := t.label(e) + "\x00" + e.Reason
		if names[key] == nil {
			order = append(order, key)
		}
		names[key] = append(names[key], fullName(e))
	}
	for _, key := range order {
		class, reason, _ := strings.Cut(key, "\x00")
		t.para(bad, "", "  ", fmt.Sprintf("skipped  %s: %s", class, strings.Join(names[key], ", ")))
		t.para("", "  ", "  ", reason)
	}
}

func (t *terminal) superseded() {
	if len(t.c.Superseded) == 0 {
		return
	}
	t.title(titleSuperseded)
	for _, e := range t.entries(t.c.Superseded) {
		t.para("", "", "  ", fmt.Sprintf("%s, %s: %s (%s); replaced by %s", fullName(e), t.label(e), e.Row.Status, leftBehind(e), replacedBy(t.view, e)))
	}
}

func (t *terminal) notes() {
	t.line("")
	t.para(faint, "", "", "Ranking: "+t.c.Rule)
	t.para(faint, "", "", strings.Join(append([]string{latencyNote}, t.legend()...), ". ")+".")
	for _, s := range append(t.sent(), t.searched()...) {
		t.para(faint, "", "  ", s+".")
	}
}

// intervalsMayCost are the columns that may go so that intervals fit.
const intervalsMayCost = 2

// fitted are the cells of a table that fits the width: optional columns go, the
// least important first, and intervals before many of them.
func (t *terminal) fitted(columns []column, entries []result.Entry) grid {
	narrow, wide := t.view, t.view
	narrow.narrow, wide.narrow = true, false
	short := t.shrunk(narrow.fill(columns, entries))
	if long := t.shrunk(wide.fill(columns, entries)); t.natural(long) <= t.width && len(long.columns)+intervalsMayCost >= len(short.columns) && long.has(colVersus) == short.has(colVersus) {
		return long
	}
	t.narrow = true // for the legend, too
	return short
}

// shrunk leaves out optional columns until a table fits, as far as there are any.
func (t *terminal) shrunk(tab grid) grid {
	for t.natural(tab) > t.width {
		at := leastImportant(tab.columns)
		if at < 0 {
			break
		}
		tab = tab.without(at)
	}
	return tab
}

// table writes a table that fits the width: optional columns go, then texts are
// cut.
func (t *terminal) table(tab grid) {
	tab = t.shrunk(tab)
	w := table.NewWriter()
	style := table.StyleLight
	style.Options = table.Options{SeparateHeader: true}
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatDefault
	w.SetStyle(style)
	head := make(table.Row, len(tab.columns))
	configs := make([]table.ColumnConfig, len(tab.columns))
	over := t.natural(tab) - t.width
	for i, c := range tab.columns {
		head[i] = c.head
		configs[i] = table.ColumnConfig{Number: i + 1, Align: text.AlignLeft, AlignHeader: text.AlignLeft}
		if c.numeric {
			configs[i].Align, configs[i].AlignHeader = text.AlignRight, text.AlignRight
		} else if over > 0 {
			width := widest(tab, i)
			keep := max(width-over, 12)
			over -= max(width-keep, 0)
			configs[i].WidthMax, configs[i].WidthMaxEnforcer = keep, text.WrapSoft
		}
	}
	w.AppendHeader(head)
	w.SetColumnConfigs(configs)
	for _, cells := range tab.rows {
		row := make(table.Row, len(cells))
		for i, cell := range cells {
			row[i] = clean(cell)
		}
		w.AppendRow(row)
	}
	for l := range strings.Lines(w.Render()) {
		l = strings.TrimRight(l, "\n")
		if rule, ok := strings.CutSuffix(l, strings.Repeat("─", gap)); ok && strings.Trim(l, "─") == "" {
			l = rule // the last column needs no gap after it
		}
		t.line(l)
	}
}

const gap = 2 // blanks between columns

func widest(tab grid, i int) int {
	width := text.StringWidthWithoutEscSequences(tab.columns[i].head)
	for _, row := range tab.rows {
		width = max(width, text.StringWidthWithoutEscSequences(clean(row[i])))
	}
	return width
}

func (t *terminal) natural(tab grid) int {
	sum := 0
	for i := range tab.columns {
		sum += widest(tab, i) + gap
	}
	return sum - gap
}

// leastImportant is the optional column to leave out first; -1 = none.
func leastImportant(columns []column) int {
	at := -1
	for i, c := range columns {
		if c.optional > 0 && (at < 0 || c.optional > columns[at].optional) {
			at = i
		}
	}
	return at
}

// command writes a command broken at words, with the backslashes that a shell
// needs.
func (t *terminal) command(label, command string) {
	if command == "" {
		return
	}
	if label != "" {
		t.line("  " + t.paint(faint, clean(label)))
	}
	const indent, continued = "    ", "      "
	lead, room := indent, t.width-len(continued)-2
	for rest := clean(command); rest != ""; lead = continued {
		var l string
		l, rest = breakCommand(rest, room)
		if rest != "" {
			l += " \\"
		}
		t.line(lead + l)
	}
}

// breakCommand cuts a command at the last blank within the room that is outside
// of quotes; a word longer than the room stays whole.
func breakCommand(s string, room int) (line, rest string) {
	if len(s) <= room {
		return s, ""
	}
	cut, quote := -1, byte(0)
	for i := 0; i < len(s) && (i <= room || cut < 0); i++ {
		switch b := s[i]; {
		case quote != 0:
			if b == '\\' && quote == '"' {
				i++
			} else if b == quote {
				quote = 0
			}
		case b == '\\':
			i++
		case b == '\'' || b == '"':
			quote = b
		case b == ' ' && i > 0:
			cut = preferFlag(s, cut, i)
		}
	}
	if cut < 0 {
		return s, ""
	}
	return s[:cut], strings.TrimLeft(s[cut:], " ")
}

// preferFlag keeps a flag with its value: a later blank counts only when a flag
// follows it, or when there was none yet.
func preferFlag(s string, cut, i int) int {
	isFlag := func(at int) bool { return at >= 0 && strings.HasPrefix(s[at:], " -") }
	if isFlag(cut) && !isFlag(i) {
		return cut
	}
	return i
}
