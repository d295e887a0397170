package result

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"llmdyno/internal/engine"
	"llmdyno/internal/load/metric"
)

// lenient fills structs from decoded JSON by their json tags. A value of the
// wrong kind is left out with a problem; unknown keys are ignored.
type lenient struct {
	problems []string
}

// maxProblems bounds what is said about one row.
const maxProblems = 40

func (d *lenient) problem(path, format string, args ...any) {
	if len(d.problems) >= maxProblems {
		return
	}
	message := fmt.Sprintf(format, args...)
	if path != "" {
		message = path + ": " + message
	}
	d.problems = append(d.problems, message)
}

func (d *lenient) row(object map[string]any, row *Row, engines engine.Set) {
	if w, ok := object["workload"].(map[string]any); ok {
		for _, key := range []string{SearchedRate, SearchedConcurrency} {
			if isUnlimited(w[key]) {
				w[key] = nil
			}
		}
	}
	d.fill("", object, reflect.ValueOf(row).Elem())
	if row.ServerCommand == "" {
		d.value("launch_command", object["launch_command"], reflect.ValueOf(&row.ServerCommand).Elem())
	}
	row.Framework = d.framework(row.Framework, engines)
	row.Status = d.status(row.Status)
	row.Workload.Scenario = scenario(object)
	if c := row.Workload.MaxConcurrency; c != nil && *c <= 0 {
		row.Workload.MaxConcurrency = nil
	}
	if row.SchemaVersion > SchemaVersion {
		d.problem("schema_version", "%d is newer than this program reads (%d): keys that it does not know are ignored", row.SchemaVersion, SchemaVersion)
	}
	if m, ok := object["metrics"].(map[string]any); ok {
		d.strayFigures(m, row)
	}
	d.plausible(row)
	for i := range row.Points {
		d.points(i, &row.Points[i])
	}
}

func (d *lenient) points(i int, p *Point) {
	p.Status = d.status(p.Status)
	d.plausibleMetrics(fmt.Sprintf("points[%d].metrics", i), &p.Metrics)
}

// strayFigures takes the three figures that upstream also looks for among the
// metrics.
func (d *lenient) strayFigures(m map[string]any, row *Row) {
	take := func(key string, has bool, into func() **float64) {
		if v, ok := m[key]; ok && v != nil && !has {
			var x *float64
			d.value("metrics."+key, v, reflect.ValueOf(&x).Elem())
			if x != nil {
				*into() = x
			}
		}
	}
	take("mean_accept_length", row.SpecDecode != nil && row.SpecDecode.MeanAcceptLength != nil, func() **float64 {
		return &orNew(&row.SpecDecode).MeanAcceptLength
	})
	take("pre_scheduler_ms", row.PhaseMetrics != nil && row.PhaseMetrics.PreScheduler != nil, func() **float64 {
		return &orNew(&row.PhaseMetrics).PreScheduler
	})
	take("prefix_cache_hit_rate", row.Cache != nil && row.Cache.PrefixCacheHitRate != nil, func() **float64 {
		return &orNew(&row.Cache).PrefixCacheHitRate
	})
}

func orNew[T any](p **T) *T {
	if *p == nil {
		*p = new(T)
	}
	return *p
}

