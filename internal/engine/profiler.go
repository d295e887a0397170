package engine

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Profiler is what is known of an engine's torch profiler: how a launch makes
// it available, how it is started and stopped on a live server, what the
// answers mean, and which files it leaves.
type Profiler struct {
	// Enable are the ways in which a launch makes the profiler available, newest
	// first. Empty: every server has it.
	Enable []ProfilerEnable
	// AtLaunch: the profiler can be told by the environment of the launch what it
	// is to record, without any request; nil = it cannot.
	AtLaunch *ProfilerAtLaunch
	// Start makes the body of the start request; nil = the request takes none.
	Start func(ProfileStart) ([]byte, error)
	// NamesFolder: the start request says where the files go. Otherwise the launch
	// has said it.
	NamesFolder bool
	// NamesFiles: the start request gives the first part of the files' names.
	NamesFiles bool
	// CountsSteps: the start request bounds the forward steps, and the profiler
	// stops by itself after them.
	CountsSteps bool
	// ByStage: the start request can ask for one file a stage.
	ByStage bool
	// StepsShort is by how many steps a version records fewer than it is asked for.
	// What was really recorded is counted in the files. nil = none.
	StepsShort func(version string, byStage bool) int
	// SilentStart: a start while a profile runs is answered like any other and does
	// nothing, or may do so, so that a profile that was left running is only found by stopping it.
	SilentStart bool
	// StopTimeout bounds the stop request, which writes the files before it is
	// answered.
	StopTimeout time.Duration
	// Answers are tried in order on the reply to a start or stop request; without
	// a match 2xx is done, 404 absent and everything else a failure.
	Answers []ProfilerAnswer
	// File reads what a file name says; false = no trace of this engine.
	File func(name string) (ProfileFile, bool)
	// Ranks is how many processes write a file each, from the reply of
	// [EndpointServerInfo]; nil or false = it does not tell.
	Ranks func(info []byte) (int, bool)
	// Stacks says how Python frames come into the trace, where they are not there
	// by themselves.
	Stacks string
	// Patch makes such frames appear by a change of one source file of the engine;
	// nil = none is needed.
	Patch *ProfilerPatch
	// Graphs are the launch words that switch CUDA graphs off, for a trace whose
	// kernels still know who launched them.
	Graphs []string
	// GraphsFile is the content of the file that Graphs names, if it names one.
	GraphsFile string
	// Traps are what goes wrong with this profiler, for people.
	Traps  []ProfilerTrap
	Source Source
}

// ProfilerEnable is one way of launching a server with its profiler.
type ProfilerEnable struct {
	Since, Until string   // versions, both included; "" = open
	Flags        []string // launch words; {dir} stands for the folder of the traces
	Env          []EnvVar // {dir} as above
	Source       Source
}

// ProfilerAtLaunch is a profiler that the environment of the launch switches on
// for a stretch of iterations.
type ProfilerAtLaunch struct {
	// Window is the variable that holds the iterations, Trace the one that holds
	// the path of the file.
	Window, Trace string
	Note          string
	Source        Source
}

// Env is the environment that records the iterations first to last into path.
func (l ProfilerAtLaunch) Env(path string, first, last int) []EnvVar {
	return []EnvVar{
		{Name: l.Window, Value: strconv.Itoa(first) + "-" + strconv.Itoa(last), Reason: "iterations that are recorded; they count only while there is work"},
		{Name: l.Trace, Value: path, Reason: "where the trace goes"},
	}
}

// ProfilerPatch changes a source file of an engine so that its traces tell more.
type ProfilerPatch struct {
	File string // within the engine's package
	What string // it does
	// Apply makes the changed source, and says line by line what it did; no line =
	// it was all there already. A text that is not known is refused.
	Apply  func(source []byte) (changed []byte, did []string, err error)
	Source Source
}

// ProfileStart is what a start request asks for.
type ProfileStart struct {
	Dir     string // folder of the files, by the server's own path
	ID      string // first part of the files' names
	Steps   int    // forward steps; 0 = until it is stopped
	ByStage bool   // one file a stage; needs Steps
	Shapes  bool   // record the shapes of operators' inputs
}

