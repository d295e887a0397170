package trace

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sliced(t *testing.T, text []byte, c Cut) (*Trace, SliceStats) {
	t.Helper()
	var out bytes.Buffer
	stats, err := Slice(context.Background(), bytes.NewReader(text), &out, c)
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(out.Bytes()) {
		t.Fatalf("the slice is no JSON:\n%s", out.String())
	}
	if int64(out.Len()) != stats.Bytes {
		t.Errorf("%d bytes written, %d said", out.Len(), stats.Bytes)
	}
	tr := mustRead(t, out.String())
	if tr.Events != stats.Kept {
		t.Errorf("%d events written, %d said", tr.Events, stats.Kept)
	}
	return tr, stats
}

func TestASliceOfEverythingIsTheTrace(t *testing.T) {
	for _, l := range layouts {
		text := plausible(l, 3)
		want := mustRead(t, string(text))
		got, _ := sliced(t, text, Cut{})
		if d := cmp.Diff(linesOf(want), linesOf(got)); d != "" || got.Events != want.Events || l.name != "bare array" && !cmp.Equal(got.Meta, want.Meta) {
			t.Errorf("%s: %d of %d events\n%s", l.name, got.Events, want.Events, d)
		}
	}
}

const sliceText = `
process 0 gpu
frame 0 1000 early.py
op 5 20 aten::early ext=1
launch 10 2 cudaLaunchKernel corr=1 ext=1
kernel 500 10 k1 corr=1 ext=1
op 400 20 aten::late ext=2
launch 410 2 cudaLaunchKernel corr=2 ext=2
kernel 800 10 k2 corr=2 ext=2 stream=9
op 505 2 aten::idle ext=3
event f ac2g 500 - ac2g id=1 on=0/7
kernel 20 5 residue stream=9
kernel 500 10 k1 corr=1 pid="[TP01] 0"
launch 2000 2 cudaLaunchKernel corr=1 on="[TP01] 5/5"
`

func sliceDoc(t *testing.T) []byte {
	t.Helper()
	doc, err := TextJSON(sliceText)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Replace(doc, []byte(`"args": {"id": 1}`), []byte(`"id": 1`), 1)
}

func names(tr *Trace) string {
	var out []string
	for _, g := range tr.GPU.All() {
		out = append(out, tr.Text(g.Name))
	}
	for _, o := range tr.Ops.All() {
		out = append(out, tr.Text(o.Name))
	}
	for _, f := range tr.Frames.All() {
		out = append(out, tr.Text(f.Name))
	}
	return strings.Join(out, " ")
}

func TestASliceKeepsWhatItsKernelsNeed(t *testing.T) {
	for _, c := range []struct {
		name string
		cut  Cut
		want string
	}{
		{"time", Cut{Windows: []Window{{500000, 520000}}}, "k1 k1 aten::early aten::idle early.py"},
		{"time of launches", Cut{Windows: []Window{{400000, 450000}}, ByLaunch: true}, "k2 aten::late early.py"},
		{"stream", Cut{Streams: []int64{9}}, "k2 residue aten::late early.py"},
		{"rank", Cut{Scopes: []string{"TP01"}}, "k1"},
		{"pid", Cut{PIDs: []string{"[TP01] 0"}}, "k1"},
		{"nothing", Cut{Windows: []Window{{5e9, 6e9}}}, ""},
		{"two windows", Cut{Windows: []Window{{810000 - 1, 900000}, {20000, 21000}, {3, 2}}, Streams: []int64{9}}, "k2 residue aten::late early.py"},
	} {
		tr, stats := sliced(t, sliceDoc(t), c.cut)
		if got := names(tr); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if stats.GPUKept != int64(tr.GPU.Len()) || stats.GPUEvents != 4 {
			t.Errorf("%s: %+v", c.name, stats)
		}
		if c.cut.Scopes == nil && tr.Procs[len(tr.Procs)-1].PID == "" || c.name == "time" && tr.Procs[0].Name == "" && tr.Procs[1].Name == "" {
			t.Errorf("%s: the names of processes are lost: %+v", c.name, tr.Procs)
		}
		flow := strings.Contains(c.want, "k1") && c.name == "time"
		for _, n := range tr.Counts {
			if n.Category == "ac2g" && !flow {
				t.Errorf("%s: a flow of nothing", c.name)
			}
		}
	}
	if _, err := Slice(context.Background(), bytes.NewReader(sliceDoc(t)), io.Discard, Cut{Scopes: []string{"TP7"}}); err == nil || !strings.Contains(err.Error(), `has no rank "TP7"; it has`) {
		t.Errorf("%v", err)
	}
}

