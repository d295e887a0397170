package trace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// DiscoverOptions say which traces of a folder are wanted.
type DiscoverOptions struct {
	AllRanks bool // every rank, not only the lowest
	MaxFiles int  // entries that are looked at; 0 is 20,000
}

// Rank is a file's place in a parallel run, by its name; -1 where that is not told.
type Rank struct {
	Global             int // rank-N, workerN, or distributedInfo's
	TP, DP, PP, EP, CP int
}

// String is the rank in the short form "rank 0 TP 1", "" when nothing is known.
func (r Rank) String() string {
	var parts []string
	for _, p := range []struct {
		word string
		n    int
	}{{"rank", r.Global}, {"TP", r.TP}, {"DP", r.DP}, {"PP", r.PP}, {"EP", r.EP}, {"CP", r.CP}} {
		if p.n >= 0 {
			parts = append(parts, fmt.Sprintf("%s %d", p.word, p.n))
		}
	}
	return strings.Join(parts, " ")
}

func (r Rank) compare(o Rank) int {
	return cmp.Or(cmp.Compare(r.Global, o.Global), cmp.Compare(r.TP, o.TP), cmp.Compare(r.DP, o.DP), cmp.Compare(r.PP, o.PP), cmp.Compare(r.EP, o.EP), cmp.Compare(r.CP, o.CP))
}

// Kind is what a trace file was recorded for.
type Kind string

// The kinds. A capture trace holds the recording of GPU graphs: it is no run, but
// it says what the kernels of the graphs are.
const (
	KindRun     Kind = "run"
	KindCapture Kind = "capture"
)

// File is one trace that was chosen.
type File struct {
	Path   string
	Rank   Rank
	Stage  string // prefill, decode or "": what name and folders say, a default only
	Merged bool   // several ranks in one file, by its name
	Kind   Kind
}

// Left is a file that was found and not chosen.
type Left struct{ Path, Reason string }

// Selection is what Discover found.
type Selection struct {
	Files []File // by stage (prefill, decode, none), rank, name
	Left  []Left // by path
}

// Discover finds the traces that paths stand for. A file is taken as it is. Of a
// folder, its own traces are taken, or those below it, when there are none: all
// that stand under a stage's folder, or else those of the last folder by name. Of
// several recordings of one rank and stage the last by name (numbers count as
// such) is taken, of several ranks the lowest. Times of files decide nothing:
// copying changes them. Everything that was found and not taken is in Left.
//
// Whether a JSON file is a trace is told by its first kilobytes.
func Discover(paths []string, o DiscoverOptions) (Selection, error) {
	if o.MaxFiles <= 0 {
		o.MaxFiles = 20000
	}
	var sel Selection
	for _, path := range paths {
		if err := sel.add(path, o); err != nil {
			return Selection{}, err
		}
	}
	slices.SortStableFunc(sel.Left, func(a, b Left) int { return natural(a.Path, b.Path) })
	return sel, nil
}

func (sel *Selection) add(path string, o DiscoverOptions) error {
	if path == "-" {
		sel.Files = append(sel.Files, File{Path: path, Rank: noRank(), Kind: KindRun})
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		f := named(path)
		f.Stage = pathStage(path)
		sel.Files = append(sel.Files, f)
		if _, err := os.Stat(path + ".tmp"); err == nil {
			sel.leave(path+".tmp", reasonTmp)
		}
		return nil
	}
	found, err := sel.walk(path, o)
	if err != nil {
		return err
	}
	files := sel.choose(found, path, o)
	if len(files) == 0 {
		return &NoTraceError{Path: path, Left: sel.Left}
	}
	sel.Files = append(sel.Files, files...)
	return nil
}

// NoTraceError is a folder without a trace.
type NoTraceError struct {
	Path string
	Left []Left
}

func (e *NoTraceError) Error() string {
	text := e.Path + ": no profiler trace in this folder or below it; expected *.trace.json.gz or other JSON with traceEvents"
	for i, l := range e.Left {
		if i == 3 {
			return text + fmt.Sprintf("; and %d more", len(e.Left)-i)
		}
		text += fmt.Sprintf("; %s: %s", l.Path, l.Reason)
	}
	return text
}

const (
	reasonTmp    = "its writer has not finished or has died: a profiler writes to .tmp and renames at the end"
	reasonMerged = "a merged file; the files of the ranks are there too"
	reasonClient = "a CPU-only trace of the API server's process: it holds no GPU work"
	reasonGraph  = "a recording of GPU graphs, not a run: give it as the mapping trace"
)

