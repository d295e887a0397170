package trace

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"
)

func read(text []byte, o Options) (*Trace, error) {
	return Read(context.Background(), bytes.NewReader(text), "test", o)
}

func mustRead(t *testing.T, text string) *Trace {
	t.Helper()
	tr, err := read([]byte(text), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func zipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b)
	_ = z.Close()
	return out.Bytes()
}

// agree reads text in blocks of several sizes and holds it to the oracle.
func agree(t interface {
	Fatalf(string, ...any)
	Helper()
}, text []byte) {
	t.Helper()
	want, err := oracleOf(text)
	if err != nil {
		t.Fatalf("the case is no JSON: %v\n%s", err, text)
	}
	for _, block := range []int{1, 7, 100, 0} {
		tr, err := read(text, Options{Args: ArgsAll, block: block})
		if err != nil {
			t.Fatalf("block %d: %v\n%s", block, err, text)
		}
		if d := cmp.Diff(want.lines, linesOf(tr)); d != "" {
			t.Fatalf("block %d: tables differ from a plain reader's (-want +got):\n%s\n%s", block, d, text)
		}
		if int(tr.Events) != want.events || skipped(tr) != want.skips || tr.Break != nil {
			t.Fatalf("block %d: %d events, skipped %v, break %v; want %d events and %d skipped\n%s", block, tr.Events, tr.Skipped, tr.Break, want.events, want.skips, text)
		}
	}
}

func TestReaderAgreesWithAPlainOneOnAnyDocument(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := rapid.SampledFrom(layouts).Draw(t, "layout")
		var events []string
		for range rapid.IntRange(1, 8).Draw(t, "events") {
			events = append(events, wildEvent(t, l))
		}
		if l.head == "[" && !strings.HasPrefix(events[0], "{") {
			events = append([]string{"{}"}, events...)
		}
		agree(t, l.document(events))
	})
}

func TestReaderAgreesOnEveryLayout(t *testing.T) {
	for _, l := range layouts {
		t.Run(l.name, func(t *testing.T) {
			text := plausible(l, 3)
			agree(t, text)
			agree(t, append([]byte("\xef\xbb\xbf"), text...))
			tr := mustRead(t, string(text))
			if tr.Bytes != int64(len(text)) || tr.GPU.Len() != 9 || tr.Frames.Len() != 36 {
				t.Errorf("%d of %d bytes, %d kernels, %d frames", tr.Bytes, len(text), tr.GPU.Len(), tr.Frames.Len())
			}
			if l.name != "bare array" && tr.Meta.BaseNS != 1700000000000000000 {
				t.Errorf("base %d", tr.Meta.BaseNS)
			}
		})
	}
}

