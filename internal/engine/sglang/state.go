package sglang

import (
	"errors"
	"time"

	"llmdyno/internal/engine"
)

// state: /server_info and /v1/loads changed their shapes often (graph memory became
// a map of phases on 2026-08-04, the aggregate of all ranks went on 2026-05-29);
// each is read as any of its versions. Numbers of a load are those of one
// data-parallel rank.
func state() *engine.StateDecoder {
	return &engine.StateDecoder{
		Bodies: map[engine.EndpointName]func([]byte, *engine.State) error{
			engine.EndpointModelInfo: readModelInfo, engine.EndpointServerInfo: readServerInfo, engine.EndpointLoads: readLoads,
		},
		Order:     []engine.EndpointName{engine.EndpointModelInfo, engine.EndpointServerInfo, engine.EndpointLoads},
		Prefixes:  []string{"sglang:", "sglang_"},
		RankLabel: "dp_rank",
		Stages: map[string]engine.Stage{
			"request_process": engine.StageProcess, "prefill_forward": engine.StagePrefill,
			"prefill_transfer_kv_cache": engine.StageTransfer, "decode_transferred": engine.StageTransfer,
		},
		Series: series(),
		Source: read("python/sglang/srt/entrypoints/v1_loads.py"),
	}
}

func readModelInfo(body []byte, s *engine.State) error {
	n, err := engine.ReadObject(body)
	if err != nil {
		return err
	}
	s.Merge(engine.State{Model: engine.ModelState{
		ModelPath: n.Get("model_path").Text(), WeightVersion: n.Get("weight_version").Text(), ServedModelName: n.Get("served_model_name").Text(),
		ModelType: n.Get("model_type").Text(), IsGeneration: n.Get("is_generation").Bool(),
	}})
	return nil
}

func readServerInfo(body []byte, s *engine.State) error {
	n, err := engine.ReadObject(body)
	if err != nil {
		return err
	}
	first := n.Get("internal_states").Item(0)
	info := engine.State{
		Model: engine.ModelState{
			ModelPath: n.Get("model_path").Text(), WeightVersion: n.Get("weight_version").Text(),
			ServedModelName: n.Get("served_model_name").Text(), Version: n.Get("version").Text(),
		},
		Topology: engine.TopologyState{
			TP: n.Get("tp_size").Num(), DP: n.Get("dp_size").Num(), PP: n.Get("pp_size").Num(), EP: n.Get("ep_size").Num(),
			Mode: n.Get("disaggregation_mode").Text(), AttentionBackend: n.Get("attention_backend").Text(),
			SamplingBackend: n.Get("sampling_backend").Text(), SchedulePolicy: n.Get("schedule_policy").Text(),
			EnableTrace: n.Get("enable_trace").Bool(), EnableMetrics: n.Get("enable_metrics").Bool(),
		},
		Capacity: engine.CapacityState{
			MaxTotalTokens: n.Get("max_total_num_tokens").Num(), MaxInputTokens: n.Get("max_req_input_len").Num(),
			MaxRunningPerDP: first.Get("effective_max_running_requests_per_dp").Num(),
		},
		DraftTokens: n.Get("speculative_num_draft_tokens").Num(),
		Settings:    n.Settings("internal_states", "startup_time", "kv_events", "status", "version", "random_seed"),
	}
	readMemory(first.Get("memory_usage"), &info.Capacity)
	s.Merge(info)
	return nil
}

// readMemory reads the two spellings of the same figures.
func readMemory(n engine.Node, c *engine.CapacityState) {
	pick := func(names ...string) *float64 {
		for _, name := range names {
			if v := n.Get(name).NumOrSum(); v != nil {
				return v
			}
		}
		return nil
	}
	c.WeightGB, c.KVCacheGB = pick("weight", "weight_gb"), pick("kvcache", "kv_cache_gb")
	c.GraphGB, c.TokenCapacity = pick("graph", "graph_gb"), pick("token_capacity")
}

