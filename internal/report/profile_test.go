package report

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"llmdyno/internal/profile"
	"llmdyno/internal/profile/attrib"
	"llmdyno/internal/profile/trace"
)

// serving is a short run of a made-up server: a prefill step and two decode steps
// with layers that repeat, a copy beside them, a graph, a collective, idle time.
func serving() string {
	var b strings.Builder
	b.WriteString(`device 0 "Some GPU 80GB" sms=132 memory=85899345920
process 0 python label="GPU 0"
`)
	at, corr := 100, 1
	launch := func(frame, op, kernel string, dur, stream int) {
		fmt.Fprintf(&b, "frame %d 8 %q\nop %d 6 %s ext=%d\nlaunch %d 2 cudaLaunchKernel corr=%d ext=%d\n", at, frame, at+1, op, corr, at+2, corr, corr)
		fmt.Fprintf(&b, "kernel %d %d %q corr=%d ext=%d stream=%d\n", at+10, dur, kernel, corr, corr, stream)
		at, corr = at+10, corr+1
	}
	for step, mark := range []string{"prefill[bs=2 tok=64]", "decode[bs=2 tok=2]", "decode[bs=2 tok=2]"} {
		fmt.Fprintf(&b, "mark %d 170 %q\n", at-1, mark)
		for layer := range 4 {
			long := 9
			if step == 0 {
				long = 8 + layer%2
			}
			launch("/srv/app/model.py(20): attention", "aten::attention", "flash_fwd_kernel<64, 128>", long, 7)
			launch("/srv/app/model.py(31): mlp", "aten::mm", "sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64", 5, 7)
			launch("/srv/app/norm.py(8): forward", "aten::rms_norm", "void rms_norm_kernel<__nv_bfloat16>(float*, int)", 3, 7)
			launch("/srv/app/comm.py(3): reduce", "c10d::allreduce_", "ncclDevKernel_AllReduce_Sum_bf16_RING_LL", 12, 20)
		}
		at += 60
	}
	return b.String()
}

// hostileNames would be markup, or a formula, if a format let them through.
func hostileNames() string {
	return `frame 0 90 "/srv/a|b` + "`" + `c.py(1): <img src=x onerror=window.injected=true>"
op 1 8 "=cmd|' /C calc'!A0" ext=1
launch 2 1 cudaLaunchKernel corr=1 ext=1
kernel 20 40 "void f<int, __half>(*x_y_z)" corr=1 ext=1
kernel 70 30 "</script><script>window.injected=true</script>" corr=2
kernel 110 20 "a|b*c_d_` + "`" + `e[f](g)"`
}

// triageText is the document of a timeline in text form.
func triageText(t testing.TB, text string) *profile.Document {
	t.Helper()
	doc, err := trace.TextJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "run.trace.json")
	if err := os.WriteFile(path, doc, 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := profile.Triage(context.Background(), profile.Request{Paths: []string{path}, MinShare: 1, Keep: true})
	if err != nil {
		t.Fatal(err)
	}
	d.Inputs[0].Path, d.Sources[0] = "run.trace.json", "run.trace.json"
	return d
}

