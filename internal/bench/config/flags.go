package config

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"llmdyno/internal/engine"
)

// seqMargin is what a prompt of a chosen length may grow by on the server: a
// begin token and a chat template are a few dozen tokens. Our own estimate.
const seqMargin = 64

// section is one engine's part of the file under judgement.
type section struct {
	*checker
	e    *engine.Engine
	s    EngineSection
	path string // frameworks.NAME
}

// placed is one value of a flag with its path.
type placed struct {
	path  string
	value Value
}

func (c *checker) engine(e *engine.Engine, s EngineSection) {
	x := section{c, e, s, "frameworks." + s.Name}
	x.captured()
	x.command()
	x.required()
	x.eachFlag()
	x.axes()
	x.model()
	x.sequence()
	x.parallel()
	x.batchLimits()
	x.constraints()
}

// captured says what became of the engine's help captures.
func (x section) captured() {
	for _, file := range x.help.empty[x.e.ID] {
		x.warnf(x.path, "the help capture %s defines no flag: it is ignored, as if the engine were not installed", file)
	}
}

func (x section) command() {
	at := x.path + ".server_command"
	if !x.ok(at) {
		return
	}
	words, err := splitWords(x.s.ServerCommand)
	switch {
	case err != nil:
		x.errorf(at, "cannot be split into words: %v", err)
	case x.given(at) && len(words) == 0:
		x.errorf(at, "must not be empty: the words that start the server, such as %s", strings.Join(x.e.Launch.Command, " "))
	}
}

// required checks the settings without which the engine is not run here.
func (x section) required() {
	for _, r := range x.e.Launch.Required {
		base := x.path + ".base_server_flags." + r.Key
		why := fmt.Sprintf("%s runs with %s %s only: %s", x.e.ID, r.Key, r.Value, r.Reason)
		if v, set := x.s.BaseFlags.Get(r.Key); x.ok(x.path+".base_server_flags") && (!set || v.plainText() != r.Value) {
			x.errorf(base, "must be %s; %s", r.Value, why)
		}
		if _, searched := x.s.SearchSpace.Axis(r.Key); searched {
			x.errorf(x.path+".search_space."+r.Key, "must not be searched; %s", why)
		}
		for i, c := range x.s.Candidates {
			if v, set := c.Get(r.Key); set && v.plainText() != r.Value {
				x.errorf(fmt.Sprintf("%s.candidates[%d].%s", x.path, i, r.Key), "must be %s; %s", r.Value, why)
			}
		}
		if v, set := commandValue(x.e, x.s.ServerCommand, r.Key); set && v != r.Value { // V22
			x.errorf(x.path+".server_command", "sets %s to %q; %s", x.f.option(x.e, r.Key), short(v), why)
		}
		policy := "fixed_" + r.Value
		if at := x.path + ".backend_policy"; r.Key == "backend" && (!x.ours() || x.s.BackendPolicy != "") && x.ok(at) && x.s.BackendPolicy != policy {
			x.errorf(at, "must be %s, got %q; %s", policy, short(x.s.BackendPolicy), why)
		}
	}
}

// values lists every value that a key has in the section: base, searched and in
// the explicit candidates.
func (x section) values(key string) []placed {
	var out []placed
	if v, ok := x.s.BaseFlags.Get(key); ok {
		out = append(out, placed{x.path + ".base_server_flags." + key, v})
	}
	for i, c := range x.s.Candidates {
		if v, ok := c.Get(key); ok {
			out = append(out, placed{fmt.Sprintf("%s.candidates[%d].%s", x.path, i, key), v})
		}
	}
	if a, ok := x.s.SearchSpace.Axis(key); ok {
		for i, v := range a.Values {
			out = append(out, placed{x.axisPath(a, i), v})
		}
	}
	return out
}

func (x section) axisPath(a Axis, i int) string {
	at := x.path + ".search_space." + a.Key
	if a.Listed {
		at += fmt.Sprintf("[%d]", i)
	}
	return at
}

