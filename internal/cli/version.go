package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// version is the release, set by the linker (-X llmdyno/internal/cli.version=…);
// a build from a checkout says "devel" with the commit that Go recorded.
var version = "devel"

type buildInfo struct {
	SchemaVersion int      `json:"schema_version"`
	Version       string   `json:"version"`
	Commit        string   `json:"commit,omitempty"`
	Modified      bool     `json:"modified,omitempty"`
	Go            string   `json:"go"`
	OS            string   `json:"os"`
	Arch          string   `json:"arch"`
	Engines       []string `json:"engines"`
}

func (a *app) build() buildInfo {
	b := buildInfo{SchemaVersion: 1, Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Commit = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
	}
	for _, e := range a.engines {
		b.Engines = append(b.Engines, string(e.ID))
	}
	return b
}

func newVersionCommand(a *app) *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:     "version",
		Short:   "Print the version of llmdyno and the engines that it knows",
		Example: "  llmdyno version\n  llmdyno version --format json",
		Args:    exactArgs(0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			if err := oneOf("format", format, "text", "json"); err != nil {
				return err
			}
			b := a.build()
			if format == "json" {
				return a.printJSON(b)
			}
			fmt.Fprintf(a.stdout, "llmdyno %s %s %s/%s", b.Version, b.Go, b.OS, b.Arch)
			if b.Commit != "" {
				fmt.Fprintf(a.stdout, " commit %.12s", b.Commit)
			}
			fmt.Fprintln(a.stdout)
			return nil
		},
	}
	c.Flags().StringVar(&format, "format", "text", "text or json")
	return c
}

func newManCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "man DIR",
		Short:   "Write the manual pages, one a command, into a folder",
		Example: "  llmdyno man ~/.local/share/man/man1",
		Args:    exactArgs(1, "the folder to write to"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return failf(ExitFailed, "choose a folder that you may write to", "writing manual pages: %w", err)
			}
			head := &doc.GenManHeader{Title: "LLMDYNO", Section: "1", Source: "llmdyno " + version, Manual: "llmdyno manual"}
			if err := doc.GenManTree(c.Root(), head, args[0]); err != nil {
				return failf(ExitFailed, "choose a folder that you may write to", "writing manual pages to %s: %w", args[0], err)
			}
			pages, err := filepath.Glob(filepath.Join(args[0], "llmdyno*.1"))
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "%d manual pages in %s\n", len(pages), args[0])
			return nil
		},
	}
}

// printJSON writes a value as indented JSON to stdout.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fail(ExitFailed, "", fmt.Errorf("writing JSON to standard output: %w", err))
	}
	return nil
}
