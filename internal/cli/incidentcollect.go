package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/user"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"llmdyno/internal/engine"
	"llmdyno/internal/incident/bundle"
	"llmdyno/internal/incident/collect"
)

// collectRequest is what `llmdyno incident collect` is asked for.
type collectRequest struct {
	urls, includes, logs, dumps                 []string
	targets, k8s, slurm                         string
	port, metricsPort                           int
	framework, tokenEnv, out, format            string
	proxy, ca                                   string
	insecure, keepPrompts, noHost, includeDumps bool
	timeout, deadline, watch, every             time.Duration
	maxBody, logBytes                           int64
}

const collectSee = "see: llmdyno incident collect --help"

// collectMemory is the soft bound on memory while many servers are asked at once.
const collectMemory = 128 << 20

func newIncidentCollectCommand(a *app) *cobra.Command {
	var r collectRequest
	c := &cobra.Command{
		Use:   "collect --url URL…",
		Short: "Ask live servers what they say of themselves, and keep it in a bundle",
		Long: `Asks every server for its health, identity, configuration, load and metrics, all at once,
and writes the answers as they came, redacted, into one bundle with a manifest: safe to
hand on. Which server runs which engine is found out by asking; names of older versions
are tried after a 404.

It only reads. What a reading does to a server is known: SGLang's /health and
/health_generate run a generation, TensorRT-LLM's /health shuts a failed server down and
its /metrics takes records from other readers. Such endpoints are asked only when named
(--include health,health_generate or --include all); they go last.

A server that fails, hangs or is gone is part of the answer: each probe has a class of
error (dns, refused, tls, timeout, auth, status, truncated, too_large, not_json, broken,
cancelled). Interrupted with Ctrl-C, the bundle is complete up to then. Redirects are not
followed, and the environment's proxy is not used.

Of this machine go in GPUs, processes, ports, kernel messages about GPUs, and the
environment of the engines; --no-host leaves them out. Keys, tokens and passwords are
always redacted; prompts are replaced by length and hash unless --keep-prompts.

Exit codes: 0 done, 2 wrong usage, 3 no server gave any reply or the bundle could not be
written, 130 interrupted (the bundle is complete up to then).`,
		Example: `  llmdyno incident collect --url http://127.0.0.1:30000
  llmdyno incident collect --targets servers.txt --token-env KEY --watch 60s --every 1s --out case.tar.zst
  llmdyno incident collect --k8s prod/app=llm --include health --logs /var/log/llm.log`,
		Args: exactArgs(0, "only options"),
		RunE: func(c *cobra.Command, _ []string) error { return a.runCollect(c.Context(), &r) },
	}
	r.flags(c)
	f := c.Flags()
	f.StringVar(&r.out, "out", "", "new folder, or FILE.tar.zst or FILE.tar.gz (default incident-TIME.tar.zst)")
	f.DurationVar(&r.watch, "watch", 0, "sample metrics and loads for so long")
	f.StringVar(&r.format, "format", "text", "text or json")
	return c
}

// flags are those of every command that asks servers.
func (r *collectRequest) flags(c *cobra.Command) {
	f := c.Flags()
	f.SortFlags = false
	f.StringArrayVar(&r.urls, "url", nil, "a server: http://host:port, or https; may be repeated")
	f.StringVar(&r.targets, "targets", "", "file with one URL, or NAME URL, a line; - = standard input")
	f.StringVar(&r.k8s, "k8s", "", "label selector of pods, or NAMESPACE/SELECTOR; through kubectl")
	f.StringVar(&r.slurm, "slurm", "", "id of a Slurm job whose nodes are asked; through squeue, needs --port")
	f.IntVar(&r.port, "port", 0, "port of the servers that --k8s or --slurm find")
	f.StringVar(&r.framework, "engine", "auto", "engine of the servers; auto: found out by asking")
	f.StringVar(&r.tokenEnv, "token-env", "", "environment variable that holds the servers' key")
	f.StringSliceVar(&r.includes, "include", nil, "endpoints with an effect that may be asked, by name; all = every one")
	f.DurationVar(&r.every, "every", time.Second, "between two samples")
	f.DurationVar(&r.timeout, "timeout", collect.DefaultTimeout, "longest wait for one reply")
	f.DurationVar(&r.deadline, "deadline", 0, "longest time for everything (default: none)")
	f.Int64Var(&r.maxBody, "max-body", collect.DefaultMaxBody, "longest reply in bytes; the part below is kept")
	f.IntVar(&r.metricsPort, "metrics-port", 0, "port of the metrics where it is not the server's")
	f.StringArrayVar(&r.logs, "logs", nil, "log file whose end goes in; may be repeated")
	f.Int64Var(&r.logBytes, "log-bytes", 4<<20, "bytes of each log's end")
	f.StringArrayVar(&r.dumps, "dumps", nil, "folder or file of request or crash dumps, to be listed; may be repeated")
	f.BoolVar(&r.includeDumps, "include-dumps", false, "the requests of the dumps go in, too, in the neutral form and redacted")
	f.BoolVar(&r.keepPrompts, "keep-prompts", false, "keep prompts and generated text")
	f.BoolVar(&r.noHost, "no-host", false, "nothing of this machine")
	f.StringVar(&r.proxy, "proxy", "", "HTTP proxy to go through, as a URL (default: none, whatever the environment says)")
	f.StringVar(&r.ca, "ca", "", "PEM file with the certificate authority of https servers")
	f.BoolVar(&r.insecure, "insecure", false, "do not check certificates of https servers")
}

