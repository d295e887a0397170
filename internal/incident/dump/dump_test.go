package dump_test

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"llmdyno/internal/engine"
	"llmdyno/internal/engine/all"
	"llmdyno/internal/engine/sglang/dumptest"
	"llmdyno/internal/incident/dump"
	"llmdyno/internal/load/workload"
)

var options = dump.Options{Engines: all.Engines(), Records: -1}

// pickled is the pickle of a value.
func pickled(t testing.TB, protocol int, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := dumptest.Encode(&b, protocol, v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func read(t testing.TB, v any) *dump.File {
	t.Helper()
	return dump.Read(context.Background(), "x.pkl", pickled(t, 4, v), options)
}

func requests(t testing.TB, files ...*dump.File) []dump.Request {
	t.Helper()
	out, err := dump.Requests(&dump.Dump{Files: files})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// series is a crash dump of n records.
func series(t testing.TB, protocol, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := dumptest.Write(&b, protocol, n, 0); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFiguresAreTheSameInEveryProtocol(t *testing.T) {
	for protocol := 2; protocol <= 5; protocol++ {
		f := dump.Read(context.Background(), "x.pkl", series(t, protocol, 100), options)
		g := f.Figures
		if f.Error != "" || g == nil {
			t.Fatalf("protocol %d: %s", protocol, f.Error)
		}
		if g.Records != 100 || g.Finished != 98 || g.Unfinished != 2 || g.Streaming != 50 || g.RequestClasses["sglang.srt.managers.io_struct.GenerateReqInput"] != 100 {
			t.Errorf("protocol %d: %+v", protocol, g)
		}
		if *g.ConfigFrom != "server_args" || g.ModelPath != "example-org/made-up-7b" || g.TPSize != int64(2) || g.FromLaunchCommand["tp_size"] != "2" {
			t.Errorf("protocol %d: settings %v %v %v", protocol, g.ModelPath, g.TPSize, g.FromLaunchCommand)
		}
		if *g.FirstStart != dumptest.First || math.Abs(*g.StartSpanSeconds-1.98) > 1e-6 || g.PromptTokens.N != 100 || g.QueueTimeSeconds.N != 100 {
			t.Errorf("protocol %d: times and counts %v %v", protocol, *g.StartSpanSeconds, g.PromptTokens)
		}
		if !reflect.DeepEqual(g.SecretsAt, []string{"server_args.api_key", "launch_command"}) || !reflect.DeepEqual(f.InFlight, []int{49, 99}) || f.Verdict != dump.VerdictPlain {
			t.Errorf("protocol %d: %v %v %v", protocol, g.SecretsAt, f.InFlight, f.Verdict)
		}
	}
}

// wants is a record of a request with nothing but these fields.
func wants(fields, answer dumptest.Dict, start, end any) dumptest.Tuple {
	class := dumptest.Global{Module: "sglang.srt.managers.io_struct", Name: "GenerateReqInput"}
	return dumptest.Tuple{dumptest.Object{Class: class, State: fields}, answer, start, end}
}

func TestIrregularRecords(t *testing.T) {
	good := wants(dumptest.Dict{{Key: "text", Value: "a"}}, dumptest.Dict{}, 10.0, 12.0)
	f := read(t, dumptest.List{
		good, dumptest.List{nil}, dumptest.Tuple{nil, nil, 1.0}, "x", wants(nil, nil, math.NaN(), 3.0), wants(nil, nil, 5.0, 4.0), dumptest.Tuple{nil, nil, 11.0, 13.0},
	})
	want := []dump.Irregular{
		{Index: 1, Why: "record is list, not tuple"}, {Index: 2, Why: "tuple of 3, not 4"}, {Index: 3, Why: "record is str, not tuple"},
		{Index: 4, Why: "start time unusable"}, {Index: 5, Why: "end before start"},
	}
	g := f.Figures
	if !reflect.DeepEqual(g.Irregular, want) || g.Records != 7 || g.ElapsedSeconds.N != 2 || g.MaxConcurrency != 2 || g.Container != "list" {
		t.Errorf("%v: %+v", g.Irregular, g)
	}
	if got := requests(t, f); len(got) != 4 {
		t.Errorf("%d requests, expected the 4 records of the right shape", len(got))
	}
}

func TestQuantilesInterpolate(t *testing.T) {
	d := dump.NewDist([]float64{40, 10, 30, 20})
	if d.P50 != 25 || math.Abs(d.P90-37) > 1e-9 || d.Min != 10 || d.Max != 40 || d.Sum != 100 {
		t.Errorf("%+v", d)
	}
	if dump.NewDist(nil) != nil {
		t.Error("no numbers gave a distribution")
	}
}

func TestWhatIsNoDump(t *testing.T) {
	for name, c := range map[string]struct {
		v    any
		want string
	}{
		"a text":           {"x", "it holds a str"},
		"another dict":     {dumptest.Dict{{Key: "weights", Value: nil}}, `the dict has no "requests"`},
		"requests as text": {dumptest.Dict{{Key: "requests", Value: "x"}}, `"requests" is a str`},
	} {
		if f := read(t, c.v); !strings.Contains(f.Error, c.want) {
			t.Errorf("%s: %q, expected %q", name, f.Error, c.want)
		}
	}
}

// The configuration of newer dumps stands in a plain dict, or in the command line
// alone.
func TestWhereTheConfigurationStands(t *testing.T) {
	config := dumptest.Dict{{Key: "model_path", Value: "m"}, {Key: "tp_size", Value: 8}, {Key: "api_key", Value: "k"}}
	launch := `python -m x --model-path 'a b' --tp-size=4 --port 1`
	f := read(t, dumptest.Dict{
		{Key: "server_args", Value: nil}, {Key: "resolved_config", Value: config}, {Key: "requests", Value: dumptest.List{}}, {Key: "launch_command", Value: launch},
	})
	g := f.Figures
	if *g.ConfigFrom != "resolved_config" || g.ModelPath != "m" || g.TPSize != int64(8) || !reflect.DeepEqual(g.SecretsAt, []string{"resolved_config.api_key"}) {
		t.Errorf("%+v", g)
	}
	if want := map[string]string{"model_path": "a b", "tp_size": "4", "port": "1"}; !reflect.DeepEqual(g.FromLaunchCommand, want) {
		t.Errorf("the command line tells %v, expected %v", g.FromLaunchCommand, want)
	}
}

// Whatever is cut off, the records before it are told, and never fewer for more of
// the file.
func TestCutFilesAreSalvaged(t *testing.T) {
	whole := series(t, 4, 12)
	before := 0
	for n := 1; n < len(whole); n += 37 {
		f := dump.Read(context.Background(), "x.pkl", whole[:n], options)
		if f.Error == "" {
			t.Fatalf("%d of %d bytes were read without an error", n, len(whole))
		}
		if f.Salvaged < before || f.Salvaged > 12 {
			t.Fatalf("%d bytes give %d records, fewer bytes gave %d", n, f.Salvaged, before)
		}
		before = f.Salvaged
	}
	if before != 12 {
		t.Errorf("%d records of 12 are salvaged at the end", before)
	}
}

// A dump that would make a file, if anything of it were run, makes none.
func TestNothingIsRun(t *testing.T) {
	made := filepath.Join(t.TempDir(), "made")
	evil := dumptest.Call{Callee: dumptest.Global{Module: "os", Name: "system"}, Args: dumptest.Tuple{"touch " + made}}
	for name, v := range map[string]any{
		"in a record": dumptest.List{dumptest.Tuple{evil, dumptest.Dict{}, 1.0, 2.0}},
		"in an answer": dumptest.Dict{{Key: "server_args", Value: nil}, {Key: "requests", Value: dumptest.List{
			wants(dumptest.Dict{{Key: "text", Value: "a"}}, dumptest.Dict{{Key: "meta_info", Value: evil}}, 1.0, 2.0)}}},
		"open":      dumptest.List{dumptest.Call{Callee: dumptest.Global{Module: "builtins", Name: "open"}, Args: dumptest.Tuple{made, "w"}}},
		"exec":      dumptest.List{dumptest.Call{Callee: dumptest.Global{Module: "builtins", Name: "exec"}, Args: dumptest.Tuple{"open(" + made + ", 'w')"}}},
		"at a path": dumptest.List{dumptest.Call{Callee: dumptest.Global{Module: "uuid", Name: "os.system"}, Args: dumptest.Tuple{"touch " + made}}},
	} {
		for protocol := 2; protocol <= 5; protocol++ {
			f := dump.Read(context.Background(), "x.pkl", pickled(t, protocol, v), options)
			if f.Verdict != dump.VerdictHostile || len(f.SuspiciousGlobals) != 1 || len(f.Warnings) == 0 || !strings.Contains(f.Warnings[0].Message, f.SuspiciousGlobals[0]) {
				t.Errorf("%s: %s %v %v", name, f.Verdict, f.SuspiciousGlobals, f.Warnings)
			}
			if err := dump.WriteRequests(&bytes.Buffer{}, nil, requests(t, f)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := os.Stat(made); err == nil {
				t.Fatalf("%s: the file is there: something was run", name)
			}
		}
	}
}

func TestReplayBody(t *testing.T) {
	class := func(module, name string, state dumptest.Dict) dumptest.Object {
		return dumptest.Object{Class: dumptest.Global{Module: module, Name: name}, State: state}
	}
	sampling := class("sglang.srt.sampling.sampling_params", "SamplingParams", dumptest.Dict{
		{Key: "max_new_tokens", Value: 99}, {Key: "stop_strs", Value: dumptest.List{"END"}}, {Key: "top_k", Value: 1 << 30}, {Key: "temperature", Value: 0.0},
		{Key: "is_normalized", Value: true}, {Key: "n", Value: 1},
	})
	image := class("sglang.srt.utils.common", "ImageData", dumptest.Dict{{Key: "url", Value: "http://x/y.png"}, {Key: "detail", Value: "high"}})
	f := read(t, dumptest.List{
		wants(dumptest.Dict{
			{Key: "rid", Value: "abc"}, {Key: "text", Value: "hello"}, {Key: "sampling_params", Value: sampling}, {Key: "stream", Value: true}, {Key: "return_logprob", Value: false},
			{Key: "top_logprobs_num", Value: 5}, {Key: "external_trace_header", Value: dumptest.Dict{{Key: "Authorization", Value: "Bearer made-up"}}},
			{Key: "bootstrap_room", Value: 7}, {Key: "priority", Value: nil},
		}, dumptest.Dict{{Key: "text", Value: "hi"}, {Key: "meta_info", Value: dumptest.Dict{{Key: "finish_reason", Value: dumptest.Dict{{Key: "type", Value: "stop"}}}, {Key: "prompt_tokens", Value: 3}}}}, 10.0, 11.5),
		wants(dumptest.Dict{{Key: "text", Value: "see"}, {Key: "image_data", Value: dumptest.List{image}}}, nil, 12.0, 13.0),
		wants(dumptest.Dict{{Key: "text", Value: dumptest.List{"a", "b"}}}, nil, 13.0, 13.5),
		wants(dumptest.Dict{{Key: "input_ids", Value: dumptest.List{1, 2, 300}}}, nil, 14.0, 15.0),
	})
	got := requests(t, f)
	if want := `{"text":"hello","sampling_params":{"max_new_tokens":99,"stop":["END"],"temperature":0.0},"stream":true,"top_logprobs_num":5}`; string(got[0].Body) != want {
		t.Errorf("body %s\nwant %s", got[0].Body, want)
	}
	q := got[0]
	if q.Prompt != "hello" || q.OutputLen != 99 || !q.Greedy || q.InputLen != 3 || string(q.Extra) != `{"stop":["END"],"temperature":0.0}` || q.Kind != engine.DumpGenerate || q.ID != "abc" {
		t.Errorf("%+v", q)
	}
	var gone []string
	for _, d := range q.Dropped {
		gone = append(gone, d.Field)
		if d.Reason == "" {
			t.Errorf("%s goes without a reason", d.Field)
		}
	}
	if want := []string{"rid", "sampling_params.is_normalized", "external_trace_header", "bootstrap_room"}; !reflect.DeepEqual(gone, want) {
		t.Errorf("dropped %v, expected %v", gone, want)
	}
	if !q.Recorded.Finished || q.Recorded.FinishReason != "stop" || *q.Recorded.ElapsedSeconds != 1.5 || q.Recorded.TextChars != 2 {
		t.Errorf("recorded %+v", q.Recorded)
	}
	if want := `{"text":"see","image_data":["http://x/y.png"]}`; string(got[1].Body) != want || got[1].ReplayOnly == "" || len(got[1].Notes) == 0 {
		t.Errorf("attachments: %s %q %v", got[1].Body, got[1].ReplayOnly, got[1].Notes)
	}
	if got[2].ReplayOnly == "" || !reflect.DeepEqual(got[3].PromptTokens, []int{1, 2, 300}) || got[3].AtNs != 4e9 {
		t.Errorf("batch %q, tokens %v at %d", got[2].ReplayOnly, got[3].PromptTokens, got[3].AtNs)
	}
}

// A list that was made of a dump says the same when it is read again.
func TestListsLoseNothing(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.Just("a\xed\xa0\xbdb"), rapid.Just("\u2028 <&> \x00\x7f"))
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 5).Draw(t, "records")
		var records dumptest.List
		for range n {
			fields := dumptest.Dict{{Key: "rid", Value: text.Draw(t, "id")}, {Key: "stream", Value: rapid.Bool().Draw(t, "stream")}, {Key: "custom", Value: rapid.Float64().Draw(t, "custom")}}
			if rapid.Bool().Draw(t, "tokens") {
				var ids dumptest.List
				for _, id := range rapid.SliceOfN(rapid.IntRange(0, 200_000), 1, 20).Draw(t, "ids") {
					ids = append(ids, id)
				}
				fields = append(fields, dumptest.Pair{Key: "input_ids", Value: ids})
			} else {
				fields = append(fields, dumptest.Pair{Key: "text", Value: text.Draw(t, "text")})
			}
			fields = append(fields, dumptest.Pair{Key: text.Draw(t, "key"), Value: text.Draw(t, "value")})
			start := 1e9 + rapid.Float64Range(0, 1e4).Draw(t, "start")
			meta := dumptest.Dict{{Key: "finish_reason", Value: nil}, {Key: "completion_tokens", Value: rapid.IntRange(0, 1000).Draw(t, "tokens")}}
			records = append(records, wants(fields, dumptest.Dict{{Key: "text", Value: text.Draw(t, "answer")}, {Key: "meta_info", Value: meta}}, start, start+rapid.Float64Range(0, 100).Draw(t, "elapsed")))
		}
		var b, list bytes.Buffer
		if err := dumptest.Encode(&b, 4, records); err != nil {
			t.Fatal(err)
		}
		want, err := dump.Requests(&dump.Dump{Files: []*dump.File{dump.Read(context.Background(), "x.pkl", b.Bytes(), options)}})
		if err != nil || len(want) != n {
			t.Fatalf("%d of %d requests, %v", len(want), n, err)
		}
		if err := dump.WriteRequests(&list, []string{"x.pkl"}, want); err != nil {
			t.Fatal(err)
		}
		got, h, err := dump.ReadRequests(bytes.NewReader(list.Bytes()), "x")
		if err != nil || len(got) != n || len(h.From) != 1 {
			t.Fatalf("%d of %d read back, %v", len(got), n, err)
		}
		for i := range got {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Fatalf("request %d\nwas  %+v\nnow %+v", i, want[i], got[i])
			}
		}
		f := dump.ReadList(bytes.NewReader(list.Bytes()), "x", options)
		again, err := dump.Requests(&dump.Dump{Files: []*dump.File{f}})
		if err != nil || !reflect.DeepEqual(again, append([]dump.Request(nil), got...)) {
			t.Fatalf("read as a dump: %v", err)
		}
	})
}

