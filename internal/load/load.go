// Package load puts a planned load on a live server and keeps what happened to
// each request:
//
//	Trial (requests, arrivals, client)  →  Run  →  []sample.Record + Audit
//
// Open loop: every arrival has its instant before the trial starts and gets its
// own goroutine at that instant, whatever the earlier requests do. Closed loop:
// each of N users sends its next request when its last one ended. The audit says
// what the load generator itself did to the measurement; it is written as
// client.json beside the samples.
package load

import (
	"context"
	"time"

	"llmdyno/internal/client"
	"llmdyno/internal/engine"
	"llmdyno/internal/load/sample"
	"llmdyno/internal/load/workload"
)

// Trial is the load of one measurement.
type Trial struct {
	Client   *client.Client
	Wire     engine.Wire
	Model    string             // name sent in the request body
	Requests []workload.Request // in order
	Arrivals workload.Arrivals
	// MaxConcurrency caps the requests in flight; 0 = none. An arrival that
	// waits for a slot has that wait in its send lag. With closed arrivals it is
	// the number of users (0 = 1).
	MaxConcurrency int
	Timeout        time.Duration // of one request, from the moment it has a slot; 0 = 600 s
	// MaxTime bounds the trial: arrivals not sent by then are dropped, requests
	// in flight are cancelled. 0 = no bound.
	MaxTime     time.Duration
	IgnoreEOS   bool     // ask for exactly the wanted output length
	Temperature *float64 // nil = the server's default
	IDPrefix    string   // X-Request-Id = IDPrefix + index
	// TightestMs is the smallest latency limit that the figures will be held
	// against, in ms; 0 = none. It sets how late the client itself may be before
	// the trial is called invalid.
	TightestMs float64
	// KeepText keeps the text of answers that the server does not count, so that
	// they can be counted afterwards; see [CountTexts].
	KeepText bool
	// KeepAnswers keeps the text of every answer, counted or not, so that it can be
	// held against another one; a caller lets go of it as soon as it has.
	KeepAnswers bool
	// Encoded are the requests as they go out, where they were made elsewhere, each
	// with the endpoint that it goes to; nil = the wire makes them. Of Requests then
	// only the order and the lengths count.
	Encoded []Encoded
	// Calibrate holds the client against the built-in server before the trial, at
	// 1.5 times its event rate, for about a second. Without it the audit says that
	// it was left out.
	Calibrate bool
	// Progress is told how far the trial is, at most twice a second and once at
	// its end, from one goroutine; nil = nobody.
	Progress func(Progress)
	// Start is asked when all is prepared, and gives the instant at which the trial
	// begins, as where several processes share one; nil = at once.
	Start func(context.Context) (time.Time, error)
	// Ended is given the record of each request that was sent, when its result is
	// there, from a goroutine of that request; nil = nobody.
	Ended func(*sample.Record)
}

// Encoded is a request as it goes out.
type Encoded struct {
	Wire engine.Wire
	Body []byte
}

// Progress is how far a trial is.
type Progress struct {
	Planned, Sent, Done, Failed, InFlight int
	Elapsed                               time.Duration
	OutputTokens                          int64 // of finished requests
}

// Outcome is what a trial left. Records holds every planned request in index
// order, dropped ones too.
type Outcome struct {
	Started  time.Time     // wall clock at instant 0 of the records
	Duration time.Duration // from the start, before the first arrival gap, to the last result
	Records  []sample.Record
	Client   Audit
}

// Warning is something that a reader of the figures must know.
type Warning struct {
	Code    string `json:"code"` // kebab-case, stable
	Message string `json:"message"`
}

// AuditSchema names the format of client.json.
const (
	AuditSchema        = "llmdyno.client"
	AuditSchemaVersion = 1
)

