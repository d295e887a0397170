package run

import (
	"context"
	"slices"
	"strings"

	"llmdyno/internal/bench/result"
	"llmdyno/internal/engine"
	"llmdyno/internal/load"
	"llmdyno/internal/load/metric"
	"llmdyno/internal/load/witness"
	"llmdyno/internal/load/workload"
)

// serverMetricsName is the file of what the server said of a trial; see
// [witness.Record.Lines].
const serverMetricsName = "server-metrics.jsonl"

// visibleDevices are the variables that say which GPUs a server sees.
var visibleDevices = []string{"CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"}

// watch hears the server and its GPUs until it is stopped.
func (r *runner) watch(ctx context.Context, st step) *witness.Watch {
	o := witness.Options{Client: r.server.client}
	if !r.plan.Simulated { // the machine's GPUs have nothing to do with a simulated engine
		o.Run = r.Backend.Output
	}
	for _, v := range r.plan.engine(st.candidate.Engine).Env {
		if name, value, _ := strings.Cut(v, "="); slices.Contains(visibleDevices, name) {
			o.Visible = value
		}
	}
	return witness.Start(ctx, o)
}

// heard holds what the server said against the client's records.
func (t *Trial) heard(rec witness.Record, out load.Outcome, requests []workload.Request) {
	c := witness.Context{Client: witness.TotalsOf(out.Records), Duration: out.Duration}
	if ratio, known := workload.SharedRatio(requests); known {
		c.Intended = &ratio
	}
	v := witness.Summarise(rec, c)
	t.Server, t.Cache = v.Server, cacheOf(v.Server)
	for _, w := range v.Warnings {
		t.warnOnce(w.Code, w.Message)
	}
	if t.Point.Invalid == "" {
		t.Point.Invalid = v.Invalid
	}
}

// cacheOf is what the server says of its KV cache; nil = nothing.
func cacheOf(s *metric.Server) *result.Cache {
	if s == nil {
		return nil
	}
	c := result.Cache{PrefixCacheHitRate: s.PrefixHitRate}
	for _, g := range s.Gauges {
		if g.Quantity == string(engine.QuantityKVUsage) {
			c.KVCacheUtilization = &g.Max
		}
	}
	if c == (result.Cache{}) {
		return nil
	}
	return &c
}

func (r *runner) writeMeter(dir string, rec witness.Record) error {
	f, err := r.folder.CreateFile(dir + "/" + serverMetricsName)
	if err != nil {
		return err
	}
	defer f.Abort()
	lines, err := rec.Lines()
	if err != nil {
		return err
	}
	for _, line := range lines {
		if _, err := f.Write(line); err != nil {
			return err
		}
	}
	return f.Commit()
}
