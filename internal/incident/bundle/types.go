package bundle

import "time"

// The schema of bundle.json and target.json.
const (
	Schema        = "llmdyno.bundle"
	SchemaVersion = 1
)

// The origins of a bundle.
const (
	OriginOurs   = "llmdyno"
	OriginPython = "python-toolkit" // the toolkit of sglang PR 24250
)

// The classes of what can go wrong with a probe; "" means that a whole reply
// with a good status came.
const (
	ClassDNS       = "dns"       // the host name is not found
	ClassRefused   = "refused"   // nobody listens, or no route
	ClassTLS       = "tls"       // no agreement on encryption
	ClassTimeout   = "timeout"   // no whole reply within the probe's time
	ClassAuth      = "auth"      // 401 or 403
	ClassStatus    = "status"    // any other status outside of 200 to 299
	ClassTruncated = "truncated" // the connection ended before the reply did
	ClassTooLarge  = "too_large" // the body was cut at the size cap
	ClassNotJSON   = "not_json"  // 200 with something else where JSON was due
	ClassBroken    = "broken"    // the connection broke, or what came is no HTTP
	ClassCancelled = "cancelled" // the user or the overall deadline ended it
)

// Bundle is a capture as it was opened.
type Bundle struct {
	Path     string
	Manifest Manifest
	Targets  []Target
	Host     []File   // of the machine that collected
	Logs     []File   // given by path, of no target in particular
	Warnings []string // what could not be read, in words

	files source
}

// Manifest is bundle.json: what is known of the capture as a whole.
type Manifest struct {
	Schema        string `json:"schema"`
	SchemaVersion int    `json:"schema_version"`
	Origin        string `json:"origin"`
	Tool          string `json:"tool"`
	ToolVersion   string `json:"tool_version"`
	// User and HostName say who collected and where.
	User     string    `json:"user,omitempty"`
	HostName string    `json:"host_name,omitempty"`
	Command  []string  `json:"command,omitempty"` // redacted
	Started  time.Time `json:"started"`
	Ended    time.Time `json:"ended,omitzero"`
	// State is "complete", "interrupted" (by the user), "deadline" (not all was
	// asked in time) or "running" (the collector was killed).
	State      string     `json:"state"`
	Settings   Settings   `json:"settings"`
	Redacted   []Redacted `json:"redacted,omitempty"`    // places in the files where something was hidden
	RedactedN  int        `json:"redacted_places"`       // all of them; Redacted is bounded
	TokenGiven bool       `json:"token_given,omitempty"` // requests carried a key
	Notes      []string   `json:"notes,omitempty"`       // what was left out and why
	Host       []File     `json:"host,omitempty"`
	Logs       []File     `json:"logs,omitempty"`
	// Stale are files of an earlier capture in a folder that was used twice.
	Stale []string `json:"stale,omitempty"`
}

// Settings are what the capture was asked for.
type Settings struct {
	Targets     int      `json:"targets"`
	TimeoutS    float64  `json:"timeout_s,omitempty"`  // of a probe, unless its endpoint asks for more
	DeadlineS   float64  `json:"deadline_s,omitempty"` // of everything
	MaxBody     int64    `json:"max_body_bytes,omitempty"`
	Include     []string `json:"include,omitempty"` // probes with an effect that were asked for by name
	WatchS      float64  `json:"watch_s,omitempty"`
	EveryS      float64  `json:"every_s,omitempty"`
	KeepPrompts bool     `json:"keep_prompts"`
}

// Redacted is one place where something was hidden.
type Redacted struct {
	File  string `json:"file"`
	Where string `json:"where"` // JSON path, or line
	Rule  string `json:"rule"`
}

// Target is one server.
type Target struct {
	Schema        string   `json:"schema,omitempty"`
	SchemaVersion int      `json:"schema_version,omitempty"`
	ID            string   `json:"id"`
	URL           string   `json:"url"`                      // redacted
	Name          string   `json:"name,omitempty"`           // as discovery calls it: pod, node
	Engine        string   `json:"engine,omitempty"`         // id; "" = not recognised
	EngineVersion string   `json:"engine_version,omitempty"` // as the server says
	EngineBy      string   `json:"engine_by,omitempty"`      // what it was recognised by
	Probes        []Probe  `json:"probes"`
	Samples       []Probe  `json:"samples,omitempty"` // metrics and loads over time, oldest first
	Logs          []File   `json:"logs,omitempty"`
	Host          []File   `json:"host,omitempty"`
	Notes         []string `json:"notes,omitempty"`
}

// Probe is one request and what became of it.
type Probe struct {
	Name       string            `json:"name"` // neutral name of the endpoint
	Method     string            `json:"method"`
	Path       string            `json:"path"`           // with query, as it was sent last
	File       string            `json:"file,omitempty"` // of the body, relative to the bundle; "" = no body
	Status     int               `json:"status"`         // 0 = no reply
	ErrorClass string            `json:"error_class,omitempty"`
	Error      string            `json:"error,omitempty"` // one line
	Started    time.Time         `json:"started,omitzero"`
	DurationMS float64           `json:"duration_ms,omitempty"`
	Headers    map[string]string `json:"headers,omitempty"` // redacted, names in canonical spelling
	Bytes      int64             `json:"bytes"`             // of the body, as received
	Truncated  bool              `json:"truncated,omitempty"`
	Tries      int               `json:"tries,omitempty"` // more than one where it was harmless to repeat
	Cost       string            `json:"cost,omitempty"`  // what the probe did to the server
	// Stale: the capture's own list says otherwise than the files; the list counts.
	Stale bool `json:"stale,omitempty"`

	body []byte // where the file holds more than the body
	held bool
}

// OK says that a whole reply with a good status came.
func (p Probe) OK() bool { return p.Status >= 200 && p.Status < 300 && p.ErrorClass == "" }

// File is one file that is no reply of a server.
type File struct {
	Name      string `json:"name"`
	File      string `json:"file,omitempty"`   // relative to the bundle; "" = it could not be had
	Source    string `json:"source,omitempty"` // path or command that it came from
	Bytes     int64  `json:"bytes"`            // of the original
	Truncated bool   `json:"truncated,omitempty"`
	Error     string `json:"error,omitempty"`
}

// Probe finds a target's probe by name; of several the first.
func (t Target) Probe(name string) (Probe, bool) {
	for _, p := range t.Probes {
		if p.Name == name {
			return p, true
		}
	}
	return Probe{}, false
}
