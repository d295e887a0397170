package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"llmdyno/internal/artifact"
	"llmdyno/internal/bench/config"
	"llmdyno/internal/bench/result"
	"llmdyno/internal/client"
	"llmdyno/internal/engine"
	"llmdyno/internal/launch"
	"llmdyno/internal/load"
	"llmdyno/internal/load/metric"
	"llmdyno/internal/load/sample"
	"llmdyno/internal/load/shard"
	"llmdyno/internal/load/witness"
	"llmdyno/internal/load/workload"
)

// Files of a load's folder.
const (
	loadPlanName    = "plan.json"
	loadSamplesName = "samples.jsonl.zst"
	loadClientName  = "client.json"
	loadSummaryName = "summary.json"
	loadServerName  = "server-metrics.jsonl"
)

const (
	loadPlanSchema = "llmdyno.load"
	// askTimeout bounds each question about what the server is.
	askTimeout = 10 * time.Second
	// closedRate is how many requests a second one user of a closed loop is given
	// to send at most, where only the duration is known.
	closedRate       = 20
	leastClosed      = 200
	mostClosed       = 50_000
	mostArrivals     = 10_000_000
	defaultInputLen  = 512
	defaultOutputLen = 128
	plainProtocol    = "openai"
)

// loadPlan is what was planned, as plan.json keeps it.
type loadPlan struct {
	Schema        string `json:"schema"`
	SchemaVersion int    `json:"schema_version"`
	URL           string `json:"url"`
	Engine        string `json:"engine"`
	EngineVersion string `json:"engine_version,omitempty"`
	Endpoint      string `json:"endpoint"`
	Model         string `json:"model"`
	Prompts       string `json:"prompts"` // in words
	// PromptsBy says who counted the tokens of prompts that were made; "" = they come
	// from a file. PromptsProblem is why the server's tokenizer did not.
	PromptsBy      string `json:"prompt_tokens_by,omitempty"`
	PromptsProblem string `json:"prompt_tokens_problem,omitempty"`
	// TokenizerDiffers says how the tokenizer given counts other than the server's own;
	// "" = they agree, or one of them cannot be asked.
	TokenizerDiffers string          `json:"tokenizer_differs,omitempty"`
	Arrivals         string          `json:"arrivals"` // in words
	Requests         int             `json:"requests"` // of all parts
	Workload         result.Workload `json:"workload"`
	Timeout          float64         `json:"request_timeout_s"`
	Part             shard.Part      `json:"part"`
	// Fingerprint is the same for all parts of a load.
	Fingerprint string `json:"fingerprint"`
	// CutAfterS: a closed loop that ended at this time; requests not answered by
	// then are no part of the measurement. 0 = every request was meant.
	CutAfterS float64    `json:"cut_after_s,omitempty"`
	SLA       result.SLA `json:"slo"`
	Command   string     `json:"command"`
	// IntendedHitRate is the share of prompt tokens that the whole load means to be
	// found in the prefix cache; absent = not known.
	IntendedHitRate *float64 `json:"intended_prefix_hit_rate,omitempty"`
	// Warmup is how many requests part 1 sends before the load.
	Warmup int `json:"warmup"`
}

// loadTarget is the server that the load goes to.
type loadTarget struct {
	engine *engine.Engine // nil = not known
	client *client.Client
	wire   engine.Wire
	local  bool // it runs on this machine
}

// loadJob is a load that is ready to be sent.
type loadJob struct {
	plan   loadPlan
	target loadTarget
	trial  load.Trial // of the whole
	warmup int
	cut    shard.Cut
	// tokenizer counts answers that nobody else counts; nil = none was given.
	tokenizer workload.Tokenizer
	folder    *artifact.Run
}