func TestU01OneStreamingPassReadsEveryContainer(t *testing.T) {
	text := plausible(layouts[0], 2)
	half := len(text) / 2
	enc, _ := zstd.NewWriter(nil)
	want := linesOf(mustRead(t, string(text)))
	for name, b := range map[string][]byte{
		"plain": text, "gzip": zipped(text), "zstd": enc.EncodeAll(text, nil),
		"two gzip members": append(zipped(text[:half]), zipped(text[half:])...),
	} {
		once := io.MultiReader(bytes.NewReader(b)) // cannot be read again
		tr, err := Read(context.Background(), once, "-", Options{})
		if err != nil || tr.Break != nil {
			t.Errorf("%s: %v, break %v", name, err, tr.Break)
			continue
		}
		if d := cmp.Diff(want, linesOf(tr)); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
}

func TestU03OddEventsAreSkippedCountedAndReported(t *testing.T) {
	ok := `{"ph":"X","cat":"kernel","name":"k","pid":0,"tid":7,"ts":1,"dur":2,"args":{"stream":7}}`
	for _, c := range []struct {
		event, reason string
		kept          int
	}{
		{`{"ph":"X","cat":"kernel","name":"k","pid":0,"tid":7,"ts":1,"dur":null}`, "dur is null", 1},
		{`{"ph":"X","cat":"kernel","name":"k","pid":0,"tid":7,"ts":1}`, "dur is missing", 1},
		{`{"ph":"X","cat":"kernel","name":"k","pid":0,"tid":7,"ts":1,"dur":-1}`, "dur is negative", 1},
		{`{"ph":"X","cat":"kernel","name":"k","pid":0,"tid":7,"ts":"soon","dur":1}`, "ts is not a number", 1},
		{`{"ph":"X","cat":"kernel","name":"k","pid":0,"tid":7,"ts":1e30,"dur":1}`, "ts is out of range", 1},
		{`{"ph":"X","cat":"kernel","name":"k","pid":0,"tid":7,"ts":NaN,"dur":1}`, "ts is not a number", 1},
		{`{"ph":"X","cat":"kernel","name":"k","pid":0,"tid":7,"ts":9223372036854775,"dur":9223372036854775}`, "the end is out of range", 1},
		{`{"ph":"X","cat":"kernel","name":"k","pid":0,"tid":7,"ts":1,"dur":1,"args":"text"}`, "args is no object; the event was kept without it", 2},
		{`null`, "event is null", 1},
		{`[1,2]`, "event is no object", 1},
		{`"x"`, "event is no object", 1},
		{`{"ph":"X","cat":"kernel","name":"operator""_a","pid":0,"tid":7,"ts":1,"dur":1}`, "malformed JSON; reading went on at the next event", 1},
		{`{"ph":"X","cat":"kernel","name":"f<"x">","pid":0,"tid":7,"ts":1,"dur":1}`, "malformed JSON; reading went on at the next event", 1},
	} {
		tr := mustRead(t, `{"traceEvents":[`+c.event+",\n"+ok+`]}`)
		if len(tr.Skipped) != 1 || tr.Skipped[0].Reason != c.reason || tr.Skipped[0].Count != 1 || tr.Skipped[0].Offset != 16 {
			t.Errorf("%s: skipped %+v, want %q", c.event, tr.Skipped, c.reason)
		}
		if tr.GPU.Len() != c.kept || tr.Events != 2 || tr.Break != nil {
			t.Errorf("%s: %d kernels of %d events, break %v", c.event, tr.GPU.Len(), tr.Events, tr.Break)
		}
	}
}

func TestNumbersThatAreNoNumbersInArgsDoNoHarm(t *testing.T) {
	tr := mustRead(t, `{"traceEvents":[{"ph":"X","cat":"gpu_memcpy","name":"c","pid":0,"tid":7,"ts":1,"dur":2,"args":{"memory bandwidth (GB/s)": NaN, "bytes": Infinity, "x": -Infinity, "correlation": 5}}]}`)
	if g := tr.GPU.At(0); g.Corr != 5 || skipped(tr) != 0 {
		t.Errorf("%+v, skipped %v", *g, tr.Skipped)
	}
	if _, ok := tr.ArgFloat(tr.GPU.At(0).Args, "memory bandwidth (GB/s)"); ok {
		t.Error("NaN became a number")
	}
}

func TestUnescapedQuoteInNestedArgsCostsOneEvent(t *testing.T) {
	text := string(plausible(layouts[0], 1))
	damaged := strings.Replace(text, `[[8, 16], [16, 32]]`, `["a"b", {}]`, 1)
	whole, tr := mustRead(t, text), mustRead(t, damaged)
	if tr.Events != whole.Events || tr.Ops.Len() != whole.Ops.Len()-1 || tr.GPU.Len() != whole.GPU.Len() || tr.Meta.BaseNS == 0 {
		t.Errorf("%d of %d events, %d of %d operators, skipped %v", tr.Events, whole.Events, tr.Ops.Len(), whole.Ops.Len(), tr.Skipped)
	}
	last := strings.Replace(text, `"Record Window End"`, `"Record "Window" End"`, 1)
	if tr := mustRead(t, last); tr.Break != nil || tr.Meta.TraceName != "a.json" || skipped(tr) != 1 {
		t.Errorf("the last event was malformed: break %v, meta %+v, skipped %v", tr.Break, tr.Meta, tr.Skipped)
	}
}

func TestU04TruncatedFilesGiveWhatPrecedesTheBreak(t *testing.T) {
	for _, l := range layouts[:3] {
		text := plausible(l, 2)
		whole := mustRead(t, string(text))
		first := bytes.Index(text, []byte(`"ph"`)) + 1
		last := int64(0)
		for n := first; n < len(text)-1; n += 31 {
			tr, err := read(text[:n], Options{block: 64})
			if err != nil {
				t.Fatalf("%s cut at %d: %v", l.name, n, err)
			}
			if tr.Break == nil || tr.Break.Offset > int64(n) || tr.Events < last || tr.Events > whole.Events {
				t.Fatalf("%s cut at %d: break %v, %d events after %d", l.name, n, tr.Break, tr.Events, last)
			}
			last = tr.Events
		}
		if last < whole.Events-1 {
			t.Errorf("%s: %d events just before the end, %d in the whole file", l.name, last, whole.Events)
		}
	}
}

func TestU04TruncatedCompressionGivesWhatPrecedesTheBreak(t *testing.T) {
	text := plausible(layouts[0], 2000)
	enc, _ := zstd.NewWriter(nil)
	for name, b := range map[string][]byte{"gzip": zipped(text), "zstd": enc.EncodeAll(text, nil)} {
		tr, err := read(b[:len(b)*2/3], Options{})
		if err != nil || tr.Break == nil || tr.Events == 0 || !strings.Contains(tr.Break.Reason, "compressed stream is cut") {
			t.Errorf("%s cut in the middle: %v %+v", name, err, tr)
		}
	}
	flipped := zipped(text)
	flipped[len(flipped)/2] ^= 0xff
	if tr, err := read(flipped, Options{}); err == nil && tr.Break == nil && skipped(tr) == 0 {
		t.Error("a damaged gzip stream was read without a word")
	}
}

func TestU04InvalidUTF8IsReplaced(t *testing.T) {
	text := []byte(`{"traceEvents":[{"ph":"X","cat":"kernel","name":"k` + "\xff\xfe" + `x","pid":0,"tid":7,"ts":1,"dur":2}]}`)
	agree(t, text)
}

func TestU05NanosecondsAreExact(t *testing.T) {
	for text, want := range map[string]int64{
		"4909914214922.949": 4909914214922949, "1695835542481129": 1695835542481129000, "1695835542481129.25": 1695835542481129250,
		"0.001": 1, "0.0005": 1, "0.00049": 0, "-0.0005": -1, "1e3": 1000000, "1.5E-3": 2, "12.": 12000, "9223372036854775.807": 9223372036854775807, "000012": 12000,
		"1234.5669999999999": 1234567, "1234567890123456.789": 1234567890123456789,
	} {
		if got, err := parseNS([]byte(text)); err != nil || got != want {
			t.Errorf("%s: %d %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", ".", "-", "1.2.3", "1e", "e5", "0x10", "1 ", "nan", "9223372036854775.808", "1e99", "1e99999999999999999999"} {
		if got, err := parseNS([]byte(text)); err == nil {
			t.Errorf("%q became %d", text, got)
		}
	}
}

func TestU05TimesRoundAsExactArithmeticDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`-?[0-9]{1,16}(\.[0-9]{1,12})?([eE][+-]?[0-9])?`).Draw(t, "number")
		r, _ := new(big.Rat).SetString(text)
		r.Mul(r, big.NewRat(1000, 1))
		if r.Abs(r).Cmp(big.NewRat(9.2e18, 1)) > 0 {
			return
		}
		want, _ := micros(text)
		if got, err := parseNS([]byte(text)); err != nil || got != want {
			t.Fatalf("%s: %d %v, want %d", text, got, err, want)
		}
	})
}

