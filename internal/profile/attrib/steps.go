package attrib

import (
	"cmp"
	"slices"
)

// StepRow is one forward pass on the device.
type StepRow struct {
	Label    string `json:"label"`
	Stage    Stage  `json:"stage"`
	Launches int    `json:"launches"`
	SpanUS   Nanos  `json:"span_us"`  // first start to last end of its work
	BusyUS   Nanos  `json:"busy_us"`  // union of its work
	TotalUS  Nanos  `json:"total_us"` // Σ of its durations
	IdleUS   Nanos  `json:"idle_us"`  // span − busy
	// PeriodUS is from the start of its work to the start of the next step's;
	// absent for the last one.
	PeriodUS           *Nanos `json:"period_us,omitempty"`
	ContextRequests    int    `json:"context_requests,omitempty"`
	GenerationRequests int    `json:"generation_requests,omitempty"`
	ContextTokens      int    `json:"context_tokens,omitempty"`
	GenerationTokens   int    `json:"generation_tokens,omitempty"`
}

// StepStage sums the steps of one stage. Steps whose work was not recorded
// whole, at the ends of the recording, count like the others.
type StepStage struct {
	Stage    Stage   `json:"stage"`
	Steps    int     `json:"steps"`
	MeanUS   float64 `json:"mean_span_us"`
	P50US    float64 `json:"p50_span_us"` // linear interpolation between order statistics
	MinUS    Nanos   `json:"min_span_us"`
	MaxUS    Nanos   `json:"max_span_us"`
	BusyUS   float64 `json:"mean_busy_us"`
	IdlePct  float64 `json:"idle_pct"` // of the spans
	Launches float64 `json:"mean_launches"`
}

// StepTable lists the forward passes that the trace marks, in order, and sums
// them by stage. Without marks both are empty.
func StepTable(tl *Timeline) ([]StepRow, []StepStage) {
	works := make([][]int32, len(tl.Steps))
	for i := range tl.Works {
		if s := tl.Works[i].Step; s >= 0 {
			works[s] = append(works[s], int32(i))
		}
	}
	var rows []StepRow
	var starts []int64
	for s, list := range works {
		if len(list) == 0 {
			continue
		}
		row, start := stepRow(tl, &tl.Steps[s], list)
		rows, starts = append(rows, row), append(starts, start)
	}
	order := make([]int, len(rows))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(starts[a], starts[b]) })
	sorted := make([]StepRow, len(rows))
	for i, j := range order {
		sorted[i] = rows[j]
		if i+1 < len(order) {
			p := Nanos(starts[order[i+1]] - starts[j])
			sorted[i].PeriodUS = &p
		}
	}
	return sorted, stepStages(sorted)
}

func stepRow(tl *Timeline, s *Step, list []int32) (StepRow, int64) {
	r := StepRow{Label: s.Label, Stage: s.Stage, Launches: len(list), ContextRequests: s.ContextRequests,
		GenerationRequests: s.GenerationRequests, ContextTokens: s.ContextTokens, GenerationTokens: s.GenerationTokens}
	start := tl.Works[list[0]].Start
	end, reached := start, start
	for _, i := range list { // by start
		w := &tl.Works[i]
		r.TotalUS += Nanos(w.Dur)
		if w.End() > reached {
			r.BusyUS += Nanos(w.End() - max(reached, w.Start))
			reached = w.End()
		}
		end = max(end, w.End())
	}
	r.SpanUS = Nanos(end - start)
	r.IdleUS = r.SpanUS - r.BusyUS
	return r, start
}

func stepStages(rows []StepRow) []StepStage {
	var out []StepStage
	for _, stage := range Stages() {
		var spans []int64
		st := StepStage{Stage: stage}
		var busy, launches int64
		for i := range rows {
			if rows[i].Stage == stage {
				spans = append(spans, int64(rows[i].SpanUS))
				busy += int64(rows[i].BusyUS)
				launches += int64(rows[i].Launches)
			}
		}
		if len(spans) == 0 {
			continue
		}
		slices.Sort(spans)
		var total int64
		for _, d := range spans {
			total += d
		}
		n := float64(len(spans))
		st.Steps, st.MinUS, st.MaxUS = len(spans), Nanos(spans[0]), Nanos(spans[len(spans)-1])
		st.MeanUS, st.BusyUS, st.Launches = float64(total)/n/1000, float64(busy)/n/1000, float64(launches)/n
		st.P50US = (float64(spans[(len(spans)-1)/2]) + float64(spans[len(spans)/2])) / 2000
		st.IdlePct = share(total-busy, total)
		out = append(out, st)
	}
	return out
}
