package sim

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// request is one generation in the scheduler. The fields above the line are the
// caller's; the rest is the scheduler's, guarded by whoever drives it.
type request struct {
	id     string
	key    uint64   // identity for seeded draws
	hashes []uint64 // of the prompt's whole blocks, each over all before it
	input  int      // prompt tokens
	output int      // tokens to generate, at least 1
	stop   bool     // ends by itself (a stop token), not by its bound
	sink   func(tokens int, at time.Time, done bool)

	arrived     time.Time
	started     time.Time // first scheduled
	firstToken  time.Time
	lastToken   time.Time
	cached      int // prompt tokens found in the cache when first scheduled
	computed    int // prompt (and, after preemption, output) tokens in the KV cache
	target      int // tokens to compute before decoding goes on
	out         int // tokens generated
	shared      []uint64
	private     int // blocks
	preemptions int
	gone        bool // cancelled, or refused
	rng         *rand.Rand
}

func (r *request) context() int { return r.computed + max(0, r.out-(r.target-r.input)) }

// totals are what a metrics endpoint counts, from the start.
type totals struct {
	prompt, cached, generated       int
	requests, stopped, full, gone   int
	preemptions, steps              int
	prefillComputed                 int
	drafts, drafted, accepted       int
	ttft, e2e, tpot, queue, itl     histogram
	prefill, decode, in, out, batch histogram
}

// scheduler is continuous batching: it holds the queue, the batch and the KV
// cache, and turns them into steps. It knows no clock: instants are given.
type scheduler struct {
	d       *deployment
	kv      *kvCache
	waiting []*request // in the order of the policy, earliest first
	running []*request // in the order of admission
	totals  totals
	current plan
}

func newScheduler(d *deployment) *scheduler {
	return &scheduler{d: d, kv: newKVCache(d.kvBlocks)}
}

// plan is one step.
type plan struct {
	prefills []chunk
	decodes  []*request
	duration time.Duration
	tokens   int
}

type chunk struct {
	r      *request
	tokens int
}

func (p *plan) empty() bool { return len(p.prefills) == 0 && len(p.decodes) == 0 }

// submit puts a request into the queue.
func (s *scheduler) submit(r *request) {
	r.target = r.input
	// Requests of one instant are ordered by their ids, so that a run does not
	// depend on which connection was read first.
	at, _ := slices.BinarySearchFunc(s.waiting, r, func(x, y *request) int {
		if c := x.arrived.Compare(y.arrived); c != 0 {
			return c
		}
		return cmp.Compare(x.id, y.id)
	})
	s.waiting = slices.Insert(s.waiting, at, r)
}

// cancel takes a request out, wherever it is.
func (s *scheduler) cancel(r *request) {
	if r.gone {
		return
	}
	r.gone = true
	s.totals.gone++
	s.waiting = without(s.waiting, r)
	if slices.Contains(s.running, r) {
		s.running = without(s.running, r)
		s.release(r)
	}
}

func without(list []*request, r *request) []*request {
	return slices.DeleteFunc(list, func(x *request) bool { return x == r })
}

// next plans the step that begins at now, for requests that had arrived before.
// An empty plan means that there is nothing to do yet.
func (s *scheduler) next(now time.Time) *plan {
	p := &s.current
	*p = plan{prefills: p.prefills[:0], decodes: p.decodes[:0]}
	budget := s.d.stepTokens
	if s.d.mixed {
		s.planDecodes(p)
		budget -= len(p.decodes)
		s.planPrefills(p, budget, now)
	} else {
		// Prompts go first and stop the decodes meanwhile.
		s.planPrefills(p, budget, now)
		if len(p.prefills) == 0 {
			s.planDecodes(p)
		}
	}
	p.duration = s.d.cost(s.stepOf(p))
	return p
}

func (s *scheduler) stepOf(p *plan) step {
	st := step{decodes: len(p.decodes)}
	for _, c := range p.prefills {
		st.prefillTokens += c.tokens
		st.prefillPairs += float64(c.tokens) * (float64(c.r.computed) + float64(c.tokens)/2)
	}
	for _, r := range p.decodes {
		st.decodeContext += r.context()
	}
	p.tokens = st.prefillTokens + st.decodes
	return st
}

