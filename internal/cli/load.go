package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"llmdyno/internal/artifact"
	"llmdyno/internal/bench/result"
	"llmdyno/internal/engine"
	"llmdyno/internal/load/shard"
)

// loadRequest is what `llmdyno load` is asked for.
type loadRequest struct {
	url, model, engine string
	rate               float64
	concurrency        int
	duration           time.Duration
	ignoreEOS          string
	headers            []string // NAME=ENVVAR
	slo                string
	workers            int
	shard              string
	startAt            string
	noCalibration      bool
	flush              bool
	out, html, format  string
	worker             bool // a process that another one leads
	opts               []*loadOption

	argv  []string // of this command, for the record
	part  shard.Part
	sla   result.SLA
	start time.Time // zero = at once
	spawn []string  // words of this command for its workers
}

func newLoadCommand(a *app) *cobra.Command {
	r := loadRequest{opts: loadOptions()}
	c := &cobra.Command{
		Use:   "load --url URL [--model NAME]",
		Short: "Put a load on a live server and say how it answered",
		Long: `Send a planned load to a server that runs already, and measure TTFT, TPOT, ITL, E2E,
throughput and goodput, with what the client itself did to the measurement. The engine
is found out by asking the server; one that is not known is spoken to by the plain
OpenAI protocol.

Arrivals: --rate alone is an open loop with Poisson gaps, --concurrency alone a closed
loop of so many users, both an open loop with a cap; neither is one user. --arrivals
names every other course. --num-prompts or --duration says how much. An open loop sends
what arrives within the duration and waits for its answers; a closed loop ends at the
duration, and what was in flight then is left out.

The options from --workload on are the keys of a benchmark file (docs/config.md), with
its meanings and checks. docs/load.md shows each form. The seed fixes prompts and
arrivals: a longer load begins with the shorter one, and prompts that were sent before
may be found in the server's prefix cache: flush it, or take another seed. LENGTHS is N,
or a distribution with its keys: uniform,min=50,max=400  normal,mean=500,stddev=80
fixed,mean=500,range_ratio=0.5  empirical,values=10:200:3000

Prompts that are made have exactly their length in tokens: by --tokenizer, else by the
server's own tokenizer where its engine can be asked; with neither, lengths are in
words. The summary says who counted, and warns where --tokenizer and the server differ.

--slo holds figures against limits: ttft, tpot, itl or e2e, with mean, max or a
percentile, and success (a share of requests):
  --slo ttft_p99=500ms,tpot_p50=30ms,success=0.99

--workers N sends from N processes of this host; --shard I/N sends part I of N, here or
elsewhere, and "llmdyno load merge" puts the folders of all parts together. Either way
the requests and their instants are those of one process.

A key or a header value is named by the environment variable that holds it, never
given on the command line.

Exit codes: 0 done, 1 a limit of --slo was missed or the measurement is not valid,
2 wrong usage, 3 the load could not be sent or nothing succeeded, 130 interrupted (the
samples so far are kept in --out).`,
		Example: `  llmdyno load --url http://127.0.0.1:8000 --model Qwen/Qwen3-32B --rate 8 --duration 60s
  llmdyno load --url http://127.0.0.1:8000 --concurrency 32 --num-prompts 500 --input-len 1024 --output-len 256
  llmdyno load --url http://127.0.0.1:8000 --rate 4 --workload shared_prefix --prefix len=2000,groups=8 --input uniform,min=50,max=400
  llmdyno load --url http://127.0.0.1:8000 --workload mooncake --dataset trace.jsonl --arrivals trace --time-scale 0.5 --out runs/trace
  llmdyno load --url https://host --api-key-env API_KEY --header-env X-Team=TEAM --rate 2 --slo ttft_p99=800ms,success=0.99
  llmdyno load --url http://10.0.0.5:8000 --rate 4000 --duration 2m --workers 4 --html report.html`,
		Args: exactArgs(0, "only options"),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := r.check(c); err != nil {
				return err
			}
			return a.runLoad(c.Context(), &r)
		},
	}
	r.flags(c)
	c.AddCommand(newLoadMergeCommand(a))
	return c
}

