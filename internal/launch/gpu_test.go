package launch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const nvidiaTwo = "0, NVIDIA H100 80GB HBM3, 81559, 550.54.15, GPU-11111111-2222, 9.0\n1, NVIDIA GB10, [N/A], 550.54.15, [N/A], [N/A]\n"

const rocmOne = `WARNING: AMD GPU device(s) is/are in a low-power state. Check power control/runtime_status

{"card1": {"Card Series": "N/A", "Card model": "0x74a1", "VRAM Total Memory (B)": "206141652992"},
 "card0": {"Card series": "AMD Instinct MI300X", "Card model": "0x74a1", "Unique ID": "0x1234", "GFX Version": "gfx942", "VRAM Total Memory (B)": "206141652992", "VRAM Total Used Memory (B)": "297672704"},
 "system": {"Driver version": "6.8.5"}}
`

func TestParseGPUs(t *testing.T) {
	for _, c := range []struct {
		name  string
		parse func([]byte) []GPU
		text  string
		want  []GPU
	}{
		{"two", parseNvidiaSMI, nvidiaTwo, []GPU{
			{0, "nvidia", "NVIDIA H100 80GB HBM3", 81559 << 20, "550.54.15", "9.0", "GPU-11111111-2222"},
			{1, "nvidia", "NVIDIA GB10", 0, "550.54.15", "", ""}}},
		{"no capability", parseNvidiaSMI, "0, NVIDIA L40S, 46068, 535.183.06, GPU-3\n", []GPU{{0, "nvidia", "NVIDIA L40S", 46068 << 20, "535.183.06", "", "GPU-3"}}},
		{"no driver", parseNvidiaSMI, "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure, that, the, latest, one is installed\n", nil},
		{"nothing", parseNvidiaSMI, "", nil},
		{"cards", parseRocmSMI, rocmOne, []GPU{
			{0, "amd", "AMD Instinct MI300X", 206141652992, "6.8.5", "gfx942", "0x1234"},
			{1, "amd", "AMD GPU", 206141652992, "6.8.5", "", ""}}},
		{"no JSON", parseRocmSMI, "ERROR: ROCm SMI driver is not loaded", nil},
		{"other JSON", parseRocmSMI, `{"card0": 3}`, nil},
	} {
		if diff := cmp.Diff(c.want, c.parse([]byte(c.text))); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", c.name, diff)
		}
	}
}

// The tools as scripts: an old driver that does not know a field, and one that
// fails.
func TestReportGPUs(t *testing.T) {
	dir := t.TempDir()
	script := func(name, body string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+body), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	b := NewLocal([]string{"PATH=" + dir})
	for _, r := range ReportGPUs(t.Context(), b) {
		if r.Found || r.Problem != "" || r.GPUs != nil {
			t.Errorf("nothing installed: %+v", r)
		}
	}
	script("nvidia-smi", `case "$1" in *compute_cap*) echo 'Field "compute_cap" is not a valid field to query.'; exit 2;; esac
echo '0, Tesla V100-SXM2-32GB, 32510, 450.80.02, GPU-9'
`)
	script("rocm-smi", "echo 'ERROR: driver not loaded' >&2; exit 1\n")
	reports := ReportGPUs(t.Context(), b)
	if r := reports[0]; len(r.GPUs) != 1 || r.Problem != "" || r.GPUs[0].Name != "Tesla V100-SXM2-32GB" {
		t.Errorf("%+v", r)
	}
	if r := reports[1]; !r.Found || r.GPUs != nil || !strings.Contains(r.Problem, "exit code 1: ERROR: driver not loaded") {
		t.Errorf("%+v", r)
	}
	if gpus := GPUs(t.Context(), b); len(gpus) != 1 {
		t.Errorf("%+v", gpus)
	}
}

func FuzzParseGPUs(f *testing.F) {
	f.Add(nvidiaTwo)
	f.Add(rocmOne)
	f.Add("{}")
	f.Fuzz(func(t *testing.T, text string) {
		for _, gpus := range [][]GPU{parseNvidiaSMI([]byte(text)), parseRocmSMI([]byte(text))} {
			for _, g := range gpus {
				if g.Index < 0 || g.Name == "" || g.MemoryBytes < 0 || g.Vendor == "" {
					t.Errorf("%+v", g)
				}
			}
		}
	})
}
