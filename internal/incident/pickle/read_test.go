package pickle_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"llmdyno/internal/engine/sglang/dumptest"
	"llmdyno/internal/incident/pickle"
)

func read(t testing.TB, data string) (*pickle.Document, error) {
	t.Helper()
	return pickle.Read(context.Background(), []byte(data), pickle.Options{})
}

// rendered is the first value of a pickle as JSON.
func rendered(t testing.TB, data string) string {
	t.Helper()
	d, err := read(t, data)
	if err != nil {
		t.Fatalf("%q: %v", data, err)
	}
	var j pickle.JSON
	return string(j.Append(nil, d, d.Roots[0].Value))
}

func global(module, name string) string { return "c" + module + "\n" + name + "\n" }

// call is a REDUCE of a name with arguments that stand as opcodes.
func call(module, name, args string) string { return global(module, name) + "(" + args + "tR" }

func TestOpcodes(t *testing.T) {
	seen := map[byte]bool{}
	for _, c := range []struct{ name, data, want string }{
		{"constants", "(N\x88\x89I01\nI00\nt.", `[null,true,false,true,false]`},
		{"integers", "(K\xffM\xff\xffJ\xff\xff\xff\xffI-12\nL99999999999999999999L\n\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00\x8b\x01\x00\x00\x00\x80\x8a\x00l.",
			`[255,65535,-1,-12,99999999999999999999,9223372036854775808,-128,0]`},
		{"floats", "(G\x3f\xf8\x00\x00\x00\x00\x00\x00F-2.5e3\nG\x80\x00\x00\x00\x00\x00\x00\x00G\x7f\xf8\x00\x00\x00\x00\x00\x00Finf\nl.", `[1.5,-2500.0,-0.0,null,null]`},
		{"texts", "(S'a\\x41\\n\\''\nT\x01\x00\x00\x00bU\x01cV\\u00e9\\U0001f600\nX\x02\x00\x00\x00\xc3\xa9\x8c\x01d\x8d\x01\x00\x00\x00\x00\x00\x00\x00el.",
			`["aA\n'","b","c","é😀","é","d","e"]`},
		{"lone surrogate", "\x8c\x03\xed\xa0\xbd.", `"\ud83d"`},
		{"bytes", "(B\x01\x00\x00\x00\xffC\x01\xfe\x8e\x01\x00\x00\x00\x00\x00\x00\x00\xfd\x96\x01\x00\x00\x00\x00\x00\x00\x00\xfcl.", `["/w==","/g==","/Q==","/A=="]`},
		{"tuples", "()K\x01\x85K\x01K\x02\x86K\x01K\x02K\x03\x87(K\x01K\x02K\x03K\x04tl.", `[[],[1],[1,2],[1,2,3],[1,2,3,4]]`},
		{"list", "](K\x01K\x02K\x03K\x04eNa.", `[1,2,3,4,null]`},
		{"dict", "}(U\x01aK\x01U\x01bK\x02uU\x01aK\x03s.", `{"b":2,"a":3}`},
		{"dict of a mark", "(U\x01aK\x01d.", `{"a":1}`},
		{"keys", "}(K\x01NNNI01\nN(K\x01tNu.", `{"1":null,"null":null,"true":null,"(1)":null}`},
		{"sets", "(\x8f(K\x01K\x02\x90(K\x03\x91l.", `[[1,2],[3]]`},
		{"pop, dup, marks", "(K\x01K\x02(K\x0310K\x04(K\x07K\x0812l.", `[1,4,4]`},
		{"memo", "(U\x01ap0\n0U\x01bq\x010U\x01cr\x00\x00\x01\x000g0\nh\x01j\x00\x00\x01\x00U\x01d\x940h\x03l.", `["a","b","c","d"]`},
		{"objects", "(" + global("m", "C") + ")\x81}U\x01xK\x01sb" + global("m", "C") + ")}U\x01yK\x02s\x92(" + global("m", "C") + "K\x01o(K\x02im\nC\nl.",
			`[{"x":1},{"y":2},{"$class":"m.C","$args":[1]},{"$class":"m.C","$args":[2]}]`},
		{"slots", global("m", "C") + ")\x81}U\x01xK\x01s}U\x01yK\x02s\x86b.", `{"x":1,"y":2}`},
		{"a call", global("m", "f") + "(K\x01tR.", `{"$class":"m.f","$args":[1]}`},
		{"names", "(" + global("m", "C") + "\x8c\x01m\x8c\x01D\x93l.", `["m.C","m.D"]`},
		{"placeholders", "(P1\nU\x01aQ\x82\x01\x83\x01\x00\x84\x01\x00\x00\x00\x97\x98l.", `[null,null,null,null,null,null]`},
		{"frame and protocol", "\x80\x04\x80\x05\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.", `null`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := rendered(t, c.data); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			d, _ := read(t, c.data)
			for code, n := range d.Opcodes {
				seen[byte(code)] = seen[byte(code)] || n > 0
			}
		})
	}
	n := 0
	for _, s := range seen {
		if s {
			n++
		}
	}
	if n != 68 {
		t.Errorf("%d opcodes were run, of the 68 of protocols 0 to 5", n)
	}
}

