package witness

import (
	"fmt"

	"llmdyno/internal/engine"
)

const (
	// hitTolerance is by how much the measured prefix-hit rate may differ from the
	// intended one: prompts fill their last block by chance.
	hitTolerance = 0.05
	// sharedTokens are tokens that every prompt may begin with whatever the
	// workload holds: a begin mark and the head of a chat template.
	sharedTokens = 32
)

// hitRate is the measured share of prompt tokens found in the prefix cache, and
// who counted.
func (a *account) hitRate(c Totals) (rate float64, by string, ok bool) {
	prompt, told := a.prompt()
	if cached, too := a.rise(engine.QuantityCachedTokens); told && too && prompt > 0 && cached <= prompt {
		return cached / prompt, "server's token counters", true
	}
	queries, told := a.rise(engine.QuantityPrefixQueries)
	if hits, too := a.rise(engine.QuantityPrefixHits); told && too && queries > 0 && hits <= queries {
		return hits / queries, "server's prefix cache counters", true
	}
	if c.InputTokens != nil && c.CachedTokens != nil && *c.InputTokens > 0 && *c.CachedTokens <= *c.InputTokens {
		return float64(*c.CachedTokens) / float64(*c.InputTokens), "cached_tokens of the replies", true
	}
	return 0, "", false
}

// contaminated says why a point whose prompts were found in the cache more often
// than meant is none; "" = it is clean. prompt is the mean prompt, in tokens.
func contaminated(measured, intended, prompt float64, by string) string {
	allowed := intended + hitTolerance
	if prompt > 0 {
		allowed += min(0.25, sharedTokens/prompt)
	}
	if measured <= allowed {
		return ""
	}
	return fmt.Sprintf("the prefix cache held %.0f %% of the prompt tokens (%s), the workload means %.0f %%: prompts of an earlier load were found again; flush the cache, use other seeds, or restart the server", 100*measured, by, 100*intended)
}