func readLoads(body []byte, s *engine.State) error {
	n, err := engine.ReadNode(body)
	if err != nil {
		return err
	}
	if items := n.Items(); len(items) > 0 && items[0].Get("num_reqs").Known() {
		readOldLoads(items, s)
		return nil
	}
	if n, err = engine.ReadObject(body); err != nil {
		return err
	}
	if !n.Get("loads").Known() {
		return errors.New("expected the member loads")
	}
	at := n.Get("aggregate")
	loads := engine.State{
		Model: engine.ModelState{Version: n.Get("version").Text(), Accelerator: n.Get("accelerator").Text()},
		Totals: engine.TotalState{
			Running: at.Get("total_running_reqs").Num(), Waiting: at.Get("total_waiting_reqs").Num(), Total: at.Get("total_reqs").Num(),
			KVUsage: at.Get("avg_token_usage").Num(), Throughput: at.Get("avg_throughput").Num(), Utilization: at.Get("avg_utilization").Num(),
		},
		At: unixOf(n.Get("timestamp")),
	}
	for i, l := range n.Get("loads").Items() {
		loads.Ranks = append(loads.Ranks, rankOf(i, l))
	}
	if first := n.Get("loads").Item(0); first.Known() {
		readMemory(first.Get("memory"), &loads.Capacity)
		loads.Capacity.MaxRunningPerDP = first.Get("max_running_requests").Num()
		loads.Topology.Mode = loads.Ranks[0].Mode
	}
	s.Merge(loads)
	return nil
}

// readOldLoads reads /get_load of versions up to 0.5.12.
func readOldLoads(items []engine.Node, s *engine.State) {
	var ranks []engine.RankState
	for i, l := range items {
		r := engine.RankState{Rank: i, Waiting: l.Get("num_waiting_reqs").Num(), Total: l.Get("num_reqs").Num(), UsedTokens: l.Get("num_tokens").Num()}
		if v := l.Get("dp_rank").Num(); v != nil {
			r.Rank = int(*v)
		}
		if r.Waiting != nil && r.Total != nil {
			r.Running = engine.FiniteNum(max(*r.Total-*r.Waiting, 0))
		}
		ranks = append(ranks, r)
	}
	s.Merge(engine.State{Ranks: ranks})
}

func rankOf(i int, l engine.Node) engine.RankState {
	pd, lora, spec := l.Get("disaggregation"), l.Get("lora"), l.Get("speculative")
	r := engine.RankState{
		Rank: i, Running: l.Get("num_running_reqs").Num(), Waiting: l.Get("num_waiting_reqs").Num(), Total: l.Get("num_total_reqs").Num(),
		KVUsage: l.Get("token_usage").Num(), UsedTokens: l.Get("num_used_tokens").Num(), MaxTokens: l.Get("max_total_num_tokens").Num(),
		MaxRunning: l.Get("max_running_requests").Num(), Throughput: l.Get("gen_throughput").Num(), Utilization: l.Get("utilization").Num(),
		CacheHitRate: l.Get("cache_hit_rate").Num(), At: unixOf(l.Get("timestamp")), Mode: pd.Get("mode").Text(),
		TransferGBs: pd.Get("kv_transfer_speed_gb_s").Num(), TransferMS: pd.Get("kv_transfer_latency_ms").Num(),
		AcceptLength: spec.Get("accept_length").Num(), AcceptRate: spec.Get("accept_rate").Num(),
		LoRAUsed: lora.Get("slots_used").Num(), LoRATotal: lora.Get("slots_total").Num(),
		Queues: l.Get("queues").Counts(map[string]string{
			"waiting": engine.QueueWaiting, "grammar": engine.QueueGrammar, "paused": engine.QueuePaused, "retracted": engine.QueueRetracted,
		}),
		PDQueues: pd.Counts(map[string]string{
			"prefill_bootstrap_queue_reqs": engine.QueuePrefillBootstrap, "prefill_prealloc_queue_reqs": engine.QueuePrefillBootstrap, // up to 0.5.11
			"prefill_inflight_queue_reqs": engine.QueuePrefillInflight, "decode_prealloc_queue_reqs": engine.QueueDecodePrealloc,
			"decode_transfer_queue_reqs": engine.QueueDecodeTransfer, "decode_retracted_queue_reqs": engine.QueueDecodeRetracted,
		}),
	}
	if v := l.Get("dp_rank").Num(); v != nil {
		r.Rank = int(*v)
	}
	return r
}

