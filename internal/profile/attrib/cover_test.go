package attrib

import "testing"

// looked counts the spans that a sweep hands to its probes.
func looked(list []probe, spans []active) (handed, chosen int) {
	p := newProbes(list, 1)
	var hit []active
	for _, s := range spans {
		if p.hit(s.group, s.start, s.end) {
			hit = append(hit, s)
		}
	}
	p.answer(hit, func(_ probe, stack []active) { handed += len(stack) })
	return handed, len(hit)
}

func TestU26ManyWindowsCostNoMore(t *testing.T) {
	var list []probe
	var spans []active
	for i := range int64(2000) {
		spans = append(spans, active{start: i * 100, end: i*100 + 90, row: int32(i)})
		for j := range int64(10) {
			list = append(list, probe{at: i*100 + j*9, id: int32(i*10 + j)})
		}
	}
	if handed, _ := looked(list, spans); handed != len(list) {
		t.Errorf("%d spans looked at for %d kernels in %d windows, want one each", handed, len(list), len(spans))
	}
}

func TestU30FramesThatHaveEndedCostNothing(t *testing.T) {
	var list []probe
	var spans []active
	for i := range int64(8000) {
		spans = append(spans, active{start: i * 10, end: i*10 + 5, row: int32(i)})
		list = append(list, probe{at: i*10 + 7, id: int32(i)})
	}
	if handed, chosen := looked(list, spans); handed+chosen != 0 {
		t.Errorf("%d spans chosen, %d looked at; want none: no probe falls into any", chosen, handed)
	}
}

func TestCrossingSpansDoNotPileUp(t *testing.T) {
	// Each span ends after the next one has begun: an ended one is never on top.
	var list []probe
	var spans []active
	const n = 20000
	for i := range int64(n) {
		spans = append(spans, active{start: i * 10, end: i*10 + 14, row: int32(i)})
		list = append(list, probe{at: i*10 + 1, id: int32(i)})
	}
	if handed, _ := looked(list, spans); handed > 100*n {
		t.Errorf("%d spans looked at for %d probes: ended ones pile up", handed, n)
	}
}
