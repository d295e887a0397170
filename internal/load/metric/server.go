package metric

// Server is what the server and its GPUs say of a trial: the second witness
// beside the client. Absent parts were not told. Made by internal/load/witness.
type Server struct {
	Readings int `json:"readings"` // of the page of metrics that could be read
	// Restarts is how often a counter began anew within the trial.
	Restarts int `json:"restarts,omitempty"`

	Gauges     []ServerGauge   `json:"gauges,omitempty"`
	Counters   []ServerCounter `json:"counters,omitempty"`
	Histograms []ServerDist    `json:"histograms,omitempty"`

	PrefixHitRate   *float64 `json:"prefix_hit_rate,omitempty"`    // share of prompt tokens found in the cache, 0..1
	PrefixHitBy     string   `json:"prefix_hit_by,omitempty"`      // who counted
	IntendedHitRate *float64 `json:"intended_hit_rate,omitempty"`  // the workload's own
	AcceptLength    *float64 `json:"mean_accept_length,omitempty"` // tokens a verification step
	AcceptanceRate  *float64 `json:"acceptance_rate,omitempty"`    // accepted / drafted tokens, 0..1

	Reconciled []Difference `json:"reconciled,omitempty"`

	GPUs   []ServerGPU   `json:"gpus,omitempty"`
	GPUBy  string        `json:"gpu_by,omitempty"` // the tool that was asked
	Energy *ServerEnergy `json:"energy,omitempty"`

	Series []ServerSeries `json:"series,omitempty"`
}

// ServerGauge is a gauge over the readings during a trial's load; it is absent
// where the load ended before the first of them.
type ServerGauge struct {
	Quantity string  `json:"quantity"`
	Mean     float64 `json:"mean"` // of the readings
	Max      float64 `json:"max"`
	Last     float64 `json:"last"`
}

// ServerCounter is by how much a counter rose.
type ServerCounter struct {
	Quantity string  `json:"quantity"`
	Increase float64 `json:"increase"`
	PerS     float64 `json:"per_s"` // over the time between first and last reading
}

// ServerDist is a histogram of the trial alone.
type ServerDist struct {
	Quantity string   `json:"quantity"`
	N        float64  `json:"n"`
	MeanMs   float64  `json:"mean_ms"` // exact: sum / count
	P50      Estimate `json:"p50"`
	P90      Estimate `json:"p90"`
	P99      Estimate `json:"p99"`
}

// Estimate is a quantile read out of buckets, in ms: the true one lies above Low
// and is at most High.
type Estimate struct {
	Ms   float64  `json:"ms"` // by linear interpolation within the bucket
	Low  float64  `json:"low_ms"`
	High *float64 `json:"high_ms"` // nil = in the last bucket, which is open
}

// Difference is one figure as both witnesses have it.
type Difference struct {
	What   string  `json:"what"`
	Unit   string  `json:"unit"`
	Client float64 `json:"client"`
	Server float64 `json:"server"`
	// Difference is client less server; of a mean time it is the network's and
	// the client's share.
	Difference float64  `json:"difference"`
	Share      *float64 `json:"share,omitempty"`        // Difference / Client; nil = the client has none
	OutOfBound bool     `json:"out_of_bound,omitempty"` // beyond the tolerance
}

// ServerGPU is one GPU over a trial. A nil field was not told.
type ServerGPU struct {
	Index      int      `json:"index"`
	PowerW     *float64 `json:"power_w,omitempty"` // mean over time
	PowerMaxW  *float64 `json:"power_max_w,omitempty"`
	LimitW     *float64 `json:"power_limit_w,omitempty"`
	SMClockMHz *float64 `json:"sm_clock_mhz,omitempty"` // mean
	SMClockMin *float64 `json:"sm_clock_min_mhz,omitempty"`
	MemClock   *float64 `json:"mem_clock_mhz,omitempty"` // mean
	TempMaxC   *float64 `json:"temperature_max_c,omitempty"`
	UtilPct    *float64 `json:"utilisation_pct,omitempty"` // mean share of time with a kernel running
	MemMaxMiB  *float64 `json:"memory_max_mib,omitempty"`
	// Throttled are the reasons that slowed the clocks.
	Throttled []Throttle `json:"throttled,omitempty"`
}

// Throttle is a reason that held clocks back, and the share of the samples in
// which it did.
type Throttle struct {
	Reason string  `json:"reason"`
	Share  float64 `json:"share"`
}

// ServerEnergy is what the GPUs used over a trial.
type ServerEnergy struct {
	Joules float64 `json:"joules"`
	// By is "counter", or "power" where it is the integral of samples.
	By             string   `json:"by"`
	PerOutputToken *float64 `json:"joules_per_output_token,omitempty"`
	PerToken       *float64 `json:"joules_per_token,omitempty"` // input and output
}

// ServerSeries is a quantity over the time of a trial.
type ServerSeries struct {
	Name   string    `json:"name"`
	Unit   string    `json:"unit"`
	AtS    []float64 `json:"at_s"` // since the first reading
	Values []float64 `json:"values"`
}