func TestNanosecondsAreWrittenAsTheyAreRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ns := rapid.Int64().Draw(t, "ns")
		if got, err := parseNS([]byte(formatNS(ns))); ns > -1<<63 && (err != nil || got != ns) {
			t.Fatalf("%d became %s, then %d %v", ns, formatNS(ns), got, err)
		}
	})
}

func TestU08ForeignAcceleratorsAreNoGPU(t *testing.T) {
	tr := mustRead(t, `{"traceEvents":[{"ph":"X","cat":"mtia_ccp_events","name":"x","pid":0,"tid":7,"ts":1,"dur":2,"args":{"stream":1}}]}`)
	if tr.GPU.Len() != 0 || len(tr.Counts) != 1 || tr.Counts[0] != (Count{"X", "mtia_ccp_events", 1}) || kindOf("mtia_runtime") != CatForeign {
		t.Errorf("%d GPU rows, counts %v", tr.GPU.Len(), tr.Counts)
	}
}

func TestU06WaitsAreNoKernels(t *testing.T) {
	tr := mustRead(t, `{"traceEvents":[{"ph":"X","cat":"cuda_sync","name":"Stream Sync","pid":0,"tid":7,"ts":1,"dur":2,"args":{"stream":-1,"correlation":3}},
	{"ph":"X","cat":"cuda_runtime","name":"hipLaunchKernel","pid":9,"tid":9,"ts":1,"dur":2,"args":{"stream":"0x0","kernel":"k<\"a\">"}}]}`)
	if tr.GPU.Len() != 0 || tr.Syncs.Len() != 1 || tr.Syncs.At(0).Stream != -1 || tr.Launches.Len() != 1 || tr.Text(tr.Launches.At(0).Kernel) != `k<"a">` || !tr.Meta.ROCm {
		t.Errorf("%d GPU, %d waits, %d launches", tr.GPU.Len(), tr.Syncs.Len(), tr.Launches.Len())
	}
}