func (a *app) newLoadJob(ctx context.Context, r *loadRequest) (*loadJob, error) {
	r.defaults()
	f, err := benchmarkOf(r.opts, cmp.Or(r.model, "model"), a.engines)
	if err != nil {
		return nil, err
	}
	key, header, err := a.loadSecrets(r, f.Benchmark.APIKeyEnv)
	if err != nil {
		return nil, err
	}
	arrivals, err := r.arrivals(f)
	if err != nil {
		return nil, err
	}
	spec := *f.Scenarios()[0].Spec
	spec.Extra = f.Benchmark.ExtraRequestBody.Any()
	if path := f.TokenizerPath(); path != "" {
		if spec.Tokenizer, err = workload.OpenTokenizer(path); err != nil {
			return nil, fail(ExitUsage, "", fmt.Errorf("--tokenizer: %w", err))
		}
	}
	requests, instants, err := r.requests(spec, arrivals)
	if err != nil {
		return nil, fail(ExitUsage, "", err)
	}
	j := &loadJob{warmup: f.Warmup(), tokenizer: spec.Tokenizer}
	if err := a.findTarget(ctx, r, j, client.Options{BaseURL: r.url, APIKey: key, Header: header}); err != nil {
		return nil, err
	}
	if err := j.findWire(r, f, requests); err != nil {
		j.target.client.Close()
		return nil, err
	}
	if err := j.measurePrompts(ctx, a, r, &spec, arrivals, &requests); err != nil {
		j.target.client.Close()
		return nil, err
	}
	arrivals = instants
	j.describe(r, f, spec, arrivals, requests)
	if j.cut, err = shard.Split(requests, arrivals, r.concurrency, r.part); err == nil && r.workers > 1 {
		_, err = shard.Split(requests, arrivals, r.concurrency, shard.Part{I: 1, N: r.workers})
	}
	if err != nil {
		j.target.client.Close()
		return nil, fail(ExitUsage, "", err)
	}
	return j, nil
}

// Who counted the tokens of prompts that are made.
const (
	promptsByServer    = "the server's tokenizer"
	promptsByTokenizer = "the tokenizer given"
	promptsByNobody    = "nobody: lengths are in words"
)

// measurePrompts gives prompts that were made in words their exact length by the
// server's own tokenizer, and notes who counted.
func (j *loadJob) measurePrompts(ctx context.Context, a *app, r *loadRequest, spec *workload.Spec, arrivals workload.Arrivals, requests *[]workload.Request) error {
	p := &j.plan
	switch {
	case spec.Tokenizer != nil:
		agrees := ""
		if !r.worker { // its leader does
			agrees = j.compareTokenizers(ctx, spec.Tokenizer, *requests)
		}
		if spec.MadeUp() {
			p.PromptsBy = promptsByTokenizer + agrees
		}
		return nil
	case !spec.MadeUp():
		return nil
	case j.target.engine == nil || j.target.engine.Tokenize == nil:
		p.PromptsBy = promptsByNobody
		return nil
	}
	a.logf("making %d prompts of exact length by the server's tokenizer", len(*requests))
	exact, failed, err := load.ServerPrompts(ctx, *spec, j.countPrompt, func(s workload.Spec) ([]workload.Request, error) {
		reqs, _, err := r.requests(s, arrivals)
		return reqs, err
	})
	switch {
	case err != nil:
		return fail(ExitInterrupted, "", errors.New("interrupted"))
	case failed != nil:
		p.PromptsBy, p.PromptsProblem = promptsByNobody, failed.Error()
		return nil
	}
	p.PromptsBy, *requests = promptsByServer, exact
	spec.Counter = func(string) (int, error) { return 0, nil } // the description speaks of tokens
	return nil
}

// countPrompt counts the tokens of a prompt by the server's tokenizer.
func (j *loadJob) countPrompt(ctx context.Context, text string) (int, error) {
	return j.target.client.CountTokens(ctx, j.plan.Model, text)
}

