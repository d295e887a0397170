package capture

import (
	"strings"
	"testing"

	"llmdyno/internal/engine/all"
)

func TestRecipes(t *testing.T) {
	wants := map[string][]string{
		"sglang":     {"python -m sglang.launch_server --model-path some/Model", "--tp-size 2", "--disable-cuda-graph", "--formal-url http://127.0.0.1:8000 --mapping-url http://127.0.0.1:8002"},
		"vllm":       {`--profiler-config '{"profiler":"torch","torch_profiler_dir":"/t/formal"}'`, "--enforce-eager", "--mapping-server-dir /t/mapping"},
		"trtllm":     {"cuda_graph_config: null", "TLLM_PROFILE_START_STOP=10-15", "TLLM_PROFILE_START_STOP=11-16", "trtllm-override"},
		"tokenspeed": {"tokenspeed serve", "--enforce-eager"},
	}
	for _, id := range four {
		e, _ := all.Engines().Lookup(string(id))
		text, err := Recipe(RecipeRequest{Engine: e, Model: "some/Model", TP: 2, Dir: "/t", Port: 8000, Warmup: 10, Steps: 5})
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range wants[string(id)] {
			if !strings.Contains(text, w) {
				t.Errorf("%s: no %q in\n%s", id, w, text)
			}
		}
	}
	e, _ := all.Engines().Lookup("vllm")
	old, err := Recipe(RecipeRequest{Engine: e, Version: "0.11.0", Model: "some/Model", Dir: "/t dir", Port: 8000, Graphs: "on"})
	if err != nil || !strings.Contains(old, "VLLM_TORCH_PROFILER_DIR='/t dir/formal' vllm") || strings.Contains(old, "mapping") {
		t.Errorf("%v\n%s", err, old)
	}
	e, _ = all.Engines().Lookup("llamacpp")
	if _, err := Recipe(RecipeRequest{Engine: e}); err == nil {
		t.Error("an engine without a profiler has a recipe")
	}
}
