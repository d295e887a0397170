package profile

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"llmdyno/internal/engine"
	"llmdyno/internal/engine/sglang"
	"llmdyno/internal/engine/vllm"
	"llmdyno/internal/profile/attrib"
	"llmdyno/internal/profile/trace"
)

func engines() engine.Set { return engine.Set{sglang.New(), vllm.New()} }

// folder writes traces in text form and other files as they are, and returns
// their folder.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		data := []byte(text)
		if strings.Contains(name, ".trace.json") {
			var err error
			if data, err = trace.TextJSON(text); err != nil {
				t.Fatal(err)
			}
		}
		if strings.HasSuffix(name, ".gz") {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			z.Write(data)
			z.Close()
			data = b.Bytes()
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func triage(t *testing.T, r Request) *Document {
	t.Helper()
	r.Engines = engines()
	d, err := Triage(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const small = `
	meta rank=0 world=2
	device 0 "NVIDIA H100 80GB HBM3"
	mark 0 50 "step[EXTEND bs=1 toks=9]"
	frame 0 50 "/w/python/sglang/srt/a.py(1): f"
	launch 1 1 cudaLaunchKernel corr=1
	launch 3 1 cudaLaunchKernel corr=2
	mark 60 50 "step[DECODE bs=1]"
	launch 61 1 cudaLaunchKernel corr=3
	kernel 100 60 gemm corr=1
	kernel 200 0.5 rms_norm corr=2
	kernel 300 40 attention corr=3`

func TestDocument(t *testing.T) {
	dir := folder(t, map[string]string{"a.trace.json": small})
	d := triage(t, Request{Paths: []string{filepath.Join(dir, "a.trace.json")}, MinShare: 1})
	if d.Framework != "sglang" || d.Device != "NVIDIA H100 80GB HBM3" || d.GPUPID != "0" || d.Mode != ModeSingle || d.Events != 9 {
		t.Errorf("%s on %q, process %s, %s, %d events", d.Framework, d.Device, d.GPUPID, d.Mode, d.Events)
	}
	if !strings.HasPrefix(d.Summary, "0.10 ms of GPU time (prefill 60.2 %, decode 39.8 %); prefill is dominated by gemm 99.2 %") || !strings.HasSuffix(d.Summary, "largest kernel gemm, 99.2 %, launched at python/sglang/srt/a.py:1 f.") {
		t.Errorf("summary %q", d.Summary)
	}
	if len(d.Kernels) != 2 || d.Omitted[attrib.Prefill] != (attrib.Part{Launches: 1, Total: 500}) {
		t.Errorf("%d rows, omitted %+v; want 2 rows and the norm below the bar", len(d.Kernels), d.Omitted)
	}
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"total_us":60.5`, `"stages":{"decode":{"launches":1,"total_us":40`, `"schema_version":1`, `"overlap_summary":{"busy_us":100.5`, `"warnings":[]`} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("the document lacks %s", want)
		}
	}
	if d.Stages[attrib.Prefill].Total != 60500 {
		t.Errorf("prefill %d ns, want 60500", d.Stages[attrib.Prefill].Total)
	}
}

func TestOneStageAndALimit(t *testing.T) {
	dir := folder(t, map[string]string{"a.trace.json": small})
	d := triage(t, Request{Paths: []string{dir}, Stage: attrib.Prefill, Limit: 1})
	if len(d.Kernels) != 1 || d.Kernels[0].Name != "gemm" || len(d.Stages) != 2 {
		t.Errorf("%d rows, %d stages; want the gemm alone, and the totals of both stages", len(d.Kernels), len(d.Stages))
	}
}

func TestGzipChangesNothing(t *testing.T) {
	dir := folder(t, map[string]string{"plain/a.trace.json": small, "packed/a.trace.json.gz": small})
	tables := func(sub string) string {
		d := triage(t, Request{Paths: []string{filepath.Join(dir, sub)}})
		d.Sources = nil
		text, err := json.Marshal(d.Tables)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if a, b := tables("plain"), tables("packed"); a != b {
		t.Errorf("plain\n%s\npacked\n%s", a, b)
	}
}

func TestNoGPUWorkIsSaid(t *testing.T) {
	dir := folder(t, map[string]string{"a.trace.json": "op 1 2 aten::mm"})
	d := triage(t, Request{Paths: []string{dir}})
	if len(d.Kernels) != 0 || len(d.Warnings) != 1 || !strings.Contains(d.Warnings[0], "no GPU activity") || d.Framework != "unknown" {
		t.Errorf("%d rows, %s, warnings %q; want none, unknown and a word on it", len(d.Kernels), d.Framework, d.Warnings)
	}
}

func TestU08AnotherAcceleratorIsNamed(t *testing.T) {
	dir := folder(t, map[string]string{"a.trace.json": "event X mtia_ccp_events 1 812 k on=3/1 stream=4"})
	d := triage(t, Request{Paths: []string{dir}})
	if len(d.Warnings) != 1 || !strings.Contains(d.Warnings[0], "1 events of another accelerator (mtia)") {
		t.Errorf("warnings %q", d.Warnings)
	}
}

func TestU09OtherGPUsAreListed(t *testing.T) {
	text := "kernel 1 5 a pid=0\nkernel 1 6 b pid=1\nkernel 1 2 c pid=2"
	dir := folder(t, map[string]string{"a.trace.json": text})
	d := triage(t, Request{Paths: []string{dir}})
	if len(d.Devices) != 3 || !d.Devices[0].Tables || d.Devices[1].Tables || len(d.Others) != 0 || !strings.Contains(strings.Join(d.Warnings, "\n"), "2 more GPUs have GPU work") {
		t.Errorf("devices %+v, warnings %q", d.Devices, d.Warnings)
	}
	d = triage(t, Request{Paths: []string{dir}, AllRanks: true})
	if len(d.Others) != 2 || d.GPUPID != "1" || d.Others[0].GPUPID != "0" || d.Others[1].GPUPID != "2" || d.Ranks == nil {
		t.Errorf("process %s and %d others, ranks %v; want 1, then 0 and 2", d.GPUPID, len(d.Others), d.Ranks)
	}
}

func TestU47ASecondRecordingOfAStageStandsApart(t *testing.T) {
	dir := folder(t, map[string]string{"a.trace.json": small, "b.trace.json": small})
	d := triage(t, Request{Paths: []string{filepath.Join(dir, "a.trace.json"), filepath.Join(dir, "b.trace.json")}})
	if d.Stages[attrib.Prefill].Launches != 2 || len(d.Others) != 1 || d.Others[0].Stages[attrib.Prefill].Launches != 2 {
		t.Errorf("stages %+v and %d others, want each file by itself", d.Stages, len(d.Others))
	}
	if !strings.Contains(strings.Join(d.Warnings, "\n"), "same rank and stage") {
		t.Errorf("warnings %q", d.Warnings)
	}
}

func TestStagesRecordedApartMakeOneTable(t *testing.T) {
	dir := folder(t, map[string]string{
		"1-TP-0-EXTEND.trace.json": "kernel 1 5 a\nkernel 10 5 b",
		"1-TP-0-DECODE.trace.json": "kernel 1 7 a",
		"1-TP-1-DECODE.trace.json": "kernel 1 9 a",
	})
	d := triage(t, Request{Paths: []string{dir}})
	if d.Stages[attrib.Prefill].Total != 10000 || d.Stages[attrib.Decode].Total != 7000 || len(d.Others) != 0 || len(d.Inputs) != 2 {
		t.Errorf("stages %+v, %d others, %d inputs; want 10 and 7 us of one rank", d.Stages, len(d.Others), len(d.Inputs))
	}
	if len(d.LeftOut) != 1 || !strings.Contains(d.LeftOut[0].Path, "TP-1") {
		t.Errorf("left out %+v, want the other rank", d.LeftOut)
	}
	d = triage(t, Request{Paths: []string{dir}, AllRanks: true})
	if len(d.Others) != 1 || d.Others[0].Stages[attrib.Decode].Total != 9000 || d.Others[0].Rank != "TP 1" || d.Rank != "TP 0" {
		t.Errorf("rank %q and others %+v, want TP 0 and TP 1 with 9 us", d.Rank, d.Others)
	}
}

func TestPairMode(t *testing.T) {
	dir := folder(t, map[string]string{
		"map.trace.json": "frame 0 9 \"vllm/a.py(1): f\"\nlaunch 1 1 hipLaunchKernel corr=1 kernel=k",
		"run.trace.json": "frame 0 9 \"vllm/r.py(1): g\"\nlaunch 1 1 hipGraphLaunch corr=1\nkernel 20 5 k corr=1",
	})
	d := triage(t, Request{Mapping: []string{filepath.Join(dir, "map.trace.json")}, Formal: []string{filepath.Join(dir, "run.trace.json")}})
	if d.Mode != ModePair || d.Kernels[0].Location != "vllm/a.py:1 f" || d.Mapping.Method != attrib.MethodPositional {
		t.Errorf("%s: %s by %+v, want the source of the captured launch", d.Mode, d.Kernels[0].Location, d.Mapping)
	}
	if len(d.Inputs) != 2 || d.Inputs[0].Role != "mapping" || d.Inputs[1].Role != "formal" {
		t.Errorf("inputs %+v", d.Inputs)
	}
}

func TestAPartialFileIsSaid(t *testing.T) {
	dir := folder(t, map[string]string{"a.trace.json": small})
	path := filepath.Join(dir, "a.trace.json")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cut := bytes.LastIndex(whole, []byte(`"attention"`))
	if err := os.WriteFile(path, whole[:cut], 0o644); err != nil {
		t.Fatal(err)
	}
	d := triage(t, Request{Paths: []string{path}})
	if d.Inputs[0].Partial == "" || len(d.Warnings) == 0 || !strings.Contains(d.Warnings[0], "is not whole") || len(d.Kernels) != 2 {
		t.Errorf("%d rows, warnings %q, partial %q; want the two kernels before the break", len(d.Kernels), d.Warnings, d.Inputs[0].Partial)
	}
}

func TestU61SettingsOfTheSameFolderOnly(t *testing.T) {
	args := `{"tp_size": "8", "model_path": "Qwen/Qwen3-8B"}`
	dir := folder(t, map[string]string{"server_args.json": args, "sub/a.trace.json": small, "own/a.trace.json": small, "own/server_args.json": args, "odd/a.trace.json": small, "odd/server_args.json": `{"tp_size": "auto"`})
	if d := triage(t, Request{Paths: []string{filepath.Join(dir, "sub")}}); d.Model != "" || d.TP.Size == 8 {
		t.Errorf("model %q, TP %d: read from the folder above", d.Model, d.TP.Size)
	}
	if d := triage(t, Request{Paths: []string{filepath.Join(dir, "own")}}); d.Model != "Qwen/Qwen3-8B" || d.TP.Size != 8 {
		t.Errorf("model %q, TP %d; want those beside the trace", d.Model, d.TP.Size)
	}
	if d := triage(t, Request{Paths: []string{filepath.Join(dir, "odd")}}); d.Model != "" {
		t.Errorf("model %q out of a broken file", d.Model)
	}
}

func TestU52TensorParallelSize(t *testing.T) {
	for _, c := range []struct {
		name, text, settings string
		given, want          int
	}{
		{"given", small, "", 4, 4},
		{"vllm's word", small, `{"tensor_parallel_size": 2, "model": "m"}`, 0, 2},
		{"group of a collective", "meta world=16\nkernel 1 5 ncclDevKernel_AllReduce Group_size=4", "", 0, 4},
		{"world of a run with collectives", "meta world=8\nkernel 1 5 ncclDevKernel_AllReduce", "", 0, 8},
		{"world of one", "meta world=1\nkernel 1 5 gemm", "", 0, 1},
		{"world without collectives", "meta world=8\nkernel 1 5 gemm", "", 0, 0},
	} {
		files := map[string]string{"a.trace.json": c.text}
		if c.settings != "" {
			files["server_args.json"] = c.settings
		}
		d := triage(t, Request{Paths: []string{filepath.Join(folder(t, files), "a.trace.json")}, TP: c.given})
		if d.TP.Size != c.want {
			t.Errorf("%s: %d (%s), want %d", c.name, d.TP.Size, d.TP.Source, c.want)
		}
	}
}

func TestDiffusionThroughAnotherLibraryIsRefused(t *testing.T) {
	for _, line := range []string{"INFO Falling back to diffusers backend", "Using diffusers backend", "Loaded diffusers pipeline FluxPipeline"} {
		dir := folder(t, map[string]string{"a.trace.json": small, "server.log": "starting\n" + line + "\nready\n"})
		_, err := Triage(t.Context(), Request{Engines: engines(), Paths: []string{dir}})
		var unfit *UnfitError
		if !errors.As(err, &unfit) || unfit.Line != 2 || unfit.Text != line || !strings.Contains(err.Error(), "diffusers library") {
			t.Errorf("%q: %v, want a refusal that names line 2", line, err)
		}
	}
	dir := folder(t, map[string]string{"a.trace.json": small, "server.log": "backend: native\n"})
	triage(t, Request{Paths: []string{dir}})
}

func TestWrongRequests(t *testing.T) {
	for _, r := range []Request{{}, {Paths: []string{"nowhere/at/all.json"}}, {Paths: []string{"."}, Device: "x"}} {
		if _, err := Triage(t.Context(), r); err == nil {
			t.Errorf("%+v: no error", r)
		}
	}
}
