package witness

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// GPUState is one GPU at one moment. A nil field was not told.
type GPUState struct {
	Index       int      `json:"index"`
	UUID        string   `json:"uuid,omitempty"`
	PowerW      *float64 `json:"power_w,omitempty"`
	LimitW      *float64 `json:"power_limit_w,omitempty"`
	EnergyJ     *float64 `json:"energy_j,omitempty"` // since the driver was loaded
	SMClockMHz  *float64 `json:"sm_clock_mhz,omitempty"`
	MemClockMHz *float64 `json:"mem_clock_mhz,omitempty"`
	TempC       *float64 `json:"temperature_c,omitempty"`
	UtilPct     *float64 `json:"utilisation_pct,omitempty"`
	MemUsedMiB  *float64 `json:"memory_used_mib,omitempty"`
	// Throttle are the reasons that slow the clocks; nil = not told, empty = none.
	Throttle []string `json:"throttle"`
}

// gpuTool is a program that tells the state of GPUs.
type gpuTool struct {
	name  string
	args  []string
	parse func(out []byte) []GPUState
}

const nvidiaFields = "index,uuid,power.draw,power.limit,clocks.sm,clocks.mem,temperature.gpu,utilization.gpu,memory.used,"

// gpuTools are asked in this order; the first that names a GPU is asked from
// then on. The reasons of nvidia-smi were renamed with driver 535, and both
// names live on in later ones (nvidia-smi --help-query-gpu, 2026-08). The fields
// of dcgmi are those of dcgm_fields.h: 155 power (W), 156 energy (mJ), 100 and
// 101 SM and memory clock (MHz), 150 temperature (C), 203 utilisation (%), 252
// memory in use (MiB), 112 reasons.
var gpuTools = []gpuTool{
	{"nvidia-smi", []string{"--query-gpu=" + nvidiaFields + "clocks_event_reasons.active", "--format=csv,noheader,nounits"}, parseNvidiaSMI},
	{"nvidia-smi", []string{"--query-gpu=" + nvidiaFields + "clocks_throttle_reasons.active", "--format=csv,noheader,nounits"}, parseNvidiaSMI},
	{"dcgmi", []string{"dmon", "-c", "1", "-e", "155,156,100,101,150,203,252,112"}, parseDCGM},
	{"rocm-smi", []string{"--showpower", "--showmaxpower", "--showclocks", "--showtemp", "--showuse", "--showmeminfo", "vram", "--json"}, parseRocmSMI},
}

// gpuWatch asks one tool.
type gpuWatch struct {
	tool    gpuTool // without name = none answers
	run     Output
	visible string
	problem string
}

func findGPUs(ctx context.Context, run Output, visible string) *gpuWatch {
	g := &gpuWatch{run: run, visible: visible}
	if run == nil {
		return g
	}
	for _, tool := range gpuTools {
		if ctx.Err() != nil {
			return g
		}
		g.tool = tool
		out, exit, err := run(ctx, append([]string{tool.name}, tool.args...), nil, readTimeout)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			g.problem = err.Error()
		case len(tool.parse(out)) > 0:
			g.problem = ""
			return g
		default:
			g.problem = fmt.Sprintf("%s: exit code %d: %.200s", tool.name, exit, strings.Join(strings.Fields(string(out)), " "))
		}
	}
	g.tool = gpuTool{}
	return g
}

func (g *gpuWatch) read(ctx context.Context) []GPUState {
	if g.tool.name == "" {
		return nil
	}
	out, _, err := g.run(ctx, append([]string{g.tool.name}, g.tool.args...), nil, readTimeout)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(g.tool.parse(out), func(s GPUState) bool { return !visible(g.visible, s) })
}

// visible says whether a GPU is one of the server's.
func visible(list string, s GPUState) bool {
	if strings.TrimSpace(list) == "" {
		return true
	}
	for word := range strings.SplitSeq(list, ",") {
		word = strings.TrimSpace(word)
		if word == strconv.Itoa(s.Index) || word != "" && strings.HasPrefix(word, "GPU-") && strings.HasPrefix(s.UUID, word) {
			return true
		}
	}
	return false
}

// figure is a number as a tool prints it; nil = none, as in "[N/A]".
func figure(text string) *float64 {
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
		return nil
	}
	return &v
}

// powerCap is the one reason that is no fault: most loads run into it.
const powerCap = "power cap"