// compareTokenizers holds the tokenizer given against the server's own, where that
// can be asked, and returns what there is to say when they agree.
func (j *loadJob) compareTokenizers(ctx context.Context, tokenizer workload.Tokenizer, requests []workload.Request) (agrees string) {
	if j.target.engine == nil || j.target.engine.Tokenize == nil {
		return ""
	}
	c, _ := load.CheckTokenizer(ctx, requests, tokenizer, j.countPrompt) // a server that cannot tell agrees and differs in nothing
	if j.plan.TokenizerDiffers = c.Differs(); j.plan.TokenizerDiffers != "" || c.Prompts == 0 {
		return ""
	}
	return fmt.Sprintf(", which agrees with the server's own on %d", c.Prompts)
}

// defaults fills in lengths for prompts that are made.
func (r *loadRequest) defaults() {
	opt := func(name string) *loadOption { return optionNamed(r.opts, name) }
	kind := workload.Kind(opt("workload").value)
	made := kind == "" || kind == workload.KindRandom || kind == workload.KindPrefix || kind == workload.KindConversation && !opt("dataset").set
	for _, x := range []struct {
		plain, dist string
		n           int
	}{{"input-len", "input", defaultInputLen}, {"output-len", "output", defaultOutputLen}} {
		if made && !opt(x.plain).set && !opt(x.dist).set {
			_ = opt(x.plain).Set(fmt.Sprint(x.n))
		}
	}
}

// arrivals is the process that the options name.
func (r *loadRequest) arrivals(f *config.File) (workload.Arrivals, error) {
	a, err := f.Process()
	if err != nil {
		return a, fail(ExitUsage, "", err)
	}
	a.Seed = f.Scenarios()[0].Seed
	given := optionNamed(r.opts, "arrivals").set
	switch {
	case a.Timed() && r.rate > 0:
		return a, failf(ExitUsage, "leave --rate out", "--arrivals %s has rates of its own", a.Kind)
	case a.Kind == workload.ArrivalClosed && given && r.rate > 0:
		return a, failf(ExitUsage, "leave one of them out", "--arrivals closed has no rate: --rate is for an open loop")
	case !given && r.rate == 0:
		a.Kind = workload.ArrivalClosed
	case a.Kind != workload.ArrivalClosed && !a.Timed():
		a.RateRPS = r.rate
	}
	return a, nil
}

// requests makes the workload in the size asked for, and gives a trace its
// instants.
func (r *loadRequest) requests(spec workload.Spec, a workload.Arrivals) ([]workload.Request, workload.Arrivals, error) {
	asked := optionNamed(r.opts, "num-prompts").set
	fromTrace := a.Kind == workload.ArrivalTrace && len(a.Offsets) == 0
	timed := r.duration > 0 && a.Open() && !a.AtOnce() && !fromTrace
	arriving := 0
	switch {
	case timed:
		if arriving = within(a, r.duration); arriving == 0 {
			return nil, a, fmt.Errorf("no request arrives within %s: give more time or a higher rate", r.duration)
		}
		if !asked {
			spec.NumPrompts = arriving * max(1, int(spec.Turns.MeanLength("")))
		}
	case asked:
	case r.duration > 0 && !fromTrace:
		spec.NumPrompts = min(max(leastClosed, int(closedRate*float64(max(r.concurrency, 1))*r.duration.Seconds())), mostClosed)
	case spec.Path != "":
		spec.NumPrompts = 0 // all rows
	}
	reqs, err := spec.Requests()
	if err != nil {
		return nil, a, err
	}
	if fromTrace {
		offsets, ok := workload.Offsets(reqs)
		if !ok {
			return nil, a, errors.New("--arrivals trace: the dataset has no timestamps; give --arrivals-path")
		}
		a.Offsets = offsets
		if r.duration > 0 {
			arriving, timed = within(a, r.duration), true
		}
	}
	if timed {
		reqs = firstArrivals(reqs, arriving)
	}
	if len(reqs) == 0 {
		return nil, a, errors.New("llmdyno load: there is no request to send")
	}
	return reqs, a, nil
}

