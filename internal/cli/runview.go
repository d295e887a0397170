package cli

import (
	"fmt"
	"strings"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"llmdyno/internal/bench/run"
)

// runView shows how far a run is: drawn live on a terminal, in plain lines
// elsewhere, not at all with --quiet. The returned func ends it.
func (a *app) runView() (func(run.Status), func()) {
	if a.quiet {
		return nil, func() {}
	}
	if !a.terminal {
		return a.plainView(), func() {}
	}
	return a.liveView()
}

// plainView writes a line for each thing that happened, and one when a
// candidate begins.
func (a *app) plainView() func(run.Status) {
	candidate := ""
	return func(s run.Status) {
		if s.Candidate != candidate && s.Candidate != "" && s.Scenario != "" {
			candidate = s.Candidate
			a.logf("[%d/%d%s] %s", s.Done, s.Total, eta(s.Left), candidate)
		}
		if s.Line != "" {
			a.logf("  %s", s.Line)
		}
	}
}

// eta is the time left in words, with a comma before it; "" = unknown.
func eta(left time.Duration) string {
	if left <= 0 {
		return ""
	}
	return ", about " + left.Round(time.Second).String() + " left"
}

// liveView draws at the foot of the terminal; finished things scroll up above.
// It reads no keys: an interrupt arrives as a signal, as everywhere.
func (a *app) liveView() (func(run.Status), func()) {
	p, end := a.draw(runModel{pen: a.pen(), began: time.Now()})
	return func(s run.Status) { p(s) }, end
}

// draw runs a model at the foot of the terminal. It returns what tells it
// something, and what ends it.
func (a *app) draw(m tea.Model) (tell func(tea.Msg), end func()) {
	p := tea.NewProgram(m, tea.WithInput(nil), tea.WithOutput(a.rawErr), tea.WithoutSignalHandler(), tea.WithEnvironment(a.environ))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// A terminal that cannot be drawn on costs the view, not the run.
		_, _ = p.Run()
	}()
	var once sync.Once
	tell = func(msg tea.Msg) {
		select {
		case <-ended:
		default:
			p.Send(msg)
		}
	}
	return tell, func() {
		once.Do(func() {
			p.Quit()
			<-ended
		})
	}
}

// pen writes the lines of a live view.
type pen struct {
	hide   func(string) string
	colour bool
	width  int
}

func (a *app) pen() pen { return pen{hide: a.redactor.String, colour: !a.noColor, width: a.width} }

// runModel is the state of the live view.
type runModel struct {
	pen
	status run.Status
	began  time.Time
	beat   int
}

type beatMsg struct{}

func beat() tea.Cmd { return tea.Tick(time.Second, func(time.Time) tea.Msg { return beatMsg{} }) }

func (m runModel) Init() tea.Cmd { return beat() }

func (m runModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case beatMsg:
		m.beat++
		return m, beat()
	case tea.WindowSizeMsg:
		m.width = msg.Width
	case run.Status:
		line := msg.Line
		msg.Line = ""
		m.status = msg
		if line != "" {
			return m, tea.Println(m.wrap(m.hide(line)))
		}
	}
	return m, nil
}

func (m runModel) View() tea.View {
	if m.status.Over {
		return tea.NewView("")
	}
	return tea.NewView(m.text())
}

func (m runModel) text() string {
	s := m.status
	var lines []string
	lines = append(lines, m.style(fmt.Sprintf("%s %d of %d rows, %s%s", bar(s.Done, s.Total), s.Done, s.Total, time.Since(m.began).Round(time.Second), eta(s.Left)), "6"))
	what := strings.TrimSpace(strings.Join([]string{s.Candidate, s.Scenario, s.Load}, "  "))
	if what != "" {
		lines = append(lines, m.clip("  "+what))
	}
	if s.Phase != "" {
		lines = append(lines, m.clip("  "+strings.TrimSuffix(s.Phase+": "+s.Detail, ": ")))
	}
	for _, b := range s.Best {
		lines = append(lines, m.style(m.clip(fmt.Sprintf("  best at %s: %s, %.3g req/s, TTFT %.0f ms, TPOT %.2f ms", b.Scenario, b.Candidate, b.RPS, b.TTFTMs, b.TPOTMs)), "2"))
	}
	return strings.Join(lines, "\n")
}

const barWidth = 20

// bar is a bar of progress.
func bar(done, total int) string {
	full := 0
	if total > 0 {
		full = barWidth * min(done, total) / total
	}
	return "[" + strings.Repeat("=", full) + strings.Repeat(" ", barWidth-full) + "]"
}

// clip hides secrets and cuts at the width of the terminal.
func (p pen) clip(s string) string {
	s = p.hide(s)
	if p.width <= 0 {
		return s
	}
	return lipgloss.NewStyle().MaxWidth(p.width).Inline(true).Render(s)
}

// wrap breaks a line that is worth reading whole.
func (p pen) wrap(s string) string {
	if p.width <= 0 {
		return s
	}
	return lipgloss.Wrap(s, p.width, " ")
}

func (p pen) style(s, colour string) string {
	if !p.colour {
		return s
	}
	return lipgloss.NewStyle().Foreground(lipgloss.Color(colour)).Render(s)
}
