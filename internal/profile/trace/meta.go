package trace

import (
	"bytes"
	"encoding/json"
	"strings"
)

// wantsMeta tells the top-level keys whose values are read; others are passed over.
func wantsMeta(key string) bool {
	switch key {
	case "baseTimeNanoseconds", "displayTimeUnit", "deviceProperties", "distributedInfo", "traceName", "with_stack", "record_shapes", "with_modules":
		return true
	}
	return strings.HasSuffix(key, "_version")
}

// takeMeta reads one top-level value. What has another form than expected is
// left at its zero value: metadata never ends a reading.
func (b *builder) takeMeta(key string, value []byte) {
	m := &b.t.Meta
	switch key {
	case "baseTimeNanoseconds":
		m.BaseNS, _ = parseInt(value)
	case "displayTimeUnit":
		m.DisplayUnit = jsonText(value)
	case "traceName":
		m.TraceName = jsonText(value)
	case "with_stack":
		m.WithStack = truthy(value)
	case "record_shapes":
		m.RecordShapes = truthy(value)
	case "with_modules":
		m.WithModules = truthy(value)
	case "deviceProperties":
		m.Devices = readDevices(value)
	case "distributedInfo":
		m.Distributed = readDistributed(value)
	default:
		if !strings.HasSuffix(key, "_version") {
			return
		}
		if m.Versions == nil {
			m.Versions = map[string]string{}
		}
		m.Versions[key] = jsonText(value)
	}
}

func (b *builder) metaKey(key string) {
	m := &b.t.Meta
	if len(m.Keys) < maxKeys {
		m.Keys = append(m.Keys, key)
	}
	if strings.HasPrefix(key, "hip_") || strings.HasPrefix(key, "roctracer_") || strings.HasPrefix(key, "rocprofiler_") {
		m.ROCm = true
	}
}

// jsonText is a string's text, or any other value as it stands.
func jsonText(value []byte) string {
	if s := inQuotes(value); s != nil {
		return text(unquote(s, nil))
	}
	return text(value)
}

func truthy(value []byte) bool {
	v := string(bytes.Trim(value, `"`))
	return v != "" && v != "0" && v != "false" && v != "null"
}

func readDevices(value []byte) []Device {
	var raw []map[string]json.RawMessage
	if json.Unmarshal(value, &raw) != nil {
		return nil
	}
	devices := make([]Device, len(raw))
	for i, r := range raw {
		d := &devices[i]
		d.ID, d.Major, d.Minor = intOf(r["id"]), intOf(r["computeMajor"]), intOf(r["computeMinor"])
		d.NumSMs, d.WarpLen = intOf(r["numSms"]), intOf(r["warpSize"])
		d.Memory, _ = parseInt(r["totalGlobalMem"])
		if s := inQuotes(r["name"]); s != nil {
			d.Name = text(unquote(s, nil))
		}
	}
	return devices
}

func readDistributed(value []byte) Distributed {
	d := Distributed{Rank: -1}
	var raw map[string]json.RawMessage
	if json.Unmarshal(value, &raw) != nil {
		return d
	}
	if n, ok := parseInt(raw["rank"]); ok {
		d.Rank = int(n)
	}
	d.WorldSize = intOf(raw["world_size"])
	if s := inQuotes(raw["backend"]); s != nil {
		d.Backend = text(unquote(s, nil))
	}
	return d
}

func intOf(value []byte) int {
	n, _ := parseInt(value)
	return int(n)
}
