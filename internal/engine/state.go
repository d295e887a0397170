package engine

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// State is what a server says about itself beside its page of metrics: what runs,
// how it is laid out, what it can hold, and its load rank by rank. What it did not
// say is nil or empty, never zero.
type State struct {
	Model    ModelState    `json:"model"`
	Topology TopologyState `json:"topology"`
	Capacity CapacityState `json:"capacity"`
	// Totals are the sums and means that the server itself gives over its ranks.
	Totals TotalState  `json:"totals"`
	Ranks  []RankState `json:"ranks,omitempty"` // in the order of the reply
	// At is the server's clock when it told its load, in seconds since 1970.
	At *float64 `json:"at_unix_s,omitempty"`
	// DraftTokens are those that a verification step of speculative decoding may
	// accept at most.
	DraftTokens *float64 `json:"speculative_draft_tokens,omitempty"`
	UptimeS     *float64 `json:"uptime_s,omitempty"`
	// Settings are the server's arguments by the name that it gives them, as text.
	// They hold secrets where the server hands those out.
	Settings map[string]string `json:"settings,omitempty"`
}

// ModelState says what is served.
type ModelState struct {
	ModelPath       string `json:"model_path,omitempty"`
	WeightVersion   string `json:"weight_version,omitempty"`
	ServedModelName string `json:"served_model_name,omitempty"`
	ModelType       string `json:"model_type,omitempty"`
	IsGeneration    *bool  `json:"is_generation,omitempty"`
	Version         string `json:"version,omitempty"` // of the engine
	Accelerator     string `json:"accelerator,omitempty"`
}

// TopologyState says how the server is laid out and which parts it chose.
type TopologyState struct {
	TP *float64 `json:"tp_size"`
	DP *float64 `json:"dp_size"`
	PP *float64 `json:"pp_size"`
	EP *float64 `json:"ep_size"`
	// Mode is "prefill" or "decode" in a disaggregated deployment, "null" where the
	// server says that it is in none, "" where it says nothing.
	Mode             string `json:"disaggregation_mode"`
	AttentionBackend string `json:"attention_backend"`
	SamplingBackend  string `json:"sampling_backend"`
	SchedulePolicy   string `json:"schedule_policy"`
	EnableTrace      *bool  `json:"enable_trace"`
	EnableMetrics    *bool  `json:"enable_metrics"`
}

// CapacityState says what the server can hold.
type CapacityState struct {
	MaxTotalTokens  *float64 `json:"max_total_num_tokens"`
	MaxInputTokens  *float64 `json:"max_req_input_len"`
	MaxRunningPerDP *float64 `json:"effective_max_running_requests_per_dp"`
	WeightGB        *float64 `json:"weight_gb"`
	KVCacheGB       *float64 `json:"kv_cache_gb"`
	GraphGB         *float64 `json:"graph_gb"` // of all phases
	TokenCapacity   *float64 `json:"token_capacity"`
}

// TotalState is a server's own account over its ranks.
type TotalState struct {
	Running     *float64 `json:"running_reqs,omitempty"`
	Waiting     *float64 `json:"waiting_reqs,omitempty"`
	Total       *float64 `json:"total_reqs,omitempty"`
	KVUsage     *float64 `json:"avg_token_usage,omitempty"`
	Throughput  *float64 `json:"avg_throughput,omitempty"`
	Utilization *float64 `json:"avg_utilization,omitempty"`
}

// The queues of a rank. The first four wait for the scheduler or were sent back
// by it; those of PDQueues wait for the other side of a disaggregated deployment.
const (
	QueueWaiting   = "waiting"
	QueueGrammar   = "grammar"
	QueuePaused    = "paused"
	QueueRetracted = "retracted"

	QueuePrefillBootstrap = "prefill_bootstrap"
	QueuePrefillInflight  = "prefill_inflight" // computed, its KV not yet taken over
	QueueDecodePrealloc   = "decode_prealloc"
	QueueDecodeTransfer   = "decode_transfer" // KV under way
	QueueDecodeRetracted  = "decode_retracted"
)

