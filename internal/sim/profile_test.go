package sim

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// traced is a trace as a reader sees it.
type traced struct {
	SchemaVersion       int
	BaseTimeNanoseconds int64
	DistributedInfo     struct {
		Rank      int
		WorldSize int `json:"world_size"`
	}
	TraceEvents []struct {
		Ph, Cat, Name string
		PID           any
		Ts, Dur       float64
		Args          map[string]any
	}
}

func readTrace(t *testing.T, path string) traced {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(path, ".gz") {
		z, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if raw, err = io.ReadAll(z); err != nil {
			t.Fatal(err)
		}
	}
	var out traced
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return out
}

func (x traced) count(cat, name string) (n int) {
	for _, e := range x.TraceEvents {
		if e.Cat == cat && strings.Contains(e.Name, name) {
			n++
		}
	}
	return n
}

func namesIn(t *testing.T, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

const profiledLayers = 36 // of a model of 8 B parameters by its name

func TestProfileHasTheShapeOfItsSteps(t *testing.T) {
	dir := t.TempDir()
	inBubble(t, options("plain serve "+testModel+" --tp 2"), func(r *rig) {
		if a := r.call("POST", "/stop_profile", ""); a.status != 500 {
			t.Errorf("stop of none: %d", a.status)
		}
		if a := r.call("POST", "/start_profile", `{"output_dir":`+quote(dir)+`,"profile_id":"../p1"}`); a.status != 200 {
			t.Fatalf("start: %d %s", a.status, a.body)
		}
		if a := r.call("POST", "/start_profile", ""); a.status != 500 {
			t.Errorf("a second start: %d", a.status)
		}
		r.completion("r1", 100, 5)
		if a := r.call("POST", "/stop_profile", ""); a.status != 200 {
			t.Errorf("stop: %d %s", a.status, a.body)
		}
	})
	if got := namesIn(t, dir); !slices.Equal(got, []string{"p1-TP-0.trace.json.gz", "p1-TP-1.trace.json.gz"}) {
		t.Fatalf("files %q, expected one a rank", got)
	}
	x := readTrace(t, filepath.Join(dir, "p1-TP-1.trace.json.gz"))
	if x.DistributedInfo.Rank != 1 || x.DistributedInfo.WorldSize != 2 {
		t.Errorf("distributedInfo %+v", x.DistributedInfo)
	}
	// One prefill step launches everything, four decode steps replay their layers.
	for _, c := range []struct {
		cat, name string
		want      int
	}{
		{"user_annotation", "step[A 1 100]", 1}, {"user_annotation", "step[B 1]", 4}, {"gpu_user_annotation", "step[", 5},
		{"kernel", "gemm", profiledLayers}, {"kernel", "gemv", 4 * profiledLayers}, {"kernel", "nccl", 5 * profiledLayers}, {"kernel", "embed", 5},
		{"cuda_runtime", "cudaGraphLaunch", 4}, {"python_function", "replay", 4}, {"cpu_op", "aten::mm", profiledLayers},
	} {
		if got := x.count(c.cat, c.name); got != c.want {
			t.Errorf("%s %q: %d events, expected %d", c.cat, c.name, got, c.want)
		}
	}
	x.checkLinks(t)
}

// checkLinks demands that each kernel has its launch, that graph kernels share
// one and have no External id, and that nothing overlaps on the stream.
func (x traced) checkLinks(t *testing.T) {
	t.Helper()
	launches := map[any]string{}
	for _, e := range x.TraceEvents {
		if e.Cat == "cuda_runtime" || e.Cat == "cuda_driver" {
			launches[e.Args["correlation"]] = e.Name
		}
	}
	end := 0.0
	for _, e := range x.TraceEvents {
		if e.Cat != "kernel" {
			continue
		}
		launch := launches[e.Args["correlation"]]
		_, direct := e.Args["External id"]
		if launch == "" || direct == (launch == "cudaGraphLaunch") {
			t.Fatalf("kernel %s: launched by %q, External id %v", e.Name, launch, direct)
		}
		if e.Ts < end-0.01 || e.Dur <= 0 {
			t.Fatalf("kernel %s at %f for %f begins before the last ended at %f", e.Name, e.Ts, e.Dur, end)
		}
		end = e.Ts + e.Dur
	}
}

func TestProfileCountsSteps(t *testing.T) {
	for _, c := range []struct {
		name, ask string
		want      []string
		steps     int
	}{
		{"one short", `"num_steps":"4"`, []string{"x-TP-0.trace.json.gz"}, 3},
		{"by stage", `"num_steps":3,"profile_by_stage":true`, []string{"x-TP-0-A.trace.json.gz", "x-TP-0-B.trace.json.gz"}, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			inBubble(t, options("plain serve "+testModel), func(r *rig) {
				r.call("POST", "/start_profile", `{"output_dir":`+quote(dir)+`,"profile_id":"x",`+c.ask+`}`)
				r.completion("r1", 10, 20)
				time.Sleep(time.Second)
				if a := r.call("POST", "/stop_profile", ""); a.status != 500 {
					t.Errorf("it did not stop by itself: %d", a.status)
				}
			})
			if got := namesIn(t, dir); !slices.Equal(got, c.want) {
				t.Fatalf("files %q, expected %q", got, c.want)
			}
			last := readTrace(t, filepath.Join(dir, c.want[len(c.want)-1]))
			if got := last.count("user_annotation", "step["); got != c.steps {
				t.Errorf("%d steps, expected %d", got, c.steps)
			}
		})
	}
}

