package trace

import (
	"context"
	"errors"
	"io"

	"llmdyno/internal/compress"
)

const (
	blockBytes = 256 << 10
	headroom   = 32 << 10 // before each block: room for what the last one left unread
	blocks     = 4
)

// source decompresses in a goroutine of its own, a few blocks ahead of its
// reader. The reader may stop at any time: stop ends the goroutine at its next
// block. A read that blocks for good in the underlying reader ends with that reader.
type source struct {
	full chan block
	free chan []byte
	done chan struct{}
}

type block struct {
	mem []byte // headroom, then text
	n   int    // bytes of text
	err error  // after the text; io.EOF at a regular end
}

// readError is an error of the underlying reader itself, not of its contents.
type readError struct{ error }

func (e readError) Unwrap() error { return e.error }

// honest marks errors of r so that they are not taken for damaged contents.
type honest struct{ r io.Reader }

func (h honest) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		err = readError{err}
	}
	return n, err
}

// decompress looks at the first bytes and puts the right reader before the rest.
func decompress(r io.Reader) (io.Reader, func(), error) {
	z, err := compress.NewReader(honest{r})
	if err != nil {
		return nil, nil, err
	}
	return z, func() { z.Close() }, nil
}

func newSource(r io.Reader, end func(), size int) *source {
	if size <= 0 {
		size = blockBytes
	}
	s := &source{full: make(chan block, blocks), free: make(chan []byte, blocks), done: make(chan struct{})}
	for range blocks {
		s.free <- nil // made when first used: a small file needs one
	}
	go s.run(r, end, size)
	return s
}

func (s *source) run(r io.Reader, end func(), size int) {
	defer end()
	for {
		var mem []byte
		select {
		case mem = <-s.free:
		case <-s.done:
			return
		}
		if mem == nil {
			mem = make([]byte, headroom+size)
		}
		n, err := io.ReadFull(r, mem[headroom:])
		if errors.Is(err, io.ErrUnexpectedEOF) && n < size && plainEnd(r) {
			err = io.EOF
		}
		select {
		case s.full <- block{mem, n, err}:
		case <-s.done:
			return
		}
		if err != nil {
			return
		}
	}
}

// plainEnd tells a short last block from a stream that was cut: ReadFull says
// the same of both, but a decompressor that is asked again repeats its error.
func plainEnd(r io.Reader) bool {
	var one [1]byte
	_, err := r.Read(one[:])
	return errors.Is(err, io.EOF)
}

func (s *source) stop() { close(s.done) }

// next waits for the next block.
func (s *source) next(ctx context.Context) (block, error) {
	select {
	case b := <-s.full:
		return b, nil
	case <-ctx.Done():
		return block{}, context.Cause(ctx)
	}
}

// release hands memory back for reuse.
func (s *source) release(mem []byte) {
	if mem != nil {
		s.free <- mem
	}
}
