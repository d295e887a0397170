package attrib

import (
	"bytes"
	"encoding/json"

	"llmdyno/internal/profile/kernel"
	"llmdyno/internal/profile/trace"
)

// flopRule is how the arithmetic of one operator follows from its arguments: a
// multiplication and an addition are two operations, as vendors count them.
type flopRule struct {
	class   kernel.Class // of the kernels that do it
	formula func(flopArgs) float64
}

// flopRules are the operators whose shapes say what they compute.
//
// Formulae: pytorch/pytorch torch/utils/flop_counter.py (mm_flop, addmm_flop,
// bmm_flop, conv_flop_count, sdpa_flop_count); a causal mask halves attention as in
// Dao-AILab/flash-attention benchmarks/benchmark_flash_attention.py (flops).
// Positions of arguments: pytorch/pytorch aten/src/ATen/native/native_functions.yaml.
var flopRules = map[string]flopRule{
	"aten::mm":         {kernel.GEMM, product(0, 1)},
	"aten::addmm":      {kernel.GEMM, product(1, 2)},
	"aten::_int_mm":    {kernel.GEMM, product(0, 1)},
	"aten::_scaled_mm": {kernel.GEMM, product(0, 1)},
	"aten::bmm":        {kernel.GEMM, product(0, 1)},
	"aten::baddbmm":    {kernel.GEMM, product(1, 2)},
	"aten::linear":     {kernel.GEMM, linear},

	"aten::convolution":        {kernel.Conv, convolution(3, 4, 5, 6)},
	"aten::_convolution":       {kernel.Conv, convolution(3, 4, 5, 6)},
	"aten::cudnn_convolution":  {kernel.Conv, convolution(3, 2, 4, -1)},
	"aten::miopen_convolution": {kernel.Conv, convolution(4, 3, 5, -1)},

	"aten::scaled_dot_product_attention":            {kernel.Attention, attention(1, 2, 5)},
	"aten::_scaled_dot_product_flash_attention":     {kernel.Attention, attention(1, 2, 4)},
	"aten::_scaled_dot_product_efficient_attention": {kernel.Attention, attention(1, 2, 6)},
	"aten::_scaled_dot_product_cudnn_attention":     {kernel.Attention, attention(1, 2, 6)},
	"aten::_flash_attention_forward":                {kernel.Attention, packed(attention(2, 1, 8), 3, 4)},
	"aten::_efficient_attention_forward":            {kernel.Attention, packed(attention(2, 1, 9), 4, 5)},
}

// flopArgs are the recorded arguments of one operator.
type flopArgs struct {
	dims     []json.RawMessage
	concrete []string
}

func readFLOPArgs(t *trace.Trace, a trace.Args) flopArgs {
	var f flopArgs
	if json.Unmarshal(t.Arg(a, "Input Dims"), &f.dims) != nil {
		return flopArgs{}
	}
	if json.Unmarshal(t.Arg(a, "Concrete Inputs"), &f.concrete) != nil {
		f.concrete = nil
	}
	return f
}

// shape is the shape of the tensor at a position; nil unless it has between least
// and most dimensions, each of a size that a tensor can have.
func (f flopArgs) shape(at, least, most int) []float64 {
	var dims []int64
	if at >= len(f.dims) || json.Unmarshal(f.dims[at], &dims) != nil || len(dims) < least || len(dims) > most {
		return nil
	}
	out := make([]float64, len(dims))
	for i, d := range dims {
		if d <= 0 || d > 1<<40 {
			return nil
		}
		out[i] = float64(d)
	}
	return out
}

// absent reports whether the argument at a position was recorded, and as no tensor.
func (f flopArgs) absent(at int) bool {
	return at < len(f.dims) && bytes.Equal(bytes.TrimSpace(f.dims[at]), []byte("[]"))
}

// list is the list of integers at a position, n long; one number stands for n.
func (f flopArgs) list(at, n int) []float64 {
	var list []float64
	if at >= len(f.concrete) || json.Unmarshal([]byte(f.concrete[at]), &list) != nil {
		return nil
	}
	for len(list) == 1 && n > 1 {
		list = append(list, make([]float64, n-1)...)
		for i := range list {
			list[i] = list[0]
		}
	}
	if len(list) != n {
		return nil
	}
	return list
}

// flag is the truth value at a position; numbers other than 0 are true.
func (f flopArgs) flag(at int) bool {
	if at < 0 || at >= len(f.concrete) {
		return false
	}
	switch f.concrete[at] {
	case "", "0", "False", "false":
		return false
	}
	return true
}

// product is 2·m·k·n for each matrix of the batch.
func product(left, right int) func(flopArgs) float64 {
	return func(f flopArgs) float64 {
		a, b := f.shape(left, 2, 3), f.shape(right, 2, 3)
		if a == nil || len(a) != len(b) {
			return 0
		}
		batch := 1.0
		if len(a) == 3 {
			if a[0] != b[0] {
				return 0
			}
			batch, a, b = a[0], a[1:], b[1:]
		}
		if a[1] != b[0] {
			return 0
		}
		return 2 * batch * a[0] * a[1] * b[1]
	}
}

// linear is 2·rows·in·out; the weight is (out, in).
func linear(f flopArgs) float64 {
	x, w := f.shape(0, 1, 8), f.shape(1, 2, 2)
	if x == nil || w == nil || x[len(x)-1] != w[1] {
		return 0
	}
	return 2 * multiply(x) * w[0]
}

