package fusion

import (
	"cmp"
	"slices"

	"llmdyno/internal/profile/attrib"
)

// queue is the work of one stage on one stream, by start.
type queue struct {
	stage  attrib.Stage
	stream int32
	works  []int32 // rows of Timeline.Works
}

// segment is the stretch [from, to) of a queue between two barriers. The barrier
// before it is works[from-1], the one after it works[to], where there are any.
type segment struct {
	queue    *queue
	from, to int
}

// begin and end are the barriers' places in the queue; -1 without.
func (s segment) begin() int { return s.from - 1 }

func (s segment) end() int {
	if s.to == len(s.queue.works) {
		return -1
	}
	return s.to
}

// queues parts the work of a timeline by stage and stream, in the order of the
// stages and streams.
func queues(tl *attrib.Timeline) []*queue {
	type key struct {
		stage  attrib.Stage
		stream int32
	}
	at := map[key]*queue{}
	var out []*queue
	for i := range tl.Works {
		w := &tl.Works[i]
		k := key{w.Stage, w.Stream}
		q := at[k]
		if q == nil {
			q = &queue{stage: w.Stage, stream: w.Stream}
			at[k] = q
			out = append(out, q)
		}
		q.works = append(q.works, int32(i))
	}
	order := attrib.Stages()
	slices.SortFunc(out, func(a, b *queue) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.stage), slices.Index(order, b.stage)), cmp.Compare(a.stream, b.stream))
	})
	return out
}

// segments cuts a queue at its barriers.
func (m *matcher) segments(q *queue) []segment {
	var out []segment
	from := 0
	for i, w := range q.works {
		if barrier(m.tl.Names[m.tl.Works[w].Name].Class) {
			out = append(out, segment{q, from, i})
			from = i + 1
		}
	}
	return append(out, segment{q, from, len(q.works)})
}