func (r *loadRequest) flags(c *cobra.Command) {
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&r.url, "url", "", "the server: http://host:port, or https; a path is put before every endpoint")
	f.StringVar(&r.model, "model", "", "name of the model in requests (default: the first that the server lists)")
	f.StringVar(&r.engine, "engine", "", "engine id, where it is not to be found out; openai for the plain protocol")
	f.Float64Var(&r.rate, "rate", 0, "requests per second of an open loop")
	f.IntVar(&r.concurrency, "concurrency", 0, "users of a closed loop; of an open one, the most requests in flight")
	f.DurationVar(&r.duration, "duration", 0, "how long requests arrive, for example 60s")
	f.StringVar(&r.slo, "slo", "", "limits to hold: ttft_p99=500ms,tpot_p50=30ms,e2e_p99=8s,success=0.99")
	f.StringVar(&r.ignoreEOS, "ignore-eos", "", "true or false: ask for exactly the wanted output length (default: for made-up prompts)")
	f.StringArrayVar(&r.headers, "header-env", nil, "NAME=ENVVAR: send header NAME with the value of an environment variable; may be repeated")
	f.IntVar(&r.workers, "workers", 1, "processes of this host that send the load together")
	f.StringVar(&r.shard, "shard", "", "I/N: send only part I of N parts of this load; needs --out")
	f.StringVar(&r.startAt, "start-at", "", "begin at this instant, RFC 3339, as the other shards do")
	f.BoolVar(&r.flush, "flush-cache", false, "empty the server's prefix cache first, where its engine can")
	f.BoolVar(&r.noCalibration, "no-calibration", false, "do not hold the client against its own server first (about 1 s)")
	f.StringVar(&r.out, "out", "", "keep samples, audit and summary in this folder, new or empty")
	f.StringVar(&r.html, "html", "", "write the report as one self-contained page to this file")
	f.StringVar(&r.format, "format", "text", "text, json, md or csv, on standard output")
	f.BoolVar(&r.worker, "worker", false, "")
	_ = f.MarkHidden("worker")
	addLoadOptions(f, r.opts)
}

func (r *loadRequest) check(c *cobra.Command) error {
	see := "see: llmdyno load --help"
	var err error
	switch {
	case r.url == "":
		return failf(ExitUsage, see, "llmdyno load: --url is needed: the server to send to")
	case !(r.rate >= 0) || r.rate > 1e6:
		return failf(ExitUsage, "give requests per second, for example 8", "--rate %v is not between 0 and 1000000", r.rate)
	case r.concurrency < 0:
		return failf(ExitUsage, "give a number of requests", "--concurrency %d is negative", r.concurrency)
	case r.duration < 0 || r.duration == 0 && c.Flags().Changed("duration"):
		return failf(ExitUsage, "give a time such as 60s", "--duration %s is not above 0", r.duration)
	case r.rate == 0 && c.Flags().Changed("rate"):
		return failf(ExitUsage, "leave it out for a closed loop", "--rate 0 would send nothing")
	case r.workers < 1 || r.workers > shard.MaxParts:
		return failf(ExitUsage, "one for each few CPUs", "--workers %d is not between 1 and %d", r.workers, shard.MaxParts)
	case r.shard != "" && r.workers > 1:
		return failf(ExitUsage, "give each shard's process one of the two", "--shard and --workers exclude one another")
	case r.shard != "" && r.out == "":
		return failf(ExitUsage, "llmdyno load merge puts the folders together", "--shard needs --out: the folder that keeps its samples")
	}
	if err := oneOf("format", r.format, "text", "json", "md", "csv"); err != nil {
		return err
	}
	if err := oneOf("ignore-eos", r.ignoreEOS, "", "true", "false"); err != nil {
		return err
	}
	r.part = shard.Part{I: 1, N: 1}
	if r.shard != "" {
		if r.part, err = shard.Parse(r.shard); err != nil {
			return fail(ExitUsage, see, fmt.Errorf("--shard: %w", err))
		}
	}
	if r.startAt != "" {
		if r.start, err = time.Parse(time.RFC3339Nano, r.startAt); err != nil {
			return failf(ExitUsage, "write it as 2006-01-02T15:04:05Z", "--start-at %q is not an instant", r.startAt)
		}
		if r.workers > 1 {
			return failf(ExitUsage, "leave it out", "--workers begin at one instant by themselves: --start-at is for --shard")
		}
	}
	if r.sla, err = parseSLO(r.slo); err != nil {
		return fail(ExitUsage, see, fmt.Errorf("--slo: %w", err))
	}
	r.argv = append([]string{"llmdyno", "load"}, given(c.Flags())...)
	r.spawn = append([]string{"load"}, given(c.Flags(), "workers", "flush-cache", "out", "html", "format", "quiet", "no-color")...)
	return nil
}

// given are the flags of a command as they were given, without some.
func given(f *pflag.FlagSet, without ...string) []string {
	var words []string
	f.Visit(func(x *pflag.Flag) {
		if slices.Contains(without, x.Name) {
			return
		}
		if list, ok := x.Value.(pflag.SliceValue); ok {
			for _, v := range list.GetSlice() {
				words = append(words, "--"+x.Name+"="+v)
			}
			return
		}
		words = append(words, "--"+x.Name+"="+x.Value.String())
	})
	return words
}

// parseSLO reads limits such as ttft_p99=500ms,success=0.99.
func parseSLO(s string) (result.SLA, error) {
	var sla result.SLA
	if s == "" {
		return sla, nil
	}
	for _, part := range strings.Split(s, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			return sla, fmt.Errorf("%q: expected FIGURE=LIMIT, for example ttft_p99=500ms", part)
		}
		if key == "success" {
			share, err := parseShare(value)
			if err != nil {
				return sla, err
			}
			sla.MinSuccessRate = &share
			continue
		}
		quantity, stat, _ := strings.Cut(key, "_")
		d, err := time.ParseDuration(value)
		if err != nil || d <= 0 {
			return sla, fmt.Errorf("%s=%s: expected a time with its unit, for example 500ms", key, value)
		}
		l := result.NewLimit(stat, quantity, float64(d)/float64(time.Millisecond))
		if !slices.Contains([]string{"ttft", "tpot", "itl", "e2e"}, quantity) || !l.Known() {
			return sla, fmt.Errorf("%q is no figure: expected ttft, tpot, itl or e2e with _mean, _max or a percentile such as _p99, or success", key)
		}
		sla.Limits = append(sla.Limits, l)
	}
	return sla, nil
}

