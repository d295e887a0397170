package llamacpp_test

import (
	"testing"

	"llmdyno/internal/engine/enginetest"
	"llmdyno/internal/engine/llamacpp"
)

func TestConformance(t *testing.T) { enginetest.Run(t, llamacpp.New()) }
