package replay

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"llmdyno/internal/engine"
	"llmdyno/internal/incident/dump"
	"llmdyno/internal/load/workload"
)

// Source is what a replay was read from.
type Source struct {
	Files    []string
	Requests []Request
	// Hostile are files that would run code in a reader that resolves names.
	Hostile []string
	// Problems are what was wrong with the files, each one line.
	Problems []string
}

// Read reads a request list, a dump, or a folder of dumps.
func Read(ctx context.Context, path string, engines engine.Set) (*Source, error) {
	list, err := isList(path)
	if err != nil {
		return nil, err
	}
	if list {
		return readList(path)
	}
	d, err := dump.Open(ctx, []string{path}, dump.Options{Engines: engines})
	if err != nil {
		return nil, err
	}
	s := &Source{}
	for _, f := range d.Files {
		s.Files = append(s.Files, f.File)
		if f.Verdict == dump.VerdictHostile {
			s.Hostile = append(s.Hostile, f.File)
		}
		if f.Error != "" {
			s.Problems = append(s.Problems, f.File+": "+f.Error)
		}
	}
	reqs, err := dump.Requests(d)
	if err != nil {
		return nil, err
	}
	for _, q := range reqs {
		s.Requests = append(s.Requests, Request{Request: q})
	}
	if len(reqs) == 0 {
		err = fmt.Errorf("%s holds no request that could be sent again", path)
		if len(s.Problems) > 0 {
			err = errors.New(s.Problems[0])
		}
	}
	return s, err
}

// isList says that a file begins as a request list does; a pickle never does.
func isList(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.IsDir() {
		return false, err
	}
	head, err := bufio.NewReader(io.LimitReader(f, 4096)).Peek(4096)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("reading %s: %w", path, err)
	}
	return bytes.HasPrefix(bytes.TrimLeft(head, " \t\r\n"), []byte("{\"")), nil
}

func readList(path string) (*Source, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	reqs, _, err := dump.ReadRequests(f, path)
	if err != nil {
		return nil, err
	}
	if len(reqs) == 0 {
		return nil, fmt.Errorf("%s: a request list without a request", path)
	}
	s := &Source{Files: []string{path}}
	other := !slices.ContainsFunc(reqs, func(q dump.Request) bool { return q.Index != 0 || len(q.Body) > 0 || q.ReplayOnly != "" })
	for i, q := range reqs {
		if other {
			q.Index = i
		}
		s.Requests = append(s.Requests, Request{Request: q})
	}
	if other {
		err = s.others(f, path)
	}
	return s, err
}

// others reads what only a list has that a load was planned with: messages, and
// requests that wait for others.
func (s *Source) others(f *os.File, path string) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	list, err := workload.ReadRequests(f, path)
	if err != nil {
		return err
	}
	if len(list) != len(s.Requests) {
		return fmt.Errorf("%s: %d requests in one reading, %d in another", path, len(s.Requests), len(list))
	}
	for i, q := range list {
		if q.After > 0 {
			return fmt.Errorf("%s: request %d waits for the end of request %d; a replay sends by the clock alone: use llmdyno load", path, i, q.After-1)
		}
		s.Requests[i].Messages = q.Messages
	}
	return nil
}