func (sel *Selection) leave(path, reason string) {
	sel.Left = append(sel.Left, Left{path, reason})
}

// walk collects the traces in and below a folder.
func (sel *Selection) walk(root string, o DiscoverOptions) ([]File, error) {
	var found []File
	seen := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if path == root {
				return err
			}
			sel.leave(path, "cannot be read: "+err.Error())
			return nil
		}
		if seen++; seen > o.MaxFiles {
			return fmt.Errorf("%s holds more than %d files: name the folder of the traces", root, o.MaxFiles)
		}
		if d.IsDir() || !candidate(d.Name()) {
			return nil
		}
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			return nil // a pipe would never end, a link may lead nowhere
		}
		if strings.HasSuffix(d.Name(), ".tmp") {
			sel.leave(path, reasonTmp)
			return nil
		}
		if f, ok := sel.sniffed(path); ok {
			rel, _ := filepath.Rel(root, path)
			f.Stage = pathStage(filepath.Join(filepath.Base(root), rel))
			found = append(found, f)
		}
		return nil
	})
	return found, err
}

// sniffed is the file at path, if its beginning is that of a trace.
func (sel *Selection) sniffed(path string) (File, bool) {
	rank, err := sniff(path)
	if err != nil {
		sel.leave(path, err.Error())
		return File{}, false
	}
	f := named(path)
	if f.Rank == noRank() {
		f.Rank.Global = rank
	}
	return f, true
}

// candidate tells names that may be traces. Some writers put the rank behind the
// extension: trace.json-rank-0.gz.
func candidate(name string) bool {
	lower := strings.TrimSuffix(strings.ToLower(name), ".tmp")
	if !strings.Contains(lower, ".json") {
		return false
	}
	switch filepath.Ext(lower) {
	case ".json", ".gz", ".zst":
		return true
	}
	return tailRank.MatchString(lower)
}

var tailRank = regexp.MustCompile(`\.json-rank-\d+$`)

// errSniffed ends a look at a file's beginning: it is a trace.
var errSniffed = errors.New("a trace")

// sniffer stops at the first event.
type sniffer struct {
	rank   int
	events int
}

func (s *sniffer) add(*rawEvent)      { s.events++ }
func (s *sniffer) skip(string, int64) {}
func (s *sniffer) metaKey(string)     {}
func (s *sniffer) wants(k string) bool {
	return k == "distributedInfo"
}

func (s *sniffer) takeMeta(_ string, value []byte) { s.rank = readDistributed(value).Rank }
func (s *sniffer) stopped() error                  { return errSniffed }

const sniffBytes = 16 << 20 // metadata before the first event may be megabytes

// sniff reads the beginning of a file; an error says why it is no trace.
func sniff(path string) (rank int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return -1, err
	}
	defer f.Close()
	s, err := newScanner(context.Background(), f, path, Options{MaxBytes: sniffBytes, block: 16 << 10}.withDefaults())
	if err != nil {
		return -1, unnamed(err)
	}
	defer s.close()
	look := &sniffer{rank: -1}
	s.sink = look
	err = s.run()
	var limit *LimitError
	switch {
	case errors.As(err, &limit):
		return -1, fmt.Errorf("no event in its first %d MiB", sniffBytes>>20)
	case err != nil && !errors.Is(err, errSniffed):
		return -1, unnamed(err)
	}
	return look.rank, nil
}

// unnamed leaves the path out of an error that is shown beside it.
func unnamed(err error) error {
	var not *NotTraceError
	if errors.As(err, &not) {
		return errors.New("no profiler trace: " + not.Found)
	}
	return err
}

func noRank() Rank { return Rank{-1, -1, -1, -1, -1, -1} }

// named is what a file's name says.
func named(path string) File {
	name := strings.ToLower(filepath.Base(path))
	f := File{Path: path, Rank: nameRank(name), Merged: strings.HasPrefix(name, "merged-"), Kind: KindRun}
	folder := strings.ToLower(filepath.Base(filepath.Dir(path)))
	if graphName.MatchString(name) || folder == "graph_capture_profile" || folder == "capture_traces" {
		f.Kind = KindCapture
	}
	return f
}

