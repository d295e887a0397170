package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"charm.land/lipgloss/v2"
	"charm.land/lipgloss/v2/table"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"llmdyno/internal/artifact"
	"llmdyno/internal/engine"
	"llmdyno/internal/launch"
)

// doctorReport is what `doctor --format json` prints.
type doctorReport struct {
	SchemaVersion int            `json:"schema_version"`
	Host          artifact.Host  `json:"host"`
	Limits        doctorLimits   `json:"limits"`
	GPUs          []launch.GPU   `json:"gpus"`
	Engines       []doctorEngine `json:"engines"`
	Tools         []doctorTool   `json:"tools"`
	Missing       []doctorGap    `json:"missing"`
}

// doctorLimits are the limits of this process and machine; absent = not known.
type doctorLimits struct {
	AvailableBytes int64  `json:"available_memory_bytes,omitempty"`
	OpenFiles      uint64 `json:"open_files,omitempty"`     // of one process: the hard limit, which this program raises itself to
	PortFrom       int    `json:"port_from,omitempty"`      // ports of outgoing connections
	PortTo         int    `json:"port_to,omitempty"`        // inclusive
	Processes      uint64 `json:"user_processes,omitempty"` // of one user, threads included; 0 = not known or no limit
}

type doctorEngine struct {
	Engine  engine.ID `json:"engine"`
	Title   string    `json:"title"`
	Found   bool      `json:"found"`
	Version string    `json:"version,omitempty"`
	Command string    `json:"command"`           // that was asked
	Problem string    `json:"problem,omitempty"` // why it has no version
}

type doctorTool struct {
	Tool    string `json:"tool"`
	For     string `json:"for"`
	Found   bool   `json:"found"`
	Version string `json:"version,omitempty"`
	Detail  string `json:"detail,omitempty"`
	Problem string `json:"problem,omitempty"` // found, but it does not work
}

// doctorGap is something that is not there, with what it is needed for.
type doctorGap struct {
	What string `json:"what"`
	For  string `json:"for"`
	Do   string `json:"do"`
}

func newDoctorCommand(a *app) *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine offers, and what is missing for what",
		Long: `Look for engines and their versions, GPUs and their driver, container runtimes,
Slurm and Kubernetes, memory, CPUs, and the limits on open files and ports.

Nothing is installed, changed or left running. Engines are asked for their version in
parallel; some need half a minute for it. Exit code 0 whatever is found: what is missing
is listed with what it would be needed for.`,
		Example: "  llmdyno doctor\n  llmdyno doctor --format json",
		Args:    exactArgs(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := oneOf("format", format, "text", "json"); err != nil {
				return err
			}
			a.logf("asking engines and tools for their versions …")
			r := a.examine(c.Context())
			if err := c.Context().Err(); err != nil {
				return failf(ExitInterrupted, "nothing was changed; run it again", "doctor: interrupted")
			}
			if format == "json" {
				return a.printJSON(r)
			}
			a.showDoctor(r)
			return nil
		},
	}
	c.Flags().StringVar(&format, "format", "text", "text or json")
	return c
}

// toolTimeout bounds one question to a tool: a client whose server is away may
// hang.
const toolTimeout = 10 * time.Second

// versionTimeout bounds one engine: importing its libraries takes up to half a
// minute from a cold disk.
const versionTimeout = 90 * time.Second

// doctorQuestion is how a tool is asked. detail, when there is one, is asked
// after its version; what it answers is shown as it is.
type doctorQuestion struct {
	tool, use string
	version   []string
	detail    []string
}

var doctorQuestions = []doctorQuestion{
	{"docker", "servers in containers", []string{"version", "--format", "{{.Server.Version}}"}, nil},
	{"podman", "servers in containers", []string{"--version"}, nil},
	{"sinfo", "servers on a Slurm cluster", []string{"--version"}, []string{"--noheader", "--format=%P %D nodes %G"}},
	{"kubectl", "servers on a Kubernetes cluster", []string{"version", "--client"}, []string{"config", "current-context"}},
	{"ssh", "servers on other machines", []string{"-V"}, nil},
}

