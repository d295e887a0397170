package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"llmdyno/internal/artifact"
	"llmdyno/internal/incident/dump"
	"llmdyno/internal/incident/pickle"
	"llmdyno/internal/report"
)

const (
	dumpSchemaVersion = 1
	defaultPreview    = 160 // characters of a prompt with --show-prompts
	mebi              = 1 << 20
	dumpGCPercent     = 10
)

type dumpRequest struct {
	paths       []string
	format, to  string
	out         string
	records     int
	showPrompts bool
	maxMiB      int64
	timeout     time.Duration
}

// dumpDocument is what `incident dump --format json` prints.
type dumpDocument struct {
	SchemaVersion int          `json:"schema_version"`
	Files         []*dump.File `json:"files"`
	Error         string       `json:"error,omitempty"`
}

func newDumpCommand(a *app) *cobra.Command {
	var r dumpRequest
	c := &cobra.Command{
		Use:   "dump FILE|DIR…",
		Short: "Say what request and crash dumps hold, without running anything of them",
		Long: `Read pickled request and crash dumps: how many requests, of which model and topology,
over which time, how long they took and waited, which were in flight at the end and
which stand out. A folder stands for all *.pkl in and below it; one bad file does not
end the others.

Nothing in a dump is run: names are listed, never looked up. A dump that would run code
in Python is read all the same, and the warning names what it would have called. A cut
file gives the records before the damage.

Prompts are shown as length and hash unless --show-prompts asks for them. With --to
jsonl the requests are written as a request list (docs/dumps.md), which
` + "`llmdyno incident replay`" + ` and ` + "`llmdyno load`" + ` read; it holds the prompts. A request list is read
where a dump is, to check it or to write it anew.

Exit codes: 0 all were read, 1 one of them is damaged or is no dump, 2 wrong usage, 3 a
file or folder could not be opened, or the output not written.`,
		Example: `  llmdyno incident dump /var/crash
  llmdyno incident dump crash_dump.pkl --format json --requests -1
  llmdyno incident dump crash_dump.pkl --to jsonl --out requests.jsonl`,
		Args: atLeastOneArg("at least one dump or folder of dumps"),
		RunE: func(c *cobra.Command, args []string) error {
			r.paths = args
			return a.dumpChecked(c.Context(), r)
		},
	}
	f := c.Flags()
	f.StringVar(&r.format, "format", "text", "text or json, on standard output")
	f.StringVar(&r.to, "to", "", "jsonl: write the requests as a request list instead of the summary")
	f.StringVar(&r.out, "out", "", "with --to: write to this file; absent = standard output")
	f.IntVar(&r.records, "requests", 20, "requests to show one by one; -1 = all")
	f.BoolVar(&r.showPrompts, "show-prompts", false, "show the beginning of each prompt")
	f.Int64Var(&r.maxMiB, "max-size", pickle.DefaultBytes/mebi, "largest dump that is read, in MiB; reading takes up to three times as much memory")
	f.DurationVar(&r.timeout, "timeout", 2*time.Minute, "longest time for one dump")
	return c
}

func (a *app) dumpChecked(ctx context.Context, r dumpRequest) error {
	if err := oneOf("format", r.format, "text", "json"); err != nil {
		return err
	}
	if err := oneOf("to", r.to, "", "jsonl"); err != nil {
		return err
	}
	switch {
	case r.out != "" && r.to == "":
		return failf(ExitUsage, "add --to jsonl", "--out %s: only a request list is written to a file", r.out)
	case r.records < -1:
		return failf(ExitUsage, "give -1 for all", "--requests %d: expected -1 or more", r.records)
	case r.maxMiB < 1 || r.maxMiB > 4095:
		return failf(ExitUsage, "", "--max-size %d: expected 1 to 4095 MiB", r.maxMiB)
	case r.timeout <= 0:
		return failf(ExitUsage, "", "--timeout %v: expected a time above 0", r.timeout)
	}
	// A dump is held in pages that only grow: room for as much garbage again would
	// double the memory for nothing.
	defer debug.SetGCPercent(debug.SetGCPercent(dumpGCPercent))
	names, err := dump.List(r.paths)
	if err != nil {
		return a.failDump(r, nil, err)
	}
	if r.to != "" {
		return a.dumpToList(ctx, r, names)
	}
	return a.dumpSummaries(ctx, r, names)
}

func (r dumpRequest) options(a *app) dump.Options {
	o := dump.Options{
		Engines: a.engines, Records: r.records,
		Limits: pickle.Limits{Bytes: r.maxMiB * mebi, Duration: r.timeout},
	}
	if r.showPrompts {
		o.Preview = defaultPreview
	}
	return o
}