var (
	graphName = regexp.MustCompile(`^(cuda_)?graph_capture[-_.]`)
	rankWord  = regexp.MustCompile(`(?:^|[-_.])(?:rank|worker)[-_]?(\d{1,6})(?:[-_.]|$)`)
	dimWord   = regexp.MustCompile(`(?:^|[-_.])(d?cp|tp|dp|pp|ep)[-_]?(\d{1,6})(?:[-_.]|$)`)
)

// nameRank reads the rank from a name in lower case. A rank word says it best:
// in "m-tp8-rank0" tp8 is a size. Parallel groups count beside it when there
// are several (dp0_pp0_tp0_rank0).
func nameRank(name string) Rank {
	r := noRank()
	if m := rankWord.FindStringSubmatch(name); m != nil {
		r.Global, _ = strconv.Atoi(m[1])
	}
	dims, at := 0, 0
	d := noRank()
	for at < len(name) {
		m := dimWord.FindStringSubmatchIndex(name[at:])
		if m == nil {
			break
		}
		n, _ := strconv.Atoi(name[at+m[4] : at+m[5]])
		if p := d.dim(name[at+m[2] : at+m[3]]); p != nil {
			*p = n
			dims++
		}
		at += m[5] // the separator may begin the next word
	}
	if r.Global < 0 || dims > 1 {
		d.Global = r.Global
		return d
	}
	return r
}

func (r *Rank) dim(word string) *int {
	switch word {
	case "tp":
		return &r.TP
	case "dp":
		return &r.DP
	case "pp":
		return &r.PP
	case "ep":
		return &r.EP
	case "cp":
		return &r.CP
	}
	return nil // dcp: part of tp
}

// pathStage is the stage that a path names: the last word of the file's name
// before its extensions, or a word of the nearest folder that has one. A folder
// that names both says nothing. "prefilldecode" and "decoder" are no such words.
func pathStage(path string) string {
	stem, _, _ := strings.Cut(filepath.Base(path), ".")
	if s := wordStage(lastWord(stem)); s != "" {
		return s
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		base := filepath.Base(dir)
		stage := ""
		for _, w := range strings.FieldsFunc(base, isBreak) {
			s := wordStage(w)
			if s != "" && stage != "" && s != stage {
				return ""
			}
			stage = cmp.Or(s, stage)
		}
		if stage != "" || dir == filepath.Dir(dir) || base == "." || base == ".." {
			return stage
		}
	}
}

func isBreak(r rune) bool { return strings.ContainsRune("-_. +", r) }

func lastWord(s string) string {
	words := strings.FieldsFunc(s, isBreak)
	if len(words) == 0 {
		return ""
	}
	return words[len(words)-1]
}

func wordStage(w string) string {
	switch strings.ToLower(w) {
	case "prefill", "extend":
		return "prefill"
	case "decode":
		return "decode"
	}
	return ""
}

// choose takes from the traces of one folder those to read.
func (sel *Selection) choose(found []File, root string, o DiscoverOptions) []File {
	found = sel.drop(found, func(f File) bool {
		return strings.Contains(strings.ToLower(filepath.Base(f.Path)), "async_llm")
	}, reasonClient, false)
	found = sel.drop(found, func(f File) bool { return f.Kind == KindCapture }, reasonGraph, true)
	found = sel.oneFolder(found, root)
	found = sel.drop(found, func(f File) bool { return f.Merged }, reasonMerged, true)
	tpIsRank(found)
	found = sel.lastRuns(found)
	if !o.AllRanks {
		found = sel.lowestRank(found)
	}
	slices.SortFunc(found, func(a, b File) int {
		return cmp.Or(cmp.Compare(stageOrder(a.Stage), stageOrder(b.Stage)), a.Rank.compare(b.Rank), natural(a.Path, b.Path))
	})
	return found
}

func stageOrder(stage string) int { return slices.Index([]string{"prefill", "decode", ""}, stage) }

// drop leaves the files that match out; with unlessAll only if others remain.
func (sel *Selection) drop(files []File, match func(File) bool, reason string, unlessAll bool) []File {
	var stay []File
	for _, f := range files {
		if !match(f) {
			stay = append(stay, f)
		}
	}
	if len(stay) == 0 && unlessAll {
		return files
	}
	for _, f := range files {
		if match(f) {
			sel.leave(f.Path, reason)
		}
	}
	return stay
}

