package bundle

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"llmdyno/internal/compress"
)

// write makes a folder of files.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// python is a capture of the Python toolkit in which a second run into the same
// folder found /health well and /metrics broken.
var python = map[string]string{
	"metadata.json":                 `{"artifact_type":"incident_bundle","base_url":"http://h:1","collected_at":"20260502_122700","token_provided":true,"timeout_seconds":10.0}`,
	"health.txt":                    "",
	"health.txt.error.json":         `{"ok":false,"status":503,"path":"/health","error":""}`,
	"metrics.txt":                   "old 1\n",
	"metrics.txt.error.json":        `{"ok":false,"status":500,"path":"/metrics","error":"boom"}`,
	"model_info.json":               `{"ok":true,"status":200,"path":"/model_info","json":{"a":1}}`,
	"server_info.json":              `{"model_path":"bare","api_key":"python-key-1234"}`,
	"loads_all.json":                `{"ok":true,"status":200,"path":"/v1/loads?include=all","text":"<html>","decode_error":"no"}`,
	"health_generate.txt":           "fine",
	"SUMMARY.txt":                   "health.txt: ok\nhealth_generate.txt: ok\nmetrics.txt: failed status=500 error=boom\nmodel_info.json: ok\nhicache_storage_backend.json: failed status=-1 error=URLError: <urlopen error [Errno 111] Connection refused>\n",
	"expected.json":                 `{"never":"read"}`,
	"loads_core_queues_disagg.json": `{broken`,
}

func TestOpensPython(t *testing.T) {
	b, err := Open(write(t, python))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if len(b.Targets) != 1 || b.Targets[0].URL != "http://h:1" || b.Manifest.Origin != OriginPython || !b.Manifest.TokenGiven || !b.Manifest.Started.Equal(time.Date(2026, 5, 2, 12, 27, 0, 0, time.UTC)) {
		t.Errorf("manifest %+v, targets %+v", b.Manifest, b.Targets)
	}
	for _, x := range []struct {
		name   string
		status int
		class  string
		body   string
		stale  bool
	}{
		{"health", 200, "", "", true}, {"health_generate", 200, "", "fine", false}, {"metrics", 500, ClassStatus, "boom", true}, {"model_info", 200, "", `{"a":1}`, false},
		{"server_info", 200, "", python["server_info.json"], false}, {"loads", 200, ClassNotJSON, "<html>", false}, {"loads_core", 0, ClassNotJSON, "{broken", false}, {"hicache", 0, ClassRefused, "", false},
	} {
		p, ok := b.Targets[0].Probe(x.name)
		body, err := b.Body(p)
		if !ok || err != nil || p.Status != x.status || p.ErrorClass != x.class || string(body) != x.body || p.Stale != x.stale {
			t.Errorf("%s: %+v, body %q, %v; want %+v", x.name, p, body, err, x)
		}
	}
	if fmt.Sprint(b.Manifest.Stale) != "[health.txt.error.json metrics.txt]" {
		t.Errorf("stale %v", b.Manifest.Stale)
	}
	if _, err := b.Read("expected.json"); err == nil {
		t.Error("expected.json was read")
	}
}

func TestOpenDegrades(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"no metadata":      {"health.txt": ""},
		"damaged metadata": {"metadata.json": "{", "health.txt": ""},
		"only metadata":    {"metadata.json": "{}"},
		"a lone target":    {"targets/x/target.json": `{"id":"x"}`},
		"damaged target":   {"bundle.json": `{"schema":"llmdyno.bundle","schema_version":1}`, "targets/x/target.json": "[]"},
	} {
		b, err := Open(write(t, files))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(b.Warnings) == 0 && name != "only metadata" {
			t.Errorf("%s: no warning", name)
		}
		b.Close()
	}
	for name, files := range map[string]map[string]string{"empty": {}, "something else": {"x.txt": "y"}} {
		if _, err := Open(write(t, files)); !errors.Is(err, ErrNoBundle) {
			t.Errorf("%s: %v, want %v", name, err, ErrNoBundle)
		}
	}
	if _, err := Open(write(t, map[string]string{"bundle.json": `{"schema":"llmdyno.bundle","schema_version":99}`})); err == nil || !strings.Contains(err.Error(), "schema_version 99") {
		t.Errorf("a later schema: %v", err)
	}
}

const secretInfo = `{"api_key": "info-key-123456", "internal_states": [{"api_key": "info-key-123456", "x": 1}], "prompt": "tell me a story"}`