func TestProfileByTheLaunch(t *testing.T) {
	dir := t.TempDir()
	o := options("plain serve " + testModel)
	o.Environ = []string{"PLAIN_WINDOW=3-6", "PLAIN_TRACE=" + filepath.Join(dir, "t.json")}
	inBubble(t, o, func(r *rig) { r.completion("r1", 10, 20) })
	x := readTrace(t, filepath.Join(dir, "t-rank-0.json"))
	if got := x.count("user_annotation", "step[B"); got != 3 {
		t.Errorf("%d steps, expected those from 3 up to 6", got)
	}
}

func TestProfileFaults(t *testing.T) {
	ask := func(dir string) string { return `{"output_dir":` + quote(dir) + `,"profile_id":"x"}` }
	t.Run("off", func(t *testing.T) {
		inBubble(t, options("plain serve "+testModel, "profile-off"), func(r *rig) {
			if a := r.call("POST", "/start_profile", ""); a.status != 404 {
				t.Errorf("start: %d", a.status)
			}
		})
	})
	t.Run("running", func(t *testing.T) {
		o := options("plain serve "+testModel, "profile-running")
		o.Dir = t.TempDir()
		inBubble(t, o, func(r *rig) {
			if a := r.call("POST", "/start_profile", ask(o.Dir)); a.status != 500 {
				t.Errorf("start: %d", a.status)
			}
			r.completion("r1", 10, 3)
			r.call("POST", "/stop_profile", "")
		})
		if got := namesIn(t, filepath.Join(o.Dir, "traces")); len(got) != 1 {
			t.Errorf("files %q", got)
		}
	})
	t.Run("slow", func(t *testing.T) {
		dir := t.TempDir()
		inBubble(t, options("plain serve "+testModel, "profile-slow=8s"), func(r *rig) {
			r.call("POST", "/start_profile", ask(dir))
			r.completion("r1", 10, 3)
			if a := r.call("POST", "/stop_profile", ""); a.took < 8*time.Second {
				t.Errorf("the stop took %s", a.took)
			}
		})
		readTrace(t, filepath.Join(dir, "x-TP-0.trace.json.gz"))
	})
	t.Run("missing and cut", func(t *testing.T) {
		dir := t.TempDir()
		inBubble(t, options("plain serve "+testModel+" --tp 2", "profile-missing", "profile-cut"), func(r *rig) {
			r.call("POST", "/start_profile", ask(dir))
			r.completion("r1", 10, 3)
			r.call("POST", "/stop_profile", "")
		})
		if got := namesIn(t, dir); len(got) != 1 {
			t.Fatalf("files %q, expected those of one rank of two", got)
		}
		raw, err := os.ReadFile(filepath.Join(dir, "x-TP-0.trace.json.gz"))
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(bytes.NewReader(raw))
		if err == nil {
			_, err = io.ReadAll(z)
		}
		if err == nil {
			t.Error("the file is whole")
		}
	})
}

func TestShapeOfTracesIsChecked(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{`"gemm"`, `""`, "expected a name"},
		{`"weight": 5`, `"weight": 0`, "weight above 0"},
		{`"prefill": "step[A`, `"chewing": "step[A`, "expected prefill, decode or mixed"},
		{`{{.Decodes}}`, `{{.Nothing}}`, "template"},
		{`"with_stack"`, `"with_stacks"`, "unknown field"},
		{`"file": "{{.ID}}`, `"file": "", "no": "`, "unknown field"},
	} {
		files := testFiles(t)
		f := files["1.0/trace_shape.json"]
		if !bytes.Contains(f.Data, []byte(c.old)) {
			t.Fatalf("the shape has no %q", c.old)
		}
		f.Data = bytes.Replace(f.Data, []byte(c.old), []byte(c.new), 1)
		if _, err := LoadSurface(files, ""); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q for %q: %v, expected %q", c.new, c.old, err, c.want)
		}
	}
}
