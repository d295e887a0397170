package collect

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"llmdyno/internal/artifact"
	"llmdyno/internal/incident/bundle"
)

// HostOptions say what of this machine goes into the bundle.
type HostOptions struct {
	// System: GPUs, processes, ports, kernel messages, environment.
	System bool
	// Environ is the environment; of it go in the variables that begin with one of
	// EnvPrefixes, redacted.
	Environ, EnvPrefixes []string
	Logs                 []string // files, of which the ends go in
	LogBytes             int64    // of each end; 0 = 4 MiB
	Dumps                []string // folders and files of request and crash dumps, which are listed
	// TakeDump turns one dump into neutral text that can be redacted; nil = dumps
	// are listed alone.
	TakeDump func(path string) ([]byte, error)
	Run      Runner // nil = the real one
}

// Runner runs a command and returns what it printed, at most a bounded part.
type Runner func(ctx context.Context, name string, args ...string) ([]byte, error)

// Bounds on what one command may take and print.
const (
	commandTime = 8 * time.Second
	maxCommand  = 4 << 20
	defaultLog  = 4 << 20
	maxDumps    = 5000
)

// errAbsent says that a program is not installed here.
var errAbsent = errors.New("not installed here")

// Exec is the real Runner: the process and what it started end with the context.
func Exec(ctx context.Context, name string, args ...string) ([]byte, error) {
	at, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, errAbsent)
	}
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, at, args...)
	cmd.WaitDelay = time.Second
	var out, words limited
	cmd.Stdout, cmd.Stderr = &out, &words
	if err := cmd.Run(); err != nil {
		return out.Bytes(), fmt.Errorf("%s: %w: %.200s", name, err, strings.Join(strings.Fields(words.String()), " "))
	}
	return out.Bytes(), nil
}

// limited drops what is beyond the bound.
type limited struct{ bytes.Buffer }

func (l *limited) Write(b []byte) (int, error) {
	if room := maxCommand - l.Len(); room > 0 {
		l.Buffer.Write(b[:min(len(b), room)])
	}
	return len(b), nil
}

// commands of the machine. A keep leaves in the lines that say something here.
var commands = []struct {
	file, name string
	args       []string
	keep       *regexp.Regexp
}{
	{"nvidia-smi.txt", "nvidia-smi", nil, nil},
	{"nvidia-smi-query.txt", "nvidia-smi", []string{"-q"}, nil},
	{"nvidia-topo.txt", "nvidia-smi", []string{"topo", "-m"}, nil},
	{"rocm-smi.txt", "rocm-smi", nil, nil},
	{"processes.txt", "ps", []string{"-eo", "pid,ppid,user,stat,etimes,pcpu,rss,nlwp,wchan:24,args"}, nil},
	{"ports.txt", "ss", []string{"-Hltnp"}, nil},
	{"memory.txt", "free", []string{"-b"}, nil},
	// Kernel messages of GPUs and of the out-of-memory killer (NVIDIA's Xid
	// catalogue; Linux mm/oom_kill.c).
	{"kernel.txt", "dmesg", []string{"-T"}, regexp.MustCompile(`(?i)NVRM|\bXid\b|nvidia|amdgpu|\bkfd\b|mlx5|infiniband|out of memory|oom-kill|killed process|hung_task|blocked for more than|segfault|machine check|\bpcie.*error`)},
}

// gatherHost writes what this machine says. A command that is missing or fails is
// named in the bundle and is no error.
func gatherHost(ctx context.Context, o HostOptions, w *bundle.Writer) error {
	if o.Run == nil {
		o.Run = Exec
	}
	var errs []error
	if o.System {
		errs = append(errs, gatherCommands(ctx, o, w), gatherEnvironment(o, w))
	}
	names := map[string]int{}
	for _, log := range o.Logs {
		f, body := tail(log, cmp.Or(o.LogBytes, defaultLog), names)
		w.Log(f)
		if f.File != "" {
			errs = append(errs, w.Write(f.File, body))
		}
	}
	errs = append(errs, gatherDumps(ctx, o, w))
	return errors.Join(errs...)
}

