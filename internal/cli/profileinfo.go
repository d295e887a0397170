package cli

import (
	"context"
	"encoding/json"
	"io"

	"github.com/spf13/cobra"

	"llmdyno/internal/profile"
	"llmdyno/internal/profile/trace"
	"llmdyno/internal/report"
)

// infoOutput is what `profile info --format json` prints.
type infoOutput struct {
	*profile.Info
	Error string `json:"error,omitempty"`
}

func newProfileInfoCommand(a *app) *cobra.Command {
	var format, out string
	c := &cobra.Command{
		Use:   "info TRACE",
		Short: "What is in a trace, and what it lacks",
		Long: `Reads one trace and says what is in it: whose it is and what tells so, the GPUs, their
streams, stages and steps, events by category, and what full attribution wants and the
trace lacks, with what to record next time. - is standard input.

Exit codes: 0 done, 2 wrong usage, 3 the trace could not be read, 130 interrupted.`,
		Example: `  llmdyno profile info trace.json.gz
  zstd -dc trace.json.zst | llmdyno profile info - --format json`,
		Args: exactArgs(1, "one trace"),
		RunE: func(c *cobra.Command, args []string) error { return a.profileInfo(c.Context(), args[0], format, out) },
	}
	c.Flags().StringVar(&format, "format", "text", "text or json")
	c.Flags().StringVarP(&out, "out", "o", "", "write to this file")
	return c
}

func (a *app) profileInfo(ctx context.Context, path, format, out string) error {
	if err := oneOf("format", format, "text", "json"); err != nil {
		return err
	}
	f, err := a.openTrace(path) // a folder is wrong usage here
	if err != nil {
		return err
	}
	f.Close()
	i, err := profile.Inspect(ctx, path, a.engines, trace.Options{})
	if err != nil {
		err = profileError(ctx, err)
		if format == "json" {
			if printErr := a.printJSON(infoOutput{&profile.Info{SchemaVersion: profile.SchemaVersion, Path: path}, err.Error()}); printErr != nil {
				return printErr
			}
		}
		return err
	}
	return a.writeOut(out, func(w io.Writer) error {
		if format == "json" {
			enc := json.NewEncoder(w)
			enc.SetIndent("", "  ")
			enc.SetEscapeHTML(false)
			return enc.Encode(infoOutput{Info: i})
		}
		width, colour := 0, false
		if out == "" {
			width, colour = a.outWidth, a.outWidth > 0 && !a.noColor
		}
		return report.ProfileInfo(w, i, width, colour)
	})
}
