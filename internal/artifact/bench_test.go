package artifact

import (
	"bytes"
	"io"
	"testing"
)

// BenchmarkWriter measures the redaction of a server's log, in MB/s.
func BenchmarkWriter(b *testing.B) {
	for name, line := range map[string]string{
		"plain":  "[2026-09-01 12:00:00] INFO: 127.0.0.1:41000 - \"POST /v1/completions HTTP/1.1\" 200 OK\n",
		"tokens": "[2026-09-01 12:00:00] Prefill batch. #new-seq: 1, #new-token: 512, #cached-token: 0, usage: 0.02\n",
	} {
		b.Run(name, func(b *testing.B) {
			chunk := bytes.Repeat([]byte(line), 300)
			w := NewRedactor().Writer(io.Discard)
			b.SetBytes(int64(len(chunk)))
			for b.Loop() {
				if _, err := w.Write(chunk); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
