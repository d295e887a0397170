package run

import (
	"slices"
	"strings"
	"testing"

	"llmdyno/internal/bench/config"
	"llmdyno/internal/bench/result"
	"llmdyno/internal/bench/search"
	"llmdyno/internal/engine/all"
)

func loadFile(t *testing.T, name string) *config.File {
	t.Helper()
	f, diags := config.LoadNamed(name)
	if config.HasErrors(diags) {
		t.Fatal(diags)
	}
	return f
}

func TestSmokePlan(t *testing.T) {
	f := loadFile(t, "cookbook:qwen3-coder-next")
	p, err := NewPlan(f, all.Engines(), Options{Smoke: true, Simulated: "h200"})
	if err != nil {
		t.Fatal(err)
	}
	if !p.Smoke || !p.Simulated || p.Hardware.GPUModel != "h200" || p.Slug() != "qwen3-coder-next" {
		t.Errorf("smoke %v, simulated %v, hardware %+v, slug %s", p.Smoke, p.Simulated, p.Hardware, p.Slug())
	}
	for _, e := range p.Engines {
		if n := len(p.of(e.ID)); n != 2 {
			t.Errorf("%s: %d candidates, expected 2", e.ID, n)
		}
	}
	chat, long := p.Scenarios[0], p.Scenarios[1]
	if chat.InputLen != 32 || long.InputLen != 256 || chat.OutputLen != 24 || chat.NumPrompts != 8 {
		t.Errorf("lengths are not cut in proportion: %+v, %+v", chat, long)
	}
	if len(p.Load.Loads) != 1 || p.Load.Loads[0].MaxConcurrency != 4 || p.Load.Arrivals != "closed" {
		t.Errorf("load: %+v", p.Load)
	}
	if err := p.check(all.Engines()); err != nil {
		t.Error(err)
	}
}

func TestFullPlan(t *testing.T) {
	f := loadFile(t, "cookbook:qwen3-coder-next")
	p, err := NewPlan(f, all.Engines(), Options{Scenarios: []string{"summarization"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Scenarios) != 1 || p.Scenarios[0].InputLen != 8000 || p.Smoke || len(p.Load.Loads) != 0 || !slices.Equal(p.Load.Caps, []int{0, 8, 16}) || p.Load.Range.Upper != 12 {
		t.Errorf("%+v, load %+v", p.Scenarios, p.Load)
	}
	limits, tightest := p.Scenarios[0].requestLimits()
	if limits.TTFTMs != 1500 || limits.TPOTMs != 30 || tightest != 30 {
		t.Errorf("limits %+v, tightest %v", limits, tightest)
	}
	_, err = NewPlan(f, all.Engines(), Options{Scenarios: []string{"chatt"}})
	if err == nil || !strings.Contains(err.Error(), "chat, summarization") {
		t.Errorf("an unknown scenario: %v", err)
	}
}

// The plan that is read back is the one that was written, secrets apart.
func TestPlanNamesWhatItKeptBack(t *testing.T) {
	p := somePlan(1)
	if where := p.secrets(); where != "" {
		t.Errorf("no secret, yet %q", where)
	}
	p.Candidates[0].Argv = append(p.Candidates[0].Argv, "--api-key", "[redacted:openai]")
	if where := p.secrets(); where != "the command of tiny-00" {
		t.Errorf("secret in a command: %q", where)
	}
	if _, err := unredacted(p, nil); err == nil || !strings.Contains(err.Error(), "tiny-00") {
		t.Errorf("a plan without its secrets: %v", err)
	}
	full := somePlan(1)
	if got, err := unredacted(p, func(*Plan) (*Plan, error) { return full, nil }); err != nil || got != full {
		t.Errorf("a plan that was read again: %v, %v", got, err)
	}
}

func TestFolders(t *testing.T) {
	sc := Scenario{Slug: "chat"}
	p := somePlan(1)
	p.Scenarios = nil
	for _, name := range []string{"Chat", "chat!", "chat?"} {
		s := Scenario{Name: name, Slug: p.uniqueSlug(name)}
		p.Scenarios = append(p.Scenarios, s)
	}
	if p.Scenarios[1].Slug != "chat-2" || p.Scenarios[2].Slug != "chat-3" {
		t.Errorf("slugs %+v", p.Scenarios)
	}
	seen := map[string]bool{}
	for _, l := range p.spec().Loads {
		seen[folder("a", sc, l, "poisson")] = true
	}
	for _, arrivals := range []string{"poisson", "closed"} {
		for _, rate := range []float64{0, 0.25, 4} {
			for _, most := range []int{0, 4} {
				st := step{}
				st.load.RateRPS, st.load.MaxConcurrency = rate, most
				seen[arrivals[:1]+folder("a", sc, st.load, arrivals)] = true
			}
		}
	}
	if len(seen) != 12 {
		t.Errorf("%d folders for 12 load points: %v", len(seen), seen)
	}
}

// A row says which of its load figures were found by trying several.
func TestSearchedFigures(t *testing.T) {
	p := somePlan(1)
	for _, c := range []struct {
		loads []search.Load
		caps  []int
		want  []string
	}{
		{nil, []int{0}, []string{"request_rate"}},
		{nil, []int{0, 8}, []string{"request_rate", "max_concurrency"}},
		{[]search.Load{{MaxConcurrency: 4}}, []int{0, 8}, nil},
		{[]search.Load{{MaxConcurrency: 2}, {MaxConcurrency: 8}}, []int{0}, []string{"max_concurrency"}},
		{[]search.Load{{RateRPS: 2}, {RateRPS: 8}}, []int{0}, []string{"request_rate"}},
	} {
		p.Load.Loads, p.Load.Caps = c.loads, c.caps
		if got := p.workloadOf(p.Scenarios[0]).Searched; !slices.Equal(got, c.want) {
			t.Errorf("loads %v, caps %v: %v, expected %v", c.loads, c.caps, got, c.want)
		}
	}
}

func TestStatusOfRowsWithoutPoints(t *testing.T) {
	p, s := somePlan(1), NewState()
	rows := rowsOf(p, s)
	if rows[0].Status != result.StatusSkipped || Measured(rows) || Passed(rows) {
		t.Errorf("a run that did not begin: %s", rows[0].Status)
	}
}
