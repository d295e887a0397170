package witness

import (
	"context"
	"io/fs"
	"math"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fixture reads a text in the layout of a vendor's tool.
func fixture(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestParseGPUTools(t *testing.T) {
	for _, c := range []struct {
		file  string
		parse func([]byte) []GPUState
		want  []GPUState
	}{
		{"nvidia-smi.txt", parseNvidiaSMI, []GPUState{
			{Index: 0, UUID: "GPU-11111111-aaaa", PowerW: new(612.31), LimitW: new(700.0), SMClockMHz: new(1755.0), MemClockMHz: new(2619.0), TempC: new(63.0), UtilPct: new(98.0), MemUsedMiB: new(71234.0), Throttle: []string{"power cap"}},
			{Index: 1, UUID: "GPU-22222222-bbbb", PowerW: new(71.02), LimitW: new(700.0), SMClockMHz: new(345.0), MemClockMHz: new(2619.0), TempC: new(31.0), UtilPct: new(0.0), MemUsedMiB: new(4.0), Throttle: []string{}},
			{Index: 2, UUID: "GPU-33333333-cccc", SMClockMHz: new(1200.0), TempC: new(87.0), Throttle: []string{"hardware slowdown", "hardware thermal"}},
			{Index: 3, UUID: "GPU-44444444-dddd"},
		}},
		{"dcgmi.txt", parseDCGM, []GPUState{
			{Index: 0, PowerW: new(612.31), EnergyJ: new(1234567.89), SMClockMHz: new(1755.0), MemClockMHz: new(2619.0), TempC: new(63.0), UtilPct: new(98.0), MemUsedMiB: new(71234.0), Throttle: []string{"power cap"}},
			{Index: 1, PowerW: new(70.5), SMClockMHz: new(345.0), MemClockMHz: new(2619.0), TempC: new(31.0), UtilPct: new(0.0), MemUsedMiB: new(4.0), Throttle: []string{}},
		}},
		{"rocm-smi.txt", parseRocmSMI, []GPUState{
			{Index: 0, PowerW: new(133.0), LimitW: new(750.0), SMClockMHz: new(131.0), MemClockMHz: new(900.0), TempC: new(35.0), UtilPct: new(0.0), MemUsedMiB: new(284.0)},
			{Index: 1, PowerW: new(701.0), LimitW: new(750.0), SMClockMHz: new(2100.0), MemClockMHz: new(1300.0), TempC: new(71.0), UtilPct: new(100.0), MemUsedMiB: new(190000.0)},
		}},
	} {
		if d := cmp.Diff(c.want, c.parse(fixture(t, c.file))); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.file, d)
		}
	}
}

func FuzzParseGPUTools(f *testing.F) {
	for _, name := range []string{"nvidia-smi.txt", "dcgmi.txt", "rocm-smi.txt"} {
		f.Add(fixture(f, name))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, tool := range gpuTools {
			for _, s := range tool.parse(text) {
				if s.Index < 0 || s.PowerW != nil && !(*s.PowerW >= 0) {
					t.Errorf("%s: %+v", tool.name, s)
				}
			}
		}
	})
}

// The first tool that names a GPU is asked, in a form that it knows.
func TestFindGPUs(t *testing.T) {
	good := fixture(t, "nvidia-smi.txt")
	asked := 0
	old := func(_ context.Context, argv, _ []string, _ time.Duration) ([]byte, int, error) {
		asked++
		if argv[1] != gpuTools[1].args[0] {
			return []byte("Field \"clocks_event_reasons.active\" is not a valid field to query.\n"), 2, nil
		}
		return good, 0, nil
	}
	g := findGPUs(t.Context(), old, "1,GPU-3333")
	if g.tool.args[0] != gpuTools[1].args[0] || g.problem != "" || asked != 2 {
		t.Errorf("an old driver: %v, %q", g.tool.args, g.problem)
	}
	if got := g.read(t.Context()); len(got) != 2 || got[0].Index != 1 || got[1].Index != 2 {
		t.Errorf("visible GPUs: %+v", got)
	}
	none := func(context.Context, []string, []string, time.Duration) ([]byte, int, error) {
		return nil, 0, fs.ErrNotExist
	}
	if g := findGPUs(t.Context(), none, ""); g.tool.name != "" || g.problem != "" || g.read(t.Context()) != nil {
		t.Errorf("no tool: %+v", g)
	}
	broken := func(_ context.Context, argv, _ []string, _ time.Duration) ([]byte, int, error) {
		if argv[0] != "nvidia-smi" {
			return nil, 0, fs.ErrNotExist
		}
		return []byte("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n"), 9, nil
	}
	if g := findGPUs(t.Context(), broken, ""); g.tool.name != "" || g.problem == "" {
		t.Errorf("no driver: %+v", g)
	}
	if g := findGPUs(t.Context(), nil, ""); g.tool.name != "" || g.problem != "" {
		t.Errorf("nobody to ask: %+v", g)
	}
}

func TestEnergy(t *testing.T) {
	at := func(ms float64, gpus ...GPUState) Reading { return Reading{AtMs: ms, GPUs: gpus} }
	in := int64(3000)
	c := Totals{OutputTokens: 1000, InputTokens: &in}
	power := []Reading{
		at(0, GPUState{PowerW: new(100.0)}, GPUState{Index: 1, PowerW: new(50.0)}),
		at(1000, GPUState{PowerW: new(300.0)}, GPUState{Index: 1, PowerW: new(50.0)}),
		at(4000, GPUState{PowerW: new(300.0)}, GPUState{Index: 1, PowerW: new(50.0)}),
	}
	e := energy(tracks(power), 4, c)
	if e == nil || e.By != "power" || math.Abs(e.Joules-(200+900+200)) > 1e-9 || *e.PerOutputToken != 1.3 || *e.PerToken != 0.325 {
		t.Errorf("from power: %+v", e)
	}
	counted := []Reading{at(0, GPUState{EnergyJ: new(1000.0), PowerW: new(1.0)}), at(1000), at(2000, GPUState{EnergyJ: new(1700.0), PowerW: new(1.0)})}
	if e := energy(tracks(counted), 2, c); e == nil || e.By != "counter" || e.Joules != 700 {
		t.Errorf("from counters: %+v", e)
	}
	if e := energy(tracks([]Reading{at(0, GPUState{})}), 2, c); e != nil {
		t.Errorf("from nothing: %+v", e)
	}
	if e := energy(nil, 2, c); e != nil {
		t.Errorf("without GPUs: %+v", e)
	}
}
