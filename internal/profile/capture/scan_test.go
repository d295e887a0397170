package capture

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"llmdyno/internal/engine"
)

func packed(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// event is a mark as Kineto prints it.
func event(name string) string {
	return fmt.Sprintf(`{"ph": "X", "cat": "user_annotation", "name": %q, "ts": 1}`, name)
}

func TestScanTellsWholeFromCut(t *testing.T) {
	whole := `{"traceEvents": [` + event("step[DECODE bs=1]") + "]}\n"
	gz := packed(t, whole)
	for _, c := range []struct {
		name string
		data []byte
		want string // of the error; "" = whole
	}{
		{"plain", []byte(whole), ""},
		{"list", []byte("[{}]"), ""},
		{"gzip", gz, ""},
		{"empty", nil, "is empty"},
		{"one byte", []byte("{"), "is empty"},
		{"plain, cut behind an event", []byte(whole[:len(whole)-3]), `ends in "}" within 2`},
		{"plain, a brace in a string", []byte(`{"a": "}"}`), ""},
		{"plain, cut in a string", []byte(`{"a": "\"}`), "not whole"},
		{"plain, cut in a number", []byte(`{"a": [1`), `ends in "1"`},
		{"gzip without its trailer", gz[:len(gz)-8], "unexpected EOF"},
		{"gzip, cut", gz[:len(gz)/2], "unexpected EOF"},
		{"gzip head alone", gz[:5], "is not whole"},
		{"gzip with a wrong sum", append(append([]byte{}, gz[:len(gz)-8]...), 1, 2, 3, 4, 5, 6, 7, 8), "checksum"},
		{"gzip of half a text", packed(t, whole[:40]), "expected their end"},
	} {
		_, err := scanText(bytes.NewReader(c.data))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected %q", c.name, err, c.want)
		}
	}
}

// Marks are counted once each, wherever the blocks meet.
func TestScanCountsAcrossBlocks(t *testing.T) {
	for _, shift := range []int{0, 1, 13, 500, 1023, 1024, 1025, 2000} {
		var b strings.Builder
		b.WriteString(`{"distributedInfo": {"rank": 1, "world_size": 4}, "traceEvents": [` + strings.Repeat(" ", shift))
		want, i := map[string]int{}, 0
		for ; b.Len() < 3*scanBlock; i++ {
			name := fmt.Sprintf("step[DECODE bs=%d]", i%7)
			want[name]++
			b.WriteString(event(name) + `, {"cat": "gpu_user_annotation", "name": "step[DECODE bs=1]"}, {"ph": "X", "cat": "cuda_runtime", "name": "cudaGraphLaunch"},` + "\n")
		}
		b.WriteString(`{}]}`)
		s, err := scanText(strings.NewReader(b.String()))
		if err != nil || !maps.Equal(s.marks, want) || s.graphs != i || s.world != 4 || s.text != int64(b.Len()) {
			t.Fatalf("shift %d: marks %v, %d graphs of %d, world %d, %v; expected %v", shift, s.marks, s.graphs, i, s.world, err, want)
		}
	}
}

func FuzzScan(f *testing.F) {
	f.Add([]byte(`{"traceEvents": [` + event("x") + `]}`))
	f.Add(packed(f, `[{"cat": "user_annotation", "name": "a\"b"}]`))
	f.Add([]byte{0x1f, 0x8b, 8, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := scanText(bytes.NewReader(data))
		if err == nil && s.text == 0 {
			t.Errorf("%q is whole without any text", data)
		}
		for name, n := range s.marks {
			if name == "" || n < 1 {
				t.Errorf("mark %q counted %d times", name, n)
			}
		}
	})
}

func FuzzReadCapture(f *testing.F) {
	f.Add([]byte(`{"schema":"llmdyno.capture","schema_version":1,"stages":[{"stage":"prefill","files":[{"path":"prefill/x","kind":"trace"}]}]}`))
	f.Add([]byte(`{"schema":"other"}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := Read(data); err == nil && c.Schema != Schema {
			t.Errorf("%q was read as %+v", data, c)
		}
	})
}

// What was there before is old under the same content, whatever its time says;
// another content under its name is new.
func TestFreshIsByContent(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	w := &watcher{dir: dir, whole: map[string]checked{}, file: func(name string) (engine.ProfileFile, bool) {
		return engine.NoRanks(engine.ProfileTrace), !strings.HasPrefix(name, "server_args")
	}}
	put("kept.json", "{}")
	put("touched.json", "{}")
	put("rewritten.json", "{1}")
	put("longer.json", "{}")
	if err := w.note(); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	put("rewritten.json", "{2}")
	put("longer.json", "{  }")
	put("new.json", "{}")
	put("half.json.tmp", "{}")
	put(".hidden.json", "{}")
	put("server_args.json", "{}")
	for _, name := range []string{"touched.json", "rewritten.json"} {
		if err := os.Chtimes(filepath.Join(dir, name), later, later); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, f := range w.fresh() {
		got = append(got, f.name)
	}
	if want := "longer.json new.json rewritten.json"; strings.Join(got, " ") != want {
		t.Errorf("new: %q, expected %s", got, want)
	}
	var none *watcher
	if none.note() != nil || none.fresh() != nil {
		t.Error("a folder that is not visible has files")
	}
}

func TestMissingNamesRanks(t *testing.T) {
	rank := func(n int) found {
		f := engine.NoRanks(engine.ProfileTrace)
		f.TP = n
		return found{file: f}
	}
	for _, c := range []struct {
		files []found
		want  int
		text  string
	}{
		{[]found{rank(0), rank(2)}, 4, "none of rank 1, 3"},
		{[]found{rank(-1)}, 2, "the names of those that came do not tell which are missing"},
	} {
		if got := missing(c.files, c.want); got != c.text {
			t.Errorf("%q, expected %q", got, c.text)
		}
	}
}
