package trtllm_test

import (
	"testing"

	"llmdyno/internal/engine/enginetest"
	"llmdyno/internal/engine/trtllm"
)

func TestConformance(t *testing.T) { enginetest.Run(t, trtllm.New()) }