// keys lists every key of the section with the path of its first use.
func (x section) keys() []placed {
	var out []placed
	add := func(key, path string) {
		if !slices.ContainsFunc(out, func(p placed) bool { return p.value.str == key }) {
			out = append(out, placed{path, Value{Kind: engine.ValueString, str: key}})
		}
	}
	for _, f := range x.s.BaseFlags {
		add(f.Key, x.path+".base_server_flags."+f.Key)
	}
	for i, c := range x.s.Candidates {
		for _, f := range c {
			add(f.Key, fmt.Sprintf("%s.candidates[%d].%s", x.path, i, f.Key))
		}
	}
	for _, a := range x.s.SearchSpace {
		add(a.Key, x.path+".search_space."+a.Key)
	}
	return out
}

// eachFlag checks that every flag exists and that its values fit it.
func (x section) eachFlag() {
	for _, k := range x.keys() {
		key := k.value.str
		flag, inTable := x.e.Flag(key)
		if !x.exists(k.path, key, flag, inTable) {
			continue
		}
		if flag.Inert != "" {
			x.warnf(k.path, "varying this flag changes nothing: %s", flag.Inert)
		}
		x.version(k.path, flag)
		for _, v := range x.values(key) {
			x.fits(v.path, flag, inTable, v.value)
		}
	}
}

// exists checks a flag against the help capture, or without one against the
// tables: in schema_version 1 the part of them that upstream accepts.
func (x section) exists(path, key string, flag engine.Flag, inTable bool) bool {
	option := x.f.option(x.e, key)
	defined, captured := x.help.defines(x.e.ID, option)
	switch {
	case captured && defined:
		return true // V18: the capture extends the tables
	case captured:
		x.errorf(path, "the help capture %s does not define %s%s", strings.Join(x.help.files[x.e.ID], ", "), option, x.otherSpelling(option))
	case inTable && (x.ours() || flag.Upstream || !fromUpstream(x.e)):
		return true
	case inTable:
		x.errorf(path, "%s is a flag of %s, but schema_version 1 accepts it only with a help capture that defines it: give --help-dir, or set schema_version: 2", option, x.e.ID)
	default:
		x.errorf(path, "unknown flag of %s%s; a help capture (--help-dir) that defines %s would make it known", x.e.ID, didYouMean(key, x.knownKeys()), option)
	}
	return false
}

func (x section) knownKeys() []string {
	var out []string
	for _, f := range x.e.Flags {
		if x.ours() || f.Upstream || !fromUpstream(x.e) {
			out = append(out, f.Key)
		}
	}
	return out
}

// otherSpelling points at the same option with dashes for underscores (V21), or
// at the nearest one.
func (x section) otherSpelling(option string) string {
	dashed := "--" + strings.ReplaceAll(strings.TrimPrefix(option, "--"), "_", "-")
	under := "--" + strings.ReplaceAll(strings.TrimPrefix(option, "--"), "-", "_")
	for _, other := range []string{dashed, under} {
		if defined, _ := x.help.defines(x.e.ID, other); defined {
			return fmt.Sprintf(", only %s: the command would carry an option that this version does not have", other)
		}
	}
	return didYouMean(option, x.help.long(x.e.ID))
}

// version warns of a flag that the section's engine version does not have. The
// installed engine decides.
func (x section) version(path string, flag engine.Flag) {
	switch v := x.s.Version; {
	case v == "":
	case flag.Since != "" && olderVersion(v, flag.Since):
		x.warnf(path, "version %s of %s does not have this flag: it came with %s", v, x.e.ID, flag.Since)
	case flag.Until != "" && olderVersion(flag.Until, v):
		x.warnf(path, "version %s of %s does not have this flag: %s was the last with it", v, x.e.ID, flag.Until)
	}
}

// olderVersion compares versions number by number; what is not a number is left
// out.
func olderVersion(a, b string) bool { return slices.Compare(numbers(a), numbers(b)) < 0 }

