package cli

import (
	"bytes"
	"encoding/json"

	"llmdyno/internal/artifact"
	"llmdyno/internal/bench/result"
	"llmdyno/internal/engine"
)

// hidden are rows without their secrets, as a file of rows holds them. A
// renderer lays a command out over several lines or elements, where a secret
// could no longer be told from the option before it.
func hidden(rows []result.Row, r *artifact.Redactor, engines engine.Set) ([]result.Row, error) {
	var b bytes.Buffer
	for _, row := range rows {
		line, err := json.Marshal(row)
		if err != nil {
			return nil, err
		}
		b.Write(append(r.Bytes(line), '\n'))
	}
	out, _, err := result.Read(&b, rowsName, engines)
	for i := range min(len(out), len(rows)) {
		out[i].Source = rows[i].Source // where it was read first
	}
	return out, err
}
