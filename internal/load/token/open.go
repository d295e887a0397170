package token

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Open reads a tokenizer: a tokenizer.json, a tekken.json, a rank file of tiktoken,
// a tokenizer.model of SentencePiece, or a model's folder that holds one of them
// (looked for in this order).
func Open(path string) (*Tokenizer, error) {
	file, err := find(path)
	if err != nil {
		return nil, err
	}
	raw, err := readFile(file)
	if err != nil {
		return nil, err
	}
	t, err := parse(file, raw)
	if err != nil {
		return nil, fmt.Errorf("reading tokenizer %s: %w", file, err)
	}
	t.name = strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	if isFolder(path) {
		t.name = filepath.Base(filepath.Clean(path))
	}
	return t, nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// find is the tokenizer's file.
func find(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("opening tokenizer: %w", err)
	}
	if !info.IsDir() {
		return path, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return "", fmt.Errorf("opening tokenizer: %w", err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	for _, want := range []string{"tokenizer.json", "tekken.json", "*.tiktoken", "tiktoken.model", "tokenizer.model"} {
		var hits []string
		for _, n := range names {
			if ok, _ := filepath.Match(want, n); ok {
				hits = append(hits, n)
			}
		}
		if len(hits) > 1 {
			return "", fmt.Errorf("opening tokenizer %s: %s; expected one %s: name the file itself", path, strings.Join(hits, " and "), want)
		}
		if len(hits) == 1 {
			return filepath.Join(path, hits[0]), nil
		}
	}
	return "", fmt.Errorf("opening tokenizer %s: none there; expected tokenizer.json, tekken.json, *.tiktoken or tokenizer.model in the folder", path)
}

func readFile(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("opening tokenizer: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("opening tokenizer: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > MaxFileBytes {
		return nil, fmt.Errorf("opening tokenizer %s: %d bytes, %s; expected a file of at most %d bytes", file, info.Size(), info.Mode().Type(), MaxFileBytes)
	}
	raw := slices.Grow([]byte(nil), int(info.Size())+1)
	for {
		n, err := f.Read(raw[len(raw):cap(raw)])
		raw = raw[:len(raw)+n]
		if err == io.EOF {
			return raw, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading tokenizer %s: %w", file, err)
		}
		if len(raw) > MaxFileBytes {
			return nil, fmt.Errorf("reading tokenizer %s: it grows; expected at most %d bytes", file, MaxFileBytes)
		}
		if len(raw) == cap(raw) {
			raw = slices.Grow(raw, 4096)
		}
	}
}

// parse tells the formats apart by their first bytes, since a tokenizer.model
// may be either of two.
func parse(file string, raw []byte) (*Tokenizer, error) {
	switch {
	case len(raw) == 0:
		return nil, fmt.Errorf("the file is empty; expected tokenizer.json, tiktoken ranks or a SentencePiece model")
	case looksLikeJSON(raw):
		return parseJSON(raw)
	case looksLikeRanks(raw):
		return parseKnownRanks(file, raw)
	}
	return parseSentencePiece(raw)
}

func looksLikeJSON(raw []byte) bool {
	head := strings.TrimLeft(strings.TrimPrefix(string(raw[:min(len(raw), 64)]), "\uFEFF"), " \t\r\n")
	return strings.HasPrefix(head, "{")
}

// looksLikeRanks wants a first line of base64, a space and a number.
func looksLikeRanks(raw []byte) bool {
	line, _, _ := strings.Cut(string(raw[:min(len(raw), 256)]), "\n")
	token, rank, ok := strings.Cut(strings.TrimSpace(line), " ")
	return ok && token != "" && rank != "" && strings.Trim(rank, "0123456789") == "" &&
		strings.Trim(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") == ""
}
