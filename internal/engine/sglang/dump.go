package sglang

import "llmdyno/internal/engine"

// Dumps are pickles; incident/pickle reads them without running anything. The
// shapes of 2026-05-02 and of 2026-08-22 stand side by side.
var (
	dumpMay = engine.Source{Ref: "sgl-project/sglang srt/managers/{io_struct,tokenizer_manager}.py @ 321298da75", Date: "2026-05-02"}
	dumpAug = engine.Source{Ref: "bytedance-iaas/sglang srt/managers/{io_struct,tokenizer_manager}.py @ 6ed5780c4f", Date: "2026-08-22"}
)

func dumpLayout() *engine.DumpLayout {
	return &engine.DumpLayout{
		Source:   dumpAug,
		Requests: "requests", Launch: "launch_command",
		Configs: []string{"server_args", "resolved_config"},
		Config: []engine.DumpSetting{
			{Name: "model_path", Keys: []string{"model_path"}},
			{Name: "served_model_name", Keys: []string{"served_model_name"}},
			{Name: "tp_size", Keys: []string{"tp_size"}},
			{Name: "dp_size", Keys: []string{"dp_size"}},
			{Name: "pp_size", Keys: []string{"pp_size"}},
			{Name: "ep_size", Keys: []string{"ep_size"}},
			{Name: "host", Keys: []string{"host"}},
			{Name: "port", Keys: []string{"port"}},
			{Name: "disaggregation_mode", Keys: []string{"disaggregation_mode"}},
		},
		Flags: []engine.DumpFlag{
			{Name: "model_path", Options: []string{"--model-path", "--model"}},
			{Name: "served_model_name", Options: []string{"--served-model-name"}},
			{Name: "tp_size", Options: []string{"--tp", "--tp-size", "--tensor-parallel-size"}},
			{Name: "dp_size", Options: []string{"--dp", "--dp-size", "--data-parallel-size"}},
			{Name: "pp_size", Options: []string{"--pp", "--pp-size", "--pipeline-parallel-size"}},
			{Name: "ep_size", Options: []string{"--ep", "--ep-size", "--expert-parallel-size"}},
			{Name: "host", Options: []string{"--host"}},
			{Name: "port", Options: []string{"--port"}},
			{Name: "disaggregation_mode", Options: []string{"--disaggregation-mode"}},
		},
		SecretSettings: []string{"api_key", "admin_api_key", "ssl_keyfile_password"},
		SecretFlags:    []string{"--api-key", "--admin-api-key", "--ssl-keyfile-password"},
		SecretHeaders:  []string{"external_trace_header"},
		SecretNames:    []string{"authorization", "proxy-authorization", "cookie", "x-api-key"},
		Classes:        dumpClasses(),
		Request: engine.DumpRequest{
			ID: "rid", Text: "text", Tokens: "input_ids", Sampling: "sampling_params", Stream: "stream",
			Preview: []string{"origin_input_text", "text", "prompt"},
		},
		Output: engine.DumpOutput{
			Text: "text", Tokens: "output_ids", Meta: "meta_info", ID: "id", Finish: "finish_reason", FinishTag: "type",
			Prompt: "prompt_tokens", Completion: "completion_tokens", Cached: "cached_tokens", QueueSeconds: "queue_time",
			Retractions: []string{"total_retractions", "num_retractions"},
			Received:    "request_received_ts", Forward: "forward_entry_time", PrefillDone: "prefill_finished_time", Done: "request_finished_ts",
			LatencySeconds: "e2e_latency",
		},
		// http_server.py: generate_request takes the one class, encode_request the other.
		Paths:    map[engine.DumpKind]string{engine.DumpGenerate: generate.Path, engine.DumpEmbedding: "/encode"},
		Drop:     dumpDrop(),
		Defaults: dumpDefaults,
		Media:    []string{"image_data", "video_data", "audio_data"},
		Sampling: dumpSampling(),
		Neutral: map[string]string{
			"max_new_tokens": "max_tokens", "min_new_tokens": "min_tokens", "sampling_seed": "seed",
			"temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p", "n": "n", "stop": "stop",
			"stop_token_ids": "stop_token_ids", "frequency_penalty": "frequency_penalty", "presence_penalty": "presence_penalty",
			"repetition_penalty": "repetition_penalty", "ignore_eos": "ignore_eos", "skip_special_tokens": "skip_special_tokens", "logit_bias": "logit_bias",
		},
	}
}

