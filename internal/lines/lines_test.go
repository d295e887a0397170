package lines

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNextTakesEachLineWithinItsBound(t *testing.T) {
	const limit = 20
	br := bufio.NewReaderSize(strings.NewReader("a\n\r\n"+strings.Repeat("x", limit)+"\n"+strings.Repeat("y", limit+1)+"\n"+strings.Repeat("z", 9*limit)+"\nend"), 16)
	for i, want := range []string{"a\n", "\r\n", strings.Repeat("x", limit) + "\n", "", "", "end"} {
		line, err := Next(br, nil, limit)
		switch {
		case want == "":
			if !errors.Is(err, bufio.ErrTooLong) {
				t.Fatalf("line %d: %q, %v; want it too long", i, line, err)
			}
			if err := Skip(br); err != nil {
				t.Fatal(err)
			}
		case string(line) != want || (err != nil) != (want == "end"):
			t.Fatalf("line %d: %q, %v; want %q", i, line, err, want)
		}
	}
	if line, err := Next(br, nil, limit); len(line) > 0 || !errors.Is(err, io.EOF) {
		t.Fatalf("after the end: %q, %v", line, err)
	}
}

// Lines put together are the text, whatever the buffer's size.
func TestNextLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOf(rapid.SampledFrom([]byte("ab\r\n"))).Draw(t, "text")
		br := bufio.NewReaderSize(bytes.NewReader(text), rapid.IntRange(16, 40).Draw(t, "buffer"))
		var all []byte
		for {
			line, err := Next(br, nil, len(text))
			all = append(all, line...)
			if err != nil {
				break
			}
			if bytes.IndexByte(line, '\n') != len(line)-1 {
				t.Fatalf("%q is not one line", line)
			}
		}
		if !bytes.Equal(all, text) {
			t.Fatalf("%q became %q", text, all)
		}
	})
}
