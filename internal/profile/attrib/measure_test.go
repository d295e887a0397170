package attrib

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
)

func onlyRow(t *testing.T, text string) KernelRow {
	t.Helper()
	rows := Kernels(resolved(t, text))
	if len(rows) != 1 {
		t.Fatalf("%d rows", len(rows))
	}
	return rows[0]
}

func TestOccupancyIsWeightedByTime(t *testing.T) {
	r := onlyRow(t, `
		kernel 0 30 a_gemm est._achieved_occupancy_%=10 registers_per_thread=96 shared_memory=1024
		kernel 40 10 a_gemm est._achieved_occupancy_%=50 registers_per_thread=96 shared_memory=2048
		kernel 60 60 a_gemm registers_per_thread=96 shared_memory=1024`)
	if r.Occupancy == nil || *r.Occupancy != 20 { // (30·10 + 10·50) / 40
		t.Errorf("occupancy %v", r.Occupancy)
	}
	if r.Registers == nil || *r.Registers != 96 || r.SharedMemory != nil {
		t.Errorf("registers %v, shared memory %v", r.Registers, r.SharedMemory)
	}
}

// TestZeroIsRecordedAbsentIsNot: an occupancy of 0 is a figure, a missing one is
// none, and a row without figures has no such member at all.
func TestZeroIsRecordedAbsentIsNot(t *testing.T) {
	zero := onlyRow(t, "kernel 0 30 a_gemm est._achieved_occupancy_%=0 registers_per_thread=1 shared_memory=0")
	if zero.Occupancy == nil || *zero.Occupancy != 0 || zero.SharedMemory == nil || *zero.SharedMemory != 0 {
		t.Errorf("%v, %v", zero.Occupancy, zero.SharedMemory)
	}
	none := onlyRow(t, "kernel 0 30 a_gemm corr=1 est._achieved_occupancy_%=nan")
	text, err := json.Marshal(none)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"occupancy", "registers", "shared_memory", "bytes", "bandwidth", "flop"} {
		if strings.Contains(string(text), word) {
			t.Errorf("%s in %s", word, text)
		}
	}
}

// TestCopyBandwidth: from bytes and time; the recorded bandwidth may be "N/A".
func TestCopyBandwidth(t *testing.T) {
	r := onlyRow(t, `
		memcpy 0 10 "Memcpy DtoD (Device -> Device)" bytes=1000000 memory_bandwidth_(GB/s)="N/A"
		memcpy 20 10 "Memcpy DtoD (Device -> Device)" bytes=3000000
		memcpy 40 70 "Memcpy DtoD (Device -> Device)"
		memcpy 120 70 "Memcpy DtoD (Device -> Device)" bytes=-5`)
	if r.Bytes != 4_000_000 || math.Abs(r.Bandwidth-200) > 1e-9 { // 4 MB in 20 us
		t.Errorf("%d bytes, %v GB/s", r.Bytes, r.Bandwidth)
	}
}

func TestCollectiveBytes(t *testing.T) {
	for _, c := range []struct {
		name, args     string
		message        int64
		algorithm, bus float64 // GB/s
	}{
		// 8 MB in 100 us; the bus carries 2·7/8 of it.
		{"all-reduce", `Collective_name=allreduce dtype=BFloat16 In_msg_nelems=4000000 Out_msg_nelems=4000000 Group_size=8`, 8_000_000, 80, 140},
		// Each of 8 gives 1 MB and gets 8 MB.
		{"all-gather", `Collective_name=_allgather_base dtype=Float In_msg_nelems=250000 Out_msg_nelems=2000000 Group_size=8`, 1_000_000, 80, 70},
		{"reduce-scatter", `Collective_name=reduce_scatter_tensor_coalesced dtype=Half In_msg_nelems=4000000 Out_msg_nelems=500000 Group_size=8`, 8_000_000, 80, 70},
		{"broadcast", `Collective_name=broadcast dtype=Long In_msg_nelems=1000000 Out_msg_nelems=1000000 Group_size=2`, 8_000_000, 80, 80},
		{"one alone", `Collective_name=allreduce dtype=Float8_e4m3fn In_msg_nelems=8000000 Out_msg_nelems=8000000 Group_size=1`, 8_000_000, 80, 0},
		{"unknown", `Collective_name=pool dtype=Int In_msg_nelems=2000000 Group_size=8`, 8_000_000, 80, 0},
		{"unknown type", `Collective_name=allreduce dtype=Bits7 In_msg_nelems=2000000 Group_size=8`, 0, 0, 0},
		{"no length", `Collective_name=allreduce dtype=Int Group_size=8`, 0, 0, 0},
		{"absurd length", `Collective_name=allreduce dtype=Int In_msg_nelems=9223372036854775807 Group_size=8`, 0, 0, 0},
	} {
		r := onlyRow(t, "kernel 0 100 ncclDevKernel_Generic "+c.args)
		if r.MessageBytes != c.message || math.Abs(r.AlgorithmSpeed-c.algorithm) > 1e-9 || math.Abs(r.BusSpeed-c.bus) > 1e-9 {
			t.Errorf("%s: %d bytes, %v and %v GB/s", c.name, r.MessageBytes, r.AlgorithmSpeed, r.BusSpeed)
		}
	}
}
