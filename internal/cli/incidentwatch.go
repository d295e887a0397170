package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"llmdyno/internal/incident/bundle"
	"llmdyno/internal/incident/collect"
	"llmdyno/internal/incident/dump"
	"llmdyno/internal/incident/signal"
)

// watchRequest is what `llmdyno incident watch` is asked for.
type watchRequest struct {
	collectRequest
	on, rules []string
	most      time.Duration
	after     time.Duration
	look      time.Duration // between two looks
}

func newIncidentWatchCommand(a *app) *cobra.Command {
	var r watchRequest
	c := &cobra.Command{
		Use:   "watch --url URL… --on SIGNAL…",
		Short: "Wait for a signal, then collect",
		Long: `Asks the servers again and again, judges each answer together with the one before by the
rules of "llmdyno incident rules list", and collects a whole bundle as soon as one of the
named signals is raised. What is asked meanwhile is what collect asks, without this machine.

Exit codes: 0 a signal was raised and the bundle is written, 1 none was within --for,
2 wrong usage, 3 the bundle could not be written, 130 interrupted before a signal.`,
		Example: `  llmdyno incident watch --url http://127.0.0.1:30000 --on R-KV-SAT --on R-RETRACT
  llmdyno incident watch --targets servers.txt --on critical --every 15s --for 8h --watch 60s --out case.tar.zst`,
		Args: exactArgs(0, "only options"),
		RunE: func(c *cobra.Command, _ []string) error {
			r.look = watchEvery
			if c.Flags().Changed("every") {
				r.look = r.every
			}
			return a.runWatch(c.Context(), &r)
		},
	}
	r.flags(c)
	f := c.Flags()
	f.StringSliceVar(&r.on, "on", nil, "id of a signal, or a severity: "+strings.Join(signal.Severities, ", ")+" and above; may be repeated")
	f.StringArrayVar(&r.rules, "rules", nil, "folder with rules of your own; may be repeated")
	f.DurationVar(&r.most, "for", 0, "longest wait (default: until Ctrl-C)")
	f.DurationVar(&r.after, "watch", 0, "once the signal is raised, sample metrics and loads for so long")
	f.StringVar(&r.out, "out", "", "new folder, or FILE.tar.zst or FILE.tar.gz (default incident-TIME.tar.zst)")
	f.StringVar(&r.format, "format", "text", "text or json")
	c.Flags().Lookup("every").Usage = "between two looks (default 15s), and between two samples of --watch (1s)"
	return c
}

const watchEvery = 15 * time.Second

func (a *app) runWatch(ctx context.Context, r *watchRequest) error {
	if err := oneOf("format", r.format, "text", "json"); err != nil {
		return err
	}
	rules, err := a.loadRules(r.rules)
	if err != nil {
		return err
	}
	if err := r.known(rules); err != nil {
		return err
	}
	if r.most < 0 || r.after < 0 || r.every < 100*time.Millisecond {
		return failf(ExitUsage, "see: llmdyno incident watch --help", "--for and --watch must not be below 0, --every not below 100ms")
	}
	o, found, err := a.collectOptions(ctx, &r.collectRequest)
	if err != nil {
		return err
	}
	raised, err := a.waitFor(ctx, r, o, rules, r.look)
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return failf(ExitInterrupted, "", "interrupted: no signal until now")
	case raised == nil:
		return failf(ExitNo, "", "no signal within %s: %s", r.most, strings.Join(r.on, ", "))
	}
	a.logf("%s: %s (%s); collecting", raised.ID, raised.Title, strings.Join(raised.Evidence, "; "))
	o.Watch = r.after
	return a.collectAndShow(ctx, &r.collectRequest, o, found)
}

// known refuses what no rule is called.
func (r *watchRequest) known(rules *signal.Rules) error {
	var ids []string
	for _, x := range rules.List {
		ids = append(ids, x.ID)
	}
	if len(r.on) == 0 {
		return failf(ExitUsage, "see: llmdyno incident rules list", "llmdyno incident watch: name what to wait for: --on")
	}
	for _, on := range r.on {
		if !slices.Contains(ids, on) && !slices.Contains(signal.Severities, on) {
			return failf(ExitUsage, "use one of: "+strings.Join(slices.Concat(signal.Severities, ids), ", "), "--on %q is no signal", on)
		}
	}
	return nil
}

// waitFor looks until a signal is raised; nil = the time is over. Of the looks
// only the last is kept, to compare the next one with.
func (a *app) waitFor(ctx context.Context, r *watchRequest, o collect.Options, rules *signal.Rules, every time.Duration) (*signal.Finding, error) {
	dir, err := os.MkdirTemp("", "llmdyno-watch-*")
	if err != nil {
		return nil, fail(ExitFailed, "", fmt.Errorf("a place for what is seen: %w", err))
	}
	defer os.RemoveAll(dir)
	o.Host, o.Watch, o.Say = nil, 0, nil
	var before *bundle.Bundle
	defer func() { closeBundle(before) }()
	began := time.Now()
	for n := 0; ; n++ {
		now, err := a.look(ctx, r, o, filepath.Join(dir, fmt.Sprint(n)))
		if err != nil || ctx.Err() != nil {
			closeBundle(now)
			return nil, err
		}
		s, err := signal.Summarize(now, signal.Options{Engines: a.engines, Rules: rules, Before: before})
		if err != nil {
			closeBundle(now)
			return nil, fail(ExitFailed, "", err)
		}
		if x := r.raised(s); x != nil {
			closeBundle(now)
			return x, nil
		}
		closeBundle(before)
		if n > 0 {
			os.RemoveAll(filepath.Join(dir, fmt.Sprint(n-1)))
		}
		before = now
		next := began.Add(time.Duration(n+1) * every)
		if r.most > 0 && next.Sub(began) > r.most {
			return nil, nil
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(time.Until(next)):
		}
	}
}

func closeBundle(b *bundle.Bundle) {
	if b != nil {
		b.Close()
	}
}

func (a *app) look(ctx context.Context, r *watchRequest, o collect.Options, dir string) (*bundle.Bundle, error) {
	w, err := bundle.Create(dir, a.bundleManifest(&r.collectRequest, o), a.redactor)
	if err != nil {
		return nil, fail(ExitFailed, "", err)
	}
	out, err := collect.Run(ctx, o, w)
	if err == nil {
		_, err = w.Finish(out.State)
	}
	if err != nil {
		return nil, fail(ExitFailed, "", err)
	}
	return a.openBundle(dir)
}

// raised is the first finding that is waited for.
func (r *watchRequest) raised(s *signal.Summary) *signal.Finding {
	for i, x := range s.Signals {
		for _, on := range r.on {
			if at := slices.Index(signal.Severities, on); x.ID == on || at >= 0 && slices.Index(signal.Severities, x.Severity) >= at {
				return &s.Signals[i]
			}
		}
	}
	return nil
}

// takeDump gives the neutral requests of a dump, as text that can be redacted.
func (a *app) takeDump(ctx context.Context, path string) ([]byte, error) {
	d, err := dump.Open(ctx, []string{path}, dump.Options{Engines: a.engines})
	if err != nil {
		return nil, err
	}
	reqs, err := dump.Requests(d)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = dump.WriteRequests(&out, []string{path}, reqs)
	return out.Bytes(), err
}
