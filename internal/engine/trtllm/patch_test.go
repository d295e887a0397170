package trtllm

import (
	"strings"
	"testing"
)

// The two forms of the part that is changed, in our own frame: the call closed
// behind its last argument, and on a line of its own.
const (
	oldExecutor = `class Executor:
    def _profiler(self):
        torch_trace_path = os.environ.get(PROFILE_TRACE_ENV_VAR_NAME, None)
        if enable_torch_trace:
            torch_profiler = torch.profiler.profile(activities=activities,
                                                    record_shapes=True,
                                                    with_modules=True)
        rest()
`
	newExecutor = `def profile(ctx):
    torch_trace_path = os.environ.get(PROFILE_TRACE_ENV_VAR_NAME, None)
    if torch_trace_path is not None:
        trace_base, trace_ext = os.path.splitext(torch_trace_path)
        torch_trace_path = (
            f"{trace_base}-rank-{ctx.svc.dist.rank}{trace_ext}")
    if enable_torch_trace:
        torch_profiler = torch.profiler.profile(
            activities=[
                torch.profiler.ProfilerActivity.CPU,
            ],
            record_shapes=True,
            with_modules=True
        )
    rest()
`
)

func TestPatchAddsStacksAndRanks(t *testing.T) {
	for _, c := range []struct {
		name, source string
		did          int
		want         []string
	}{
		{"old", oldExecutor, 2, []string{"with_modules=True, with_stack=True)\n        rest()\n", "        if torch_trace_path is not None:\n", `-rank-{self.dist.rank}{trace_ext}"`}},
		{"new", newExecutor, 1, []string{"            with_modules=True,\n            with_stack=True,\n        )\n    rest()\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, did, err := patchExecutor([]byte(c.source))
			if err != nil || len(did) != c.did {
				t.Fatalf("did %q, %v", did, err)
			}
			for _, w := range c.want {
				if !strings.Contains(string(out), w) {
					t.Errorf("no %q in:\n%s", w, out)
				}
			}
			again, did, err := patchExecutor(out)
			if err != nil || len(did) != 0 || string(again) != string(out) {
				t.Errorf("a second time it did %q, %v", did, err)
			}
		})
	}
}

func TestPatchRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, c := range []struct{ name, source, want string }{
		{"another file", "print(1)\n", "no py_executor.py that is known"},
		{"two calls", oldExecutor + oldExecutor, "lines 5 and 13 both hold"},
		{"no end", strings.Replace(oldExecutor, "with_modules=True)", "with_modules=True", 1), "does not end"},
		{"another value", strings.Replace(oldExecutor, "with_modules=True", "with_stack=False", 1), "lines 5 to 7: the profiler's call sets with_stack"},
		{"a comment", strings.Replace(oldExecutor, "record_shapes=True,", "record_shapes=True,  # why", 1), "line 6:"},
		{"other arguments", strings.Replace(oldExecutor, "record_shapes=True", "record_shapes=False", 1), "has no record_shapes=True"},
		{"no path", strings.Replace(oldExecutor, "torch_trace_path = os", "path = os", 1), "without \"torch_trace_path"},
	} {
		if _, _, err := patchExecutor([]byte(c.source)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected %q", c.name, err, c.want)
		}
	}
}

func FuzzPatch(f *testing.F) {
	f.Add(oldExecutor)
	f.Add(newExecutor)
	f.Add(profilerCall + ")" + pathLine)
	f.Fuzz(func(t *testing.T, source string) {
		out, did, err := patchExecutor([]byte(source))
		if err != nil {
			return
		}
		again, more, err := patchExecutor(out)
		if err != nil || len(more) > 0 || string(again) != string(out) {
			t.Errorf("%q → %q (%q), then %q (%q), %v", source, out, did, again, more, err)
		}
	})
}
