package sim

import (
	"os"
	"strings"
	"testing"
)

// Whatever a client sends, the reader ends with a request within bounds or a
// refusal.
func FuzzBody(f *testing.F) {
	s, err := LoadSurface(os.DirFS("testdata/surface"), "")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		`{"prompt":"a b","max_tokens":3,"stream":true,"stream_options":{"include_usage":true}}`,
		`{"prompt":[1,2,3]}`, `{"prompt":["a"]}`, `{"prompt":[[[["a"]]]]}`, `{"text":"x","sampling_params":{"max_new_tokens":-1}}`,
		`{"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}],"max_completion_tokens":2}`,
		`{"messages":null}`, `{`, `[]`, `{"prompt":1e999}`, `{"max_tokens":9223372036854775807,"prompt":""}`,
	} {
		for _, kind := range []string{"completions", "chat", "generate"} {
			f.Add(seed, kind)
		}
	}
	f.Fuzz(func(t *testing.T, body, kind string) {
		g, bad := readGeneration([]byte(body), kind, s.Wires[kind], 16)
		if bad != nil {
			if bad.kind == "" || bad.message == "" {
				t.Errorf("a refusal without words: %+v", bad)
			}
			return
		}
		if g.input < 1 || g.output < 0 || len(g.hashes) > g.input/16 {
			t.Errorf("request %+v", g)
		}
	})
}

func FuzzArgv(f *testing.F) {
	s, err := LoadSurface(os.DirFS("testdata/surface"), "")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"m --tp 2", "--spec {\"n\":1} m", "m --ctx 9e9 --slots -1", "m --mem NaN --chunk 99999999999K", "m --block 0 --max-running 0", "m --spec.n", "--help", "m --kv-share 7 --graph-max 99999"} {
		f.Add(seed)
	}
	gpu, err := FindGPU("h100")
	if err != nil {
		f.Fatal(err)
	}
	model := modelBySize("m-8b", "m-8b")
	f.Fuzz(func(t *testing.T, argv string) {
		inv, end := s.parse(strings.Fields(argv), nil, Faults{})
		if end != nil {
			return
		}
		d, short := deploy(inv, gpu, model, 0)
		if short != nil {
			if short.message == "" {
				t.Error("a shortage without words")
			}
			return
		}
		if d.kvBlocks < 1 || d.maxRunning < 1 || d.stepTokens < 1 || d.contextLen < 1 || d.tp < 1 {
			t.Errorf("%q: deployment %+v", argv, d)
		}
		if c := d.cost(step{prefillTokens: 10, prefillPairs: 50, decodes: 3, decodeContext: 100}); c <= 0 {
			t.Errorf("%q: a step of %v", argv, c)
		}
	})
}
