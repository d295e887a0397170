package enginetest_test

import (
	"flag"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"llmdyno/internal/engine"
	"llmdyno/internal/engine/enginetest"
	"llmdyno/internal/engine/trtllm"
	"llmdyno/internal/engine/vllm"
)

// mutations are errors in a table that the suite has to find.
var mutations = []struct {
	name  string
	make  func() *engine.Engine
	spoil func(*engine.Engine)
	fails string // the check that finds it
	says  string // what its failure names
}{
	{"misspelt option", vllm.New, onFlag("max_num_seqs", func(f *engine.Flag) { f.Option = "--max-num-seq" }), "help", "--max-num-seq"},
	{"wrong default", vllm.New, onFlag("scheduling_policy", func(f *engine.Flag) { f.Default = "priority" }), "help", "scheduling_policy"},
	{"value that the engine refuses", vllm.New, onFlag("scheduling_policy", func(f *engine.Flag) { f.Values = append(f.Values, "lifo") }), "flags", "lifo"},
	{"dashes for underscores", trtllm.New, func(e *engine.Engine) { e.Launch.Underscores = false }, "flags", "--max-batch-size"},
	{"version pattern", vllm.New, func(e *engine.Engine) { e.Launch.VersionPattern = regexp.MustCompile(`version (\S+)`) }, "version", "version (\\S+)"},
	{"green health taken for ready", vllm.New, func(e *engine.Engine) { e.Ready.Probes = e.Ready.Probes[:1] }, "not_ready_with_a_dead_scheduler", "dead scheduler"},
	{"wrong status of a probe", vllm.New, func(e *engine.Engine) { e.Ready.Probes[0].Status = 204 }, "ready", "expected 204"},
	{"misspelt path", vllm.New, onEndpoint(engine.EndpointModels, func(e *engine.Endpoint) { e.Path = "/v1/model" }), "endpoints", "/v1/model"},
	{"key thought needless", vllm.New, onEndpoint(engine.EndpointModels, func(e *engine.Endpoint) { e.Auth = false }), "auth", "models"},
	{"action taken for a reading", vllm.New, onEndpoint(engine.EndpointStartProfile, func(e *engine.Endpoint) { e.ReadOnly = true }), "endpoints", "start_profile"},
	{"condition left out", vllm.New, onEndpoint(engine.EndpointStartProfile, func(e *engine.Endpoint) { e.Needs = "" }), "needs", "start_profile"},
	{"misspelt metric", vllm.New, onMetric(engine.QuantityRunning, func(m *engine.Metric) { m.Name = "vllm:num_request_running" }), "metrics", "num_request_running"},
	{"running and waiting swapped", vllm.New, onMetric(engine.QuantityRunning, func(m *engine.Metric) { m.Name = "vllm:num_requests_waiting" }), "metrics", "running_requests under load"},
	{"totals of one series only", vllm.New, onMetric(engine.QuantityRequests, func(m *engine.Metric) { m.Labels = map[string]string{"finished_reason": "stop"} }), "metrics", "requests_total"},
	{"misspelt histogram", vllm.New, onMetric(engine.QuantityTTFT, func(m *engine.Metric) { m.Name = "vllm:time_to_first_tokens_seconds" }), "metrics", "time_to_first_tokens"},
	{"queue time taken for the whole", vllm.New, onMetric(engine.QuantityE2E, func(m *engine.Metric) { m.Name = "vllm:request_queue_time_seconds" }), "metrics", "e2e_seconds"},
	{"misspelt metric of speculation", vllm.New, onMetric(engine.QuantityDrafts, func(m *engine.Metric) { m.Name = "vllm:spec_decode_drafts_total" }), "metrics", "spec_decode_drafts"},
	{"unknown request field", vllm.New, func(e *engine.Engine) { e.Wires[0].Fields = append(e.Wires[0].Fields, "ignore_eso") }, "fields", "ignore_eso"},
	{"finish reason not read", vllm.New, onDecode(func(d *engine.Delta) { d.Finish = "" }), "streams", "finish"},
	{"text thought cumulative", vllm.New, onDecode(func(d *engine.Delta) { d.Cumulative = true }), "streams", "content events"},
	{"usage not read", vllm.New, onDecode(func(d *engine.Delta) { d.Usage, d.Tokens = nil, -1 }), "whole_replies", "output tokens"},
	{"text in a field that the engine does not read", vllm.New, func(e *engine.Engine) {
		e.Tokenize.Encode = func(model, text string) ([]byte, error) { return []byte(`{"content":"one"}`), nil }
	}, "tokenize", "tokens"},
	{"endpoint that counts without a way to ask", vllm.New, func(e *engine.Engine) { e.Tokenize = nil }, "tokenize", "how to ask"},
	{"reasoning taken for the answer", vllm.New, onChat(func(d *engine.Delta) { d.Text, d.Reasoning = d.Text+d.Reasoning, "" }), "reasoning", "first reasoning"},
	{"usage of events taken for one token each", vllm.New, onDecode(func(d *engine.Delta) {
		if d.HasChoices && d.Tokens > 0 {
			d.Tokens = 1
		}
	}), "several_tokens_an_event", "the last event that counts"},
	{"ready line not known", vllm.New, withoutLog(engine.LogReady), "log_of_a_start", "ready"},
	{"refused flag not known", vllm.New, withoutLog(engine.LogBadFlag), "unknown_flag", "unrecognized arguments"},
	{"taken port not known", vllm.New, withoutLog(engine.LogPortInUse), "log_of_a_failed_start", "port_in_use"},
	{"counts of a step read as flags", vllm.New, func(e *engine.Engine) {
		read := e.Trace.Step
		e.Trace.Step = func(label string) (engine.StepMark, bool) {
			m, ok := read(label)
			if strings.Contains(label, "generation_1") {
				m.Kind = engine.StepDecode
			}
			return m, ok && !strings.Contains(label, "generation_64")
		}
	}, "trace", "generation_64"},
	{"failure seen in a good start", vllm.New, func(e *engine.Engine) { e.Logs[1].Pattern = regexp.MustCompile(`EngineCore`) }, "log_of_a_start", "a good start"},
}

