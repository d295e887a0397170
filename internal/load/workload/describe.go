package workload

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Describe says in words what the workload is: where its texts come from, what
// its lengths mean, and what its requests share.
func (s Spec) Describe() string {
	in, out := s.lengths()
	unit := "words (about a token each; no tokenizer was given)"
	if s.Exact() {
		unit = "tokens"
	}
	parts := []string{s.source(), s.describeInput(in, unit)}
	switch {
	case s.Kind.Synthetic() && s.Kind != KindMooncake || s.Kind == KindConversation && s.Path == "":
		parts = append(parts, "output tokens asked for: "+out.Describe(s.Compat))
	case s.Kind == KindMooncake:
		parts = append(parts, "output tokens asked for: as the trace says")
	case out.MeanLength(s.Compat) > 0:
		parts = append(parts, "output tokens asked for where a row does not say: "+out.Describe(s.Compat))
	default:
		parts = append(parts, "output tokens asked for: as the rows say, else as long as a recorded answer, else left to the server")
	}
	if s.Kind == KindConversation {
		parts = append(parts, s.describeTurns())
	}
	if s.wantsNonce() {
		parts = append(parts, "a nonce begins every prompt, so that no prefix cache can help")
	}
	return strings.Join(parts, "; ") + fmt.Sprintf("; seed %d", s.Seed)
}

func (s Spec) source() string {
	switch s.Kind {
	case KindRandom, "":
		return "prompts of unrelated words"
	case KindPrefix:
		share, others := "all of them begin", ""
		if r := s.Prefix.ratio(); r < 1 {
			share, others = fmt.Sprintf("%g %% of them begin", 100*r), ", the others with one of their own"
		}
		return fmt.Sprintf("prompts of unrelated words; %s with one of %d shared prefixes of length %d%s", share, s.Prefix.groups(), s.Prefix.Len, others)
	case KindShareGPT:
		least, input, total := s.shareGPTBounds()
		return fmt.Sprintf("first exchanges of %s, shuffled, with prompts of %d to %d tokens and at most %d with the answer", s.Path, least, input, total)
	case KindMooncake:
		return fmt.Sprintf("prompts of unrelated words, one text for each hash of the trace %s (%d tokens each)", s.Path, cmp.Or(s.BlockTokens, mooncakeBlock))
	case KindConversation:
		if s.Path == "" {
			return "conversations of unrelated words, answers in their history made up"
		}
		return "conversations of " + s.Path + ", with the recorded answers in their history"
	case KindRequests:
		return "the requests of " + s.Path
	}
	return "the rows of " + s.Path
}

func (s Spec) describeInput(in Lengths, unit string) string {
	switch {
	case s.Kind == KindPrefix:
		return "input " + unit + " behind the prefix: " + in.Describe(s.Compat)
	case s.Kind == KindConversation && s.Path == "":
		return "input " + unit + " of each turn, on top of its history: " + in.Describe(s.Compat)
	case s.Kind == KindRandom || s.Kind == "":
		return "input " + unit + ": " + in.Describe(s.Compat)
	}
	return "input tokens: as in the file"
}

func (s Spec) describeTurns() string {
	text := "turns: as in the file"
	if s.Path == "" {
		turns := s.Turns
		if turns.IsZero() {
			turns = Fixed(1)
		}
		text = "turns of a conversation: " + turns.Describe("")
	}
	if s.ThinkMs.IsZero() {
		return text + ", the next one at the end of the one before where the file does not say otherwise"
	}
	return text + ", ms between the end of one and the next: " + s.ThinkMs.Describe("")
}

// Describe says in words when requests arrive.
func (a Arrivals) Describe() string {
	gaps := map[ArrivalKind]string{ArrivalConstant: "equal", ArrivalGamma: fmt.Sprintf("gamma (shape %g)", a.shape())}
	law := func(k ArrivalKind) string { return cmp.Or(gaps[k], "exponential") + " gaps" }
	switch a.Kind {
	case ArrivalClosed:
		return "closed loop: the next request leaves when one ends"
	case ArrivalRamp:
		return fmt.Sprintf("ramp from %g to %g requests/s over %v, then at that rate, %s", a.FromRPS, a.RateRPS, a.Over, law(a.Gaps))
	case ArrivalSteps:
		var steps []string
		for _, s := range a.Steps {
			steps = append(steps, fmt.Sprintf("%g requests/s for %v", s.RateRPS, s.For))
		}
		return "steps of " + strings.Join(steps, ", ") + " (the last one stays), " + law(a.Gaps)
	case ArrivalTrace:
		scale := cmp.Or(a.TimeScale, 1)
		text := fmt.Sprintf("the %d instants of a trace", len(a.Offsets))
		if n := len(a.Offsets); n > 1 {
			text += fmt.Sprintf(" of %v", (a.Offsets[n-1] - a.Offsets[0]).Round(time.Millisecond))
		}
		if scale != 1 {
			text += fmt.Sprintf(", its times multiplied by %g", scale)
		}
		return text
	}
	if a.RateRPS == 0 {
		return "all at once"
	}
	return fmt.Sprintf("%g requests/s on average, %s", a.RateRPS, law(a.Kind))
}
