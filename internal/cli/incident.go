package cli

import "github.com/spf13/cobra"

func newIncidentCommand(a *app) *cobra.Command {
	return group("incident", "From a sick server to a named cause and a replay",
		`Works on what a server has left or still tells: bundles of its endpoints, request and
crash dumps. Nothing of a dump is ever run.`,
		`  llmdyno incident dump crash_dumps/
  llmdyno incident dump crash_dump_2026-05-02_10-41-00.pkl --to requests.jsonl`,
		newDumpCommand(a),
	)
}