// unixOf reads seconds since 1970, or ISO 8601.
func unixOf(n engine.Node) *float64 {
	if v := n.Num(); v != nil {
		return v
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999"} {
		if t, err := time.Parse(layout, n.Text()); err == nil {
			v := float64(t.UnixNano()) / float64(time.Second)
			return &v
		}
	}
	return nil
}

// series: names as of 0.5.18, older ones where they changed.
func series() []engine.Series {
	mode := func(m string) map[string]string { return map[string]string{"mode": m} }
	rows := []engine.Series{
		{Name: engine.SeriesAborted, From: []string{"sglang:num_aborted_requests_total"}},
		{Name: engine.SeriesLiveTokens, From: []string{"sglang:realtime_tokens_total"}},
		{Name: engine.SeriesStages, From: []string{"sglang:per_stage_req_latency_seconds"}, By: "stage"},
		{Name: engine.SeriesPromptTokens, From: []string{"sglang:prompt_tokens_histogram"}},
		{Name: engine.SeriesGraphPasses, From: []string{"sglang:cuda_graph_passes_total"}, Labels: mode("decode_cuda_graph")},
		{Name: engine.SeriesPlainPasses, From: []string{"sglang:cuda_graph_passes_total"}, Labels: mode("decode_none")},
		{Name: engine.SeriesHitTokens, From: []string{"sglang:cached_tokens_total"}, Labels: map[string]string{"cache_source": "total"}},
		{Name: engine.SeriesHitTokens, From: []string{"sglang:cached_tokens_total"}},
		{Name: engine.SeriesLookedTokens, From: []string{"sglang:prompt_tokens_total"}},
		{Name: engine.SeriesTransferFailures, From: []string{"sglang:num_transfer_failed_reqs_total"}},
		{Name: engine.SeriesTransferFailures, From: []string{"sglang:num_transfer_failed_reqs"}},
		{Name: engine.SeriesBootstrapFailures, From: []string{"sglang:num_bootstrap_failed_reqs_total"}},
		{Name: engine.SeriesBootstrapFailures, From: []string{"sglang:num_bootstrap_failed_reqs"}},
		{Name: engine.QueuePrefillBootstrap, From: []string{"sglang:num_prefill_bootstrap_queue_reqs"}},
		{Name: engine.QueuePrefillBootstrap, From: []string{"sglang:num_prefill_prealloc_queue_reqs"}},
		{Name: engine.QueuePrefillInflight, From: []string{"sglang:num_prefill_inflight_queue_reqs"}},
		{Name: engine.QueueDecodePrealloc, From: []string{"sglang:num_decode_prealloc_queue_reqs"}},
		{Name: engine.QueueDecodeTransfer, From: []string{"sglang:num_decode_transfer_queue_reqs"}},
		{Name: engine.SeriesPendingPrealloc, From: []string{"sglang:pending_prealloc_token_usage"}, Max: true},
		{Name: engine.SeriesGrammarQueue, From: []string{"sglang:num_grammar_queue_reqs"}},
		{Name: engine.SeriesGrammarTimeouts, From: []string{"sglang:num_grammar_timeout_total"}},
		{Name: engine.SeriesConnections, From: []string{"sglang:http_requests_active"}},
		{Name: engine.SeriesTokenizerCPU, From: []string{"sglang:process_cpu_seconds_total"}, Labels: map[string]string{"component": "tokenizer"}},
		{Name: engine.SeriesDetokenizerCPU, From: []string{"sglang:process_cpu_seconds_total"}, Labels: map[string]string{"component": "detokenizer"}},
		{Name: engine.SeriesLoRAUsed, From: []string{"sglang:lora_pool_slots_used"}},
		{Name: engine.SeriesLoRATotal, From: []string{"sglang:lora_pool_slots_total"}},
		{Name: engine.SeriesAcceptRate, From: []string{"sglang:spec_accept_rate"}, Max: true},
		{Name: engine.SeriesEvictable, From: []string{"sglang:kv_evictable_tokens"}},
		{Name: engine.SeriesThroughput, From: []string{"sglang:gen_throughput"}},
	}
	for i := range rows {
		rows[i].Source = read("python/sglang/srt/observability/metrics_collector.py")
	}
	return rows
}