func TestU10RanksOfAMergedFileHaveScopesOfTheirOwn(t *testing.T) {
	tr, err := ParseText(`
kernel 1 2 a corr=5 pid="[TP00-DP01] 0"
kernel 1 2 a corr=5 pid="[TP01-DP01] 0"
launch 0 1 cudaLaunchKernel corr=5 on="[TP01-DP01] 7/7"
kernel 5 2 a pid="[not a rank] 0"
`)
	if err != nil {
		t.Fatal(err)
	}
	labels := []string{}
	for _, s := range tr.Scopes {
		labels = append(labels, s.Label)
	}
	if d := cmp.Diff([]string{"TP00-DP01", "TP01-DP01", ""}, labels); d != "" {
		t.Fatal(d)
	}
	g0, g1, l := tr.GPU.At(0), tr.GPU.At(1), tr.Launches.At(0)
	if tr.ScopeOf(g0.Thread) == tr.ScopeOf(g1.Thread) || tr.ScopeOf(g1.Thread) != tr.ScopeOf(l.Thread) {
		t.Errorf("scopes %d %d %d", tr.ScopeOf(g0.Thread), tr.ScopeOf(g1.Thread), tr.ScopeOf(l.Thread))
	}
	if one := mustRead(t, string(plausible(layouts[0], 1))); len(one.Scopes) != 1 || one.Scopes[0].Label != "" {
		t.Errorf("a file of one rank has scopes %v", one.Scopes)
	}
}