// ranksOf is the document of the same run on two ranks, the second one slower.
func ranksOf(t testing.TB) *profile.Document {
	t.Helper()
	dir := t.TempDir()
	for rank, text := range []string{serving(), strings.ReplaceAll(serving(), " 12 \"nccl", " 7 \"nccl")} {
		doc, err := trace.TextJSON(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("1-TP-%d.trace.json", rank)), doc, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d, err := profile.Triage(context.Background(), profile.Request{Paths: []string{dir}, MinShare: 1, Keep: true, AllRanks: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range d.Inputs {
		d.Inputs[i].Path = filepath.Base(d.Inputs[i].Path)
	}
	for i := range d.Ranks.Ranks {
		d.Ranks.Ranks[i].Source = filepath.Base(d.Ranks.Ranks[i].Source)
	}
	return d
}

func TestProfileGolden(t *testing.T) {
	every := ProfileOptions{Tables: ProfileTables(), Similar: true, RawNames: true}
	for name, d := range map[string]*profile.Document{
		"triage": triageText(t, serving()), "triagehostile": triageText(t, hostileNames()), "triageranks": ranksOf(t), "triagecpu": triageText(t, "op 1 2 aten::mm"),
	} {
		for ext, render := range map[string]func(io.Writer) error{
			"txt": func(w io.Writer) error { return ProfileText(w, d, ProfileOptions{}) },
			"wide.txt": func(w io.Writer) error {
				o := every
				o.Width, o.Colour = 200, true
				return ProfileText(w, d, o)
			},
			"md":  func(w io.Writer) error { return ProfileMarkdown(w, d, every) },
			"csv": func(w io.Writer) error { return ProfileCSV(w, d, TableKernels, "") },
		} {
			var b bytes.Buffer
			if err := render(&b); err != nil {
				t.Fatal(err)
			}
			golden(t, name+"."+ext, b.Bytes())
		}
	}
}

func TestProfileTextFitsTheWidth(t *testing.T) {
	for _, d := range []*profile.Document{triageText(t, serving()), ranksOf(t)} {
		for _, width := range []int{60, 80, 100, 140} {
			var b bytes.Buffer
			if err := ProfileText(&b, d, ProfileOptions{Width: width, Tables: ProfileTables()}); err != nil {
				t.Fatal(err)
			}
			for l := range strings.Lines(b.String()) {
				if n := len([]rune(strings.TrimRight(l, "\n"))); n > width {
					t.Errorf("a line of %d in a width of %d: %s", n, width, l)
				}
			}
			if first, _, _ := strings.Cut(b.String(), "\n"); !strings.Contains(first, "ms of GPU time") {
				t.Errorf("the first line says %q, not what dominates", first)
			}
		}
	}
}

func TestProfileTextSaysWhatIsBeyondTheLimit(t *testing.T) {
	d := triageText(t, serving())
	d.Limit = 2
	var b bytes.Buffer
	if err := ProfileText(&b, d, ProfileOptions{Tables: []string{TableSteps, TableLayers}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1 more row; --limit N shows more"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, b.String())
		}
	}
}

// Names with the marks of Markdown stand in code, and the table keeps its columns.
func TestU62NamesStandInCodeSpans(t *testing.T) {
	var b bytes.Buffer
	if err := ProfileMarkdown(&b, triageText(t, hostileNames()), ProfileOptions{}); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{"| `void f<int, __half>` |", "`</script><script>window.injected=true</script>`", "<code>a&#124;b&#42;c&#95;d&#95;&#96;e&#91;f&#93;"} {
		if !strings.Contains(text, want) {
			t.Errorf("the text lacks %q:\n%s", want, text)
		}
	}
	bars := regexp.MustCompile(`(^|[^\\])\|`)
	columns := 0
	for l := range strings.Lines(text) {
		if !strings.HasPrefix(l, "|") {
			columns = 0
			continue
		}
		n := len(bars.FindAllString(strings.TrimSpace(l), -1))
		if columns == 0 {
			columns = n
		}
		if n != columns {
			t.Errorf("%d bars in a table with %d: %s", n, columns, l)
		}
	}
}

// The report of equal documents is equal: no time, no order of maps.
func TestU63ReportsAreDeterministic(t *testing.T) {
	var want string
	for range 8 {
		var b bytes.Buffer
		d := ranksOf(t)
		if err := ProfileMarkdown(&b, d, ProfileOptions{Tables: ProfileTables()}); err != nil {
			t.Fatal(err)
		}
		if err := ProfileHTML(&b, d, ProfileOptions{}); err != nil {
			t.Fatal(err)
		}
		if want == "" {
			want = b.String()
		}
		if b.String() != want {
			t.Fatal("two reports of one run differ")
		}
	}
}

// An empty overlap table says why it is empty, in either mode.
func TestU64EmptyOverlapSaysWhy(t *testing.T) {
	for _, mode := range []string{profile.ModeSingle, profile.ModePair} {
		d := triageText(t, "kernel 1 2 a\nkernel 4 1 b")
		d.Mode = mode
		var b bytes.Buffer
		if err := ProfileText(&b, d, ProfileOptions{}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), "No kernel of at least 5 us") || strings.Contains(b.String(), "--mapping") {
			t.Errorf("%s: %s", mode, b.String())
		}
	}
}

func TestProfileCSVHasOneTable(t *testing.T) {
	for _, table := range ProfileTables() {
		for name, d := range map[string]*profile.Document{"one": triageText(t, serving()), "ranks": ranksOf(t), "cpu": triageText(t, "op 1 2 aten::mm")} {
			var b bytes.Buffer
			if err := ProfileCSV(&b, d, table, ""); err != nil {
				t.Fatal(err)
			}
			rows, err := csv.NewReader(&b).ReadAll() // every row has the columns of the first
			if err != nil {
				t.Errorf("%s of %s: %v", table, name, err)
			}
			if table == TableKernels && name == "one" && (len(rows) != 9 || rows[0][0] != "rank" || rows[0][3] != "share_pct") {
				t.Errorf("%d rows, first %v; want a head and four kernels of two stages", len(rows), rows[0])
			}
		}
	}
	var b bytes.Buffer
	if err := ProfileCSV(&b, triageText(t, hostileNames()), TableKernels, attrib.All); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), `'=cmd|`) {
		t.Errorf("a name reads as a formula: %s", b.String())
	}
}

