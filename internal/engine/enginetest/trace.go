package enginetest

import (
	"strings"
	"testing"
)

// trace holds the marks of profiler traces against the examples that stand
// beside them.
func (u *suite) trace(t *testing.T) {
	m := u.e.Trace
	for _, f := range m.Folders {
		if !strings.HasSuffix(f.Path, "/") || strings.HasPrefix(f.Path, "/") || f.Rank <= 0 {
			t.Errorf("source folder %q with rank %d: want a relative path with a slash at its end and a rank above 0", f.Path, f.Rank)
		}
	}
	if m.Step != nil && len(m.Labels) == 0 {
		t.Error("Step reads marks, and Labels shows none of them")
	}
	for _, l := range m.Labels {
		if m.Step == nil {
			t.Fatal("Labels shows marks that nothing reads: Step is nil")
		}
		if mark, is := m.Step(l.Text); is != l.Is || mark != l.Mark {
			t.Errorf("%q reads as %t %+v, want %t %+v", l.Text, is, mark, l.Is, l.Mark)
		}
	}
	for _, name := range m.Processes {
		if name != strings.ToLower(name) {
			t.Errorf("process name %q: compared in lower case, so write it so", name)
		}
	}
	for _, r := range m.Unfit {
		if !r.Pattern.MatchString(r.Example) || r.Reason == "" {
			t.Errorf("unfit run %q: its pattern must match the example, and a reason must stand there", r.Example)
		}
	}
}
