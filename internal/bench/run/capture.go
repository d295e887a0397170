package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"llmdyno/internal/artifact"
	"llmdyno/internal/bench/result"
	"llmdyno/internal/engine"
)

// The bounds on a --version and on a --help where the engine states none.
const (
	versionTimeout = 60 * time.Second
	helpTimeout    = 120 * time.Second
)

// capture asks an installed engine for its version and its help.
func (r *runner) capture(ctx context.Context, id engine.ID) error {
	e, _ := r.set.Lookup(string(id))
	ep := r.plan.engine(id)
	facts := EngineFacts{ID: id}
	text, err := r.help(ctx, e, ep, &facts)
	if err != nil {
		return err
	}
	if facts.Missing == "" {
		facts.Version = r.version(ctx, e, ep)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if len(text) > 0 {
		facts.Help = "help/" + string(id) + ".txt"
		if err := r.folder.WriteFile(facts.Help, text); err != nil {
			return err
		}
	}
	if facts.Version != "" {
		err := r.folder.Update(func(m *artifact.Meta) {
			if m.Engines == nil {
				m.Engines = map[string]string{}
			}
			m.Engines[string(id)] = facts.Version
		})
		if err != nil {
			return err
		}
	}
	if facts.Missing != "" {
		r.show.say("%s: %s", e.Title, facts.Missing)
	}
	return r.record(Entry{Kind: KindEngine, Engine: &facts})
}

func (r *runner) argv(id engine.ID, argv []string) []string {
	if r.Rewrite == nil || !r.plan.Simulated {
		return argv
	}
	return r.Rewrite(r.plan, id, argv)
}

// help captures the help text. An error is one of the session; an engine that
// cannot be used is a fact.
func (r *runner) help(ctx context.Context, e *engine.Engine, ep EnginePlan, facts *EngineFacts) ([]byte, error) {
	timeout := helpTimeout
	if e.Help.Timeout > 0 {
		timeout = e.Help.Timeout
	}
	var first, pooled []byte
	exit, words := 0, ep.Command
	options := engine.HelpFlags{}
	for _, argv := range helpCommands(e, ep) {
		out, code, err := r.Backend.Output(ctx, r.argv(ep.ID, argv), ep.Env, timeout)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			facts.Missing = fmt.Sprintf("not installed: %s; install it, set frameworks.%s.server_command to the full path of its program, leave it out with --engines, or try the flow with --simulate", absent(argv[0], err), ep.ID)
			return nil, nil
		}
		if flags := e.Help.Parse(string(out)); len(flags) > 0 {
			maps.Copy(options, flags)
			pooled = append(pooled, out...)
			if len(e.Help.Commands) == 0 {
				break
			}
			continue
		}
		if first == nil {
			first, exit, words = out, code, argv
			if err != nil && len(out) == 0 {
				first = []byte(err.Error())
			}
		}
	}
	if len(options) > 0 {
		facts.Options = slices.Sorted(maps.Keys(options))
		return pooled, nil
	}
	if exit != 0 {
		facts.Missing = fmt.Sprintf("not installed, or broken: `%s` ended with exit code %d: %s; install it into the environment that server_command uses, leave it out with --engines, or try the flow with --simulate", strings.Join(words, " "), exit, lastLine(first))
		return first, nil
	}
	if len(words) > len(ep.Command) || len(e.Help.Commands) > 0 {
		facts.Warnings = append(facts.Warnings, result.Warning{Code: "no-help", Message: fmt.Sprintf("`%s` printed no option that could be read: flags were not checked against the installed version", strings.Join(words, " "))})
	}
	return first, nil
}

// helpCommands are the command lines that print an engine's help: tried in turn
// until one defines a flag, or all of them where the engine's own lists none.
func helpCommands(e *engine.Engine, ep EnginePlan) [][]string {
	if len(e.Help.Commands) > 0 {
		return e.Help.Commands
	}
	var list [][]string
	for _, args := range e.Help.Args {
		list = append(list, slices.Concat(ep.Command, args))
	}
	return list
}

// absent says in short why a program cannot be run.
func absent(program string, err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("%q may not be executed", program)
	case strings.Contains(program, "/"):
		return fmt.Sprintf("%q does not exist", program)
	}
	return fmt.Sprintf("%q is not in PATH", program)
}

// version is the installed version; "" = it did not say.
func (r *runner) version(ctx context.Context, e *engine.Engine, ep EnginePlan) string {
	if len(ep.Version) == 0 || e.Launch.VersionPattern == nil {
		return ""
	}
	out, _, err := r.Backend.Output(ctx, r.argv(ep.ID, ep.Version), ep.Env, versionTimeout)
	if err != nil {
		return ""
	}
	if m := e.Launch.VersionPattern.FindSubmatch(out); len(m) > 1 {
		return string(m[1])
	}
	return ""
}

// lastLine is the last line with text, bounded.
func lastLine(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	line := strings.ToValidUTF8(strings.TrimSpace(lines[len(lines)-1]), "")
	if line == "" {
		return "it printed nothing"
	}
	if r := []rune(line); len(r) > 200 {
		line = string(r[:200]) + "…"
	}
	return line
}
