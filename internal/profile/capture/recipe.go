package capture

import (
	"fmt"
	"strconv"
	"strings"

	"llmdyno/internal/engine"
)

// RecipeRequest is what a launch for profiling is to be like.
type RecipeRequest struct {
	Engine  *engine.Engine
	Version string // "" = the newest
	Model   string
	TP      int
	Dir     string // of the traces, by the server's own path
	Port    int    // of the formal server; the mapping one has the next but one
	Graphs  string // "on", "off", "" = both
	Warmup  int
	Steps   int
}

// Recipe is how servers are launched so that they can be profiled, as lines for a
// shell: with graphs as they are used, and without for the mapping.
func Recipe(q RecipeRequest) (string, error) {
	p := q.Engine.Profiler
	if p == nil {
		return "", fmt.Errorf("%s has no torch profiler", q.Engine.Title)
	}
	var b strings.Builder
	if q.Graphs != "off" {
		fmt.Fprintf(&b, "# %s, formal: as it serves, with its graphs\n%s\n", q.Engine.Title, q.launch(q.Port, "formal", nil))
	}
	if q.Graphs != "on" {
		fmt.Fprintf(&b, "# %s, mapping: without graphs, so that each kernel knows who launched it\n", q.Engine.Title)
		if p.GraphsFile != "" {
			fmt.Fprintf(&b, "printf %s > %s\n", quoteWord(strings.ReplaceAll(p.GraphsFile, "\n", `\n`)), p.Graphs[len(p.Graphs)-1])
		}
		fmt.Fprintf(&b, "%s\n", q.launch(q.Port+2, "mapping", p.Graphs))
	}
	q.atLaunch(&b)
	fmt.Fprintf(&b, "# Then\n%s\n", q.capture())
	if p.Stacks != "" {
		fmt.Fprintf(&b, "# Note: %s.\n", p.Stacks)
	}
	for _, t := range p.Traps {
		if t.Until == "" || q.Version == "" || engine.CompareVersions(q.Version, t.Until) <= 0 {
			fmt.Fprintf(&b, "# Known: %s; %s.\n", t.What, t.HandledHow)
		}
	}
	return b.String(), nil
}

// launch is one command line.
func (q RecipeRequest) launch(port int, role string, more []string) string {
	l, p := q.Engine.Launch, q.Engine.Profiler
	var words []string
	var env []engine.EnvVar
	if way, needed := p.EnableFor(q.Version); needed {
		flags, vars := way.Words(q.Dir + "/" + role)
		more, env = append(append([]string{}, flags...), more...), vars
	}
	for _, v := range env {
		words = append(words, v.Name+"="+quoteWord(v.Value))
	}
	words = append(words, l.Command...)
	option := func(key, value string) {
		if key != "" {
			words = append(words, q.Engine.Option(key), value)
		}
	}
	if l.ModelFlag == "" {
		words = append(words, quoteWord(q.Model))
	} else {
		option(l.ModelFlag, quoteWord(q.Model))
	}
	if q.TP > 1 {
		option(l.TP, strconv.Itoa(q.TP))
	}
	for _, r := range l.Required {
		option(r.Key, r.Value)
	}
	option(l.HostFlag, l.Host)
	option(l.PortFlag, strconv.Itoa(port))
	for _, w := range more {
		words = append(words, quoteWord(w))
	}
	return strings.Join(words, " ")
}

// atLaunch shows the environment of a profile without any request.
func (q RecipeRequest) atLaunch(b *strings.Builder) {
	a := q.Engine.Profiler.AtLaunch
	if a == nil {
		return
	}
	first := map[string]int{stagePrefill: q.Warmup, stageDecode: q.Warmup + 1}
	for _, stage := range []string{stagePrefill, stageDecode} {
		fmt.Fprintf(b, "# Without the routes of the profiler (404): one launch a stage with this before the command, and capture --at-launch --workload %s\n", stage)
		for _, v := range a.Env(q.Dir+"/"+stage+"/trace.json", first[stage], first[stage]+q.Steps) {
			fmt.Fprintf(b, "%s=%s ", v.Name, v.Value)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(b, "# Note: %s.\n", a.Note)
}

func (q RecipeRequest) capture() string {
	words := []string{"llmdyno", "profile", "capture", "--framework", string(q.Engine.ID)}
	dir := func(flag, role string) {
		if !q.Engine.Profiler.NamesFolder {
			words = append(words, flag, q.Dir+"/"+role)
		}
	}
	url := func(port int) string { return "http://127.0.0.1:" + strconv.Itoa(port) }
	switch q.Graphs {
	case "on":
		words = append(words, "--url", url(q.Port))
		dir("--server-dir", "formal")
	case "off":
		words = append(words, "--url", url(q.Port+2))
		dir("--server-dir", "mapping")
	default:
		words = append(words, "--formal-url", url(q.Port), "--mapping-url", url(q.Port+2))
		dir("--formal-server-dir", "formal")
		dir("--mapping-server-dir", "mapping")
	}
	return strings.Join(words, " ")
}

// quoteWord makes a word safe for a shell.
func quoteWord(w string) string {
	if w != "" && !strings.ContainsAny(w, " \t\n'\"\\$`{}[]()*?<>|&;#~!") {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}
