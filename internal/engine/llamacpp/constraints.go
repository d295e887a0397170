package llamacpp

import (
	"fmt"
	"strconv"
	"strings"

	"llmdyno/internal/engine"
)

// Defaults of 0.7.0 that the rules below count with.
const (
	autoSlots    = 4
	defaultBatch = 2048
	slotRounding = 256 // the context of a slot is rounded up to this
)

func constraints() []engine.Constraint {
	return []engine.Constraint{
		{ID: "slot-context", Title: "each slot holds a whole request", Fatal: true, Check: slotContext, Source: fromRun},
		{ID: "batch-below-slots", Title: "a batch has room for one token of every slot", Fatal: true, Check: batchBelowSlots, Source: fromRun},
		{ID: "quantised-v-needs-flash-attention", Title: "a quantised V cache needs flash attention", Fatal: true, Check: quantisedV, Source: fromRun},
		{ID: "no-slots", Title: "the number of slots is not zero", Fatal: true, Check: zeroSlots, Source: fromRun},
		{ID: "ubatch-above-batch", Title: "the physical batch fits the logical one", Check: ubatchAboveBatch, Source: fromRun},
		{ID: "threads-above-cpus", Title: "no more compute threads than CPUs", Check: threadsAboveCPUs, Source: fromRun},
		{ID: "draft-without-model", Title: "a draft model is named for speculation by draft", Check: draftWithoutModel, Source: fromRun},
	}
}

// number reads a setting as a whole number; ok is false when it is absent or
// no number.
func number(s engine.Settings, key string) (n int, ok bool) {
	v, set := s.Get(key)
	if !set {
		return 0, false
	}
	n, err := strconv.Atoi(v.Text)
	return n, err == nil
}

func word(s engine.Settings, key string) string {
	v, _ := s.Get(key)
	return v.Text
}

// slots is the number of slots that a start would have.
func slots(s engine.Settings) int {
	if n, ok := number(s, "parallel"); ok && n >= 0 {
		return n
	}
	return autoSlots
}

// unified says whether all slots share one KV buffer.
func unified(s engine.Settings) bool {
	if v, set := s.Get("kv_unified"); set {
		return v.Text == "true"
	}
	n, set := number(s, "parallel")
	return !set || n < 0
}

func slotContext(in engine.Setup) (string, string) {
	total, set := number(in.Settings, "ctx_size")
	if !set || total <= 0 || in.SeqTokens <= 0 {
		return "", ""
	}
	n := slots(in.Settings)
	if n == 0 || unified(in.Settings) {
		n = 1
	}
	// The server rounds the whole down to a multiple of the slots' 256.
	slot := max(total/n, slotRounding)
	if total%(n*slotRounding) != 0 && total/n >= slotRounding {
		slot = (total/n + slotRounding - 1) / slotRounding * slotRounding
	}
	if slot >= in.SeqTokens {
		return "", ""
	}
	return "ctx_size", fmt.Sprintf("ctx_size %d over parallel %d leaves %d tokens a slot, but the longest request needs %d: raise ctx_size to %d or lower parallel",
		total, n, slot, in.SeqTokens, n*in.SeqTokens)
}

func batchBelowSlots(in engine.Setup) (string, string) {
	batch, set := number(in.Settings, "batch_size")
	if n := slots(in.Settings); set && batch < n {
		return "batch_size", fmt.Sprintf("batch_size %d is below the %d slots: the server aborts at start; set at least %d", batch, n, n)
	}
	return "", ""
}

func zeroSlots(in engine.Setup) (string, string) {
	if n, set := number(in.Settings, "parallel"); set && n == 0 {
		return "parallel", "parallel 0 is refused at start: set 1 or more, or -1 for the server's own choice"
	}
	return "", ""
}

func quantisedV(in engine.Setup) (string, string) {
	kind := word(in.Settings, "cache_type_v")
	// A bare YAML off is a boolean.
	off := word(in.Settings, "flash_attn") == "off" || word(in.Settings, "flash_attn") == "false"
	if off && (strings.HasPrefix(kind, "q") || strings.HasPrefix(kind, "iq")) {
		return "cache_type_v", fmt.Sprintf("cache_type_v %s needs flash attention, and flash_attn is off: set it to on or auto", kind)
	}
	return "", ""
}

func ubatchAboveBatch(in engine.Setup) (string, string) {
	ubatch, set := number(in.Settings, "ubatch_size")
	batch, given := number(in.Settings, "batch_size")
	if !given {
		batch = defaultBatch
	}
	if set && ubatch > batch {
		return "ubatch_size", fmt.Sprintf("ubatch_size %d is cut to batch_size %d: it changes nothing above that", ubatch, batch)
	}
	return "", ""
}

func threadsAboveCPUs(in engine.Setup) (string, string) {
	for _, key := range []string{"threads", "threads_batch"} {
		if n, set := number(in.Settings, key); set && in.CPUs > 0 && n > in.CPUs {
			return key, fmt.Sprintf("%s %d is above the %d CPUs: the threads spin against each other; set fewer than the CPUs", key, n, in.CPUs)
		}
	}
	return "", ""
}

func draftWithoutModel(in engine.Setup) (string, string) {
	kind := word(in.Settings, "spec_type")
	if strings.Contains(kind, "draft-") && !strings.Contains(kind, "draft-mtp") && word(in.Settings, "spec_draft_model") == "" {
		return "spec_type", fmt.Sprintf("spec_type %s without spec_draft_model: the server starts and serves without speculation; name the draft model", kind)
	}
	return "", ""
}
