package config

import (
	"fmt"
	"slices"
	"strings"

	"llmdyno/internal/engine"
)

// prefillChunk are the keys of the cookbook that bound the tokens of one
// prefill step, the one that counts first: the schema gives every engine its
// own word. Source: upstream schema, D5 (llm-serving-auto-benchmark @afb306eb,
// 2026-07-14).
var prefillChunk = []string{"chunked_prefill_size", "max_num_batched_tokens", "max_num_tokens"}

// kvType is the key of the type of the KV cache, in all engines that have one.
const kvType = "kv_cache_dtype"

// fairness says where the engines of a file are not given the same chances.
func (c *checker) fairness() {
	var sections []section
	for _, e := range c.f.Enabled(c.set) {
		if s, _ := c.f.Section(e); c.ok("frameworks."+s.Name) && fromUpstream(e) {
			sections = append(sections, section{c, e, s, "frameworks." + s.Name})
		}
	}
	if len(sections) < 2 {
		return
	}
	c.expertParallel(sections)
	c.unlike(sections, "type of the KV cache", func(s section) string {
		v, set := s.s.BaseFlags.Get(kvType)
		if !set {
			return "auto"
		}
		return v.plainText()
	})
	c.unlike(sections, "tokens of a prefill step", func(s section) string { return s.tried(prefillChunk) })
	c.unlike(sections, "share of GPU memory", func(s section) string { return s.tried(s.e.Launch.MemoryFraction) })
}

// expertParallel names an expert-parallel size that only some engines search
// (D3).
func (c *checker) expertParallel(sections []section) {
	var with, without []string
	at := ""
	for _, s := range sections {
		key := s.e.Launch.EP
		a, _ := s.s.SearchSpace.Axis(key)
		if key != "" && len(a.Values) > 1 {
			with = append(with, string(s.e.ID))
			at = or(at, s.path+".search_space."+key)
		} else {
			without = append(without, string(s.e.ID))
		}
	}
	if len(with) > 0 && len(without) > 0 {
		c.warnf(at, "the expert-parallel size is searched for %s and not for %s: the comparison favours the first", strings.Join(with, ", "), strings.Join(without, ", "))
	}
}

// unlike warns when the engines do not get the same of something (D4, D5).
func (c *checker) unlike(sections []section, what string, of func(section) string) {
	var parts []string
	var different bool
	first := ""
	for _, s := range sections {
		text := of(s)
		if text == "" {
			continue
		}
		first = or(first, text)
		different = different || text != first
		parts = append(parts, fmt.Sprintf("%s %s", s.e.ID, text))
	}
	if different {
		c.warnf("frameworks", "the engines are not given the same %s: %s", what, strings.Join(parts, "; "))
	}
}

// tried lists the values of the first of the keys that the section sets.
func (s section) tried(keys []string) string {
	for _, key := range keys {
		var out []string
		for _, v := range s.values(key) {
			if text := v.value.plainText(); v.value.Kind != engine.ValueNull && !slices.Contains(out, text) {
				out = append(out, text)
			}
		}
		if len(out) > 0 {
			return strings.Join(out, "/")
		}
	}
	return ""
}
