package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"llmdyno/cookbook"
	"llmdyno/internal/bench/config"
)

func newCookbookCommand(a *app) *cobra.Command {
	return group("cookbook",
		"The embedded benchmark files, one per model",
		"List, print and copy the benchmark files that are built into this program. Wherever\na command takes a file, cookbook:NAME stands for one of them.",
		"  llmdyno bench cookbook list\n  llmdyno bench cookbook show qwen3-coder-next\n  llmdyno bench cookbook init qwen3-coder-next mine.yaml",
		newCookbookListCommand(a), newCookbookShowCommand(a), newCookbookInitCommand(a))
}

// entry is one embedded file in `bench cookbook list --format json`.
type entry struct {
	Name  string `json:"name"`
	Model string `json:"model"`
	GPUs  int    `json:"gpus"`
}

func newCookbookListCommand(a *app) *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the embedded benchmark files",
		Example: "  llmdyno bench cookbook list",
		Args:    exactArgs(0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			if err := oneOf("format", format, "text", "json"); err != nil {
				return err
			}
			var list []entry
			for _, name := range cookbook.List() {
				f, diags := config.LoadNamed("cookbook:" + name)
				if f == nil {
					return failf(ExitFailed, "report this", "embedded file %s: %s", name, diags[0].Message)
				}
				list = append(list, entry{name, f.Model.Name, f.Hardware.GPUCount})
			}
			if format == "json" {
				return a.printJSON(struct {
					SchemaVersion int     `json:"schema_version"`
					Cookbook      []entry `json:"cookbook"`
				}{1, list})
			}
			for _, e := range list {
				fmt.Fprintf(a.stdout, "%-42s %d GPUs  %s\n", e.Name, e.GPUs, e.Model)
			}
			return nil
		},
	}
	c.Flags().StringVar(&format, "format", "text", "text or json")
	return c
}

func newCookbookShowCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "show NAME",
		Short:   "Print an embedded benchmark file",
		Example: "  llmdyno bench cookbook show qwen3-coder-next",
		Args:    exactArgs(1, "the name of an embedded file"),
		RunE: func(_ *cobra.Command, args []string) error {
			data, err := embedded(args[0])
			if err != nil {
				return err
			}
			return a.printRaw(data)
		},
	}
}

func newCookbookInitCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "init NAME [FILE]",
		Short:   "Copy an embedded benchmark file, to change it",
		Long:    "Copy an embedded benchmark file to FILE (default: NAME.yaml here). A file that exists is left alone.",
		Example: "  llmdyno bench cookbook init qwen3-coder-next mine.yaml",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 1 || len(args) == 2 {
				return nil
			}
			return exactArgs(1, "a name and at most one file")(c, args)
		},
		RunE: func(_ *cobra.Command, args []string) error {
			data, err := embedded(args[0])
			if err != nil {
				return err
			}
			path := args[0] + ".yaml"
			if len(args) == 2 {
				path = args[1]
			}
			if err := createNew(path, data); err != nil {
				return err
			}
			a.logf("wrote %s; next: llmdyno bench run %s", path, path)
			return nil
		},
	}
}

func embedded(name string) ([]byte, error) {
	data, err := config.ReadNamed("cookbook:" + name)
	if err != nil {
		return nil, fail(ExitUsage, "llmdyno bench cookbook list names them all", err)
	}
	return data, nil
}

// createNew writes a file that must not exist yet, and leaves nothing behind
// when that fails.
func createNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		hint := "choose another folder"
		if errors.Is(err, os.ErrExist) {
			hint = "name another file, or remove this one"
		}
		return fail(ExitFailed, hint, fmt.Errorf("writing the benchmark file: %w", err))
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(path)
		return fail(ExitFailed, "choose another folder", fmt.Errorf("writing the benchmark file: %w", err))
	}
	return nil
}

// printRaw writes a document to stdout as it is.
func (a *app) printRaw(data []byte) error {
	if _, err := a.stdout.Write(data); err != nil {
		return fail(ExitFailed, "", fmt.Errorf("writing to standard output: %w", err))
	}
	return nil
}

func newInitCommand(a *app) *cobra.Command {
	gpus := 1
	var out string
	c := &cobra.Command{
		Use:   "init MODEL",
		Short: "Write a starting benchmark file for a model that is not in the cookbook",
		Long: `Write a commented benchmark file for a model, with every engine that can serve it,
to standard output or to a new file. It is valid as it stands; widen the search where
the report shows a difference.`,
		Example: "  llmdyno bench init meta-llama/Llama-3.1-8B-Instruct --gpus 1 > mine.yaml\n  llmdyno bench init Qwen/Qwen3-32B --gpus 4 -o qwen.yaml",
		Args:    exactArgs(1, "the name of a model"),
		RunE: func(_ *cobra.Command, args []string) error {
			data, err := config.Init(args[0], gpus, a.engines)
			if err != nil {
				return fail(ExitUsage, "example: llmdyno bench init meta-llama/Llama-3.1-8B-Instruct --gpus 1", err)
			}
			if out == "" {
				return a.printRaw(data)
			}
			if err := createNew(out, data); err != nil {
				return err
			}
			a.logf("wrote %s; next: llmdyno bench plan %s", out, out)
			return nil
		},
	}
	c.Flags().IntVar(&gpus, "gpus", gpus, "GPUs of the node")
	c.Flags().StringVarP(&out, "output", "o", "", "new file to write to; absent = standard output")
	return c
}

func newSchemaCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of benchmark files, for editors",
		Example: "  llmdyno bench schema > bench.schema.json",
		Args:    exactArgs(0, "no arguments"),
		RunE:    func(*cobra.Command, []string) error { return a.printRaw(config.JSONSchema()) },
	}
}
