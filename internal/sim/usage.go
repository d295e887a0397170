package sim

import (
	"bytes"
	"encoding/json"
)

// countFields are members by which an event tells token counts.
var countFields = []string{"usage", "prompt_tokens", "completion_tokens", "timings"}

// dropUsage takes the token counts out of a JSON event, for servers that send
// none. What is not a JSON object stays as it is.
func dropUsage(event []byte) []byte {
	var m map[string]json.RawMessage
	if json.Unmarshal(event, &m) != nil {
		return event
	}
	for _, f := range countFields {
		delete(m, f)
	}
	if inner, ok := m["meta_info"]; ok {
		m["meta_info"] = dropUsage(inner)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(m) != nil {
		return event
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
