package result

import (
	"cmp"
	"fmt"
	"strings"
)

// RateSearch is how the search for the highest rate ended, under one cap.
type RateSearch struct {
	MaxConcurrency *int `json:"max_concurrency,omitempty"` // nil = none
	// FeasibleMax is the highest rate that meets every limit, InfeasibleMin the
	// lowest above it that does not, requests/s; nil = none was found.
	FeasibleMax   *float64 `json:"feasible_max,omitempty"`
	InfeasibleMin *float64 `json:"infeasible_min,omitempty"`
	// Confirmed: FeasibleMax was measured again in full, with fresh seeds.
	Confirmed bool `json:"confirmed"`
	// The shares of requests that kept each limit at the two rates.
	FeasibleAttainment   []Attainment `json:"feasible_attainment,omitempty"`
	InfeasibleAttainment []Attainment `json:"infeasible_attainment,omitempty"`
	// BindingConstraint is the limit that ends the range, FailsBecause what was
	// seen at InfeasibleMin, and ServerReason what the server said of itself there.
	BindingConstraint string `json:"binding_constraint,omitempty"`
	FailsBecause      string `json:"fails_because,omitempty"`
	ServerReason      string `json:"server_reason,omitempty"`
	StopReason        string `json:"stop_reason"` // why nothing more was measured
	// Hysteresis is FeasibleMax measured again right after an overload; nil = it
	// was not.
	Hysteresis *Hysteresis `json:"hysteresis,omitempty"`
}

// Hysteresis says what an overload left of a rate that had been confirmed.
type Hysteresis struct {
	OverloadRPS float64 `json:"overload_rps"` // offered in the overload, requests/s
	Holds       bool    `json:"holds"`        // every limit is still met
	// Slower: a limit is missed by no less than at InfeasibleMin. A smaller miss is
	// not told from noise.
	Slower     bool         `json:"slower"`
	Attainment []Attainment `json:"attainment,omitempty"` // after the overload
	Because    string       `json:"because,omitempty"`    // a limit is missed
}

// Words is the check in one line.
func (h Hysteresis) Words() string {
	rate, why := Number(h.OverloadRPS), cmp.Or(h.Because, "a limit is missed")
	switch {
	case h.Holds:
		return fmt.Sprintf("after an overload of %s req/s it still does", rate)
	case h.Slower:
		return fmt.Sprintf("after an overload of %s req/s it does no more (%s): the server does not recover, or its cache is spoilt", rate, why)
	}
	return fmt.Sprintf("after an overload of %s req/s it misses them by less than a step of the search (%s)", rate, why)
}

// Attainment is the share of requests that kept a limit.
type Attainment struct {
	Limit  string  `json:"limit"`
	Wanted float64 `json:"wanted"` // share, 0 to 1
	Share  float64 `json:"share"`
	// Low and High bound the true share with 95 %, at any time of looking.
	Low  float64 `json:"low"`
	High float64 `json:"high"`
	N    int     `json:"n"` // requests
}

// Words is the search in one line.
func (s RateSearch) Words() string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if s.MaxConcurrency != nil {
		add("concurrency %d", *s.MaxConcurrency)
	}
	switch {
	case s.FeasibleMax == nil:
		add("no rate was found that meets the limits")
	case s.Confirmed:
		add("up to %s req/s meet the limits, confirmed", Number(*s.FeasibleMax))
	default:
		add("up to %s req/s meet the limits, not confirmed", Number(*s.FeasibleMax))
	}
	if s.Hysteresis != nil {
		add("%s", s.Hysteresis.Words())
	}
	if s.InfeasibleMin != nil {
		add("%s req/s fail: %s", Number(*s.InfeasibleMin), cmp.Or(s.FailsBecause, "a limit is missed"))
	}
	if s.ServerReason != "" {
		add("the server there: %s", s.ServerReason)
	}
	if s.BindingConstraint != "" {
		add("binding: %s", s.BindingConstraint)
	}
	add("%s", s.StopReason)
	return strings.Join(out, "; ")
}
