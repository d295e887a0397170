package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"llmdyno/internal/compress"
	"llmdyno/internal/profile"
	"llmdyno/internal/profile/trace"
)

// sliceRequest is what `llmdyno profile slice` is asked for.
type sliceRequest struct {
	out, stage  string
	from, to    time.Duration
	steps       int
	ranks, pids []string
	streams     []int64
}

func newProfileSliceCommand(a *app) *cobra.Command {
	var r sliceRequest
	c := &cobra.Command{
		Use:   "slice TRACE --out FILE",
		Short: "Cut a smaller, valid trace out of a large one",
		Long: `Copies a part of a trace, event by event as it stands: a stretch of time, a stage, a
rank of a merged file, a GPU process, a stream. What led to the GPU work that is kept
(launches, operators, Python frames) stays with it, wherever in time it lies, so that the
part can be read like the whole. Times count from the trace's first event.

- reads standard input or writes standard output; the name of FILE tells whether it is
compressed (.json, .json.gz, .json.zst).

Exit codes: 0 done, 1 nothing of the trace fits, 2 wrong usage, 3 the trace could not be
read or written, 130 interrupted.`,
		Example: `  llmdyno profile slice big.json.gz --stage decode --steps 2 --out two-steps.json.gz
  llmdyno profile slice big.json.gz --from 1.2s --to 1.25s --stream 7 --out part.json
  llmdyno profile slice merged.json.gz --rank TP01 --out rank1.json.gz`,
		Args: exactArgs(1, "one trace"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.sliceTrace(c.Context(), args[0], &r, c.Flags().Changed("to"))
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVarP(&r.out, "out", "o", "", "file to write, or -")
	f.DurationVar(&r.from, "from", 0, "begin of the stretch, from the first event: 250ms, 1.5s")
	f.DurationVar(&r.to, "to", 0, "end of the stretch")
	f.StringVar(&r.stage, "stage", "", "only work of this stage: prefill, decode, mixed or all, by when it was launched")
	f.IntVar(&r.steps, "steps", 0, "of the stage (or of all), the first so many marked steps")
	f.StringSliceVar(&r.ranks, "rank", nil, "ranks of a merged file, by the label that `profile info` shows")
	f.StringSliceVar(&r.pids, "device", nil, "GPU processes, by id")
	f.Int64SliceVar(&r.streams, "stream", nil, "GPU streams, by number")
	return c
}

func (r *sliceRequest) check(path string, toGiven bool) error {
	const see = "see: llmdyno profile slice --help"
	switch {
	case r.out == "":
		return failf(ExitUsage, see, "llmdyno profile slice: --out is needed: the file to write, or -")
	case r.from < 0 || toGiven && r.to <= r.from:
		return failf(ExitUsage, "give a stretch such as --from 1s --to 1.5s", "--from %v --to %v is no stretch of time", r.from, r.to)
	case r.steps < 0:
		return failf(ExitUsage, see, "--steps %d is negative", r.steps)
	}
	if path != "-" {
		return sameFile(path, r.out)
	}
	return nil
}

func (a *app) sliceTrace(ctx context.Context, path string, r *sliceRequest, toGiven bool) error {
	if err := r.check(path, toGiven); err != nil {
		return err
	}
	stage, err := stageFlag(r.stage)
	if err != nil {
		return err
	}
	in, done, err := a.openTwice(path)
	if err != nil {
		return err
	}
	defer done()
	cut := trace.Cut{Scopes: r.ranks, PIDs: r.pids, Streams: r.streams, Source: path}
	if r.from > 0 || toGiven || stage != "" || r.steps > 0 {
		o := profile.WindowOptions{Stage: stage, Steps: r.steps, From: int64(r.from), To: math.MaxInt64}
		if toGiven {
			o.To = int64(r.to)
		}
		if cut.Windows, err = a.windows(ctx, in, path, o); err != nil {
			return err
		}
		cut.ByLaunch = stage != "" || r.steps > 0
	}
	var stats trace.SliceStats
	err = a.writeLarge(r.out, false, func(w io.Writer) (err error) {
		stats, err = trace.Slice(ctx, in, w, cut)
		if err == nil && stats.Kept == 0 {
			return failf(ExitNo, "see what is there with: llmdyno profile info "+path, "slicing %s: no event of the trace fits", path)
		}
		return err
	})
	if err != nil {
		return profileError(ctx, err)
	}
	if stats.Break != nil {
		a.logf("warning: %s is not whole: %s at byte %d; the slice is of what precedes it", path, stats.Break.Reason, stats.Break.Offset)
	}
	a.logf("%s: %d of %d events, %d of %d pieces of GPU work", r.out, stats.Kept, stats.Events, stats.GPUKept, stats.GPUEvents)
	return nil
}

// windows finds the part of a trace that is meant, and goes back to its beginning.
func (a *app) windows(ctx context.Context, in io.ReadSeeker, path string, o profile.WindowOptions) ([]trace.Window, error) {
	t, err := trace.Read(ctx, in, path, trace.Options{Args: trace.ArgsNone})
	if err != nil {
		return nil, profileError(ctx, err)
	}
	found, err := profile.Windows(t, a.engines, o)
	if err != nil {
		return nil, fail(ExitNo, "see what is there with: llmdyno profile info "+path, fmt.Errorf("slicing %s: %w", path, err))
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return nil, fail(ExitFailed, "", fmt.Errorf("reading %s a second time: %w", path, err))
	}
	return found, nil
}

// openTwice opens a trace that is read more than once: what cannot be read again is
// set aside as it comes.
func (a *app) openTwice(path string) (in io.ReadSeeker, done func(), err error) {
	r, err := a.openTrace(path)
	if err != nil {
		return nil, nil, err
	}
	if f, ok := r.(*os.File); ok {
		if _, err := f.Seek(0, io.SeekCurrent); err == nil {
			return f, func() { f.Close() }, nil
		}
	}
	defer r.Close()
	temp, err := os.CreateTemp("", "llmdyno-trace-")
	if err != nil {
		return nil, nil, fail(ExitFailed, "", fmt.Errorf("setting %s aside: %w", path, err))
	}
	done = func() {
		temp.Close()
		os.Remove(temp.Name())
	}
	if _, err = io.Copy(temp, r); err == nil {
		_, err = temp.Seek(0, io.SeekStart)
	}
	if err != nil {
		done()
		return nil, nil, fail(ExitFailed, "", fmt.Errorf("setting %s aside: %w", path, err))
	}
	return temp, done, nil
}

// synthRequest is what `llmdyno profile synth` is asked for.
type synthRequest struct {
	out, size string
	copies    int
	text      bool
}

func newProfileSynthCommand(a *app) *cobra.Command {
	var r synthRequest
	c := &cobra.Command{
		Use:   "synth TRACE --out FILE",
		Short: "Make a large trace of a small one, or one of a text",
		Long: `Repeats the events of a trace, each copy later in time and with numbers of its own for
what links its events, until the text has the size asked for: to see how a reader takes
large files. With --text the input is the text form of a timeline, one event a line, for
traces made by hand:

  device 0 "Some GPU 80GB"
  mark 0 50 "prefill"
  op 1 9 aten::mm ext=1
  launch 2 3 cudaLaunchKernel corr=7 ext=1
  kernel 20 400 gemm_kernel corr=7 ext=1 stream=7

Times are microseconds; docs/profile-trace.md has all words. - reads standard input or
writes standard output; the name of FILE tells whether it is compressed.

Exit codes: 0 done, 2 wrong usage, 3 the trace could not be read or written,
130 interrupted.`,
		Example: `  llmdyno profile synth trace.json.gz --size 600MB --out big.json.gz
  llmdyno profile synth trace.json.gz --copies 10 --out -
  llmdyno profile synth --text timeline.txt --out trace.json`,
		Args: exactArgs(1, "one trace, or a text with --text"),
		RunE: func(c *cobra.Command, args []string) error { return a.synthTrace(c.Context(), args[0], &r) },
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVarP(&r.out, "out", "o", "", "file to write, or -")
	f.StringVar(&r.size, "size", "", "size of the text to reach: 600MB, 2GB, 50MiB")
	f.IntVar(&r.copies, "copies", 0, "how often the events stand in it")
	f.BoolVar(&r.text, "text", false, "the input is a timeline in text form")
	return c
}

// maxTimeline bounds a timeline in text form.
const maxTimeline = 64 << 20

func (a *app) synthTrace(ctx context.Context, path string, r *synthRequest) error {
	const see = "see: llmdyno profile synth --help"
	size, err := sizeFlag(r.size)
	switch {
	case err != nil:
		return err
	case r.out == "":
		return failf(ExitUsage, see, "llmdyno profile synth: --out is needed: the file to write, or -")
	case r.size != "" && r.copies > 0:
		return failf(ExitUsage, see, "llmdyno profile synth: --size and --copies exclude one another")
	case r.copies < 0 || r.size == "" && r.copies == 0 && !r.text:
		return failf(ExitUsage, see, "llmdyno profile synth: expected --size, or --copies of 1 or more")
	}
	if path != "-" {
		if err := sameFile(path, r.out); err != nil {
			return err
		}
	}
	f, err := a.openTrace(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var in io.Reader = f
	if r.text {
		if in, err = timeline(f, path); err != nil {
			return err
		}
	}
	if in, err = a.redacted(in, path); err != nil {
		return err
	}
	o := trace.SynthOptions{Copies: r.copies, Bytes: size, Source: path}
	if r.text && r.size == "" {
		o.Copies = max(r.copies, 1)
	}
	var stats trace.SynthStats
	err = a.writeLarge(r.out, true, func(w io.Writer) (err error) {
		stats, err = trace.Synth(ctx, in, w, o)
		return err
	})
	if err != nil {
		return profileError(ctx, err)
	}
	a.logf("%s: %d events, %d bytes of text, %d %s", r.out, stats.Events, stats.Bytes, stats.Copies, map[bool]string{true: "copy", false: "copies"}[stats.Copies == 1])
	return nil
}

// maxPattern bounds a trace that is repeated, in bytes of text: it is held in memory.
const maxPattern = 1 << 30

// redacted is a trace whose texts have passed the redaction: once, before they are
// repeated.
func (a *app) redacted(in io.Reader, path string) (io.Reader, error) {
	z, err := compress.NewReader(in)
	if err != nil {
		return nil, fail(ExitFailed, "", fmt.Errorf("reading %s: %w", path, err))
	}
	defer z.Close()
	var text bytes.Buffer
	w := a.redactor.Writer(&text)
	n, err := io.Copy(w, io.LimitReader(z, maxPattern+1))
	switch {
	case n > maxPattern:
		return nil, failf(ExitFailed, "cut it smaller first: llmdyno profile slice", "%s has more than %d MiB of text to repeat", path, maxPattern>>20)
	case err != nil && n == 0:
		return nil, fail(ExitFailed, "", fmt.Errorf("reading %s: %w", path, err))
	case err != nil:
		a.logf("warning: %s is not whole (%v): what precedes the break is repeated", path, err)
	}
	if err := w.Close(); err != nil {
		return nil, fail(ExitFailed, "", err)
	}
	return &text, nil
}

// timeline turns the text form into the profiler's JSON.
func timeline(f io.Reader, path string) (io.Reader, error) {
	text, err := io.ReadAll(io.LimitReader(f, maxTimeline+1))
	if err == nil && len(text) > maxTimeline {
		err = fmt.Errorf("it has more than %d MiB", maxTimeline>>20)
	}
	if err != nil {
		return nil, fail(ExitFailed, "", fmt.Errorf("reading %s: %w", path, err))
	}
	doc, err := trace.TextJSON(string(text))
	if err != nil {
		return nil, fail(ExitFailed, "docs/profile-trace.md has the words of the text form", fmt.Errorf("%s: %w", path, err))
	}
	return bytes.NewReader(doc), nil
}

// sizeFlag reads a size such as 600MB; 0 for "".
func sizeFlag(value string) (int64, error) {
	if value == "" {
		return 0, nil
	}
	bad := failf(ExitUsage, "give a size such as 600MB or 2GB", "--size %q is no size", value)
	number := strings.TrimRight(value, "BKMGTibkmgt")
	units := map[string]float64{"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
	unit, known := units[strings.ToLower(value[len(number):])]
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !known || !(n > 0 && n*unit < 1<<50) {
		return 0, bad
	}
	return int64(n * unit), nil
}
