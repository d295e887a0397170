package trace

import (
	"context"
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