// ProfileAction is what is asked of a profiler.
type ProfileAction string

// The actions.
const (
	ProfileStarting ProfileAction = "start"
	ProfileStopping ProfileAction = "stop"
)

// ProfileMeaning is what the answer to an action means.
type ProfileMeaning string

// The meanings.
const (
	ProfileDone    ProfileMeaning = "done"    // started, or stopped with the files written
	ProfileRunning ProfileMeaning = "running" // a profile runs already
	ProfileIdle    ProfileMeaning = "idle"    // none runs; also after a stop by itself
	ProfileAbsent  ProfileMeaning = "absent"  // this server has no profiler
	ProfileFailed  ProfileMeaning = "failed"
)

// ProfilerAnswer is one answer that an engine gives.
type ProfilerAnswer struct {
	Action  ProfileAction
	Status  int
	Body    *regexp.Regexp // nil = any
	Meaning ProfileMeaning
	Do      string // what helps
	Source  Source
}

// ProfilerTrap is something that goes wrong with a profiler.
type ProfilerTrap struct {
	ID         string // kebab-case
	What       string
	Until      string // last version that has it; "" = still there, or unknown
	Source     Source
	HandledHow string // by the capture
}

// ProfileKind is what a file of a profiler holds.
type ProfileKind string

// The kinds of files.
const (
	ProfileTrace    ProfileKind = "trace"    // of one rank
	ProfileMerged   ProfileKind = "merged"   // all ranks of a node in one
	ProfileFrontend ProfileKind = "frontend" // of the API server: no GPU work
	ProfileOther    ProfileKind = "other"    // no torch trace: memory, tables, other profilers
)

// ProfileFile is what a file's name says. A rank is -1 where it says nothing.
type ProfileFile struct {
	Kind               ProfileKind
	Rank               int // global
	TP, DP, PP, EP, CP int
	Stage              string // "prefill", "decode"; "" = not said
}

// NoRanks is a file whose name tells no rank.
func NoRanks(kind ProfileKind) ProfileFile {
	return ProfileFile{Kind: kind, Rank: -1, TP: -1, DP: -1, PP: -1, EP: -1, CP: -1}
}

// Read says what a reply to an action means, and what helps.
func (p *Profiler) Read(action ProfileAction, status int, body []byte) (ProfileMeaning, string) {
	for _, a := range p.Answers {
		if a.Action == action && a.Status == status && (a.Body == nil || a.Body.Match(body)) {
			return a.Meaning, a.Do
		}
	}
	switch {
	case status >= 200 && status < 300:
		return ProfileDone, ""
	case status == 404 || status == 405:
		// What helps against a start that is not found helps against a stop.
		for _, a := range p.Answers {
			if a.Meaning == ProfileAbsent {
				return ProfileAbsent, a.Do
			}
		}
		return ProfileAbsent, ""
	}
	return ProfileFailed, ""
}

// EnableFor is the way of launching a version with its profiler; "" = the
// newest. false: every server has it.
func (p *Profiler) EnableFor(version string) (ProfilerEnable, bool) {
	for _, e := range p.Enable {
		if version == "" || Within(version, e.Since, e.Until) {
			return e, true
		}
	}
	return ProfilerEnable{}, false
}

// Words are the launch words and the environment with a folder put in.
func (e ProfilerEnable) Words(dir string) (flags []string, env []EnvVar) {
	put := strings.NewReplacer("{dir}", dir)
	for _, f := range e.Flags {
		flags = append(flags, put.Replace(f))
	}
	for _, v := range e.Env {
		v.Value = put.Replace(v.Value)
		env = append(env, v)
	}
	return flags, env
}

// String is the way in one line, for errors and recipes.
func (e ProfilerEnable) String() string {
	words := []string{}
	for _, v := range e.Env {
		words = append(words, v.Name+"="+v.Value)
	}
	for _, f := range e.Flags {
		if strings.ContainsAny(f, `{"' `) && !strings.HasPrefix(f, "{dir}") {
			f = "'" + f + "'"
		}
		words = append(words, f)
	}
	return strings.NewReplacer("{dir}", "/DIR").Replace(strings.Join(words, " "))
}