func (a *app) runCollect(ctx context.Context, r *collectRequest) error {
	if err := oneOf("format", r.format, "text", "json"); err != nil {
		return err
	}
	if r.watch < 0 || r.every < 100*time.Millisecond {
		return failf(ExitUsage, collectSee, "--watch %s, --every %s: expected a duration, and at least 100ms between two samples", r.watch, r.every)
	}
	o, found, err := a.collectOptions(ctx, r)
	if err != nil {
		return err
	}
	o.Watch = r.watch
	return a.collectAndShow(ctx, r, o, found)
}

// collectAndShow makes one bundle and says what came of it.
func (a *app) collectAndShow(ctx context.Context, r *collectRequest, o collect.Options, found []collect.Found) error {
	if r.out == "" {
		r.out = "incident-" + time.Now().UTC().Format("20060102-150405") + ".tar.zst"
	}
	out, res, err := a.collectInto(ctx, r, o, found)
	if err != nil {
		return fail(ExitFailed, "", err)
	}
	if err := a.printCollected(r.format, out, res); err != nil {
		return err
	}
	switch {
	case out.State == bundle.StateInterrupted:
		return failf(ExitInterrupted, "", "interrupted: %s holds what came until then", res.Path)
	case out.Reached == 0:
		return failf(ExitFailed, "check the URLs, the network and whether the servers run; read SUMMARY.txt in it", "none of %d server(s) gave a reply; %s says why", len(o.Targets), res.Path)
	}
	return nil
}

// collectInto makes one bundle.
func (a *app) collectInto(ctx context.Context, r *collectRequest, o collect.Options, found []collect.Found) (collect.Outcome, bundle.Result, error) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(collectMemory))
	w, err := bundle.Create(r.out, a.bundleManifest(r, o), a.redactor)
	if err != nil {
		return collect.Outcome{}, bundle.Result{}, err
	}
	for _, f := range found {
		if len(f.Body) > 0 {
			if err := w.Write(f.File, f.Body); err != nil {
				return collect.Outcome{}, bundle.Result{}, err
			}
			w.Host(bundle.File{Name: "discovery", File: f.File, Bytes: int64(len(f.Body))})
		}
	}
	if r.insecure {
		w.Note("certificates were not checked")
	}
	out, err := collect.Run(ctx, o, w)
	if err != nil {
		return out, bundle.Result{}, err
	}
	res, err := w.Finish(out.State)
	return out, res, err
}

func (a *app) bundleManifest(r *collectRequest, o collect.Options) bundle.Manifest {
	m := bundle.Manifest{Tool: "llmdyno", ToolVersion: a.build().Version, Started: time.Now().UTC(), TokenGiven: o.Key != "", Command: os.Args}
	if u, err := user.Current(); err == nil {
		m.User = u.Username
	}
	m.HostName, _ = os.Hostname() // absent when the machine has none
	m.Settings = bundle.Settings{Targets: len(o.Targets), TimeoutS: o.Timeout.Seconds(), DeadlineS: o.Deadline.Seconds(), MaxBody: o.MaxBody,
		WatchS: o.Watch.Seconds(), KeepPrompts: r.keepPrompts}
	if o.Watch > 0 {
		m.Settings.EveryS = o.Every.Seconds()
	}
	for _, name := range o.Include {
		m.Settings.Include = append(m.Settings.Include, string(name))
	}
	return m
}

