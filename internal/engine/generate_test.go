package engine

import "testing"

func FuzzDecodeGenerate(f *testing.F) {
	for _, s := range []string{
		`{"text":"one","output_ids":[7],"meta_info":{"finish_reason":{"type":"length"},"completion_tokens":1}}`,
		`{"text":"one","output_ids":[7],"meta_info":{"finish_reason":"length","completion_tokens":2}}`,
		`[{"text":"a","meta_info":{"finish_reason":{"type":"abort","message":"x"},"completion_tokens":1}},{"text":"b","meta_info":{"completion_tokens":2}}]`,
		`{"object":"error","message":"boom"}`, `{"error":"x"}`, `[`, `null`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, o := range []GenerateOptions{{}, {IDsTell: true}} {
			var d Delta
			if o.Decode(data, &d) != nil {
				continue
			}
			if d.Usage != nil && d.Tokens != d.Usage.Completion {
				t.Errorf("%d tokens with usage %+v", d.Tokens, d.Usage)
			}
			if d.Finish == "abort" && d.Error == "" {
				t.Error("an abort that is no failure")
			}
			if !o.IDsTell && !d.Cumulative {
				t.Error("text that is not cumulative")
			}
		}
	})
}
