package artifact

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"llmdyno/internal/compress"
)

func TestWriteWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "report.md")
	r := NewRedactor()
	r.AddSecret("planted-secret-value")
	for _, text := range []string{"first", "second: planted-secret-value"} {
		if err := WriteWhole(path, []byte(text), r); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(got), "planted") || !strings.HasPrefix(string(got), "second: [redacted:") {
		t.Errorf("file holds %q, %v", got, err)
	}

	link := filepath.Join(dir, "link.md")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if err := WriteWhole(link, []byte("through the link"), nil); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); string(got) != "through the link" {
		t.Errorf("the file behind the link holds %q", got)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v, %v", info, err)
	}
	if err := WriteWhole(filepath.Join(dir, "new", "folder", "f"), []byte("x"), nil); err != nil {
		t.Errorf("a folder that is not there yet: %v", err)
	}
	if err := WriteWhole(os.DevNull, []byte("x"), nil); err != nil {
		t.Errorf("%s: %v", os.DevNull, err)
	}
}

func TestWriteWholeFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ path, want string }{
		"a folder":         {dir, "it is a folder"},
		"a file as folder": {filepath.Join(path, "g"), "a part of the path is a file"},
		"a name too long":  {filepath.Join(dir, strings.Repeat("x", 300)), "shorter name"},
	} {
		if err := WriteWhole(test.path, []byte("new"), nil); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	if err := writeWholeOn(fullDisk{new(int)}, path, []byte("new")); err == nil {
		t.Error("a full disk is no error")
	}
	if got, _ := os.ReadFile(path); string(got) != "old" {
		t.Errorf("after a full disk the file holds %q", got)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestCreateWhole(t *testing.T) {
	dir := t.TempDir()
	r := NewRedactor()
	r.AddSecret("hunter2-hunter2")
	for _, name := range []string{"a.json", "a.json.gz", "a.json.zst"} {
		path := filepath.Join(dir, name)
		f, err := CreateWhole(path, r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte("one hunter2-hunter2\ntwo\n")); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s stands under its name before it is whole", name)
		}
		if err := f.Commit(); err != nil {
			t.Fatal(err)
		}
		in, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		z, err := compress.NewReader(in)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(z)
		in.Close()
		if err != nil || strings.Contains(string(text), "hunter2") || !strings.HasSuffix(string(text), "\ntwo\n") {
			t.Errorf("%s holds %q, %v", name, text, err)
		}
	}
	f, err := CreateRedacted(filepath.Join(dir, "b"))
	if err != nil {
		t.Fatal(err)
	}
	f.Abort()
	left, _ := filepath.Glob(filepath.Join(dir, "*b*"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	for _, path := range []string{dir, os.DevNull} {
		if _, err := CreateWhole(path, nil); err == nil || !strings.Contains(err.Error(), "no regular file") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