// throttleBits are the reasons in nvml.h that hold the clocks below what the
// load asks for; idleness (bit 0) and a setting of the clocks' owner (bit 1) and
// of a display (bit 8) are not among them.
var throttleBits = []struct {
	bit  uint64
	name string
}{
	{0x4, powerCap}, {0x8, "hardware slowdown"}, {0x10, "sync boost"},
	{0x20, "software thermal"}, {0x40, "hardware thermal"}, {0x80, "power brake"},
}

// reasons reads a mask of reasons, in hexadecimal with 0x or in decimal; nil =
// not told.
func reasons(text string) []string {
	mask, err := strconv.ParseUint(strings.TrimSpace(text), 0, 64)
	if err != nil {
		return nil
	}
	out := []string{}
	for _, t := range throttleBits {
		if mask&t.bit != 0 {
			out = append(out, t.name)
		}
	}
	return out
}

// parseNvidiaSMI reads lines of nvidiaFields and the reasons. A line that is
// none of these is a message, not a GPU.
func parseNvidiaSMI(out []byte) []GPUState {
	var gpus []GPUState
	for line := range strings.Lines(string(out)) {
		f := strings.Split(line, ",")
		if len(f) != 10 {
			continue
		}
		index, err := strconv.Atoi(strings.TrimSpace(f[0]))
		if err != nil || index < 0 {
			continue
		}
		gpus = append(gpus, GPUState{
			Index: index, UUID: strings.TrimSpace(f[1]), PowerW: figure(f[2]), LimitW: figure(f[3]), SMClockMHz: figure(f[4]),
			MemClockMHz: figure(f[5]), TempC: figure(f[6]), UtilPct: figure(f[7]), MemUsedMiB: figure(f[8]), Throttle: reasons(f[9]),
		})
	}
	return gpus
}

// parseDCGM reads lines of "GPU 0" and the values of the fields in order.
func parseDCGM(out []byte) []GPUState {
	var gpus []GPUState
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) != 10 || f[0] != "GPU" {
			continue
		}
		index, err := strconv.Atoi(f[1])
		if err != nil || index < 0 {
			continue
		}
		s := GPUState{Index: index, PowerW: figure(f[2]), EnergyJ: figure(f[3]), SMClockMHz: figure(f[4]), MemClockMHz: figure(f[5]),
			TempC: figure(f[6]), UtilPct: figure(f[7]), MemUsedMiB: figure(f[8]), Throttle: reasons(f[9])}
		if s.EnergyJ != nil {
			*s.EnergyJ /= 1000
		}
		gpus = append(gpus, s)
	}
	return gpus
}

// parseRocmSMI reads the keys of rocm-smi --json, whose words and case changed
// between releases (ROCm/rocm_smi_lib python_smi_tools/rocm_smi.py, 2026-08).
// The tool tells no reasons for slow clocks.
func parseRocmSMI(out []byte) []GPUState {
	if i := strings.IndexByte(string(out), '{'); i > 0 {
		out = out[i:] // warnings stand before it
	}
	var cards map[string]map[string]any
	if json.Unmarshal(out, &cards) != nil {
		return nil
	}
	var gpus []GPUState
	for card, values := range cards {
		index, err := strconv.Atoi(strings.TrimPrefix(card, "card"))
		if err != nil || index < 0 || !strings.HasPrefix(card, "card") {
			continue
		}
		gpus = append(gpus, rocmState(index, values))
	}
	slices.SortFunc(gpus, func(a, b GPUState) int { return cmp.Compare(a.Index, b.Index) })
	return gpus
}

func rocmState(index int, values map[string]any) GPUState {
	s := GPUState{Index: index}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		low := strings.ToLower(key)
		v := figure(strings.TrimSuffix(strings.ToLower(strings.Trim(fmt.Sprint(values[key]), "() ")), "mhz"))
		if v == nil {
			continue
		}
		has := func(words ...string) bool {
			return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(low, w) })
		}
		switch {
		case has("max", "power"):
			s.LimitW = v
		case has("power (w)"):
			s.PowerW = v
		case has("sclk clock speed"):
			s.SMClockMHz = v
		case has("mclk clock speed"):
			s.MemClockMHz = v
		case has("temperature", "junction"), has("temperature", "edge") && s.TempC == nil:
			s.TempC = v
		case has("gpu use (%)"):
			s.UtilPct = v
		case has("vram", "used", "(b)"):
			mib := *v / (1 << 20)
			s.MemUsedMiB = &mib
		}
	}
	return s
}