// planDecodes gives each running request its next token, as long as the KV
// cache holds it; when it does not, the youngest request goes back to the queue.
func (s *scheduler) planDecodes(p *plan) {
	for i := 0; i < len(s.running); i++ {
		r := s.running[i]
		if r.computed < r.target {
			continue
		}
		for !s.grow(r, r.context()+1+s.d.specTokens) {
			victim := s.running[len(s.running)-1]
			s.preempt(victim)
			if victim == r {
				break
			}
		}
		if i < len(s.running) && s.running[i] == r {
			p.decodes = append(p.decodes, r)
		}
	}
}

// grow makes room for a context of that many tokens.
func (s *scheduler) grow(r *request, tokens int) bool {
	need := s.blocks(tokens) - r.private - len(r.shared)
	if need <= 0 {
		return true
	}
	if !s.kv.take(need) {
		return false
	}
	r.private += need
	return true
}

func (s *scheduler) blocks(tokens int) int {
	g := s.d.granule()
	return (tokens + g - 1) / g
}

// preempt gives a request's memory back; it is computed again later, the output
// so far included.
func (s *scheduler) preempt(r *request) {
	s.totals.preemptions++
	r.preemptions++
	s.running = without(s.running, r)
	s.release(r)
	r.computed, r.target = 0, r.input+r.out
	s.waiting = slices.Insert(s.waiting, 0, r)
}

func (s *scheduler) release(r *request) {
	s.kv.release(r.private, r.shared)
	r.private, r.shared = 0, nil
}

func (s *scheduler) planPrefills(p *plan, budget int, now time.Time) {
	whole := !s.d.chunked
	add := func(r *request) {
		n := r.target - r.computed
		if !whole {
			n = min(n, budget)
		}
		p.prefills = append(p.prefills, chunk{r, n})
		budget -= n
	}
	for _, r := range s.running {
		if r.computed < r.target && budget > 0 {
			add(r)
		}
	}
	if s.d.lpm() {
		s.orderByPrefix()
	}
	if !s.d.contBatching && len(s.running) > 0 && !s.filling() {
		return
	}
	for len(s.waiting) > 0 && budget > 0 && len(s.running) < s.d.maxRunning {
		r := s.waiting[0]
		if !r.arrived.Before(now) {
			break
		}
		if whole && len(p.prefills) > 0 && r.target-s.cachedTokens(r) > budget {
			break
		}
		if !s.admit(r, now) {
			break
		}
		add(r)
	}
}

// filling: without continuous batching a batch is filled only while none of its
// requests has been answered.
func (s *scheduler) filling() bool {
	return !slices.ContainsFunc(s.running, func(r *request) bool { return r.out > 0 })
}

// lpmQueue is the longest queue that is ordered by prefix: beyond it matching
// costs more than it saves.
const lpmQueue = 128

func (s *scheduler) orderByPrefix() {
	if len(s.waiting) < 2 || len(s.waiting) > lpmQueue {
		return
	}
	cached := make(map[*request]int, len(s.waiting))
	for _, r := range s.waiting {
		cached[r] = s.kv.match(r.hashes)
	}
	slices.SortStableFunc(s.waiting, func(x, y *request) int {
		if c := cmp.Compare(y.preemptions, x.preemptions); c != 0 {
			return c
		}
		return cmp.Compare(cached[y], cached[x])
	})
}

// cachedTokens of a waiting request's prompt; at least one token is computed anew.
func (s *scheduler) cachedTokens(r *request) int {
	if !s.d.prefixCache {
		return 0
	}
	n := s.kv.match(r.hashes)
	for n > 0 && n*s.d.granule() >= r.target {
		n--
	}
	return n * s.d.granule()
}

