package sim

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

//go:embed figures/gpus.json
var gpuJSON []byte

//go:embed figures/models.json
var modelJSON []byte

//go:embed figures/backends.json
var backendJSON []byte

// GPU is one accelerator of the roofline. GB and GB/s are powers of ten.
type GPU struct {
	ID            string  `json:"id"`
	Title         string  `json:"title"`
	MemoryGB      float64 `json:"memory_gb"`
	BandwidthGBps float64 `json:"bandwidth_gbps"`
	FP16TFLOPS    float64 `json:"fp16_tflops"` // dense
	FP8TFLOPS     float64 `json:"fp8_tflops"`  // dense
	LinkGBps      float64 `json:"link_gbps"`   // to its neighbours, one way
	LinkLatencyUs float64 `json:"link_latency_us"`
	Source        string  `json:"source"`
	Date          string  `json:"date"`
}

// Model is what the roofline needs to know of a model.
type Model struct {
	Name    string  `json:"name"`
	TotalB  float64 `json:"total_b"`  // parameters, billions
	ActiveB float64 `json:"active_b"` // of them used by one token
	Layers  int     `json:"layers"`
	// AttentionLayers keep keys and values of the whole context; others have a
	// window or a state of fixed size.
	AttentionLayers int    `json:"attention_layers"`
	Hidden          int    `json:"hidden"`
	KVHeads         int    `json:"kv_heads"`
	HeadDim         int    `json:"head_dim,omitempty"`
	KVValues        int    `json:"kv_values,omitempty"` // values a token and layer, where keys and values are compressed
	DType           string `json:"dtype"`               // of the weights as published
	Context         int    `json:"context"`             // tokens
	Source          string `json:"source"`
	Date            string `json:"date"`
}

// figures are decoded at first use: a process that prints its help needs none.
var figures = sync.OnceValues(func() (f struct {
	gpus     []GPU
	models   []Model
	backends backends
}, err error) {
	if err = json.Unmarshal(gpuJSON, &f.gpus); err != nil {
		return f, fmt.Errorf("figures/gpus.json: %w", err)
	}
	if err = json.Unmarshal(modelJSON, &f.models); err != nil {
		return f, fmt.Errorf("figures/models.json: %w", err)
	}
	if err = json.Unmarshal(backendJSON, &f.backends); err != nil {
		return f, fmt.Errorf("figures/backends.json: %w", err)
	}
	return f, nil
})

type backends struct {
	Attention, MoE []backend
}

// backend is the speed of a kernel family against the best for each stage.
type backend struct {
	Name            string
	Prefill, Decode float64
}

func (list backends) find(in []backend, name string) backend {
	name = strings.ToLower(name)
	for _, b := range in {
		if name != "" && strings.Contains(name, b.Name) {
			return b
		}
	}
	return backend{"", 1, 1}
}

// GPUs lists the accelerators that can be simulated.
func GPUs() []GPU {
	f, _ := figures()
	return f.gpus
}

// FindGPU finds one by its id.
func FindGPU(id string) (GPU, error) {
	f, err := figures()
	if err != nil {
		return GPU{}, err
	}
	var ids []string
	for _, g := range f.gpus {
		if strings.EqualFold(g.ID, id) {
			return g, nil
		}
		ids = append(ids, g.ID)
	}
	return GPU{}, fmt.Errorf("GPU %q is not known; use one of: %s", id, strings.Join(ids, ", "))
}

// tinyModel stands for a model file on this machine: whatever it holds, the
// simulated engine answers at the speed of its overheads.
var tinyModel = Model{TotalB: 0.004, ActiveB: 0.004, Layers: 4, AttentionLayers: 4, Hidden: 256, KVHeads: 4, HeadDim: 32, DType: "fp16", Context: 8192, Source: "a local file: not read", Date: "-"}

// FindModel finds a model's figures by its name: from the table, else as a dense
// or mixture-of-experts transformer of the size in the name ("8B", "30B-A3B"),
// else an 8B one. A path that exists is a tiny model.
func FindModel(name string) (Model, error) {
	f, err := figures()
	if err != nil {
		return Model{}, err
	}
	for _, m := range f.models {
		if strings.EqualFold(m.Name, name) {
			return m, nil
		}
	}
	if info, err := os.Stat(name); err == nil && !info.IsDir() {
		m := tinyModel
		m.Name = name
		return m, nil
	}
	// A local folder or a quantised copy still carries the name at its end.
	base := strings.ToLower(name[strings.LastIndexByte(name, '/')+1:])
	for _, m := range f.models {
		if known := strings.ToLower(m.Name[strings.LastIndexByte(m.Name, '/')+1:]); base == known {
			m.Name = name
			return m, nil
		}
	}
	return modelBySize(name, base), nil
}

var (
	sizePattern   = regexp.MustCompile(`(?:^|[^a-z0-9.])(\d+(?:\.\d+)?)(b|m|t)(?:[^a-z0-9]|$)`)
	activePattern = regexp.MustCompile(`(?:^|[^a-z0-9])a(\d+(?:\.\d+)?)b(?:[^a-z0-9]|$)`)
)

func modelBySize(name, base string) Model {
	total := 8.0
	if m := sizePattern.FindStringSubmatch(base); m != nil {
		total, _ = strconv.ParseFloat(m[1], 64)
		switch m[2] {
		case "m":
			total /= 1000
		case "t":
			total *= 1000
		}
	}
	total = min(max(total, 0.0001), 10000)
	active := total
	if m := activePattern.FindStringSubmatch(base); m != nil {
		if a, _ := strconv.ParseFloat(m[1], 64); a > 0 && a < total {
			active = a
		}
	}
	dtype := "bf16"
	for _, d := range []string{"fp8", "int4", "awq", "gptq", "mxfp4", "nvfp4", "int8"} {
		if strings.Contains(base, d) {
			dtype = d
		}
	}
	layers, hidden := shapeOf(total)
	return Model{
		Name: name, TotalB: total, ActiveB: active, Layers: layers, AttentionLayers: layers, Hidden: hidden,
		KVHeads: 8, HeadDim: 128, DType: dtype, Context: 32768,
		Source: "estimated from the size in the name", Date: "-",
	}
}

// shapeOf is the layers and width of usual dense transformers of that size
// (Llama 3 and Qwen 3 families).
func shapeOf(totalB float64) (layers, hidden int) {
	switch {
	case totalB < 0.1:
		return 4, 256
	case totalB < 1:
		return 28, 1024
	case totalB < 5:
		return 32, 2560
	case totalB < 12:
		return 36, 4096
	case totalB < 40:
		return 64, 5120
	case totalB < 150:
		return 80, 8192
	}
	return 92, 6144
}

// bytesPerWeight of a number format, its scales included.
func bytesPerWeight(dtype string) float64 {
	d := strings.ToLower(dtype)
	switch {
	case strings.Contains(d, "fp4"), strings.Contains(d, "int4"), strings.Contains(d, "awq"), strings.Contains(d, "gptq"), strings.Contains(d, "q4"):
		return 0.5625
	case strings.Contains(d, "fp8"), strings.Contains(d, "int8"), strings.Contains(d, "e4m3"), strings.Contains(d, "e5m2"), strings.Contains(d, "q8"):
		return 1
	case strings.Contains(d, "32"):
		return 4
	}
	return 2
}
