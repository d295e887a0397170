package attrib

// Add adds what another recording of the device shows, of another stage or time.
func (s *OverlapSummary) Add(o OverlapSummary) {
	s.BusyUS += o.BusyUS
	s.CrossUS += o.CrossUS
	s.MaxStreams = max(s.MaxStreams, o.MaxStreams)
	s.SumUS += o.SumUS
	s.Streams = max(s.Streams, o.Streams)
	s.HiddenUS += o.HiddenUS
	s.ExposedUS += o.ExposedUS
	s.CollectiveUS += o.CollectiveUS
	s.Aside += o.Aside
	s.StageBusyUS = addStages(s.StageBusyUS, o.StageBusyUS)
	s.StageCommUS = addStages(s.StageCommUS, o.StageCommUS)
}

// Add adds the idle time of another recording of the device.
func (s *IdleSummary) Add(o IdleSummary) {
	s.SpanUS += o.SpanUS
	s.IdleUS += o.IdleUS
	s.SmallUS += o.SmallUS
	s.StageSmallUS = addStages(s.StageSmallUS, o.StageSmallUS)
	s.SharePct = share(int64(s.IdleUS), int64(s.SpanUS))
}

// addStages adds the times of b to a, which may be nil.
func addStages(a, b map[Stage]Nanos) map[Stage]Nanos {
	for stage, ns := range b {
		if a == nil {
			a = map[Stage]Nanos{}
		}
		a[stage] += ns
	}
	return a
}
