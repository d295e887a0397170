package replay

import (
	"llmdyno/internal/expr"
)

// names are the figures that an assertion may ask for: the members of a Run.
var names = []string{
	"planned", "sent", "succeeded", "failed", "dropped", "failures", "died", "health", "ttft_ms", "e2e_ms", "output_tokens", "duration_s",
	"send_lag_ms", "slot_wait_ms", "own_lag_ms", "gap_error_ms", "peak_concurrency", "recorded", "text", "tokens", "requests", "server", "verdict", "criteria",
}

// Assertions are conditions that a good server meets.
type Assertions []*expr.Condition

// ParseAssertions reads conditions over the members of a Run.
func ParseAssertions(texts []string) (Assertions, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	env, err := expr.New(names...)
	if err != nil {
		return nil, err
	}
	var out Assertions
	for _, t := range texts {
		c, err := env.Compile(t)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// Asserted is what became of one assertion over all replays.
type Asserted struct {
	Expr string `json:"expr"`
	// Holds is absent where it could not be told; Error says why. One replay in
	// which it does not hold is enough for false.
	Holds *bool  `json:"holds,omitempty"`
	Run   int    `json:"run,omitempty"` // 1 + the replay in which it first did not hold
	Error string `json:"error,omitempty"`
}

// Check evaluates the assertions over replays.
func (a Assertions) Check(runs []*Run) []Asserted {
	var out []Asserted
	for _, c := range a {
		x := Asserted{Expr: c.String()}
		for i, r := range runs {
			if x.Holds != nil && !*x.Holds {
				break
			}
			values, err := expr.Values(r)
			holds := false
			if err == nil {
				holds, err = c.Holds(values)
			}
			switch {
			case err != nil:
				x.Error = err.Error()
			case !holds:
				x.Holds, x.Run, x.Error = point(false), i+1, ""
			}
		}
		if x.Holds == nil && x.Error == "" && len(runs) > 0 {
			x.Holds = point(true)
		}
		out = append(out, x)
	}
	return out
}

// Answer is what a bisection is told.
type Answer string

// The answers.
const (
	Good       Answer = "good"
	Bad        Answer = "bad"
	CannotTell Answer = "cannot_tell"
)

// Bisect turns assertions, or the verdict where there are none, into an answer.
func Bisect(asserted []Asserted, verdict Word) Answer {
	if len(asserted) == 0 {
		switch verdict {
		case Reproduced:
			return Bad
		case NotReproduced:
			return Good
		}
		return CannotTell
	}
	answer := Good
	for _, a := range asserted {
		switch {
		case a.Holds == nil:
			answer = CannotTell
		case !*a.Holds:
			return Bad
		}
	}
	return answer
}
