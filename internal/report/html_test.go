package report

import (
	"bytes"
	"regexp"
	"testing"

	"llmdyno/internal/bench/result"
)

func render(t testing.TB, p Page) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := HTML(&b, p); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var notProse = regexp.MustCompile(`(?s)<style>.*?</style>|<script>.*?</script>|<svg.*?</svg>|<details>.*?</details>`)

// The page without its style, script, pictures and the tables behind them.
func TestGoldenPage(t *testing.T) {
	for name, c := range goldenCases(t) {
		golden(t, name+".html", notProse.ReplaceAll(render(t, PageOf(c)), nil))
	}
}

// One picture, digit by digit.
func TestGoldenChart(t *testing.T) {
	c := chart{title: "chat: p50 TTFT <over> throughput", xLabel: "requests/s served", yLabel: "p50 TTFT, ms", yLog: true, top: 400,
		limits: []limitLine{{false, 200, "limit on p50: 200 ms"}},
		series: []series{
			{colour: 1, points: []mark{{x: 1, y: 40, tip: "weak & far"}, {x: 2, y: 800, tip: "beyond"}, {x: 3, y: 300, tip: "back", hollow: true}}, marks: true},
			{colour: 0, strong: true, points: []mark{{x: 1, y: 30, tip: "a"}, {x: 4, y: 60, tip: "b", chosen: true}}, marks: true},
		}}
	svg, err := c.svg()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "chart.svg", []byte(svg))
}

// A plan lists what was never tried, and the facts and warnings of the run.
func TestPlanAndFacts(t *testing.T) {
	p := PageOf(result.Compare(writeAndRead(t, demoRows()), result.Options{}))
	p.Plan = append(p.Plan, Planned{"vllm", "vllm-07", "vllm serve x"})
	p.Facts = append(p.Facts, Fact{"Duration", "1h2m"})
	p.Warnings = append(p.Warnings, result.Warning{Code: "plan-cut", Message: "the limit cuts off 9 candidates"})
	out := render(t, p)
	for _, want := range []string{"vllm-07</td>", "not tried", "Duration</dt><dd>1h2m", "the limit cuts off 9 candidates", "chat: best; summarization: best", "chat: tied with the best"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("the page lacks %q", want)
		}
	}
}
