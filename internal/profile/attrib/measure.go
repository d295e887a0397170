package attrib

import (
	"strings"

	"llmdyno/internal/profile/trace"
)

// Measured is what the trace records of a kernel beside its time. What it does not
// record is absent.
type Measured struct {
	// Occupancy is the occupancy that the profiler estimates, in percent of the
	// device's warps, weighted by the time of the launches that have one.
	Occupancy *float64 `json:"occupancy_pct,omitempty"`
	// Registers (of a thread) and SharedMemory (bytes of a block) are given where
	// they are the same in all launches.
	Registers    *int64 `json:"registers_per_thread,omitempty"`
	SharedMemory *int64 `json:"shared_memory_bytes,omitempty"`
	// Bytes are what copies and fills moved; Bandwidth is that over their time, in
	// 1e9 bytes a second.
	Bytes     int64   `json:"bytes,omitempty"`
	Bandwidth float64 `json:"bandwidth_gb_s,omitempty"`
	// MessageBytes are what collectives were given on this rank. Their bandwidths
	// are those of NVIDIA/nccl-tests doc/PERFORMANCE.md, in 1e9 bytes a second:
	// the algorithm's, and the bus's, which compares with the speed of the links.
	// The time includes the wait for other ranks.
	MessageBytes   int64   `json:"message_bytes,omitempty"`
	AlgorithmSpeed float64 `json:"algorithm_bandwidth_gb_s,omitempty"`
	BusSpeed       float64 `json:"bus_bandwidth_gb_s,omitempty"`
	// FLOP is the arithmetic that the operators' shapes ask for, FLOPLaunches the
	// launches that it is known of, and TFLOPS its rate in their time, in 1e12
	// operations a second.
	FLOP         float64 `json:"flop,omitempty"`
	FLOPLaunches int     `json:"flop_launches,omitempty"`
	TFLOPS       float64 `json:"tflop_s,omitempty"`
}

// gpuArgs is what the args of one piece of GPU work record.
type gpuArgs struct {
	occupancy                float64
	registers, shared        int64
	bytes                    int64
	message                  int64   // bytes given to a collective
	algorithm, bus           float64 // bytes for its two bandwidths
	hasOccupancy, hasCompile bool
}

// maxBytes is the most that one copy or message can move; more is not a count.
const maxBytes = 1 << 48

// readGPUArgs reads what pytorch/kineto libkineto/src/CuptiActivity.cpp and
// torch/csrc/distributed/c10d/ParamCommsUtils.cpp write.
func readGPUArgs(t *trace.Trace, g *trace.GPU) gpuArgs {
	var a gpuArgs
	if g.Cat != trace.CatKernel {
		if n, ok := t.ArgInt(g.Args, "bytes"); ok && n > 0 && n <= maxBytes {
			a.bytes = n
		}
		return a
	}
	if p, ok := t.ArgFloat(g.Args, "est. achieved occupancy %"); ok && p >= 0 && p <= 100 {
		a.occupancy, a.hasOccupancy = p, true
	}
	regs, okRegs := t.ArgInt(g.Args, "registers per thread")
	shared, okShared := t.ArgInt(g.Args, "shared memory")
	if okRegs && okShared {
		a.registers, a.shared, a.hasCompile = regs, shared, true
	}
	a.readCollective(t, g.Args)
	return a
}

func (a *gpuArgs) readCollective(t *trace.Trace, args trace.Args) {
	size := dtypeBytes[t.ArgString(args, "dtype")]
	in, ok := t.ArgInt(args, "In msg nelems")
	if size == 0 || !ok || in <= 0 || in > maxBytes/size {
		return
	}
	a.message = in * size
	out, ok := t.ArgInt(args, "Out msg nelems")
	if !ok || out <= 0 || out > maxBytes/size {
		out = in
	}
	a.algorithm = float64(max(in, out) * size)
	n, ok := t.ArgInt(args, "Group size")
	if !ok || n < 2 {
		return
	}
	a.bus = a.algorithm * busFactor(t.ArgString(args, "Collective name"), float64(n))
}

