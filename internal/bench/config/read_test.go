package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"llmdyno/cookbook"
	"llmdyno/internal/engine"
)

func bomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 10; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	return b.String()
}

func TestBadFiles(t *testing.T) {
	for name, c := range map[string]struct {
		text, says string
		line       int
	}{
		"empty":            {"", "the file is empty", 1},
		"comments only":    {"# nothing\n\n", "the file is empty", 1},
		"null":             {"~\n", "must be a mapping", 1},
		"list":             {"- a\n", "must be a mapping", 1},
		"bomb":             {bomb(), "once its aliases are expanded", 1},
		"recursive alias":  {"a: &a [*a]\n", "nested deeper", 1},
		"deep":             {"a: " + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "\n", "nested deeper than 64", 1},
		"very deep":        {strings.Repeat("[", 100_000), "not valid YAML", 1},
		"large":            {"#" + strings.Repeat("x", maxFileBytes), "larger than 4 MiB", 1},
		"not UTF-8":        {"a: b\nc: \xff\n", "byte 0xff is not UTF-8", 2},
		"UTF-16":           {"\xff\xfea\x00", "UTF-16", 1},
		"two documents":    {"a: 1\n---\nb: 1\n", "a second document", 2},
		"tab":              {"a:\n\tb: 1\n", "a tab stands in the indentation", 2},
		"NUL":              {"a: \"\\0\"\n", "unknown key", 1},
		"list as key":      {"? [a]\n: 1\n", "a key must be text, got a list", 1},
		"null key":         {"~: 1\n", "a key must be text, got null", 1},
		"merge of a word":  {"<<: x\n", "wants a mapping, got the text", 1},
		"tag":              {"schema_version: !!binary x\n", "the tag !!binary is not read here", 1},
		"number too long":  {"schema_version: " + strings.Repeat("9", 5000) + "\n", "is not a number", 1},
		"number too large": {"schema_version: 99999999999999999999\n", "out of range", 1},
	} {
		t.Run(name, func(t *testing.T) {
			_, ds := Parse("x.yaml", []byte(c.text))
			found := false
			for _, d := range ds {
				found = found || strings.Contains(d.Message, c.says) && d.Line == c.line && d.Column >= 1
				if strings.Contains(d.Message, "\n") || len(d.Message) > 1000 {
					t.Errorf("not one readable line: %q", d.Message)
				}
			}
			if !found || !HasErrors(ds) {
				t.Errorf("no error %q on line %d in\n%s", c.says, c.line, lines(ds))
			}
		})
	}
}

func TestLargeFileIsNotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large.yaml")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(100 << 20); err != nil {
		t.Fatal(err)
	}
	if _, ds := Load(path); len(ds) != 1 || !strings.Contains(ds[0].Message, "larger than 4 MiB") {
		t.Errorf("got %v", ds)
	}
	for _, p := range []string{t.TempDir(), filepath.Join(t.TempDir(), "none")} {
		if f, ds := Load(p); f != nil || !HasErrors(ds) {
			t.Errorf("%s: %v", p, ds)
		}
	}
}

func TestByteOrderMarkAndMergeKeys(t *testing.T) {
	text := "\xef\xbb\xbf" + smallFile("1", "8", "", "")
	text = strings.Replace(text, "    base_server_flags:\n      max_model_len: 4096", "    base_server_flags:\n      block_size: 8\n      <<: &x {max_num_seqs: 4, block_size: 16}\n      max_model_len: 4096", 1)
	f, ds := judge(t, text, Options{})
	if HasErrors(ds) {
		t.Fatal(lines(ds))
	}
	// PyYAML puts merged keys first; the mapping's own value counts.
	if got := Plan(f, fixtureSet(), Options{}).Candidates[0].Command; got != "vllm serve org/m --max-num-seqs 4 --block-size 8 --max-model-len 4096" {
		t.Errorf("got %s", got)
	}
}

