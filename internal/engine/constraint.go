package engine

import (
	"slices"
	"strconv"
	"strings"
)

// Number reads the value as a number. Texts with vLLM's "8k" (8000) and "8K"
// (8192) suffixes are left to that engine: here they are no number.
func (v Value) Number() (float64, bool) {
	if v.Kind != ValueInt && v.Kind != ValueFloat && v.Kind != ValueString {
		return 0, false
	}
	f, err := strconv.ParseFloat(v.Text, 64)
	return f, err == nil
}

// Number is the number that a key is set to; false when it is absent, null or
// no number.
func (s Settings) Number(key string) (float64, bool) {
	v, ok := s.Get(key)
	if !ok {
		return 0, false
	}
	return v.Number()
}

// On says that a switch is set to true.
func (s Settings) On(key string) bool {
	v, ok := s.Get(key)
	return ok && v.Kind == ValueBool && v.Text == "true"
}

// Off says that a switch is set to false, which is not the same as absent.
func (s Settings) Off(key string) bool {
	v, ok := s.Get(key)
	return ok && v.Kind == ValueBool && v.Text == "false"
}

// Word is the text that a key is set to; "" when it is absent or null.
func (s Settings) Word(key string) string {
	v, ok := s.Get(key)
	if !ok || v.Kind == ValueNull {
		return ""
	}
	return v.Text
}

// CompareVersions orders two dotted versions by their numbers: negative when a
// is older. A leading "v" and what follows the numbers of a part ("rc1", "+cu129")
// is ignored, except that a pre-release is older than its release.
func CompareVersions(a, b string) int {
	pa, preA := versionParts(a)
	pb, preB := versionParts(b)
	if c := slices.Compare(pa, pb); c != 0 {
		return c
	}
	switch {
	case preA && !preB:
		return -1
	case preB && !preA:
		return 1
	}
	return 0
}

// versionParts are the numbers of a version without trailing zeros; pre says
// that letters such as rc, a, b, dev follow a number.
func versionParts(v string) (parts []int, pre bool) {
	v, _, _ = strings.Cut(strings.TrimPrefix(strings.TrimSpace(v), "v"), "+")
	for part := range strings.SplitSeq(v, ".") {
		i := 0
		for i < len(part) && i < 9 && '0' <= part[i] && part[i] <= '9' {
			i++
		}
		if i == 0 {
			pre = pre || strings.HasPrefix(part, "dev") || strings.HasPrefix(part, "rc")
			break
		}
		n, _ := strconv.Atoi(part[:i])
		parts = append(parts, n)
		if i < len(part) {
			pre = !strings.HasPrefix(part[i:], "post")
			break
		}
	}
	for len(parts) > 0 && parts[len(parts)-1] == 0 {
		parts = parts[:len(parts)-1]
	}
	return parts, pre
}

// Within says whether a version lies between since and until, both included;
// an empty bound is open, and an unknown version ("") lies within.
func Within(version, since, until string) bool {
	if version == "" {
		return true
	}
	return (since == "" || CompareVersions(version, since) >= 0) &&
		(until == "" || CompareVersions(version, until) <= 0)
}

// In says whether a version of the engine has the flag.
func (f Flag) In(version string) bool { return Within(version, f.Since, f.Until) }

// gpuCapabilities is the CUDA compute capability of a GPU, times ten, by a word
// in its name. Longer words stand first, so that gb200 is not read as b200.
// Read from NVIDIA's table "CUDA GPU Compute Capability", 2026-08.
var gpuCapabilities = []struct {
	word string
	sm   int
}{
	{"rtx pro 6000", 120}, {"rtx 5090", 120},
	{"gb300", 103}, {"b300", 103}, {"gb200", 100}, {"b200", 100}, {"b100", 100},
	{"gh200", 90}, {"h200", 90}, {"h100", 90}, {"h800", 90}, {"h20", 90},
	{"l40s", 89}, {"l40", 89}, {"l4", 89}, {"rtx 4090", 89},
	{"a100", 80}, {"a800", 80}, {"a30", 80}, {"a40", 86}, {"a10", 86},
	{"v100", 70}, {"t4", 75},
}

// amdGPUs are the words that name a GPU without a CUDA capability.
var amdGPUs = []string{"mi210", "mi250", "mi300", "mi308", "mi325", "mi350", "mi355"}

// GPUGeneration is the CUDA compute capability of a GPU times ten (90 for an
// H100), read out of its name as nvidia-smi or a benchmark file gives it. amd
// says that it is an AMD Instinct. 0 and false = unknown.
func GPUGeneration(gpu string) (sm int, amd bool) {
	words := strings.FieldsFunc(strings.ToLower(gpu), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
	name := " " + strings.Join(words, " ") + " "
	for _, w := range amdGPUs {
		if strings.Contains(name, " "+w) {
			return 0, true
		}
	}
	for _, g := range gpuCapabilities {
		if strings.Contains(name, " "+g.word+" ") {
			return g.sm, false
		}
	}
	return 0, false
}
