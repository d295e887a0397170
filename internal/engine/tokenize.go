package engine

import "fmt"

// Tokenize is how a server tells how many tokens a text has, at
// [EndpointTokenize]. Special tokens, which a server puts before a prompt, are
// left aside, so that the figure is that of the text alone.
type Tokenize struct {
	// Encode makes the request body for one text.
	Encode func(model, text string) ([]byte, error)
	// Count reads the number of tokens out of the reply.
	Count  func(reply []byte) (int, error)
	Source Source
}

// CountTokens reads the reply of an endpoint that tells the token ids of a text
// as a list "tokens" and, most of them, its length as "count", which must agree.
func CountTokens(reply []byte) (int, error) {
	c := NewCursor(reply)
	count, ids := -1, -1
	object := c.Object(func(key []byte) {
		switch string(key) {
		case "count":
			if n, ok := c.Int(); ok {
				count = n
			}
		case "tokens":
			if n, ok := c.Count(); ok {
				ids = n
			}
		}
	})
	if err := c.End(); err != nil {
		return 0, err
	}
	switch {
	case !object:
		return 0, errNotObject
	case count < 0 && ids < 0:
		return 0, fmt.Errorf(`JSON object without "count" and "tokens": expected the tokens of a text`)
	case count >= 0 && ids >= 0 && count != ids:
		return 0, fmt.Errorf(`"count" is %d and "tokens" has %d: expected the same`, count, ids)
	}
	return max(count, ids), nil
}