// busFactor relates the bandwidth of the links to that of the algorithm among n
// ranks; 0 for what nccl-tests has no factor for.
func busFactor(name string, n float64) float64 {
	name = strings.ReplaceAll(strings.ToLower(name), "_", "")
	switch {
	case strings.Contains(name, "allreduce"):
		return 2 * (n - 1) / n
	case strings.Contains(name, "allgather"), strings.Contains(name, "reducescatter"), strings.Contains(name, "alltoall"):
		return (n - 1) / n
	case strings.Contains(name, "broadcast"), name == "reduce", name == "send", name == "recv":
		return 1
	}
	return 0
}

// dtypeBytes are the sizes of the scalar types by the name that is recorded:
// pytorch/pytorch torch/headeronly/core/ScalarType.h.
var dtypeBytes = map[string]int64{
	"Byte": 1, "Char": 1, "Bool": 1, "Short": 2, "Int": 4, "Long": 8, "UInt16": 2, "UInt32": 4, "UInt64": 8,
	"Half": 2, "BFloat16": 2, "Float": 4, "Double": 8, "ComplexHalf": 4, "ComplexFloat": 8, "ComplexDouble": 16,
	"Float8_e5m2": 1, "Float8_e4m3fn": 1, "Float8_e5m2fnuz": 1, "Float8_e4m3fnuz": 1, "Float8_e8m0fnu": 1,
}

// argReader remembers what equal args say.
type argReader struct {
	t     *trace.Trace
	known map[argKey]gpuArgs
}

type argKey struct {
	args   trace.Args
	kernel bool
}

func (r *argReader) of(g *trace.GPU) gpuArgs {
	key := argKey{g.Args, g.Cat == trace.CatKernel}
	a, seen := r.known[key]
	if !seen {
		a = readGPUArgs(r.t, g)
		r.known[key] = a
	}
	return a
}

// measureSum adds up what launches of one kernel record.
type measureSum struct {
	occupied, occupiable float64 // percent · ns, ns
	compiled             int     // launches that record registers and shared memory
	registers, shared    int64
	regsVary, sharedVary bool
	bytes, message       int64
	algorithm, bus       float64
	flop                 float64
	flops                int
	moving, talking      int64 // ns of the launches with bytes, with a message
	bussing, computing   int64 // ns of those with a bus factor, with FLOP
}

func (s *measureSum) add(a gpuArgs, flop float64, ns int64) {
	if a.hasOccupancy {
		s.occupied += a.occupancy * float64(ns)
		s.occupiable += float64(ns)
	}
	if a.hasCompile {
		if s.compiled == 0 {
			s.registers, s.shared = a.registers, a.shared
		}
		s.regsVary = s.regsVary || a.registers != s.registers
		s.sharedVary = s.sharedVary || a.shared != s.shared
		s.compiled++
	}
	if a.bytes > 0 {
		s.bytes += a.bytes
		s.moving += ns
	}
	if a.message > 0 {
		s.message += a.message
		s.algorithm += a.algorithm
		s.talking += ns
	}
	if a.bus > 0 {
		s.bus += a.bus
		s.bussing += ns
	}
	if flop > 0 {
		s.flop += flop
		s.flops++
		s.computing += ns
	}
}

func (s *measureSum) finish(launches int) Measured {
	m := Measured{
		Bytes: s.bytes, Bandwidth: rate(float64(s.bytes), s.moving),
		MessageBytes: s.message, AlgorithmSpeed: rate(s.algorithm, s.talking), BusSpeed: rate(s.bus, s.bussing),
		FLOP: s.flop, FLOPLaunches: s.flops, TFLOPS: rate(s.flop, s.computing) / 1000,
	}
	if s.occupiable > 0 {
		p := s.occupied / s.occupiable
		m.Occupancy = &p
	}
	if s.compiled == launches && !s.regsVary {
		m.Registers = &s.registers
	}
	if s.compiled == launches && !s.sharedVary {
		m.SharedMemory = &s.shared
	}
	return m
}

// rate is amount over time in 1e9 a second; 0 without time.
func rate(amount float64, ns int64) float64 {
	if ns == 0 {
		return 0
	}
	return amount / float64(ns)
}
