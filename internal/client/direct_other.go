//go:build !linux

package client

import (
	"context"
	"errors"

	"llmdyno/internal/load/sample"
)

// direct does not exist here: every stream goes through net/http.
type direct struct{ heads heads }

type conn struct{}

func newDirect(*Client, Options) *direct { return nil }

func (*direct) connect(context.Context, Clock, *sample.Record, bool) (*conn, error) {
	return nil, errors.ErrUnsupported
}

func (*direct) close() {}

func (*conn) send(context.Context, *pending, []byte, []byte) bool { return false }