// convolution is 2·batch·positions·weights: each weight (channels out, channels in of
// a group, filter) meets every output position, or every input position when
// transposed.
func convolution(stride, padding, dilation, transposed int) func(flopArgs) float64 {
	return func(f flopArgs) float64 {
		x, w := f.shape(0, 3, 5), f.shape(1, 3, 5)
		if x == nil || len(x) != len(w) {
			return 0
		}
		if f.flag(transposed) {
			return 2 * x[0] * multiply(x[2:]) * multiply(w)
		}
		n := len(x) - 2
		s, p, d := f.list(stride, n), f.list(padding, n), f.list(dilation, n)
		if s == nil || p == nil || d == nil {
			return 0
		}
		positions := 1.0
		for i := range n {
			if s[i] < 1 || d[i] < 1 {
				return 0
			}
			reach := x[i+2] + 2*p[i] - d[i]*(w[i+2]-1) - 1
			if reach < 0 {
				return 0
			}
			positions *= float64(int64(reach/s[i])) + 1
		}
		return 2 * x[0] * positions * multiply(w)
	}
}

// attention is 2·batch·heads·queries·keys·(size of a key + size of a value), half of
// it under a causal mask. heads and length are the dimensions of these two.
func attention(heads, length, causal int) func(flopArgs) float64 {
	return func(f flopArgs) float64 {
		q, k, v := f.shape(0, 4, 4), f.shape(1, 4, 4), f.shape(2, 4, 4)
		if q == nil || k == nil || v == nil || q[3] != k[3] || k[length] != v[length] {
			return 0
		}
		flop := 2 * q[0] * q[heads] * q[length] * k[length] * (q[3] + v[3])
		if f.flag(causal) {
			flop /= 2
		}
		return flop
	}
}

// packed is a formula that holds only without tensors at the two positions: these
// say where sequences of several lengths begin, and not with their values.
func packed(formula func(flopArgs) float64, a, b int) func(flopArgs) float64 {
	return func(f flopArgs) float64 {
		if !f.absent(a) || !f.absent(b) {
			return 0
		}
		return formula(f)
	}
}

func multiply(list []float64) float64 {
	p := 1.0
	for _, x := range list {
		p *= x
	}
	return p
}

// flopCount counts arithmetic of the operators of one trace. Equal arguments are
// kept once by the trace, so that each shape is read once.
type flopCount struct {
	t     *trace.Trace
	rules map[trace.NameID]*flopRule // nil: none
	known map[flopKey]float64
}

type flopKey struct {
	op   trace.NameID
	args trace.Args
}

func (c *flopCount) of(op *trace.Op) (rule *flopRule, flop float64) {
	rule, seen := c.rules[op.Name]
	if !seen {
		if r, is := flopRules[c.t.Text(op.Name)]; is {
			rule = &r
		}
		c.rules[op.Name] = rule
	}
	if rule == nil {
		return nil, 0
	}
	key := flopKey{op.Name, op.Args}
	flop, seen = c.known[key]
	if !seen {
		flop = rule.formula(readFLOPArgs(c.t, op.Args))
		c.known[key] = flop
	}
	return rule, flop
}

// countFLOP shares the arithmetic of each operator whose shapes are recorded among
// the kernels that do it, by their time: those of the operator's class, or, where
// none is, all but copies. What an operator does counts once, however many kernels
// it takes.
func (r *resolver) countFLOP(tl *Timeline, asked []int32) {
	count := flopCount{t: r.t, rules: map[trace.NameID]*flopRule{}, known: map[flopKey]float64{}}
	works := map[int32][]int32{} // of the operators that have a formula
	for i := range tl.Works {
		if asked[i] < 0 {
			continue
		}
		if q := &r.queries[asked[i]]; r.startedBy(&tl.Works[i], q) {
			if rule, flop := count.of(r.t.Ops.At(int(q.op))); rule != nil && flop > 0 {
				works[q.op] = append(works[q.op], int32(i))
			}
		}
	}
	if len(works) == 0 {
		return
	}
	tl.FLOP = make([]float64, len(tl.Works))
	for row, list := range works {
		rule, flop := count.of(r.t.Ops.At(int(row)))
		tl.share(list, rule.class, flop)
	}
}

// startedBy reports whether the operator that answers a question can have started
// the work. One that began after it can't: an id from before the recording met one
// of the same number.
func (r *resolver) startedBy(w *Work, q *query) bool {
	return q.op >= 0 && (q.launch >= 0 || r.t.Ops.At(int(q.op)).Start <= w.Start)
}

func (tl *Timeline) share(works []int32, class kernel.Class, flop float64) {
	var fitting, other []int32
	whole, rest := int64(0), int64(0)
	for _, i := range works {
		w := &tl.Works[i]
		switch c := tl.Names[w.Name].Class; {
		case c == class || class == kernel.Conv && c == kernel.GEMM:
			fitting, whole = append(fitting, i), whole+w.Dur
		case c != kernel.Memory:
			other, rest = append(other, i), rest+w.Dur
		}
	}
	if len(fitting) == 0 {
		fitting, whole = other, rest
	}
	for _, i := range fitting {
		tl.FLOP[i] = flop * float64(tl.Works[i].Dur) / float64(whole)
	}
}
