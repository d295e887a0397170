package sim

import (
	"fmt"
	"math"
	"strings"
)

// Shares of memory and time that the model assumes. They are round figures of
// the right size, not measurements of any engine.
const (
	runtimeGB         = 1.6  // driver context, kernels, communication buffers of one GPU
	fragmentation     = 0.01 // of the GPU's memory, lost to allocation granularity
	graphBaseGB       = 0.35 // graph pool of the smallest batch
	graphGBPerBatch   = 0.004
	actBytesPerToken  = 24 // per hidden value and token of a step, all buffers together
	logitBytes        = 6  // per vocabulary entry and sequence: fp32 logits and the sampler's copy
	vocabulary        = 128_000
	defaultMemFrac    = 0.9
	cacheGranule      = 16      // least tokens of a prefix cache entry
	maxCapacityTokens = 1 << 28 // KV slots that the simulator keeps count of
)

// deployment is one engine with its settings on its GPUs: everything that the
// scheduler and the cost model need, resolved.
type deployment struct {
	gpu   GPU
	model Model

	tp, pp, dp, ep int

	maxRunning   int
	stepTokens   int  // prefill tokens of one step at most
	chunked      bool // a prompt may be split over steps
	mixed        bool // prefill chunks share a step with decodes
	contBatching bool
	contextLen   int // prompt and output of one request at most
	blockSize    int // tokens
	kvBlocks     int // capacity
	prefixCache  bool
	policy       string
	graphMaxBS   int // 0 = no graphs
	overlap      bool
	ubatch       int // tokens of one pass through the model; 0 = the whole step
	specTokens   int

	weightBytes float64 // bytes of a parameter
	kvBytes     float64 // of a token on one GPU
	weightGB    float64 // on one GPU
	kvGB        float64 // on one GPU
	graphGB     float64
	actGB       float64
	attnPrefill float64 // speed against the best kernel
	attnDecode  float64
	moePrefill  float64
	moeDecode   float64
	threads     int     // 0 = not a CPU engine
	slow        float64 // multiplies every step
}

// shortage says that a deployment does not fit; kind is the log text's name.
type shortage struct{ kind, message string }

// deploy resolves knobs on a GPU; gpus bounds the cards (0 = as many as asked).
func deploy(inv *invocation, gpu GPU, model Model, gpus int) (*deployment, *shortage) {
	d := &deployment{
		gpu: gpu, model: model, slow: 1,
		tp: max(1, inv.int("tp", 1)), pp: max(1, inv.int("pp", 1)), dp: max(1, inv.int("dp", 1)), ep: 1,
		policy: inv.text("schedule_policy"), prefixCache: inv.bool("prefix_cache", true),
		contBatching: inv.bool("cont_batching", true), overlap: inv.bool("overlap_schedule", true),
		chunked: inv.bool("chunked_prefill", true), mixed: inv.bool("mixed_prefill", true),
		ubatch: max(0, inv.int("ubatch", 0)), threads: max(0, inv.int("threads", 0)),
		blockSize: min(max(1, inv.int("block_size", 16)), 4096),
	}
	d.experts(inv)
	if need := d.gpusNeeded(); gpus > 0 && need > gpus {
		return nil, &shortage{"bad_value", fmt.Sprintf("world size %d is larger than the number of available GPUs (%d)", need, gpus)}
	}
	d.kernels(inv)
	d.batching(inv)
	d.graphs(inv)
	d.speculation(inv)
	return d, d.memory(inv)
}

// experts resolves ep: a number, or "true" for all ranks.
func (d *deployment) experts(inv *invocation) {
	if d.model.ActiveB >= d.model.TotalB {
		return
	}
	d.ep = max(1, inv.int("ep", 1))
	if inv.text("ep") == "true" {
		d.ep = d.tp * d.dp
	}
	d.ep = min(d.ep, d.tp*d.dp)
}

// gpusNeeded: data parallel ranks of a mixture of experts share its weights.
func (d *deployment) gpusNeeded() int { return d.tp * d.pp * d.dp }

