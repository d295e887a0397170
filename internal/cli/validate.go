package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"llmdyno/internal/bench/config"
)

// validation is what `bench validate --format json` prints.
type validation struct {
	SchemaVersion int             `json:"schema_version"`
	Files         []validatedFile `json:"files"`
}

type validatedFile struct {
	config.FileReport
	Candidates []config.Candidate `json:"candidates,omitempty"` // with --print-commands
}

func newValidateCommand(a *app) *cobra.Command {
	var opts config.Options
	var commands, warnings bool
	var format string
	c := &cobra.Command{
		Use:   "validate FILE|DIR|cookbook:NAME…",
		Short: "Say all that is wrong with benchmark files",
		Long: `Judge benchmark files and all files below folders: form, keys, flags of each engine,
sequence limits, parallel sizes, SLA. All errors are listed at once, each with line,
column and key. Nothing is started.

Exit code 0: every file is valid; 1: at least one is not.`,
		Example: `  llmdyno bench validate mine.yaml
  llmdyno bench validate cookbook/ --format json
  llmdyno bench validate mine.yaml --help-dir runs/20261102-101500-mine/help --print-commands`,
		Args: atLeastOneArg("a file, a folder or cookbook:NAME"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := oneOf("format", format, "text", "json"); err != nil {
				return err
			}
			v := a.validate(args, opts, commands)
			if format == "json" {
				if err := a.printJSON(v); err != nil {
					return err
				}
			} else {
				a.showValidation(v, warnings || len(v.Files) == 1)
			}
			return v.verdict()
		},
	}
	c.Flags().StringVar(&opts.HelpDir, "help-dir", "", "folder with captured --help texts; flags that they define are known, others are not")
	c.Flags().BoolVar(&commands, "print-commands", false, "also print the command of every candidate")
	c.Flags().BoolVar(&warnings, "warnings", false, "print warnings in full also when there are several files")
	c.Flags().StringVar(&format, "format", "text", "text or json")
	return c
}

func (a *app) validate(paths []string, opts config.Options, commands bool) validation {
	v := validation{SchemaVersion: 1, Files: []validatedFile{}}
	for _, r := range config.ValidatePaths(paths, a.engines, opts).Files {
		file := validatedFile{FileReport: r}
		if commands && r.Valid {
			if f, diags := config.LoadNamed(r.Path); f != nil && !config.HasErrors(diags) {
				file.Candidates = config.Plan(f, a.engines, opts).Candidates
			}
		}
		v.Files = append(v.Files, file)
	}
	return v
}

func (v validation) verdict() error {
	for _, f := range v.Files {
		if !f.Valid {
			return quiet(ExitNo)
		}
	}
	return nil
}

func (a *app) showValidation(v validation, inFull bool) {
	valid, warned := 0, 0
	for _, f := range v.Files {
		warned += len(f.Warnings)
		if f.Valid {
			valid++
			fmt.Fprintf(a.stdout, "%s: valid%s\n", f.Path, counted(len(f.Warnings), ", %d warning"))
		}
		for _, d := range f.Errors {
			a.showDiagnostic(f.Path, "error", d)
		}
		if inFull {
			for _, d := range f.Warnings {
				a.showDiagnostic(f.Path, "warning", d)
			}
		}
		for _, c := range f.Candidates {
			fmt.Fprintf(a.stdout, "# %s\n%s\n", c.ID, c.Command)
		}
	}
	if len(v.Files) > 1 {
		fmt.Fprintf(a.stdout, "%d of %d files are valid%s\n", valid, len(v.Files), counted(warned, ", %d warning"))
		if warned > 0 && !inFull {
			a.logf("--warnings prints the warnings in full")
		}
	}
}

// counted formats a number with its noun in the plural; nothing for 0.
func counted(n int, format string) string {
	switch n {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf(format, n)
	}
	return fmt.Sprintf(format+"s", n)
}

func (a *app) showDiagnostic(path, severity string, d config.Diagnostic) {
	if d.Line == 0 {
		fmt.Fprintf(a.stdout, "%s: %s: %s\n", path, severity, d.Message)
		return
	}
	fmt.Fprintf(a.stdout, "%s:%d:%d: %s: %s\n", path, d.Line, d.Column, severity, d.Message)
}