// RankState is the load of one data-parallel rank.
type RankState struct {
	Rank    int      `json:"rank"`
	Running *float64 `json:"running_reqs,omitempty"`
	// Waiting is the server's count, which on a disaggregated one may hold queues
	// of PDQueues, too; Queues["waiting"] is that of the scheduler alone.
	Waiting      *float64           `json:"waiting_reqs,omitempty"`
	Total        *float64           `json:"total_reqs,omitempty"`
	KVUsage      *float64           `json:"token_usage,omitempty"` // 0..1, of the fullest pool
	UsedTokens   *float64           `json:"used_tokens,omitempty"`
	MaxTokens    *float64           `json:"max_tokens,omitempty"`
	MaxRunning   *float64           `json:"max_running_requests,omitempty"`
	Throughput   *float64           `json:"gen_throughput,omitempty"` // tokens a second
	Utilization  *float64           `json:"utilization,omitempty"`
	CacheHitRate *float64           `json:"cache_hit_rate,omitempty"` // of what moment, see the engine
	At           *float64           `json:"at_unix_s,omitempty"`      // when the rank told it
	Mode         string             `json:"disaggregation_mode,omitempty"`
	Queues       map[string]float64 `json:"queues,omitempty"`
	PDQueues     map[string]float64 `json:"pd_queues,omitempty"`
	TransferGBs  *float64           `json:"kv_transfer_speed_gb_s,omitempty"`
	TransferMS   *float64           `json:"kv_transfer_latency_ms,omitempty"`
	AcceptLength *float64           `json:"spec_accept_length,omitempty"` // the token that needs no draft included
	AcceptRate   *float64           `json:"spec_accept_rate,omitempty"`
	LoRAUsed     *float64           `json:"lora_slots_used,omitempty"`
	LoRATotal    *float64           `json:"lora_slots_total,omitempty"`
}

// OwnWaiting is what waits for this rank's scheduler: the count of that queue,
// else the server's count without the disaggregated queues that it includes.
func (r RankState) OwnWaiting() *float64 {
	if v, ok := r.Queues[QueueWaiting]; ok {
		return &v
	}
	if r.Waiting == nil {
		return nil
	}
	v := *r.Waiting
	switch r.Mode {
	case "prefill":
		v -= r.PDQueues[QueuePrefillBootstrap]
	case "decode":
		v -= r.PDQueues[QueueDecodePrealloc] + r.PDQueues[QueueDecodeTransfer] + r.PDQueues[QueueDecodeRetracted]
	}
	v = max(v, 0)
	return &v
}

// StateDecoder reads what the endpoints of an engine say.
type StateDecoder struct {
	// Bodies reads one endpoint's reply into the state. An error says that the
	// reply has another shape than any known version gives; what could be read is
	// in the state all the same. Endpoints that are not here say nothing of it.
	Bodies map[EndpointName]func(body []byte, s *State) error
	// Order is the order in which the endpoints are read: what an earlier one has
	// told, a later one does not change.
	Order []EndpointName
	// Prefixes are those of the families of the engine's own metrics.
	Prefixes []string
	// Stages says what the parts of SeriesStages are, of those that rules ask for.
	Stages map[string]Stage
	// RankLabel is the label that tells data-parallel ranks apart; "" = none does.
	RankLabel string
	// Series are families beside [Engine.Metrics] that tell of trouble.
	Series []Series
	Source Source
}

// Series maps families of a page of metrics to a neutral name. Of rows with the
// same name the first counts whose family the page has; the families of one row
// are added up.
type Series struct {
	Name   string
	From   []string          // family names as exposed
	Labels map[string]string // labels that a series must carry; nil = any
	By     string            // label that tells parts apart, a histogram each; "" = none
	// Items are labels that hold names with commas between: the value is the number
	// of different ones. Number is a label that holds the value.
	Items  []string
	Number string
	Max    bool // the largest of the series counts, not their sum
	Source Source
}

// Stage is what a part of a request's way through the server is.
type Stage string

// The stages that rules ask for.
const (
	StageProcess  Stage = "process"  // before the queue
	StagePrefill  Stage = "prefill"  // the forward pass over the prompt
	StageTransfer Stage = "transfer" // KV on its way between two servers
)

// Histogram says that a series is a distribution.
func (s Series) Histogram() bool { return strings.HasSuffix(s.Name, "_distribution") }

