package dump

import (
	"io"
	"math"
	"slices"
)

// ReadList reads a request list in the place of a dump: its figures are those of
// what was recorded.
func ReadList(r io.Reader, name string, o Options) *File {
	f := newFile(name, 0)
	counted := &counter{r: r}
	reqs, _, err := ReadRequests(counted, name)
	f.Bytes, f.list = counted.n, reqs
	if err != nil {
		f.Error = err.Error()
	}
	p := &part{file: f, figures: newFigures("requests")}
	for i := range reqs {
		p.listed(&reqs[i])
		if o.Records < 0 || i < o.Records {
			f.Records = append(f.Records, listedView(i, &reqs[i], o.Preview))
		}
	}
	f.Omitted = len(reqs) - len(f.Records)
	p.figures.Records = len(reqs)
	p.spans()
	p.distribute()
	f.Figures = p.figures
	for i := range reqs {
		if !reqs[i].Recorded.Finished && len(f.InFlight) < maxInFlight {
			f.InFlight = append(f.InFlight, i)
		}
	}
	f.Suspects = p.suspects()
	return f
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

// listed adds one request of a list to the figures.
func (p *part) listed(q *Request) {
	f := p.figures
	rec := record{start: startOf(*q), end: math.NaN(), shaped: true, finished: q.Recorded.Finished, finish: q.Recorded.FinishReason,
		queue: math.NaN(), prompt: math.NaN(), output2: math.NaN(), retracted: math.NaN()}
	if q.Stream {
		f.Streaming++
	}
	if f.RequestClasses[string(q.Kind)]++; rec.finished {
		f.Finished++
		f.FinishReasons[rec.finish]++
	} else {
		f.Unfinished++
	}
	add := func(to *[]float64, n *int64, keep *float64) {
		if n != nil {
			*keep = float64(*n)
			*to = append(*to, *keep)
		}
	}
	cached := 0.0
	add(&p.dists.prompt, q.Recorded.PromptTokens, &rec.prompt)
	add(&p.dists.completion, q.Recorded.CompletionTokens, &rec.output2)
	add(&p.dists.cached, q.Recorded.CachedTokens, &cached)
	if e := q.Recorded.ElapsedSeconds; e != nil {
		rec.end = rec.start + *e
		p.dists.elapsed = append(p.dists.elapsed, *e)
	}
	p.records = append(p.records, rec)
}

func listedView(i int, q *Request, preview int) Record {
	v := Record{
		Index: i, ID: cutText(q.ID, 200), Class: string(q.Kind), Stream: q.Stream, Finished: q.Recorded.Finished, FinishReason: q.Recorded.FinishReason,
		Start: Instant(startOf(*q)), ElapsedSeconds: q.Recorded.ElapsedSeconds,
		PromptTokens: float(q.Recorded.PromptTokens), CompletionTokens: float(q.Recorded.CompletionTokens), CachedTokens: float(q.Recorded.CachedTokens),
	}
	if v.Class == "" {
		v.Class = "request"
	}
	v.describe([]byte(q.Prompt), preview)
	v.Problem = q.ReplayOnly
	return v
}

func float(n *int64) *float64 {
	if n == nil {
		return nil
	}
	x := float64(*n)
	return &x
}

// distribute makes the distributions of the figures.
func (p *part) distribute() {
	f := p.figures
	for _, x := range []struct {
		to   **Dist
		from []float64
	}{
		{&f.PromptTokens, p.dists.prompt}, {&f.CompletionTokens, p.dists.completion}, {&f.CachedTokens, p.dists.cached},
		{&f.Retractions, p.dists.retractions}, {&f.QueueTimeSeconds, p.dists.queue}, {&f.ElapsedSeconds, p.dists.elapsed},
	} {
		*x.to = NewDist(slices.Clip(x.from))
	}
}
