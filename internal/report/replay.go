package report

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"llmdyno/internal/incident/replay"
)

// replayRows bounds the requests that are shown one by one; the JSON has them all.
const replayRows = 20

// replayPage is a replay as titled pieces, in either form.
type replayPage struct {
	strings.Builder
	markdown bool
}

// Replay writes a replay as plain text.
func Replay(w io.Writer, d *replay.Document) error { return writeReplay(w, d, false) }

// ReplayMarkdown writes a replay as Markdown.
func ReplayMarkdown(w io.Writer, d *replay.Document) error { return writeReplay(w, d, true) }

// ReplayPlan writes what will be sent, before it is.
func ReplayPlan(w io.Writer, v *replay.PlanView, t replay.TargetView) error {
	p := &replayPage{}
	p.plan(v, t)
	return p.end(w)
}

func writeReplay(w io.Writer, d *replay.Document, markdown bool) error {
	p := &replayPage{markdown: markdown}
	p.document(d)
	return p.end(w)
}

func (p *replayPage) end(w io.Writer) error {
	if _, err := io.WriteString(w, strings.TrimRight(p.String(), "\n")+"\n"); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

func (p *replayPage) document(d *replay.Document) {
	if p.markdown {
		p.WriteString("# Replay\n")
	}
	if d.Error != "" {
		p.fact("Error", d.Error)
	}
	if d.Verdict != "" {
		p.fact("Verdict", replayWord(d.Verdict)+p.reason(d))
	}
	if d.Answer != "" {
		p.fact("Answer", strings.ReplaceAll(string(d.Answer), "_", " "))
	}
	p.asserted(d.Asserted)
	if d.Plan != nil {
		p.title("Sent")
		p.plan(d.Plan, d.Target)
	}
	for i, r := range d.Runs {
		name := "Outcome"
		if len(d.Runs) > 1 {
			name = fmt.Sprintf("Outcome of replay %d", i+1)
		}
		p.title(name)
		p.run(r)
	}
	if d.Minimize != nil {
		p.title("Smallest set")
		p.minimized(d.Minimize)
	}
}

func replayWord(w replay.Word) string { return strings.ReplaceAll(string(w), "_", " ") }

// reason is that of the first replay with the verdict.
func (p *replayPage) reason(d *replay.Document) string {
	for _, r := range d.Runs {
		if r.Verdict == d.Verdict {
			return " (" + r.Reason + ")"
		}
	}
	return ""
}

func (p *replayPage) title(s string) {
	if p.markdown {
		s = "## " + s
	}
	fmt.Fprintf(p, "\n%s\n\n", s)
}

func (p *replayPage) fact(name, value string) {
	value = oneLine(clean(value))
	if p.markdown {
		fmt.Fprintf(p, "- **%s:** %s\n", name, mdText(value))
		return
	}
	fmt.Fprintf(p, "%s: %s\n", name, value)
}

func (p *replayPage) table(head []string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	p.WriteString("\n")
	if p.markdown {
		fmt.Fprintf(p, "| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat(" --- |", len(head)))
		for _, r := range rows {
			cells := make([]string, len(r))
			for i, c := range r {
				cells[i] = mdText(c)
			}
			fmt.Fprintf(p, "| %s |\n", strings.Join(cells, " | "))
		}
		return
	}
	w := tabwriter.NewWriter(p, 0, 0, 2, ' ', 0)
	for _, r := range append([][]string{head}, rows...) {
		for i, c := range r {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, oneLine(clean(c)))
		}
		fmt.Fprintln(w)
	}
	w.Flush()
}

func (p *replayPage) plan(v *replay.PlanView, t replay.TargetView) {
	p.fact("Server", replayServer(t))
	if len(t.Command) > 0 {
		p.fact("Started by", strings.Join(t.Command, " "))
	}
	var paths []string
	for _, x := range v.Paths {
		paths = append(paths, fmt.Sprintf("%d to %s", x.Requests, x.Path))
	}
	p.fact("Requests", fmt.Sprintf("%d (%s), %d streamed, %d greedy, %s of bodies, at most %d tokens asked for", v.Requests, strings.Join(paths, ", "), v.Streaming, v.Greedy, replayBytes(v.Bytes), v.MaxTokens))
	pace := fmt.Sprintf("recorded over %.3f s, sent over %.3f s at speed %g, open loop", v.RecordedS, v.SpanS, v.Speed)
	if v.Concurrency > 0 {
		pace += fmt.Sprintf(" with at most %d in flight", v.Concurrency)
	}
	p.fact("Pace", pace)
	if n := len(v.Skipped); n > 0 {
		p.fact("Left out", fmt.Sprintf("%d requests, the first (%d): %s", n, v.Skipped[0].Index, v.Skipped[0].Reason))
	}
	for _, n := range v.Notes {
		p.fact("Not as recorded", fmt.Sprintf("%s (%d requests)", n.Note, n.Requests))
	}
	var rows [][]string
	for _, x := range v.Dropped {
		rows = append(rows, []string{x.Field, strconv.Itoa(x.Requests), x.Reason})
	}
	p.table([]string{"field not sent", "requests", "why"}, rows)
	p.items(v.Items)
}

// items shows the first requests; prompts by their size and hash.
func (p *replayPage) items(items []replay.Item) {
	var rows [][]string
	for i := range items[:min(len(items), replayRows)] {
		x := &items[i]
		rows = append(rows, []string{strconv.Itoa(x.Index), x.ID, fmt.Sprintf("%.3f", x.AtMs/1000), x.Path, strconv.Itoa(x.PromptTokens), strconv.Itoa(x.MaxTokens), x.PromptSHA256})
	}
	p.table([]string{"request", "id", "at s", "to", "prompt tokens", "max tokens", "prompt sha256"}, rows)
	if more := len(items) - len(rows); more > 0 {
		fmt.Fprintf(p, "\nand %d more requests\n", more)
	}
}

func replayServer(t replay.TargetView) string {
	name := t.Engine
	if name == "" {
		name = "engine not known"
	}
	return strings.Join(strings.Fields(strings.Join([]string{t.URL, name, t.Version, t.Model}, " ")), " ")
}

func replayBytes(n int) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}

