package config

import (
	"errors"
	"strings"

	"al.essio.dev/pkg/shellescape"
)

// joinWords quotes words for a POSIX shell, as Python's shlex.join does.
func joinWords(words []string) string { return shellescape.QuoteCommand(words) }

var (
	errOpenQuote = errors.New("a quotation mark is opened and not closed")
	errOpenSlash = errors.New("a backslash ends the text")
)

// splitWords splits a command as Python's shlex.split does in its POSIX mode:
// quotes and backslashes are read, nothing is expanded.
func splitWords(s string) ([]string, error) {
	var (
		words  []string
		word   strings.Builder
		inWord bool
		quote  rune // 0, ' or "
	)
	runes := []rune(s)
	for i := 0; i < len(runes); i++ {
		r := runes[i]
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case r == '\\' && quote != '\'':
			if i++; i == len(runes) {
				return nil, errOpenSlash
			}
			if quote == '"' && runes[i] != '"' && runes[i] != '\\' {
				word.WriteRune('\\') // inside double quotes it stands for itself
			}
			word.WriteRune(runes[i])
			inWord = true
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case strings.ContainsRune(" \t\r\n", r):
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, errOpenQuote
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}
