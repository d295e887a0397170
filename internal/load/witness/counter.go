package witness

import (
	"llmdyno/internal/engine"
)

// counter adds up by how much the series of one counter rose.
type counter struct {
	last   map[string]float64
	seen   bool
	rise   float64
	resets int
}

// add takes the next reading. A series that fell began anew and counts in full;
// one that was not there at the first reading began at 0. A series that is
// missing for a while is taken up where it was.
func (c *counter) add(series map[string]float64) {
	if c.last == nil {
		c.last = map[string]float64{}
	}
	for labels, v := range series {
		before, known := c.last[labels]
		switch {
		case known && v < before:
			c.resets++
			c.rise += v
		case known:
			c.rise += v - before
		case c.seen:
			c.rise += v
		}
		c.last[labels] = v
	}
	c.seen = true
}

// histogram adds up the observations that the series of one histogram gained.
type histogram struct {
	last   map[string]engine.Histogram
	seen   bool
	gained *engine.Histogram
	resets int
}

func (h *histogram) add(series map[string]engine.Histogram) {
	if h.last == nil {
		h.last = map[string]engine.Histogram{}
	}
	for labels, v := range series {
		before, known := h.last[labels]
		switch {
		case known && fell(before, v):
			h.resets++
			h.gain(v)
		case known:
			h.gain(v.Sub(before))
		case h.seen:
			h.gain(v)
		default:
			h.gain(v.Sub(v))
		}
		h.last[labels] = v
	}
	h.seen = true
}

func (h *histogram) gain(x engine.Histogram) {
	if h.gained == nil {
		h.gained = &x
		return
	}
	sum := h.gained.Add(x)
	h.gained = &sum
}

// fell says that a histogram began anew.
func fell(before, now engine.Histogram) bool {
	if now.Count < before.Count {
		return true
	}
	for _, b := range now.Sub(before).Buckets {
		if b.Count < 0 {
			return true
		}
	}
	return false
}
