package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"llmdyno/internal/artifact"
	"llmdyno/internal/engine"
	"llmdyno/internal/profile/attrib"
	"llmdyno/internal/profile/trace"
)

func newProfileCommand(a *app) *cobra.Command {
	return group("profile", "Where the GPU time of prefill and decode goes, which code launched it, what could overlap or be fused",
		`Reads the traces of a torch profiler, plain, gzip or zstd, in one pass, and names the
kernels of each stage with the Python source that launched them, what of them other
work hides, which known fusions are on or missing, and why the GPU was idle.

docs/profile.md shows the reports; docs/profile-trace.md says what the traces hold.`,
		`  llmdyno profile triage trace.json.gz
  llmdyno profile triage profiles/ --out report.html
  llmdyno profile info trace.json.gz
  llmdyno profile capture --url http://127.0.0.1:30000`,
		newTriageCommand(a), newProfileDiffCommand(a), newProfileBundleCommand(a), newProfileInfoCommand(a), newProfileSliceCommand(a), newProfileSynthCommand(a),
		newProfileCaptureCommand(a), newProfileRecipeCommand(a), newProfileOverrideCommand(a), newProfileCatalogCommand(a))
}

// stageFlag reads the value of --stage.
func stageFlag(value string) (attrib.Stage, error) {
	if value == "extend" { // the engine's own word for prefill
		return attrib.Prefill, nil
	}
	return attrib.Stage(value), oneOf("stage", value, "", "prefill", "decode", "mixed", "all")
}

// frameworkFlag reads the value of --framework; "" is: told by the trace.
func (a *app) frameworkFlag(value string) (engine.ID, error) {
	if value == "auto" || value == "" {
		return "", nil
	}
	e, ok := a.engines.Lookup(value)
	if !ok {
		return "", failf(ExitUsage, fmt.Sprintf("use auto or one of: %s", a.engines.IDs()), "--framework %q is not a known engine", value)
	}
	return e.ID, nil
}

// profileError is the error of reading traces with its exit code and what to do.
func profileError(ctx context.Context, err error) error {
	var known *exitError
	var none *trace.NoTraceError
	var device *attrib.NoDeviceError
	var path *os.PathError
	switch {
	case errors.As(err, &known):
		return err
	case ctx.Err() != nil:
		return failf(ExitInterrupted, "", "interrupted; nothing was written")
	case errors.As(err, &device):
		return fail(ExitUsage, "choose one with --device, or leave it out for the GPU with the most work", err)
	case errors.As(err, &none):
		return fail(ExitFailed, "", err)
	case errors.As(err, &path):
		return fail(ExitFailed, "name a trace file, a folder of traces, or - for standard input", fmt.Errorf("reading a trace: %w", err))
	}
	return fail(ExitFailed, "", err)
}

// writeOut renders to a file, or to standard output where out is "" or "-".
func (a *app) writeOut(out string, render func(io.Writer) error) error {
	if out == "" || out == "-" {
		if err := render(a.stdout); err != nil {
			return fail(ExitFailed, "", fmt.Errorf("standard output: %w", err))
		}
		return nil
	}
	var b bytes.Buffer
	if err := render(&b); err != nil {
		return fail(ExitFailed, "", err)
	}
	if err := artifact.WriteWhole(out, b.Bytes(), a.redactor); err != nil {
		return fail(ExitFailed, "", err)
	}
	a.logf("wrote %s", out)
	return nil
}

// writeLarge writes what is too large to hold, in the form that the name asks for;
// redacted says that its texts have passed the redaction.
func (a *app) writeLarge(out string, redacted bool, write func(io.Writer) error) error {
	if out == "-" {
		if a.outWidth > 0 {
			return failf(ExitUsage, "name a file with --out, or redirect standard output", "a trace is not shown on a terminal")
		}
		return write(a.stdout)
	}
	create := func() (*artifact.File, error) { return artifact.CreateWhole(out, a.redactor) }
	if redacted {
		create = func() (*artifact.File, error) { return artifact.CreateRedacted(out) }
	}
	f, err := create()
	if err != nil {
		return fail(ExitFailed, "", err)
	}
	defer f.Abort()
	if err := write(f); err != nil {
		return err
	}
	if err := f.Commit(); err != nil {
		return fail(ExitFailed, "", err)
	}
	return nil
}

// openTrace opens a trace for the commands that copy it.
func (a *app) openTrace(path string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(a.stdin), nil
	}
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		return nil, failf(ExitUsage, "name one trace", "%s is a folder", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fail(ExitFailed, "name a trace file, or - for standard input", fmt.Errorf("reading a trace: %w", err))
	}
	return f, nil
}

// sameFile refuses to write over the input.
func sameFile(in, out string) error {
	x, errX := os.Stat(in)
	y, errY := os.Stat(out)
	if errX == nil && errY == nil && os.SameFile(x, y) {
		return failf(ExitUsage, "name another file", "--out %s is the input", out)
	}
	return nil
}

// formOfName is the format that an output file's name asks for; "" = none.
func formOfName(out string) string {
	switch strings.ToLower(filepath.Ext(out)) {
	case ".md", ".markdown":
		return "md"
	case ".html", ".htm":
		return "html"
	case ".json":
		return "json"
	case ".csv":
		return "csv"
	}
	return ""
}