// oneFolder keeps the folder's own traces; without any those below it that name a
// stage; without those the last folder by name.
func (sel *Selection) oneFolder(files []File, root string) []File {
	own := func(f File) bool { return filepath.Dir(f.Path) == filepath.Clean(root) }
	if slices.ContainsFunc(files, own) {
		return sel.drop(files, func(f File) bool { return !own(f) }, "below a folder that has traces of its own: name this one to read it", false)
	}
	if slices.ContainsFunc(files, func(f File) bool { return f.Stage != "" }) {
		return sel.drop(files, func(f File) bool { return f.Stage == "" }, "names no stage, as others below this folder do", false)
	}
	last := ""
	for _, f := range files {
		if dir := filepath.Dir(f.Path); last == "" || natural(dir, last) > 0 {
			last = dir
		}
	}
	return sel.drop(files, func(f File) bool { return filepath.Dir(f.Path) != last }, "another folder, "+last+", is the last by name: name this one to read it", false)
}

// tpIsRank takes "tp8" for a size when every file says it.
func tpIsRank(files []File) {
	for i, f := range files {
		if f.Rank.TP <= 0 || f.Rank.TP != files[0].Rank.TP || f.Rank.Global >= 0 || f.Rank.DP >= 0 || f.Rank.PP >= 0 {
			return
		}
		if i > 0 && files[i-1].Stage == f.Stage {
			return // a second file of the stage: two ranks or two runs
		}
	}
	for i := range files {
		files[i].Rank.TP = -1
	}
}

// lastRuns keeps, of the recordings of each stage, the last by name.
func (sel *Selection) lastRuns(files []File) []File {
	type key struct {
		stage string
		rank  Rank
	}
	last := map[string]string{}
	for _, f := range files {
		if run := runName(f); natural(run, last[f.Stage]) > 0 {
			last[f.Stage] = run
		}
	}
	newest := map[key]string{}
	for _, f := range files {
		k := key{f.Stage, f.Rank}
		if runName(f) == last[f.Stage] && (newest[k] == "" || natural(f.Path, newest[k]) > 0) {
			newest[k] = f.Path
		}
	}
	var stay []File
	for _, f := range files {
		k := key{f.Stage, f.Rank}
		switch {
		case newest[k] == f.Path:
			stay = append(stay, f)
		case runName(f) != last[f.Stage]:
			sel.leave(f.Path, fmt.Sprintf("another recording, %s, is the last by name", last[f.Stage]))
		default:
			sel.leave(f.Path, fmt.Sprintf("%s is the last by name of this rank", filepath.Base(newest[k])))
		}
	}
	return stay
}

// runName is what the files of one recording have in common: the name before its
// rank. Names without a rank, and those of torch's own handler
// (<host>_<pid>.<ns>.pt.trace.json), share nothing: they are told apart by name.
func runName(f File) string {
	name := filepath.Base(f.Path)
	lower := strings.ToLower(name)
	at := len(name)
	for _, re := range []*regexp.Regexp{rankWord, dimWord} {
		if m := re.FindStringIndex(lower); m != nil {
			at = min(at, m[0])
		}
	}
	if at == len(name) {
		return ""
	}
	return name[:at]
}

// lowestRank keeps one rank of each stage.
func (sel *Selection) lowestRank(files []File) []File {
	low := map[string]Rank{}
	for _, f := range files {
		if r, known := low[f.Stage]; !known || f.Rank.compare(r) < 0 {
			low[f.Stage] = f.Rank
		}
	}
	var stay []File
	for _, f := range files {
		if f.Rank == low[f.Stage] {
			stay = append(stay, f)
			continue
		}
		sel.leave(f.Path, fmt.Sprintf("%s; %s was read for all of them", cmp.Or(f.Rank.String(), "rank unknown"), cmp.Or(low[f.Stage].String(), "a file without rank")))
	}
	return stay
}

// natural compares names with numbers in them: run-9 is before run-10.
func natural(a, b string) int {
	for a != "" && b != "" {
		x, y := digits(a), digits(b)
		if x > 0 && y > 0 {
			n, m := strings.TrimLeft(a[:x], "0"), strings.TrimLeft(b[:y], "0")
			if c := cmp.Or(cmp.Compare(len(n), len(m)), strings.Compare(n, m), cmp.Compare(x, y)); c != 0 {
				return c
			}
			a, b = a[x:], b[y:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}