func (p *replayPage) asserted(list []replay.Asserted) {
	var rows [][]string
	for _, a := range list {
		word, why := "cannot tell", a.Error
		if a.Holds != nil {
			if word = "holds"; !*a.Holds {
				word, why = "does not hold", fmt.Sprintf("in replay %d", a.Run)
			}
		}
		rows = append(rows, []string{a.Expr, word, why})
	}
	p.table([]string{"assertion", "answer", ""}, rows)
}

func (p *replayPage) run(r *replay.Run) {
	p.fact("Verdict", replayWord(r.Verdict)+": "+r.Reason)
	p.fact("Requests", fmt.Sprintf("%d planned, %d sent, %d succeeded, %d failed, %d never sent%s", r.Planned, r.Sent, r.Succeeded, r.Failed, r.Dropped, replayClasses(r.Failures)))
	if r.Died {
		p.fact("Server", strings.TrimSuffix("died; "+r.Health, "; "))
	} else if r.Health != "" {
		p.fact("Server", r.Health)
	}
	if r.Ended != "" {
		p.fact("Its end", r.Ended)
	}
	if t := r.TTFT; t != nil {
		p.fact("TTFT", fmt.Sprintf("p50 %.4g ms, p90 %.4g, p99 %.4g, max %.4g", t.P50, t.P90, t.P99, t.Max))
	}
	if t := r.E2E; t != nil {
		p.fact("E2E", fmt.Sprintf("p50 %.4g ms, p90 %.4g, p99 %.4g, max %.4g", t.P50, t.P90, t.P99, t.Max))
	}
	if t := r.Recorded.Elapsed; t != nil {
		p.fact("Recorded E2E", fmt.Sprintf("p50 %.4g ms, p90 %.4g, p99 %.4g, max %.4g", t.P50, t.P90, t.P99, t.Max))
	}
	if l := r.Lag; l != nil {
		text := fmt.Sprintf("p50 %.3f ms, p99 %.3f, max %.3f behind the schedule", l.P50, l.P99, l.Max)
		if s := r.SlotWait; s != nil {
			text += fmt.Sprintf("; of it waiting under the cap p99 %.3f ms, max %.3f", s.P99, s.Max)
		}
		p.fact("Lateness", text)
	}
	if g := r.GapError; g != nil {
		p.fact("Gaps", fmt.Sprintf("off by p50 %.3f ms, p99 %.3f, max %.3f", g.P50, g.P99, g.Max))
	}
	for _, w := range r.Warnings {
		p.fact("Warning", w.Message)
	}
	var rows [][]string
	for _, c := range r.Criteria {
		rows = append(rows, []string{c.Name, c.Recorded, c.Now, replayWord(c.Says)})
	}
	p.table([]string{"criterion", "recorded", "now", "says"}, rows)
	p.server(r)
	p.outcomes(r.Requests)
	if len(r.LastLines) > 0 {
		fmt.Fprintln(p, "\nLast lines of the server's log:")
		for _, l := range r.LastLines {
			fmt.Fprintf(p, "    %s\n", oneLine(clean(l)))
		}
	}
}

