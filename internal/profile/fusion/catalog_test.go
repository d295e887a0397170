package fusion

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func load(t testing.TB) *Catalog {
	t.Helper()
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Every entry fires on its fixture in each of its forms, and not on the
// neighbour.
func TestEveryEntryHasAFixtureThatFiresItAndANeighbourThatDoesNot(t *testing.T) {
	results := load(t).Test()
	if len(results) < 50 {
		t.Fatalf("%d entries", len(results))
	}
	for _, r := range results {
		if len(r.Problems) > 0 {
			t.Errorf("%s\n\t%s", r.Pattern, strings.Join(r.Problems, "\n\t"))
		}
	}
}

const minimal = `schema: 1
patterns:
- id: mine
  name: Mine
  engines: [vllm]
  origin: mainline
  since: "2026-11-25"
  active: {kernels: [my_fused_kernel]}
  split: [norm, {role: quantize, words: [my_quant]}]
  sources:
  - {repo: me/mine, path: kernels.cu}
  why: It is mine.
  fixture: mine.txt
`

func TestUsersCatalogIsLaidOverTheBuiltIn(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("a.yaml", minimal)
	write("b.yml", strings.NewReplacer("id: mine", "id: vllm-act-and-mul", "  fixture: mine.txt\n", "").Replace(minimal))
	write("note.txt", "no catalog")
	write("mine.txt", "engine vllm\ntimes 2\n-- active --\nkernel 1 5 my_fused_kernel\nkernel 7 5 my_fused_kernel\n"+
		"-- split --\nkernel 1 5 rms_norm_kernel\nkernel 7 5 my_quant_kernel\nkernel 13 5 nvjet_tst\nkernel 19 5 rms_norm_kernel\nkernel 25 5 my_quant_kernel\n"+
		"-- neighbour --\nkernel 1 5 my_fused_kernels\n")
	c, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(load(t).Patterns); len(c.Patterns) != n+1 || c.Pattern("mine") == nil || c.Pattern("vllm-act-and-mul").Name != "Mine" {
		t.Errorf("%d patterns of %d, expected one more and one replaced", len(c.Patterns), n)
	}
	for _, r := range c.Test("mine", "vllm-act-and-mul") {
		if r.Pattern == "mine" && len(r.Problems) > 0 || r.Pattern != "mine" && !slices.Contains(r.Problems, "it has no fixture") {
			t.Errorf("%+v", r)
		}
	}
	for _, path := range []string{filepath.Join(dir, "none"), t.TempDir(), os.DevNull} {
		if _, err := Load(path); err == nil {
			t.Errorf("%s is read as a catalog", path)
		}
	}
}

func TestFixturesSayWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ fixture, want string }{
		{"", "section neighbour is missing"},
		{"speed 3\n", `line 1: "speed" is no key`},
		{"times many\n", "no whole number"},
		{"-- others --\n", "no section"},
		{"engine vllm\ntimes 1\n-- neighbour --\nkernel 1 5 my_fused_kernel\n", "must not be found"},
		{"engine vllm\ntimes 1\n-- active --\nkernel 1 5 other\n", "not found; nothing"},
		{"engine vllm\ntimes 2\n-- active --\nkernel 1 5 my_fused_kernel\n", "found 1 times, expected 2"},
		{"engine vllm\n-- active --\nkernels\n", "line 3"},
		{"engine vllm\n-- active --\n", "no GPU work"},
	} {
		cat, err := Decode("mine.yaml", []byte(minimal), fstest.MapFS{"mine.txt": {Data: []byte(c.fixture)}})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(cat.Test()[0].Problems, "\n"); !strings.Contains(got, c.want) {
			t.Errorf("%q: %s\nexpected %q", c.fixture, got, c.want)
		}
	}
}

