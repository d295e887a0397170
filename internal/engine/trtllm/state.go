package trtllm

import (
	"llmdyno/internal/engine"
)

// state: a load is the last of the iteration records that /metrics hands out once
// each; it is empty without enable_iter_perf_stats.
func state() *engine.StateDecoder {
	return &engine.StateDecoder{
		Bodies: map[engine.EndpointName]func([]byte, *engine.State) error{
			engine.EndpointModels: readModels, engine.EndpointVersion: readVersion, engine.EndpointServerInfo: readServerInfo,
			engine.EndpointLoads: readIterations,
		},
		Order:    []engine.EndpointName{engine.EndpointModels, engine.EndpointVersion, engine.EndpointServerInfo, engine.EndpointLoads},
		Prefixes: []string{"trtllm_"},
		Series: []engine.Series{
			{Name: engine.SeriesHitTokens, From: []string{"trtllm_prompt_cached_tokens_total"}, Source: fromColl},
			{Name: engine.SeriesHitTokens, From: []string{"trtllm_kv_cache_reused_blocks_total"}, Source: fromColl},
			{Name: engine.SeriesLookedTokens, From: []string{"trtllm_prompt_tokens_total"}, Source: fromColl},
			{Name: engine.SeriesLookedTokens, From: []string{"trtllm_kv_cache_reused_blocks_total", "trtllm_kv_cache_missed_blocks_total"}, Source: fromColl},
			{Name: engine.SeriesRetractedNow, From: []string{"trtllm_num_paused_requests"}, Source: fromColl},
		},
		Source: fromServer,
	}
}

func readModels(body []byte, s *engine.State) error {
	n, err := engine.ReadObject(body)
	if err != nil {
		return err
	}
	s.Merge(engine.State{Model: engine.ModelState{ServedModelName: n.Get("data").Item(0).Get("id").Text()}})
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

func readServerInfo(body []byte, s *engine.State) error {
	n, err := engine.ReadObject(body)
	if err != nil {
		return err
	}
	s.Merge(engine.State{Settings: n.Settings()})
	return nil
}

func readIterations(body []byte, s *engine.State) error {
	n, err := engine.ReadList(body)
	if err != nil {
		return err
	}
	items := n.Items()
	if len(items) == 0 {
		return nil
	}
	last := items[len(items)-1]
	kv := last.Get("kvCacheStats")
	r := engine.RankState{
		Running: last.Get("numActiveRequests").Num(), Waiting: last.Get("numQueuedRequests").Num(), MaxRunning: last.Get("maxNumActiveRequests").Num(),
		CacheHitRate: kv.Get("cacheHitRate").Num(),
		Queues:       last.Get("inflightBatchingStats").Counts(map[string]string{"numPausedRequests": engine.QueueRetracted}),
	}
	if used, most, size := kv.Get("usedNumBlocks").Num(), kv.Get("maxNumBlocks").Num(), kv.Get("tokensPerBlock").Num(); used != nil && most != nil && *most > 0 {
		r.KVUsage = engine.FiniteNum(*used / *most)
		if size != nil {
			r.UsedTokens, r.MaxTokens = engine.FiniteNum(*used**size), engine.FiniteNum(*most**size)
		}
	}
	s.Merge(engine.State{Ranks: []engine.RankState{r}, Capacity: engine.CapacityState{MaxTotalTokens: r.MaxTokens, MaxRunningPerDP: r.MaxRunning}})
	return nil
}