// collectOptions checks all that was asked for before a single request is sent.
func (a *app) collectOptions(ctx context.Context, r *collectRequest) (collect.Options, []collect.Found, error) {
	o := collect.Options{Engines: a.engines, Timeout: r.timeout, Deadline: r.deadline, MaxBody: r.maxBody, Every: r.every, Say: a.logf}
	if r.timeout <= 0 || r.deadline < 0 || r.maxBody <= 0 || r.logBytes <= 0 {
		return o, nil, failf(ExitUsage, collectSee, "--timeout, --max-body and --log-bytes must be above 0, --deadline not below")
	}
	var err error
	if o.Include, err = a.includes(r.includes); err != nil {
		return o, nil, err
	}
	if r.tokenEnv != "" {
		if o.Key = a.env(r.tokenEnv); o.Key == "" {
			return o, nil, failf(ExitUsage, "set it to the servers' key", "--token-env: the environment has no variable %s", r.tokenEnv)
		}
		a.redactor.AddSecret(o.Key)
	}
	if o.TLS, o.Proxy, err = r.transport(); err != nil {
		return o, nil, err
	}
	if r.metricsPort != 0 {
		o.Ports = map[string]int{}
		for _, e := range a.engines {
			for _, ep := range e.Endpoints {
				if ep.Port != "" {
					o.Ports[ep.Port] = r.metricsPort
				}
			}
		}
	}
	if r.includeDumps && len(r.dumps) == 0 {
		return o, nil, failf(ExitUsage, "name them with --dumps", "--include-dumps: there are no dumps")
	}
	o.Host = a.hostOptions(r)
	if r.includeDumps {
		o.Host.TakeDump = func(path string) ([]byte, error) { return a.takeDump(ctx, path) }
	}
	found, err := a.collectTargets(ctx, r, &o)
	return o, found, err
}

func (a *app) hostOptions(r *collectRequest) *collect.HostOptions {
	h := &collect.HostOptions{System: !r.noHost, Environ: a.environ, Logs: r.logs, LogBytes: r.logBytes, Dumps: r.dumps}
	h.EnvPrefixes = []string{"CUDA_", "NVIDIA_", "NCCL_", "HIP_", "ROCR_", "RCCL_", "HSA_", "UCX_", "NVSHMEM_", "GLOO_", "MASTER_", "RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_", "OMP_", "PYTORCH_", "TORCH", "TRITON_", "HF_", "TRANSFORMERS_", "LD_LIBRARY_PATH", "LD_PRELOAD", "KUBERNETES_"}
	for _, e := range a.engines {
		for _, name := range append([]string{string(e.ID)}, e.Aliases...) {
			h.EnvPrefixes = append(h.EnvPrefixes, strings.ToUpper(strings.ReplaceAll(name, "-", "_"))+"_")
		}
	}
	return h
}

// includes reads the names of the endpoints with an effect.
func (a *app) includes(words []string) ([]engine.EndpointName, error) {
	var known []engine.EndpointName
	for _, e := range a.engines {
		for _, ep := range slices.Concat(e.Endpoints, e.Triage) {
			if ep.Effect != "" && !slices.Contains(known, ep.Name) {
				known = append(known, ep.Name)
			}
		}
	}
	var names []engine.EndpointName
	for _, w := range words {
		switch name := engine.EndpointName(w); {
		case w == "all":
			return known, nil
		case slices.Contains(known, name):
			names = append(names, name)
		default:
			list := make([]string, len(known))
			for i, k := range known {
				list[i] = string(k)
			}
			return nil, oneOf("include", w, append(list, "all")...)
		}
	}
	return names, nil
}

func (r *collectRequest) transport() (*tls.Config, *url.URL, error) {
	var proxy *url.URL
	if r.proxy != "" {
		u, err := url.Parse(r.proxy)
		if err != nil || u.Host == "" {
			return nil, nil, failf(ExitUsage, collectSee, "--proxy: expected a URL such as http://proxy:3128")
		}
		proxy = u
	}
	if r.ca == "" && !r.insecure {
		return nil, proxy, nil
	}
	conf := &tls.Config{InsecureSkipVerify: r.insecure}
	if r.ca != "" {
		pem, err := os.ReadFile(r.ca)
		if err != nil {
			return nil, nil, fail(ExitUsage, "", fmt.Errorf("--ca: %w", err))
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, nil, failf(ExitUsage, "", "--ca %s: it holds no PEM certificate", r.ca)
		}
	}
	return conf, proxy, nil
}

