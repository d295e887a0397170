package sim

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Faults are what goes wrong in a simulated engine.
type Faults struct {
	slowStart     time.Duration
	neverReady    bool
	exitLoading   bool
	oom           bool
	unknownFlag   string
	hangRequest   int // the k-th generating request, from 1; 0 = none
	http500       float64
	resetStream   float64
	malformedSSE  float64
	noUsage       bool
	wrongUsage    bool
	slowTokens    float64 // factor; 0 = none
	deadScheduler bool
	deadAfter     int // generating requests that are served before it dies
	unauthorized  bool
	leavesChild   bool
	poison        string // a request whose body holds this ends the process; "" = none
	// Of the profiler: its routes are not found; a file grows for so long; the
	// last ranks write none; one runs from the start; files end in the middle.
	profileOff     bool
	profileSlow    time.Duration
	profileMissing int
	profileRunning bool
	profileCut     bool
}

// FaultNames lists the faults as --fault writes them.
func FaultNames() []string {
	return []string{
		"slow-start[=DUR]", "never-ready", "exit-loading", "oom", "unknown-flag=FLAG", "hang-request=K", "http-500[=SHARE]",
		"reset-stream[=SHARE]", "malformed-sse[=SHARE]", "no-usage", "wrong-usage", "slow-tokens[=FACTOR]",
		"dead-scheduler[=AFTER]", "unauthorized", "leaves-child", "poison=TEXT",
		"profile-off", "profile-slow[=DUR]", "profile-missing[=RANKS]", "profile-running", "profile-cut",
	}
}

// LeavesChild says whether the process is to leave a grandchild behind.
func (f Faults) LeavesChild() bool { return f.leavesChild }

// ParseFaults reads "name" or "name=value" words.
func ParseFaults(words []string) (Faults, error) {
	var f Faults
	for _, w := range words {
		name, value, _ := strings.Cut(strings.TrimSpace(w), "=")
		if err := f.set(name, value); err != nil {
			return Faults{}, err
		}
	}
	return f, nil
}

func (f *Faults) set(name, value string) error {
	var err error
	plain := func(field *bool) {
		*field = true
		if value != "" {
			err = fmt.Errorf("fault %s takes no value", name)
		}
	}
	switch name {
	case "slow-start":
		f.slowStart, err = durationOf(name, value, 30*time.Second)
	case "never-ready":
		plain(&f.neverReady)
	case "exit-loading":
		plain(&f.exitLoading)
	case "oom":
		plain(&f.oom)
	case "unknown-flag":
		f.unknownFlag = value
		if value == "" {
			err = fmt.Errorf("fault unknown-flag needs the flag: unknown-flag=--some-flag")
		}
	case "hang-request":
		f.hangRequest, err = countOf(name, value, 1, 1)
	case "http-500":
		f.http500, err = shareOf(name, value)
	case "reset-stream":
		f.resetStream, err = shareOf(name, value)
	case "malformed-sse":
		f.malformedSSE, err = shareOf(name, value)
	case "no-usage":
		plain(&f.noUsage)
	case "wrong-usage":
		plain(&f.wrongUsage)
	case "slow-tokens":
		f.slowTokens, err = factorOf(name, value, 10)
	case "dead-scheduler":
		f.deadScheduler = true
		f.deadAfter, err = countOf(name, value, 0, 0)
	case "unauthorized":
		plain(&f.unauthorized)
	case "leaves-child":
		plain(&f.leavesChild)
	case "poison":
		if f.poison = value; value == "" {
			err = fmt.Errorf("fault poison needs the text that ends the engine: poison=TEXT")
		}
	case "profile-off":
		plain(&f.profileOff)
	case "profile-slow":
		f.profileSlow, err = durationOf(name, value, 5*time.Second)
	case "profile-missing":
		f.profileMissing, err = countOf(name, value, 1, 1)
	case "profile-running":
		plain(&f.profileRunning)
	case "profile-cut":
		plain(&f.profileCut)
	default:
		err = fmt.Errorf("fault %q is not known; use one of: %s", name, strings.Join(FaultNames(), " "))
	}
	return err
}

func durationOf(name, value string, absent time.Duration) (time.Duration, error) {
	if value == "" {
		return absent, nil
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("fault %s=%s: expected a duration such as 30s", name, value)
	}
	return d, nil
}

func countOf(name, value string, least, absent int) (int, error) {
	if value == "" && absent >= least {
		return absent, nil
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < least {
		return 0, fmt.Errorf("fault %s=%s: expected a whole number of at least %d", name, value, least)
	}
	return n, nil
}

// shareOf reads a share of requests in [0, 1]; absent = all.
func shareOf(name, value string) (float64, error) {
	if value == "" {
		return 1, nil
	}
	v, err := strconv.ParseFloat(value, 64)
	if err != nil || !(v >= 0 && v <= 1) {
		return 0, fmt.Errorf("fault %s=%s: expected a share of requests from 0 to 1", name, value)
	}
	return v, nil
}

func factorOf(name, value string, absent float64) (float64, error) {
	if value == "" {
		return absent, nil
	}
	v, err := strconv.ParseFloat(value, 64)
	if err != nil || !(v > 0 && v <= 1e6) {
		return 0, fmt.Errorf("fault %s=%s: expected a factor above 0", name, value)
	}
	return v, nil
}

// draw is a number in [0, 1) that depends on the seed, a name and a request
// alone, so that faults hit the same requests in every run.
func draw(seed uint64, name string, request uint64) float64 {
	return rand.New(rand.NewPCG(seed^hashText(name), request)).Float64()
}

// hashText is FNV-1a, 64 bits: the same on every machine and in every run.
func hashText(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}
