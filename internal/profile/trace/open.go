package trace

import (
	"context"
	"errors"
	"io"
	"os"
)

// Open reads the trace at path; "-" is standard input. Whether it is plain, gzip
// or zstd is told by its first bytes, never by its name.
func Open(ctx context.Context, path string, o Options) (*Trace, error) {
	if path == "-" {
		return Read(ctx, os.Stdin, path, o)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Read(ctx, f, path, o)
}

// Read reads a trace from r; source names it in errors and in the result. A
// damaged or cut file gives the events before the damage, and [Trace.Break]; an
// error says that the input is no trace, is beyond a limit, could not be read, or
// that ctx ended. In the latter cases r may be read for one block more after Read
// has returned.
func Read(ctx context.Context, r io.Reader, source string, o Options) (*Trace, error) {
	b := newBuilder(source, o.withDefaults())
	s, err := newScanner(ctx, r, source, b.o)
	if err != nil {
		return nil, err
	}
	defer s.close()
	s.sink = b
	if err := s.run(); err != nil {
		return nil, err
	}
	b.t.Bytes, b.t.Events, b.t.Break = s.offset(), s.events, s.brk
	return b.finish(), nil
}

// newScanner begins to decompress r.
func newScanner(ctx context.Context, r io.Reader, source string, o Options) (*scanner, error) {
	text, end, err := decompress(r)
	var failed readError
	switch {
	case errors.As(err, &failed):
		return nil, &os.PathError{Op: "read", Path: source, Err: failed.error}
	case err != nil:
		return nil, &NotTraceError{source, err.Error()}
	}
	return &scanner{ctx: ctx, name: source, o: o, src: newSource(text, end, o.block)}, nil
}