func TestSourceLinks(t *testing.T) {
	for _, c := range []struct{ url, place, want string }{
		{"", "a/b.py:3 f", ""},
		{"https://h/x/", "a/b.py:3 f", "https://h/x/a/b.py#L3"},
		{"https://h/x", "a/b.py:3 f g", "https://h/x/a/b.py#L3"},
		{"vscode://file/srv/{path}:{line}", "a/b.py:3 f", "vscode://file/srv/a/b.py:3"},
		{"https://h/x", "unresolved", ""},
		{"https://h/x", "a/b.py:x f", ""},
	} {
		if got := (ProfileOptions{SourceURL: c.url}).link(c.place); got != c.want {
			t.Errorf("%q of %q: %q, want %q", c.place, c.url, got, c.want)
		}
	}
	for address, safe := range map[string]bool{"https://h/x": true, "javascript:alert(1)": false, "data:text/html,x": false, "vscode://file/x": true, "": false} {
		if got := safeURL(address) != ""; got != safe {
			t.Errorf("%q passes: %v", address, got)
		}
	}
	if got := repositoryURL("sgl-project/repo python/x.py@abc123"); got != "https://github.com/sgl-project/repo/blob/abc123/python/x.py" {
		t.Errorf("source address %q", got)
	}
}

// perfettoTrace is what a reader of Chrome traces sees.
type perfettoTrace struct {
	TraceEvents []struct {
		Ph, Name, Cat string
		Pid, Tid      int
		Ts, Dur       float64
		Args          map[string]any
	}
}

func TestPerfettoTrace(t *testing.T) {
	for name, d := range map[string]*profile.Document{"one": triageText(t, serving()), "ranks": ranksOf(t), "hostile": triageText(t, hostileNames()), "cpu": triageText(t, "op 1 2 aten::mm")} {
		var b bytes.Buffer
		if err := ProfilePerfetto(&b, d, func(s string) string { return strings.ReplaceAll(s, "gemm_bf16", "[hidden]") }); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "gemm_bf16") {
			t.Errorf("%s: a text went around the redaction", name)
		}
		var got perfettoTrace
		if err := json.Unmarshal(b.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		type track struct{ pid, tid int }
		ends, named, cats := map[track]float64{}, map[track]bool{}, map[string]int{}
		for _, e := range got.TraceEvents {
			k := track{e.Pid, e.Tid}
			if e.Ph == "M" {
				named[k] = true
				continue
			}
			cats[e.Cat]++
			if e.Ts < 0 || e.Dur <= 0 || !named[k] {
				t.Errorf("%s: event %+v: wrong times, or on a track without a name", name, e)
			}
			if e.Ts < ends[k]-1e-6 {
				t.Errorf("%s: %s begins at %v, before the one before it on its track ends (%v)", name, e.Name, e.Ts, ends[k])
			}
			ends[k] = e.Ts + e.Dur
		}
		if name == "one" && (cats["stage"] != 2 || cats["step"] != 3 || cats["gemm"] != 12 || cats["communication"] != 12 || cats["verdict"] == 0 || cats["class"] == 0) {
			t.Errorf("events by category: %v", cats)
		}
	}
}

// triageSeen is what a script in the triage page reports of it.
type triageSeen struct {
	ScrollWidth, ClientWidth int
	Tables, EmptyTables      int
	Bars                     int
	Injected                 bool
	Unfocusable              int
	Painted                  int // pixels of the timeline that are no background
	Tip                      string
	Sorted                   bool // a click on a head orders the rows
}

