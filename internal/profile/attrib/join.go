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
	for stage, busy := range o.StageBusyUS {
		if s.StageBusyUS == nil {
			s.StageBusyUS = map[Stage]Nanos{}
		}
		s.StageBusyUS[stage] += busy
	}
}

// Add adds the idle time of another recording of the device.
func (s *IdleSummary) Add(o IdleSummary) {
	s.SpanUS += o.SpanUS
	s.IdleUS += o.IdleUS
	s.SmallUS += o.SmallUS
	s.SharePct = share(int64(s.IdleUS), int64(s.SpanUS))
}
