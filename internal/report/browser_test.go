package report

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"llmdyno/internal/bench/result"
)

// browserNames are looked for in PATH. In CI, which installs one (.ci/run), the
// test fails without any of them.
var browserNames = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"}

func browser(t *testing.T) context.Context {
	t.Helper()
	var path string
	for _, name := range browserNames {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		say := t.Skipf
		if os.Getenv("CI") != "" {
			say = t.Fatalf
		}
		say("no browser: install chromium (apt-get install chromium); looked for %s", strings.Join(browserNames, ", "))
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(60*time.Second))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(cancel)
	ctx, cancelTab := chromedp.NewContext(ctx)
	t.Cleanup(cancelTab)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	return ctx
}

// open shows a page of the given width in a tab of its own.
func open(t *testing.T, ctx context.Context, path string, width int64, scheme string) (context.Context, *openPage) {
	t.Helper()
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	p := &openPage{}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("browser: %v", err)
		}
	}
	must(chromedp.Do(ctx)) // the tab lives as long as the context of this call
	ctx, cancelTime := context.WithTimeout(ctx, time.Minute)
	t.Cleanup(cancelTime)
	must(chromedp.Listen(ctx, p.event))
	_, err := chromedp.Call(ctx, network.Enable, network.EnableParams{})
	must(err)
	_, err = chromedp.Call(ctx, log.Enable, cdp.Empty{})
	must(err)
	_, err = chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1, Mobile: width < 600})
	must(err)
	_, err = chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	must(err)
	must(chromedp.Do(ctx, chromedp.Navigate((&url.URL{Scheme: "file", Path: path}).String())))
	return ctx, p
}

// openPage gathers what a browser complains of and every address that it asks for.
type openPage struct {
	mu         sync.Mutex
	complaints []string
	requests   []string
}

func (p *openPage) event(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		p.complaints = append(p.complaints, fmt.Sprintf("console.%s", e.Type))
	case *runtime.EventExceptionThrown:
		p.complaints = append(p.complaints, e.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		p.complaints = append(p.complaints, e.Entry.Text)
	case *network.EventRequestWillBeSent:
		p.requests = append(p.requests, e.Request.URL)
	}
}

// seen is what a script in the page reports of it.
type seen struct {
	ScrollWidth, ClientWidth int
	Charts, EmptyCharts      int // charts; of them without a line or without size
	Tables, EmptyTables      int
	ChartsWithoutTable       int
	SmallText                float64 // px of the smallest text in a chart, as shown
	Injected                 bool
	Unfocusable              int // scrolling regions that a keyboard cannot reach
	Sections                 []string
	Notices                  int
	WarningsFirst            bool
}

const look = `(() => {
	const charts = [...document.querySelectorAll("svg.chart")];
	const visible = e => getComputedStyle(e).stroke !== "none" && getComputedStyle(e).stroke !== "";
	const drawn = c => c.getBoundingClientRect().width > 100 && [...c.querySelectorAll("path")].filter(p => p.getTotalLength() > 40 && visible(p)).length > 6 &&
		[...c.querySelectorAll("path, circle")].some(e => /--[sw]\d/.test(e.getAttribute("style")) && e.getTotalLength() > 10 && visible(e));
	const tables = [...document.querySelectorAll("table")];
	const size = t => parseFloat(getComputedStyle(t).fontSize) * t.ownerSVGElement.getBoundingClientRect().width / t.ownerSVGElement.viewBox.baseVal.width;
	const warnings = document.querySelector(".warnings, .notice"), result = document.querySelector("#result");
	return {
		ScrollWidth: document.documentElement.scrollWidth, ClientWidth: document.documentElement.clientWidth,
		Charts: charts.length, EmptyCharts: charts.filter(c => !drawn(c)).length,
		Tables: tables.length, EmptyTables: tables.filter(t => t.tBodies[0].rows.length == 0).length,
		ChartsWithoutTable: charts.filter(c => !c.closest(".charts").parentElement.querySelector("details table")).length,
		SmallText: Math.min(...charts.flatMap(c => [...c.querySelectorAll("text")].map(size))),
		Injected: window.injected === true || document.querySelector("main img, main script") !== null,
		Unfocusable: [...document.querySelectorAll(".scroll, .plot")].filter(e => e.tabIndex !== 0).length,
		Sections: [...document.querySelectorAll("h2")].map(h => h.textContent),
		Notices: document.querySelectorAll(".notice").length,
		WarningsFirst: !warnings || (warnings.compareDocumentPosition(result) & Node.DOCUMENT_POSITION_FOLLOWING) !== 0,
	};
})()`

