package trace

import (
	"strings"
	"testing"
)

const sampleText = `
# one prefill step of a tiny model
meta rank=1 world=8 backend=nccl base=1700000000000000000 unit=ms stack shapes name=run trace.cupti_version=26
device 0 "NVIDIA H100 80GB HBM3" sms=132 major=9 minor=0 memory=85899345920 warp=32
process 0 python label="GPU 0"
process 100 python label=CPU
thread 100/100 "thread 100 (python)"
mark 0 100 "step[EXTEND bs=1 toks=8]"
frame 0 90 "serving/model.py(12): forward"
op 1 20 aten::mm ext=5 Input_Dims=[[8,16],[16,32]]
launch 2.5 3 cudaLaunchKernel corr=11 ext=5
kernel 10 7.125 "void gemm<float>(int)" corr=11 ext=5 grid=[1,2,3] block=[128,1,1] shared_memory=1024
memcpy 20 1us "Memcpy HtoD (Pageable -> Device)" stream=0 corr=12 bytes=4096
launch 19 1500ns hipMemcpyWithStream corr=12 on=200 kernel="k(int)"
sync 30 0 "Stream Sync" stream=7
mark 10 7.127 "step[EXTEND bs=1 toks=8]" gpu
event i "" 50 - "Iteration Start: x" on=""
`

func TestTextFormBecomesATrace(t *testing.T) {
	tr, err := ParseText(sampleText)
	if err != nil {
		t.Fatal(err)
	}
	if tr.GPU.Len() != 2 || tr.Launches.Len() != 2 || tr.Ops.Len() != 1 || tr.Frames.Len() != 1 || tr.Annotations.Len() != 2 || tr.Syncs.Len() != 1 {
		t.Fatalf("rows: %d GPU, %d launches, %d ops, %d frames, %d annotations, %d syncs", tr.GPU.Len(), tr.Launches.Len(), tr.Ops.Len(), tr.Frames.Len(), tr.Annotations.Len(), tr.Syncs.Len())
	}
	k := tr.GPU.At(0)
	if k.Start != 10000 || k.Dur != 7125 || k.Corr != 11 || k.Ext != 5 || k.Stream != 7 || k.Device != 0 || k.Cat != CatKernel {
		t.Errorf("kernel %+v", *k)
	}
	if tr.Text(k.Name) != "void gemm<float>(int)" || tr.Procs[tr.Threads[k.Thread].Proc].PID != "0" {
		t.Errorf("kernel %q on %+v", tr.Text(k.Name), tr.Threads[k.Thread])
	}
	if g := tr.ArgInts(k.Args, "grid"); len(g) != 3 || g[2] != 3 {
		t.Errorf("grid %v of %s", g, tr.ArgText(k.Args))
	}
	if n, ok := tr.ArgInt(k.Args, "shared memory"); !ok || n != 1024 {
		t.Errorf("shared memory %d in %s", n, tr.ArgText(k.Args))
	}
	if c := tr.GPU.At(1); c.Stream != 0 || c.Dur != 1000 || c.Cat != CatMemcpy || c.Ext != NoID {
		t.Errorf("copy %+v", *c)
	}
	l := tr.Launches.At(1)
	if tr.Text(l.Kernel) != "k(int)" || tr.Threads[l.Thread].TID != "200" || l.Dur != 1500 {
		t.Errorf("launch %+v", *l)
	}
	m := tr.Meta
	if m.Distributed.Rank != 1 || m.Distributed.WorldSize != 8 || m.BaseNS != 1700000000000000000 || len(m.Devices) != 1 || m.Devices[0].NumSMs != 132 || !m.WithStack || !m.ROCm || m.Versions["cupti_version"] != "26" {
		t.Errorf("meta %+v", m)
	}
	if p := tr.Procs[0]; p.Label != "GPU 0" || p.Name != "python" {
		t.Errorf("process %+v", p)
	}
	if tr.Skipped != nil || tr.Break != nil {
		t.Errorf("skipped %v, break %v", tr.Skipped, tr.Break)
	}
}

func TestTextFormNamesTheLineThatIsWrong(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"kernel 1 2", `line 1: expected START DUR NAME`},
		{"\nkernle 1 2 x", `line 2: "kernle" is no kind of event`},
		{"kernel x 2 n", `line 1: time "x" is not a number`},
		{`kernel 1 2 "n`, `a quote is not closed`},
		{"meta foo", `"foo" is no flag of meta`},
		{"meta foo=1", `"foo" is no key of meta`},
	} {
		if _, err := ParseText(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
}