func TestKnownNames(t *testing.T) {
	latin := func(s string) string {
		return global("_codecs", "encode") + "(U" + string(rune(len(s))) + s + "U\x06latin1tR"
	}
	date := "C\x0a\x07\xea\x05\x02\x0c\x00\x01\x03\xd0\x90"
	zone := call("datetime", "timezone", call("datetime", "timedelta", "K\x00M\x20\x1cK\x00"))
	dtype := func(code, order string) string {
		return call("numpy", "dtype", "U"+string(rune(len(code)))+code+"\x89\x88") + "(K\x03U\x01" + order + "NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
	}
	array := func(shape, dtype, fortran, data string) string {
		return call("numpy.core.multiarray", "_reconstruct", global("numpy", "ndarray")+"K\x00\x85C\x01b") + "(K\x01" + shape + dtype + fortran + data + "tb"
	}
	for _, c := range []struct{ name, data, want string }{
		{"set", call("__builtin__", "set", "](K\x01K\x02e"), `[1,2]`},
		{"bytearray", call("__builtin__", "bytearray", "U\x01aU\x07latin-1"), `"YQ=="`},
		{"encode", latin("ab"), `"YWI="`},
		{"int", call("builtins", "int", "K\x05"), `5`},
		{"complex", call("builtins", "complex", "G\x3f\xf0\x00\x00\x00\x00\x00\x00G\x40\x00\x00\x00\x00\x00\x00\x00"), `"(1+2j)"`},
		{"range", call("builtins", "range", "K\x00K\x09K\x02"), `"range(0, 9, 2)"`},
		{"OrderedDict of pairs", call("collections", "OrderedDict", "]](U\x01bK\x01ea](U\x01aK\x02ea"), `{"b":1,"a":2}`},
		{"defaultdict", call("collections", "defaultdict", global("builtins", "list")) + "U\x01kK\x01s", `{"k":1}`},
		{"deque", call("collections", "deque", "]K\x05") + "(K\x01K\x02e", `[1,2]`},
		{"datetime", call("datetime", "datetime", date), `"2026-05-02T12:00:01.25"`},
		{"datetime in a zone", call("datetime", "datetime", date+zone), `"2026-05-02T12:00:01.25+02:00"`},
		{"date", call("datetime", "date", "C\x04\x07\xea\x05\x02"), `"2026-05-02"`},
		{"time", call("datetime", "time", "C\x06\x01\x02\x03\x00\x00\x05"), `"01:02:03.000005"`},
		{"timedelta", call("datetime", "timedelta", "K\x00K\x01K\x05"), `"PT1.000005S"`},
		{"Decimal", call("decimal", "Decimal", "U\x041.50"), `"1.50"`},
		{"UUID", global("uuid", "UUID") + ")\x81}U\x03int\x8a\x02\x01\x00sb", `"00000000-0000-0000-0000-000000000001"`},
		{"namespace", call("types", "SimpleNamespace", "") + "}U\x01aK\x01sb", `{"a":1}`},
		{"reconstructor", global("copy_reg", "_reconstructor") + "(" + global("m", "C") + global("__builtin__", "object") + "NtR}U\x01aK\x01sb", `{"a":1}`},
		{"msgspec", call("msgspec._utils", "rebuild", global("m", "S")+"}U\x01aK\x01s"), `{"a":1}`},
		{"array", call("array", "_array_reconstructor", global("array", "array")+"U\x01hK\x04C\x04\x01\x00\xff\xff"), `[1,-1]`},
		{"big endian array", call("array", "_array_reconstructor", global("array", "array")+"U\x01HK\x03C\x04\x01\x00\xff\xff"), `[256,65535]`},
		{"array of doubles", call("array", "_array_reconstructor", global("array", "array")+"U\x01dK\x11C\x08\x3f\xf8\x00\x00\x00\x00\x00\x00"), `[1.5]`},
		{"array of protocol 2", call("array", "array", "U\x01i](K\x01K\x02e"), `[1,2]`},
		{"numpy scalar", call("numpy._core.multiarray", "scalar", dtype("i8", "<")+"C\x08\x07\x00\x00\x00\x00\x00\x00\x00"), `7`},
		{"numpy half", call("numpy.core.multiarray", "scalar", dtype("f2", "<")+"C\x02\x00\x3e"), `1.5`},
		{"numpy array", array("K\x02K\x02\x86", dtype("u1", "|"), "\x89", "C\x04\x01\x02\x03\x04"), `[[1,2],[3,4]]`},
		{"numpy array in Fortran's order", array("K\x02K\x02\x86", dtype("u1", "|"), "\x88", "C\x04\x01\x02\x03\x04"), `[[1,3],[2,4]]`},
		{"numpy text", array("K\x01\x85", dtype("U2", "<"), "\x89", "C\x08a\x00\x00\x00\x00\x00\x00\x00"), `["a"]`},
		{"numpy bools", array("K\x02\x85", dtype("b1", "|"), "\x89", "C\x02\x01\x00"), `[true,false]`},
		{"numpy objects", array("K\x01\x85", dtype("O8", "|"), "\x89", "](U\x01xe"), `["x"]`},
		{"buffer", call("numpy.core.numeric", "_frombuffer", "\x96\x04\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00"+dtype("i4", "<")+"K\x01\x85U\x01C"), `[1]`},
		{"tensor", call("torch._utils", "_rebuild_tensor_v2", call("torch.storage", "_load_from_bytes", "C\x03abc")+"K\x00K\x03\x85K\x01\x85"), `null`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := rendered(t, "\x80\x02"+c.data+"."); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			d, _ := read(t, "\x80\x02"+c.data+".")
			for _, n := range d.Globals {
				if n.Hostile() != "" || !n.Plainly() && n.Module != "m" {
					t.Errorf("%s is known but judged hostile %q, plain %t", n, n.Hostile(), n.Plainly())
				}
			}
		})
	}
}