// OpenProfile writes the start request of the engines that share their fields
// (the names are those of one of them, which the others took over).
type OpenProfile struct {
	Quoted bool // numbers are sent as strings, as the engine's own client does
	ID     bool // profile_id
	Stages bool // profile_by_stage
	Stacks bool // with_stack, record_shapes
}

// Encode is the body.
func (o OpenProfile) Encode(s ProfileStart) ([]byte, error) {
	if s.ByStage && s.Steps <= 0 {
		return nil, fmt.Errorf("profile by stage without a number of steps: it would kill the scheduler at the next batch; give the steps")
	}
	if s.ByStage && !o.Stages {
		return nil, fmt.Errorf("profile by stage: this engine's profiler has no such thing")
	}
	var b Body
	if s.Dir != "" {
		b.Set("output_dir", s.Dir)
	}
	if s.Steps > 0 && o.Quoted {
		b.Set("num_steps", strconv.Itoa(s.Steps))
	} else if s.Steps > 0 {
		b.Set("num_steps", s.Steps)
	}
	b.Set("activities", []string{"CPU", "GPU"})
	if o.Stages {
		b.Set("profile_by_stage", s.ByStage)
	}
	if o.Stacks {
		b.Set("with_stack", true)
		b.Set("record_shapes", s.Shapes)
	}
	if o.ID && s.ID != "" {
		b.Set("profile_id", s.ID)
	}
	return b.Bytes()
}

// RankKeys are the members of a server's own description that give its parallel
// sizes; missing ones count 1.
type RankKeys struct {
	In    string   // member that holds them; "" = the top
	Sizes []string // multiplied
	// Shared, where it is true, says that the last of Sizes splits the ranks of the
	// first and adds none.
	Shared string
}

// Read is the number of ranks that an info tells.
func (k RankKeys) Read(info []byte) (int, bool) {
	sizes, shared := map[string]int{}, false
	var c Cursor
	object := func(key []byte) {
		name := string(key)
		for _, s := range k.Sizes {
			if s == name {
				if n, ok := c.Int(); ok && n > 0 && n <= maxRanks {
					sizes[name] = n
				}
			}
		}
		if k.Shared == name && k.Shared != "" {
			shared = string(c.Raw()) == "true"
		}
	}
	c = NewCursor(info)
	c.Object(func(key []byte) {
		switch {
		case k.In == "":
			object(key)
		case string(key) == k.In && c.Kind() == '{':
			c.Object(object)
		}
	})
	if c.End() != nil || len(sizes) == 0 {
		return 0, false
	}
	n := 1
	for i, s := range k.Sizes {
		if last := i == len(k.Sizes)-1; sizes[s] > 0 && !(last && shared) {
			n *= sizes[s]
		}
	}
	if n > maxRanks {
		return 0, false
	}
	return n, true
}

// maxRanks bounds what a server may claim.
const maxRanks = 1 << 14

// RankIn is the number behind a mark in a file name ("TP-", "tp", "rank"): the
// first one whose mark stands at the beginning or behind a character that is no
// letter or digit. -1 = none.
func RankIn(name, mark string) int {
	for from := 0; ; {
		i := strings.Index(name[from:], mark)
		if i < 0 {
			return -1
		}
		i += from
		from = i + len(mark)
		if i > 0 && wordByte(name[i-1]) {
			continue
		}
		end := from
		for end < len(name) && name[end] >= '0' && name[end] <= '9' {
			end++
		}
		if n, err := strconv.Atoi(name[from:end]); err == nil && n < maxRanks && (end == len(name) || !letter(name[end])) {
			return n
		}
	}
}

func letter(b byte) bool   { return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' }
func wordByte(b byte) bool { return letter(b) || b >= '0' && b <= '9' }

// TraceName cuts the endings of a torch trace off a file name; false = it is none.
func TraceName(name string) (stem string, ok bool) {
	stem, _ = strings.CutSuffix(name, ".gz")
	if stem, ok = strings.CutSuffix(stem, ".json"); !ok {
		return "", false
	}
	for _, e := range []string{".trace", ".pt"} {
		stem, _ = strings.CutSuffix(stem, e)
	}
	return stem, stem != ""
}