var digits = regexp.MustCompile(`\d+`)

func numbers(version string) []int {
	var out []int
	for _, d := range digits.FindAllString(version, 6) {
		n, _ := strconv.Atoi(d) // too long a number is the largest
		out = append(out, n)
	}
	return out
}

// humanInt is an integer as some engines read it: 16k, 1M.
var humanInt = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?[kKmMgG]$`)

// fits checks one value against the flag's type and range.
func (x section) fits(path string, flag engine.Flag, inTable bool, v Value) {
	if !x.ok(path) || v.Kind == engine.ValueNull {
		return
	}
	if v.Kind == engine.ValueList || v.Kind == engine.ValueMap {
		x.structured(path, flag, inTable, v)
		return
	}
	if v.Kind == engine.ValueBool && !v.bool {
		x.switchedOff(path, flag)
	}
	if !inTable {
		return
	}
	if _, word := enumWord(flag, v); word && x.ours() {
		return
	}
	text := v.plainText()
	special := text == flag.Default || slices.Contains(flag.Values, text)
	switch flag.Type {
	case engine.FlagBool:
		if v.Kind != engine.ValueBool {
			x.errorf(path, "the flag takes no value: write true or false, got %s", v.describe())
		}
		return
	case engine.FlagInt:
		if _, err := strconv.ParseInt(text, 10, 64); v.Kind != engine.ValueInt && (v.Kind != engine.ValueString || err != nil && !special && !humanInt.MatchString(text)) {
			x.errorf(path, "the flag takes an integer, got %s", v.describe())
			return
		}
	case engine.FlagFloat:
		if _, err := strconv.ParseFloat(text, 64); err != nil && !special {
			x.errorf(path, "the flag takes a number, got %s", v.describe())
			return
		}
	case engine.FlagEnum:
		if len(flag.Values) > 0 && !special {
			x.warnf(path, "%s is not among the known values %s%s; the engine decides", short(text), strings.Join(flag.Values, ", "), didYouMean(text, flag.Values))
		}
		return
	case engine.FlagJSON:
		if v.Kind == engine.ValueString && strings.HasPrefix(strings.TrimSpace(text), "{") && !json.Valid([]byte(text)) {
			x.errorf(path, "the text is not valid JSON")
		}
		return
	}
	if v.Kind == engine.ValueBool {
		x.errorf(path, "the flag takes a value, got %s", v.describe())
		return
	}
	x.inRange(path, flag, v, special)
}

// inRange checks the bounds of a number; memory shares are in (0, 1].
func (x section) inRange(path string, flag engine.Flag, v Value, special bool) {
	n, err := strconv.ParseFloat(v.plainText(), 64)
	if err != nil {
		return
	}
	switch {
	case slices.Contains(x.e.Launch.MemoryFraction, flag.Key) && (n <= 0 || n > 1):
		x.errorf(path, "is a share of GPU memory, above 0 and at most 1, got %s", v.plainText())
	case special:
	case flag.Min != nil && n < *flag.Min:
		x.errorf(path, "must be at least %g, got %s", *flag.Min, v.plainText())
	case flag.Max != nil && n > *flag.Max:
		x.errorf(path, "must be at most %g, got %s", *flag.Max, v.plainText())
	}
}

// structured checks a list or a map (V7).
func (x section) structured(path string, flag engine.Flag, inTable bool, v Value) {
	takes := !inTable || flag.Type == engine.FlagJSON || flag.Type == engine.FlagString || flag.Type == engine.FlagList && v.Kind == engine.ValueList
	switch {
	case !x.ours():
		x.warnf(path, "schema_version 1 writes %s as Python text, %s, which no engine reads; schema_version 2 writes lists as repeated words and maps as JSON", v.describe(), short(x.e.ArgsUpstream(Flags{{flag.Key, v}}.Settings())[1]))
	case !takes:
		x.errorf(path, "the flag takes one value, got %s", v.describe())
	case v.Kind == engine.ValueList && len(v.list) == 0 && flag.Type != engine.FlagJSON:
		x.errorf(path, "is an empty list: leave the flag out instead")
	}
}

// switchedOff explains a false that adds no words to the command (V6).
func (x section) switchedOff(path string, flag engine.Flag) {
	switch {
	case flag.Type != engine.FlagBool || flag.Default == "false" || flag.Default == "" && flag.Negative == "":
	case !x.ours() && flag.Negative != "":
		x.warnf(path, "schema_version 1 leaves a false flag out, so it keeps the engine's default, which is on; schema_version 2 writes %s", flag.Negative)
	case flag.Negative == "" && flag.Default == "true":
		x.warnf(path, "false adds nothing to the command and the engine's default is on: it has no option that switches this off")
	}
}

// axes checks the search space as a whole.
func (x section) axes() {
	var single []string
	for _, a := range x.s.SearchSpace {
		at := x.path + ".search_space." + a.Key
		if len(a.Values) == 0 {
			if x.ours() {
				x.errorf(at, "is an empty list: there is nothing to search; remove the key")
			} else {
				x.warnf(at, "is an empty list, which empties the whole product: only the baseline is tried; remove the key")
			}
		}
		x.duplicates(a)
		if base, set := x.s.BaseFlags.Get(a.Key); len(a.Values) == 1 && (!set || base.same() != a.Values[0].same()) {
			single = append(single, a.Key)
		}
	}
	if len(single) > 0 && len(x.s.SearchSpace) > 1 {
		x.warnf(x.path+".search_space", "keys with a single value (%s) change together with the others in every candidate but the baseline, so their effect cannot be told apart: put them under base_server_flags", strings.Join(single, ", "))
	}
	for i, c := range x.s.Candidates {
		at := fmt.Sprintf("%s.candidates[%d]", x.path, i)
		if len(c) == 0 && x.ok(at) {
			x.errorf(at, "is empty: it would repeat the baseline")
		}
	}
}

func (x section) duplicates(a Axis) {
	seen := map[string]Value{}
	for i, v := range a.Values {
		key := v.same()
		first, twice := seen[key]
		switch {
		case !twice:
			seen[key] = v
		case first.plainText() == v.plainText():
			x.warnf(x.axisPath(a, i), "the value %s is listed twice", short(v.plainText()))
		case !x.ours():
			x.warnf(x.axisPath(a, i), "%s counts as the same value as %s although the command differs: only the first is tried (schema_version 2 tries both)", v.plainText(), first.plainText())
		}
	}
}

// model checks that the engine is told to load the model of the file (V8).
func (x section) model() {
	key := x.e.Launch.ModelFlag
	if key == "" || !x.ok("model.name") || !x.ok(x.path+".base_server_flags") {
		return
	}
	values := x.values(key)
	if len(values) == 0 && !x.ours() && !commandSets(x.e, x.s.ServerCommand, key) {
		x.errorf(x.path+".base_server_flags."+key, "the key is missing: without it no model is loaded; set it to %s", x.f.ServedModel())
	}
	for _, v := range values {
		if text := v.value.plainText(); text != x.f.Model.Name && text != x.f.ServedModel() {
			x.errorf(v.path, "is %q, but model.name is %q: the engines would not serve the same model", short(text), short(x.f.Model.Name))
		}
	}
}

// need is what the longest scenario needs, in tokens; 0 = not known.
func (f *File) need() int {
	longest := 0
	for _, w := range f.Scenarios() {
		if w.Spec != nil {
			if n, ok := w.Spec.Longest(); ok {
				longest = max(longest, n)
			}
		} else if w.InputLen > 0 && w.OutputLen > 0 {
			longest = max(longest, w.InputLen+w.OutputLen)
		}
	}
	return longest
}

// sequence checks that every candidate can hold the longest request.
func (x section) sequence() {
	key, need := x.e.Launch.SeqLimit, x.f.need()
	if key == "" || need == 0 || !x.ok("dataset.input_len") || !x.ok("dataset.output_len") || !x.ok(x.path+".base_server_flags") {
		return
	}
	if _, set := x.s.BaseFlags.Get(key); !set && !x.e.Launch.SeqLimitOptional && !commandSets(x.e, x.s.ServerCommand, key) {
		x.errorf(x.path+".base_server_flags."+key, "the key is missing: the longest scenario needs %d tokens, prompt and output together", need)
	}
	for _, v := range x.values(key) {
		limit, err := strconv.ParseInt(v.value.plainText(), 10, 64)
		switch {
		case v.value.Kind == engine.ValueFloat: // V23; the flag's type says so too
		case v.value.Kind == engine.ValueNull && !x.e.Launch.SeqLimitOptional && !x.ours():
			x.errorf(v.path, "is null, but the longest scenario needs %d tokens, prompt and output together", need)
		case err != nil:
		case limit == 0 && x.seqDefault() == "0", limit < 0 && x.ours():
			// the model's own limit
		case limit < int64(need):
			x.errorf(v.path, "%d tokens are too short: the longest scenario needs %d, prompt and output together", limit, need)
		case limit < int64(need+seqMargin):
			x.warnf(v.path, "%d tokens leave %d for a begin token and a chat template (the longest scenario needs %d): requests may be refused; %d is safe", limit, limit-int64(need), need, need+seqMargin)
		}
	}
}

// seqDefault is the default of the sequence limit, as text.
func (x section) seqDefault() string {
	f, _ := x.e.Flag(x.e.Launch.SeqLimit)
	return f.Default
}

// parallel checks that the parallel sizes fit the GPUs.
func (x section) parallel() {
	h := x.f.Hardware
	if h.GPUCount == 0 || !x.ok("hardware") {
		return
	}
	total := h.GPUCount * max(h.Nodes, 1)
	base := x.gpus(x.s.BaseFlags)
	reported := map[string]bool{}
	space := slices.DeleteFunc(slices.Clone(x.s.SearchSpace), func(a Axis) bool {
		return !slices.Contains(x.parallelKeys(), a.Key) || len(a.Values) == 0
	})
	product(space, func(flags Flags) {
		n := x.gpus(flags)
		path := x.blame(flags)
		if n <= total || reported[path] {
			return
		}
		reported[path] = true
		if h.MultiNode && h.Nodes == 0 {
			x.warnf(path, "the parallel sizes need %d GPUs and hardware.gpu_count is %d: with multi_node it is not stated how many nodes there are (schema_version 2: hardware.nodes)", n, h.GPUCount)
			return
		}
		x.errorf(path, "the parallel sizes need %d GPUs (%s), but the hardware has %d", n, x.sizes(flags), total)
	}, x.s.BaseFlags)
	if base < total && base > 0 {
		x.warnf(x.path+".base_server_flags", "the baseline uses %d of %d GPUs: engines that use all of them are not compared on equal terms", base, total)
	}
}

func (x section) parallelKeys() []string {
	l := x.e.Launch
	return slices.DeleteFunc([]string{l.TP, l.PP, l.DP}, func(k string) bool { return k == "" })
}

// gpus is the number of GPUs that a candidate occupies. Data parallel attention
// shares the GPUs of the tensor-parallel group.
func (x section) gpus(flags Flags) int {
	n := 1
	for _, key := range x.parallelKeys() {
		if key == x.e.Launch.DP && slices.ContainsFunc(flags, func(f Flag) bool { return strings.Contains(f.Key, "dp_attention") && f.Value.bool }) {
			continue
		}
		n *= sizeOf(flags, key)
	}
	return n
}

// sizeOf is a parallel size, 1 where it is not set; bounded, so that products
// do not overflow.
func sizeOf(flags Flags, key string) int {
	v, _ := flags.Get(key)
	n, ok := v.Int()
	if !ok {
		return 1
	}
	return int(min(max(n, 1), 1<<18))
}

func (x section) sizes(flags Flags) string {
	var parts []string
	for _, key := range x.parallelKeys() {
		if _, set := flags.Get(key); set {
			parts = append(parts, fmt.Sprintf("%s %d", key, sizeOf(flags, key)))
		}
	}
	return strings.Join(parts, ", ")
}

// blame is the path of the largest parallel size, of the searched one where
// there is a choice.
func (x section) blame(flags Flags) string {
	path, largest := x.path+".base_server_flags", 0
	for _, key := range x.parallelKeys() {
		v, set := flags.Get(key)
		if n := sizeOf(flags, key); set && n > largest {
			largest = n
			path = x.placeOf(key, v)
		}
	}
	return path
}

// placeOf is the path at which a key has a value: searched before base.
func (x section) placeOf(key string, v Value) string {
	places := x.values(key)
	for _, p := range slices.Backward(places) {
		if p.value.same() == v.same() {
			return p.path
		}
	}
	return x.path
}

// batchLimits names searched limits that cannot bind (D2).
func (x section) batchLimits() {
	largest, uncapped := x.f.largestCap(), slices.Contains(x.f.Caps(), 0)
	if largest == 0 || !x.ok("benchmark.max_concurrency") || len(x.f.Benchmark.Loads) > 0 {
		return
	}
	for _, key := range x.e.Launch.BatchLimit {
		a, searched := x.s.SearchSpace.Axis(key)
		var idle []string
		for _, v := range a.Values {
			if n, ok := v.Int(); ok && n >= int64(largest) {
				idle = append(idle, v.plainText())
			}
		}
		if !searched || len(idle) == 0 {
			continue
		}
		where := "no load point can show a difference between them"
		if uncapped {
			where = "only the load point without a cap can show a difference"
		}
		x.warnf(x.path+".search_space."+key, "%s cannot bind while at most %d requests are in flight (benchmark.max_concurrency): %s", strings.Join(idle, ", "), largest, where)
	}
}

// constraints asks the engine's own rules about every candidate that is tried.
// In schema_version 1 a rule that only searched values break is a warning:
// upstream lists such candidates, and they end as failed rows.
func (x section) constraints() {
	if !x.ok(x.path+".base_server_flags") || !x.ok(x.path+".search_space") || x.f.Search.Limit < 1 {
		return
	}
	reported := map[string]bool{}
	for i, flags := range x.f.generate(x.e, x.s).listed {
		setup := x.setup(flags)
		for _, c := range x.e.Constraints {
			key, problem := c.Check(setup)
			if problem == "" || reported[c.ID+key+problem] {
				continue
			}
			reported[c.ID+key+problem] = true
			v, _ := flags.Get(key)
			sev := SeverityWarning
			if c.Fatal && (x.ours() || i == 0) {
				sev = SeverityError
			}
			x.report(sev, x.placeOf(key, v), "candidate %d: %s (rule %s)", i, problem, c.ID)
		}
	}
}

// setup is a candidate as the rules of its engine see it.
func (x section) setup(flags Flags) engine.Setup {
	return engine.Setup{
		Engine: x.e, Version: x.s.Version, Model: x.f.ServedModel(), Settings: x.f.settings(x.e, x.s, flags),
		GPUs: x.f.Hardware.GPUCount, GPU: x.f.Hardware.GPUModel, Nodes: x.nodes(flags), SeqTokens: x.f.need(),
	}
}

// nodes is the number of nodes of a candidate as far as the file says it.
func (x section) nodes(flags Flags) int {
	if n := x.f.Hardware.Nodes; n > 0 {
		return n
	}
	if v, set := flags.Get("nnodes"); set { // upstream's key, upstream schema §1
		if n, ok := v.Int(); ok {
			return int(n)
		}
	}
	if x.f.Hardware.MultiNode {
		return max(1, (x.gpus(flags)+x.f.Hardware.GPUCount-1)/max(x.f.Hardware.GPUCount, 1))
	}
	return 1
}
