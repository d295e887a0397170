package token

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

// tekkenFile is Mistral's tekken.json (mistral_common 1.13.1,
// tokens/tokenizers/tekken.py): ranks like tiktoken's with their split expression;
// the ids of ranks follow those of the special tokens.
type tekkenFile struct {
	Config struct {
		Pattern  string `json:"pattern"`
		Size     int    `json:"default_vocab_size"`
		Specials int    `json:"default_num_special_tokens"`
	} `json:"config"`
	Vocab []struct {
		Rank  int    `json:"rank"`
		Bytes string `json:"token_bytes"`
	} `json:"vocab"`
	Special []struct {
		Rank int    `json:"rank"`
		Text string `json:"token_str"`
	} `json:"special_tokens"`
}

// parseTekken builds a tokenizer from a tekken.json. Special tokens written in a
// text are text, as its own library reads them; <s> is put in front.
func parseTekken(raw []byte) (*Tokenizer, error) {
	var f tekkenFile
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, fmt.Errorf("%w; expected a tekken.json", err)
	}
	c := f.Config
	if c.Specials < 2 || c.Size <= c.Specials || c.Size > MaxVocab || c.Size-c.Specials > len(f.Vocab) {
		return nil, fmt.Errorf("config: default_vocab_size %d, default_num_special_tokens %d, %d tokens in vocab; expected at least 2 special ones and the rest in vocab", c.Size, c.Specials, len(f.Vocab))
	}
	ranks := make(map[string]int32, len(f.Vocab))
	for i, v := range f.Vocab[:c.Size-c.Specials] {
		token, err := base64.StdEncoding.DecodeString(v.Bytes)
		if err != nil || len(token) == 0 || v.Rank != i {
			return nil, fmt.Errorf("vocab[%d]: expected token_bytes in base64 and the rank %d", i, i)
		}
		ranks[string(token)] = int32(i + c.Specials)
	}
	t, err := fromRanks(ranks, c.Pattern, nil)
	if err != nil {
		return nil, err
	}
	// Files without a list have these three (and more that no text needs).
	names := map[int]string{0: "<unk>", 1: "<s>", 2: "</s>"}
	for _, s := range f.Special {
		if s.Rank < 0 || s.Rank >= c.Specials {
			return nil, fmt.Errorf("special token %q has the rank %d; expected 0 to %d", s.Text, s.Rank, c.Specials-1)
		}
		names[s.Rank] = s.Text
	}
	for id, text := range names {
		if id >= c.Specials {
			continue
		}
		if err := t.setToken(int32(id), text); err != nil {
			return nil, err
		}
		if text == "<s>" {
			t.before = []int{id}
		}
	}
	if t.before == nil {
		return nil, errors.New("special_tokens: expected <s>")
	}
	return t, nil
}