// examine asks everything at once.
func (a *app) examine(ctx context.Context) doctorReport {
	local := launch.NewLocal(a.environ)
	r := doctorReport{
		SchemaVersion: 1, Host: artifact.ThisHost(), Limits: limitsOf("/proc"), GPUs: []launch.GPU{}, Missing: []doctorGap{},
		Engines: make([]doctorEngine, len(a.engines)), Tools: make([]doctorTool, len(doctorQuestions)),
	}
	var gpuTools []doctorTool
	var all sync.WaitGroup
	for i, e := range a.engines {
		all.Go(func() { r.Engines[i] = askEngine(ctx, local, e) })
	}
	for i, q := range doctorQuestions {
		all.Go(func() { r.Tools[i] = q.ask(ctx, local) })
	}
	all.Go(func() {
		for _, g := range launch.ReportGPUs(ctx, local) {
			r.GPUs = append(r.GPUs, g.GPUs...)
			gpuTools = append(gpuTools, doctorTool{Tool: g.Tool, For: "the list of GPUs", Found: g.Found, Problem: g.Problem})
		}
	})
	all.Wait()
	r.Tools = append(gpuTools, r.Tools...)
	r.Missing = append(r.Missing, r.gaps(titles(a.engines))...)
	return r
}

func askEngine(ctx context.Context, b launch.Backend, e *engine.Engine) doctorEngine {
	d := doctorEngine{Engine: e.ID, Title: e.Title, Command: strings.Join(e.Launch.Command, " ")}
	if len(e.Launch.Version) == 0 {
		d.Problem = "it cannot be asked for a version"
		return d
	}
	out, exit, err := b.Output(ctx, e.Launch.Version, nil, versionTimeout)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.Problem = "not installed: " + e.Launch.Version[0] + " is not in PATH"
	case err != nil:
		d.Problem = err.Error()
	case exit != 0:
		d.Problem = fmt.Sprintf("not installed: %s", lastLine(out, exit))
	default:
		if m := e.Launch.VersionPattern.FindSubmatch(out); len(m) > 1 {
			d.Found, d.Version = true, string(m[1])
		} else {
			d.Problem = fmt.Sprintf("%s printed no version: %s", e.Launch.Version[0], lastLine(out, exit))
		}
	}
	return d
}

var versionNumber = regexp.MustCompile(`\d+\.\d+[0-9A-Za-z.+-]*`)

func (q doctorQuestion) ask(ctx context.Context, b launch.Backend) doctorTool {
	d := doctorTool{Tool: q.tool, For: q.use, Found: true}
	out, exit, err := b.Output(ctx, append([]string{q.tool}, q.version...), nil, toolTimeout)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.Found = false
		return d
	case err != nil:
		d.Problem = err.Error()
		return d
	case exit != 0:
		d.Problem = lastLine(out, exit)
		return d
	}
	d.Version = string(versionNumber.Find(out))
	if q.detail == nil {
		return d
	}
	switch out, exit, err = b.Output(ctx, append([]string{q.tool}, q.detail...), nil, toolTimeout); {
	case err != nil:
		d.Problem = err.Error()
	case exit != 0:
		d.Problem = lastLine(out, exit)
	default:
		d.Detail = shorten(strings.Join(strings.FieldsFunc(strings.TrimSpace(string(out)), func(r rune) bool { return r == '\n' || r == '\r' }), "; "))
	}
	return d
}

// lastLine is the last line that a failed command printed: where its reason
// stands.
func lastLine(out []byte, exit int) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if s := strings.TrimSpace(shorten(lines[len(lines)-1])); s != "" {
		return s
	}
	return fmt.Sprintf("exit code %d and no message", exit)
}

// shorten bounds foreign text and makes it printable on one line.
func shorten(s string) string {
	const most = 200
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// limitsOf reads the limits; proc is where /proc is.
func limitsOf(proc string) doctorLimits {
	var l doctorLimits
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) == nil {
		l.OpenFiles = r.Max
	}
	if unix.Getrlimit(unix.RLIMIT_NPROC, &r) == nil && r.Cur != unix.RLIM_INFINITY {
		l.Processes = r.Cur
	}
	if b, err := os.ReadFile(proc + "/sys/net/ipv4/ip_local_port_range"); err == nil {
		if _, err := fmt.Sscan(string(b), &l.PortFrom, &l.PortTo); err != nil {
			l.PortFrom, l.PortTo = 0, 0
		}
	}
	b, _ := os.ReadFile(proc + "/meminfo")
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			if kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64); err == nil {
				l.AvailableBytes = kb * 1024
			}
		}
	}
	return l
}

// What a load needs: every request in flight holds one file and one port.
const (
	fewFiles = 4096
	fewPorts = 8192
)

