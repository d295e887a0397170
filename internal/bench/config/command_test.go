package config

import (
	"strings"
	"testing"

	"llmdyno/internal/engine"
)

func TestFromCommand(t *testing.T) {
	set := engine.Set{
		{ID: "one", Launch: engine.Launch{Command: []string{"python3", "-m", "one.serve"}, PortFlag: "port"}, Flags: []engine.Flag{{Key: "port"}, {Key: "tp_size", Also: []string{"-tp"}}, {Key: "eager"}}},
		{ID: "two", Launch: engine.Launch{Command: []string{"two", "serve"}}},
	}
	for command, want := range map[string]string{
		"/usr/bin/python3.12 -m one.serve --port 81 -tp 2 --eager --odd-one=x": "one port=81 tp_size=2 eager=true odd_one=x",
		"numactl -N 0 two serve org/m --max-len 8":                             "two max_len=8",
		"two serve 'a b' --text 'c d'":                                         "two text=c d",
	} {
		c, err := FromCommand(set, command)
		if err != nil {
			t.Errorf("%s: %v", command, err)
			continue
		}
		got := string(c.Engine)
		for _, x := range c.Flags {
			got += " " + x.Key + "=" + x.Value.Text
		}
		if got != want {
			t.Errorf("%s: %s, want %s", command, got, want)
		}
	}
	for command, want := range map[string]string{"three serve": "one of: python3 -m one.serve, two serve", "two 'serve": "quotation mark", "": "starts no engine"} {
		if _, err := FromCommand(set, command); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", command, err, want)
		}
	}
}

func FuzzFromCommand(f *testing.F) {
	f.Add("vllm serve m --a=b -c 'd e' --f")
	f.Add("two serve -- - = --=")
	f.Fuzz(func(t *testing.T, command string) {
		c, err := FromCommand(engine.Set{{ID: "two", Launch: engine.Launch{Command: []string{"two", "serve"}}}}, command)
		if err == nil && len(c.Argv) < 2 {
			t.Errorf("%q: %v", command, c.Argv)
		}
	})
}
