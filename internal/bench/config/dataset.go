package config

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// Bounds on the look that validation takes at a dataset; a run reads it whole.
const (
	maxRowBytes = 16 << 20 // a prompt of a million tokens is some 4 MB
	checkedRows = 100
)

// checkDataset looks at the first rows of a canonical JSONL file.
func checkDataset(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("reading the dataset: %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(io.LimitReader(file, 4*maxRowBytes))
	lines.Buffer(make([]byte, 64<<10), maxRowBytes)
	rows := 0
	for n := 1; rows < checkedRows && lines.Scan(); n++ {
		line := bytes.TrimSpace(bytes.TrimPrefix(lines.Bytes(), []byte("\xef\xbb\xbf")))
		if len(line) == 0 {
			continue
		}
		if err := checkRow(line); err != nil {
			return fmt.Errorf("reading the dataset %s, line %d: %w", path, n, err)
		}
		rows++
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading the dataset %s: %w", path, err)
	}
	if rows == 0 {
		return fmt.Errorf("the dataset %s is empty: it needs one JSON object a line with prompt and output_len", path)
	}
	return nil
}

// checkRow checks one canonical row: a prompt or messages, and a positive
// output length if there is one.
func checkRow(line []byte) error {
	var row struct {
		Prompt    json.RawMessage `json:"prompt"`
		Messages  json.RawMessage `json:"messages"`
		OutputLen *float64        `json:"output_len"`
	}
	if err := json.Unmarshal(line, &row); err != nil {
		return fmt.Errorf("a JSON object was expected: %w", err)
	}
	switch {
	case len(row.Prompt) == 0 && len(row.Messages) == 0:
		return errors.New("the row has neither prompt nor messages")
	case row.OutputLen != nil && *row.OutputLen < 1:
		return fmt.Errorf("output_len must be at least 1, got %g", *row.OutputLen)
	}
	return nil
}
