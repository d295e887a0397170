package engine

import "testing"

func TestCompareVersions(t *testing.T) {
	order := []string{"", "0.4.9", "0.5.0rc2", "0.5.0", "v0.5.8", "0.5.18", "0.26", "1.0.dev3", "1.0"}
	for i, a := range order {
		for j, b := range order {
			got := CompareVersions(a, b)
			if (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("CompareVersions(%q, %q) = %d", a, b, got)
			}
		}
	}
	for _, same := range [][2]string{{"0.5.0", "0.5"}, {"v1.2", "1.2+cu129"}, {"0.5.post1", "0.5"}} {
		if got := CompareVersions(same[0], same[1]); got != 0 {
			t.Errorf("CompareVersions(%q, %q) = %d", same[0], same[1], got)
		}
	}
	if !Within("", "1", "2") || Within("0.9", "1", "") || Within("2.0.1", "", "2") || !Within("2.0", "1", "2") {
		t.Error("Within")
	}
}

func TestGPUGeneration(t *testing.T) {
	for name, want := range map[string]int{
		"NVIDIA H100 80GB HBM3": 90, "h200": 90, "NVIDIA GB200": 100, "nvidia-b200": 100, "NVIDIA L40S": 89,
		"NVIDIA A100-SXM4-80GB": 80, "NVIDIA RTX PRO 6000 Blackwell": 120, "": 0, "h1000": 0,
	} {
		if got, amd := GPUGeneration(name); got != want || amd {
			t.Errorf("%q: %d %v, want %d", name, got, amd, want)
		}
	}
	if sm, amd := GPUGeneration("AMD Instinct MI300X"); sm != 0 || !amd {
		t.Errorf("MI300X: %d %v", sm, amd)
	}
}

func TestSettingsReaders(t *testing.T) {
	s := Settings{
		{"n", Value{Kind: ValueInt, Text: "8"}}, {"s", Value{Kind: ValueString, Text: "8k"}},
		{"on", Value{Kind: ValueBool, Text: "true"}}, {"off", Value{Kind: ValueBool, Text: "false"}},
		{"null", Value{Kind: ValueNull, Text: "null"}},
	}
	if n, ok := s.Number("n"); n != 8 || !ok {
		t.Error("n")
	}
	for _, key := range []string{"s", "on", "null", "absent"} {
		if _, ok := s.Number(key); ok {
			t.Errorf("%s is no number", key)
		}
	}
	if !s.On("on") || s.On("off") || s.On("absent") || !s.Off("off") || s.Off("on") || s.Off("absent") {
		t.Error("switches")
	}
	if s.Word("s") != "8k" || s.Word("null") != "" || s.Word("absent") != "" {
		t.Error("words")
	}
}