func parseShare(s string) (float64, error) {
	var x float64
	text, percent := strings.CutSuffix(s, "%")
	if _, err := fmt.Sscanf(text, "%g", &x); err != nil {
		return 0, fmt.Errorf("success=%s: expected a share such as 0.99 or 99%%", s)
	}
	if percent {
		x /= 100
	}
	if !(x >= 0 && x <= 1) {
		return 0, fmt.Errorf("success=%s: expected a share from 0 to 1, or in per cent", s)
	}
	return x, nil
}

// secrets reads the API key and the headers out of the environment and hides
// them from everything that is written.
func (a *app) loadSecrets(r *loadRequest, keyEnv string) (key string, header http.Header, err error) {
	if keyEnv != "" {
		if key = a.env(keyEnv); key == "" {
			return "", nil, failf(ExitUsage, "set it to the server's key", "--api-key-env: the environment has no variable %s", keyEnv)
		}
		a.redactor.AddSecret(key)
	}
	header = http.Header{}
	for _, h := range r.headers {
		name, variable, ok := strings.Cut(h, "=")
		if !ok || name == "" || variable == "" {
			return "", nil, failf(ExitUsage, "for example --header-env X-Team=TEAM", "--header-env %q: expected NAME=ENVVAR", h)
		}
		value := a.env(variable)
		if value == "" {
			return "", nil, failf(ExitUsage, "name the variable that holds the value, not the value", "--header-env %s: the environment has no such variable", name)
		}
		a.redactor.AddSecret(value)
		header.Set(name, value)
	}
	return key, header, nil
}

// runLoad sends the load and shows what came of it.
func (a *app) runLoad(ctx context.Context, r *loadRequest) error {
	j, err := a.newLoadJob(ctx, r)
	if err != nil {
		return a.failLoad(r, err)
	}
	defer j.target.client.Close()
	if err := a.openLoadFolder(r, j); err != nil {
		return a.failLoad(r, err)
	}
	if j.folder != nil {
		defer j.folder.Close()
	}
	if r.flush {
		if err := flushCache(ctx, j.target); err != nil {
			return a.failLoad(r, err)
		}
	}
	var m measured
	if r.workers > 1 {
		m, err = a.leadWorkers(ctx, r, j)
	} else {
		m, err = a.sendLoad(ctx, r, j)
	}
	if err != nil && len(m.records) == 0 {
		if j.folder != nil {
			err = errors.Join(err, j.folder.Seal(stateOf(ctx, err)))
		}
		if ctx.Err() != nil {
			err = fail(ExitInterrupted, "", errors.New("interrupted before anything was measured"))
		}
		return a.failLoad(r, err)
	}
	return a.endLoad(r, j, m, ctx.Err() != nil)
}

// flushCache empties the server's prefix cache, so that no prompt of an earlier
// load is found there.
func flushCache(ctx context.Context, t loadTarget) error {
	if t.engine == nil {
		return failf(ExitUsage, "leave it out", "--flush-cache: the engine is not known")
	}
	if _, has := t.engine.Endpoint(engine.EndpointFlushCache); !has {
		return failf(ExitUsage, "leave it out and change --seed instead", "--flush-cache: %s cannot be told to", t.engine.Title)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if _, err := t.client.Call(ctx, engine.EndpointFlushCache, nil, nil); err != nil {
		return failf(ExitFailed, "leave it out and change --seed instead", "--flush-cache: %w", err)
	}
	return nil
}

func stateOf(ctx context.Context, err error) string {
	switch {
	case ctx.Err() != nil:
		return artifact.StateInterrupted
	case err != nil:
		return artifact.StateFailed
	}
	return artifact.StateComplete
}

func (a *app) openLoadFolder(r *loadRequest, j *loadJob) error {
	if r.out == "" {
		return nil
	}
	meta := artifact.Meta{
		Tool: "llmdyno", ToolVersion: a.build().Version, Kind: "load", Slug: artifact.Slug(j.plan.Model), Command: r.argv,
		Engines: map[string]string{j.plan.Engine: j.plan.EngineVersion},
	}
	folder, err := artifact.Create(r.out, meta, a.redactor)
	if errors.Is(err, artifact.ErrNotEmpty) {
		return fail(ExitUsage, "name a new folder", err)
	}
	j.folder = folder
	return err
}

// failLoad ends a load that has nothing to show.
func (a *app) failLoad(r *loadRequest, err error) error {
	if r.format == "json" {
		if printErr := a.printJSON(loadOutput{SchemaVersion: 1, State: artifact.StateFailed, Error: err.Error()}); printErr != nil {
			return printErr
		}
	}
	return err
}
