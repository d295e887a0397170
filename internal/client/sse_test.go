package client

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// split cuts text into parts after the given positions.
func split(text string, at ...int) (parts [][]byte) {
	last := 0
	for _, i := range append(at, len(text)) {
		parts = append(parts, []byte(text[last:i]))
		last = i
	}
	return parts
}

func readEvents(parts [][]byte) (events []string, err error) {
	var s sseReader
	take := func(data []byte) error {
		events = append(events, string(data))
		return nil
	}
	for _, p := range parts {
		if err := s.feed(p, take); err != nil {
			return events, err
		}
	}
	return events, s.end(take)
}

func TestSSE(t *testing.T) {
	tests := []struct {
		name, stream string
		want         []string
	}{
		{"line feed", "data: a\n\ndata: b\n\n", []string{"a", "b"}},
		{"carriage return and line feed", "data: a\r\n\r\ndata: b\r\n\r\n", []string{"a", "b"}},
		{"carriage return", "data: a\r\rdata: b\r\r", []string{"a", "b"}},
		{"all three in one stream", "data: a\r\n\ndata: b\r\n\rdata: c\n\r\n", []string{"a", "b", "c"}},
		{"no space after the colon", "data:a\n\n", []string{"a"}},
		{"only one space is taken", "data:  a \n\n", []string{" a "}},
		{"several lines", "data: a\ndata: b\ndata\ndata:\n\n", []string{"a\nb\n\n"}},
		{"comments and other fields", ": ping\nevent: x\nid: 7\nretry: 1\ndata: a\nfoo\n\n: end\n\n", []string{"a"}},
		{"field that begins like data", "database: x\ndata: a\n\n", []string{"a"}},
		{"blank lines alone", "\n\r\n\r\n\n\n", nil},
		{"split character", "data: \xf0\x9f\x98\x80é\n\n", []string{"😀é"}},
		{"byte order mark", "\ufeffdata: a\n\n", []string{"a"}},
		{"mark later on is no mark", "data: a\n\n\ufeffdata: b\n\n", []string{"a"}},
		{"no blank line at the end", "data: a\n\ndata: b\n", []string{"a", "b"}},
		{"no line end at the end", "data: a\n\ndata: b", []string{"a", "b"}},
		{"nothing", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for cut := range len(tt.stream) + 1 { // wherever a read ends
				got, err := readEvents(split(tt.stream, cut))
				if err != nil || !slices.Equal(got, tt.want) {
					t.Fatalf("cut at %d: %q, %v, want %q", cut, got, err, tt.want)
				}
			}
			if got, _ := readEvents(split(tt.stream, positions(len(tt.stream))...)); !slices.Equal(got, tt.want) {
				t.Errorf("a byte a read: %q, want %q", got, tt.want)
			}
		})
	}
}

func positions(n int) (at []int) {
	for i := 1; i < n; i++ {
		at = append(at, i)
	}
	return at
}

func TestSSEOfManyMegabytes(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 5<<16) // 5 MiB
	stream := "data: " + long + "\n\ndata: end\n\n"
	got, err := readEvents(split(stream, 4096, 8192, 3<<20))
	if err != nil || len(got) != 2 || got[0] != long || got[1] != "end" {
		t.Errorf("%d events, %v", len(got), err)
	}
}

func TestSSEBoundsAnEvent(t *testing.T) {
	part := bytes.Repeat([]byte("x"), 1<<20)
	for _, line := range []string{"data: ", ": "} {
		var s sseReader
		err := s.feed([]byte(line), nil)
		for i := 0; err == nil && i < maxEvent>>20+1; i++ {
			err = s.feed(part, nil)
		}
		if !errors.Is(err, errEventTooLong) {
			t.Errorf("%q without an end: %v", line, err)
		}
	}
	var s sseReader
	var err error
	for i := 0; err == nil && i < maxEvent>>20+1; i++ { // many lines of one event
		err = s.feed(fmt.Appendf(nil, "data: %s\n", part), nil)
	}
	if !errors.Is(err, errEventTooLong) {
		t.Errorf("lines without an end: %v", err)
	}
}

// The consumer's error stops the reader at once.
func TestSSEStops(t *testing.T) {
	var s sseReader
	n := 0
	err := s.feed([]byte("data: a\n\ndata: b\n\ndata: c\n\n"), func(data []byte) error {
		if n++; string(data) == "b" {
			return errDone
		}
		return nil
	})
	if !errors.Is(err, errDone) || n != 2 {
		t.Errorf("%d events, %v", n, err)
	}
}

// plainSSE is the standard's own way of saying it: all lines first.
func plainSSE(stream string) (events []string) {
	stream = strings.TrimPrefix(stream, "\ufeff")
	stream = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(stream)
	var data []string
	for _, line := range append(strings.Split(stream, "\n"), "") {
		if line == "" {
			if len(data) > 0 {
				events = append(events, strings.Join(data, "\n"))
			}
			data = nil
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		if field == "data" {
			data = append(data, strings.TrimPrefix(value, " "))
		}
	}
	return events
}

// FuzzSSE holds the reader against the standard's words, wherever reads end.
func FuzzSSE(f *testing.F) {
	for _, seed := range []string{
		"data: a\n\ndata: b\r\n\r\n", "data: a\rdata: b\r\r\n", "\ufeffdata:x\n\n: c\n\n", "data\n\n", "\n\r\r\n", "data: [DONE]\n\n",
	} {
		f.Add(seed, uint64(3))
	}
	f.Fuzz(func(t *testing.T, stream string, seed uint64) {
		want := plainSSE(stream)
		r := rand.New(rand.NewPCG(seed, 1))
		var cuts []int
		for range min(len(stream), 8) {
			cuts = append(cuts, r.IntN(len(stream)+1))
		}
		slices.Sort(cuts)
		got, err := readEvents(split(stream, cuts...))
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("stream %q cut at %v: %q, %v, want %q", stream, cuts, got, err, want)
		}
	})
}

func BenchmarkSSE(b *testing.B) {
	event := "data: {\"id\":\"cmpl-0123456789\",\"object\":\"text_completion\",\"created\":1700000000,\"choices\":[{\"index\":0,\"text\":\" token\",\"logprobs\":null,\"finish_reason\":null}]}\n\n"
	stream := []byte(strings.Repeat(event, 100))
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	var s sseReader
	n := 0
	for b.Loop() {
		if err := s.feed(stream, func([]byte) error { n++; return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/event")
}
