package cli

import (
	"github.com/spf13/cobra"
)

func newBenchCommand(a *app) *cobra.Command {
	return group("bench",
		"Find the best deployment command per engine and scenario",
		`From one YAML: validate it, make bounded candidates per engine, launch each, load
it, measure it, compare fairly under an SLA, and name the best deployment command
per engine and scenario. Failed candidates keep their reason.

docs/config.md explains every key of the YAML; the cookbook holds one file per model.`,
		`  llmdyno bench run cookbook:qwen3-coder-next --simulate --smoke
  llmdyno bench init meta-llama/Llama-3.1-8B-Instruct --gpus 1 > mine.yaml
  llmdyno bench validate mine.yaml
  llmdyno bench plan mine.yaml`,
		newRunCommand(a), newValidateCommand(a), newPlanCommand(a), newInitCommand(a), newCookbookCommand(a), newSchemaCommand(a), newCompareCommand(a), newABCommand(a), newImportCommand(a), newExplainDiffCommand(a), newExportCommand(a))
}