// collectTargets brings the servers together from all that names them.
func (a *app) collectTargets(ctx context.Context, r *collectRequest, o *collect.Options) ([]collect.Found, error) {
	for _, u := range r.urls {
		o.Targets = append(o.Targets, collect.Spec{URL: u})
	}
	if r.targets != "" {
		text, err := a.readSmall(r.targets)
		if err != nil {
			return nil, fail(ExitUsage, "", fmt.Errorf("--targets: %w", err))
		}
		specs, err := collect.ReadTargets(text)
		if err != nil {
			return nil, fail(ExitUsage, "", fmt.Errorf("--targets %s: %w", r.targets, err))
		}
		o.Targets = append(o.Targets, specs...)
	}
	var found []collect.Found
	for _, d := range []struct {
		what string
		find func(context.Context, collect.Runner, string, int) (collect.Found, error)
	}{{r.k8s, collect.Kubernetes}, {r.slurm, collect.Slurm}} {
		if d.what == "" {
			continue
		}
		f, err := d.find(ctx, collect.Exec, d.what, r.port)
		if err != nil {
			return nil, fail(ExitFailed, "", err)
		}
		found = append(found, f)
		o.Targets = append(o.Targets, f.Specs...)
	}
	if len(o.Targets) == 0 {
		return nil, failf(ExitUsage, collectSee, "name the servers: --url, --targets, --k8s or --slurm")
	}
	for i := range o.Targets {
		u, err := url.Parse(o.Targets[i].URL)
		if len(found) == 0 && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
			return nil, failf(ExitUsage, "", "server URL %q: expected http://host:port or https://host:port", o.Targets[i].URL)
		}
		if err == nil && (u.User != nil || u.RawQuery != "") {
			return nil, failf(ExitUsage, "give a key with --token-env", "server URL %s://%s: expected no user, password or query", u.Scheme, u.Host)
		}
	}
	if r.framework != "auto" {
		e, ok := a.engines.Lookup(r.framework)
		if !ok {
			return nil, failf(ExitUsage, "use one of: auto, "+joinIDs(a.engines), "--engine %q is not a known engine", r.framework)
		}
		for i := range o.Targets {
			o.Targets[i].Engine = e
		}
	}
	return found, nil
}

func joinIDs(set engine.Set) string {
	var words []string
	for _, id := range set.IDs() {
		words = append(words, string(id))
	}
	return strings.Join(words, ", ")
}

// readSmall reads a list that people write; - is standard input.
func (a *app) readSmall(name string) (string, error) {
	in := a.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, 16<<20))
	return string(b), err
}

// collected is the JSON of collect.
type collected struct {
	SchemaVersion int             `json:"schema_version"`
	Bundle        string          `json:"bundle"`
	State         string          `json:"state"`
	SizeBytes     int64           `json:"size_bytes,omitempty"`
	SHA256        string          `json:"sha256,omitempty"`
	Files         int             `json:"files"`
	Reached       int             `json:"reached"`
	Targets       []bundle.Target `json:"targets"`
}

func (a *app) printCollected(format string, out collect.Outcome, res bundle.Result) error {
	if format == "json" {
		return a.printJSON(collected{1, res.Path, out.State, res.Bytes, res.SHA256, res.Files, out.Reached, out.Targets})
	}
	for _, t := range out.Targets {
		what := strings.TrimSpace(t.Engine + " " + t.EngineVersion)
		if what == "" {
			what = "engine not recognised"
		}
		if p, none := silent(t); none {
			fmt.Fprintf(a.stdout, "%s  no reply: %s\n", t.URL, sayProbe(p))
			continue
		}
		fmt.Fprintf(a.stdout, "%s  %s\n", t.URL, what)
		for _, p := range t.Probes {
			if len(out.Targets) > 8 && p.OK() {
				continue
			}
			fmt.Fprintf(a.stdout, "  %-16s %-26s %s\n", p.Name, p.Path, sayProbe(p))
		}
		for _, note := range t.Notes {
			fmt.Fprintf(a.stdout, "  note: %s\n", note)
		}
	}
	fmt.Fprintf(a.stdout, "%s: %s, %d of %d server(s) answered, %d files\n", res.Path, out.State, out.Reached, len(out.Targets), res.Files)
	if res.SHA256 != "" {
		fmt.Fprintf(a.stdout, "%d bytes, sha256 %s\n", res.Bytes, res.SHA256)
	}
	return nil
}

// silent says that a server gave no reply at all, with the first probe as the reason.
func silent(t bundle.Target) (bundle.Probe, bool) {
	for _, p := range t.Probes {
		if p.Status != 0 {
			return p, false
		}
	}
	if len(t.Probes) == 0 {
		return bundle.Probe{Error: strings.Join(t.Notes, "; ")}, true
	}
	return t.Probes[0], true
}

func sayProbe(p bundle.Probe) string {
	if p.OK() {
		return fmt.Sprintf("%d  %.0f ms  %d bytes", p.Status, p.DurationMS, p.Bytes)
	}
	return fmt.Sprintf("%s  %.0f ms  %s", p.ErrorClass, p.DurationMS, p.Error)
}