func gatherCommands(ctx context.Context, o HostOptions, w *bundle.Writer) error {
	errs := make([]error, len(commands))
	var wg sync.WaitGroup
	for i, c := range commands {
		wg.Go(func() {
			out, err := o.Run(ctx, c.name, c.args...)
			f := bundle.File{Name: strings.TrimSuffix(c.file, ".txt"), Source: strings.Join(append([]string{c.name}, c.args...), " "), Bytes: int64(len(out)), Truncated: len(out) >= maxCommand}
			if c.keep != nil {
				out = matching(out, c.keep)
			}
			if err != nil {
				f.Error = err.Error()
			}
			if len(out) > 0 {
				f.File = path.Join("host", c.file)
				errs[i] = w.Write(f.File, out)
			}
			w.Host(f)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func matching(text []byte, keep *regexp.Regexp) []byte {
	var out bytes.Buffer
	for line := range bytes.Lines(text) {
		if keep.Match(line) {
			out.Write(line)
		}
	}
	return out.Bytes()
}

func gatherEnvironment(o HostOptions, w *bundle.Writer) error {
	var out bytes.Buffer
	for _, kv := range slices.Sorted(slices.Values(o.Environ)) {
		name, value, _ := strings.Cut(kv, "=")
		if !slices.ContainsFunc(o.EnvPrefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			continue
		}
		if artifact.SecretName(name) {
			value = "[redacted:assignment]"
		}
		fmt.Fprintf(&out, "%s=%s\n", name, value)
	}
	if out.Len() == 0 {
		return nil
	}
	w.Host(bundle.File{Name: "environment", File: "host/environment.txt", Source: "environment of the collector", Bytes: int64(out.Len())})
	return w.Write("host/environment.txt", out.Bytes())
}

// tail reads the end of a log, from a whole line on.
func tail(name string, most int64, names map[string]int) (bundle.File, []byte) {
	f := bundle.File{Name: filepath.Base(name), Source: name}
	h, err := os.Open(name)
	if err != nil {
		f.Error = err.Error()
		return f, nil
	}
	defer h.Close()
	info, err := h.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no regular file")
	}
	if err != nil {
		f.Error = err.Error()
		return f, nil
	}
	f.Bytes = info.Size()
	body, err := io.ReadAll(io.NewSectionReader(h, max(0, f.Bytes-most), most))
	if err != nil {
		f.Error = err.Error()
		return f, nil
	}
	if f.Bytes > most {
		f.Truncated = true
		if i := bytes.IndexByte(body, '\n'); i >= 0 {
			body = body[i+1:]
		}
	}
	base := artifact.Slug(f.Name)
	if names[base]++; names[base] > 1 {
		base = fmt.Sprintf("%d-%s", names[base], base)
	}
	f.File = "logs/" + base
	return f, body
}

// DumpFile is one file in the list of dumps.
type DumpFile struct {
	Path     string    `json:"path"`
	Bytes    int64     `json:"size_bytes"`
	Modified time.Time `json:"modified"`
	File     string    `json:"file,omitempty"` // of its neutral form, in the bundle
	Error    string    `json:"error,omitempty"`
}

func gatherDumps(ctx context.Context, o HostOptions, w *bundle.Writer) error {
	if len(o.Dumps) == 0 {
		return nil
	}
	list := []DumpFile{}
	for _, place := range o.Dumps {
		err := filepath.WalkDir(place, func(p string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				list = append(list, DumpFile{Path: p, Error: err.Error()})
				return nil
			case len(list) >= maxDumps || ctx.Err() != nil:
				return filepath.SkipAll
			case !d.Type().IsRegular():
				return nil
			}
			f := DumpFile{Path: p}
			if info, err := d.Info(); err == nil {
				f.Bytes, f.Modified = info.Size(), info.ModTime().UTC()
			}
			list = append(list, f)
			return nil
		})
		if err != nil {
			w.Note("dumps in %s: %v", place, err)
		}
	}
	if len(list) >= maxDumps {
		w.Note("more than %d files among the dumps: the others are not listed", maxDumps)
	}
	var errs []error
	for i := range list {
		if f := &list[i]; o.TakeDump != nil && f.Error == "" && ctx.Err() == nil {
			body, err := o.TakeDump(f.Path)
			if err != nil {
				f.Error = err.Error()
			}
			if len(body) > 0 {
				f.File = fmt.Sprintf("dumps/%04d-%s.jsonl", i+1, artifact.Slug(filepath.Base(f.Path)))
				errs = append(errs, w.Write(f.File, body))
			}
		}
	}
	body, err := json.MarshalIndent(map[string]any{"dumps": list}, "", "  ")
	if err != nil {
		return err
	}
	w.Host(bundle.File{Name: "dumps", File: "host/dumps.json", Source: strings.Join(o.Dumps, " "), Bytes: int64(len(body))})
	return errors.Join(append(errs, w.Write("host/dumps.json", append(body, '\n')))...)
}