func onFlag(key string, change func(*engine.Flag)) func(*engine.Engine) {
	return func(e *engine.Engine) {
		change(&e.Flags[slices.IndexFunc(e.Flags, func(f engine.Flag) bool { return f.Key == key })])
	}
}

func onEndpoint(name engine.EndpointName, change func(*engine.Endpoint)) func(*engine.Engine) {
	return func(e *engine.Engine) {
		change(&e.Endpoints[slices.IndexFunc(e.Endpoints, func(x engine.Endpoint) bool { return x.Name == name })])
	}
}

func onMetric(q engine.Quantity, change func(*engine.Metric)) func(*engine.Engine) {
	return func(e *engine.Engine) {
		for i := range e.Metrics {
			if e.Metrics[i].Quantity == q {
				change(&e.Metrics[i])
			}
		}
	}
}

func onDecode(change func(*engine.Delta)) func(*engine.Engine) { return onWire(0, change) }
func onChat(change func(*engine.Delta)) func(*engine.Engine)   { return onWire(1, change) }

func onWire(wire int, change func(*engine.Delta)) func(*engine.Engine) {
	return func(e *engine.Engine) {
		decode := e.Wires[wire].Decode
		e.Wires[wire].Alike = false
		e.Wires[wire].Decode = func(data []byte, d *engine.Delta) error {
			err := decode(data, d)
			change(d)
			return err
		}
	}
}

func withoutLog(kind engine.LogKind) func(*engine.Engine) {
	return func(e *engine.Engine) {
		e.Logs = slices.DeleteFunc(e.Logs, func(p engine.LogPattern) bool { return p.Kind == kind })
	}
}

var mutation = flag.String("mutation", "", "run the suite on this broken table; for TestFindsErrors alone")

// TestBroken is the suite on a broken table, which TestFindsErrors runs in a
// process of its own.
func TestBroken(t *testing.T) {
	for _, m := range mutations {
		if m.name == *mutation {
			e := m.make()
			m.spoil(e)
			enginetest.Run(t, e)
		}
	}
}

// The suite fails on each of these tables, in the check that is about the error,
// with words that name it.
func TestFindsErrors(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			out, err := exec.CommandContext(t.Context(), self, "-test.run=^TestBroken$/^"+m.fails+"$", "-mutation="+m.name).CombinedOutput()
			if err == nil {
				t.Fatal("the suite passes")
			}
			_, after, found := strings.Cut(string(out), "--- FAIL: TestBroken/"+m.fails+" ")
			check, _, _ := strings.Cut(after, "--- FAIL: ")
			if !found || !strings.Contains(check, m.says) {
				t.Errorf("no failure of %s that says %q:\n%s", m.fails, m.says, out)
			}
		})
	}
}