func newIncidentVerifyCommand(a *app) *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "verify BUNDLE",
		Short: "Check that a bundle is as it was sealed",
		Long: `Compares every file of a bundle with the sizes and SHA-256 sums in its manifest.

Exit codes: 0 as it was sealed, 1 not so, 2 wrong usage, 3 it could not be read.`,
		Example: "  llmdyno incident verify incident-20260901-101500.tar.zst",
		Args:    exactArgs(1, "one bundle"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := oneOf("format", format, "text", "json"); err != nil {
				return err
			}
			return a.runVerify(args[0], format)
		},
	}
	c.Flags().StringVar(&format, "format", "text", "text or json")
	return c
}

func (a *app) openBundle(name string) (*bundle.Bundle, error) {
	b, err := bundle.Open(name)
	if err != nil {
		hint := ""
		if errors.Is(err, bundle.ErrNoBundle) {
			hint = "name a folder or archive that llmdyno incident collect has written"
		}
		return nil, fail(ExitFailed, hint, err)
	}
	return b, nil
}

func (a *app) runVerify(name, format string) error {
	b, err := a.openBundle(name)
	if err != nil {
		return err
	}
	defer b.Close()
	diffs, err := b.Verify()
	if err != nil {
		return fail(ExitFailed, "", err)
	}
	if format == "json" {
		if err := a.printJSON(map[string]any{"schema_version": 1, "bundle": name, "intact": len(diffs) == 0 && len(b.Warnings) == 0, "differences": diffs, "warnings": b.Warnings}); err != nil {
			return err
		}
	} else {
		for _, d := range diffs {
			fmt.Fprintf(a.stdout, "%s: %s\n", d.Path, d.What)
		}
		for _, w := range b.Warnings {
			fmt.Fprintf(a.stdout, "warning: %s\n", w)
		}
	}
	if n := len(diffs) + len(b.Warnings); n > 0 {
		return failf(ExitNo, "", "%s is not as it was sealed: %d difference(s)", name, n)
	}
	if format == "text" {
		fmt.Fprintf(a.stdout, "%s is as it was sealed: %d files\n", name, len(b.Names()))
	}
	return nil
}

func newIncidentRedactCommand(a *app) *cobra.Command {
	var out, format string
	var keep bool
	var patterns []string
	c := &cobra.Command{
		Use:   "redact BUNDLE --out NEW",
		Short: "Copy a bundle without its secrets and prompts",
		Long: `Writes a copy of a bundle, ours or one of the Python toolkit, in which keys, tokens and
passwords are replaced by their rule's name, prompts and generated text by length and
hash. Redacting a redacted bundle changes nothing. The original is left as it is.

Exit codes: 0 done, 2 wrong usage, 3 it could not be read or written.`,
		Example: "  llmdyno incident redact incident_bundle_20260502_120000 --out for-the-vendor.tar.gz",
		Args:    exactArgs(1, "one bundle"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := oneOf("format", format, "text", "json"); err != nil {
				return err
			}
			if out == "" {
				return failf(ExitUsage, "name a new folder, FILE.tar.zst or FILE.tar.gz", "llmdyno incident redact: --out is needed")
			}
			for _, p := range patterns {
				if err := a.redactor.AddPattern(p); err != nil {
					return fail(ExitUsage, "", err)
				}
			}
			return a.runRedact(args[0], out, format, keep)
		},
	}
	f := c.Flags()
	f.StringVar(&out, "out", "", "new folder, or FILE.tar.zst or FILE.tar.gz")
	f.BoolVar(&keep, "keep-prompts", false, "keep prompts and generated text")
	f.StringArrayVar(&patterns, "pattern", nil, "regular expression (RE2) of something else to hide; may be repeated")
	f.StringVar(&format, "format", "text", "text or json")
	return c
}

func (a *app) runRedact(name, out, format string, keep bool) error {
	b, err := a.openBundle(name)
	if err != nil {
		return err
	}
	defer b.Close()
	done, err := b.Redact(out, keep, a.redactor)
	if err != nil {
		return fail(ExitFailed, "", err)
	}
	for _, w := range b.Warnings {
		a.logf("warning: %s", w)
	}
	if format == "json" {
		return a.printJSON(map[string]any{"schema_version": 1, "bundle": out, "changed_files": append([]string{}, done.Files...), "redacted_places": done.Places})
	}
	fmt.Fprintf(a.stdout, "%s: %d file(s) changed, %d place(s) redacted\n", out, len(done.Files), done.Places)
	return nil
}
