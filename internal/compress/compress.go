// Package compress is the one door to compressed files: what is read is told by
// its first bytes, not by its name; what is written is chosen by name.
//
//	file → first bytes → gzip | zstd | as it is → text
package compress

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Form is how a file is compressed.
type Form string

// The forms.
const (
	Plain Form = ""
	Gzip  Form = "gzip" // RFC 1952
	Zstd  Form = "zstd" // RFC 8878
)

// Window bounds the memory that reading a zstd frame may take: frames that ask
// for more are refused. Our own writers stay below 8 MiB.
const Window = 128 << 20

// ErrEmpty says that there is nothing to read.
var ErrEmpty = errors.New("it is empty")

// FormOf tells the form from the first four bytes of a file.
func FormOf(head []byte) Form {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return Gzip
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}), len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18}):
		return Zstd // also a frame that readers skip
	}
	return Plain
}

// FormByName tells the form that a file's name asks for: .gz, .tgz, .zst.
func FormByName(name string) Form {
	switch {
	case strings.HasSuffix(name, ".gz"), strings.HasSuffix(name, ".tgz"):
		return Gzip
	case strings.HasSuffix(name, ".zst"):
		return Zstd
	}
	return Plain
}

// NewReader reads what r holds, decompressed by what its first bytes say; all
// members or frames one after the other. An empty r is [ErrEmpty]. A compressed
// text that ends too early ends with [io.ErrUnexpectedEOF]. Close frees memory,
// it does not close r.
func NewReader(r io.Reader) (io.ReadCloser, error) {
	br := bufio.NewReaderSize(r, 128<<10)
	head, err := br.Peek(4)
	if len(head) == 0 {
		if errors.Is(err, io.EOF) {
			return nil, ErrEmpty
		}
		return nil, err
	}
	switch FormOf(head) {
	case Gzip:
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		return z, nil
	case Zstd:
		z, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(Window))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(br), nil
}

// NewWriter compresses what is written into w. Close writes the end; it does not
// close w.
func NewWriter(w io.Writer, form Form) (io.WriteCloser, error) {
	switch form {
	case Gzip:
		return gzip.NewWriter(w), nil
	case Zstd:
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	}
	return plain{w}, nil
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }
