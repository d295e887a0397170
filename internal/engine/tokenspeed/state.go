package tokenspeed

import (
	"errors"
	"slices"

	"llmdyno/internal/engine"
)

// state: the gateway answers in one shape, the control server in another. What it
// says of the KV cache's use is left out: it is low by the prefix granularity.
func state() *engine.StateDecoder {
	return &engine.StateDecoder{
		Bodies: map[engine.EndpointName]func([]byte, *engine.State) error{
			engine.EndpointModelInfo: readModelInfo, engine.EndpointServerInfo: readServerInfo, engine.EndpointLoads: readLoads,
			engine.EndpointModels: readModels,
		},
		Order:    []engine.EndpointName{engine.EndpointModelInfo, engine.EndpointServerInfo, engine.EndpointModels, engine.EndpointLoads},
		Prefixes: []string{"smg_", "tokenspeed:"},
		Series: []engine.Series{
			{Name: engine.SeriesAborted, From: []string{"smg_router_request_errors_total"}, Source: readGateway("model_gateway/src/observability/metrics.rs")},
			{Name: engine.SeriesStages, From: []string{"smg_router_stage_duration_seconds"}, By: "stage", Source: readGateway("model_gateway/src/observability/metrics.rs")},
			{Name: engine.SeriesConnections, From: []string{"smg_worker_requests_active"}, Source: readGateway("model_gateway/src/observability/metrics.rs")},
			{Name: engine.SeriesHitTokens, From: []string{"tokenspeed:prefix_cache_hits_total"}, Source: gateway},
			{Name: engine.SeriesLookedTokens, From: []string{"tokenspeed:prompt_tokens_total"}, Source: gateway},
		},
		Source: gateway,
	}
}

func readModelInfo(body []byte, s *engine.State) error {
	n, err := engine.ReadObject(body)
	if err != nil {
		return err
	}
	s.Merge(engine.State{
		Model: engine.ModelState{
			ModelPath: n.Get("model_path").Text(), ServedModelName: n.Get("served_model_name").Text(),
			WeightVersion: n.Get("weight_version").Text(), IsGeneration: n.Get("is_generation").Bool(),
		},
		Capacity: engine.CapacityState{MaxInputTokens: n.Get("max_context_length").Num()},
	})
	return nil
}

func readModels(body []byte, s *engine.State) error {
	n, err := engine.ReadObject(body)
	if err != nil {
		return err
	}
	s.Merge(engine.State{Model: engine.ModelState{ServedModelName: n.Get("data").Item(0).Get("id").Text()}})
	return nil
}

func readServerInfo(body []byte, s *engine.State) error {
	n, err := engine.ReadObject(body)
	if err != nil {
		return err
	}
	args := n.Get("server_args")
	s.Merge(engine.State{
		Model: engine.ModelState{ModelPath: args.Get("model").Text(), ServedModelName: args.Get("served_model_name").Text(), Version: n.Get("tokenspeed_version").Text()},
		Topology: engine.TopologyState{
			TP: args.Get("tensor_parallel_size").Num(), DP: args.Get("data_parallel_size").Num(), EP: args.Get("expert_parallel_size").Num(),
			AttentionBackend: args.Get("attention_backend").Text(), EnableMetrics: args.Get("enable_metrics").Bool(),
		},
		Capacity: engine.CapacityState{
			MaxTotalTokens: n.Get("max_total_num_tokens").Num(), MaxInputTokens: n.Get("scheduler_info", "max_req_input_len").Num(), MaxRunningPerDP: args.Get("max_num_seqs").Num(),
		},
		UptimeS: n.Get("uptime_seconds").Num(), Settings: args.Settings(),
	})
	return nil
}

func readLoads(body []byte, s *engine.State) error {
	n, err := engine.ReadObject(body)
	if err != nil {
		return err
	}
	loads := n.Get("loads").Items()
	for _, w := range n.Get("workers").Items() {
		loads = slices.Concat(loads, w.Get("details", "loads").Items())
	}
	if !n.Get("loads").Known() && !n.Get("workers").Known() {
		return errors.New("expected the member workers or loads")
	}
	var ranks []engine.RankState
	for i, l := range loads {
		r := engine.RankState{
			Rank: i, Running: l.Get("num_running_reqs").Num(), Waiting: l.Get("num_waiting_reqs").Num(), Total: l.Get("num_total_reqs").Num(),
			MaxTokens: l.Get("max_total_num_tokens").Num(), Throughput: l.Get("gen_throughput").Num(), CacheHitRate: l.Get("cache_hit_rate").Num(),
		}
		if total := l.Get("num_reqs").Num(); r.Running == nil && total != nil && r.Waiting != nil {
			r.Running, r.Total = engine.FiniteNum(max(*total-*r.Waiting, 0)), total
		}
		ranks = append(ranks, r)
	}
	s.Merge(engine.State{Ranks: ranks})
	return nil
}
