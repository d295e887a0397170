package token

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Split expressions of rank files, which do not carry them. Sources:
// openai/tiktoken tiktoken_ext/openai_public.py @ 0.14.0; meta-llama/llama-models
// models/llama3/tokenizer.py; Qwen/Qwen-7B tokenization_qwen.py;
// moonshotai/Kimi-K2-Instruct tokenization_kimi.py (2026-11-24).
const (
	splitR50k   = `'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s`
	splitCl100k = `'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s`
	splitO200k  = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	splitLlama3 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	splitQwen   = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	splitKimi   = `[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// rankSet is a published rank file: recognised by its name, else by its size.
type rankSet struct {
	name    string
	ranks   int
	split   string
	special map[string]int
}

var rankSets = []rankSet{
	{"r50k_base", 50256, splitR50k, map[string]int{"<|endoftext|>": 50256}},
	{"p50k_base", 50280, splitR50k, map[string]int{"<|endoftext|>": 50256}},
	{"cl100k_base", 100256, splitCl100k, map[string]int{"<|endoftext|>": 100257, "<|fim_prefix|>": 100258,
		"<|fim_middle|>": 100259, "<|fim_suffix|>": 100260, "<|endofprompt|>": 100276}},
	{"o200k_base", 199998, splitO200k, map[string]int{"<|endoftext|>": 199999, "<|endofprompt|>": 200018}},
	{"llama3", 128000, splitLlama3, map[string]int{"<|begin_of_text|>": 128000, "<|end_of_text|>": 128001,
		"<|start_header_id|>": 128006, "<|end_header_id|>": 128007, "<|eot_id|>": 128009}},
	{"qwen", 151643, splitQwen, map[string]int{"<|endoftext|>": 151643, "<|im_start|>": 151644, "<|im_end|>": 151645}},
	{"kimi", 163584, splitKimi, nil},
}

// parseKnownRanks reads a published rank file. Special tokens come from a
// tokenizer_config.json beside it, else from the table.
func parseKnownRanks(file string, raw []byte) (*Tokenizer, error) {
	ranks, err := readRanks(raw)
	if err != nil {
		return nil, err
	}
	set, err := recognise(file, len(ranks))
	if err != nil {
		return nil, err
	}
	special := set.special
	beside, err := configSpecials(filepath.Join(filepath.Dir(file), "tokenizer_config.json"))
	if err != nil {
		return nil, err
	}
	if beside != nil {
		special = beside
	}
	return fromRanks(ranks, set.split, special)
}

func recognise(file string, ranks int) (rankSet, error) {
	base := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	var known []string
	for _, s := range rankSets {
		if s.name == base || s.ranks == ranks {
			return s, nil
		}
		known = append(known, fmt.Sprintf("%s (%d)", s.name, s.ranks))
	}
	return rankSet{}, fmt.Errorf("%d ranks, and a rank file does not say how to split text; expected a known one, %s, or a tokenizer.json of the same model", ranks, strings.Join(known, ", "))
}

// OpenRanks reads a rank file with a split expression of the caller's, in
// tiktoken's syntax, and special tokens.
func OpenRanks(path, split string, special map[string]int) (*Tokenizer, error) {
	raw, err := readFile(path)
	if err != nil {
		return nil, err
	}
	ranks, err := readRanks(raw)
	var t *Tokenizer
	if err == nil {
		t, err = fromRanks(ranks, split, special)
	}
	if err != nil {
		return nil, fmt.Errorf("reading tokenizer %s: %w", path, err)
	}
	t.name = strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	return t, nil
}

// readRanks reads lines of base64, a space and the rank, which is the id.
func readRanks(raw []byte) (map[string]int32, error) {
	ranks := map[string]int32{}
	taken := map[int32]bool{}
	line := 0
	for text := range bytes.Lines(raw) {
		line++
		if text = bytes.TrimSpace(text); len(text) == 0 {
			continue
		}
		encoded, number, _ := strings.Cut(string(text), " ")
		token, err := base64.StdEncoding.DecodeString(encoded)
		id, badID := strconv.Atoi(number)
		if err != nil || badID != nil || len(token) == 0 {
			return nil, fmt.Errorf("line %d: expected base64, a space and a rank", line)
		}
		if id < 0 || id >= MaxVocab || taken[int32(id)] {
			return nil, fmt.Errorf("line %d: rank %d; expected each rank once, 0 to %d", line, id, MaxVocab-1)
		}
		if _, twice := ranks[string(token)]; twice {
			return nil, fmt.Errorf("line %d: the token %q for the second time", line, token)
		}
		ranks[string(token)], taken[int32(id)] = int32(id), true
	}
	return ranks, nil
}

func fromRanks(ranks map[string]int32, split string, special map[string]int) (*Tokenizer, error) {
	p, err := compile(split, dialectRust)
	if err != nil {
		return nil, err
	}
	b := &bpe{bytes: new([256]int32), whole: ranks, unk: -1}
	for i := range b.bytes {
		id, ok := ranks[string([]byte{byte(i)})]
		if !ok {
			return nil, fmt.Errorf("no rank for the single byte 0x%02X; expected all 256", i)
		}
		b.bytes[i] = id
	}
	b.learnRanks(ranks, func(id int32) uint32 { return uint32(id) })
	t := &Tokenizer{stages: list(&isolator{p}), model: b, decoder: func(tokens []string) []string {
		return []string{lossy(strings.Join(tokens, ""))}
	}}
	if err := t.setTokens(ranks); err != nil {
		return nil, err
	}
	var added []addedToken
	never := false
	for content, id := range special {
		added = append(added, addedToken{ID: id, Content: content, Special: true, Normalized: &never})
	}
	return t, t.addTokens(added, nil)
}

// configSpecials are the added tokens of a tokenizer_config.json; nil when there
// is no such file or it names none.
func configSpecials(file string) (map[string]int, error) {
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	raw, err := readFile(file)
	if err != nil {
		return nil, err
	}
	var config struct {
		Added map[string]struct {
			Content string `json:"content"`
		} `json:"added_tokens_decoder"`
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, fmt.Errorf("%s: %w; expected a tokenizer_config.json", file, err)
	}
	var out map[string]int
	for key, a := range config.Added {
		id, err := strconv.Atoi(key)
		if err != nil || id < 0 || id >= MaxVocab {
			return nil, fmt.Errorf("%s: added_tokens_decoder has the key %q; expected an id, 0 to %d", file, key, MaxVocab-1)
		}
		if out == nil {
			out = map[string]int{}
		}
		out[a.Content] = id
	}
	return out, nil
}
