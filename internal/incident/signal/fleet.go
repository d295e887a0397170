package signal

import (
	"math"
	"regexp"
	"slices"
)

// Fleet is a look across targets.
type Fleet struct {
	Targets int `json:"targets"`
	// Odd are the targets that differ from the rest, the most different first.
	Odd []Outlier `json:"odd"`
	// Differs are settings and versions that are not the same everywhere.
	Differs []Difference `json:"differs"`
}

// Outlier is one figure of one target that is far from the others'.
type Outlier struct {
	Target string  `json:"target"`
	Figure string  `json:"figure"`
	Value  float64 `json:"value"`
	Median float64 `json:"median"` // of all targets
	// Distance is how far it is from the median, in robust standard deviations of
	// the others (1.4826 times the median absolute deviation, with a floor).
	Distance float64 `json:"distance"`
}

// Difference is one setting with its values and who has them.
type Difference struct {
	Name   string              `json:"name"`
	Values map[string][]string `json:"values"` // value → targets; "" = not known
}

// fleetFacts are compared across targets; floor is the least spread that counts, in
// the fact's unit.
var fleetFacts = []struct {
	name  string
	floor float64
}{
	{"kv_usage_max", 0.05}, {"running", 2}, {"waiting", 2}, {"pd_queued", 2}, {"ttft_typical_s", 0.1}, {"queue_typical_s", 0.1},
	{"prefill_stage_s", 0.05}, {"accept_length", 0.2}, {"interval_hit_rate", 0.05}, {"interval_ttft_p50_s", 0.1}, {"stalled_s", 5}, {"snapshot_age_s", 2},
}

// farOff is the distance from which a target counts as odd.
const farOff = 5

// fleetOf compares targets; nil = there is only one.
func fleetOf(ts []TargetSummary) *Fleet {
	if len(ts) < 2 {
		return nil
	}
	f := &Fleet{Targets: len(ts), Odd: []Outlier{}, Differs: []Difference{}}
	for _, fact := range fleetFacts {
		f.addOdd(ts, fact.name, fact.floor)
	}
	healthy := map[bool][]string{}
	for _, t := range ts {
		healthy[t.Health.Answers] = append(healthy[t.Health.Answers], t.ID)
	}
	if dead, alive := healthy[false], healthy[true]; len(dead) > 0 && len(alive) > len(dead) {
		for _, id := range dead {
			f.Odd = append(f.Odd, Outlier{Target: id, Figure: "answers", Value: 0, Median: 1, Distance: math.MaxFloat32})
		}
	}
	slices.SortStableFunc(f.Odd, func(a, b Outlier) int {
		switch {
		case a.Distance > b.Distance:
			return -1
		case a.Distance < b.Distance:
			return 1
		}
		return 0
	})
	f.differ(ts)
	return f
}

func (f *Fleet) addOdd(ts []TargetSummary, name string, floor float64) {
	var values []float64
	var who []string
	for _, t := range ts {
		if v, ok := facts(t.Facts).get(name); ok {
			values, who = append(values, v), append(who, t.ID)
		}
	}
	if len(values) < 3 {
		return // of two nobody knows which one is odd
	}
	mid := median(values)
	away := make([]float64, len(values))
	for i, v := range values {
		away[i] = math.Abs(v - mid)
	}
	const toSigma = 1.4826 // of a normal distribution
	spread := max(toSigma*median(away), floor)
	for i, v := range values {
		if d := math.Abs(v-mid) / spread; d >= farOff {
			f.Odd = append(f.Odd, Outlier{who[i], name, v, mid, d})
		}
	}
}

func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	if n%2 == 1 {
		return s[n/2]
	}
	return (s[n/2-1] + s[n/2]) / 2
}

// addresses differ by nature.
var byNature = regexp.MustCompile(`^(host|port|nccl_port|dist_init_addr|node_rank|base_gpu_id|.*_port|.*_ports|.*_ip|.*_id)$`)

func (f *Fleet) differ(ts []TargetSummary) {
	of := map[string]map[string][]string{}
	add := func(name, value, id string) {
		if of[name] == nil {
			of[name] = map[string][]string{}
		}
		of[name][value] = append(of[name][value], id)
	}
	names := map[string]bool{}
	for _, t := range ts {
		for k := range t.Settings {
			names[k] = true
		}
	}
	for _, t := range ts {
		if !t.Health.Answers {
			continue
		}
		add("engine", t.Engine, t.ID)
		add("engine_version", t.Version, t.ID)
		add("model_path", t.Identity.ModelPath, t.ID)
		add("weight_version", t.Identity.WeightVersion, t.ID)
		add("disaggregation_mode", t.Topology.Mode, t.ID)
		for k := range names {
			if !byNature.MatchString(k) && of[k] == nil || !byNature.MatchString(k) && k != "model_path" && k != "weight_version" && k != "disaggregation_mode" {
				add(k, t.Settings[k], t.ID)
			}
		}
	}
	for name, values := range of {
		if len(values) > 1 {
			f.Differs = append(f.Differs, Difference{name, values})
		}
	}
	slices.SortFunc(f.Differs, func(a, b Difference) int { return compareNames(a.Name, b.Name) })
}
