package cli

import "github.com/spf13/cobra"

func newIncidentCommand(a *app) *cobra.Command {
	return group("incident", "From a sick server to a named cause and a replay",
		`Asks live servers what they say of themselves, and works on what a server has left:
bundles of its endpoints, request and crash dumps. Nothing of a dump is ever run.`,
		`  llmdyno incident collect --url http://127.0.0.1:30000 --out case.tar.zst
  llmdyno incident summarize case.tar.zst
  llmdyno incident dump crash_dumps/
  llmdyno incident dump crash_dump_2026-05-02_10-41-00.pkl --to requests.jsonl`,
		newIncidentCollectCommand(a),
		newIncidentWatchCommand(a),
		newIncidentVerifyCommand(a),
		newIncidentRedactCommand(a),
		newSummarizeCommand(a),
		newIncidentDiffCommand(a),
		newIncidentRulesCommand(a),
		newDumpCommand(a),
		newIncidentReplayCommand(a),
	)
}
