package report

import (
	"bytes"
	"testing"
)

func render(t testing.TB, p Page) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := HTML(&b, p); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