// The scalars were read with PyYAML 6.0.3, which is what upstream reads with.
func TestScalarsAsPyYAMLReadsThem(t *testing.T) {
	for text, want := range map[string]string{
		"on": "true", "Off": "false", "y": `"y"`, "~": "null", "Null": "null", "nUll": `"nUll"`,
		"0o10": `"0o10"`, "010": "8", "-010": "-8", "0x1F": "31", "0b101": "5", "1_000": "1000", "08": `"08"`, "1:30": "90", "1:60": `"1:60"`,
		"1e3": `"1e3"`, "1.e+3": "1000.0", "1.5": "1.5", "1.": "1.0", ".5": "0.5", "-.5": `"-.5"`, "1e+3": `"1e+3"`, "1.0e3": `"1.0e3"`, "1:30.5": "90.5", "+12": "12", "0.00001": "1e-05", "12345678901234567890": "12345678901234567890",
		"'on'": `"on"`, "!!str 8": `"8"`, "!!float 8": "8.0", "0.1": "0.1", "100000000000000000.0": "1e+17",
	} {
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatal(err)
		}
		v, problem := scalar(doc.Content[0])
		if got := v.JSON(); got != want || problem != "" {
			t.Errorf("%s reads as %s (%s), want %s", text, got, problem, want)
		}
	}
}

func TestDefaultsOfAFile(t *testing.T) {
	f, _ := LoadNamed("cookbook:glm-4.5")
	s := f.Scenarios()
	if len(s) != 2 || s[1].Name != "summarization" || s[1].InputLen != 8000 || s[1].NumPrompts != 80 || s[0].Kind != KindRandom || s[0].Seed != 1 {
		t.Errorf("scenarios %+v", s)
	}
	if l, ok := f.SLA().Limit("max_p50_ttft_ms"); !ok || l.MaxMs != 1500 || l.Percentile != 50 || l.Quantity != "ttft" || *f.SLA().MinSuccessRate != 0.99 {
		t.Errorf("limits %+v", f.SLA())
	}
	if c := f.Caps(); len(c) != 3 || c[0] != 0 || c[2] != 16 || f.Endpoint() != "/v1/completions" || f.Repeats() != 1 || f.Warmup() != 1 || f.RequestTimeout() != DefaultRequestTimeout {
		t.Errorf("caps %v", c)
	}
	if b := f.Benchmark.ExtraRequestBody.Any(); b["temperature"] != 0.0 {
		t.Errorf("body %v", b)
	}
}

