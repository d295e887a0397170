package expr

import (
	"errors"
	"strings"
	"testing"
)

func env(t testing.TB) *Env {
	t.Helper()
	e, err := New("sent", "failed", "ttft_ms", "failures", "requests", "verdict")
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func values(t testing.TB) map[string]any {
	t.Helper()
	v, err := Values(map[string]any{
		"sent": 4, "failed": 1, "ttft_ms": map[string]any{"p99": 12.5}, "failures": map[string]int{"reset": 1}, "verdict": "different",
		"requests": []map[string]any{{"ok": true, "n": 3}, {"ok": false, "n": 0}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestHolds(t *testing.T) {
	tests := []struct {
		text string
		want bool
	}{
		{"failed == 0", false},
		{"failed <= 1 && sent > 3", true},
		{"failed / sent == 0.25", true}, // doubles: no whole division
		{"2 * failed == 2", true},
		{"ttft_ms.p99 < 13", true},
		{"has(ttft_ms.p50)", false},
		{"!has(failures.timeout) || failures.timeout == 0", true},
		{"requests.exists(r, !r.ok)", true},
		{"requests.all(r, r.n > 1)", false},
		{"requests.exists_one(r, r.ok)", true},
		{"requests[0].n == 3", true},
		{"requests.filter(r, r.ok).size() == 1", true},
		{"size(requests) >= 2", true},
		{"size(requests) * 2 == size(failures) + 3", true},
		{`verdict in ["reproduced", "different"]`, true},
		{`verdict.startsWith("diff")`, true},
	}
	e, v := env(t), values(t)
	for _, tt := range tests {
		c, err := e.Compile(tt.text)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if got, err := c.Holds(v); err != nil || got != tt.want {
			t.Errorf("%s: got %v, %v; expected %v", tt.text, got, err, tt.want)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "there is none",
		"failed =":                     "column 8",
		"failled == 0":                 "undeclared reference to 'failled'; known are failed failures requests sent ttft_ms verdict",
		"1 + 2":                        "expected one that is true or false",
		`"a" == 1`:                     "no matching overload",
		strings.Repeat("(", 100) + ")": "condition",
		strings.Repeat("a", 5000):      "at most 4096",
	} {
		_, err := env(t).Compile(text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.20q: got %v, expected one line with %q", text, err, want)
		}
	}
}

func TestNeitherTrueNorFalse(t *testing.T) {
	e, v := env(t), values(t)
	for text, absent := range map[string]bool{
		"ttft_ms.p50 < 3":       true,
		"failures.timeout == 0": true,
		"verdict > 3":           false,
		"verdict":               false, // a text
		"requests[7].ok":        false,
	} {
		c, err := e.Compile(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Holds(v); err == nil || errors.Is(err, ErrAbsent) != absent {
			t.Errorf("%s: got %v, expected an error with absent %v", text, err, absent)
		}
	}
}

func TestEvaluationIsBounded(t *testing.T) {
	list := make([]int, 3000)
	v, err := Values(map[string]any{"requests": list})
	if err != nil {
		t.Fatal(err)
	}
	c, err := env(t).Compile("requests.all(a, requests.all(b, requests.all(c, a + b + c == 0)))")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Holds(v); err == nil || !strings.Contains(err.Error(), "cost") {
		t.Errorf("got %v, expected the bound", err)
	}
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{"failed == 0", "requests.all(r, r.ok)", "{", "has(a.b)", "[1,2].map(x, x*2)", "'\\u'", "1u + 2", "sent ? 1 : 2"} {
		f.Add(s)
	}
	e, v := env(f), values(f)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := e.Compile(text)
		if err != nil {
			return
		}
		_, _ = c.Holds(v)
	})
}
