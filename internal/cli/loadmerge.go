package cli

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"llmdyno/internal/artifact"
	"llmdyno/internal/load"
	"llmdyno/internal/load/metric"
	"llmdyno/internal/load/shard"
	"llmdyno/internal/load/witness"
)

func newLoadMergeCommand(a *app) *cobra.Command {
	var r loadRequest
	c := &cobra.Command{
		Use:   "merge DIR…",
		Short: "Put the folders of a load's parts together and compute the figures anew",
		Long: `Join the folders that "llmdyno load --shard I/N --out DIR" has left into one load, and
compute its figures from the samples. One folder alone is computed anew, for example
with other limits. Every part must be there, and all of one load: same seed, options
and number of parts. Samples are added up. Of the server's own metrics, which each part
read for the whole server, the times are joined, and its counts stand once.

Exit codes: 0 done, 1 a limit was missed or the measurement is not valid, 2 wrong usage,
3 a folder could not be read or written.`,
		Example: `  llmdyno load merge part1 part2 part3 --out whole
  llmdyno load merge runs/one --slo ttft_p99=300ms --format json`,
		Args: atLeastOneArg("the folders of a load"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := oneOf("format", r.format, "text", "json", "md", "csv"); err != nil {
				return err
			}
			sla, err := parseSLO(r.slo)
			if err != nil {
				return fail(ExitUsage, "see: llmdyno load merge --help", fmt.Errorf("--slo: %w", err))
			}
			r.sla, r.argv = sla, slices.Concat([]string{"llmdyno", "load", "merge"}, args, given(c.Flags()))
			return a.mergeLoads(&r, args)
		},
	}
	f := c.Flags()
	f.StringVar(&r.slo, "slo", "", "limits to hold in place of those of the load")
	f.StringVar(&r.out, "out", "", "keep the merged samples, audit and summary in this folder, new or empty")
	f.StringVar(&r.html, "html", "", "write the report as one self-contained page to this file")
	f.StringVar(&r.format, "format", "text", "text, json, md or csv, on standard output")
	return c
}

func (a *app) mergeLoads(r *loadRequest, dirs []string) error {
	j := &loadJob{}
	p, m, err := a.mergeFolders(dirs)
	if err != nil {
		return a.failLoad(r, fail(ExitFailed, "", fmt.Errorf("llmdyno load merge: %w", err)))
	}
	if r.sla.Any() {
		p.SLA = r.sla
	}
	j.plan = p
	if err := a.openLoadFolder(r, j); err != nil {
		return a.failLoad(r, err)
	}
	if j.folder != nil {
		defer j.folder.Close()
	}
	return a.endLoad(r, j, m, false)
}

// mergeFolders joins the parts of a load.
func (a *app) mergeFolders(dirs []string) (loadPlan, measured, error) {
	type folder struct {
		plan loadPlan
		m    measured
	}
	var all []folder
	for _, dir := range dirs {
		p, m, err := a.readLoad(dir)
		if err != nil {
			return p, m, err
		}
		if len(all) > 0 && p.Fingerprint != all[0].plan.Fingerprint {
			return p, m, fmt.Errorf("%s is a part of another load than %s: its prompts or arrivals differ", dir, dirs[0])
		}
		all = append(all, folder{p, m})
	}
	slices.SortFunc(all, func(x, y folder) int { return cmp.Compare(x.plan.Part.I, y.plan.Part.I) })
	cut := 0.0
	parts, audits := make([]shard.Result, len(all)), make([]load.Audit, len(all))
	for i, f := range all {
		parts[i] = shard.Result{Part: f.plan.Part, Started: f.m.started, Duration: f.m.duration, Records: f.m.records}
		audits[i] = f.m.audit
		cut = max(cut, f.plan.CutAfterS)
	}
	whole, err := shard.Merge(parts)
	if err != nil {
		return loadPlan{}, measured{}, err
	}
	p := all[0].plan
	p.Part, p.CutAfterS = shard.Part{I: 1, N: 1}, cut
	m := measured{started: whole.Started, duration: whole.Duration, records: whole.Records, audit: audits[0]}
	if len(audits) > 1 {
		m.audit = shard.JoinAudits(audits, whole.Records)
	}
	heard := make([]*witness.Record, len(all))
	for i, f := range all {
		heard[i] = f.m.heard
		if f.plan.URL != p.URL {
			warn(&m, "several-urls", "part %s was sent to %s, part %s to %s: they are taken for one server", all[0].plan.Part, p.URL, f.plan.Part, f.plan.URL)
		}
	}
	m.joinWitness(p, heard)
	return p, m, nil
}

// joinWitness puts together what the server said to the clients of all parts. Each
// heard the whole server, so the times are joined and nothing is added up.
func (m *measured) joinWitness(p loadPlan, heard []*witness.Record) {
	var parts []witness.Record
	for i, h := range heard {
		if h == nil {
			if slices.ContainsFunc(heard, func(h *witness.Record) bool { return h != nil }) {
				warn(m, "no-server-metrics", "part %d did not keep what the server said: it is left out", i+1)
			}
			return
		}
		parts = append(parts, *h)
	}
	joined := witness.Join(parts, m.started)
	if len(joined.Readings) == 0 {
		return
	}
	m.heard = &joined
	if p.Warmup > 0 && parts[0].Began.After(m.started) {
		warn(m, "warm-up-within-load", "part 1 warmed up with %d requests after another part had begun: the server counted them with the load; give all parts one --start-at", p.Warmup)
	}
	m.reconcile(p)
}

func warn(m *measured, code, format string, args ...any) {
	m.warnings = append(m.warnings, metric.Warning{Code: code, Message: fmt.Sprintf(format, args...)})
}

// keepAudits keeps what each process did to the measurement beside the whole.
func keepAudits(folder *artifact.Run, audits []load.Audit) error {
	for i, x := range audits {
		if err := folder.WriteJSON(fmt.Sprintf("workers/%d/%s", i+1, loadClientName), x); err != nil {
			return err
		}
	}
	return nil
}
