package engine

import (
	"strings"
	"testing"
)

func TestRankIn(t *testing.T) {
	for _, c := range []struct {
		name, mark string
		want       int
	}{
		{"x-TP-3-DP-0", "TP-", 3}, {"TP-12", "TP-", 12}, {"x-TP-3", "DP-", -1}, {"dp0_pp0_tp1_dcp2_ep0_rank5", "tp", 1},
		{"dp0_pp0_tp1_dcp2_ep0_rank5", "dp", 0}, {"dp0_dcp2", "dcp", 2}, {"http1_tp2", "tp", 2}, {"tp8x", "tp", -1},
		{"tp", "tp", -1}, {"tp-1", "tp", -1}, {"tp99999999999", "tp", -1}, {"", "tp", -1},
	} {
		if got := RankIn(c.name, c.mark); got != c.want {
			t.Errorf("RankIn(%q, %q) = %d, expected %d", c.name, c.mark, got, c.want)
		}
	}
}

func TestRankKeys(t *testing.T) {
	k := RankKeys{In: "server_args", Sizes: []string{"tp", "pp", "dp"}, Shared: "attention"}
	for _, c := range []struct {
		info string
		want int
	}{
		{`{"server_args":{"tp":4,"dp":2}}`, 8}, {`{"server_args":{"tp":4,"dp":2,"attention":true}}`, 4},
		{`{"tp":4}`, 0}, {`{"server_args":null}`, 0}, {`{"server_args":{"tp":-1}}`, 0}, {`{"server_args":{"tp":99999}}`, 0}, {`{`, 0}, {``, 0},
		{`{"server_args":{"tp":16000,"dp":16000}}`, 0},
	} {
		n, ok := k.Read([]byte(c.info))
		if n != c.want || ok != (c.want > 0) {
			t.Errorf("%s: %d, %v, expected %d", c.info, n, ok, c.want)
		}
	}
}

func TestOpenProfile(t *testing.T) {
	body := func(o OpenProfile, s ProfileStart) string {
		b, err := o.Encode(s)
		if err != nil {
			return "error: " + err.Error()
		}
		return string(b)
	}
	full := OpenProfile{Quoted: true, ID: true, Stages: true, Stacks: true}
	for _, c := range []struct {
		o    OpenProfile
		s    ProfileStart
		want string
	}{
		{full, ProfileStart{Dir: "/d", ID: "x", Steps: 5}, `{"output_dir":"/d","num_steps":"5","activities":["CPU","GPU"],"profile_by_stage":false,"with_stack":true,"record_shapes":false,"profile_id":"x"}`},
		{OpenProfile{}, ProfileStart{Dir: "/d", ID: "x", Steps: 5}, `{"output_dir":"/d","num_steps":5,"activities":["CPU","GPU"]}`},
		{full, ProfileStart{ByStage: true}, "error: profile by stage without a number of steps"},
		{OpenProfile{}, ProfileStart{ByStage: true, Steps: 1}, "error: profile by stage: this engine's profiler has no such thing"},
	} {
		if got := body(c.o, c.s); !strings.HasPrefix(got, c.want) {
			t.Errorf("got %s, expected %s", got, c.want)
		}
	}
}

func TestAnswersMean(t *testing.T) {
	p := &Profiler{Answers: []ProfilerAnswer{
		{Action: ProfileStarting, Status: 500, Meaning: ProfileRunning, Do: "stop it"},
		{Action: ProfileStarting, Status: 404, Meaning: ProfileAbsent, Do: "enable it"},
	}}
	for _, c := range []struct {
		action  ProfileAction
		status  int
		meaning ProfileMeaning
		do      string
	}{
		{ProfileStarting, 200, ProfileDone, ""}, {ProfileStarting, 500, ProfileRunning, "stop it"}, {ProfileStopping, 500, ProfileFailed, ""},
		{ProfileStopping, 404, ProfileAbsent, "enable it"}, {ProfileStarting, 301, ProfileFailed, ""},
	} {
		if m, do := p.Read(c.action, c.status, nil); m != c.meaning || do != c.do {
			t.Errorf("%s %d: %s %q", c.action, c.status, m, do)
		}
	}
}

func FuzzRankIn(f *testing.F) {
	f.Add("dp0_pp0_tp1", "tp")
	f.Add("TP-", "TP-")
	f.Fuzz(func(t *testing.T, name, mark string) {
		if mark == "" {
			return
		}
		if n := RankIn(name, mark); n < -1 || n >= maxRanks {
			t.Errorf("RankIn(%q, %q) = %d", name, mark, n)
		}
	})
}