// internal/load/workload reads the same lists, but for what is no single prompt.
func TestListsAreWorkloads(t *testing.T) {
	if dump.ListSchema != workload.RequestsSchema || dump.ListVersion != workload.RequestsSchemaVersion {
		t.Fatal("the schemas differ")
	}
	f := read(t, dumptest.List{
		wants(dumptest.Dict{{Key: "text", Value: "one"}}, nil, 1.0, 2.0), wants(dumptest.Dict{{Key: "text", Value: dumptest.List{"a", "b"}}}, nil, 1.5, 2.0),
		wants(dumptest.Dict{{Key: "input_ids", Value: dumptest.List{5, 6}}, {Key: "sampling_params", Value: dumptest.Dict{{Key: "max_new_tokens", Value: 7}, {Key: "top_p", Value: 0.5}}}}, nil, 3.0, 4.0),
	})
	var list bytes.Buffer
	if err := dump.WriteRequests(&list, nil, requests(t, f)); err != nil {
		t.Fatal(err)
	}
	got, err := workload.ReadRequests(&list, "x")
	if err != nil || len(got) != 2 {
		t.Fatalf("%d requests, %v", len(got), err)
	}
	if got[0].Prompt != "one" || !reflect.DeepEqual(got[1].PromptTokens, []int{5, 6}) || got[1].At.Seconds() != 2 || got[1].OutputLen != 7 || got[1].Extra["top_p"] == nil {
		t.Errorf("%+v", got)
	}
}

