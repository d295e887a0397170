package signal

import (
	"cmp"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// DiffSchema is the schema of a comparison.
const DiffSchema = "llmdyno.incident.diff"

// Diff is what differs between two bundles, what matters most first.
type Diff struct {
	Schema        string   `json:"schema"`
	SchemaVersion int      `json:"schema_version"`
	A             string   `json:"a"`
	B             string   `json:"b"`
	Changes       []Change `json:"changes"`
	Same          int      `json:"same"` // compared and found equal
	// OnlyA and OnlyB are targets without a counterpart.
	OnlyA []string `json:"only_a,omitempty"`
	OnlyB []string `json:"only_b,omitempty"`
	// Delta are the figures between the two, where both are of the same processes.
	Delta map[string]*Delta `json:"delta,omitempty"`
}

// Change is one difference.
type Change struct {
	Target string `json:"target,omitempty"`
	Area   string `json:"area"` // signals, health, identity, settings, topology, capacity, load, figures
	Name   string `json:"name"`
	A      string `json:"a"` // "" = not known
	B      string `json:"b"`
	// Ratio is b to a of two numbers that are not zero.
	Ratio *float64 `json:"ratio,omitempty"`
	// Weight orders changes: how much it matters, times how far it went.
	Weight float64 `json:"weight"`
}

// Compare sets two summaries against each other.
func Compare(a, b *Summary) *Diff {
	d := &Diff{Schema: DiffSchema, SchemaVersion: 1, A: a.Bundle, B: b.Bundle, Changes: []Change{}}
	paired := map[string]bool{}
	for i, tb := range b.Targets {
		at := slices.IndexFunc(a.Targets, func(o TargetSummary) bool { return o.URL == tb.URL && tb.URL != "" && !paired[o.ID] })
		if at < 0 {
			at = slices.IndexFunc(a.Targets, func(o TargetSummary) bool { return o.ID == tb.ID && !paired[o.ID] })
		}
		if at < 0 && len(a.Targets) == len(b.Targets) && !paired[a.Targets[i].ID] {
			at = i
		}
		if at < 0 {
			d.OnlyB = append(d.OnlyB, tb.ID)
			continue
		}
		paired[a.Targets[at].ID] = true
		d.pair(a.Targets[at], tb, len(b.Targets) > 1)
	}
	for _, ta := range a.Targets {
		if !paired[ta.ID] {
			d.OnlyA = append(d.OnlyA, ta.ID)
		}
	}
	slices.SortStableFunc(d.Changes, func(x, y Change) int { return cmp.Compare(y.Weight, x.Weight) })
	return d
}

// Weights of the areas: what is wrong comes before what was changed by hand, that
// before what is a consequence.
const (
	weightSignal   = 100
	weightHealth   = 90
	weightIdentity = 80
	weightTopology = 70
	weightSetting  = 60
	weightCapacity = 50
	weightFigure   = 30
	weightLoad     = 20
)

func (d *Diff) pair(a, b TargetSummary, name bool) {
	id := ""
	if name {
		id = b.ID
	}
	text := func(area, name, x, y string, weight float64) {
		if x == y {
			d.Same++
			return
		}
		d.Changes = append(d.Changes, Change{Target: id, Area: area, Name: name, A: x, B: y, Weight: weight})
	}
	for _, rule := range union(a.Firing, b.Firing) {
		text("signals", rule, firing(a, rule), firing(b, rule), weightSignal)
	}
	text("health", "health", a.Health.Health.Outcome, b.Health.Health.Outcome, weightHealth)
	text("health", "health_generate", a.Health.HealthGenerate.Outcome, b.Health.HealthGenerate.Outcome, weightHealth)
	text("identity", "engine", a.Engine, b.Engine, weightIdentity+5)
	text("identity", "engine_version", a.Version, b.Version, weightIdentity+3)
	text("identity", "model_path", a.Identity.ModelPath, b.Identity.ModelPath, weightIdentity+2)
	text("identity", "weight_version", a.Identity.WeightVersion, b.Identity.WeightVersion, weightIdentity+1)
	text("identity", "served_model_name", a.Identity.ServedModelName, b.Identity.ServedModelName, weightIdentity)
	text("identity", "accelerator", a.Identity.Accelerator, b.Identity.Accelerator, weightIdentity+4)
	text("topology", "disaggregation_mode", a.Topology.Mode, b.Topology.Mode, weightTopology)
	text("topology", "attention_backend", a.Topology.AttentionBackend, b.Topology.AttentionBackend, weightTopology)
	text("topology", "schedule_policy", a.Topology.SchedulePolicy, b.Topology.SchedulePolicy, weightTopology)
	var settings []string
	for k := range a.Settings {
		settings = append(settings, k)
	}
	for k := range b.Settings {
		settings = append(settings, k)
	}
	for _, k := range union(settings, nil) {
		w := float64(weightSetting)
		if byNature.MatchString(k) {
			w = 1
		}
		if !topological[k] {
			text("settings", k, a.Settings[k], b.Settings[k], w)
		}
	}
	d.numbers(id, a, b)
}

// topological settings are compared as topology and identity already.
var topological = map[string]bool{
	"tp_size": true, "dp_size": true, "pp_size": true, "ep_size": true, "disaggregation_mode": true, "attention_backend": true,
	"schedule_policy": true, "model_path": true, "served_model_name": true, "weight_version": true,
}

func firing(t TargetSummary, rule string) string {
	if slices.Contains(t.Firing, rule) {
		return "fires"
	}
	return "silent"
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

func (d *Diff) numbers(id string, a, b TargetSummary) {
	num := func(area, name string, x, y *float64, weight float64) {
		switch {
		case x == nil && y == nil:
			return
		case x != nil && y != nil && *x == *y:
			d.Same++
			return
		}
		c := Change{Target: id, Area: area, Name: name, A: numText(x), B: numText(y), Weight: weight}
		if x != nil && y != nil && *x != 0 && *y != 0 {
			r := *y / *x
			c.Ratio = &r
			c.Weight = weight * min(math.Abs(math.Log2(math.Abs(r))), 4) / 4
			if far := math.Abs(math.Log2(math.Abs(r))); far > 1 {
				c.Weight = weight + min(far, 8) // doubled or halved matters more than any small change
			}
		} else if x != nil && y != nil && area == "load" {
			c.Weight = weight
		}
		d.Changes = append(d.Changes, c)
	}
	num("topology", "tp_size", a.Topology.TP, b.Topology.TP, weightTopology)
	num("topology", "dp_size", a.Topology.DP, b.Topology.DP, weightTopology)
	num("topology", "pp_size", a.Topology.PP, b.Topology.PP, weightTopology)
	num("topology", "ep_size", a.Topology.EP, b.Topology.EP, weightTopology)
	num("capacity", "max_total_num_tokens", a.Capacity.MaxTotalTokens, b.Capacity.MaxTotalTokens, weightCapacity)
	num("capacity", "max_req_input_len", a.Capacity.MaxInputTokens, b.Capacity.MaxInputTokens, weightCapacity)
	num("capacity", "effective_max_running_requests_per_dp", a.Capacity.MaxRunningPerDP, b.Capacity.MaxRunningPerDP, weightCapacity)
	num("capacity", "kv_cache_gb", a.Capacity.KVCacheGB, b.Capacity.KVCacheGB, weightCapacity)
	num("capacity", "weight_gb", a.Capacity.WeightGB, b.Capacity.WeightGB, weightCapacity)
	num("capacity", "graph_gb", a.Capacity.GraphGB, b.Capacity.GraphGB, weightCapacity)
	for _, n := range []string{"ttft_typical_s", "queue_typical_s", "prefill_stage_s", "kv_usage_max", "accept_length", "accept_rate", "preemptions", "transfer_failures", "transfer_stage_s"} {
		num("figures", n, factOf(a, n), factOf(b, n), weightFigure)
	}
	for _, n := range []string{"running", "waiting", "pd_queued", "retracted_now", "active_http"} {
		num("load", n, factOf(a, n), factOf(b, n), weightLoad)
	}
	d.distributions(num, a.Figures, b.Figures)
}

func (d *Diff) distributions(num func(area, name string, x, y *float64, weight float64), a, b *Figures) {
	if !a.Known() || !b.Known() {
		return
	}
	for _, p := range []struct {
		name string
		a, b *Dist
	}{{"ttft", a.TTFT, b.TTFT}, {"e2e", a.E2E, b.E2E}, {"itl", a.ITL, b.ITL}, {"queue_time", a.QueueTime, b.QueueTime}} {
		if p.a != nil && p.b != nil {
			num("figures", p.name+"_p50_s", p.a.P50, p.b.P50, weightFigure)
			num("figures", p.name+"_p99_s", p.a.P99, p.b.P99, weightFigure)
		}
	}
}

func factOf(t TargetSummary, name string) *float64 {
	if v, ok := facts(t.Facts).get(name); ok {
		return &v
	}
	return nil
}

func numText(v *float64) string {
	if v == nil {
		return ""
	}
	return strconv.FormatFloat(*v, 'g', 6, 64)
}

func compareNames(a, b string) int { return strings.Compare(a, b) }

// secretName is a setting whose value is nobody's business. The words are those
// that servers use for keys; whatever is written is redacted once more.
var secretName = regexp.MustCompile(`(?i)(api_?key|token$|_token_|secret|passw|passphrase|credential|private_?key|authorization|cookie)`)

// shown are the settings without those that hold secrets.
func shown(settings map[string]string) map[string]string {
	var out map[string]string
	for k, v := range settings {
		if secretName.MatchString(k) || secretName.MatchString(v) {
			continue
		}
		if out == nil {
			out = map[string]string{}
		}
		out[k] = v
	}
	return out
}
