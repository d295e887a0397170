package config

import (
	"fmt"
	"os"

	"llmdyno/internal/load/workload"
)

// checkDataset reads a custom dataset as a run would, so that a bad row is found
// before any server is started.
func checkDataset(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("reading the dataset: %w", err)
	}
	defer file.Close()
	_, err = workload.ReadCustom(file, path, 1)
	return err
}