// make writes a bundle of one target.
func makeBundle(t *testing.T, out string, keep bool) Result {
	t.Helper()
	w, err := Create(out, Manifest{Tool: "llmdyno", ToolVersion: "test", Started: time.Unix(1, 0), Settings: Settings{KeepPrompts: keep}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write("targets/a/server_info.json", []byte(secretInfo)); err != nil {
		t.Fatal(err)
	}
	p := Probe{Name: "server_info", Method: "GET", Path: "/server_info", File: "targets/a/server_info.json", Status: 200, Headers: map[string]string{"X-Api-Key": "header-key-123456"}}
	if err := w.Target(Target{ID: "a", URL: "http://u:url-pass-1234@h:1", Probes: []Probe{p}}); err != nil {
		t.Fatal(err)
	}
	res, err := w.Finish(StateComplete)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestWriteAndRead(t *testing.T) {
	for _, name := range []string{"folder", "b.tar.zst", "b.tar.gz", "b.tgz"} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), name)
			makeBundle(t, out, false)
			b, err := Open(out)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			if diffs, err := b.Verify(); err != nil || len(diffs) > 0 {
				t.Errorf("verify: %v, %v", diffs, err)
			}
			p, _ := b.Targets[0].Probe("server_info")
			body, err := b.Body(p)
			if err != nil || !strings.Contains(string(body), `"x": 1`) || !strings.Contains(string(body), "[redacted:prompt-15-") {
				t.Errorf("body %s, %v", body, err)
			}
			for _, file := range b.Names() {
				text, _ := b.Read(file)
				for _, secret := range []string{"info-key-123456", "header-key-123456", "url-pass-1234", "tell me a story"} {
					if bytes.Contains(text, []byte(secret)) {
						t.Errorf("%s holds %q", file, secret)
					}
				}
			}
			if b.Manifest.RedactedN < 3 || b.Manifest.Redacted[0].Where != "$.api_key" {
				t.Errorf("redacted places: %+v", b.Manifest.Redacted)
			}
			if _, err := os.Stat(out + ".partial"); err == nil {
				t.Error("the folder beside the archive is left")
			}
			private(t, out)
			if _, err := Create(out, Manifest{}, nil); err == nil {
				t.Error("a bundle was written over another")
			}
		})
	}
	for _, bad := range []string{"x.zip", "x.tar", "x.zst"} {
		if _, err := Create(filepath.Join(t.TempDir(), bad), Manifest{}, nil); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

// private demands mode 0600 of every file.
func private(t *testing.T, out string) {
	t.Helper()
	filepath.WalkDir(out, func(path string, d fs.DirEntry, err error) error {
		if info, err := os.Stat(path); err == nil && !d.IsDir() && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
		return nil
	})
}

func TestVerifyFindsChanges(t *testing.T) {
	out := filepath.Join(t.TempDir(), "b")
	makeBundle(t, out, false)
	os.WriteFile(filepath.Join(out, "targets/a/server_info.json"), []byte("{}"), 0o600)
	os.WriteFile(filepath.Join(out, "extra"), nil, 0o600)
	os.Remove(filepath.Join(out, SummaryName))
	b, err := Open(out)
	if err != nil {
		t.Fatal(err)
	}
	diffs, err := b.Verify()
	if err != nil || fmt.Sprint(diffs) != "[{SUMMARY.txt missing} {extra not in the manifest} {targets/a/server_info.json size}]" {
		t.Errorf("%v, %v", diffs, err)
	}
}

// Redacting twice changes nothing, of ours and of the toolkit's, folder and archive.
func TestRedactTwice(t *testing.T) {
	ours := filepath.Join(t.TempDir(), "b")
	makeBundle(t, ours, true)
	for name, in := range map[string]string{"ours": ours, "python": write(t, python)} {
		for _, end := range []string{"", ".tar.zst"} {
			dir := t.TempDir()
			redact := func(from, to string) Change {
				b, err := Open(from)
				if err != nil {
					t.Fatal(err)
				}
				defer b.Close()
				done, err := b.Redact(to, false, nil)
				if err != nil {
					t.Fatal(err)
				}
				return done
			}
			once, twice := filepath.Join(dir, "once"+end), filepath.Join(dir, "twice"+end)
			if done := redact(in, once); len(done.Files) == 0 || done.Places == 0 {
				t.Errorf("%s: nothing was redacted: %+v", name, done)
			}
			if done := redact(once, twice); len(done.Files) != 0 {
				t.Errorf("%s%s: the second time changed %v", name, end, done.Files)
			}
			x, y := content(t, once), content(t, twice)
			if x != y {
				t.Errorf("%s%s: the second copy differs from the first", name, end)
			}
			for _, secret := range []string{"python-key-1234", "tell me a story"} {
				if strings.Contains(x, secret) {
					t.Errorf("%s%s: %q is left", name, end, secret)
				}
			}
			b, err := Open(twice)
			if err != nil {
				t.Fatal(err)
			}
			if name == "ours" {
				if diffs, err := b.Verify(); err != nil || len(diffs) > 0 {
					t.Errorf("verify: %v, %v", diffs, err)
				}
			} else if p, _ := b.Targets[0].Probe("loads"); p.ErrorClass != ClassNotJSON {
				t.Errorf("the toolkit's wrapper lost its text: %+v", p)
			}
			b.Close()
		}
	}
}

// content is all files of a bundle, and an archive's own bytes.
func content(t *testing.T, path string) string {
	t.Helper()
	var all strings.Builder
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		raw, _ := os.ReadFile(path)
		all.Write(raw)
	}
	b, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, name := range b.Names() {
		body, _ := b.Read(name)
		fmt.Fprintf(&all, "%s\n%s\n", name, body)
	}
	return all.String()
}