// fill sets the fields of a struct from an object.
func (d *lenient) fill(path string, object map[string]any, into reflect.Value) {
	t := into.Type()
	for i := range t.NumField() {
		key, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if key == "" || key == "-" {
			continue
		}
		if v, ok := object[key]; ok && v != nil {
			d.value(join(path, key), v, into.Field(i))
		}
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// value sets one value; into keeps what it had when v is of another kind.
func (d *lenient) value(path string, v any, into reflect.Value) {
	if v == nil {
		return
	}
	switch into.Kind() {
	case reflect.Pointer:
		before := len(d.problems)
		fresh := reflect.New(into.Type().Elem())
		if d.value(path, v, fresh.Elem()); len(d.problems) == before || into.Type().Elem().Kind() == reflect.Struct {
			into.Set(fresh)
		}
	case reflect.Struct:
		d.object(path, v, into)
	case reflect.String:
		if s, ok := textOf(path, v); ok {
			into.SetString(s)
		} else {
			d.problem(path, "expected a text, got %s", describe(v))
		}
	case reflect.Bool:
		if b, ok := boolOf(v); ok {
			into.SetBool(b)
		} else {
			d.problem(path, "expected true or false, got %s", describe(v))
		}
	case reflect.Float64:
		if x, ok := floatOf(v); ok {
			into.SetFloat(x)
		} else {
			d.problem(path, "expected a number, got %s: left out", describe(v))
		}
	case reflect.Int, reflect.Int64, reflect.Uint64:
		d.integer(path, v, into)
	case reflect.Slice:
		d.list(path, v, into)
	case reflect.Array:
		d.array(path, v, into)
	case reflect.Map:
		if into.Type().Elem().Kind() == reflect.Struct {
			d.entries(path, v, into)
		} else {
			d.counts(path, v, into)
		}
	}
}

func (d *lenient) object(path string, v any, into reflect.Value) {
	object, ok := v.(map[string]any)
	if !ok {
		d.problem(path, "expected an object, got %s: left out", describe(v))
		return
	}
	switch x := into.Addr().Interface().(type) {
	case *SLA:
		d.sla(path, object, x)
	case *Metrics:
		d.metrics(path, object, x)
	default:
		d.fill(path, object, into)
	}
}

func (d *lenient) integer(path string, v any, into reflect.Value) {
	x, ok := floatOf(v)
	const exact = 1 << 53
	if !ok || x != math.Trunc(x) || math.Abs(x) > exact || into.CanUint() && x < 0 {
		// A seed may need all 64 bits, which a float does not hold.
		if n, isNumber := v.(json.Number); isNumber && into.CanUint() {
			if u, err := strconv.ParseUint(n.String(), 10, 64); err == nil {
				into.SetUint(u)
				return
			}
		}
		d.problem(path, "expected a whole number, got %s: left out", describe(v))
		return
	}
	if into.CanUint() {
		into.SetUint(uint64(x))
		return
	}
	into.SetInt(int64(x))
}

func (d *lenient) list(path string, v any, into reflect.Value) {
	items, ok := v.([]any)
	if !ok {
		items = []any{v}
	}
	for i, item := range items {
		elem := reflect.New(into.Type().Elem()).Elem()
		before := len(d.problems)
		d.value(fmt.Sprintf("%s[%d]", path, i), item, elem)
		if len(d.problems) == before || elem.Kind() == reflect.Struct {
			into.Set(reflect.Append(into, elem))
		}
	}
}

// array takes a list of exactly the length of into.
func (d *lenient) array(path string, v any, into reflect.Value) {
	items, ok := v.([]any)
	if !ok || len(items) != into.Len() {
		d.problem(path, "expected a list of %d, got %s: left out", into.Len(), describe(v))
		return
	}
	for i, item := range items {
		d.value(fmt.Sprintf("%s[%d]", path, i), item, into.Index(i))
	}
}

// entries takes an object whose values are objects of one kind.
func (d *lenient) entries(path string, v any, into reflect.Value) {
	object, ok := v.(map[string]any)
	if !ok {
		d.problem(path, "expected an object, got %s: left out", describe(v))
		return
	}
	out := reflect.MakeMap(into.Type())
	for _, key := range slices.Sorted(maps.Keys(object)) {
		entry := reflect.New(into.Type().Elem()).Elem()
		d.value(join(path, key), object[key], entry)
		out.SetMapIndex(reflect.ValueOf(key), entry)
	}
	into.Set(out)
}

func (d *lenient) counts(path string, v any, into reflect.Value) {
	object, ok := v.(map[string]any)
	if !ok {
		d.problem(path, "expected an object of counts, got %s: left out", describe(v))
		return
	}
	out := map[string]int{}
	for key, item := range object {
		if x, ok := floatOf(item); ok && x == math.Trunc(x) && math.Abs(x) < math.MaxInt32 {
			out[key] = int(x)
		}
	}
	into.Set(reflect.ValueOf(out))
}

// sla reads limits of any statistic, in a fixed order. A limit that names no
// figure is kept, so that it fails instead of vanishing.
func (d *lenient) sla(path string, object map[string]any, s *SLA) {
	for _, key := range slices.Sorted(maps.Keys(object)) {
		v := object[key]
		if !strings.HasPrefix(key, "max_") || v == nil {
			continue
		}
		x, ok := floatOf(v)
		switch {
		case !ok || x < 0:
			d.problem(join(path, key), "expected a time in ms, got %s: the limit is left out", describe(v))
		default:
			s.set(Limit{key, x})
		}
	}
	slices.SortFunc(s.Limits, func(a, b Limit) int { return compareKeys(a.Key, b.Key) })
	var plain struct {
		MinSuccessRate *float64 `json:"min_success_rate"`
		Passed         *bool    `json:"passed"`
		Violations     []string `json:"violations"`
	}
	d.fill(path, object, reflect.ValueOf(&plain).Elem())
	if r := plain.MinSuccessRate; r != nil && (*r < 0 || *r > 1) {
		d.problem(join(path, minSuccessKey), "expected a share between 0 and 1, got %v: the limit is left out", *r)
		plain.MinSuccessRate = nil
	}
	s.MinSuccessRate, s.Passed, s.Violations = plain.MinSuccessRate, plain.Passed, plain.Violations
}

// compareKeys sorts limits by quantity as people name them, then by key.
func compareKeys(a, b string) int {
	order := func(key string) int {
		return slices.IndexFunc(new(Metrics).quantities(), func(q quantity) bool { return strings.HasSuffix(key, "_"+q.name+"_ms") })
	}
	if c := order(a) - order(b); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}

// statAliases and quantityAliases are spellings of other tools.
var (
	statAliases     = map[string]string{"p50": "median", "mean": "avg", "stddev": "std"}
	quantityAliases = map[string][]string{"e2e": {"e2el", "e2e_latency"}}
)

func (d *lenient) metrics(path string, object map[string]any, m *Metrics) {
	d.fill(path, object, reflect.ValueOf(m).Elem())
	levels := sameLevels(object["quantile_levels"])
	for _, q := range m.quantities() {
		for _, name := range append([]string{q.name}, quantityAliases[q.name]...) {
			d.latency(path, name, object, q.latency, levels)
		}
	}
}

func (d *lenient) latency(path, name string, object map[string]any, l *Latency, levels bool) {
	take := func(key string, into any) {
		if v, ok := object[key]; ok && v != nil {
			d.value(join(path, key), v, reflect.ValueOf(into).Elem())
		}
	}
	for _, s := range l.stats() {
		take(s.name+"_"+name+"_ms", s.value)
		if alias := statAliases[s.name]; alias != "" && *s.value == nil {
			take(alias+"_"+name+"_ms", s.value)
		}
	}
	take("n_"+name, &l.N)
	if v, ok := object["quantiles_"+name+"_ms"]; ok && levels {
		var list []float64
		d.value(join(path, "quantiles_"+name+"_ms"), v, reflect.ValueOf(&list).Elem())
		if len(list) == len(metric.QuantileLevels) && slices.IsSorted(list) && list[0] >= 0 {
			l.Quantiles = list
		}
	}
}

func sameLevels(v any) bool {
	list, _ := v.([]any)
	return slices.EqualFunc(list, metric.QuantileLevels, func(a any, b float64) bool {
		x, ok := floatOf(a)
		return ok && x == b
	})
}

// floatOf takes numbers and texts that are nothing but a finite number, as
// upstream does; unlike upstream it takes no booleans and no infinities.
func floatOf(v any) (float64, bool) {
	var text string
	switch x := v.(type) {
	case json.Number:
		text = x.String()
	case string:
		text = strings.TrimSpace(x)
		if strings.ContainsAny(text, "_xXpP") { // Go's own number syntax is no JSON
			return 0, false
		}
	default:
		return 0, false
	}
	f, err := strconv.ParseFloat(text, 64)
	return f, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
}

func boolOf(v any) (value, ok bool) {
	switch x := v.(type) {
	case bool:
		return x, true
	case string:
		switch strings.ToLower(strings.TrimSpace(x)) {
		case "true", "pass", "passed", "yes":
			return true, true
		case "false", "fail", "failed", "no":
			return false, true
		}
	}
	return false, false
}

// textOf takes texts, numbers, and lists of them: the words of a command, the
// members of anything else.
func textOf(path string, v any) (string, bool) {
	switch x := v.(type) {
	case string:
		return x, true
	case json.Number:
		return x.String(), true
	case []any:
		words := make([]string, len(x))
		for i, item := range x {
			s, ok := textOf("", item)
			if _, nested := item.([]any); !ok || nested {
				return "", false
			}
			words[i] = s
		}
		if !strings.HasSuffix(path, "command") {
			return strings.Join(words, ","), true
		}
		for i := range words {
			words[i] = shellWord(words[i])
		}
		return strings.Join(words, " "), true
	}
	return "", false
}

// shellWord quotes a word for a POSIX shell where it needs it.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("@%+=:,./_-", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'"'"'`) + "'"
}

// describe names a JSON value in an error, cut short.
func describe(v any) string {
	const most = 60
	switch x := v.(type) {
	case nil:
		return "null"
	case string:
		if len(x) > most {
			x = strings.ToValidUTF8(x[:most], "") + "…"
		}
		return strconv.Quote(x)
	case json.Number:
		if s := x.String(); len(s) <= most {
			return s
		}
		return "a number of many digits"
	case bool:
		return strconv.FormatBool(x)
	case []any:
		return "a list"
	}
	return "an object"
}

// Figures beyond these are no measurement of a server: the fastest published
// deployments stay below 1e6 output tokens/s, and no request is waited for
// longer than a day.
const (
	maxPlausibleRPS = 1e6
	maxPlausibleTPS = 1e9
	maxPlausibleMs  = 24 * 3600 * 1e3
)

// plausible takes out figures that cannot have been measured, so that an
// implausible figure never wins.
func (d *lenient) plausible(row *Row) {
	d.plausibleMetrics("metrics", &row.Metrics)
	d.notNegative("hardware.gpu_count", &row.Hardware.GPUCount)
	d.notNegative("workload.input_len", &row.Workload.InputLen)
	d.notNegative("workload.output_len", &row.Workload.OutputLen)
	d.notNegative("workload.num_prompts", &row.Workload.NumPrompts)
	if r := row.Workload.RequestRate; r != nil && !(*r > 0) {
		d.problem("workload.request_rate", "%v requests/s is no rate: left out", *r)
		row.Workload.RequestRate = nil
	}
	if c := row.Cache; c != nil {
		d.bound("cache.prefix_cache_hit_rate", &c.PrefixCacheHitRate, 0, 1)
		d.bound("cache.kv_cache_utilization", &c.KVCacheUtilization, 0, 1)
	}
}

func (d *lenient) notNegative(path string, p **int) {
	if *p != nil && **p < 0 {
		d.problem(path, "%d is negative: left out", **p)
		*p = nil
	}
}

func (d *lenient) plausibleMetrics(path string, m *Metrics) {
	d.bound(path+".request_throughput", &m.RequestThroughput, 0, maxPlausibleRPS)
	d.bound(path+".output_token_throughput", &m.OutputTokenThroughput, 0, maxPlausibleTPS)
	d.bound(path+".total_token_throughput", &m.TotalTokenThroughput, 0, maxPlausibleTPS)
	d.bound(path+".success_rate", &m.SuccessRate, 0, 1)
	d.bound(path+".attainment", &m.Attainment, 0, 1)
	d.bound(path+".goodput_rps", &m.Goodput, 0, maxPlausibleRPS)
	d.bound(path+".achieved_rps", &m.AchievedRate, 0, maxPlausibleRPS)
	d.bound(path+".offered_rps", &m.OfferedRate, 0, maxPlausibleRPS)
	for _, q := range m.quantities() {
		for _, s := range q.latency.stats() {
			key := path + "." + s.name + "_" + q.name + "_ms"
			d.bound(key, s.value, -maxPlausibleMs, maxPlausibleMs)
			never0 := (q.name == "ttft" || q.name == "tpot" || q.name == "e2e") && s.name != "stddev" && s.name != "min"
			if x := *s.value; x != nil && never0 && *x <= 0 {
				d.problem(key, "%v ms cannot be a time of a server: left out", *x)
				*s.value = nil
			}
		}
	}
}

func (d *lenient) bound(path string, p **float64, least, most float64) {
	if *p == nil {
		return
	}
	if x := **p; !(x >= least && x <= most) {
		d.problem(path, "%v is outside of what can be (%v to %v): left out", x, least, most)
		*p = nil
	}
}