// Everything that is wrong is told, with its line.
func TestCatalogProblemsHaveLines(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"schema: 1", "schema: 2", "mine.yaml:1: schema is 2"},
		{"id: mine", "id: Mine!", `mine.yaml:3: pattern id "Mine!"`},
		{"  name: Mine\n", "", "mine.yaml:3: pattern mine: name"},
		{"origin: mainline", "origin: dream", `origin is "dream"`},
		{`since: "2026-11-25"`, "since: later", `since is "later"`},
		{"why:", "why_not:", `mine.yaml:12: "why_not" is no known key; expected one of id, name`},
		{"  why:", "  why: a\n  why:", `"why" is given twice`},
		{"engines: [vllm]", "engines: vllm", "mine.yaml:5: expected a list"},
		{"engines: [vllm]", "engines: []", "engines must be given"},
		{"[norm, {role: quantize", "[norm, {role: quantise", `"quantise" is no role`},
		{"[norm, {", "[norm, gemm, {", "gemm ends a segment"},
		{"words: [my_quant]", "words: [q]", `"q" is too short`},
		{"words: [my_quant]", "word: [my_quant]", `"word" is no known key`},
		{"kernels: [my_fused_kernel]", "roles: [norm]", "proves no fusion"},
		{"  active: {kernels: [my_fused_kernel]}\n  split: [norm, {role: quantize, words: [my_quant]}]\n", "", "nothing fires it"},
		{"fixture: mine.txt", "fixture: ../mine.txt", "below the catalog's folder"},
		{"fixture: mine.txt", "subsumes: [theirs]", ""},
		{"fixture: mine.txt", "tp: two", "cannot unmarshal"},
		{"fixture: mine.txt", "tp: -2", "tp is -2"},
		{"fixture: mine.txt", "gpu: tpu", "gpu is"},
		{"fixture: mine.txt", "min_share: .nan", "min_share"},
		{"fixture: mine.txt", "models: {include: [\" \"]}", "empty word"},
		{"why: It is mine.", "why: &a It is mine.\n  hazard: *a", "anchors"},
		{"  - {repo: me/mine, path: kernels.cu}\n", "  - {repo: me/mine}\n", "a source needs"},
		{minimal, "", "empty"},
		{minimal, "[", "yaml"},
		{minimal, "- a", "expected keys and values"},
	} {
		_, err := Decode("mine.yaml", []byte(strings.Replace(minimal, c.old, c.new, 1)), nil)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%q → %q: %v", c.old, c.new, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%q → %q: %v, expected %q", c.old, c.new, err, c.want)
		}
	}
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(strings.Replace(minimal, "fixture: mine.txt", "subsumes: [theirs]", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), `c.yaml:3: pattern mine subsumes "theirs"`) {
		t.Errorf("an unknown pattern is subsumed: %v", err)
	}
}

// What the built-in entries must keep: sources with commits, sentences, known
// toggles, and no word that was dropped among those that fire.
func TestBuiltInEntriesAreWhole(t *testing.T) {
	c := load(t)
	for _, p := range c.Patterns {
		if len(p.Active.Kernels)+len(p.Active.Ops)+len(p.Active.Roles) == 0 && len(p.Split) < 2 || p.MinShare <= 0 {
			t.Errorf("%s: %+v", p.ID, p)
		}
		for _, d := range p.Dropped {
			if d.Reason == "" || slices.Contains(slices.Concat(p.Active.Kernels, p.Active.Ops), d.Word) {
				t.Errorf("%s: dropped %+v", p.ID, d)
			}
		}
		if p.Origin == Inflight && len(p.Pulls) == 0 {
			t.Errorf("%s: no pull request", p.ID)
		}
		if p.Fixture != p.ID+".txt" {
			t.Errorf("%s: fixture %q", p.ID, p.Fixture)
		}
	}
}

// The example of the manual is a catalog that works.
func TestTheManualsExampleHolds(t *testing.T) {
	text, err := os.ReadFile("../../../docs/profile-fusion.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	entry, rest, _ := strings.Cut(rest, "```")
	_, rest, _ = strings.Cut(rest, "```\n")
	fixture, _, _ := strings.Cut(rest, "```")
	dir := t.TempDir()
	for name, text := range map[string]string{"mine.yaml": entry, "my-norm-quant.txt": fixture} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Load(filepath.Join(dir, "mine.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range c.Test("my-norm-quant") {
		if len(r.Problems) > 0 {
			t.Errorf("%q", r.Problems)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(minimal))
	text, err := embedded.ReadFile(catalogFile)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("schema: 1\npatterns: [{split: [[a]]}]\noverlap: {a: b}\ntoggles: x\n"))
	f.Add([]byte("a: &a [*a, *a]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Decode("fuzz.yaml", text, fstest.MapFS{})
		if err != nil {
			if c != nil {
				t.Fatal("a catalog and an error")
			}
			return
		}
		tl := resolve(t, inRow(repeat(3, gemm, norm, quant, rope, store, attention)...))
		for _, found := range c.Match(tl, Context{Engine: "vllm"}) {
			if found.Occurrences < 1 || found.Share > 100.0001 {
				t.Fatalf("%+v", found)
			}
		}
		c.Test()
	})
}

func FuzzFixture(f *testing.F) {
	f.Add("engine vllm\ntimes 2\n-- active --\nkernel 1 5 k\n-- neighbour --\n")
	f.Add("tp x\n-- split --")
	f.Fuzz(func(t *testing.T, text string) {
		if r, err := readFixture(text); err == nil && r.sections == nil {
			t.Fatal("no sections")
		}
	})
}