func (r doctorReport) gaps(engines string) (gaps []doctorGap) {
	gap := func(missing bool, what, use, do string) {
		if missing {
			gaps = append(gaps, doctorGap{what, use, do})
		}
	}
	found, working := 0, map[string]bool{}
	for _, e := range r.Engines {
		if e.Found {
			found++
		}
	}
	for _, t := range r.Tools {
		working[t.Tool] = t.Found && t.Problem == ""
	}
	gap(found == 0, "an engine", "bench run without --simulate", "install "+engines+", or use --simulate")
	gap(len(r.GPUs) == 0, "a GPU", "figures of engines that need one", "use --simulate here, and a machine with GPUs and their driver for real figures")
	gap(!working["docker"] && !working["podman"], "a container runtime", "servers in containers", "install docker or podman, and start its service")
	gap(!working["sinfo"], "Slurm", "servers on a Slurm cluster", "run on a login node of the cluster")
	gap(!working["kubectl"], "Kubernetes", "servers on a Kubernetes cluster", "install kubectl and choose a context")
	gap(r.Limits.OpenFiles > 0 && r.Limits.OpenFiles < fewFiles, "open files",
		fmt.Sprintf("more than about %d requests in flight", r.Limits.OpenFiles*3/4), "raise the hard limit (ulimit -Hn, LimitNOFILE=)")
	ports := r.Limits.PortTo - r.Limits.PortFrom + 1
	gap(r.Limits.PortTo > 0 && ports < fewPorts, "outgoing ports",
		fmt.Sprintf("more than %d connections to one server", ports), "widen net.ipv4.ip_local_port_range")
	return gaps
}

func (a *app) showDoctor(r doctorReport) {
	h, l := r.Host, r.Limits
	machine := [][]string{
		{"system", strings.Join(nonEmpty(h.OS, h.Kernel, h.Arch), ", ")},
		{"CPUs", strings.Join(nonEmpty(strconv.Itoa(h.Cores), h.CPU), ", ")},
		{"memory", fmt.Sprintf("%s, %s available", gib(h.MemoryBytes), gib(l.AvailableBytes))},
		{"open files", strconv.FormatUint(l.OpenFiles, 10)},
		{"outgoing ports", fmt.Sprintf("%d to %d", l.PortFrom, l.PortTo)},
	}
	a.section("Machine", nil, machine)
	var gpus, engines, tools, gaps [][]string
	for _, g := range r.GPUs {
		gpus = append(gpus, []string{strconv.Itoa(g.Index), g.Name, gib(g.MemoryBytes), g.Arch, g.Driver})
	}
	a.section("GPUs", []string{"index", "name", "memory", "architecture", "driver"}, gpus)
	for _, e := range r.Engines {
		engines = append(engines, []string{e.Title, orDash(e.Version), e.Problem})
	}
	a.section("Engines", []string{"engine", "version", ""}, engines)
	for _, t := range r.Tools {
		state := t.Detail
		switch {
		case !t.Found:
			state = "not installed"
		case t.Problem != "":
			state = t.Problem
		}
		tools = append(tools, []string{t.Tool, orDash(t.Version), t.For, state})
	}
	a.section("Tools", []string{"tool", "version", "for", ""}, tools)
	for _, g := range r.Missing {
		gaps = append(gaps, []string{g.What, g.For, g.Do})
	}
	a.section("Missing", []string{"what", "needed for", "what to do"}, gaps)
}

func nonEmpty(words ...string) (out []string) {
	for _, w := range words {
		if w != "" {
			out = append(out, w)
		}
	}
	return out
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func gib(bytes int64) string {
	if bytes <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
}

// section writes a titled table, as wide as its cells or the terminal.
func (a *app) section(title string, head []string, rows [][]string) {
	fmt.Fprintln(a.stdout, title)
	if len(rows) == 0 {
		fmt.Fprint(a.stdout, "  none\n\n")
		return
	}
	cell := lipgloss.NewStyle().PaddingLeft(2)
	t := table.New().Border(lipgloss.HiddenBorder()).BorderTop(false).BorderBottom(false).BorderLeft(false).BorderRight(false).
		BorderHeader(false).BorderColumn(false).Rows(rows...).StyleFunc(func(int, int) lipgloss.Style { return cell })
	if head != nil {
		t.Headers(head...)
	}
	text := t.Render()
	if a.outWidth > 0 && lipgloss.Width(text) > a.outWidth {
		text = t.Width(a.outWidth).Render()
	}
	for line := range strings.Lines(text) {
		fmt.Fprintln(a.stdout, strings.TrimRight(line, " \n"))
	}
	fmt.Fprintln(a.stdout)
}