func TestFolders(t *testing.T) {
	dir := t.TempDir()
	sub := filepath.Join(dir, "host-a")
	if err := os.Mkdir(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"b.pkl": nil, "a.pkl": series(t, 4, 3), "host-a/c.pkl": series(t, 4, 2), "note.txt": []byte("x")} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, err := dump.Open(context.Background(), []string{dir}, options)
	if err != nil || len(d.Files) != 3 {
		t.Fatalf("%d files, %v", len(d.Files), err)
	}
	if d.Files[0].Figures.Records != 3 || d.Files[1].Error == "" || d.Files[2].Figures.Records != 2 {
		t.Errorf("%v %v %v", d.Files[0].Figures, d.Files[1].Error, d.Files[2].Figures)
	}
	if got := requests(t, d.Files...); len(got) != 5 {
		t.Errorf("%d requests of 5", len(got))
	}
	if _, err := dump.Open(context.Background(), []string{filepath.Join(sub, "none")}, options); err == nil {
		t.Error("a file that is not there was opened")
	}
}

func TestPreviewsAreAskedFor(t *testing.T) {
	v := dumptest.List{wants(dumptest.Dict{{Key: "text", Value: "tell\nme \x1b[31mall"}}, nil, 1.0, 2.0)}
	shown := func(o dump.Options) string {
		b, err := json.Marshal(dump.Read(context.Background(), "x.pkl", pickled(t, 4, v), o))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if s := shown(options); strings.Contains(s, "tell") || !strings.Contains(s, `"prompt_chars":16`) {
		t.Errorf("a prompt was shown: %s", s)
	}
	o := options
	o.Preview = 12
	if s := shown(o); !strings.Contains(s, `"preview":"tell me [..."`) {
		t.Errorf("no preview: %s", s)
	}
}

func TestListsThatAreWrong(t *testing.T) {
	head := `{"schema":"llmdyno.requests","schema_version":1}` + "\n"
	for text, want := range map[string]string{
		"":                                 "is empty",
		`{"schema":"other"}`:               "expected a request list",
		strings.Replace(head, "1", "9", 1): "version 9",
		head + "{":                         "x:2: ",
		head + "\n" + `{"prompt":"a","prompt_tokens":[1]}`: "x:3: ",
		head + `{"at_ns":-1}`:                              "at_ns -1",
		head + `{"input_len":-1}`:                          "lengths -1",
		head + `{"body":[]}`:                               "expected objects",
	} {
		if _, _, err := dump.ReadRequests(strings.NewReader(text), "x"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, expected %q", text, err, want)
		}
	}
}

func FuzzReadRequests(f *testing.F) {
	f.Add(`{"schema":"llmdyno.requests","schema_version":1}` + "\n" + `{"prompt":"\ud83d\u00e9 \ud83d\ude00","body":{"a":[1,null]},"recorded":{"finished":true}}`)
	f.Add(`{"schema":"llmdyno.requests","schema_version":1}` + "\n" + `{"prompt_tokens":[1,2],"at_ns":5,"extra_request_body":{"n":1}}`)
	f.Fuzz(func(t *testing.T, text string) {
		reqs, h, err := dump.ReadRequests(strings.NewReader(text), "x")
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := dump.WriteRequests(&b, h.From, reqs); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, _, err := dump.ReadRequests(&b, "x")
		if err != nil || len(again) != len(reqs) {
			t.Fatalf("what was written cannot be read: %v", err)
		}
	})
}

// Whatever a pickle holds: no panic, and requests that are JSON.
func FuzzRead(f *testing.F) {
	f.Add(series(f, 4, 2))
	f.Add(series(f, 2, 1)[:900])
	f.Add(pickled(f, 4, dumptest.List{dumptest.Tuple{nil, dumptest.Dict{}, 1.0, 2.0}}))
	f.Add([]byte("(lp0\n(N(dF1.0\nF2.0\nta."))
	f.Fuzz(func(t *testing.T, data []byte) {
		file := dump.Read(context.Background(), "x.pkl", data, options)
		if _, err := json.Marshal(file); err != nil {
			t.Fatal(err)
		}
		for _, q := range requests(t, file) {
			if _, err := json.Marshal(q); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func BenchmarkSummary(b *testing.B) {
	var buf bytes.Buffer
	if _, err := dumptest.Write(&buf, 4, 0, 24<<20); err != nil {
		b.Fatal(err)
	}
	o := options
	o.Records = 20
	b.SetBytes(int64(buf.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if f := dump.Read(context.Background(), "x.pkl", buf.Bytes(), o); f.Error != "" {
			b.Fatal(f.Error)
		}
	}
}
