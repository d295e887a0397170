package config

import (
	"fmt"

	"llmdyno/internal/load/workload"
)

// checkSpec reads the file of a workload as a run would, so that a bad row is
// found before any server is started.
func checkSpec(s workload.Spec) error {
	if s.Kind == workload.KindMooncake {
		s.NumPrompts = 1 // every row is read; texts are made for what is sent
	} else {
		s.NumPrompts = 0
	}
	if _, err := s.Requests(); err != nil {
		return fmt.Errorf("reading the dataset: %w", err)
	}
	return nil
}