// failDump prints the error as JSON, too, where that was asked for.
func (a *app) failDump(r dumpRequest, files []*dump.File, err error) error {
	code := ExitFailed
	if errors.Is(err, context.Canceled) {
		code = ExitInterrupted
	}
	if r.format == "json" && r.to == "" {
		if files == nil {
			files = []*dump.File{}
		}
		if printErr := a.printDump(dumpDocument{dumpSchemaVersion, files, err.Error()}); printErr != nil {
			return printErr
		}
	}
	return fail(code, "", err)
}

// dumpSummaries reads one dump after the other and holds only what is shown of it.
func (a *app) dumpSummaries(ctx context.Context, r dumpRequest, names []string) error {
	files := make([]*dump.File, 0, len(names))
	bad := 0
	for _, name := range names {
		if ctx.Err() != nil {
			return a.failDump(r, files, ctx.Err())
		}
		f, err := a.readDump(ctx, name, r.options(a))
		if err != nil {
			return a.failDump(r, files, err)
		}
		f.Release()
		if f.Error != "" {
			bad++
		}
		files = append(files, f)
	}
	if err := a.showDumps(r, files); err != nil {
		return err
	}
	if bad > 0 {
		return quiet(ExitNo)
	}
	return nil
}

func (a *app) showDumps(r dumpRequest, files []*dump.File) error {
	if r.format == "json" {
		return a.printDump(dumpDocument{SchemaVersion: dumpSchemaVersion, Files: files})
	}
	var b bytes.Buffer
	if err := report.DumpText(&b, files); err != nil {
		return fail(ExitFailed, "", err)
	}
	return a.printRaw(a.redactor.Bytes(b.Bytes()))
}

// printDump redacts the document before it is laid out over lines, where a key could
// no longer be told from its value.
func (a *app) printDump(d dumpDocument) error {
	var b, laid bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(d); err != nil {
		return fail(ExitFailed, "", err)
	}
	if err := json.Indent(&laid, a.redactor.Bytes(b.Bytes()), "", "  "); err != nil {
		return fail(ExitFailed, "", err)
	}
	return a.printRaw(laid.Bytes())
}

// readDump reads a dump, or a request list as one.
func (a *app) readDump(ctx context.Context, name string, o dump.Options) (*dump.File, error) {
	list, err := isRequestList(name)
	if err != nil {
		return nil, fmt.Errorf("reading a dump: %w", err)
	}
	if !list {
		return dump.ReadFile(ctx, name, o), nil
	}
	in, err := openFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading a request list: %w", err)
	}
	defer in.Close()
	return dump.ReadList(in, name, o), nil
}

// isRequestList tells a request list from a dump by its first byte: no pickle begins
// with a brace.
func isRequestList(name string) (bool, error) {
	in, err := openFile(name)
	if err != nil {
		return false, err
	}
	defer in.Close()
	head := make([]byte, len(listStart))
	n, err := io.ReadFull(in, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	return bytes.Equal(head[:n], []byte(listStart)), nil
}

const listStart = `{"schema":"` + dump.ListSchema + `"`

// dumpToList writes the requests of all dumps as one request list.
func (a *app) dumpToList(ctx context.Context, r dumpRequest, names []string) error {
	d := &dump.Dump{}
	var bad []string
	for _, name := range names {
		if ctx.Err() != nil {
			return fail(ExitInterrupted, "", ctx.Err())
		}
		o := r.options(a)
		o.Records = 0
		f, err := a.readDump(ctx, name, o)
		if err != nil {
			return fail(ExitFailed, "", err)
		}
		d.Files = append(d.Files, f)
		if f.Error != "" {
			bad = append(bad, f.File+": "+f.Error)
		}
		for _, w := range f.Warnings {
			a.logf("warning: %s: %s", f.File, w.Message)
		}
	}
	n, err := a.writeList(r, d, names)
	if err != nil {
		return fail(ExitFailed, "", err)
	}
	for _, b := range bad {
		a.logf("error: %s", b)
	}
	if r.out != "" {
		a.logf("wrote %s: %d requests; next: llmdyno incident replay %s --url URL --dry-run", r.out, n, r.out)
	}
	if len(bad) > 0 {
		return failf(ExitNo, "", "%d of %d dumps are damaged or no dumps; %d requests were written", len(bad), len(names), n)
	}
	return nil
}

func (a *app) writeList(r dumpRequest, d *dump.Dump, names []string) (n int, err error) {
	var b bytes.Buffer
	var to io.Writer = a.stdout
	if r.out != "" {
		to = &b
	}
	l, err := dump.NewListWriter(to, names)
	if err != nil {
		return 0, err
	}
	err = dump.EachRequest(d, func(q dump.Request) error {
		n++
		return l.Write(q)
	})
	if err = errors.Join(err, l.Flush()); err != nil {
		return n, fmt.Errorf("writing the request list: %w", err)
	}
	if r.out == "" {
		return n, nil
	}
	return n, artifact.WriteWhole(r.out, b.Bytes(), a.redactor)
}
