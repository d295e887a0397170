package engine

import (
	"fmt"
	"maps"
	"slices"
)

// GenerateOptions say what a native /generate endpoint with a sampling_params
// object takes.
type GenerateOptions struct {
	Path     string
	Fields   []string // members of the body
	Sampling []string // members of its sampling_params
	Seed     string   // sampling parameter that holds the seed; "" = none
	Model    bool     // the body names the model
}

// AllFields are the allow-list of the endpoint, sorted.
func (o GenerateOptions) AllFields() []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(o.Fields, o.Sampling))))
}

// Encode writes a native request. Extra fields go where they belong: a sampling
// parameter into sampling_params, any other to the top.
func (o GenerateOptions) Encode(r GenerateRequest) ([]byte, error) {
	if len(r.Messages) > 0 {
		return nil, fmt.Errorf("request to %s: it takes a text or token ids, not messages; use %s", o.Path, EndpointChat)
	}
	sampling := map[string]any{}
	if r.MaxTokens > 0 {
		sampling["max_new_tokens"] = r.MaxTokens
	}
	if r.Temperature != nil {
		sampling["temperature"] = *r.Temperature
	}
	if r.Seed != nil && o.Seed != "" {
		sampling[o.Seed] = *r.Seed
	}
	if r.IgnoreEOS {
		sampling["ignore_eos"] = true
	}
	top, err := o.split(r.Extra, sampling)
	if err != nil {
		return nil, err
	}
	var b Body
	if o.Model && r.Model != "" {
		b.Set("model", r.Model)
	}
	if len(r.PromptTokens) > 0 {
		b.Set("input_ids", r.PromptTokens)
	} else {
		b.Set("text", r.Prompt)
	}
	b.Set("sampling_params", sampling)
	b.Set("stream", r.Stream)
	for _, key := range top {
		b.Set(key, r.Extra[key])
	}
	return b.Bytes()
}

// split moves the sampling parameters among the extra fields into sampling, and
// returns the names of the others in order.
func (o GenerateOptions) split(extra, sampling map[string]any) (top []string, err error) {
	own := []string{"text", "input_ids", "sampling_params"}
	for _, key := range slices.Sorted(maps.Keys(extra)) {
		switch {
		case slices.Contains(o.Sampling, key):
			sampling[key] = extra[key]
		case slices.Contains(own, key):
			return nil, fmt.Errorf("request field %q to %s: it is set by the load generator and cannot be given as an extra field", key, o.Path)
		default:
			if err := CheckField(key, o.Path, o.AllFields()); err != nil {
				return nil, err
			}
			top = append(top, key)
		}
	}
	return top, nil
}