func TestScenarioLimitsLieOverThoseOfTheFile(t *testing.T) {
	text := strings.Replace(smallFile("2", "8", "", ""), "dataset:\n  input_len: [1000]\n  output_len: [1000]\n", "scenarios:\n  - {name: a, input_len: 5, output_len: 6, num_prompts: 7, sla: {max_p99_itl_ms: 9, max_p50_ttft_ms: 3}}\n  - {name: b, input_len: 1, output_len: 1}\n", 1)
	f, ds := judge(t, text, Options{})
	if HasErrors(ds) {
		t.Fatal(lines(ds))
	}
	s := f.Scenarios()
	a, _ := s[0].SLA.Limit("max_p50_ttft_ms")
	i, _ := s[0].SLA.Limit("max_p99_itl_ms")
	b, _ := s[1].SLA.Limit("max_p50_ttft_ms")
	if a.MaxMs != 3 || i.Percentile != 99 || b.MaxMs != 1500 || s[0].NumPrompts != 7 || s[1].NumPrompts != 80 {
		t.Errorf("%+v", s)
	}
}

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(JSONSchema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("bench.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("bench.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON is a YAML text as the value that a schema validator sees.
func asJSON(t *testing.T, text []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPublishedSchema(t *testing.T) {
	s := compiled(t)
	for _, name := range cookbook.List() {
		data, _ := cookbook.Get(name)
		if err := s.Validate(asJSON(t, data)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	start, _ := Init("m", 1, fixtureSet())
	if err := s.Validate(asJSON(t, start)); err != nil {
		t.Errorf("the starting file: %v", err)
	}
	good, _ := cookbook.Get("glyph")
	for _, m := range []string{"num_prompts: 80", "schema_version: 1", "kind: random", "min_success_rate: 0.99", "enabled: true", "max_candidates_per_framework: 8"} {
		key, _, _ := strings.Cut(m, ":")
		for _, bad := range []string{key + ": [-1]", key + "_: 1"} {
			if s.Validate(asJSON(t, bytes.Replace(good, []byte(m), []byte(bad), 1))) == nil {
				t.Errorf("the schema accepts %q in place of %q", bad, m)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"glm-4.5", "ling-2.5-1t"} {
		data, _ := cookbook.Get(name)
		f.Add(data)
	}
	for _, m := range mutations {
		f.Add([]byte(m.new))
	}
	ours, _ := os.ReadFile("testdata/plan/ours.yaml")
	f.Add(ours)
	f.Add([]byte(bomb()))
	set := fixtureSet()
	f.Fuzz(func(t *testing.T, data []byte) {
		file, ds := Parse("x.yaml", data)
		if file == nil {
			if !HasErrors(ds) {
				t.Fatal("neither a file nor an error")
			}
			return
		}
		ds = append(ds, Check(file, set, Options{})...)
		for _, d := range ds {
			if d.Line < 1 || d.Column < 1 || d.Message == "" {
				t.Fatalf("a diagnostic without a place: %+v", d)
			}
		}
		if len(file.Frameworks) < 10 && file.Search.Limit < 100 {
			Plan(file, set, Options{})
		}
	})
}

func FuzzSplitWords(f *testing.F) {
	f.Add(`a 'b c' "d\"e" f\ g`)
	f.Fuzz(func(t *testing.T, s string) {
		words, err := splitWords(s)
		if err != nil {
			return
		}
		again, err := splitWords(joinWords(words))
		if err != nil || strings.Join(again, "\x00") != strings.Join(words, "\x00") {
			t.Fatalf("%q: %q, then %q (%v)", s, words, again, err)
		}
	})
}

// anyValue draws a scalar of a flag.
func anyValue(t *rapid.T, name string) Value {
	text := rapid.SampledFrom([]string{"1", "2", "1.0", "true", "false", "~", "a", "'1'", "0.90", "16384"}).Draw(t, name)
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	v, _ := scalar(doc.Content[0])
	return v
}

func anySection(t *rapid.T) EngineSection {
	s := EngineSection{Name: "vllm", Framework: Framework{Enabled: true}}
	keys := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"dtype", "block_size", "max_num_seqs", "enable_prefix_caching"}), 0, 3, rapid.ID).Draw(t, "keys")
	for _, k := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"dtype", "block_size", "host"}), 0, 3, rapid.ID).Draw(t, "base") {
		s.BaseFlags = append(s.BaseFlags, Flag{k, anyValue(t, "base "+k)})
	}
	for _, k := range keys {
		a := Axis{Key: k, Listed: true}
		for range rapid.IntRange(0, 3).Draw(t, "n") {
			a.Values = append(a.Values, anyValue(t, k))
		}
		s.SearchSpace = append(s.SearchSpace, a)
	}
	return s
}

func TestGenerationProperties(t *testing.T) {
	set := fixtureSet()
	e, _ := set.Lookup("vllm")
	rapid.Check(t, func(t *rapid.T) {
		s := anySection(t)
		version := rapid.SampledFrom([]int{SchemaUpstream, SchemaOurs}).Draw(t, "version")
		limit := rapid.IntRange(1, 12).Draw(t, "limit")
		make := func(limit int) []string {
			f := &File{SchemaVersion: version, Model: Model{Name: "m"}, Search: Search{Limit: limit}, Frameworks: Frameworks{s}}
			var out []string
			for _, flags := range f.generate(e, s).listed {
				key := sameFlags(flags)
				if version == SchemaOurs {
					key = strings.Join(f.argv(e, s, flags), "\x00")
				}
				out = append(out, key)
			}
			return out
		}
		short, long := make(limit), make(1000)
		seen := map[string]bool{}
		for _, key := range long {
			if seen[key] {
				t.Fatalf("listed twice: %q", key)
			}
			seen[key] = true
		}
		most := limit
		if version == SchemaUpstream {
			most = max(limit, 2)
		}
		if len(short) > most || len(short) < min(limit, len(long)) {
			t.Fatalf("%d candidates at limit %d of %d", len(short), limit, len(long))
		}
		for i := range short {
			if short[i] != long[i] {
				t.Fatalf("candidate %d changes with the limit", i)
			}
		}
	})
}

func TestHugeSpaceIsBounded(t *testing.T) {
	var space strings.Builder
	for _, key := range []string{"dtype", "host", "port", "block_size", "max_num_seqs", "max_num_batched_tokens"} {
		fmt.Fprintf(&space, "%s: [%s0]\n", key, seq(40))
	}
	f, _ := judge(t, smallFile("2", "8", "", space.String()), Options{})
	e, _ := fixtureSet().Lookup("vllm")
	s, _ := f.Section(e)
	g := f.generate(e, s)
	if len(g.listed) != 8 || g.exact || g.distinct < 1<<30 {
		t.Errorf("%d listed of %d (exact: %t)", len(g.listed), g.distinct, g.exact)
	}
	if w := Plan(f, engine.Set{e}, Options{}).Warnings; len(w) != 1 || !strings.Contains(w[0].Message, "of about ") {
		t.Errorf("%v", w)
	}
}

func seq(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d, ", i+1)
	}
	return b.String()
}
