package profile

import (
	"llmdyno/internal/profile/attrib"
	"llmdyno/internal/profile/fusion"
)

// SchemaVersion is the version of [Document].
const SchemaVersion = 1

// Document is what a triage found. Times are microseconds in JSON, shares are
// percent.
type Document struct {
	SchemaVersion int    `json:"schema_version"`
	Summary       string `json:"summary"` // one sentence: what dominates the run
	Mode          string `json:"mode"`    // "single" or "mapping+formal"
	Framework     string `json:"framework"`
	// Evidence says what Framework was told by.
	Evidence []string `json:"framework_evidence"`
	Model    string   `json:"model,omitempty"`
	TP       TPSize   `json:"tp"`
	// Events are the entries of traceEvents of the files that the tables are made of.
	Events int64 `json:"events"`

	Tables // of the lowest rank's GPU, or of the GPU with the most work

	// Mapping says how sources came from the mapping trace.
	Mapping *attrib.MappingUse `json:"mapping,omitempty"`
	// Devices are all GPUs of the files read, those of Others included.
	Devices []DeviceLine `json:"devices"`
	// Others are the tables of further ranks and GPUs, where asked for, and of a
	// second recording of a rank and stage.
	Others []Tables `json:"others,omitempty"`
	// Ranks compares the GPUs that have tables, where there are several.
	Ranks *attrib.RankReport `json:"ranks,omitempty"`

	Inputs   []Input   `json:"inputs"`
	LeftOut  []LeftOut `json:"left_out,omitempty"`
	Warnings []string  `json:"warnings"`
	// MinShare and Limit are the bars of the rows shown, see Omitted.
	MinShare float64 `json:"min_share_pct"`
	Limit    int     `json:"limit,omitempty"`
}

// Modes.
const (
	ModeSingle = "single"
	ModePair   = "mapping+formal"
)

// Tables are the findings for one GPU.
type Tables struct {
	Rank    string   `json:"rank,omitempty"` // "TP 0", "TP00-DP01"; "" when nothing names one
	Sources []string `json:"sources"`        // the files that recorded it
	Device  string   `json:"device"`         // name of the GPU's model; "" when the trace does not say
	GPUPID  string   `json:"gpu_pid"`        // process id of the GPU's rows in the trace

	GPUEvents attrib.GPUEvents                   `json:"gpu_events"`
	Stages    map[attrib.Stage]attrib.StageRow   `json:"stages"`
	Classes   map[attrib.Stage][]attrib.ClassRow `json:"classes"`
	Kernels   []attrib.KernelRow                 `json:"kernels"`
	Omitted   map[attrib.Stage]attrib.Part       `json:"omitted,omitempty"` // rows below the bars, by stage

	OverlapSummary attrib.OverlapSummary `json:"overlap_summary"`
	Overlap        []attrib.OverlapRow   `json:"overlap"`

	// OverlapNotes tell which rows of Overlap an engine overlaps on purpose.
	OverlapNotes []fusion.OverlapNote `json:"overlap_notes"`

	// Fusion are the known fusions that are on, or whose parts ran apart; Similar
	// are windows that only resemble one.
	Fusion  []fusion.Finding `json:"fusion"`
	Similar []fusion.Note    `json:"fusion_similar"`

	Idle       attrib.IdleSummary `json:"idle"`
	Gaps       []attrib.GapRow    `json:"gaps"`
	StepStages []attrib.StepStage `json:"step_stages"`
	Steps      []attrib.StepRow   `json:"steps"`
	Layers     []attrib.Layer     `json:"layers"`

	// Timelines are what the tables were made of, by source, where [Request.Keep]
	// asks for them.
	Timelines []*attrib.Timeline `json:"-"`
}

// TPSize is the tensor-parallel size with where it was read. Size 0 is unknown.
type TPSize struct {
	Size   int    `json:"size"`
	Source string `json:"source,omitempty"`
	// Inferred: from the trace's collectives, not from what somebody set.
	Inferred bool `json:"inferred,omitempty"`
}

// DeviceLine is one GPU of a trace.
type DeviceLine struct {
	Input    string       `json:"input"`
	Rank     string       `json:"rank,omitempty"`
	GPUPID   string       `json:"gpu_pid"`
	Name     string       `json:"name,omitempty"` // process name in the trace
	Launches int          `json:"launches"`
	Total    attrib.Nanos `json:"total_us"`
	Tables   bool         `json:"tables"` // it has tables in this document
}

// Input is one file that was read.
type Input struct {
	Path   string `json:"path"`
	Role   string `json:"role,omitempty"` // "mapping", "formal" in pair mode
	Rank   string `json:"rank,omitempty"`
	Stage  string `json:"stage,omitempty"` // what its path says
	Events int64  `json:"events"`
	Bytes  int64  `json:"bytes"` // decompressed
	// Partial says why only a part of the file could be read; "" = all of it.
	Partial string `json:"partial,omitempty"`
}

// LeftOut is a file that discovery found and did not use.
type LeftOut struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
}
