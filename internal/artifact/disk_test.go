package artifact

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// fullDisk takes so many bytes and then says that no space is left, as a real
// one does: with a part of the last write done.
type fullDisk struct{ left *int }

func (d fullDisk) create(path string, flag int) (handle, error) {
	h, err := realDisk{}.create(path, flag)
	if err != nil {
		return nil, err
	}
	return fullHandle{h, d.left}, nil
}

type fullHandle struct {
	handle
	left *int
}

func (h fullHandle) Write(b []byte) (int, error) {
	n := min(len(b), *h.left)
	*h.left -= n
	n, err := h.handle.Write(b[:n])
	if err == nil && n < len(b) {
		err = unix.ENOSPC
	}
	return n, err
}

// full makes a run whose disk takes space more bytes.
func full(t *testing.T, space int) (*Run, *int) {
	t.Helper()
	run, err := Create(filepath.Join(t.TempDir(), "run"), Meta{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { run.Close() })
	left := space
	run.disk = fullDisk{&left}
	return run, &left
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if e.Name() != ManifestName && !strings.HasSuffix(e.Name(), "lock") {
			out = append(out, e.Name())
		}
	}
	return out
}

func TestFullDiskLeavesNoPartOfAFile(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef\n"), 64<<10)
	for _, test := range []struct {
		name  string
		write func(r *Run) error
	}{
		{"WriteFile", func(r *Run) error { return r.WriteFile("x", big) }},
		{"WriteJSON", func(r *Run) error { return r.WriteJSON("x", string(big)) }},
		{"CreateFile", func(r *Run) error {
			f, err := r.CreateFile("x")
			if err != nil {
				return err
			}
			defer f.Abort()
			if _, err := f.Write(big); err != nil {
				return err
			}
			return f.Commit()
		}},
		{"CreateLinesZst", func(r *Run) error {
			l, err := r.CreateLinesZst("x")
			if err != nil {
				return err
			}
			defer l.Abort()
			for i := range 200_000 {
				if err := l.JSON(map[string]int{"n": i * 7919}); err != nil {
					return err
				}
			}
			return l.Commit()
		}},
	} {
		run, _ := full(t, 1000)
		err := test.write(run)
		if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "free some space") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", test.name, err)
		}
		if left := names(t, run.Dir()); len(left) != 0 {
			t.Errorf("%s: left behind %v", test.name, left)
		}
	}
}

func TestFullDiskKeepsTheOldFileAndTheJournal(t *testing.T) {
	run, left := full(t, 1000)
	j, err := run.AppendFile("j.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(run.WriteFile("x", []byte("old")), j.JSON(map[string]int{"n": 1})); err != nil {
		t.Fatal(err)
	}
	*left = 4
	if err := run.WriteFile("x", []byte("new content")); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("whole file: %v", err)
	}
	*left = 4
	if err := j.JSON(map[string]int{"n": 2}); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("journal: %v", err)
	}
	*left = 1000
	if err := errors.Join(j.JSON(map[string]int{"n": 3}), j.Close()); err != nil {
		t.Errorf("journal after space was made: %v", err)
	}
	for name, want := range map[string]string{"x": "old", "j.jsonl": "{\"n\":1}\n{\"n\":3}\n"} {
		if b, err := os.ReadFile(run.Path(name)); err != nil || string(b) != want {
			t.Errorf("%s: %q %v, expected %q", name, b, err, want)
		}
	}
}

// Lines that come from outside: no panic, no line longer than the limit, and
// every whole line once.
func FuzzReadLines(f *testing.F) {
	for _, s := range []string{"", "\n", "a\nb", "a\r\n\r\nb\n", strings.Repeat("x", 100) + "\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 64
		last := 0
		_, err := readLines("f", bytes.NewReader(data), limit, func(n int, line []byte) error {
			if n <= last || len(line) > limit || bytes.IndexByte(line, '\n') >= 0 {
				t.Fatalf("line %d after %d: %q", n, last, line)
			}
			last = n
			return nil
		})
		if err == nil && last > bytes.Count(data, []byte("\n")) {
			t.Fatalf("%d lines out of %q", last, data)
		}
	})
}
