package report

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jedib0t/go-pretty/v6/text"
	"pgregory.net/rapid"

	"llmdyno/internal/bench/result"
)

type form = func(io.Writer, result.Comparison) error

func show(t interface{ Fatal(...any) }, f form, c result.Comparison) string {
	var b bytes.Buffer
	if err := f(&b, c); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func text80(w io.Writer, c result.Comparison) error { return Text(w, c, 80, false) }

func page(w io.Writer, c result.Comparison) error { return HTML(w, PageOf(c)) }

// The 19 columns of upstream's CSV come first, by name and order (C16: what it
// leaves out comes after).
func TestCSVColumns(t *testing.T) {
	c := result.Compare(writeAndRead(t, demoRows()), result.Options{})
	records, err := csv.NewReader(strings.NewReader(show(t, CSV, c))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	upstream := strings.Fields(`framework scenario candidate_id status sla_passed request_throughput output_token_throughput
		p50_ttft_ms p50_tpot_ms mean_ttft_ms mean_tpot_ms p99_ttft_ms p99_tpot_ms mean_accept_length pre_scheduler_ms
		prefix_cache_hit_rate gpu_count server_command failure_reason`)
	if !slices.Equal(records[0][:19], upstream) {
		t.Errorf("columns are %v", records[0][:19])
	}
	for _, name := range []string{"total_token_throughput", "success_rate", "p50_e2e_ms", "model", "framework_commit", "benchmark_command", "request_throughput_per_gpu"} {
		if !slices.Contains(records[0][19:], name) {
			t.Errorf("no column %s", name)
		}
	}
	if len(records) != 1+len(demoRows()) {
		t.Errorf("%d records for %d rows: every row belongs into the file", len(records), len(demoRows()))
	}
}

// C15: a figure of 0 is shown as 0 in every form.
func TestZeroIsShown(t *testing.T) {
	c := result.Compare(readForeign(t), result.Options{})
	records, err := csv.NewReader(strings.NewReader(show(t, CSV, c))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	row := records[slices.IndexFunc(records, func(r []string) bool { return r[0] == "trtllm" })]
	if row[13] != "0" || row[14] != "" || row[15] != "0" {
		t.Errorf("accept length %q, pre-scheduler %q, hit rate %q", row[13], row[14], row[15])
	}
	if md := show(t, Markdown, c); !strings.Contains(md, "| 0 | 0 % | 2 |") {
		t.Error("Markdown loses a 0")
	}
}

func TestCSVCellsAreNoFormulas(t *testing.T) {
	for in, want := range map[string]string{
		"=1+1": "'=1+1", "+cmd|'/C calc'!A0": "'+cmd|'/C calc'!A0", "-2+3": "'-2+3", "@SUM(A1)": "'@SUM(A1)", "\t=1": "'\t=1", "\r=1": "'\r=1",
		"-5": "-5", "+5.25": "+5.25", "-1e-7": "-1e-7", "-.5": "-.5", "": "", "a=b": "a=b", "--flag": "'--flag", "-": "'-", "-Inf": "'-Inf",
	} {
		if got := harmless(in); got != want {
			t.Errorf("harmless(%q) = %q, want %q", in, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		cell := rapid.StringMatching("[=+@\t\r-][ -~]{0,12}").Draw(t, "cell")
		if got := harmless(cell); got != "'"+cell && !(got == cell && realNumber.MatchString(cell)) {
			t.Fatalf("harmless(%q) = %q", cell, got)
		}
	})
}

// cellText is what a Markdown cell may hold: anything but a border that is not
// escaped.
var cellText = regexp.MustCompile(`\\.|[^|\\]|\\$`)

var codeSpan = regexp.MustCompile("`[^`]*`")

// C17: nothing in a text becomes markup or breaks a table.
func TestMarkdownTablesHold(t *testing.T) {
	hostile := []string{"a | b", `a \| b`, `\`, "`x`", "``", "<b>x</b>", "a\nb", "a\r\n| x |", "*x* _y_ [z](u)", "\x1b[31m", "&lt;", "~~x~~", " ", "'a|b' `c` \\|"}
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) string {
			return rapid.OneOf(rapid.SampledFrom(hostile), rapid.String()).Draw(t, name)
		}
		rows := []result.Row{
			{Framework: "e", CandidateID: draw("id"), Model: draw("model"), Status: result.StatusOK, ServerCommand: draw("command"), SLA: result.SLA{Passed: ptr(true)}},
			{Framework: "e", CandidateID: draw("id2"), Status: result.StatusFailed, FailureReason: draw("reason"), ServerCommand: draw("command2")},
		}
		md := show(t, Markdown, result.Compare(rows, result.Options{}))
		columns := 0
		for line := range strings.Lines(md) {
			line = strings.TrimRight(line, "\n")
			if !strings.HasPrefix(line, "|") {
				columns = 0
				continue
			}
			if strings.ContainsAny(line, "\x1b\r") || strings.Contains(codeSpan.ReplaceAllString(line, ""), "<b>") {
				t.Fatalf("control character or markup in %q", line)
			}
			n := len(cellText.ReplaceAllString(line, ""))
			if columns == 0 {
				columns = n
			}
			if n != columns {
				t.Fatalf("a row of %d borders in a table of %d:\n%s", n, columns, md)
			}
		}
	})
}

// C13, C14, C18 and the notices at the head, in every form.
func TestNothingIsHidden(t *testing.T) {
	demo := result.Compare(writeAndRead(t, demoRows()), result.Options{})
	smokeRows := demoRows()[:1]
	smokeRows[0].Smoke = true
	smoke := result.Compare(writeAndRead(t, smokeRows), result.Options{})
	none := result.Compare(writeAndRead(t, broken()[:2]), result.Options{})
	plain := func(f form, c result.Comparison) string {
		out := strings.NewReplacer("<span>", "", "</span>", "", "\\\n", " ", "&#34;", `"`, `\_`, "_", "<strong>", "", "</strong>", "", "**", "").Replace(show(t, f, c))
		return strings.Join(strings.Fields(out), " ")
	}
	for name, f := range map[string]form{"text": text80, "Markdown": Markdown, "HTML": page} {
		out := plain(f, demo)
		for _, want := range []string{
			titleBest, titleCross, titleFailed, titleRunnersUp, titleSuperseded,
			"sglang-02", "sglang-00", "vllm-00", // runners-up
			"tokenspeed-01", "tokenspeed-03", "no candidate of this engine became ready", // skipped
			"CUDA out of memory", "--mem-fraction-static 0.97", "port 8000 is in use", "trtllm-01",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("%s lacks %q", name, want)
			}
		}
		if at := strings.Index(out, "SIMULATED: all 22 rows are measured on the simulated engine"); at < 0 || at > strings.Index(out, titleBest) {
			t.Errorf("%s does not say at its head that the rows are simulated", name)
		}
		if out := plain(f, smoke); !strings.Contains(out, "FLOW CHECK, NOT A PERFORMANCE RESULT") || !strings.Contains(out, "Flow check, not a performance result; by the ranking rule") {
			t.Errorf("%s does not label a flow check", name)
		}
		if out := plain(f, none); !strings.Contains(out, "No winner: none of 2 passed (1 oom, 1 timeout)") {
			t.Errorf("%s does not say that there is no winner", name)
		}
		if out := plain(f, result.Compare(nil, result.Options{})); !strings.Contains(out, noRows) {
			t.Errorf("%s of no rows: %s", name, out)
		}
	}
	if out := show(t, CSV, demo); !strings.Contains(out, ",true,false,") {
		t.Error("CSV does not say which rows are simulated")
	}
}

// Tables fit the terminal, and colour changes nothing but the colour.
func TestTextFitsTheTerminal(t *testing.T) {
	for name, c := range goldenCases(t) {
		for _, width := range []int{60, 80, 100, 140} {
			var plain, coloured bytes.Buffer
			if err := errors.Join(Text(&plain, c, width, false), Text(&coloured, c, width, true)); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(plain.String()) {
				line = strings.TrimRight(line, "\n")
				if n := text.StringWidthWithoutEscSequences(line); n > width && width >= 80 {
					t.Errorf("%s at %d: a line of %d: %q", name, width, n, line)
				}
				if strings.ContainsAny(line, "\x1b\r") {
					t.Errorf("%s: control character in %q", name, line)
				}
			}
			if text.StripEscape(coloured.String()) != plain.String() {
				t.Errorf("%s at %d: colour changes the text", name, width)
			}
		}
	}
}

// A broken command is the same command again when the shell joins its lines,
// and no quoted word is broken.
func TestBrokenCommandIsTheSame(t *testing.T) {
	word := rapid.OneOf(rapid.StringMatching(`--[a-z-]{2,20}`), rapid.StringMatching(`[a-z0-9/.]{1,30}`), rapid.Just(`'two  words here'`), rapid.Just(`"a \" b"`), rapid.Just(`a\ b`))
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(word, 1, 25).Draw(t, "words")
		room := rapid.IntRange(20, 70).Draw(t, "room")
		command := strings.Join(words, " ")
		var lines []string
		for rest := command; rest != ""; {
			var line string
			line, rest = breakCommand(rest, room)
			lines = append(lines, line)
		}
		if joined := strings.Join(lines, " "); joined != command {
			t.Fatalf("%q became %q", command, joined)
		}
		for _, line := range lines {
			if strings.Count(line, "'")%2 != 0 || strings.HasSuffix(line, `\`) {
				t.Fatalf("a word is broken: %q", lines)
			}
			if len(line) > room && strings.Contains(line, " --") && !strings.HasPrefix(line, "--") {
				t.Fatalf("a line of %d where %d fit: %q", len(line), room, line)
			}
		}
	})
}

func TestPageStaysSmall(t *testing.T) {
	var rows []result.Row
	for i := range 150 {
		m := machine{"sglang", "1", i, "--x " + strings.Repeat("y", 300), 5 + float64(i)/50, 100 + float64(i), 10, 8}
		for _, s := range scenarios {
			rows = append(rows, m.row(s.name, s.in, s.out, s.scale))
		}
	}
	var models []result.Row // as of a cookbook's worth of runs, compared at once
	for i := range 78 {
		for _, r := range rows[:32] {
			r.Model = fmt.Sprintf("org/model-%02d", i)
			models = append(models, r)
		}
	}
	for _, test := range []struct {
		rows []result.Row
		want []string
	}{
		{rows, []string{"best of 150 measured candidates are shown"}},
		{models, []string{"Charts are drawn for the first 30 of 156 scenarios", "the first 400 of "}},
	} {
		out := show(t, page, result.Compare(test.rows, result.Options{}))
		if len(out) > 3<<20 {
			t.Errorf("the page of %d rows has %d bytes", len(test.rows), len(out))
		}
		for _, want := range test.want {
			if !strings.Contains(out, want) {
				t.Errorf("the page of %d rows does not say %q", len(test.rows), want)
			}
		}
	}
}

// full is a writer that takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestWriteErrorsAreReported(t *testing.T) {
	c := result.Compare(writeAndRead(t, demoRows()), result.Options{})
	for name, f := range map[string]form{"text": text80, "Markdown": Markdown, "CSV": CSV, "HTML": page} {
		if err := f(full{}, c); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
