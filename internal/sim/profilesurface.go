package sim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
)

// SurfaceProfile is the shape of the traces that an engine's torch profiler
// writes: names, frames, operators and kernels of one forward step. Texts marked
// as templates are filled from [profileName] or [profileMark].
type SurfaceProfile struct {
	Sources []SurfaceSource `json:"sources"`
	// File is the name of a rank's file, FileAt that of a launch that named the
	// path itself, Frontend that of the API server's own trace ("" = none). All
	// are templates. A name ending in .gz is compressed.
	File     string `json:"file"`
	FileAt   string `json:"file_at,omitempty"`
	Frontend string `json:"frontend,omitempty"`
	// ID is the template of the files' id where the start request gives none.
	ID string `json:"id,omitempty"`
	// Asks: the body of a start request is read.
	Asks bool `json:"asks"`
	// StepsMissing is by how many steps a counted profile falls short.
	StepsMissing int `json:"steps_missing,omitempty"`
	// Stays: a profile that stopped by itself counts as running until it is stopped.
	Stays bool `json:"stays,omitempty"`
	// Stages are what a profile by stage writes as .Stage, by prefill and decode;
	// empty = there is no such profile.
	Stages map[string]string `json:"stages,omitempty"`

	Stack   bool           `json:"with_stack"` // Python frames
	Meta    map[string]any `json:"meta"`       // members beside traceEvents
	Process string         `json:"process"`    // of the ranks; a template
	// Marks are the annotations around a step, by prefill, decode and mixed;
	// templates.
	Marks map[string]string `json:"marks,omitempty"`
	// Root are the Python frames around a step, Replay those around the replay of
	// a graph, all outermost first.
	Root   []string `json:"root,omitempty"`
	Replay []string `json:"replay,omitempty"`
	// Before, Layer and After are what a step launches, a layer again and again.
	Before []SurfaceKernel `json:"before"`
	Layer  []SurfaceKernel `json:"layer"`
	After  []SurfaceKernel `json:"after"`

	texts map[string]*template.Template
}

// SurfaceKernel is one launch of a step.
type SurfaceKernel struct {
	Kernel string   `json:"kernel"`
	Decode string   `json:"decode,omitempty"` // its name in decode steps, where that is another
	Op     string   `json:"op,omitempty"`     // operator around the launch
	Launch string   `json:"launch,omitempty"` // "" = cudaLaunchKernel
	Frames []string `json:"frames,omitempty"` // outermost first
	Weight float64  `json:"weight"`           // its part of the step's time, against the others
	Comm   bool     `json:"comm,omitempty"`   // only where several ranks share a layer
	Grid   [3]int   `json:"grid"`
	Block  [3]int   `json:"block"`
}

// profileName is what the names of files and processes are made of.
type profileName struct {
	ID, Stage                          string
	Rank, TPRank, PPRank, DPRank       int
	TP, PP, DP, PID                    int
	UnixNano                           int64
	UnixF                              float64
	Date                               string // 20060102-150405
	Base, Ext                          string // of a path that the launch named
	World                              int
	Version                            string
	Stack                              bool
	Model, Served, GPU                 string
	Prefills, PromptTokens, Decodes, N int
}

// loadProfile reads the shape of the traces.
func loadProfile(fsys fs.FS, file string) (*SurfaceProfile, error) {
	raw, err := readFile(fsys, file)
	if err != nil {
		return nil, err
	}
	p := new(SurfaceProfile)
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(p); err != nil {
		return nil, fmt.Errorf("%s at byte %d: %w", file, dec.InputOffset(), err)
	}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return p, nil
}

// maxProfileKernels bounds the launches of one layer.
const maxProfileKernels = 200

func (p *SurfaceProfile) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(p.Sources) == 0 || p.File == "" {
		bad("sources and file are needed")
	}
	all := slices.Concat(p.Before, p.Layer, p.After)
	if len(p.Layer) == 0 || len(all) > maxProfileKernels {
		bad("layer: expected 1 to %d kernels, all parts together", maxProfileKernels)
	}
	for _, k := range all {
		if k.Kernel == "" || !(k.Weight > 0) {
			bad("kernel %q: expected a name and a weight above 0", k.Kernel)
		}
	}
	for kind := range p.Marks {
		if !slices.Contains([]string{"prefill", "decode", "mixed"}, kind) {
			bad("marks: %q: expected prefill, decode or mixed", kind)
		}
	}
	for kind := range p.Stages {
		if kind != "prefill" && kind != "decode" {
			bad("stages: %q: expected prefill or decode", kind)
		}
	}
	p.texts = map[string]*template.Template{}
	for _, text := range p.templates() {
		t, err := template.New("profile").Parse(text)
		if err == nil {
			err = t.Execute(io.Discard, profileName{ID: "id"})
		}
		if err != nil {
			bad("template %w", err)
			continue
		}
		p.texts[text] = t
	}
	return errors.Join(errs...)
}

func (p *SurfaceProfile) templates() []string {
	out := []string{p.File, p.FileAt, p.Frontend, p.ID, p.Process}
	for _, m := range p.Marks {
		out = append(out, m)
	}
	return out
}

// fill makes a text; check has tried it.
func (p *SurfaceProfile) fill(text string, n profileName) string {
	var b strings.Builder
	if t := p.texts[text]; t != nil {
		_ = t.Execute(&b, n)
	}
	return b.String()
}

// fileName is a name without folders, whatever an id holds.
func (p *SurfaceProfile) fileName(text string, n profileName) string {
	n.ID = filepath.Base(filepath.Clean("/" + n.ID))
	return filepath.Base(filepath.Clean("/" + p.fill(text, n)))
}