// within is the number of arrivals up to a time.
func within(a workload.Arrivals, d time.Duration) int {
	for n := 256; ; n *= 4 {
		offsets := a.Schedule(min(n, mostArrivals))
		if offsets[len(offsets)-1] > d || n >= mostArrivals {
			return sort.Search(len(offsets), func(i int) bool { return offsets[i] > d })
		}
	}
}

// firstArrivals are the requests before the one with arrival number n.
func firstArrivals(reqs []workload.Request, n int) []workload.Request {
	for i, q := range reqs {
		if q.After > 0 {
			continue
		}
		if n--; n < 0 {
			return reqs[:i]
		}
	}
	return reqs
}

// findTarget asks the server what it is.
func (a *app) findTarget(ctx context.Context, r *loadRequest, j *loadJob, o client.Options) error {
	u, err := url.Parse(r.url)
	if err != nil {
		return failf(ExitUsage, "write it as http://host:port", "--url is not a URL")
	}
	ip := net.ParseIP(u.Hostname())
	j.target.local = u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	models, found, err := a.ask(ctx, o)
	switch {
	case err != nil && ctx.Err() != nil:
		return fail(ExitInterrupted, "", errors.New("interrupted"))
	case err != nil:
		return err
	}
	switch e, known := a.engines.Lookup(r.engine); {
	case known:
		found = e
	case r.engine == plainProtocol:
		found = nil
	case r.engine != "":
		return failf(ExitUsage, "use one of: "+simEngines(a)+" "+plainProtocol, "--engine %q is not an engine that llmdyno knows", r.engine)
	}
	j.plan.Model = cmp.Or(r.model, firstOf(models))
	if j.plan.Model == "" {
		return failf(ExitUsage, "name it with --model", "the server at %s does not say which model it serves", r.url)
	}
	if r.model != "" && len(models) > 0 && !slices.Contains(models, r.model) {
		a.logf("warning: the server lists %s, not %s", strings.Join(models, ", "), r.model)
	}
	if j.target.engine = found; found == nil {
		a.logf("the engine is not known: using the plain OpenAI protocol")
	}
	o.Engine = found
	c, err := client.New(o)
	if err != nil {
		return fail(ExitUsage, "", fmt.Errorf("--url: %w", err))
	}
	j.target.client = c
	j.plan.Engine = result.UnknownFramework
	if found != nil {
		j.plan.Engine, j.plan.EngineVersion = string(found.ID), serverVersion(ctx, c)
	}
	return nil
}

