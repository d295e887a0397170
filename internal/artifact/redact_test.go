package artifact

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestEveryRuleHidesItsExample(t *testing.T) {
	r := NewRedactor()
	for _, rule := range Rules {
		got := r.String(rule.Example)
		if !strings.Contains(got, "[redacted:"+rule.ID+"]") {
			t.Errorf("%s: %q → %q", rule.ID, rule.Example, got)
		}
		if again := r.String(got); again != got {
			t.Errorf("%s: twice: %q → %q", rule.ID, got, again)
		}
	}
}

func TestAssignmentsAreHidden(t *testing.T) {
	const secret = "Zq7vWm2pXk9LbT4c"
	for _, text := range []string{
		"HF_TOKEN=%", "export MY_SECRET='%'", "api_key: %", `"api_key": "%"`, `{"api_key": "%"}`, `{"a":{"password":"%"}}`,
		"--api-key %", "--api-key=%", `["serve","--api-key","%"]`, "[\n  \"--api-key\",\n  \"%\"\n]", "X-Api-Key: %",
		"Authorization: Bearer %", `{"Authorization":["Bearer %"]}`, "curl -H 'Authorization: Basic %' http://h/", "DB_PASSWORD=%",
		"ServerArgs(model='m', api_key='%', port=1)", `{\"api_key\": \"%\"}`, `{"env":[{"name":"HF_TOKEN","value":"%"}]}`,
		"env:\n  - name: HF_TOKEN\n    value: %\n", "args:\n  - --api-key\n  - %\n", "password: |\n  %\n  more\n",
		"https://user:%@host/x", "GET /x?sig=%&a=1", "-----BEGIN PRIVATE KEY-----\n%\n-----END PRIVATE KEY-----",
	} {
		in := strings.ReplaceAll(text, "%", secret)
		got := NewRedactor().String(in)
		if strings.Contains(got, secret) {
			t.Errorf("%q → %q", in, got)
		}
		if json.Valid([]byte(in)) && !json.Valid([]byte(got)) {
			t.Errorf("no longer JSON: %q → %q", in, got)
		}
	}
}

func TestHarmlessTextStays(t *testing.T) {
	for _, text := range []string{
		"max_tokens: 128", "tokenizer: x", "--max-total-tokens 4096", "key_cache: abc", "token_usage: 0.53", `{"output_token_throughput": 12.5}`,
		"#new-token: 512, #cached-token: 0, token usage: 0.02", "commit 0123456789abcdef0123456789abcdef01234567",
		`{"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}`, `{"api_key":null,"password":""}`,
		"api_key=None", "  --api-key KEY        API key to use", "HF_TOKEN=${HF_TOKEN}", "http://127.0.0.1:8000/v1/models", `{"key":"value","token":"Hello"}`,
	} {
		if got := NewRedactor().String(text); got != text {
			t.Errorf("%q → %q", text, got)
		}
	}
}

func TestSecretSplitOverWrites(t *testing.T) {
	const text = "a\nHF_TOKEN=Zq7vWm2pXk9LbT4c\n\"--api-key\",\n\"Zq7vWm2pXk9LbT4c\"\n-----BEGIN PRIVATE KEY-----\nZq7vWm2pXk9LbT4c\n-----END PRIVATE KEY-----\nvalue Pl4nt3dSecret\nend"
	for size := 1; size < len(text); size++ {
		var out bytes.Buffer
		r := NewRedactor()
		r.AddSecret("Pl4nt3dSecret")
		w := r.Writer(&out)
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			if _, err := w.Write([]byte(rest[:n])); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if s := out.String(); strings.Contains(s, "Zq7v") || strings.Contains(s, "Pl4n") || !strings.HasPrefix(s, "a\n") || !strings.HasSuffix(s, "end") {
			t.Fatalf("writes of %d bytes: %q", size, s)
		}
	}
}

func FuzzRedact(f *testing.F) {
	for _, rule := range Rules {
		f.Add(rule.Example)
	}
	f.Add(`{"api_key":"x y","n":[1,"--token","v"]}`)
	f.Fuzz(func(t *testing.T, s string) {
		r := NewRedactor()
		once := r.String(s)
		if twice := r.String(once); twice != once {
			t.Fatalf("%q → %q → %q", s, once, twice)
		}
		if json.Valid([]byte(s)) && !json.Valid([]byte(once)) {
			t.Fatalf("no longer JSON: %q → %q", s, once)
		}
	})
}
