package tinymodel

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// GGUF tensor types.
const (
	typeF32 = 0
	typeF16 = 1
)

// The bias channel: component 0 of every token's embedding holds embedBias,
// and no block writes to it, so that after the last norm it is a positive
// near-constant. Column 0 of the output matrix then acts as a bias of each
// token. silentBias keeps a token from being sampled.
const (
	embedBias  = 4
	silentBias = -30
)

// Standard deviations of the random weights, before division by the square
// root of the width. With these the hidden state neither dies nor grows, and
// the output distribution is about as flat as a language model's.
const (
	stdEmbed      = 1.0 // not divided
	stdProjection = 1.0
	stdResidual   = 0.5 // what is added to the residual stream
	stdLogits     = 2.0
)

// tensor is one weight of the file. Data is row-major by output: element
// (out, in) stands at out·in_width + in.
type tensor struct {
	name    string
	in, out int // out is 0 for a vector
	kind    uint32
	std     float64 // 0 = all ones (a norm)
	// fix overrides the values of one row after they were drawn; nil = leave.
	fix func(row int, values []float32)
}

func (t tensor) elements() int64 { return int64(t.in) * int64(max(t.out, 1)) }

func (t tensor) bytes() int64 {
	if t.kind == typeF16 {
		return 2 * t.elements()
	}
	return 4 * t.elements()
}

// tensors lists the weights in file order.
func tensors(o Options) []tensor {
	root := math.Sqrt(float64(o.Dim))
	head := o.Dim / max(o.Heads, 1)
	norm := func(name string) tensor { return tensor{name: name, in: o.Dim, kind: typeF32} }
	matrix := func(name string, in, out int, std float64, fix func(int, []float32)) tensor {
		return tensor{name: name, in: in, out: out, kind: typeF16, std: std, fix: fix}
	}
	list := []tensor{
		matrix("token_embd.weight", o.Dim, o.Vocab, stdEmbed, fixEmbedding),
		norm("output_norm.weight"),
		matrix("output.weight", o.Dim, o.Vocab, stdLogits/root, fixOutput(o.EOSBias)),
	}
	for i := range o.Layers {
		block := fmt.Sprintf("blk.%d.", i)
		list = append(list,
			norm(block+"attn_norm.weight"),
			matrix(block+"attn_q.weight", o.Dim, o.Heads*head, stdProjection/root, nil),
			matrix(block+"attn_k.weight", o.Dim, o.KVHeads*head, stdProjection/root, nil),
			matrix(block+"attn_v.weight", o.Dim, o.KVHeads*head, stdProjection/root, nil),
			matrix(block+"attn_output.weight", o.Heads*head, o.Dim, stdResidual/root, fixResidual),
			norm(block+"ffn_norm.weight"),
			matrix(block+"ffn_gate.weight", o.Dim, o.FF, stdProjection/root, nil),
			matrix(block+"ffn_up.weight", o.Dim, o.FF, stdProjection/root, nil),
			matrix(block+"ffn_down.weight", o.FF, o.Dim, stdResidual/root, fixResidual),
		)
	}
	return list
}

func fixEmbedding(_ int, values []float32) { values[0] = embedBias }

// fixResidual keeps a block from writing to the bias channel.
func fixResidual(row int, values []float32) {
	if row == 0 {
		clear(values)
	}
}

func fixOutput(eosBias float64) func(int, []float32) {
	return func(token int, values []float32) {
		switch {
		case silent(token):
			clear(values)
			values[0] = silentBias
		case token == endID:
			values[0] = float32(eosBias)
		default:
			values[0] = 0
		}
	}
}

// fill draws the weights of one row.
func (t tensor) fill(r *rand.PCG, row int, values []float32) {
	for i := range values {
		if t.std == 0 {
			values[i] = 1
		} else {
			values[i] = bell(r.Uint64()) * float32(t.std)
		}
	}
	if t.fix != nil {
		t.fix(row, values)
	}
}

// bell turns 64 random bits into a number that is close to normally
// distributed with mean 0 and deviation 1: the sum of four uniform numbers,
// shifted and scaled. All of it is exact up to one rounding, so every machine
// draws the same weights, which math/rand's NormFloat64 does not promise.
func bell(bits uint64) float32 {
	const (
		mean  = 4 * (1<<16 - 1) / 2
		scale = 1.7320508075688772 / (1 << 16) // √(12/4) per unit of 1/65536
	)
	sum := int64(bits&0xffff) + int64(bits>>16&0xffff) + int64(bits>>32&0xffff) + int64(bits>>48)
	return float32(float64(sum-mean) * scale)
}

// half is the IEEE 754 16-bit form of f, rounded to the nearest even; what is
// out of range becomes infinite.
func half(f float32) uint16 {
	bits := math.Float32bits(f)
	sign := uint16(bits >> 16 & 0x8000)
	exp := int(bits>>23&0xff) - 127 + 15
	frac := bits & 0x7fffff
	switch {
	case bits&0x7fffffff > 0x7f800000:
		return sign | 0x7e00 // not a number
	case exp >= 31:
		return sign | 0x7c00
	case exp < -10:
		return sign
	case exp <= 0: // subnormal
		frac |= 0x800000
		return sign + uint16(roundShift(frac, uint(14-exp)))
	}
	// A carry out of the fraction rightly raises the exponent.
	return sign + uint16(exp<<10) + uint16(roundShift(frac, 13))
}

// roundShift is v / 2ⁿ, rounded to the nearest, ties to even.
func roundShift(v uint32, n uint) uint32 {
	q, rest, tie := v>>n, v&(1<<n-1), uint32(1)<<(n-1)
	if rest > tie || rest == tie && q&1 == 1 {
		q++
	}
	return q
}
