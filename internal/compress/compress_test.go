package compress

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func squeeze(t *testing.T, text string, form Form) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, form)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFormsComeBack(t *testing.T) {
	text := strings.Repeat("kernel launch\n", 5000)
	for _, form := range []Form{Plain, Gzip, Zstd} {
		b := squeeze(t, text, form)
		if got := FormOf(b); got != form {
			t.Errorf("%q is told as %q", form, got)
		}
		twice := append(bytes.Clone(b), b...) // members one after the other
		r, err := NewReader(bytes.NewReader(twice))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || string(got) != text+text {
			t.Errorf("%q: %d bytes, %v; want %d", form, len(got), err, 2*len(text))
		}
		r.Close()
		if form == Plain {
			continue
		}
		if r, err = NewReader(bytes.NewReader(b[:len(b)/2])); err != nil {
			t.Fatal(err)
		}
		if _, err = io.ReadAll(r); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q cut in the middle: %v", form, err)
		}
		r.Close()
	}
}

func TestNothingToRead(t *testing.T) {
	if _, err := NewReader(strings.NewReader("")); !errors.Is(err, ErrEmpty) {
		t.Errorf("empty input: %v", err)
	}
	if _, err := NewReader(strings.NewReader("\x1f\x8b")); err == nil {
		t.Error("half a gzip header is taken")
	}
}

func TestFormByName(t *testing.T) {
	for name, want := range map[string]Form{"a.json": Plain, "a.json.gz": Gzip, "b.tgz": Gzip, "b.tar.zst": Zstd, "gz": Plain} {
		if got := FormByName(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func FuzzNewReader(f *testing.F) {
	f.Add([]byte("text"))
	f.Add([]byte("\x1f\x8b\x08\x00"))
	f.Add([]byte("\x28\xb5\x2f\xfd\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := NewReader(bytes.NewReader(in))
		if err != nil {
			return
		}
		defer r.Close()
		if _, err := io.Copy(io.Discard, io.LimitReader(r, 1<<22)); err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
	})
}
