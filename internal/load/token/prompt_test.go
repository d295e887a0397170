package token

import (
	"testing"

	"pgregory.net/rapid"
)

func TestExactPromptHasExactlyItsTokens(t *testing.T) {
	for name, tok := range every(t) {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{0, 1, 2, 3, 7, 64, 1000, 5000} {
				text, err := ExactPrompt(tok, uint64(n)+5, n)
				if err != nil {
					t.Fatalf("n = %d: %v", n, err)
				}
				if got := len(tok.Encode(text, false)); got != n {
					t.Errorf("n = %d: the text encodes to %d ids: %.80q", n, got, text)
				}
			}
		})
	}
}

func TestExactPromptFollowsItsSeed(t *testing.T) {
	tok := open(t, "bpe-llama3")
	rapid.Check(t, func(t *rapid.T) {
		seed, n := rapid.Uint64().Draw(t, "seed"), rapid.IntRange(20, 300).Draw(t, "n")
		a, err := ExactPrompt(tok, seed, n)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := ExactPrompt(tok, seed, n); a != b {
			t.Fatalf("seed %d gave %q, then %q", seed, a, b)
		}
		if c, _ := ExactPrompt(tok, seed+1, n); a == c {
			t.Fatalf("seeds %d and %d both gave %q", seed, seed+1, a)
		}
	})
}

func TestExactPromptRefusesALengthThatCannotBe(t *testing.T) {
	for _, n := range []int{-1, MaxPrompt + 1} {
		if _, err := ExactPrompt(open(t, "bpe-gpt2"), 1, n); err == nil {
			t.Errorf("a prompt of %d tokens was made", n)
		}
	}
}