// The neutral names of series, in the order of the rules that read them.
const (
	SeriesAborted           = "aborted_total"
	SeriesLiveTokens        = "live_tokens_total" // grows with every step, not only when a request ends
	SeriesRetractedNow      = "retracted_requests"
	SeriesStages            = "stages_distribution"        // s, by stage
	SeriesPromptTokens      = "prompt_tokens_distribution" // tokens
	SeriesGraphPasses       = "decode_graph_passes_total"
	SeriesPlainPasses       = "decode_plain_passes_total" // outside of a graph
	SeriesHitTokens         = "prefix_hit_tokens_total"
	SeriesLookedTokens      = "prefix_looked_up_tokens_total"
	SeriesTransferFailures  = "transfer_failures_total"
	SeriesBootstrapFailures = "bootstrap_failures_total"
	SeriesDeferred          = "deferred_requests"
	SeriesPendingPrealloc   = "pending_prealloc_usage"
	SeriesGrammarQueue      = "grammar_queue"
	SeriesGrammarTimeouts   = "grammar_timeouts_total"
	SeriesConnections       = "active_http_requests"
	SeriesTokenizerCPU      = "tokenizer_cpu_seconds_total"
	SeriesDetokenizerCPU    = "detokenizer_cpu_seconds_total"
	SeriesLoRAUsed          = "lora_slots_used"
	SeriesLoRATotal         = "lora_slots_total"
	SeriesLoRAWanted        = "lora_adapters_wanted" // running and waiting ones
	SeriesLoRAWaiting       = "lora_adapters_waiting"
	SeriesAcceptRate        = "spec_accept_rate"
	SeriesStarted           = "started_unix_s"
	SeriesEvictable         = "kv_evictable_tokens"
	SeriesThroughput        = "gen_throughput"
)

// Node is a JSON value of unknown shape. Its methods give nil, "" or an empty Node
// where the shape is another, so that one odd field never hides the others.
type Node struct{ v any }

// ReadNode reads JSON.
func ReadNode(body []byte) (Node, error) {
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return Node{}, fmt.Errorf("expected JSON, found %q", start(body))
	}
	return Node{v}, nil
}

func start(body []byte) string {
	const most = 40
	return strings.ToValidUTF8(string(body[:min(len(body), most)]), "?")
}

// ReadObject reads a JSON object; any other value is an error that names it.
func ReadObject(body []byte) (Node, error) {
	n, err := ReadNode(body)
	if err != nil {
		return Node{}, err
	}
	if _, ok := n.v.(map[string]any); !ok {
		return Node{}, fmt.Errorf("expected a JSON object, found %s", n.kind())
	}
	return n, nil
}

// ReadList reads a JSON list; any other value is an error that names it.
func ReadList(body []byte) (Node, error) {
	n, err := ReadNode(body)
	if err != nil {
		return Node{}, err
	}
	if _, ok := n.v.([]any); !ok {
		return Node{}, fmt.Errorf("expected a JSON list, found %s", n.kind())
	}
	return n, nil
}

func (n Node) kind() string {
	switch n.v.(type) {
	case nil:
		return "null"
	case []any:
		return "a list"
	case string:
		return "a string"
	case bool:
		return "a truth value"
	case float64:
		return "a number"
	}
	return "an object"
}

// Get is a member of an object.
func (n Node) Get(keys ...string) Node {
	for _, k := range keys {
		m, _ := n.v.(map[string]any)
		n = Node{m[k]}
	}
	return n
}

// Known says that there is a value other than null.
func (n Node) Known() bool { return n.v != nil }

// Items are the elements of a list.
func (n Node) Items() []Node {
	list, _ := n.v.([]any)
	out := make([]Node, len(list))
	for i, v := range list {
		out[i] = Node{v}
	}
	return out
}

// Item is an element of a list.
func (n Node) Item(i int) Node {
	if list, _ := n.v.([]any); i < len(list) {
		return Node{list[i]}
	}
	return Node{}
}

