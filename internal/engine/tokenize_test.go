package engine

import (
	"strings"
	"testing"
)

func TestCountTokens(t *testing.T) {
	tests := []struct {
		reply string
		want  int
		err   string
	}{
		{`{"tokens":[1,2,3],"count":3,"max_model_len":8192}`, 3, ""},
		{`{"tokens":[]}`, 0, ""},
		{`{"count":7,"tokens":null}`, 7, ""},
		{`{"tokens":[{"id":1,"piece":"a"},{"id":2,"piece":[198]}]}`, 2, ""},
		{`{"tokens":[1,2],"count":3}`, 0, `"count" is 3 and "tokens" has 2`},
		{`{"object":"error","message":"no"}`, 0, `without "count" and "tokens"`},
		{`[1,2]`, 0, "expected an object"},
		{`{"tokens":[1,2}`, 0, "expected"},
		{`{"count":-1}`, 0, "without"},
		{``, 0, "expected"},
	}
	for _, tt := range tests {
		n, err := CountTokens([]byte(tt.reply))
		switch {
		case tt.err == "" && (err != nil || n != tt.want):
			t.Errorf("%s: %d, %v; want %d", tt.reply, n, err, tt.want)
		case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("%s: %v, want an error with %q", tt.reply, err, tt.err)
		}
	}
}

func FuzzCountTokens(f *testing.F) {
	f.Add([]byte(`{"tokens":[1,2,3],"count":3}`))
	f.Add([]byte(`{"count":1e9,"tokens":[[[]]]}`))
	f.Fuzz(func(t *testing.T, reply []byte) {
		if n, err := CountTokens(reply); err == nil && (n < 0 || n > len(reply) && !strings.Contains(string(reply), "count")) {
			t.Errorf("%q: %d tokens", reply, n)
		}
	})
}
