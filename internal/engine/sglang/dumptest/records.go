package dumptest

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
)

// The classes and fields of a dump as of 2026-05-02 (sgl-project/sglang @
// 321298da75, io_struct.py and server_args.py); fields without a value here are
// null in most requests.
var (
	requestClass = Global{"sglang.srt.managers.io_struct", "GenerateReqInput"}
	serverClass  = Global{"sglang.srt.server_args", "ServerArgs"}

	nullFields = strings.Fields(`http_worker_ipc input_ids input_embeds positional_embed_overrides image_data video_data audio_data token_ids_logprob
modalities session_params lora_path lora_id custom_logit_processor bootstrap_host bootstrap_port bootstrap_room bootstrap_pair_key decode_tp_size
routed_dp_rank disagg_prefill_dp_rank data_parallel_rank conversation_id priority extra_key routing_key custom_labels external_trace_header
received_time need_wait_for_mm_inputs num_items_assigned max_dynamic_patch min_dynamic_patch image_max_dynamic_patch video_max_dynamic_patch
multi_item_delimiter_indices`)
	falseFields = strings.Fields(`use_audio_in_video return_logprob return_text_in_logprobs return_hidden_states return_routed_experts
require_reasoning background no_logs return_bytes return_entropy`)
	vocabulary = strings.Fields(`anchor birch canvas drum ember flint grove hollow inlet jetty kelp loom marsh nickel orchard pebble quartz ridge
slate timber umber vessel willow yarrow zephyr`)
)

// First is the start of the first record, seconds since the epoch.
const First = 1_780_000_000.0

// Record is the i-th of an invented series: each one starts 20 ms after the one
// before. Unfinished ones have no reason to have finished.
func Record(i int, finished bool) Tuple {
	r := rand.New(rand.NewPCG(20260502, uint64(i)))
	start := First + 0.02*float64(i)
	prompt, output := 20+r.IntN(4000), 1+r.IntN(300)
	elapsed := 0.1 + 0.012*float64(output)
	queue := 0.05 * r.Float64()
	id := fmt.Sprintf("%016x%016x", r.Uint64(), r.Uint64())
	state := Dict{{"rid", id}, {"text", words(r, 6+r.IntN(40))}, {"sampling_params", Dict{{"temperature", 0.7}, {"top_p", 0.95}, {"max_new_tokens", 64 << r.IntN(3)}}},
		{"stream", i%2 == 0}, {"logprob_start_len", -1}, {"top_logprobs_num", 0}, {"log_metrics", true}, {"routed_experts_start_len", 0}}
	for _, f := range nullFields {
		state = append(state, Pair{f, nil})
	}
	for _, f := range falseFields {
		state = append(state, Pair{f, false})
	}
	state = append(state, Dict{{"is_single", true}, {"batch_size", 1}, {"parallel_sample_num", 1}}...)
	var finish any
	if finished {
		finish = Dict{{"type", "length"}, {"length", output}}
		if i%3 == 0 {
			finish = Dict{{"type", "stop"}, {"matched", 151645}}
		}
	}
	meta := Dict{{"id", id}, {"finish_reason", finish}, {"prompt_tokens", prompt}, {"weight_version", "default"}, {"total_retractions", 0},
		{"queue_time", queue}, {"forward_entry_time", start + queue + 0.004}, {"prefill_finished_time", start + queue + 0.06}, {"completion_tokens", output},
		{"cached_tokens", 64 * r.IntN(4)}, {"dp_rank", nil}, {"e2e_latency", elapsed}, {"request_received_ts", start}, {"request_finished_ts", start + elapsed},
		{"decode_throughput", float64(output) / elapsed}}
	ids := make(List, min(output, 12))
	for k := range ids {
		ids[k] = r.IntN(150_000)
	}
	return Tuple{Object{requestClass, state}, Dict{{"text", words(r, 5+r.IntN(20))}, {"output_ids", ids}, {"meta_info", meta}}, start, start + elapsed}
}

func words(r *rand.Rand, n int) string {
	out := make([]string, n)
	for i := range out {
		out[i] = vocabulary[r.IntN(len(vocabulary))]
	}
	return strings.Join(out, " ")
}

// Server is an invented configuration. Its keys are secrets.
func Server(key string) Object {
	return Object{serverClass, Dict{
		{"model_path", "example-org/made-up-7b"}, {"host", "127.0.0.1"}, {"port", 30000}, {"tp_size", 2}, {"pp_size", 1}, {"dp_size", 1}, {"ep_size", 1},
		{"api_key", key}, {"admin_api_key", nil}, {"served_model_name", "made-up"}, {"disaggregation_mode", "null"}, {"mem_fraction_static", 0.85},
	}}
}

// Write writes a crash dump of records until it has that many bytes, or that many
// records where bytes is 0, and returns the number of records.
func Write(w io.Writer, protocol, records int, bytes int64) (int, error) {
	c := &counter{w: w}
	e := NewEncoder(c, protocol)
	e.Op('}')
	e.put()
	e.Op('(')
	e.Key("server_args")
	e.Value(Server("made-up-secret-key-000"))
	e.Key("requests")
	e.Op(']')
	e.put()
	n := 0
	for more := true; more; {
		e.Op('(')
		for k := 0; k < batch && more; k++ {
			e.Value(Record(n, n%50 != 49))
			n++
			more = bytes > 0 && c.n+int64(len(e.frame)) < bytes || bytes == 0 && n < records
		}
		e.Op('e')
	}
	e.Key("launch_command")
	e.Value("-m sglang.launch_server --model-path example-org/made-up-7b --tp 2 --api-key made-up-secret-key-000")
	e.Op('u')
	return n, e.Close()
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}
