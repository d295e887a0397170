package artifact

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRunFolderFromCreateToVerify(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	run, err := Create(dir, Meta{Tool: "t", Kind: "bench"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, nil); !errors.Is(err, ErrLocked) {
		t.Fatalf("second holder: %v", err)
	}
	log, err := run.Log("server.log", 200)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, err := log.Write([]byte("line of a log api_key=Zq7vWm2pXk9\n")); err != nil {
			t.Fatal(err)
		}
	}
	lines, err := run.CreateLinesZst("a/samples.jsonl.zst")
	if err != nil {
		t.Fatal(err)
	}
	journal, err := run.AppendFile("journal.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	secret := map[string]string{"password": "Zq7vWm2pXk9"}
	if err := errors.Join(log.Close(), lines.JSON(secret), lines.Commit(), journal.JSON(secret), journal.Close(), run.Seal(StateComplete), run.Close()); err != nil {
		t.Fatal(err)
	}
	if diffs, err := Verify(dir); err != nil || len(diffs) != 0 {
		t.Fatalf("verify: %v %v", diffs, err)
	}
	if _, err := Create(dir, Meta{}, nil); !errors.Is(err, ErrNotEmpty) {
		t.Fatalf("new run over an old one: %v", err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "server.log"))
	if err != nil || strings.Contains(string(b), "Zq7v") || !strings.Contains(string(b), "were cut here") {
		t.Fatalf("log: %q %v", b, err)
	}
	for _, name := range []string{"journal.jsonl", "a/samples.jsonl.zst"} {
		n := 0
		torn, err := ReadLines(filepath.Join(dir, name), 0, func(_ int, line []byte) error {
			n++
			if strings.Contains(string(line), "Zq7v") {
				t.Errorf("%s: %s", name, line)
			}
			return nil
		})
		if err != nil || torn || n != 1 {
			t.Errorf("%s: %d lines, torn %v, %v", name, n, torn, err)
		}
	}
}

func TestTornLastLineIsCut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	run, err := Create(dir, Meta{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	if err := os.WriteFile(run.Path("j.jsonl"), []byte("{\"a\":1}\n{\"a\":"), 0o600); err != nil {
		t.Fatal(err)
	}
	count := func() (n int, torn bool) {
		torn, err := ReadLines(run.Path("j.jsonl"), 0, func(int, []byte) error { n++; return nil })
		if err != nil {
			t.Fatal(err)
		}
		return n, torn
	}
	if n, torn := count(); n != 1 || !torn {
		t.Fatalf("before: %d %v", n, torn)
	}
	j, err := run.AppendFile("j.jsonl")
	if err != nil || !j.Torn() {
		t.Fatalf("torn %v, %v", j, err)
	}
	if err := errors.Join(j.JSON(map[string]int{"a": 2}), j.Close()); err != nil {
		t.Fatal(err)
	}
	if n, torn := count(); n != 2 || torn {
		t.Fatalf("after: %d %v", n, torn)
	}
}

func TestForeignFolderAndFileAreRefused(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, file, filepath.Join(file, "below")} {
		if _, err := Create(path, Meta{}, nil); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}
