package result

// Value is the figure that the limit bounds; false where it was not measured or
// the key names none.
func (l Limit) Value(m Metrics) (float64, bool) {
	tail, ok := l.tail()
	if !ok {
		return 0, false
	}
	v, _, _ := m.lookup(tail)
	if v == nil {
		return 0, false
	}
	return *v, true
}
