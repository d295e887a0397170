package sglang_test

import (
	"testing"

	"llmdyno/internal/engine/enginetest"
	"llmdyno/internal/engine/sglang"
)

func TestConformance(t *testing.T) { enginetest.Run(t, sglang.New()) }
