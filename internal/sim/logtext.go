package sim

// LogText is a text of the engine's log as it would print it of d; "" when the
// surface has no such text. It lets patterns be held against every text,
// whether or not a simulated engine comes to print it.
func (s *Surface) LogText(kind string, d *Data) string {
	if d.Knob == nil {
		d.Knob = s.Defaults
	}
	if d.Version == "" {
		d.Version = s.Version
	}
	return string(s.fill(s.Log[kind].File, d))
}
