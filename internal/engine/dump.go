package engine

// DumpKind is what a dumped request asks for.
type DumpKind string

// The kinds of dumped requests.
const (
	DumpGenerate  DumpKind = "generate"
	DumpEmbedding DumpKind = "embedding"
)

// DumpLayout says how an engine's request and crash dumps are laid out: which
// names hold what, what must not be sent again and why, and which classes are
// the engine's own. It is read by incident/dump and obeyed by incident/replay.
type DumpLayout struct {
	Source Source
	// Keys of the outer dict. A dump without the dict is a list of records.
	Requests string   // records
	Launch   string   // command line of the server, one text
	Configs  []string // configuration of the server; the first that is not null counts
	// Config names the settings that a summary shows; Flags gives the same from
	// the command line.
	Config []DumpSetting
	Flags  []DumpFlag
	// SecretSettings and SecretFlags hold secrets by their nature; SecretHeaders
	// are fields of a request whose members named in SecretNames do.
	SecretSettings, SecretFlags, SecretHeaders, SecretNames []string

	Classes []DumpClass // of the objects in a dump, all others are unknown
	Request DumpRequest
	Output  DumpOutput

	// Paths are the endpoints that take the body of a dumped request as it is, by
	// what it asks for.
	Paths map[DumpKind]string

	// Drop are the fields of a request that are never sent again.
	Drop []DumpDrop
	// Defaults are fields whose value says nothing when it is this one, as JSON
	// text; null says nothing in any field.
	Defaults map[string]string
	// Media are fields of attachments: an object there is sent as its URL.
	Media []string
	// Sampling rules the parameters of an engine's own sampling object.
	Sampling DumpSampling
	// Neutral gives the names that other engines know by the name here, for the
	// parameters that mean the same.
	Neutral map[string]string
}

// DumpSetting is a setting and the names that it has had.
type DumpSetting struct {
	Name string   // as the summary shows it
	Keys []string // the first that is there counts
}

// DumpFlag is an option of the command line that gives a setting.
type DumpFlag struct {
	Name    string // of the setting
	Options []string
}

// DumpClass is a class of the engine whose objects stand in dumps.
type DumpClass struct {
	Name       string           // module.name
	Kind       DumpKind         // "" = no request
	Positional []string         // names of its arguments where the file has none
	Values     map[int64]string // names of an enum's values
	Source     Source
}

// DumpRequest names the fields of a request.
type DumpRequest struct {
	ID       string
	Text     string
	Tokens   string
	Preview  []string // texts, the first that is not empty
	Sampling string
	Stream   string
}

// DumpOutput names what the recorded answer holds.
type DumpOutput struct {
	Text      string
	Tokens    string // ids
	Meta      string // dict of the figures below
	ID        string
	Finish    string // null = unfinished; an object with FinishType
	FinishTag string
	Prompt, Completion,
	Cached, QueueSeconds string
	Retractions []string // names by age
	// Stages are further times in seconds since the epoch or spans in seconds.
	Received, Forward, PrefillDone, Done string
	LatencySeconds                       string
}

// DumpDrop is a field that is left out of a replayed request.
type DumpDrop struct{ Field, Reason string }

// DumpSampling says how an engine's own sampling object becomes parameters of a
// request.
type DumpSampling struct {
	Rename map[string]string
	Drop   []DumpDrop
	// Same are values that stand for another, both as JSON text.
	Same map[string]map[string]string
	// Defaults as in DumpLayout.
	Defaults     map[string]string
	MaxTokens    string
	IgnoreEOS    string
	Temperature  string
	GreedyTokens string // parameter that makes sampling greedy when 1 (top_k)
}

// Class finds a class by its full name.
func (l *DumpLayout) Class(name string) (DumpClass, bool) {
	for _, c := range l.Classes {
		if c.Name == name {
			return c, true
		}
	}
	return DumpClass{}, false
}
