package llamacpp

import "llmdyno/internal/engine"

// state: /props tells the model and the slots; /slots tells which of them work.
func state() *engine.StateDecoder {
	return &engine.StateDecoder{
		Bodies: map[engine.EndpointName]func([]byte, *engine.State) error{
			engine.EndpointServerInfo: readProps, engine.EndpointSlots: readSlots,
		},
		Order:    []engine.EndpointName{engine.EndpointServerInfo, engine.EndpointSlots},
		Prefixes: []string{"llamacpp:"},
		Source:   fromRun,
	}
}

func readProps(body []byte, s *engine.State) error {
	n, err := engine.ReadObject(body)
	if err != nil {
		return err
	}
	s.Merge(engine.State{
		Model:    engine.ModelState{ModelPath: n.Get("model_path").Text(), ServedModelName: n.Get("model_alias").Text(), Version: n.Get("build_info").Text()},
		Topology: engine.TopologyState{EnableMetrics: n.Get("endpoint_metrics").Bool()},
		Capacity: engine.CapacityState{MaxInputTokens: n.Get("default_generation_settings", "n_ctx").Num(), MaxRunningPerDP: n.Get("total_slots").Num()},
		Settings: n.Settings("default_generation_settings", "chat_template", "ui_settings"),
	})
	return nil
}

func readSlots(body []byte, s *engine.State) error {
	n, err := engine.ReadList(body)
	if err != nil {
		return err
	}
	running, slots := 0.0, float64(len(n.Items()))
	for _, slot := range n.Items() {
		if b := slot.Get("is_processing").Bool(); b != nil && *b {
			running++
		}
	}
	s.Merge(engine.State{Ranks: []engine.RankState{{Running: &running, MaxRunning: &slots}}})
	return nil
}