func TestASliceOfAPipeAndOfADamagedFileIsValid(t *testing.T) {
	text := plausible(layouts[0], 5)
	var out bytes.Buffer
	stats, err := Slice(context.Background(), io.MultiReader(bytes.NewReader(zipped(text[:len(text)/2]))), &out, Cut{Gzip: true})
	if err != nil || stats.Break == nil {
		t.Fatalf("%+v %v", stats, err)
	}
	tr, err := read(out.Bytes(), Options{})
	if err != nil || tr.Break != nil || tr.Events != stats.Kept || tr.Events == 0 {
		t.Errorf("%+v %v", tr, err)
	}
}

func TestSynthRepeatsWithoutMixingLinks(t *testing.T) {
	for _, l := range layouts {
		text := plausible(l, 2)
		one := mustRead(t, string(text))
		var out bytes.Buffer
		stats, err := Synth(context.Background(), bytes.NewReader(zipped(text)), &out, SynthOptions{Copies: 3})
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(out.Bytes()) || int64(out.Len()) != stats.Bytes {
			t.Fatalf("%s: no JSON, or %d bytes of %d", l.name, out.Len(), stats.Bytes)
		}
		tr := mustRead(t, out.String())
		if tr.GPU.Len() != 3*one.GPU.Len() || tr.Events != stats.Events || !cmp.Equal(tr.Meta.BaseNS, one.Meta.BaseNS) {
			t.Errorf("%s: %d kernels, %d events, %+v", l.name, tr.GPU.Len(), tr.Events, stats)
		}
		launches := map[int64]*Launch{}
		ops := map[int64]*Op{}
		for _, r := range tr.Launches.All() {
			if launches[r.Corr] != nil {
				t.Fatalf("%s: correlation %d twice", l.name, r.Corr)
			}
			launches[r.Corr] = r
		}
		for _, r := range tr.Ops.All() {
			ops[r.Ext] = r
		}
		for i, g := range tr.GPU.All() {
			from := one.GPU.At(i % one.GPU.Len())
			launch, op := launches[g.Corr], ops[g.Ext]
			if launch == nil || op == nil || g.Dur != from.Dur || g.Start-launch.Start != 190000 || op.End() < launch.End() || op.Start > launch.Start {
				t.Fatalf("%s: kernel %d %+v, launch %+v, op %+v", l.name, i, *g, launch, op)
			}
		}
	}
	var out bytes.Buffer
	stats, err := Synth(context.Background(), bytes.NewReader(plausible(layouts[2], 2)), &out, SynthOptions{Bytes: 1 << 20, Gzip: true})
	if err != nil || stats.Bytes < 1<<20 || stats.Bytes > 2<<20 {
		t.Errorf("%+v %v", stats, err)
	}
	if tr, err := read(out.Bytes(), Options{}); err != nil || tr.Bytes != stats.Bytes {
		t.Errorf("%v", err)
	}
	if _, err := Synth(context.Background(), strings.NewReader(`{"traceEvents":[]}`), io.Discard, SynthOptions{Copies: 2}); err == nil {
		t.Error("nothing was repeated")
	}
}