// The page is shown by a real browser, wide and narrow, light and dark.
func TestPageInBrowser(t *testing.T) {
	ctx := browser(t)
	dir := t.TempDir()
	hostile := readForeign(t)
	hostile[2].FailureReason = `<img src=x onerror="window.injected=true"></td><script>window.injected=true</script>`
	hostile[1].ServerCommand = `x"><script>window.injected=true</script>`
	hostile[0].CandidateID = `</title><script>window.injected=true</script>`
	pages := map[string]struct {
		page   Page
		charts int // at least
		tables int
	}{
		"demo":    {PageOf(result.Compare(writeAndRead(t, demoRows()), result.Options{})), 10, 10},
		"hostile": {PageOf(result.Compare(hostile, result.Options{})), 0, 4},
		"empty":   {PageOf(result.Compare(nil, result.Options{})), 0, 0},
	}
	for name, want := range pages {
		path := filepath.Join(dir, name+".html")
		html := render(t, want.page)
		if len(html) > 3<<20 {
			t.Errorf("%s has %d bytes, more than 3 MB", name, len(html))
		}
		if err := os.WriteFile(path, html, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, width := range []int64{1280, 390} {
			schemes := []string{"light", "dark"}
			if name != "demo" {
				schemes = schemes[:1]
			}
			for _, scheme := range schemes {
				t.Run(fmt.Sprintf("%s %d %s", name, width, scheme), func(t *testing.T) {
					tab, p := open(t, ctx, path, width, scheme)
					s, err := chromedp.Run(tab, chromedp.Evaluate[seen](look))
					if err != nil {
						t.Fatalf("browser: %v", err)
					}
					p.check(t, path)
					s.check(t, want.charts, want.tables)
					screenshot(t, tab, fmt.Sprintf("%s-%d-%s.png", name, width, scheme))
				})
			}
		}
	}
}

func (p *openPage) check(t *testing.T, path string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.complaints) > 0 {
		t.Errorf("the browser complains: %s", strings.Join(p.complaints, "; "))
	}
	for _, r := range p.requests {
		if !strings.HasPrefix(r, "data:") && !strings.HasSuffix(r, path) {
			t.Errorf("the page asks for %s", r)
		}
	}
}

func (s seen) check(t *testing.T, charts, tables int) {
	t.Helper()
	if s.ScrollWidth > s.ClientWidth {
		t.Errorf("the page is %d px wide in a window of %d px", s.ScrollWidth, s.ClientWidth)
	}
	if s.Charts < charts || s.EmptyCharts > 0 || s.ChartsWithoutTable > 0 {
		t.Errorf("%d charts (want %d at least), %d without lines, %d without a table", s.Charts, charts, s.EmptyCharts, s.ChartsWithoutTable)
	}
	if s.Tables < tables || s.EmptyTables > 0 {
		t.Errorf("%d tables (want %d at least), %d without rows", s.Tables, tables, s.EmptyTables)
	}
	if s.Charts > 0 && s.SmallText < 9 {
		t.Errorf("text of %.1f px in a chart", s.SmallText)
	}
	if s.Injected {
		t.Error("a text of the rows has become part of the page")
	}
	if s.Unfocusable > 0 {
		t.Errorf("%d scrolling regions are out of the keyboard's reach", s.Unfocusable)
	}
	if !s.WarningsFirst {
		t.Error("warnings come after the result")
	}
}

// screenshot keeps a picture of the page in the folder that -screenshots names.
func screenshot(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	if *screenshots == "" {
		return
	}
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*screenshots, strings.ReplaceAll(name, " ", "-")), png, 0o644); err != nil {
		t.Fatal(err)
	}
}
