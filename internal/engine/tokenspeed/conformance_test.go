package tokenspeed_test

import (
	"testing"

	"llmdyno/internal/engine/enginetest"
	"llmdyno/internal/engine/tokenspeed"
)

func TestConformance(t *testing.T) {
	enginetest.Run(t, tokenspeed.New(),
		enginetest.Absent("enable_mla_l1_5_cache", "removed by lightseekorg/tokenspeed 6a08766a, 2026-08-12, within version 0.1.0"))
}