func dumpClasses() []engine.DumpClass {
	return []engine.DumpClass{
		{Name: "sglang.srt.managers.io_struct.GenerateReqInput", Kind: engine.DumpGenerate, Source: dumpAug},
		{Name: "sglang.srt.managers.io_struct.EmbeddingReqInput", Kind: engine.DumpEmbedding, Source: dumpAug},
		{Name: "sglang.srt.server_args.ServerArgs", Source: dumpAug},
		{Name: "sglang.srt.sampling.sampling_params.SamplingParams", Source: dumpAug},
		{Name: "sglang.srt.managers.io_struct.SessionParams", Source: dumpAug},
		{Name: "sglang.srt.managers.embed_types.PositionalEmbeds", Positional: []string{"embeds", "positions"}, Source: dumpAug},
		{Name: "sglang.srt.utils.common.ImageData", Source: dumpMay},
		{Name: "sglang.srt.utils.common.VideoData", Source: dumpMay},
		{Name: "sglang.srt.managers.schedule_batch.Modality", Values: map[int64]string{1: "IMAGE", 2: "VIDEO", 3: "AUDIO"}, Source: dumpMay},
	}
}

// dumpDrop are the fields that describe the server or the client of that day, or
// that the server sets itself.
func dumpDrop() []engine.DumpDrop {
	const (
		once     = "the identity of the recorded request; one in flight with the same is refused"
		route    = "names a process of the recorded server"
		transfer = "belongs to the recorded prefill and decode pair"
		rank     = "names a rank of the recorded server"
		server   = "set by the server itself"
		headers  = "headers of the recorded client, its credentials among them"
		extra    = "computed from the request, not a field of it"
	)
	return []engine.DumpDrop{
		{Field: "rid", Reason: once}, {Field: "http_worker_ipc", Reason: route}, {Field: "lora_id", Reason: server},
		{Field: "bootstrap_host", Reason: transfer}, {Field: "bootstrap_port", Reason: transfer}, {Field: "bootstrap_room", Reason: transfer},
		{Field: "bootstrap_pair_key", Reason: transfer}, {Field: "decode_tp_size", Reason: transfer}, {Field: "disagg_prefill_dp_rank", Reason: rank},
		{Field: "routed_dp_rank", Reason: rank}, {Field: "data_parallel_rank", Reason: rank}, {Field: "received_time", Reason: server},
		{Field: "external_trace_header", Reason: headers}, {Field: "need_wait_for_mm_inputs", Reason: server}, {Field: "num_items_assigned", Reason: server},
		{Field: "encoder_urls", Reason: route}, {Field: "positional_embed_overrides", Reason: server}, {Field: "log_metrics", Reason: server},
		{Field: "is_single", Reason: extra}, {Field: "batch_size", Reason: extra}, {Field: "parallel_sample_num", Reason: extra},
	}
}

// dumpDefaults are the defaults of the declared fields of both request classes.
var dumpDefaults = map[string]string{
	"use_audio_in_video": "false", "return_logprob": "false", "logprob_start_len": "-1", "top_logprobs_num": "0",
	"return_text_in_logprobs": "false", "return_flat_raw_top_logprobs": "false", "return_flat_raw_top_logprobs_b64": "false",
	"return_hidden_states": "false", "return_routed_experts": "false", "routed_experts_start_len": "0", "return_indexer_topk": "false",
	"background": "false", "require_reasoning": "false", "no_logs": "false", "return_bytes": "false", "return_entropy": "false",
	"return_prompt_token_ids": "false", "is_cross_encoder_request": "false", "return_pooled_hidden_states": "false",
}

// dumpSampling undoes what the engine's own sampling object does to the
// parameters of a request.
func dumpSampling() engine.DumpSampling {
	return engine.DumpSampling{
		Rename: map[string]string{"stop_strs": "stop", "stop_regex_strs": "stop_regex"},
		Drop: []engine.DumpDrop{
			{Field: "is_normalized", Reason: "state of the engine's object"},
			{Field: "stop_str_max_len", Reason: "computed from the stop texts"},
			{Field: "stop_regex_max_len", Reason: "computed from the stop expressions"},
		},
		Same: map[string]map[string]string{"top_k": {"1073741824": "-1"}},
		Defaults: map[string]string{
			"temperature": "1.0", "top_p": "1.0", "top_k": "-1", "min_p": "0.0", "frequency_penalty": "0.0", "presence_penalty": "0.0",
			"repetition_penalty": "1.0", "min_new_tokens": "0", "n": "1", "ignore_eos": "false", "skip_special_tokens": "true",
			"spaces_between_special_tokens": "true", "no_stop_trim": "false",
		},
		MaxTokens: "max_new_tokens", IgnoreEOS: "ignore_eos", Temperature: "temperature", GreedyTokens: "top_k",
	}
}