func TestHidePrompts(t *testing.T) {
	for _, x := range []struct{ in, gone, left string }{
		{`{"prompt": "abc def", "n": 1}`, "abc def", `"n": 1`},
		{`{"messages": [{"role": "user", "content": [{"type": "text", "text": "deep one"}]}]}`, "deep one", `"user"`},
		{`{"prompts": ["p1 x", "p2 y"]}`, "p2 y", `prompts`},
		{`{"input_ids": [1, 2, 3], "prompt_tokens": 12}`, "1, 2, 3", `12`},
		{`{"nested": [{"input_ids": [[7, 8], [9]]}]}`, "7, 8", `nested`},
		{"INFO Received request cmpl-1: prompt: 'who\\'s there', params: SamplingParams(n=1), prompt_token_ids: [5, 6], lora_request: None.\n", "there", "SamplingParams(n=1)"},
		{"Receive: obj=GenerateReqInput(rid='r1', text=\"my secret plan\", input_ids=None)\n", "secret plan", "rid='r1'"},
		{"Finish: out={'text': 'an answer', 'meta_info': {'id': 'x'}}\n", "an answer", "meta_info"},
		{`{"level":"info","prompt":"json line"}` + "\n" + `{"level":"warn"}` + "\n", "json line", `"warn"`},
	} {
		got := string(hidePrompts([]byte(x.in)))
		if strings.Contains(got, x.gone) || !strings.Contains(got, x.left) || !strings.Contains(got, "[redacted:prompt-") {
			t.Errorf("%s\nbecame %s", x.in, got)
		}
		if again := string(hidePrompts([]byte(got))); again != got {
			t.Errorf("a second time: %s\nbecame %s", got, again)
		}
	}
	if same := `{"prompt": "", "text": null, "x": "y"}`; string(hidePrompts([]byte(same))) != same {
		t.Error("a document without prompts was changed")
	}
}

type entry struct {
	name string
	kind byte
	body string
}

func archiveOf(t testing.TB, form compress.Form, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := compress.NewWriter(&out, form)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Mode: 0o600}
		if e.kind == tar.TypeReg {
			h.Size = int64(len(e.body))
		} else {
			h.Linkname = e.body
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if e.kind == tar.TypeReg {
			w.Write([]byte(e.body))
		}
	}
	w.Close()
	z.Close()
	return out.Bytes()
}

const okTarget = `{"id":"a","probes":[{"name":"health","status":200}]}`

// An archive cannot reach out of itself.
func TestHostileArchives(t *testing.T) {
	good := entry{"targets/a/target.json", tar.TypeReg, okTarget}
	for _, bad := range []entry{
		{"../../evil", tar.TypeReg, "x"}, {"/etc/evil", tar.TypeReg, "x"}, {"a/../../evil", tar.TypeReg, "x"}, {"link", tar.TypeSymlink, "/etc/passwd"},
		{"hard", tar.TypeLink, "targets/a/target.json"}, {".hidden", tar.TypeReg, "x"}, {"dev", tar.TypeChar, ""}, {"targets/a/expected.json", tar.TypeReg, "x"},
	} {
		src, warnings, err := unpack(bytes.NewReader(archiveOf(t, compress.Gzip, bad, good)), 1000)
		if err != nil || len(src.names()) != 1 || len(warnings) != 1 {
			t.Errorf("%q: %v, warnings %v, want the good entry alone and a warning", bad.name, err, warnings)
		}
	}
	if _, _, err := unpack(bytes.NewReader(archiveOf(t, compress.Zstd, good, good)), 1000); err == nil {
		t.Error("an entry that stands twice was accepted")
	}
}

