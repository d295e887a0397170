package launch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"
)

// GPU is one GPU of a machine. What the vendor's tool did not say is absent.
type GPU struct {
	Index       int    `json:"index"`
	Vendor      string `json:"vendor"` // nvidia or amd
	Name        string `json:"name"`   // as the vendor's tool prints it
	MemoryBytes int64  `json:"memory_bytes,omitempty"`
	Driver      string `json:"driver,omitempty"`
	Arch        string `json:"arch,omitempty"` // compute capability "9.0", or "gfx942"
	UUID        string `json:"uuid,omitempty"`
}

// GPUReport is the answer of one vendor's tool.
type GPUReport struct {
	Tool    string `json:"tool"`
	Found   bool   `json:"found"` // the tool is installed
	GPUs    []GPU  `json:"-"`
	Problem string `json:"problem,omitempty"` // why it names none; "" = it does, or is not installed
}

// gpuTimeout bounds one call: a driver that has to be loaded first takes some
// seconds a GPU.
const gpuTimeout = 60 * time.Second

// gpuTool asks one vendor.
type gpuTool struct {
	name  string
	asks  [][]string // arguments, tried in order until an answer names a GPU
	parse func(out []byte) []GPU
}

// The fields of nvidia-smi (its --help-query-gpu; compute_cap came with driver
// 470) and the keys of rocm-smi --json, whose case changed between releases
// (ROCm/rocm_smi_lib python_smi_tools/rocm_smi.py, 2026-08).
var gpuTools = []gpuTool{
	{"nvidia-smi", [][]string{
		{"--query-gpu=index,name,memory.total,driver_version,uuid,compute_cap", "--format=csv,noheader,nounits"},
		{"--query-gpu=index,name,memory.total,driver_version,uuid", "--format=csv,noheader,nounits"},
	}, parseNvidiaSMI},
	{"rocm-smi", [][]string{
		{"--showproductname", "--showmeminfo", "vram", "--showuniqueid", "--showdriverversion", "--json"},
	}, parseRocmSMI},
}

// GPUs lists the GPUs of the machine behind a backend; none where no vendor's
// tool is installed or none answers.
func GPUs(ctx context.Context, b Backend) []GPU {
	var all []GPU
	for _, r := range ReportGPUs(ctx, b) {
		all = append(all, r.GPUs...)
	}
	return all
}

// ReportGPUs asks every vendor's tool, one report each.
func ReportGPUs(ctx context.Context, b Backend) []GPUReport {
	reports := make([]GPUReport, len(gpuTools))
	for i, tool := range gpuTools {
		reports[i] = tool.ask(ctx, b)
	}
	return reports
}

func (g gpuTool) ask(ctx context.Context, b Backend) GPUReport {
	r := GPUReport{Tool: g.name, Found: true}
	for _, args := range g.asks {
		out, exit, err := b.Output(ctx, append([]string{g.name}, args...), nil, gpuTimeout)
		if errors.Is(err, fs.ErrNotExist) {
			r.Found = false
			return r
		}
		if err != nil {
			r.Problem = err.Error()
			return r
		}
		if r.GPUs = g.parse(out); len(r.GPUs) > 0 {
			r.Problem = ""
			return r
		}
		if r.Problem == "" {
			r.Problem = fmt.Sprintf("exit code %d: %s", exit, clip(strings.Join(strings.Fields(string(out)), " ")))
		}
	}
	return r
}

// parseNvidiaSMI reads lines of "index, name, MiB, driver, uuid[, capability]".
// A line that is none of these is a message, not a GPU.
func parseNvidiaSMI(out []byte) []GPU {
	var gpus []GPU
	for line := range strings.Lines(string(out)) {
		f := strings.Split(line, ",")
		if len(f) < 5 {
			continue
		}
		for i := range f {
			if f[i] = strings.TrimSpace(f[i]); strings.HasPrefix(f[i], "[") { // [N/A], [Not Supported]
				f[i] = ""
			}
		}
		index, err := strconv.Atoi(f[0])
		if err != nil || index < 0 || f[1] == "" {
			continue
		}
		g := GPU{Index: index, Vendor: "nvidia", Name: f[1], Driver: f[3], UUID: f[4]}
		if mib, err := strconv.ParseInt(f[2], 10, 32); err == nil && mib > 0 {
			g.MemoryBytes = mib << 20
		}
		if len(f) > 5 {
			g.Arch = f[5]
		}
		gpus = append(gpus, g)
	}
	return gpus
}

// parseRocmSMI reads {"card0": {"Card Series": …}, …, "system": {"Driver
// version": …}}; warnings may stand around it.
func parseRocmSMI(out []byte) []GPU {
	text := string(out)
	from, to := strings.Index(text, "{"), strings.LastIndex(text, "}")
	if from < 0 || to < from {
		return nil
	}
	var doc map[string]map[string]any
	if json.Unmarshal([]byte(text[from:to+1]), &doc) != nil {
		return nil
	}
	driver := rocmValue(doc["system"], "driver version")
	var gpus []GPU
	for key, card := range doc {
		n, ok := strings.CutPrefix(key, "card")
		index, err := strconv.Atoi(n)
		if !ok || err != nil || index < 0 {
			continue
		}
		g := GPU{Index: index, Vendor: "amd", Driver: driver, Name: "AMD GPU",
			Arch: rocmValue(card, "gfx version"), UUID: rocmValue(card, "unique id")}
		for _, name := range []string{"card series", "card model", "device name"} {
			if v := rocmValue(card, name); v != "" && !strings.HasPrefix(v, "0x") {
				g.Name = v
				break
			}
		}
		if b, err := strconv.ParseInt(rocmValue(card, "vram total memory (b)"), 10, 64); err == nil && b > 0 {
			g.MemoryBytes = b
		}
		gpus = append(gpus, g)
	}
	slices.SortFunc(gpus, func(a, b GPU) int { return a.Index - b.Index })
	return gpus
}

// rocmValue finds a key whatever its case; "N/A" counts as absent.
func rocmValue(card map[string]any, key string) string {
	for k, v := range card {
		if s, ok := v.(string); ok && strings.EqualFold(k, key) {
			if s = strings.TrimSpace(s); s != "N/A" {
				return s
			}
		}
	}
	return ""
}
