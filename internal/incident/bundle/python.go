package bundle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The layout of the Python toolkit (sgl-project/sglang PR 24250 at 321298da75,
// 2026-05-02, incident_artifact_tool.py).
const (
	metadataName = "metadata.json"
	errorSuffix  = ".error.json"
)

// pythonFile is one request of the toolkit and the file that it leaves.
type pythonFile struct {
	name, probe, path string
	wrapped           bool // JSON with the reply inside; text otherwise
}

var pythonFiles = []pythonFile{
	{"health.txt", "health", "/health", false},
	{"health_generate.txt", "health_generate", "/health_generate", false},
	{"metrics.txt", "metrics", "/metrics", false},
	{"model_info.json", "model_info", "/model_info", true},
	{"server_info.json", "server_info", "/server_info", true},
	{"loads_all.json", "loads", "/v1/loads?include=all", true},
	{"loads_core_queues_disagg.json", "loads_core", "/v1/loads?include=core,queues,disagg,spec", true},
	{"hicache_storage_backend.json", "hicache", "/hicache/storage-backend", true},
}

func (b *Bundle) loadPython(names []string) error {
	b.Manifest = Manifest{Origin: OriginPython, State: "complete", Settings: Settings{Targets: 1, KeepPrompts: true}}
	var meta struct {
		BaseURL     string  `json:"base_url"`
		CollectedAt string  `json:"collected_at"`
		Token       bool    `json:"token_provided"`
		Timeout     float64 `json:"timeout_seconds"`
	}
	if !slices.Contains(names, metadataName) {
		b.warn("%s is missing: neither the server nor the time of the capture is known", metadataName)
	} else if err := b.decode(metadataName, &meta); err != nil {
		b.warn("%v", err)
	}
	b.Manifest.TokenGiven, b.Manifest.Settings.TimeoutS = meta.Token, meta.Timeout
	if at, err := time.Parse("20060102_150405", meta.CollectedAt); err == nil {
		b.Manifest.Started = at // local time of an unknown zone, taken for UTC
	}
	listed := b.pythonSummary(names)
	t := Target{ID: "server", URL: meta.BaseURL, Probes: []Probe{}}
	for _, f := range pythonFiles {
		if p, ok := b.pythonProbe(f, names, listed); ok {
			p.Started = b.Manifest.Started
			t.Probes = append(t.Probes, p)
		}
	}
	b.Targets = []Target{t}
	return nil
}

// outcome is what SUMMARY.txt says of one file.
type outcome struct {
	ok     bool
	status int
	text   string
}

var failedLine = regexp.MustCompile(`^failed status=(-?\d+) error=(.*)$`)

// pythonSummary reads SUMMARY.txt, which the last capture into a folder has
// written whole.
func (b *Bundle) pythonSummary(names []string) map[string]outcome {
	listed := map[string]outcome{}
	if !slices.Contains(names, SummaryName) {
		return listed
	}
	raw, err := b.files.read(SummaryName, maxIndex)
	if err != nil {
		b.warn("%v", err)
		return listed
	}
	for line := range strings.Lines(string(raw)) {
		name, said, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ": ")
		if !ok || !slices.ContainsFunc(pythonFiles, func(f pythonFile) bool { return f.name == name }) {
			continue
		}
		if m := failedLine.FindStringSubmatch(said); m != nil {
			status, _ := strconv.Atoi(m[1])
			listed[name] = outcome{status: status, text: m[2]}
		} else if said == "ok" {
			listed[name] = outcome{ok: true}
		}
	}
	return listed
}

// wrapper is the JSON that stands around a reply.
type wrapper struct {
	OK          *bool           `json:"ok"`
	Status      *int            `json:"status"`
	Path        string          `json:"path"`
	JSON        json.RawMessage `json:"json"`
	Text        *string         `json:"text"`
	DecodeError *string         `json:"decode_error"`
	Error       *string         `json:"error"`
}

