package engine

import "testing"

func TestDecodeEmbeddings(t *testing.T) {
	tests := []struct {
		name, reply, text string
		prompt            int
		fault             string
		bad               bool
	}{
		{"of the OpenAI protocol", `{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5,-1]}],"usage":{"prompt_tokens":3,"total_tokens":3}}`, "[0.5,-1]", 3, "", false},
		{"of an engine", `{"embedding":[1,2],"meta_info":{"id":"a","prompt_tokens":7}}`, "[1,2]", 7, "", false},
		{"a batch", `[{"embedding":[1],"meta_info":{"prompt_tokens":7}},{"embedding":[2],"meta_info":{"prompt_tokens":1}}]`, "[1][2]", 8, "", false},
		{"an error", `{"error":{"message":"not an embedding model"}}`, "", 0, "not an embedding model", false},
		{"a flat error", `{"object":"error","message":"no"}`, "", 0, "no", false},
		{"a text", `"x"`, "", 0, "", true},
		{"cut", `{"embedding":[1`, "", 0, "", true},
		{"nothing", ``, "", 0, "", true},
	}
	for _, tt := range tests {
		var d Delta
		err := OpenAIEmbeddings().Decode([]byte(tt.reply), &d)
		if (err != nil) != tt.bad {
			t.Errorf("%s: error %v", tt.name, err)
		}
		if tt.bad {
			continue
		}
		if d.Text != tt.text || d.Error != tt.fault || tt.prompt > 0 && (d.Usage == nil || d.Usage.Prompt != tt.prompt) {
			t.Errorf("%s: %+v", tt.name, d)
		}
	}
	body, err := OpenAIEmbeddings().Encode(GenerateRequest{Model: "m", Prompt: "a"})
	if err != nil || string(body) != `{"model":"m","input":"a"}` {
		t.Errorf("%s, %v", body, err)
	}
}

func FuzzDecodeEmbeddings(f *testing.F) {
	f.Add([]byte(`{"data":[{"embedding":[1]}],"usage":{"prompt_tokens":1}}`))
	f.Add([]byte(`[{"embedding":null,"meta_info":{}}]`))
	f.Add([]byte(`{"data":{"data":[[]]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var d Delta
		if err := DecodeEmbeddings(data, &d); err == nil && len(data) == 0 {
			t.Error("nothing was read")
		}
	})
}
