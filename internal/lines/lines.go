// Package lines reads text from outside line by line, none longer than a bound:
//
//	bufio.Reader  →  Next  →  one line, or why there is none
//
// It is the one place that knows how; what a line means is its caller's business.
package lines

import (
	"bufio"
	"errors"
)

// Next appends the next line to buf, its newline included. At the end of the input
// it returns io.EOF and what stood there without a newline. A line of more than
// limit bytes, the newline not counted, is bufio.ErrTooLong; [Skip] passes over what
// is left of it.
func Next(br *bufio.Reader, buf []byte, limit int) ([]byte, error) {
	for {
		part, err := br.ReadSlice('\n')
		size := len(buf) + len(part)
		if err == nil {
			size--
		}
		if size > limit {
			if err == nil {
				br.UnreadByte() //nolint:errcheck // a newline was just read: Skip finds it
			}
			return buf, bufio.ErrTooLong
		}
		buf = append(buf, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return buf, err
		}
	}
}

// Skip reads up to the end of the line, or to the error that ends the input.
func Skip(br *bufio.Reader) error {
	for {
		if _, err := br.ReadSlice('\n'); !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}
