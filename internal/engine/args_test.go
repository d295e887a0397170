package engine

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestArgs(t *testing.T) {
	e := &Engine{Flags: []Flag{
		{Key: "enable_prefix_caching", Type: FlagBool, Negative: "--no-enable-prefix-caching"},
		{Key: "config", Type: FlagJSON},
		{Key: "tp", Option: "--tensor-parallel-size", Type: FlagInt},
	}}
	text := func(k ValueKind, s string) Value { return Value{Kind: k, Text: s} }
	list := Value{Kind: ValueList, Text: `[1,"b",true]`, List: []Value{text(ValueInt, "1"), text(ValueString, "b"), text(ValueBool, "true")}}
	s := Settings{
		{"tp", text(ValueInt, "8")},
		{"absent", text(ValueNull, "null")},
		{"enable_prefix_caching", text(ValueBool, "false")},
		{"plain_switch", text(ValueBool, "true")},
		{"plain_off", text(ValueBool, "false")},
		{"sizes", list},
		{"none", Value{Kind: ValueList, Text: "[]"}},
		{"config", list},
		{"map", text(ValueMap, `{"a":true,"b":[null,0.5],"it's":"x"}`)},
		{"share", text(ValueFloat, "0.9")},
	}
	if d := cmp.Diff([]string{"--tensor-parallel-size", "8", "--no-enable-prefix-caching", "--plain-switch",
		"--sizes", "1", "b", "true", "--config", `[1,"b",true]`, "--map", `{"a":true,"b":[null,0.5],"it's":"x"}`,
		"--share", "0.9"}, e.Args(s)); d != "" {
		t.Errorf("Args (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"--tp", "8", "--plain-switch", "--sizes", `[1, 'b', True]`, "--none", "[]",
		"--config", `[1, 'b', True]`, "--map", `{'a': True, 'b': [None, 0.5], "it's": 'x'}`, "--share", "0.9"},
		e.ArgsUpstream(s)); d != "" {
		t.Errorf("ArgsUpstream (-want +got):\n%s", d)
	}
	e.Launch.Underscores = true
	if got := e.ArgsUpstream(Settings{{"max_num_tokens", text(ValueInt, "1")}}); got[0] != "--max_num_tokens" {
		t.Errorf("underscores: %v", got)
	}
}

// A value that is not the JSON it claims to be is passed on as it stands.
func TestArgsUpstreamBrokenJSON(t *testing.T) {
	e := &Engine{}
	for _, text := range []string{"[1,", "{", `{"a"`, ""} {
		got := e.ArgsUpstream(Settings{{"k", Value{Kind: ValueMap, Text: text}}})
		if d := cmp.Diff([]string{"--k", text}, got); d != "" {
			t.Error(d)
		}
	}
}
