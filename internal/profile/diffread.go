package profile

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"llmdyno/internal/profile/attrib"
)

// maxDocument bounds a triage document that is read back, in bytes. One of a large
// trace with every row has about 10 MB.
const maxDocument = 256 << 20

// maxTimeNS is the longest time that a document may state: a year.
const maxTimeNS = 366 * 24 * 3600 * 1e9

// errNotDocument: the file is something else.
var errNotDocument = errors.New("not a triage document")

// documentKeys are the keys of [Document].
var documentKeys = func() map[string]bool {
	keys := map[string]bool{}
	var add func(t reflect.Type)
	add = func(t reflect.Type) {
		for i := range t.NumField() {
			f := t.Field(i)
			key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case f.Anonymous && key == "":
				add(f.Type)
			case key != "" && key != "-":
				keys[key] = true
			}
		}
	}
	add(reflect.TypeFor[Document]())
	return keys
}()

// IsDocument reports whether a file is the JSON of a triage: an object whose first
// key is one of [Document].
func IsDocument(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return false
	}
	return looksLikeDocument(io.LimitReader(f, 4<<10))
}

func looksLikeDocument(r io.Reader) bool {
	dec := json.NewDecoder(r)
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return false
	}
	key, err := dec.Token()
	text, is := key.(string)
	return err == nil && is && documentKeys[text]
}

// ReadDocument reads the JSON that `profile triage --format json` wrote.
func ReadDocument(path string) (*Document, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d, err := decodeDocument(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

func decodeDocument(r io.Reader) (*Document, error) {
	in := bufio.NewReader(io.LimitReader(r, maxDocument+1))
	text, err := io.ReadAll(in)
	if err != nil {
		return nil, err
	}
	if len(text) > maxDocument {
		return nil, fmt.Errorf("%w of at most %d MB", errNotDocument, maxDocument>>20)
	}
	var file struct {
		Document
		Error string `json:"error"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("%w: %w", errNotDocument, err)
	}
	d := &file.Document
	if file.Error != "" {
		return nil, fmt.Errorf("the triage failed: %s", file.Error)
	}
	if d.SchemaVersion != SchemaVersion {
		return nil, fmt.Errorf("triage document of schema version %d, expected %d: triage the trace again", d.SchemaVersion, SchemaVersion)
	}
	for _, t := range append([]*Tables{&d.Tables}, pointers(d.Others)...) {
		if err := t.check(); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func pointers[T any](list []T) []*T {
	out := make([]*T, len(list))
	for i := range list {
		out[i] = &list[i]
	}
	return out
}

// check refuses figures that no triage writes and arithmetic could trip over.
func (t *Tables) check() error {
	var first error
	known := attrib.Stages()
	look := func(what string, stage attrib.Stage, launches int, total attrib.Nanos) {
		if first == nil && !(slices.Contains(known, stage) && launches >= 0 && launches < 1<<40 && total >= 0 && total < maxTimeNS) {
			first = fmt.Errorf("%w: %s of stage %q with %d launches and %g us", errNotDocument, what, stage, launches, total.Micros())
		}
	}
	for stage, r := range t.Stages {
		look("a total", stage, r.Launches, r.Total)
	}
	for i := range t.Kernels {
		look("a kernel", t.Kernels[i].Stage, t.Kernels[i].Launches, t.Kernels[i].Total)
	}
	for stage, list := range t.Classes {
		for _, c := range list {
			look("a class", stage, c.Launches, c.Total)
		}
	}
	for i := range t.Gaps {
		look("idle time", t.Gaps[i].Stage, t.Gaps[i].Gaps, t.Gaps[i].TotalUS)
	}
	return first
}

// ReadSide reads one side of a diff: a triage document, or traces, of which every
// row is made. rank chooses one of several ranks or GPUs by its label or process;
// "" is the first.
func ReadSide(ctx context.Context, r Request, path, rank string) (DiffSide, error) {
	side := DiffSide{Label: path}
	var err error
	if path != "-" && IsDocument(path) {
		side.Document, err = ReadDocument(path)
	} else {
		r.Paths, r.MinShare, r.Limit, r.AllRanks = []string{path}, 0, 0, rank != ""
		side.Document, err = Triage(ctx, r)
	}
	if err != nil || rank == "" {
		return side, err
	}
	all := append([]*Tables{&side.Document.Tables}, pointers(side.Document.Others)...)
	var names []string
	for _, t := range all {
		if strings.EqualFold(t.Rank, rank) || t.GPUPID == rank {
			side.Tables, side.Label = t, path+" ("+rank+")"
			return side, nil
		}
		names = append(names, fmt.Sprintf("%q (process %s)", t.Rank, t.GPUPID))
	}
	return side, fmt.Errorf("%s: no rank %q in it: it has %s", path, rank, strings.Join(names, ", "))
}
