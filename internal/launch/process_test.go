package launch

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"
)

func TestOutput(t *testing.T) {
	l := NewLocal([]string{"PATH=/usr/bin:/bin"})
	out, exit, err := l.Output(t.Context(), []string{"sh", "-c", "echo $A; echo e >&2; exit 3"}, []string{"A=b"}, time.Minute)
	if string(out) != "b\ne\n" || exit != 3 || err != nil {
		t.Errorf("%q %d %v", out, exit, err)
	}
	if _, _, err := l.Output(t.Context(), []string{"no-such-binary"}, nil, time.Minute); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "PATH") {
		t.Errorf("missing binary: %v", err)
	}
	out, _, err = l.Output(t.Context(), []string{"sh", "-c", "echo x; sleep 600 & sleep 600"}, nil, 100*time.Millisecond)
	if err == nil || string(out) != "x\n" {
		t.Errorf("timeout: %q %v", out, err)
	}
}
