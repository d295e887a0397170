package config

import (
	"bytes"
	"fmt"
	"strings"

	"llmdyno/internal/engine"
)

// Init writes a starting configuration for a model on so many GPUs of one node:
// schema_version 2, every engine of the set that takes a hub model, commented,
// and valid as it stands.
func Init(model string, gpus int, set engine.Set) ([]byte, error) {
	switch {
	case strings.TrimSpace(model) == "" || !validText(model) || strings.ContainsAny(model, "\r\n"):
		return nil, fmt.Errorf("writing a starting configuration: %q is not a model name", short(model))
	case gpus < 1 || gpus > 1024:
		return nil, fmt.Errorf("writing a starting configuration: the number of GPUs must be between 1 and 1024, got %d", gpus)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, initHead, jsonString(model), gpus)
	first := true
	for _, e := range set {
		if e.Launch.TP == "" {
			continue // shares no model across GPUs: another kind of start
		}
		if !first {
			b.WriteByte('\n')
		}
		first = false
		writeInit(&b, e, gpus)
	}
	if first {
		return nil, fmt.Errorf("writing a starting configuration for %s: no engine of this program serves a model over GPUs", model)
	}
	return b.Bytes(), nil
}

const initHead = `# A starting point: run it as it is, then widen the search where the report
# shows a difference. docs/config.md explains every key.
schema_version: 2

model:
  name: %s

hardware:
  gpu_count: %d

# What is sent: one entry a scenario.
scenarios:
  - name: chat
    input_len: 1000
    output_len: 1000
  - name: summarization
    input_len: 8000
    output_len: 1000

benchmark:
  # Requests in flight; null is no cap.
  max_concurrency: [null, 16]
  # The highest rate that meets the limits is looked for in this range, requests per second.
  qps:
    lower: 0.25
    upper: 8.0
    tolerance: 0.1
  # What a measurement must meet; change the numbers to what your users need.
  sla:
    max_p99_ttft_ms: 3000
    max_p99_tpot_ms: 50
    min_success_rate: 0.98

search:
  # The baseline counts as one.
  max_candidates_per_framework: 8

frameworks:
`

// initSeqLimit holds the longest scenario of the starting file, 9000 tokens,
// and a chat template.
const initSeqLimit = 12288

func writeInit(b *bytes.Buffer, e *engine.Engine, gpus int) {
	fmt.Fprintf(b, "  %s:\n    enabled: true\n    base_server_flags:\n", e.ID)
	for _, r := range e.Launch.Required {
		fmt.Fprintf(b, "      %s: %s # %s\n", r.Key, jsonString(r.Value), oneLine(r.Reason))
	}
	fmt.Fprintf(b, "      %s: %d\n", e.Launch.TP, gpus)
	if key := e.Launch.SeqLimit; key != "" {
		fmt.Fprintf(b, "      %s: %d # prompt and output together\n", key, initSeqLimit)
	}
	b.WriteString("    search_space:\n")
	if len(e.Launch.BatchLimit) > 0 {
		fmt.Fprintf(b, "      %s: [32, 64, 128]\n", e.Launch.BatchLimit[0])
	}
	for _, key := range prefillChunk {
		if _, ok := e.Flag(key); ok {
			fmt.Fprintf(b, "      %s: [8192, 16384]\n", key)
			break
		}
	}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
