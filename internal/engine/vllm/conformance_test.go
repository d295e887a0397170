package vllm_test

import (
	"testing"

	"llmdyno/internal/engine/enginetest"
	"llmdyno/internal/engine/vllm"
)

func TestConformance(t *testing.T) { enginetest.Run(t, vllm.New()) }
