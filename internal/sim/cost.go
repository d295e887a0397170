package sim

import (
	"math"
	"time"
)

// Efficiencies against the roofline; round figures of the right size.
const (
	gemmEfficiency   = 0.62 // of the peak flops, for large matrices
	memoryEfficiency = 0.78 // of the peak bandwidth
	attnEfficiency   = 0.5  // of the peak flops, prefill attention
	smallGEMM        = 48   // tokens at which a matrix product reaches half of its efficiency
	launchUs         = 8    // one kernel without a graph, by an eager framework
	kernelsPerLayer  = 18
	graphLaunchUs    = 350 // a whole step by graph
	cpuStepUs        = 450 // schedule, sample, hand over: hidden by an overlapping scheduler
	cpuSeqUs         = 6   // of that for each sequence
)

// step is one forward pass as the cost model sees it.
type step struct {
	prefillTokens int
	// prefillPairs is the sum over chunks of new tokens × the context that they
	// attend to: attention's work.
	prefillPairs  float64
	decodes       int // sequences
	decodeContext int // tokens that they attend to, together
}

// cost is the time of one step.
func (d *deployment) cost(s step) time.Duration {
	tokens := s.prefillTokens + s.decodes*(1+d.specTokens)
	if tokens == 0 {
		return 0
	}
	share := 1.0 // data parallel ranks split the work, never quite evenly
	if d.dp > 1 {
		share = 1.08 / float64(d.dp)
	}
	t := float64(tokens) * share
	seconds := d.linear(t, s) + d.attention(s, share) + d.communication(t)
	if d.pp > 1 {
		// Stages work on different batches; what is left is the bubble.
		seconds = seconds/float64(d.pp)*(1+0.22*float64(d.pp-1)) + float64(d.pp-1)*20e-6
	}
	if d.captured(s) {
		seconds = max(seconds, graphLaunchUs*1e-6)
	} else {
		seconds = math.Hypot(seconds, d.launch())
	}
	seconds += d.host(s) + d.onCPU(s)
	if d.specTokens > 0 && s.decodes > 0 {
		seconds *= 1.12 // the draft
	}
	seconds *= d.slow
	return max(time.Duration(seconds*1e9), 50*time.Microsecond)
}

// linear is the matrix products: read the weights, or compute, whichever is longer.
func (d *deployment) linear(tokens float64, s step) float64 {
	passes := 1.0
	perPass := tokens
	if d.ubatch > 0 && tokens > float64(d.ubatch) {
		passes = math.Ceil(tokens / float64(d.ubatch))
		perPass = tokens / passes
	}
	active := d.model.ActiveB / d.model.TotalB
	touched := 1.0
	if active < 1 {
		touched = 1 - math.Pow(1-active, perPass)
	}
	ranks := float64(d.tp)
	read := d.model.TotalB * 1e9 * d.weightBytes * touched / ranks / (d.gpu.BandwidthGBps * 1e9 * memoryEfficiency)
	peak := d.gpu.FP16TFLOPS
	if d.fp8() {
		peak = d.gpu.FP8TFLOPS
	}
	efficiency := gemmEfficiency * perPass / (perPass + smallGEMM)
	compute := 2 * d.model.ActiveB * 1e9 * perPass / ranks / (peak * 1e12 * efficiency)
	// Slices of a matrix get too thin as tensor parallelism grows.
	compute *= 1 + 0.03*math.Log2(ranks)
	if active < 1 {
		compute *= d.expertFactor(perPass) / d.moeSpeed(s)
		read /= d.moeSpeed(s)
	}
	return passes * math.Hypot(read, compute) * d.cpuFactor()
}

// expertFactor: expert parallelism keeps whole experts on a rank (better
// products with many tokens) and loses to imbalance with few.
func (d *deployment) expertFactor(tokens float64) float64 {
	slices := float64(d.tp*d.dp) / float64(d.ep)
	spread := float64(d.ep-1) / float64(max(d.ep, 1))
	return 1 + 0.10*math.Log2(max(slices, 1)) + 0.45*spread*math.Exp(-tokens/1500)
}

func (d *deployment) moeSpeed(s step) float64 {
	if s.prefillTokens > s.decodes {
		return d.moePrefill
	}
	return d.moeDecode
}

func (d *deployment) attention(s step, share float64) float64 {
	heads := float64(d.model.Hidden) // query heads × head size is close to the width
	flops := 4 * heads * float64(d.model.AttentionLayers) * s.prefillPairs * share / float64(d.tp)
	prefill := flops / (d.gpu.FP16TFLOPS * 1e12 * attnEfficiency * d.attnPrefill)
	bytes := float64(s.decodeContext) * d.kvBytes * float64(d.pp) * share
	decode := bytes / (d.gpu.BandwidthGBps * 1e9 * memoryEfficiency * d.attnDecode)
	return (prefill + decode) * d.cpuFactor()
}

// communication of tensor parallel ranks: two all-reduces a layer, by rings of
// 2(n-1)/n of the data with a latency that grows with the ranks.
func (d *deployment) communication(tokens float64) float64 {
	if d.tp == 1 && d.ep == 1 {
		return 0
	}
	n := float64(d.tp)
	data := tokens * float64(d.model.Hidden) * 2
	ring := 2 * (n - 1) / n * data / (d.gpu.LinkGBps * 1e9)
	latency := d.gpu.LinkLatencyUs * 1e-6 * (1 + 0.12*(n-1))
	rounds := 2.0
	if d.ep > 1 {
		// Experts exchange tokens instead of reducing them: less data, one more round.
		ring *= 0.75
		rounds = 2.6
	}
	if d.tp == 1 {
		ring = data / (d.gpu.LinkGBps * 1e9)
	}
	return float64(d.model.Layers) * rounds * (ring + latency)
}

// captured says whether a graph covers the step: decode batches up to the
// largest captured size.
func (d *deployment) captured(s step) bool {
	return d.threads > 0 || s.prefillTokens == 0 && s.decodes <= d.graphMaxBS
}

// launch is the time to launch the kernels of a step one by one: it keeps a GPU
// waiting whose kernels are short.
func (d *deployment) launch() float64 {
	return float64(d.model.Layers*kernelsPerLayer) * launchUs * 1e-6
}

// host is what the CPU adds to a step.
func (d *deployment) host(s step) float64 {
	us := float64(cpuStepUs + cpuSeqUs*(s.decodes+1))
	if d.overlap {
		us *= 0.25
	}
	return us * 1e-6
}

// A tiny model on CPU threads is bound by its tokens, not by weights: measured
// with 3.95 M parameters, one thread and 1, 2, 4, 8 sequences of llama.cpp 0.7.0
// (0.6, 1.3, 3.2, 5.7 ms a token; 3795 prompt tokens/s; 2 vCPU, 2026-11-23).
const (
	tinyDecodeUs  = 650
	tinyPrefillUs = 260
	tinyModelB    = 0.05 // billions of parameters
)

// onCPU is the time of the tokens of a tiny model.
func (d *deployment) onCPU(s step) float64 {
	if d.threads == 0 || d.model.TotalB > tinyModelB {
		return 0
	}
	us := float64(s.decodes*tinyDecodeUs + s.prefillTokens*tinyPrefillUs)
	return us * 1e-6 * d.cpuFactor()
}

// cpuFactor: an engine with compute threads scales with them, and loses again
// where they are more than a few.
func (d *deployment) cpuFactor() float64 {
	if d.threads == 0 {
		return 1
	}
	n := float64(d.threads)
	return (0.25 + 0.75/n) * (1 + 0.01*n)
}