// A torn archive gives what stands before the break.
func TestTornArchive(t *testing.T) {
	var entries []entry
	for i := range 50 {
		entries = append(entries, entry{fmt.Sprintf("targets/t%02d/target.json", i), tar.TypeReg, okTarget + strings.Repeat(" ", 700)})
	}
	for _, form := range []compress.Form{compress.Gzip, compress.Zstd, compress.Plain} {
		whole := archiveOf(t, form, entries...)
		path := filepath.Join(t.TempDir(), "b.tar.gz")
		if form == compress.Plain {
			whole = whole[:len(whole)*2/3]
		} else {
			whole = whole[:len(whole)-3]
		}
		os.WriteFile(path, whole, 0o600)
		b, err := Open(path)
		if err != nil {
			if form == compress.Zstd {
				continue // one block: nothing of it is whole
			}
			t.Errorf("%q: %v", form, err)
			continue
		}
		if len(b.Targets) == 0 || len(b.Warnings) == 0 {
			t.Errorf("%q: %d targets, warnings %v", form, len(b.Targets), b.Warnings)
		}
		b.Close()
	}
}

// Large archives are unpacked beside the memory.
func TestSpills(t *testing.T) {
	body := strings.Repeat("0123456789abcdef", 1<<16)
	var entries []entry
	for i := range 40 {
		entries = append(entries, entry{fmt.Sprintf("targets/t%02d/metrics.txt", i), tar.TypeReg, fmt.Sprint(i) + body})
	}
	raw := archiveOf(t, compress.Zstd, append(entries, entry{"targets/a/target.json", tar.TypeReg, okTarget})...)
	src, _, err := unpack(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	defer src.close()
	if src.(*archive).spill == nil {
		t.Error("40 MiB were held in memory")
	}
	for i := range 40 {
		got, err := src.read(fmt.Sprintf("targets/t%02d/metrics.txt", i), 2<<20)
		if err != nil || string(got) != fmt.Sprint(i)+body {
			t.Fatalf("entry %d came back different: %v", i, err)
		}
	}
	if _, err := src.read("targets/t00/metrics.txt", 10); err == nil {
		t.Error("a file over the limit was read")
	}
}

func TestLinkOutOfFolder(t *testing.T) {
	dir := write(t, map[string]string{"targets/a/target.json": okTarget})
	os.Symlink("/etc/passwd", filepath.Join(dir, "targets/a/link.txt"))
	b, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"targets/a/link.txt", "../x", "/etc/passwd"} {
		if _, err := b.Read(name); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}

// No bytes make the reader panic, hang, or hand out names that leave the bundle.
func FuzzOpenArchive(f *testing.F) {
	for _, form := range []compress.Form{compress.Gzip, compress.Zstd, compress.Plain} {
		f.Add(archiveOf(f, form, entry{"targets/a/target.json", tar.TypeReg, okTarget}, entry{"bundle.json", tar.TypeReg, `{"schema":"llmdyno.bundle"}`}, entry{"../x", tar.TypeReg, "y"}))
		f.Add(archiveOf(f, form, entry{"metadata.json", tar.TypeReg, "{}"}, entry{"loads_all.json", tar.TypeReg, `{"ok":true,"json":null}`}, entry{"link", tar.TypeSymlink, "/"}))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		src, _, err := unpack(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			return
		}
		b := &Bundle{Path: "fuzz", files: src}
		defer b.Close()
		if b.load() != nil {
			return
		}
		for _, name := range b.Names() {
			if !fs.ValidPath(name) {
				t.Errorf("name %q", name)
			}
		}
		for _, x := range b.Targets {
			for _, p := range x.Probes {
				b.Body(p)
			}
		}
		b.Verify()
	})
}

// Redacting any file of a bundle twice is redacting it once, and JSON stays JSON.
func FuzzHidePrompts(f *testing.F) {
	for _, s := range []string{`{"prompt":"a","x":["input_ids",[1,2]]}`, "prompt: 'x', text=\"y\"\n", `{"input_ids":[[1],[2,3]]}`, `[{"content":{"text":["a"]}}]`, "text: '[redacted:prompt-1-abc]'"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		once := hidePrompts(raw)
		if twice := hidePrompts(once); !bytes.Equal(once, twice) {
			t.Errorf("%q\nonce  %q\ntwice %q", raw, once, twice)
		}
		marksIn("x", once, 10)
	})
}
