package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"llmdyno/internal/artifact"
	"llmdyno/internal/engine"
	"llmdyno/internal/engine/all"
)

// app is the process state that every command shares. Nothing below cli reads
// the environment, the terminal or the standard streams.
type app struct {
	engines  engine.Set
	redactor *artifact.Redactor
	environ  []string
	stdin    io.Reader
	stdout   io.Writer
	stderr   io.Writer
	// terminal is the stderr of a person: progress may be drawn on it.
	terminal bool
	rawErr   io.Writer // stderr before redaction, for the terminal's own drawing
	width    int
	outWidth int // columns of stdout; 0 = no terminal
	quiet    bool
	noColor  bool
}

// Main runs the command line and returns the exit code. It never exits itself
// and reads nothing of the process but what it is given.
func Main(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{engines: all.Engines(), redactor: artifact.NewRedactor(), environ: environ, stdin: stdin, rawErr: stderr}
	a.redactor.AddEnviron(environ)
	out, errw := a.redactor.Writer(stdout), a.redactor.Writer(stderr)
	defer out.Close()
	defer errw.Close()
	a.stdout, a.stderr = out, errw
	a.terminal, a.width = terminalOf(stderr)
	_, a.outWidth = terminalOf(stdout)
	a.noColor = a.env("NO_COLOR") != "" || a.env("TERM") == "dumb"

	root := newRoot(a)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitDone
	}
	if msg := err.Error(); msg != "" {
		fmt.Fprintf(a.stderr, "llmdyno: %s\n", strings.ReplaceAll(strings.TrimSpace(msg), "\n", " "))
	}
	return codeOf(err)
}

func terminalOf(w io.Writer) (bool, int) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return false, 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		width = 80
	}
	return true, width
}

// env looks a variable up in the environment that Main was given.
func (a *app) env(name string) string {
	for _, kv := range a.environ {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			return v
		}
	}
	return ""
}

// logf writes one progress or warning line for people, unless --quiet. What
// was said on stdout before it stands before it on a terminal, too.
func (a *app) logf(format string, args ...any) {
	if !a.quiet {
		if w, ok := a.stdout.(*artifact.Writer); ok {
			w.Flush()
		}
		fmt.Fprintf(a.stderr, format+"\n", args...)
	}
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "llmdyno",
		Short: "A dynamometer for LLM serving engines",
		Long: `llmdyno mounts an LLM serving engine, loads it, measures it, explains it and tunes it.

It launches ` + titles(a.engines) + ` with the flags under test, or a simulated engine
where there is no GPU, drives it over HTTP and names the best deployment command
within an SLA, with everything that was tried.`,
		Example: `  llmdyno bench run cookbook:qwen3-coder-next --simulate --smoke
  llmdyno bench validate my-model.yaml
  llmdyno doctor`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noSubcommand,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return failf(ExitUsage, fmt.Sprintf("see: %s --help", c.CommandPath()), "%s: %w", c.CommandPath(), err)
	})
	root.PersistentFlags().BoolVar(&a.quiet, "quiet", false, "no progress, only results and errors")
	root.PersistentFlags().BoolVar(&a.noColor, "no-color", a.noColor, "no colours (also: NO_COLOR)")
	root.AddCommand(newBenchCommand(a), newDoctorCommand(a), newSimCommand(a), newLoadCommand(a), newProfileCommand(a), newIncidentCommand(a), newVersionCommand(a), newManCommand(a))
	return root
}

func titles(set engine.Set) string {
	names := make([]string, len(set))
	for i, e := range set {
		names[i] = e.Title
	}
	switch len(names) {
	case 0:
		return "an engine"
	case 1:
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

// noSubcommand refuses words after a command group with the nearest command.
func noSubcommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := fmt.Sprintf("see: %s --help", c.CommandPath())
	c.SuggestionsMinimumDistance = 2 // edits, as cobra's own suggestions
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("did you mean: %s %s", c.CommandPath(), near[0])
	}
	return failf(ExitUsage, hint, "%s: unknown command %q", c.CommandPath(), args[0])
}

// exactArgs is cobra's ExactArgs with our exit code and a hint.
func exactArgs(n int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		return failf(ExitUsage, "see: "+c.CommandPath()+" --help", "%s: expected %s, got %d arguments", c.CommandPath(), what, len(args))
	}
}

// atLeastOneArg refuses an empty list of arguments.
func atLeastOneArg(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return nil
		}
		return failf(ExitUsage, "see: "+c.CommandPath()+" --help", "%s: expected %s", c.CommandPath(), what)
	}
}

// group makes a command that only holds other commands.
func group(use, short, long, example string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Long: long, Example: example, Args: noSubcommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(subs...)
	return c
}

// oneOf checks the value of a flag with a closed set of values.
func oneOf(flag, value string, allowed ...string) error {
	for _, v := range allowed {
		if v == value {
			return nil
		}
	}
	return failf(ExitUsage, "use one of: "+strings.Join(allowed, ", "), "--%s %q is not a known value", flag, value)
}
