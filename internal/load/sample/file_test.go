package sample

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func example() (Header, []Record) {
	ok := New(0, 1_000)
	ok.Begin, ok.Send, ok.Conn, ok.Header = 1_200, 1_500, 1_500, 9_000
	ok.FirstReasoning, ok.FirstVisible = 10_000, 20_000
	ok.FirstChoices, ok.FirstText, ok.LastText, ok.LastChoices, ok.UsageAt, ok.Done = 9_500, 10_000, 20_000, 20_500, 21_000, 21_500
	ok.InputTokens, ok.OutputTokens, ok.CachedTokens, ok.TokensBy = 12, 3, 0, TokensUsage
	ok.WantInput, ok.WantOutput, ok.IgnoreEOS, ok.Status, ok.Finish, ok.RequestID = 12, 3, true, 200, "length", "t-0"
	ok.Events = []Event{{At: 10_000, Bytes: 90, Text: 4, Tokens: 1}, {At: 20_000, Bytes: 95, Text: 8, Tokens: 3, Shared: true}}
	dropped := New(1, 2_000)
	dropped.Class, dropped.Error, dropped.RequestID = ClassDropped, "not sent", "t-1"
	return Header{Started: time.Date(2026, 11, 24, 8, 0, 0, 123, time.UTC), DurationNs: 21_500}, []Record{ok, dropped}
}

func write(t testing.TB, h Header, records []Record) []byte {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	if err := Write(enc.Encode, h, records); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// read takes a whole text line by line.
func read(text string) (d Decoder, err error) {
	n := 0
	for line := range strings.Lines(text) {
		if n++; strings.TrimSpace(line) == "" {
			continue
		}
		if err := d.Line(n, []byte(line)); err != nil {
			return d, err
		}
	}
	return d, d.End()
}

func TestWriteThenRead(t *testing.T) {
	h, records := example()
	got, err := read(string(write(t, h, records)))
	h.Schema, h.SchemaVersion = Schema, SchemaVersion
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(h, got.Header) + cmp.Diff(records, got.Records); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestGoldenFile(t *testing.T) {
	const file = "testdata/samples.jsonl"
	h, records := example()
	text := write(t, h, records)
	if *update {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(text)); d != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", file, d)
	}
}

// What an older file lacks did not happen at instant 0.
func TestMissingMembersAreNever(t *testing.T) {
	got, err := read("{\"schema\":\"llmdyno.samples\",\"schema_version\":1,\"later\":1}\n\n{\"index\":4,\"sched_ns\":7,\"unknown\":{}}\n")
	if want := New(4, 7); err != nil || len(got.Records) != 1 || cmp.Diff(want, got.Records[0]) != "" {
		t.Errorf("%v %+v", err, got.Records)
	}
}

func TestReadRefuses(t *testing.T) {
	const head = `{"schema":"llmdyno.samples","schema_version":1}` + "\n"
	for text, want := range map[string]string{
		"":   "empty; expected a header",
		"\n": "empty",
		"{}": `schema "" version 0: expected "llmdyno.samples"`,
		`{"schema":"llmdyno.samples","schema_version":2}`: "use a newer program",
		`{"schema":"llmdyno.rows","schema_version":1}`:    `schema "llmdyno.rows"`,
		"x\n":                                  "samples line 1: expected a header",
		head + "[]\n":                          "samples line 2: expected a record",
		head + "{\"index\":0\n{\"index\":1}\n": "samples line 2",
		head + `{"output_tokens":-1}`:          "token counts 0 and -1",
		head + `{"send_ns":-2}`:                "an instant of -2 ns",
		head + `{"events":[{"at_ns":-9}]}`:     "an instant of -9 ns",
	} {
		if d, err := read(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %d records, %v, want %q", text, len(d.Records), err, want)
		}
	}
}

func TestWriteNamesTheRequest(t *testing.T) {
	full := errors.New("disk full")
	n := 0
	err := Write(func(any) error {
		if n++; n == 3 {
			return full
		}
		return nil
	}, Header{}, []Record{New(5, 0), New(6, 0)})
	if !errors.Is(err, full) || !strings.Contains(err.Error(), "request 6") {
		t.Error(err)
	}
}

// FuzzSamples: what is read can be written, and reads the same again.
func FuzzSamples(f *testing.F) {
	h, records := example()
	text := string(write(f, h, records))
	f.Add(text)
	f.Add(text[:len(text)-9])
	f.Add(`{"schema":"llmdyno.samples","schema_version":1}` + "\n" + `{"class":"timeout","events":[{"at_ns":5,"tokens":-3}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := read(text)
		if err != nil {
			return
		}
		again, err := read(string(write(t, got.Header, got.Records)))
		if err != nil {
			t.Fatal(err)
		}
		if len(again.Records) != len(got.Records) {
			t.Fatalf("%d records, then %d", len(got.Records), len(again.Records))
		}
		for i := range got.Records {
			a, _ := json.Marshal(got.Records[i])
			b, _ := json.Marshal(again.Records[i])
			if !bytes.Equal(a, b) {
				t.Fatalf("record %d: %s, then %s", i, a, b)
			}
		}
	})
}