func (d *deployment) kernels(inv *invocation) {
	f, _ := figures()
	pick := func(names ...string) string {
		for _, n := range names {
			if v := inv.text(n); v != "" && v != "auto" {
				return v
			}
		}
		return ""
	}
	d.attnPrefill = f.backends.find(f.backends.Attention, pick("prefill_attention", "attention_backend")).Prefill
	d.attnDecode = f.backends.find(f.backends.Attention, pick("decode_attention", "attention_backend")).Decode
	moe := f.backends.find(f.backends.MoE, pick("moe_backend"))
	d.moePrefill, d.moeDecode = moe.Prefill, moe.Decode
	if !inv.bool("flash_attention", true) {
		d.attnPrefill *= 0.5
		d.attnDecode *= 0.7
	}
	dtype := d.model.DType
	if q := pick("quantization"); q != "" && q != "none" {
		dtype = q
	} else if t := pick("dtype"); t != "" && bytesPerWeight(dtype) >= 2 {
		dtype = t
	}
	d.weightBytes = bytesPerWeight(dtype)
}

func (d *deployment) batching(inv *invocation) {
	d.maxRunning = inv.int("max_running", 0)
	if slots := inv.int("slots", 0); slots > 0 {
		d.maxRunning = slots
	}
	if d.maxRunning <= 0 {
		d.maxRunning = 256
	}
	d.maxRunning = min(d.maxRunning, 1<<16)
	budget, chunk := inv.int("max_batch_tokens", 0), inv.int("chunk_tokens", 0)
	if chunk < 0 {
		d.chunked = false
	}
	switch {
	case budget > 0 && chunk > 0:
		d.stepTokens = min(budget, chunk)
	case chunk > 0:
		d.stepTokens = chunk
	case budget > 0:
		d.stepTokens = budget
	default:
		d.stepTokens = 8192
	}
	d.contextLen = inv.int("context_len", 0)
	if d.contextLen <= 0 {
		d.contextLen = d.model.Context
	} else if slots := inv.int("slots", 0); slots > 1 && !inv.bool("kv_unified", false) {
		d.contextLen = max(1, d.contextLen/slots) // slots share a context between them
	}
}

func (d *deployment) graphs(inv *invocation) {
	if !inv.bool("cuda_graph", true) {
		return
	}
	d.graphMaxBS = inv.int("graph_max_bs", 0)
	if d.graphMaxBS <= 0 {
		d.graphMaxBS = min(d.maxRunning, 512)
	}
	if d.threads > 0 {
		d.graphMaxBS = 1 << 16 // no graphs on a CPU, and nothing to launch
	}
}

func (d *deployment) speculation(inv *invocation) {
	if s := inv.text("speculative"); s == "" || s == "none" || s == "false" || s == "null" {
		if inv.int("spec_tokens", 0) <= 0 || !inv.given["spec_tokens"] {
			return
		}
	}
	d.specTokens = min(max(1, inv.int("spec_tokens", 3)), 16)
}

// memory plans one GPU's memory and sets the KV capacity.
func (d *deployment) memory(inv *invocation) *shortage {
	ranks := float64(d.tp * d.pp)
	if d.model.ActiveB < d.model.TotalB {
		ranks *= float64(d.dp) // experts are spread over data parallel ranks too
	}
	d.weightGB = d.model.TotalB * d.weightBytes / ranks * 1.03 // embeddings and norms are not split evenly
	d.actGB = (float64(d.stepTokens)*float64(d.model.Hidden)*actBytesPerToken*2/math.Sqrt(float64(d.tp)) + float64(d.maxRunning)*vocabulary*logitBytes/float64(d.tp)) / 1e9
	if d.graphMaxBS > 0 && d.threads == 0 {
		d.graphGB = (graphBaseGB + graphGBPerBatch*float64(d.graphMaxBS)) * float64(d.model.Layers) / 64 / float64(d.pp)
	}
	d.kvBytes = d.kvBytesPerToken(inv)
	total := d.gpu.MemoryGB
	outside := runtimeGB + fragmentation*total
	if d.weightGB+d.actGB+outside > total {
		return d.outOfMemory("model weights and activations", d.weightGB+d.actGB+outside)
	}
	kv, short := d.kvShare(inv, total, outside)
	if short != nil {
		return short
	}
	return d.capacity(inv, kv)
}