// Keys are the members' names of an object, sorted.
func (n Node) Keys() []string {
	m, _ := n.v.(map[string]any)
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Num is a finite number; a text that holds one counts, a truth value does not.
func (n Node) Num() *float64 {
	v, ok := n.v.(float64)
	if text, isText := n.v.(string); isText {
		f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		v, ok = f, err == nil
	}
	if !ok || math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// NumOrSum is a number, or the sum of the numbers of an object.
func (n Node) NumOrSum() *float64 {
	keys := n.Keys()
	if len(keys) == 0 {
		return n.Num()
	}
	total, known := 0.0, false
	for _, k := range keys {
		if v := n.Get(k).Num(); v != nil {
			total, known = total+*v, true
		}
	}
	if !known {
		return nil
	}
	return FiniteNum(total)
}

// FiniteNum is a number that can be written; nil = it is none.
func FiniteNum(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// Text is a string; numbers and truth values as they are written.
func (n Node) Text() string {
	switch v := n.v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// Bool is a truth value.
func (n Node) Bool() *bool {
	if v, ok := n.v.(bool); ok {
		return &v
	}
	return nil
}

// Settings are the members of an object as text; what is null or a large
// structure is left out.
func (n Node) Settings(without ...string) map[string]string {
	const most = 400
	out := map[string]string{}
	for _, k := range n.Keys() {
		v := n.Get(k)
		if !v.Known() || slices.Contains(without, k) {
			continue
		}
		text := v.Text()
		if text == "" {
			raw, err := json.Marshal(v.v)
			if err != nil || len(raw) > most {
				continue
			}
			text = string(raw)
		}
		if len(text) <= most {
			out[k] = text
		}
	}
	return out
}

// Merge takes from o what s does not know.
func (s *State) Merge(o State) {
	fill(&s.Model.ModelPath, o.Model.ModelPath)
	fill(&s.Model.WeightVersion, o.Model.WeightVersion)
	fill(&s.Model.ServedModelName, o.Model.ServedModelName)
	fill(&s.Model.ModelType, o.Model.ModelType)
	fill(&s.Model.Version, o.Model.Version)
	fill(&s.Model.Accelerator, o.Model.Accelerator)
	fill(&s.Topology.Mode, o.Topology.Mode)
	fill(&s.Topology.AttentionBackend, o.Topology.AttentionBackend)
	fill(&s.Topology.SamplingBackend, o.Topology.SamplingBackend)
	fill(&s.Topology.SchedulePolicy, o.Topology.SchedulePolicy)
	for _, p := range []struct{ into, from **bool }{
		{&s.Model.IsGeneration, &o.Model.IsGeneration}, {&s.Topology.EnableTrace, &o.Topology.EnableTrace}, {&s.Topology.EnableMetrics, &o.Topology.EnableMetrics},
	} {
		fill(p.into, *p.from)
	}
	for _, p := range []struct{ into, from **float64 }{
		{&s.Topology.TP, &o.Topology.TP}, {&s.Topology.DP, &o.Topology.DP}, {&s.Topology.PP, &o.Topology.PP}, {&s.Topology.EP, &o.Topology.EP},
		{&s.Capacity.MaxTotalTokens, &o.Capacity.MaxTotalTokens}, {&s.Capacity.MaxInputTokens, &o.Capacity.MaxInputTokens},
		{&s.Capacity.MaxRunningPerDP, &o.Capacity.MaxRunningPerDP}, {&s.Capacity.WeightGB, &o.Capacity.WeightGB},
		{&s.Capacity.KVCacheGB, &o.Capacity.KVCacheGB}, {&s.Capacity.GraphGB, &o.Capacity.GraphGB}, {&s.Capacity.TokenCapacity, &o.Capacity.TokenCapacity},
		{&s.Totals.Running, &o.Totals.Running}, {&s.Totals.Waiting, &o.Totals.Waiting}, {&s.Totals.Total, &o.Totals.Total},
		{&s.Totals.KVUsage, &o.Totals.KVUsage}, {&s.Totals.Throughput, &o.Totals.Throughput}, {&s.Totals.Utilization, &o.Totals.Utilization},
		{&s.At, &o.At}, {&s.DraftTokens, &o.DraftTokens}, {&s.UptimeS, &o.UptimeS},
	} {
		fill(p.into, *p.from)
	}
	if len(s.Ranks) == 0 {
		s.Ranks = o.Ranks
	}
	if s.Settings == nil && o.Settings != nil {
		s.Settings = map[string]string{}
	}
	for k, v := range o.Settings {
		if _, known := s.Settings[k]; !known {
			s.Settings[k] = v
		}
	}
}

func fill[T comparable](into *T, from T) {
	var none T
	if *into == none {
		*into = from
	}
}

// Counts are the numbers of an object's members that are asked for, by the neutral
// names that they get.
func (n Node) Counts(names map[string]string) map[string]float64 {
	var out map[string]float64
	for key, name := range names {
		if v := n.Get(key).Num(); v != nil {
			if out == nil {
				out = map[string]float64{}
			}
			out[name] = *v
		}
	}
	return out
}

// TextNode is a text as a value.
func TextNode(text string) Node {
	if text == "" {
		return Node{}
	}
	return Node{text}
}