func (b *Bundle) pythonProbe(f pythonFile, names []string, listed map[string]outcome) (Probe, bool) {
	p := Probe{Name: f.probe, Method: "GET", Path: f.path, held: true}
	said, isListed := listed[f.name]
	plain, failed := slices.Contains(names, f.name), slices.Contains(names, f.name+errorSuffix)
	if !plain && !failed {
		if isListed {
			p.outcome(said)
			b.warn("%s is missing although %s lists it", f.name, SummaryName)
		}
		return p, isListed
	}
	// Text kinds leave one of two files; both stand there after a second capture
	// into the same folder, and only the list says which one is new.
	p.Stale = plain && failed
	p.File = f.name
	stale := f.name + errorSuffix
	if failed && (!plain || isListed && !said.ok) {
		p.File, stale = f.name+errorSuffix, f.name
	}
	if p.Stale {
		b.Manifest.Stale = append(b.Manifest.Stale, stale)
		b.warn("%s is left from an earlier capture into the same folder; %s tells which file is new", stale, SummaryName)
	}
	raw, err := b.files.read(p.File, maxFile)
	if err != nil {
		b.warn("%v", err)
		p.held = false
		return p, true
	}
	if !f.wrapped && p.File == f.name {
		p.Status, p.body, p.Bytes = 200, raw, int64(len(raw)) // any 2xx: the toolkit does not say which
		return p, true
	}
	b.unwrap(&p, raw)
	return p, true
}

// unwrap takes a reply out of its wrapper. JSON that is no wrapper is taken for
// the reply itself.
func (b *Bundle) unwrap(p *Probe, raw []byte) {
	var w wrapper
	err := json.Unmarshal(raw, &w)
	switch {
	case !json.Valid(raw):
		p.body, p.Status, p.ErrorClass = raw, 0, ClassNotJSON
		p.Error = "the bundle's own file is no JSON"
		b.warn("%s: expected JSON", p.File)
	case err != nil || w.OK == nil:
		p.body, p.Status = raw, 200
	case !*w.OK:
		o := outcome{}
		if w.Status != nil {
			o.status = *w.Status
		}
		if w.Error != nil {
			o.text = *w.Error
		}
		p.outcome(o)
	case w.Text != nil:
		p.body, p.Status, p.ErrorClass = []byte(*w.Text), statusOf(w), ClassNotJSON
		p.Error = "the reply is no JSON"
	default:
		p.body, p.Status = bytes.Clone(w.JSON), statusOf(w)
	}
	if w.Path != "" {
		p.Path = w.Path
	}
	p.Bytes = int64(len(p.body))
}

func statusOf(w wrapper) int {
	if w.Status == nil {
		return 200
	}
	return *w.Status
}

// outcome fills a probe from status and text; the toolkit writes -1 and Python's
// words where no reply came.
func (p *Probe) outcome(o outcome) {
	switch {
	case o.ok:
		p.Status = 200
	case o.status > 0:
		p.Status, p.body = o.status, []byte(o.text)
		p.ErrorClass = ClassOfStatus(o.status)
		p.Error = fmt.Sprintf("HTTP %d", o.status)
	default:
		p.ErrorClass, p.Error = classOfPython(o.text), o.text
	}
	p.Bytes = int64(len(p.body))
}

// ClassOfStatus is the class of an HTTP status; "" for 200 to 299.
func ClassOfStatus(status int) string {
	switch {
	case status >= 200 && status < 300:
		return ""
	case status == 401 || status == 403:
		return ClassAuth
	}
	return ClassStatus
}

// pythonWords are words of Python's exceptions, from its library reference
// (urllib.error, socket, ssl, http.client, 3.11), the most telling first.
var pythonWords = []struct{ words, class string }{
	{"timed out", ClassTimeout}, {"TimeoutError", ClassTimeout},
	{"Name or service not known", ClassDNS}, {"getaddrinfo failed", ClassDNS}, {"gaierror", ClassDNS},
	{"nodename nor servname", ClassDNS}, {"name resolution", ClassDNS}, {"No address associated", ClassDNS},
	{"SSL", ClassTLS}, {"CERTIFICATE", ClassTLS},
	{"refused", ClassRefused}, {"No route to host", ClassRefused}, {"unreachable", ClassRefused},
	{"IncompleteRead", ClassTruncated},
}

func classOfPython(text string) string {
	for _, w := range pythonWords {
		if strings.Contains(text, w.words) {
			return w.class
		}
	}
	return ClassBroken
}
