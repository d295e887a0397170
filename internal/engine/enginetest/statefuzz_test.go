package enginetest_test

import (
	"encoding/json"
	"testing"

	"llmdyno/internal/engine"
	"llmdyno/internal/engine/all"
)

// Whatever an endpoint answers, its decoder neither fails nor tells a number that
// cannot be written.
func FuzzStateDecoders(f *testing.F) {
	for _, s := range []string{
		`{"timestamp":"2026-08-10T08:00:00+00:00","loads":[{"dp_rank":0,"num_running_reqs":"3","token_usage":0.5,"timestamp":1.5,"queues":{"waiting":2},"disaggregation":{"mode":"decode","decode_transfer_queue_reqs":3}}],"aggregate":{"total_running_reqs":1}}`,
		`{"internal_states":[{"memory_usage":{"graph":{"decode":1.5,"prefill":0.5},"weight":2}}],"tp_size":4,"api_key":"x"}`,
		`[{"dp_rank":0,"num_reqs":3,"num_waiting_reqs":9,"num_tokens":4}]`, `{"workers":[{"details":{"loads":[{"num_running_reqs":1}]}}]}`,
		`[{"numActiveRequests":3,"kvCacheStats":{"usedNumBlocks":3,"maxNumBlocks":0,"tokensPerBlock":1e308}}]`,
		`{"vllm_config":"model='a', tensor_parallel_size=2","vllm_env":{"A":[1,2]}}`, `null`, `[1,2,3]`, `{"loads":{}}`, `<html>`, `{"data":[{"id":3}]}`, `[{"is_processing":true}]`,
	} {
		f.Add([]byte(s))
	}
	engines := all.Engines()
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, e := range engines {
			if e.State == nil {
				continue
			}
			var s engine.State
			for _, name := range e.State.Order {
				_ = e.State.Bodies[name](body, &s) // an error is an answer
			}
			if _, err := json.Marshal(s); err != nil {
				t.Errorf("%s: %v", e.ID, err)
			}
			for _, r := range s.Ranks {
				if w := r.OwnWaiting(); w != nil && *w < 0 && r.Queues == nil {
					t.Errorf("%s: %g waiting", e.ID, *w)
				}
			}
		}
	})
}

// The table of decoders is whole: every body that is read has a place in the order,
// and every series a source.
func TestStateTables(t *testing.T) {
	for _, e := range all.Engines() {
		if e.State == nil {
			t.Errorf("%s tells nothing of its state", e.ID)
			continue
		}
		if len(e.State.Order) != len(e.State.Bodies) || len(e.State.Prefixes) == 0 || e.State.Source.Ref == "" {
			t.Errorf("%s: %d in order, %d bodies, prefixes %v", e.ID, len(e.State.Order), len(e.State.Bodies), e.State.Prefixes)
		}
		for _, name := range e.State.Order {
			if e.State.Bodies[name] == nil {
				t.Errorf("%s: nothing reads %s", e.ID, name)
			}
		}
		for _, s := range e.State.Series {
			if s.Source.Ref == "" || s.Name == "" || len(s.From) == 0 {
				t.Errorf("%s: series %+v", e.ID, s)
			}
		}
	}
}