// admit takes the first waiting request into the batch if the KV cache holds
// its prompt and leaves a little for those that decode.
func (s *scheduler) admit(r *request, now time.Time) bool {
	cached := s.cachedTokens(r) / s.d.granule()
	need := s.blocks(r.target+1) - cached
	reserve := min(len(s.running), s.kv.total/100)
	// Cached blocks that nobody uses are counted as available, but this request
	// is about to use them.
	s.kv.acquire(r.hashes, cached)
	if need+reserve > s.kv.available() || !s.kv.take(need) {
		s.kv.release(0, r.hashes[:cached])
		return false
	}
	r.shared, r.private = slices.Clone(r.hashes[:cached]), need
	r.computed = cached * s.d.granule()
	if r.started.IsZero() {
		r.started, r.cached = now, r.computed
		s.totals.queue.observe(now.Sub(r.arrived).Seconds())
	}
	s.waiting = s.waiting[1:]
	s.running = append(s.running, r)
	return true
}

// finish applies the planned step, which ends at that instant.
func (s *scheduler) finish(at time.Time) {
	p := &s.current
	s.totals.steps++
	s.totals.batch.observe(float64(p.tokens))
	for _, c := range p.prefills {
		if c.r.gone {
			continue
		}
		c.r.computed += c.tokens
		s.totals.prefillComputed += c.tokens
		s.publish(c.r)
		if c.r.computed >= c.r.target {
			s.generate(c.r, 1, at)
		}
	}
	for _, r := range p.decodes {
		if !r.gone {
			s.generate(r, s.accepted(r), at)
		}
	}
	*p = plan{prefills: p.prefills[:0], decodes: p.decodes[:0]}
}

// publish offers the prompt blocks that are complete to later requests.
func (s *scheduler) publish(r *request) {
	if !s.d.prefixCache {
		return
	}
	for len(r.shared) < len(r.hashes) && (len(r.shared)+1)*s.d.granule() <= r.computed {
		h := r.hashes[len(r.shared)]
		if !s.kv.publish(h) {
			return // another request's block stands for this prompt; ours stay private
		}
		r.private--
		r.shared = append(r.shared, h)
	}
}

// accepted is how many tokens a decode step yields: one, and as many drafted
// ones as are right in a row, each with a chance of 0.7.
func (s *scheduler) accepted(r *request) int {
	n := 1
	for range s.d.specTokens {
		if r.rng == nil {
			r.rng = rand.New(rand.NewPCG(r.key, 0x5bec))
		}
		if r.rng.Float64() >= 0.7 {
			break
		}
		n++
	}
	if s.d.specTokens > 0 {
		s.totals.drafts++
		s.totals.drafted += s.d.specTokens
		s.totals.accepted += n - 1
	}
	return n
}

func (s *scheduler) generate(r *request, n int, at time.Time) {
	n = min(n, r.output-r.out)
	if r.firstToken.IsZero() {
		r.firstToken = at
		s.totals.ttft.observe(at.Sub(r.arrived).Seconds())
		s.totals.prefill.observe(at.Sub(r.started).Seconds())
	} else {
		gap := at.Sub(r.lastToken).Seconds() / float64(n)
		for range n {
			s.totals.itl.observe(gap)
		}
	}
	r.out += n
	r.lastToken = at
	s.totals.generated += n
	done := r.out >= r.output
	if done {
		s.complete(r, at)
	}
	r.sink(n, at, done)
}

func (s *scheduler) complete(r *request, at time.Time) {
	s.running = without(s.running, r)
	s.release(r)
	r.gone = true
	t := &s.totals
	t.requests++
	t.prompt += r.input
	t.cached += r.cached
	if r.stop {
		t.stopped++
	} else {
		t.full++
	}
	t.e2e.observe(at.Sub(r.arrived).Seconds())
	t.decode.observe(at.Sub(r.firstToken).Seconds())
	t.in.observe(float64(r.input))
	t.out.observe(float64(r.out))
	if r.out > 1 {
		t.tpot.observe(at.Sub(r.firstToken).Seconds() / float64(r.out-1))
	}
}

// fits says whether a request can ever run.
func (s *scheduler) fits(input, output int) bool {
	return s.blocks(input+output+1+s.d.specTokens) <= s.kv.total && input+output <= math.MaxInt32
}

// idle: nothing runs and nothing waits.
func (s *scheduler) idle() bool { return len(s.running) == 0 && len(s.waiting) == 0 }