func TestWhatIsNoTraceIsRefusedInOneLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "it is empty",
		"   \n":                           "it ends or breaks off before traceEvents",
		"hello":                           `it begins with "hello"`,
		"\x00\x00\x00":                    `it begins with "\x00\x00\x00"`,
		`{"schema":1,"nodes":[{"id":1}]}`: `without traceEvents (its first keys are ["schema" "nodes"])`,
		`{"traceEvents":`:                 "it ends or breaks off before traceEvents",
		`{"a":1} `:                        "without traceEvents",
		`[1,2]`:                           "not one of events",
		`[{"file":"a","mode":"FULL"}]`:    "its first object has no ph",
		`{"a" 1}`:                         "without traceEvents",
		`{a:1}`:                           "it is no JSON at byte 1",
		"\x1f\x8b\x08":                    "gzip",
	} {
		_, err := read([]byte(text), Options{})
		var not *NotTraceError
		if !errors.As(err, &not) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "expected Chrome-trace JSON") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if tr := mustRead(t, `{"traceEvents":[]}`); tr.Events != 0 || tr.Break != nil {
		t.Errorf("an empty trace: %+v", tr)
	}
	if tr := mustRead(t, `{"traceEvents":[{}]} x`); skipped(tr) != 1 {
		t.Errorf("text after the end: %v", tr.Skipped)
	}
	if _, err := Open(context.Background(), filepath.Join(t.TempDir(), "no"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

// endless gives head, then fill again and again.
type endless struct{ head, fill string }

func (e *endless) Read(p []byte) (int, error) {
	if e.head != "" {
		n := copy(p, e.head)
		e.head = e.head[n:]
		return n, nil
	}
	n := 0
	for n < len(p) {
		n += copy(p[n:], e.fill)
	}
	return n, nil
}

func TestEndlessInputIsRefusedWithinItsLimits(t *testing.T) {
	ev := `{"ph":"X","cat":"kernel","name":"k","pid":0,"tid":7,"ts":1,"dur":2},`
	for _, c := range []struct {
		name, head, fill, want string
		o                      Options
	}{
		{"blanks", "", " ", "white space", Options{}},
		{"zeros", "", "\x00", "not a profiler trace", Options{}},
		{"zeros after events", `{"traceEvents":[` + ev, "\x00", "", Options{}},
		{"one string", `{"traceEvents":[{"name":"`, "x", "bytes in one event", Options{}},
		{"one args", `{"traceEvents":[{"args":{"a":[`, "1,", "bytes in one event", Options{}},
		{"a value of metadata", `{"metadata":"`, "x", "bytes in one string", Options{}},
		{"a list of metadata", `{"metadata":[`, "1,", "bytes in one value", Options{}},
		{"devices", `{"deviceProperties":[`, "{},", "bytes in one value", Options{}},
		{"depth of metadata", `{"deviceProperties":`, "[", "", Options{}},
		{"bytes", `{"traceEvents":[`, ev, "decompressed bytes", Options{MaxBytes: 1 << 20}},
		{"events", `{"traceEvents":[`, ev, "events", Options{MaxEvents: 1000}},
		{"not JSON any more", `{"traceEvents":[` + ev, "x", "bytes in one value", Options{}},
		{"depth", `{"traceEvents":[`, "[", "bytes in one value", Options{}},
	} {
		c.o.hard = hardLimits{event: 1 << 20, meta: 1 << 20, pass: 4 << 20, blank: 1 << 20, resync: 1 << 20}
		tr, err := Read(context.Background(), &endless{c.head, c.fill}, "bomb", c.o)
		if c.want == "" {
			if err == nil && tr.Break == nil {
				t.Errorf("%s: no break", c.name)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestDistinctNamesAndThreadsAreLimited(t *testing.T) {
	var b strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&b, `{"ph":"X","cat":"kernel","name":"k%d","pid":0,"tid":%d,"ts":1,"dur":2,"args":{"a":%d}},`, i, i, i)
	}
	text := []byte(`{"traceEvents":[` + strings.TrimSuffix(b.String(), ",") + `]}`)
	var limit *LimitError
	if _, err := read(text, Options{MaxNames: 1000}); !errors.As(err, &limit) || !strings.Contains(err.Error(), "distinct") {
		t.Errorf("names: %v", err)
	}
	if _, err := read(text, Options{MaxText: 1000}); !errors.As(err, &limit) {
		t.Errorf("text: %v", err)
	}
	if _, err := read(text, Options{MaxWork: 1000}); !errors.As(err, &limit) || limit.What != "pieces of GPU work" {
		t.Errorf("GPU work: %v", err)
	}
	if tr, err := read(text, Options{MaxWork: 2000}); err != nil || tr.GPU.Len() != 2000 || len(tr.Threads) != 2000 {
		t.Errorf("%v", err)
	}
}

func TestCancelledReadingStopsAtOnce(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe() // never gives a byte more
	defer w.Close()
	go func() {
		_, _ = w.Write([]byte(`{"traceEvents":[` + strings.Repeat(" ", 300<<10)))
		cancel()
	}()
	if _, err := Read(ctx, r, "pipe", Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

type failing struct{ r io.Reader }

func (f failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if errors.Is(err, io.EOF) {
		err = errors.New("disk gone")
	}
	return n, err
}

func TestAReadErrorIsNoTruncation(t *testing.T) {
	text := plausible(layouts[0], 1)
	for _, b := range [][]byte{text[:len(text)/2], zipped(text)[:200], nil} {
		if _, err := Read(context.Background(), failing{bytes.NewReader(b)}, "x", Options{}); err == nil || !strings.Contains(err.Error(), "disk gone") {
			t.Errorf("%d bytes: %v", len(b), err)
		}
	}
}

func TestEqualArgsAreKeptOnceAndReadable(t *testing.T) {
	tr := mustRead(t, string(plausible(layouts[0], 50)))
	if a, b := tr.GPU.At(0).Args, tr.GPU.At(5).Args; a != b || tr.ArgText(a) != `{"grid":[8, 1, 1],"block":[128, 1, 1],"registers per thread":64}` {
		t.Errorf("%v %v %s", a, b, tr.ArgText(a))
	}
	if n, ok := tr.ArgInt(tr.GPU.At(0).Args, "registers per thread"); !ok || n != 64 {
		t.Error("registers per thread is lost")
	}
	if tr.Arg(tr.GPU.At(0).Args, "nothing") != nil || tr.ArgText(Args{}) != "" || tr.ArgInts(Args{}, "x") != nil {
		t.Error("what is not there was found")
	}
	none, _ := read(plausible(layouts[0], 1), Options{Args: ArgsNone})
	if none.ArgText(none.GPU.At(0).Args) != "" || none.GPU.At(0).Corr == NoID {
		t.Error("ArgsNone keeps columns and nothing else")
	}
}

func TestTablesTakeAtMostEightyBytesAnEvent(t *testing.T) {
	tr := mustRead(t, string(plausible(layouts[2], 4000)))
	rows := int64(tr.GPU.Len()*72 + tr.Launches.Len()*64 + tr.Ops.Len()*40 + tr.Frames.Len()*24)
	if per := rows / tr.Events; per > 49 || len(tr.args) > 1 {
		t.Errorf("%d B per event in rows, %d blocks of args", per, len(tr.args))
	}
}

func FuzzRead(f *testing.F) {
	for _, l := range layouts {
		f.Add(plausible(l, 1), uint16(0))
	}
	f.Add([]byte(`{"traceEvents":[{"ph":"X","name":"a"b"},{"ph":"X"}],"x":1}`), uint16(3))
	f.Add(zipped(plausible(layouts[2], 1)), uint16(9))
	f.Add([]byte(`{"traceEvents":[{},xxxxxxxxxxxxxxxx`), uint16(2))
	f.Add([]byte("[{}]\xef\xbb\xbf"), uint16(1))
	f.Fuzz(func(t *testing.T, text []byte, block uint16) {
		o := Options{MaxBytes: 1 << 22, MaxEvents: 10000, MaxNames: 10000, MaxText: 1 << 20, Args: ArgsAll, block: int(block)}
		tr, err := read(text, o)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("more than one line: %v", err)
			}
			return
		}
		_ = linesOf(tr)
		again, err := read(text, Options{MaxBytes: 1 << 22, MaxEvents: 10000, MaxNames: 10000, MaxText: 1 << 20, Args: ArgsAll, block: 1})
		if err != nil || again.Events != tr.Events || !cmp.Equal(linesOf(again), linesOf(tr)) {
			t.Fatalf("blocks of %d and of 1 differ: %v", block, err)
		}
		if strings.Count(string(text), "traceEvents") > 1 || tr.Break != nil || strings.Contains(string(text), `\u`) {
			return // two arrays, or one whose key is escaped: read together here, the last alone there
		}
		if want, err := oracleOf(text); err == nil && int(tr.Events) == want.events && !cmp.Equal(want.lines, linesOf(tr)) {
			t.Fatalf("tables differ from a plain reader's:\n%s", cmp.Diff(want.lines, linesOf(tr)))
		}
	})
}

func BenchmarkRead(b *testing.B) {
	for _, l := range layouts[:3] {
		text := plausible(l, 20000)
		for _, c := range []struct {
			name string
			text []byte
		}{{"plain", text}, {"gzip", zipped(text)}} {
			b.Run(l.name+"/"+c.name, func(b *testing.B) {
				b.SetBytes(int64(len(text)))
				b.ReportAllocs()
				events := int64(0)
				for b.Loop() {
					tr, err := read(c.text, Options{})
					if err != nil {
						b.Fatal(err)
					}
					events = tr.Events
				}
				b.ReportMetric(float64(len(text))/float64(events), "textB/event")
			})
		}
	}
}

func TestLegacyCategoriesAndKeysAreRead(t *testing.T) {
	agree(t, []byte(`{"traceEvents":[{"ph":"X","cat":"Kernel","name":"k","pid":0,"tid":"stream 7","ts":1,"dur":2,"args":{"external id":12,"correlation":3,"stream":7,"device":1}},
	{"ph":"X","cat":"Runtime","name":"cudaLaunchKernel","pid":5,"tid":5,"ts":0,"dur":1,"args":{"external id":"12","correlation":3}},
	{"ph":"X","cat":"Memset","name":"m","pid":0,"tid":7,"ts":4,"dur":2},{"ph":"X","cat":"Operator","name":"aten::mm","pid":5,"tid":5,"ts":0,"dur":9}]}`))
}

// TestLongEventIsNotCopiedAgainAndAgain: a long event costs memory in proportion to
// its length, however small the blocks are that it comes in.
func TestLongEventIsNotCopiedAgainAndAgain(t *testing.T) {
	const length, size = 16 << 20, 32 << 10
	doc := `{"traceEvents":[{"ph":"X","cat":"kernel","ts":1,"dur":1,"pid":0,"tid":7,"name":"` + strings.Repeat("k", length) + `"}]}`
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	tr, err := read([]byte(doc), Options{block: size})
	runtime.ReadMemStats(&after)
	if err != nil || tr.GPU.Len() != 1 {
		t.Fatal(tr, err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 12*length {
		t.Errorf("%d bytes were allocated for an event of %d", got, length)
	}
}
