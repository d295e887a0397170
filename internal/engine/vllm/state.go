package vllm

import (
	"regexp"

	"llmdyno/internal/engine"
)

// state: the server says little beside its metrics; the model list and /version
// are always there, the configuration only in development mode, as one text.
func state() *engine.StateDecoder {
	return &engine.StateDecoder{
		Bodies: map[engine.EndpointName]func([]byte, *engine.State) error{
			engine.EndpointModels: readModels, engine.EndpointVersion: readVersion, engine.EndpointServerInfo: readServerInfo,
			engine.EndpointLoads: readLoad,
		},
		Order:     []engine.EndpointName{engine.EndpointModels, engine.EndpointVersion, engine.EndpointServerInfo, engine.EndpointLoads},
		Prefixes:  []string{"vllm:"},
		RankLabel: "engine",
		Series:    series(),
		Source:    fromMetrics,
	}
}

func readModels(body []byte, s *engine.State) error {
	n, err := engine.ReadObject(body)
	if err != nil {
		return err
	}
	first := n.Get("data").Item(0)
	s.Merge(engine.State{
		Model:    engine.ModelState{ModelPath: first.Get("root").Text(), ServedModelName: first.Get("id").Text()},
		Capacity: engine.CapacityState{MaxInputTokens: first.Get("max_model_len").Num()},
	})
	return nil
}

func readVersion(body []byte, s *engine.State) error {
	n, err := engine.ReadObject(body)
	if err != nil {
		return err
	}
	s.Merge(engine.State{Model: engine.ModelState{Version: n.Get("version").Text()}})
	return nil
}

// readLoad: the number is of requests in the HTTP layer and stays 0 without
// --enable-server-load-tracking, so it says nothing; only its shape is looked at.
func readLoad(body []byte, _ *engine.State) error {
	_, err := engine.ReadObject(body)
	return err
}

// member of the configuration as it prints itself: name=value, values quoted or
// not.
var member = regexp.MustCompile(`(?:^|[ ,(])([a-z_]+)=('[^']*'|[^,() ]+)`)

func readServerInfo(body []byte, s *engine.State) error {
	n, err := engine.ReadObject(body)
	if err != nil {
		return err
	}
	config := n.Get("vllm_config")
	info := engine.State{Settings: n.Get("vllm_env").Settings()}
	if info.Settings == nil {
		info.Settings = map[string]string{}
	}
	text := config.Text()
	for _, m := range member.FindAllStringSubmatch(text, -1) {
		value := m[2]
		if len(value) > 1 && value[0] == '\'' {
			value = value[1 : len(value)-1]
		}
		info.Settings[m[1]] = value
	}
	num := func(name string) *float64 {
		v := engine.TextNode(info.Settings[name])
		for _, part := range []string{"parallel_config", "scheduler_config", "model_config", "cache_config"} {
			if w := config.Get(part, name); w.Known() {
				v = w
			}
		}
		return v.Num()
	}
	info.Topology = engine.TopologyState{TP: num("tensor_parallel_size"), DP: num("data_parallel_size"), PP: num("pipeline_parallel_size")}
	info.Capacity.MaxRunningPerDP = num("max_num_seqs")
	s.Merge(info)
	return nil
}

func series() []engine.Series {
	rows := []engine.Series{
		{Name: engine.SeriesAborted, From: []string{"vllm:request_success_total"}, Labels: map[string]string{"finished_reason": "abort"}},
		{Name: engine.SeriesLiveTokens, From: []string{"vllm:generation_tokens_total"}},
		{Name: engine.SeriesPromptTokens, From: []string{"vllm:request_prompt_tokens"}},
		{Name: engine.SeriesHitTokens, From: []string{"vllm:prefix_cache_hits_total"}},
		{Name: engine.SeriesHitTokens, From: []string{"vllm:gpu_prefix_cache_hits_total"}},
		{Name: engine.SeriesLookedTokens, From: []string{"vllm:prefix_cache_queries_total"}},
		{Name: engine.SeriesLookedTokens, From: []string{"vllm:gpu_prefix_cache_queries_total"}},
		{Name: engine.SeriesTransferFailures, From: []string{"vllm:nixl_num_failed_transfers_total", "vllm:nixl_num_failed_notifications_total", "vllm:nixl_num_kv_expired_reqs_total"}},
		{Name: engine.SeriesDeferred, From: []string{"vllm:num_requests_waiting_by_reason"}, Labels: map[string]string{"reason": "deferred"}},
		{Name: engine.SeriesLoRATotal, From: []string{"vllm:lora_requests_info"}, Number: "max_lora", Max: true},
		{Name: engine.SeriesLoRAWanted, From: []string{"vllm:lora_requests_info"}, Items: []string{"running_lora_adapters", "waiting_lora_adapters"}},
		{Name: engine.SeriesLoRAWaiting, From: []string{"vllm:lora_requests_info"}, Items: []string{"waiting_lora_adapters"}},
		{Name: engine.SeriesStarted, From: []string{"vllm:prompt_tokens_created"}, Max: true},
	}
	for i := range rows {
		rows[i].Source = fromMetrics
	}
	return rows
}