func firstOf(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// modelList is the reply of /v1/models, as every engine has it.
type modelList struct {
	Data []struct {
		ID      string `json:"id"`
		OwnedBy string `json:"owned_by"`
	}
}

// ask reads the list of models, which most engines sign, and otherwise looks for
// an endpoint that only one engine has.
func (a *app) ask(ctx context.Context, o client.Options) (models []string, found *engine.Engine, err error) {
	o.Engine = &engine.Engine{Endpoints: []engine.Endpoint{{Name: engine.EndpointModels, Method: "GET", Path: "/v1/models", ReadOnly: true}}}
	reply, err := callOnce(ctx, o, engine.EndpointModels)
	switch class := client.ClassOf(err); {
	case err == nil:
	case errors.Is(err, errBadURL):
		return nil, nil, fail(ExitUsage, "", fmt.Errorf("--url: %w", err))
	case class == sample.ClassAuth:
		return nil, nil, failf(ExitFailed, "name the variable that holds the key: --api-key-env", "asking the server for its models: %w", err)
	case class != sample.ClassStatus:
		return nil, nil, failf(ExitFailed, "start the server, or correct --url", "no server answers: %w", err)
	}
	var list modelList
	if err == nil && json.Unmarshal(reply.Body, &list) == nil {
		for _, m := range list.Data {
			models = append(models, m.ID)
			if e, known := a.engines.Lookup(m.OwnedBy); known && found == nil {
				found = e
			}
		}
	}
	if found == nil {
		found = a.soleOwner(ctx, o)
	}
	return models, found, nil
}

// soleOwner is the engine one of whose endpoints answers that no other has.
func (a *app) soleOwner(ctx context.Context, o client.Options) *engine.Engine {
	owners := map[string]int{}
	for _, e := range a.engines {
		for _, ep := range e.Endpoints {
			owners[ep.Path]++
		}
	}
	for _, e := range a.engines {
		for _, ep := range e.Endpoints {
			if owners[ep.Path] > 1 || !ep.ReadOnly || ep.Method != "GET" || ep.Port != "" || ep.Needs != "" {
				continue
			}
			ep.Legacy = nil
			o.Engine = &engine.Engine{Endpoints: []engine.Endpoint{ep}}
			if _, err := callOnce(ctx, o, ep.Name); err == nil {
				return e
			}
		}
	}
	return nil
}

var errBadURL = errors.New("the URL of the server is not usable")

func callOnce(ctx context.Context, o client.Options, name engine.EndpointName) (client.Reply, error) {
	c, err := client.New(o)
	if err != nil {
		return client.Reply{}, fmt.Errorf("%w: %w", errBadURL, err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return c.Call(ctx, name, nil, nil)
}

// serverVersion is the version that the server tells of itself; "" = it does not.
func serverVersion(ctx context.Context, c *client.Client) string {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	for _, name := range []engine.EndpointName{engine.EndpointVersion, engine.EndpointServerInfo} {
		reply, err := c.Call(ctx, name, nil, nil)
		var v struct {
			Version string `json:"version"`
		}
		if err == nil && json.Unmarshal(reply.Body, &v) == nil && v.Version != "" {
			return v.Version
		}
	}
	return ""
}

// findWire picks the endpoint: the one asked for, else that which fits the
// requests.
func (j *loadJob) findWire(r *loadRequest, f *config.File, requests []workload.Request) error {
	wires := []engine.Wire{engine.OpenAICompletions(engine.WireOptions{IncludeUsage: true}), engine.OpenAIChat(engine.WireOptions{IncludeUsage: true})}
	if j.target.engine != nil {
		wires = j.target.engine.Wires
	}
	path := f.Benchmark.Endpoint
	if path == "" {
		path = config.DefaultEndpoint
		if len(requests[0].Messages) > 0 {
			path = engine.OpenAIChat(engine.WireOptions{}).Path
		}
	}
	var paths []string
	for _, w := range wires {
		if paths = append(paths, w.Path); w.Path != path {
			continue
		}
		j.target.wire, j.plan.Endpoint = w, path
		_, err := w.Encode(engine.GenerateRequest{Model: "m", Prompt: "p", Messages: requests[0].Messages, MaxTokens: 1, IgnoreEOS: true, Extra: requests[0].Extra})
		can := err == nil
		j.trial.IgnoreEOS = can && (r.ignoreEOS == "true" || r.ignoreEOS == "" && f.Scenarios()[0].Spec.Kind.Synthetic())
		if r.ignoreEOS == "true" && !can {
			return failf(ExitUsage, "leave it out", "--ignore-eos: %s cannot be asked for it: %w", path, err)
		}
		return nil
	}
	return failf(ExitUsage, "use one of: "+strings.Join(paths, " "), "--endpoint %q: the server's engine has no such endpoint that generates", path)
}

// describe fills in the plan and the trial of the whole.
func (j *loadJob) describe(r *loadRequest, f *config.File, spec workload.Spec, a workload.Arrivals, requests []workload.Request) {
	p := &j.plan
	p.Schema, p.SchemaVersion, p.URL = loadPlanSchema, 1, r.url
	p.Prompts, p.Arrivals, p.Requests, p.Part, p.SLA = spec.Describe(), a.Describe(), len(requests), r.part, r.sla
	p.Command, p.Fingerprint = strings.Join(r.argv, " "), fingerprint(requests, a)
	p.Timeout, p.Warmup = f.RequestTimeout().Seconds(), j.warmup
	p.Workload = workloadOf(spec, a, p, r.concurrency)
	if share, ok := workload.SharedRatio(requests); ok {
		p.IntendedHitRate = &share
	}
	t := &j.trial
	t.Client, t.Wire, t.Model, t.Requests, t.Arrivals, t.MaxConcurrency = j.target.client, j.target.wire, p.Model, requests, a, r.concurrency
	t.Timeout, t.Temperature, t.Calibrate = f.RequestTimeout(), f.Benchmark.Temperature, !r.noCalibration
	t.MaxTime = longestLoad(requests, a, r.concurrency, t.Timeout)
	if r.duration > 0 && (!a.Open() || a.AtOnce()) {
		t.MaxTime, p.CutAfterS = r.duration, r.duration.Seconds()
	}
	_, t.TightestMs = requestLimits(r.sla)
	t.IDPrefix = "load-" + p.Fingerprint[:8] + "-"
	if !r.part.Whole() {
		t.IDPrefix += strings.ReplaceAll(r.part.String(), "/", "of") + "-"
	}
}

func workloadOf(spec workload.Spec, a workload.Arrivals, p *loadPlan, most int) result.Workload {
	w := result.Workload{
		Kind: string(cmp.Or(spec.Kind, workload.KindRandom)), Scenario: "load", DatasetPath: spec.Path, NumPrompts: &p.Requests,
		Description: p.Prompts, Endpoint: p.Endpoint, Arrivals: string(cmp.Or(a.Kind, workload.ArrivalPoisson)), Seed: &spec.Seed,
	}
	for _, x := range []struct {
		n    int
		into **int
	}{{spec.InputLen, &w.InputLen}, {spec.OutputLen, &w.OutputLen}, {most, &w.MaxConcurrency}} {
		if x.n > 0 {
			*x.into = &x.n
		}
	}
	if a.RateRPS > 0 && !a.Timed() {
		w.RequestRate = &a.RateRPS
	}
	return w
}

// fingerprint tells loads apart: prompts, lengths and instants.
func fingerprint(requests []workload.Request, a workload.Arrivals) string {
	h := fnv.New128a()
	own := 0
	for _, q := range requests {
		fmt.Fprint(h, q.Prompt, q.PromptTokens, len(q.Messages), q.InputLen, q.OutputLen, q.After, q.Think, ";")
		if q.After == 0 {
			own++
		}
	}
	fmt.Fprint(h, a.Kind, a.Schedule(own))
	return fmt.Sprintf("%x", h.Sum(nil))
}

// longestLoad bounds a load: all arrivals, and each request in its turn as long
// as its own bound allows, yet never more than a day.
func longestLoad(reqs []workload.Request, a workload.Arrivals, users int, timeout time.Duration) time.Duration {
	const day = 24 * time.Hour
	depth := make([]int, len(reqs))
	turns, think := 1, time.Duration(0)
	for i, q := range reqs {
		depth[i] = 1
		if q.After > 0 {
			depth[i] = depth[q.After-1] + 1
		}
		turns, think = max(turns, depth[i]), think+q.Think
	}
	if users = max(users, 1); !a.Open() || users > 1 {
		turns += len(reqs) / users
	}
	last := a.Schedule(len(reqs))[len(reqs)-1]
	if timeout > day/time.Duration(turns) || last > day || think > day {
		return max(day, min(last, 30*day)+timeout)
	}
	return last + think + time.Duration(turns)*timeout
}

// requestLimits are the limits that one request can keep or break, and the
// smallest limit of all in ms; 0 = none.
func requestLimits(sla result.SLA) (lim metric.Limits, tightest float64) {
	for _, l := range sla.Limits {
		if tightest == 0 || l.MaxMs < tightest {
			tightest = l.MaxMs
		}
		for suffix, into := range map[string]*float64{"_ttft_ms": &lim.TTFTMs, "_tpot_ms": &lim.TPOTMs, "_e2e_ms": &lim.E2EMs} {
			if strings.HasSuffix(l.Key, suffix) && (*into == 0 || l.MaxMs < *into) {
				*into = l.MaxMs
			}
		}
	}
	return lim, tightest
}

// measured is what a load left.
type measured struct {
	started  time.Time
	duration time.Duration
	records  []sample.Record
	audit    load.Audit
	server   *metric.Server
	heard    *witness.Record // nil = nobody listened
	invalid  string          // what speaks against the measurement beside the audit
	warnings []metric.Warning
}

// sendLoad sends the part of this process.
func (a *app) sendLoad(ctx context.Context, r *loadRequest, j *loadJob) (measured, error) {
	t := j.trial
	t.Requests, t.Arrivals, t.MaxConcurrency = j.cut.Requests, j.cut.Arrivals, j.cut.Cap
	var lead *leash
	if r.worker {
		lead = newLeash(a.stdin, a.stdout)
		var cancel context.CancelFunc
		ctx, cancel = lead.hold(ctx)
		defer cancel()
	}
	if j.warmup > 0 && r.part.I == 1 {
		a.logf("warming up: %d requests", j.warmup)
		warm, err := load.Warm(ctx, t, j.warmup)
		if err != nil {
			return measured{}, fail(ExitFailed, "", err)
		}
		t.KeepText = j.keepsText(warm)
	}
	stats := newLoadStats(len(t.Requests))
	end := func() {}
	switch {
	case lead != nil:
		t.Start, t.Progress, t.Ended = lead.start, lead.progress, lead.ended
	default:
		var show func(loadView)
		show, end = a.loadView()
		t.Ended, t.Progress = stats.ended, func(p load.Progress) { show(stats.view(p)) }
		if show == nil {
			t.Ended, t.Progress = nil, nil
		}
		if !r.start.IsZero() {
			t.Start = func(context.Context) (time.Time, error) { return r.start, nil }
		}
	}
	watch := a.watchServer(ctx, r, j)
	out, err := load.Run(ctx, t)
	end()
	m := measured{started: out.Started, duration: out.Duration, records: out.Records, audit: out.Client}
	j.countAnswers(ctx, &m)
	if restoreErr := j.cut.Restore(m.records); restoreErr != nil {
		return m, errors.Join(err, restoreErr)
	}
	m.hear(watch, j.plan)
	return m, err
}

// watchServer reads the server's metrics and the GPUs of this machine where the
// server runs here; nil for a worker, whose leader does.
func (a *app) watchServer(ctx context.Context, r *loadRequest, j *loadJob) *witness.Watch {
	if r.worker || j.target.engine == nil {
		return nil
	}
	o := witness.Options{Client: j.target.client, Shared: !r.part.Whole()}
	if j.target.local {
		o.Run = launch.NewLocal(a.environ).Output
		o.Visible = a.env("CUDA_VISIBLE_DEVICES")
	}
	return witness.Start(ctx, o)
}

// hear takes in what the server said. What it said during a part of a load is kept
// for the merged load: it is of all parts together.
func (m *measured) hear(w *witness.Watch, p loadPlan) {
	if w == nil {
		return
	}
	answered := 0
	for i := range m.records {
		if m.records[i].OK() {
			answered++
		}
	}
	heard := w.Stop(answered)
	m.heard = &heard
	if p.Part.Whole() {
		m.reconcile(p)
	}
}

// reconcile holds what the server said against the client's records.
func (m *measured) reconcile(p loadPlan) {
	v := witness.Summarise(*m.heard, witness.Context{Client: witness.TotalsOf(m.records), Duration: m.duration, Intended: p.IntendedHitRate})
	m.server, m.invalid, m.warnings = v.Server, v.Invalid, append(m.warnings, v.Warnings...)
}

// meant are the records that the figures are made of. Of a closed loop that
// ended at its duration, what was cut off or not sent by then is left out; left
// is how many had been sent.
func meant(records []sample.Record, p loadPlan) (kept []sample.Record, left int) {
	if p.CutAfterS == 0 {
		return records, 0
	}
	for _, r := range records {
		switch r.Class {
		case sample.ClassDropped:
		case sample.ClassCancelled:
			left++
		default:
			kept = append(kept, r)
		}
	}
	return kept, left
}

// writeLoad writes the folder of a load.
func writeLoad(folder *artifact.Run, p loadPlan, m measured, out loadOutput, row result.Row) error {
	if err := folder.WriteJSON(loadPlanName, p); err != nil {
		return err
	}
	f, err := folder.CreateLinesZst(loadSamplesName)
	if err != nil {
		return err
	}
	defer f.Abort()
	if err := sample.Write(f.JSON, sample.Header{Started: m.started, DurationNs: m.duration.Nanoseconds()}, m.records); err != nil {
		return err
	}
	if err := f.Commit(); err != nil {
		return err
	}
	if err := folder.WriteJSON(loadClientName, m.audit); err != nil {
		return err
	}
	if err := folder.WriteJSON(loadSummaryName, out); err != nil {
		return err
	}
	if m.heard != nil {
		lines, err := m.heard.Lines()
		if err != nil {
			return err
		}
		if err := folder.WriteFile(loadServerName, bytes.Join(lines, nil)); err != nil {
			return err
		}
	}
	line, err := json.Marshal(row)
	if err != nil {
		return err
	}
	return folder.WriteFile(rowsName, append(line, '\n'))
}

// readLoad reads the folder of a load, or of a part of one.
func (a *app) readLoad(dir string) (p loadPlan, m measured, err error) {
	if err := readJSON(filepath.Join(dir, loadPlanName), &p); err != nil {
		return p, m, err
	}
	if p.Schema != loadPlanSchema || p.SchemaVersion != 1 {
		return p, m, fmt.Errorf("%s: schema %q version %d: expected %q version 1, as `llmdyno load --out` writes it", filepath.Join(dir, loadPlanName), p.Schema, p.SchemaVersion, loadPlanSchema)
	}
	if err := readJSON(filepath.Join(dir, loadClientName), &m.audit); err != nil {
		return p, m, err
	}
	var d sample.Decoder
	path := filepath.Join(dir, loadSamplesName)
	torn, err := artifact.ReadLines(path, sample.MaxLine, d.Line)
	if err != nil {
		return p, m, err
	}
	if torn {
		return p, m, fmt.Errorf("reading %s: it ends in the middle of a sample: copy the folder anew", path)
	}
	if err := d.End(); err != nil {
		return p, m, fmt.Errorf("reading %s: %w", path, err)
	}
	m.started, m.duration, m.records = d.Header.Started, time.Duration(d.Header.DurationNs), d.Records
	m.heard, err = a.readWitness(dir, p)
	return p, m, err
}

// readWitness reads what the server said; nil = nobody listened, or the engine is
// not known.
func (a *app) readWitness(dir string, p loadPlan) (*witness.Record, error) {
	path := filepath.Join(dir, loadServerName)
	e, known := a.engines.Lookup(p.Engine)
	if _, err := os.Stat(path); !known || errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	d := witness.Decoder{Engine: e}
	if _, err := artifact.ReadLines(path, witness.MaxLine, d.Line); err != nil {
		return nil, err
	}
	if d.Record.Began.IsZero() {
		return nil, nil // an older file, which cannot be laid beside the samples
	}
	return &d.Record, nil
}