const lookAtTriage = `(() => {
	const tables = [...document.querySelectorAll("table")];
	const canvas = document.querySelector("canvas");
	let painted = 0, tip = "";
	if (canvas) {
		const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
		for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 200) painted++;
		const box = canvas.getBoundingClientRect();
		for (let x = 90; x < box.width && !tip; x += 2) {
			canvas.dispatchEvent(new PointerEvent("pointermove", {clientX: box.left + x, clientY: box.top + 40}));
			tip = document.getElementById("tip").textContent;
		}
	}
	let sorted = true;
	const kernels = tables.find(t => t.tBodies[0].rows.length > 2);
	if (kernels) {
		const head = [...kernels.tHead.rows[0].cells].find(c => c.classList.contains("n"));
		head.firstElementChild.click(); head.firstElementChild.click();
		const values = [...kernels.tBodies[0].rows].map(r => parseFloat(r.cells[head.cellIndex].dataset.sort));
		sorted = head.getAttribute("aria-sort") === "ascending" && values.every((v, i) => i === 0 || values[i - 1] <= v);
	}
	return {
		ScrollWidth: document.documentElement.scrollWidth, ClientWidth: document.documentElement.clientWidth,
		Tables: tables.length, EmptyTables: tables.filter(t => t.tBodies[0].rows.length === 0).length,
		Bars: document.querySelectorAll(".bar span").length,
		Injected: window.injected === true || document.querySelector("main img") !== null,
		Unfocusable: [...document.querySelectorAll(".scroll")].filter(e => e.tabIndex !== 0).length,
		Painted: painted, Tip: tip, Sorted: sorted,
	};
})()`

// The page is shown by a real browser, wide and narrow, light and dark.
func TestTriagePageInBrowser(t *testing.T) {
	ctx := browser(t)
	dir := t.TempDir()
	for name, want := range map[string]struct {
		d      *profile.Document
		tables int // at least
		drawn  bool
	}{
		"triage":        {triageText(t, serving()), 8, true},
		"triageranks":   {ranksOf(t), 18, true},
		"triagehostile": {triageText(t, hostileNames()), 3, true},
		"triagecpu":     {triageText(t, "op 1 2 aten::mm"), 0, false},
	} {
		path := filepath.Join(dir, name+".html")
		var b bytes.Buffer
		if err := ProfileHTML(&b, want.d, ProfileOptions{SourceURL: "https://example.invalid/x", Similar: true}); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, width := range []int64{1280, 390} {
			for _, scheme := range []string{"light", "dark"}[:1+btoi(name == "triage")] {
				t.Run(fmt.Sprintf("%s %d %s", name, width, scheme), func(t *testing.T) {
					tab, p := open(t, ctx, path, width, scheme)
					s, err := chromedp.Run(tab, chromedp.Evaluate[triageSeen](lookAtTriage))
					if err != nil {
						t.Fatalf("browser: %v", err)
					}
					p.check(t, path)
					s.check(t, want.tables, want.drawn)
					screenshot(t, tab, fmt.Sprintf("%s-%d-%s.png", name, width, scheme))
				})
			}
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (s triageSeen) check(t *testing.T, tables int, drawn bool) {
	t.Helper()
	if s.ScrollWidth > s.ClientWidth {
		t.Errorf("the page is %d px wide in a window of %d px", s.ScrollWidth, s.ClientWidth)
	}
	if s.Tables < tables || s.EmptyTables > 0 || s.Unfocusable > 0 {
		t.Errorf("%d tables (want %d at least), %d without rows, %d out of the keyboard's reach", s.Tables, tables, s.EmptyTables, s.Unfocusable)
	}
	if s.Injected {
		t.Error("a name of the trace has become part of the page")
	}
	if !s.Sorted {
		t.Error("a click on the head of a column does not order the rows")
	}
	if drawn != (s.Painted > 500) || drawn != (s.Bars > 0) || drawn != strings.Contains(s.Tip, "begins at") {
		t.Errorf("drawn: want %v, got %d pixels, %d bars, tip %q", drawn, s.Painted, s.Bars, s.Tip)
	}
}

// TestKernelRates: what is recorded is said, what is not leaves no trace.
func TestKernelRates(t *testing.T) {
	none := attrib.KernelRow{Launches: 2}
	if got := kernelRates(&none); len(got) != 0 {
		t.Errorf("%q", got)
	}
	zero := 0.0
	all := attrib.KernelRow{Launches: 4, Measured: attrib.Measured{
		FLOP: 2e9, FLOPLaunches: 4, TFLOPS: 623.44, Bytes: 2_500_000, Bandwidth: 987.04,
		MessageBytes: 8_000_000, AlgorithmSpeed: 80, BusSpeed: 140, Occupancy: &zero,
	}}
	want := []string{"623 TFLOP/s", "2.5 MB at 987 GB/s", "8 MB given, 80 GB/s, waiting counted", "140 GB/s on the bus", "est. occupancy 0 %"}
	if got := kernelRates(&all); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	all.FLOPLaunches = 3
	if got := kernelRates(&all)[0]; got != "623 TFLOP/s in the 3 launches of known shape" {
		t.Errorf("%q", got)
	}
}