// Audit is what the client did to the measurement. A pointer that is nil, and a
// member left out of the JSON, means that nothing was measured.
type Audit struct {
	Schema        string `json:"schema"`
	SchemaVersion int    `json:"schema_version"`
	LoadModel     string `json:"load_model"` // "open" or "closed"

	Planned int `json:"planned"`
	Sent    int `json:"sent"`
	Dropped int `json:"dropped"` // arrivals that were never sent
	// EndedEarly: the caller ended the trial, which had shown enough; the arrivals
	// that were left are among the dropped ones.
	EndedEarly bool `json:"ended_early,omitempty"`
	Late       int  `json:"late"` // requests that the client itself sent more than 1 ms late

	// RequestedRPS is the rate that was set. OfferedRPS is that of the arrivals
	// as drawn, AchievedRPS that of the requests as sent: each (n − 1) over the
	// time from the first to the last.
	RequestedRPS *float64 `json:"requested_rps,omitempty"`
	OfferedRPS   *float64 `json:"offered_rps,omitempty"`
	AchievedRPS  *float64 `json:"achieved_rps,omitempty"`

	// SendLag is send − sched, whatever the reason. SlotWait is the part spent
	// waiting for a slot under MaxConcurrency. OwnLag is the part that is the
	// client's own fault: waking late and handing over to a ready connection,
	// without slot waits and connection set-up. All in ms.
	SendLag  *Spread `json:"send_lag_ms,omitempty"`
	SlotWait *Spread `json:"slot_wait_ms,omitempty"`
	OwnLag   *Spread `json:"own_lag_ms,omitempty"`
	// OwnLagLimitMs is the largest p99 of OwnLag with which the trial is valid.
	OwnLagLimitMs float64 `json:"own_lag_limit_ms"`

	PeakInFlight    int      `json:"peak_in_flight"`
	NewConnections  int      `json:"new_connections"`
	ConnectFailures int      `json:"connect_failures"`
	StaleRetries    int      `json:"stale_retries"` // sent again because the server had closed the kept-alive connection
	Events          int      `json:"events"`        // stream events with text, all requests
	SharedEvents    int      `json:"shared_events"` // of these, read together with others: their instants are upper bounds
	SharedRatio     *float64 `json:"shared_event_ratio,omitempty"`

	// KernelEvents are the events whose instant is the kernel's. ReceiveLag is how
	// long these lay there before the client read them, in ms (up to 65.5): it is
	// not in their instants.
	KernelEvents int     `json:"kernel_events,omitempty"`
	ReceiveLag   *Spread `json:"receive_lag_ms,omitempty"`
	// GapDistance is the largest distance, 0 to 1, between the distributions of
	// the gaps of the arrivals as planned and as the client took them up (two-sample
	// Kolmogorov-Smirnov statistic), where gaps that differ by no more than
	// GapToleranceMs count as equal. Open loop of at least 20 requests.
	GapDistance    *float64 `json:"gap_distance,omitempty"`
	GapToleranceMs float64  `json:"gap_tolerance_ms,omitempty"`
	// Calibration is what the client showed against the built-in server.
	Calibration *Calibration `json:"calibration,omitempty"`

	// SchedLatency is how long the client's runnable goroutines waited for a
	// CPU, GCPause how long its garbage collector stopped it, both in ms from
	// histograms of the Go runtime (upper bounds of their buckets).
	SchedLatency *Spread `json:"scheduler_latency_ms,omitempty"`
	GCPause      *Spread `json:"gc_pause_ms,omitempty"`
	// CPUSeconds is the processor time of this process during the trial;
	// CPUShare is it over duration × usable CPUs, 0 to 1.
	CPUSeconds float64  `json:"cpu_s"`
	CPUShare   *float64 `json:"cpu_share,omitempty"`
	CPUs       int      `json:"cpus"`
	// FileLimit is the number of files that the process may have open; 0 = unknown.
	FileLimit uint64 `json:"file_limit,omitempty"`

	Warnings []Warning `json:"warnings,omitempty"`
	// Invalid says why the figures must not be used; "" = the client was sound.
	Invalid string `json:"invalid,omitempty"`
}

// Spread is a distribution of raw samples by its figures; percentiles by linear
// interpolation between order statistics.
type Spread struct {
	N    int     `json:"n"`
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	Max  float64 `json:"max"`
}
