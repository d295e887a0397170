// Command check prints what package token makes of a list of texts, as JSON, for
// verify.py to compare. Usage: check TOKENIZER TEXTS.json [SPLIT SPECIAL.json]
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"llmdyno/internal/load/token"
)

type result struct {
	IDs     []int  `json:"ids"`
	Special []int  `json:"special"`
	Decoded string `json:"decoded"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	raw, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	var texts [][]byte
	if err := json.Unmarshal(raw, &texts); err != nil {
		return err
	}
	t, err := open(args)
	if err != nil {
		return err
	}
	out := make([]result, len(texts))
	for i, text := range texts {
		ids := t.Encode(string(text), false)
		out[i] = result{ids, t.Encode(string(text), true), t.Decode(ids)}
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

func open(args []string) (*token.Tokenizer, error) {
	if len(args) < 4 {
		return token.Open(args[0])
	}
	raw, err := os.ReadFile(args[3])
	if err != nil {
		return nil, err
	}
	var special map[string]int
	if err := json.Unmarshal(raw, &special); err != nil {
		return nil, err
	}
	return token.OpenRanks(args[0], args[2], special)
}