// kvShare is the memory for KV on one GPU, by whichever rule the engine has.
func (d *deployment) kvShare(inv *invocation, total, outside float64) (float64, *shortage) {
	if share := inv.float("kv_fraction", 0); share > 0 && inv.text("mem_fraction") == "" || inv.given["kv_fraction"] {
		// A share of what is free once the model has run.
		free := total - outside - d.weightGB - d.actGB
		kv := min(share, 1) * free
		if d.graphGB > free-kv {
			return 0, d.outOfMemory("graph capture", total-free+kv+d.graphGB)
		}
		return kv, nil
	}
	f := inv.float("mem_fraction", defaultMemFrac)
	if inv.text("mem_scope") == "static" {
		if inv.text("mem_fraction") == "" { // as much as the rest leaves, and a little in reserve
			f = max(0, min(defaultMemFrac, 1-(d.actGB+d.graphGB+outside)/total-0.01))
		}
		// Weights and KV within the share; activations and graphs beside it.
		if rest := (1 - f) * total; d.actGB+d.graphGB+outside > rest {
			return 0, d.outOfMemory("activations and graphs beside the static share", f*total+d.actGB+d.graphGB+outside)
		}
		return f*total - d.weightGB, nil
	}
	// Everything of this process within the share.
	if f*total+outside > total {
		return 0, d.outOfMemory("the share of GPU memory asked for", f*total+outside)
	}
	return f*total - d.weightGB - d.actGB - d.graphGB, nil
}

func (d *deployment) outOfMemory(what string, needGB float64) *shortage {
	return &shortage{"oom", fmt.Sprintf("%s: %.2f GiB needed on a GPU of %.2f GiB", what, needGB/1.0737, d.gpu.MemoryGB/1.0737)}
}

// kvBytesPerToken of one GPU: heads are split over tensor parallel ranks until
// each has one; a compressed cache is held by every rank.
func (d *deployment) kvBytesPerToken(inv *invocation) float64 {
	bytes := 2.0
	if t := inv.text("kv_dtype"); t != "" && t != "auto" {
		bytes = bytesPerWeight(t)
	}
	layers := float64(max(1, d.model.AttentionLayers)) / float64(d.pp)
	if d.model.KVValues > 0 {
		return float64(d.model.KVValues) * layers * bytes
	}
	heads := max(1, float64(d.model.KVHeads)/float64(d.tp))
	return 2 * heads * float64(d.model.HeadDim) * layers * bytes
}

func (d *deployment) capacity(inv *invocation, kvGB float64) *shortage {
	tokens := 0
	if kvGB > 0 {
		tokens = int(min(kvGB*1e9/d.kvBytes*float64(d.dp), maxCapacityTokens))
	}
	if limit := inv.int("max_total_tokens", 0); limit > 0 {
		tokens = min(tokens, limit)
	}
	if slots := inv.int("slots", 0); slots > 0 {
		tokens = min(tokens, d.contextLen*slots) // a slot has its own part of the cache
	}
	granule := d.granule()
	d.kvBlocks = tokens / granule
	d.kvGB = float64(d.kvBlocks*granule) * d.kvBytes / 1e9 / float64(d.dp)
	given := inv.given["context_len"]
	switch {
	case d.kvBlocks < 2:
		return &shortage{"no_kv", "no memory is left for the KV cache"}
	case given && tokens/d.dp < d.contextLen:
		return &shortage{"no_kv", fmt.Sprintf("the KV cache holds %d tokens, less than one request of %d", tokens/d.dp, d.contextLen)}
	}
	d.contextLen = min(d.contextLen, tokens/d.dp)
	return nil
}

// granule is the tokens of one entry of the KV cache as the simulator counts.
func (d *deployment) granule() int {
	g := d.blockSize
	for g < cacheGranule {
		g *= 2
	}
	return g
}

func (d *deployment) kvTokens() int { return d.kvBlocks * d.granule() }

func (d *deployment) fp8() bool { return d.weightBytes <= 1 }

// lpm: does the queue put requests with a long cached prefix first?
func (d *deployment) lpm() bool { return strings.EqualFold(d.policy, "lpm") && d.prefixCache }