// What is wrong is told with its place.
func TestDamage(t *testing.T) {
	for _, c := range []struct{ name, data, want string }{
		{"empty", "", "byte 0: the file is empty"},
		{"gzip", "\x1f\x8b\x08", "gunzip"},
		{"JSON", "{}", "JSON, not a pickle"},
		{"claimed text", "\x80\x04X\xff\xff\xff\x7fab", "byte 2, opcode BINUNICODE: claims 2147483647 bytes, 2 are left"},
		{"claimed bytes", "\x8e\xff\xff\xff\xff\xff\xff\xff\xffa", "opcode BINBYTES8: claims 18446744073709551615 bytes"},
		{"claimed integer", "\x8b\xff\xff\xff\x7f", "opcode LONG4: claims"},
		{"cut", "\x80\x04](K\x01", "byte 6: the file ends here"},
		{"unknown opcode", "N\xff", "byte 1: no such opcode 0xff"},
		{"protocol", "\x80\x06", "protocol 6"},
		{"unset memo", "h\x05.", "nothing was put into memo 5"},
		{"odd pairs", "}(NNNu.", "odd number"},
		{"no mark", "Ne.", "no MARK"},
		{"empty stack", "a", "values expected on the stack"},
		{"below the mark", "](Na.", "2 values expected on the stack, 1 are there"},
		{"mark at the end", "N(.", "a MARK is left open"},
		{"append to a number", "K\x01Na.", "has a int where a list is expected"},
		{"state of a number", "K\x01}b.", "a int has no state"},
		{"arguments", global("m", "f") + "K\x01R.", "arguments are a int"},
		{"name of numbers", "K\x01K\x02\x93.", "two texts are expected"},
		{"text integer", "Iabc\n.", `"abc" is no decimal number`},
		{"text float", "Fabc\n.", `"abc" is no number`},
		{"line without an end", "Sabc", "a line without an end"},
		{"quotes", "Sabc\n.", "is no quoted text"},
		{"escape", "V\\u12\n.", "an escape that is no character"},
		{"memo index", "Np-1\n.", `memo index "-1"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := read(t, c.data); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		name, data, want string
		l                pickle.Limits
	}{
		{"bytes", strings.Repeat("N", 100) + ".", "the limit is 10", pickle.Limits{Bytes: 10}},
		{"opcodes", strings.Repeat("N", 200_000) + ".", "more than 1000 opcodes", pickle.Limits{Opcodes: 1000}},
		{"values", strings.Repeat("]", 100) + ".", "more than 10 containers", pickle.Limits{Values: 10}},
		{"integer", "\x8b\x00\x20\x00\x00" + strings.Repeat("\x01", 8192) + ".", "an integer of 8192 bytes", pickle.Limits{}},
		{"digits", "L" + strings.Repeat("9", 200_000) + "L\n.", "an integer of 200000 digits", pickle.Limits{}},
		{"line", "S'" + strings.Repeat("a", 100) + "'\n.", "a line of more than 10 bytes", pickle.Limits{Line: 10}},
		{"time", strings.Repeat("N", 200_000) + ".", "not read within 1ns", pickle.Limits{Duration: time.Nanosecond}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := pickle.Read(context.Background(), []byte(c.data), pickle.Options{Limits: c.l})
			e, ok := err.(*pickle.Error)
			if !ok || !e.Limit || !strings.Contains(e.Error(), c.want) {
				t.Errorf("got %v, expected a limit: %s", err, c.want)
			}
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := pickle.Read(ctx, []byte(strings.Repeat("N", 200_000)+"."), pickle.Options{}); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("a cancelled read gave %v", err)
	}
}

// Nobody looks a name up, so all that can be told is what it is.
func TestHostileNames(t *testing.T) {
	for name, hostile := range map[string]bool{
		"os\nsystem": true, "posix\nsystem": true, "builtins\neval": true, "__builtin__\ngetattr": true, "commands\ngetoutput": true,
		"m.sub\na.b": true, "importlib.util\nfind_spec": true, "collections\nOrderedDict": false, "m\nC": false, "builtins\nset": false,
	} {
		d, err := read(t, "\x80\x02c"+name+"\n.")
		if err != nil || (d.Globals[0].Hostile() != "") != hostile {
			t.Errorf("%q: hostile %q, expected %t (%v)", name, d.Globals[0].Hostile(), hostile, err)
		}
	}
	for name, data := range map[string]string{
		"a call of a call":   call("m", "f", "") + ")R.",
		"a state that calls": global("m", "C") + ")\x81}(X\x0c\x00\x00\x00__setstate__" + global("m", "f") + "ub.",
		"a name with state":  global("m", "C") + "}b.",
	} {
		if d, err := read(t, data); err != nil || len(d.Suspicions) == 0 {
			t.Errorf("%s: no suspicion (%v)", name, err)
		}
	}
}

// Texts that are no UTF-8 are told with their place and do not end the reading.
func TestDamagedText(t *testing.T) {
	told := 0
	d, err := pickle.Read(context.Background(), []byte("(K\x01X\x02\x00\x00\x00a\xffX\x01\x00\x00\x00\xfel."), pickle.Options{Damaged: func(d *pickle.Document) {
		told++
		d.Stack(func(v pickle.Value) bool { told += 10; return true })
	}})
	if err != nil || len(d.Warnings) != 2 || d.Warnings[0].Offset != 9 || told != 11 {
		t.Errorf("warnings %v, told %d, %v", d.Warnings, told, err)
	}
}

func TestTrailingPickles(t *testing.T) {
	d, err := read(t, "K\x01.K\x02.h\x00")
	if err != nil || len(d.Roots) != 3 || d.Trailing != 5 || d.Roots[2].Err == nil {
		t.Errorf("%d roots, %d bytes behind the first, %v", len(d.Roots), d.Trailing, err)
	}
}

// A few bytes can stand for more leaves than there are atoms; what is rendered is
// bounded and cycles are cut.
func TestBombsAreCut(t *testing.T) {
	nested := "](" + strings.Repeat("K\x01", 10) + "e\x94"
	for i := range 13 {
		nested += "](" + strings.Repeat("h"+string([]byte{byte(i)}), 10) + "e\x94"
	}
	for name, data := range map[string]string{
		"lists of one list": nested + ".",
		"tuples of one":     "N" + strings.Repeat("2\x86", 60) + ".",
		"a list in itself":  "]\x94(h\x00h\x00e.",
		"depth":             strings.Repeat("]", 100_000) + strings.Repeat("a", 99_999) + ".",
	} {
		notes := 0
		d, err := read(t, data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		j := pickle.JSON{Nodes: 10_000, Note: func(string) { notes++ }}
		out := j.Append(nil, d, d.Roots[0].Value)
		if !json.Valid(out) || len(out) > 1<<20 || notes == 0 {
			t.Errorf("%s: %d bytes, valid %t, %d notes", name, len(out), json.Valid(out), notes)
		}
	}
}

// allocated are the bytes that a function allocates in all, freed ones too.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// ceiling is what a reading may allocate for an input of n bytes.
func ceiling(n int) uint64 { return 64<<20 + 16*uint64(n) }

// The dearest opcodes for their length, many of them.
func TestAllocationCeiling(t *testing.T) {
	const size = 8 << 20
	fill := func(unit string) string { return strings.Repeat(unit, size/len(unit)) }
	for name, data := range map[string]string{
		"lists": fill("]"), "dicts": fill("}"), "marks": fill("("), "memo": fill("]\x94"), "tuples": "N" + fill("\x85"), "calls": global("m", "f") + fill("2)R"),
		"objects": global("m", "f") + fill("2)R}b"), "pairs": "}" + fill("NNs"), "appends": "]" + fill("Na"), "sparse memo": "Nr\xff\xff\xff\xff" + fill("N\x94"),
		"persistent": fill("NQ"), "pickles": fill("N."), "dup": "N" + fill("2"), "constants": fill("N"), "texts": fill("U\x00"), "damaged texts": fill("U\x01\xff"),
		"objects with items": global("m", "f") + fill("2)RNa"),
	} {
		var err error
		if got := allocated(func() { _, err = read(t, data) }); got > ceiling(len(data)) {
			t.Errorf("%s: %d MiB allocated for %d MiB (%v)", name, got>>20, len(data)>>20, err)
		}
	}
}

// The text of any string survives a pickle.
func TestTextsSurvive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.String().Draw(t, "text")
		var b bytes.Buffer
		if err := dumptest.Encode(&b, rapid.IntRange(2, 5).Draw(t, "protocol"), want); err != nil {
			t.Fatal(err)
		}
		d, err := pickle.Read(context.Background(), b.Bytes(), pickle.Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, _ := d.RawText(d.Roots[0].Value)
		var j pickle.JSON
		var back string
		if err := json.Unmarshal(j.Append(nil, d, d.Roots[0].Value), &back); err != nil || string(got) != want || back != want {
			t.Fatalf("%q became %q and %q (%v)", want, got, back, err)
		}
	})
}

// Whatever the input: no panic, a bounded allocation, JSON that is JSON.
func FuzzRead(f *testing.F) {
	for protocol := 2; protocol <= 5; protocol++ {
		var b bytes.Buffer
		if _, err := dumptest.Write(&b, protocol, 2, 0); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	for _, s := range []string{
		"(dp0\nS'requests'\np1\n(lp2\ns.", "cos\nsystem\n(S'true'\ntR.", "]\x94(h\x00e.", "N" + strings.Repeat("2\x86", 60) + ".", "\x8e\xff\xff\xff\xff\xff\xff\xff\xffa",
		"}(K\x01K\x02u.", "\x8f(K\x01\x90.", "\x80\x05]\x97\x98a.", call("numpy.core.multiarray", "scalar", call("numpy", "dtype", "U\x02i8")+"C\x01a") + ".",
		call("datetime", "datetime", "C\x0a0123456789") + ".", call("array", "_array_reconstructor", "NNK\x12C\x02ab") + ".", global("uuid", "UUID") + ")\x81}U\x03intNsb.",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var out []byte
		got := allocated(func() {
			d, err := pickle.Read(context.Background(), data, pickle.Options{Limits: pickle.Limits{Duration: 10 * time.Second}})
			if err != nil || len(d.Roots) == 0 {
				return
			}
			j := pickle.JSON{Nodes: 10_000, Text: 1 << 20, Note: func(string) {}}
			out = j.Append(nil, d, d.Roots[0].Value)
			d.Ints(d.Roots[0].Value, 1000)
			d.Number(d.Roots[0].Value)
		})
		if out != nil && !json.Valid(out) {
			t.Errorf("no JSON: %.200s", out)
		}
		if got > ceiling(len(data)) {
			t.Errorf("%d bytes allocated for %d", got, len(data))
		}
	})
}

func BenchmarkRead(b *testing.B) {
	for _, mib := range []int64{1, 24} {
		var buf bytes.Buffer
		if _, err := dumptest.Write(&buf, 4, 0, mib<<20); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%dMiB", mib), func(b *testing.B) {
			b.SetBytes(int64(buf.Len()))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := read(b, buf.String()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