func replayClasses(failures map[string]int) string {
	var parts []string
	for class, n := range failures {
		parts = append(parts, fmt.Sprintf("%s %d", class, n))
	}
	if len(parts) == 0 {
		return ""
	}
	slices.Sort(parts)
	return " (" + strings.Join(parts, ", ") + ")"
}

// server shows what the server said of itself meanwhile.
func (p *replayPage) server(r *replay.Run) {
	if r.Server == nil {
		return
	}
	var rows [][]string
	for _, g := range r.Server.Gauges {
		rows = append(rows, []string{g.Quantity, fmt.Sprintf("%.4g", g.Mean), fmt.Sprintf("%.4g", g.Max), fmt.Sprintf("%.4g", g.Last)})
	}
	p.table([]string{"server", "mean", "max", "last"}, rows)
}

// outcomes shows the requests that stand out first: failures, then other texts or
// counts, then the slowest beside the recording.
func (p *replayPage) outcomes(all []replay.Outcome) {
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return replayWeight(&all[a]) - replayWeight(&all[b]) })
	var rows [][]string
	for _, i := range order[:min(len(order), replayRows)] {
		o := &all[i]
		state := "ok"
		if !o.OK {
			state = o.Class
		}
		was, tokens, text, elapsed := "-", "-", "-", "-"
		if x := o.Recorded; x != nil {
			if was = "finished"; !x.Finished {
				was = "unfinished"
			} else if x.FinishReason != "" {
				was = x.FinishReason
			}
			if x.CompletionTokens != nil {
				tokens = strconv.FormatInt(*x.CompletionTokens, 10)
			}
			if x.ElapsedSeconds != nil {
				elapsed = fmt.Sprintf("%.4g", 1000**x.ElapsedSeconds)
			}
		}
		if o.TextSame != nil {
			if text = "same"; !*o.TextSame {
				text = "differs"
			}
		}
		rows = append(rows, []string{strconv.Itoa(o.Index), o.ID, was, state, tokens, strconv.Itoa(o.OutputTokens), elapsed, replayNumber(o.E2EMs), replayNumber(o.TTFTMs), text, o.Error})
	}
	p.table([]string{"request", "id", "was", "is", "tokens was", "is", "ms was", "is", "ttft ms", "text", "error"}, rows)
	if more := len(all) - len(rows); more > 0 {
		fmt.Fprintf(p, "\nand %d more requests, which --format json lists\n", more)
	}
}

func replayWeight(o *replay.Outcome) int {
	switch {
	case !o.OK && o.Class != "connect" && o.Class != "dropped":
		return 0
	case !o.OK && o.Class != "dropped":
		return 1
	case !o.OK:
		return 2
	case o.TextSame != nil && !*o.TextSame:
		return 3
	case o.Recorded != nil && !o.Recorded.Finished:
		return 4
	}
	return 5
}

func replayNumber(x *float64) string {
	if x == nil {
		return "-"
	}
	return fmt.Sprintf("%.4g", *x)
}

func (p *replayPage) minimized(m *replay.Minimized) {
	if !m.Shows {
		p.fact("None", m.Note)
		return
	}
	p.fact("Sought", m.Sought)
	word := "without any one of them it is gone"
	if !m.Minimal {
		word = "perhaps not the smallest"
	}
	p.fact("Found", fmt.Sprintf("%d of %d requests, %s: %s", len(m.Requests), m.Of, word, replayList(m.Requests)))
	if len(m.IDs) > 0 {
		p.fact("Ids", strings.Join(m.IDs[:min(len(m.IDs), replayRows)], " "))
	}
	p.fact("Cost", fmt.Sprintf("%d tests, %d starts of the server", m.Tests, m.Restarts))
	if m.Note != "" {
		p.fact("Note", m.Note)
	}
	p.items(m.Items)
}

func replayList(list []int) string {
	var parts []string
	for _, n := range list[:min(len(list), replayRows)] {
		parts = append(parts, strconv.Itoa(n))
	}
	if len(list) > replayRows {
		parts = append(parts, "…")
	}
	return strings.Join(parts, " ")
}
