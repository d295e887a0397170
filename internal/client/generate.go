package client

import (
	"context"
	"fmt"

	"llmdyno/internal/engine"
	"llmdyno/internal/load/sample"
)

// Generate asks for one answer as a whole, without a stream, and returns what the
// reply carries.
func (c *Client) Generate(ctx context.Context, w engine.Wire, r engine.GenerateRequest) (engine.Delta, error) {
	r.Stream = false
	body, err := w.Encode(r)
	if err != nil {
		return engine.Delta{}, fmt.Errorf("request for %s: %w", w.Path, err)
	}
	reply, err := c.do(ctx, "POST", w.Path, nil, body)
	if err != nil {
		return engine.Delta{}, err
	}
	var d engine.Delta
	if err := w.Decode(reply.Body, &d); err != nil {
		return d, &Error{sample.ClassMalformed, c.oneLine("POST %s: expected one whole answer: %v", w.Path, err), err}
	}
	if d.Error != "" {
		return d, &Error{sample.ClassInBand, c.oneLine("POST %s: %s", w.Path, d.Error), nil}
	}
	return d, nil
}
