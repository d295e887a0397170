// Package all lists the engines that llmdyno is built with, one line each.
// Only cli imports it.
package all

import (
	"llmdyno/internal/engine"
	"llmdyno/internal/engine/llamacpp"
	"llmdyno/internal/engine/sglang"
	"llmdyno/internal/engine/tokenspeed"
	"llmdyno/internal/engine/trtllm"
	"llmdyno/internal/engine/vllm"
)

// Engines are the known engines in the order in which tables list them.
func Engines() engine.Set {
	return engine.Set{
		sglang.New(),
		vllm.New(),
		trtllm.New(),
		tokenspeed.New(),
		llamacpp.New(),
	}
}
