package foreign

import (
	"strconv"
	"strings"

	"llmdyno/internal/bench/result"
)

// Definition is what a tool's figures mean. The zero value of a member says
// that the tool has no such figure, or that nothing is known.
type Definition struct {
	TTFT       string `json:"ttft_ends"`  // the event that ends TTFT
	E2E        string `json:"e2e_ends"`   // the event that ends E2E
	TPOT       string `json:"tpot"`       // the formula
	ITL        string `json:"itl"`        // what the gaps are between
	Tokens     string `json:"tokens"`     // who counts output tokens
	Connection bool   `json:"connection"` // its set-up lies inside the latencies
	Window     string `json:"window"`     // what throughputs are divided by
	Percentile string `json:"percentile"` // how it is read off the samples
	Stamps     string `json:"stamps"`     // who takes the instants of events
}

// The values of a definition.
const (
	AtFirstText    = "first_text"    // event with text: content, reasoning, tool call
	AtFirstChoices = "first_choices" // event with choices, also one without text
	AtLastText     = "last_text"
	AtLastChoices  = "last_choices"
	AtDone         = "done" // the last line of the stream

	TPOTAfterFirst  = "(e2e-ttft)/(n-1)"
	TPOTBetween     = "(last-first)/(n-1)" // ends with the last text whatever ends E2E
	TPOTWithFirst   = "e2e/n"              // the first token is one of n
	GapsOfEvents    = "event gaps"
	GapsOfTokens    = "event gaps shared out over tokens"
	GapsOfTokens0   = "a token each, 0 within an event"
	ByServer        = "server usage"
	ByRequest       = "server usage, else the length asked for"
	ByTokenizer     = "client tokenizer"
	ByEvents        = "server usage, else stream events"
	OverRun         = "start of the run to the last result"
	OverRunAndInfo  = "start of the run to after the server's answer about itself"
	OverRequests    = "first send to the last end"
	OverWindow      = "measuring window, weighted by time"
	PercentileLine  = "linear"       // between order statistics
	PercentileRank  = "nearest rank" // an order statistic
	PercentileIndex = "index"        // the order statistic below
	ByKernel        = "kernel"       // where it gives them: when the data came
	ByClient        = "client"       // when the client read the data
)

// native are llmdyno's own definitions, see internal/load/metric.
var native = Definition{AtFirstText, AtLastChoices, TPOTAfterFirst, GapsOfEvents, ByServer, false, OverRun, PercentileLine, ByKernel}

// definitions are those of the tools, read from their code at the commits that
// the package comment names; defined says what newer versions changed.
var definitions = map[Format]Definition{
	VLLM:          {AtFirstChoices, AtLastChoices, TPOTAfterFirst, GapsOfEvents, ByServer, false, OverRun, PercentileLine, ByClient},
	SGLang:        {AtFirstText, AtDone, TPOTAfterFirst, GapsOfEvents, ByRequest, true, OverRunAndInfo, PercentileLine, ByClient},
	TRTLLM:        {AtFirstChoices, AtLastChoices, TPOTAfterFirst, GapsOfEvents, ByServer, true, OverRun, PercentileLine, ByClient},
	AIPerf:        {AtFirstChoices, AtLastChoices, TPOTAfterFirst, GapsOfEvents, ByTokenizer, false, OverRequests, PercentileLine, ByClient},
	GuideLLM:      {AtFirstText, AtDone, TPOTBetween, "", ByEvents, false, OverWindow, PercentileRank, ByClient},
	InferencePerf: {AtFirstText, AtLastText, TPOTBetween, GapsOfTokens0, ByTokenizer, false, OverRequests, PercentileLine, ByClient},
}

// defined is what the figures of a tool mean in the version that wrote them, where
// that is known, on the endpoint that was measured. Without a version it is what
// definitions say.
//
// From vLLM 0.33.0 on TTFT, gaps and E2E on chat routes count events with output
// (vllm/benchmarks/lib/endpoint_request_func.py, _choice_has_streamed_output), and
// the event of the finish reason, whose content its server sends empty, is one.
// AIPerf 0.13.0 takes responses with content (aiperf/metrics/types/ttft_metric.py,
// request_latency_metric.py). Both packages as installed on 2026-11-25.
func defined(tool Format, version, endpoint string) Definition {
	d := definitions[tool]
	switch {
	case tool == VLLM && chatRoute(endpoint) && atLeast(version, 0, 33):
		d.TTFT = AtFirstText
	case tool == AIPerf && atLeast(version, 0, 13):
		d.TTFT, d.E2E = AtFirstText, AtLastText
	}
	return d
}

// chatRoute says whether a client's name of an endpoint, or of a back end, is that
// of chat.
func chatRoute(endpoint string) bool { return strings.Contains(endpoint, "chat") }

// atLeast says whether a version such as 0.33.1rc2 is not before major.minor; an
// unknown one is.
func atLeast(version string, major, minor int) bool {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) < 2 {
		return false
	}
	x, errX := strconv.Atoi(parts[0])
	y, errY := strconv.Atoi(parts[1])
	return errX == nil && errY == nil && (x > major || x == major && y >= minor)
}

// warnings say in which points the figures of a row do not mean what a row's
// figures mean.
func (d Definition) warnings(r result.Row) []result.Warning {
	var out []result.Warning
	m, n := r.Metrics, native
	warn := func(differs bool, code, message string) {
		if differs {
			out = append(out, result.Warning{Code: code, Message: message})
		}
	}
	warn(!m.TTFT.Empty() && d.TTFT == AtFirstChoices, "ttft-definition", "TTFT ends with the first stream event, also one without text (a role): it is shorter than the time to the first text where the server sends such an event earlier")
	warn(!m.TTFT.Empty() && d.Connection, "connection-included", "the set-up of a connection is made for each request and lies inside its TTFT and E2E")
	warn(!m.E2E.Empty() && d.E2E == AtDone, "e2e-definition", "E2E ends with the end of the stream, after the usage record and [DONE]: it is longer than to the last token")
	warn(!m.E2E.Empty() && d.E2E == AtLastText, "e2e-definition", "E2E ends with the last token, before an event that only carries the finish reason")
	warn(!m.TPOT.Empty() && d.TPOT == TPOTBetween, "tpot-definition", "TPOT runs from the first token to the last, whatever ends E2E")
	warn(!m.ITL.Empty() && d.ITL == GapsOfTokens0, "itl-definition", "ITL counts every token of a stream event but the first as 0 ms: its percentiles fall and its mean is that of tokens")
	warn(m.OutputTokenThroughput != nil && d.Tokens == ByRequest, "tokens-counted-by-request", "output tokens are the length asked for where the server sent no count: they are too many when answers ended early")
	warn(m.OutputTokenThroughput != nil && d.Tokens == ByTokenizer, "tokens-counted-by-client", "output tokens were counted by the client's tokenizer, not by the server")
	warn(m.OutputTokenThroughput != nil && d.Tokens == ByEvents, "tokens-counted-by-events", "stream events stand in for output tokens where the server sent no count")
	warn(m.RequestThroughput != nil && d.Window != n.Window, "duration-definition", "throughputs are over another time than from the start of the run to the last result: "+d.Window)
	warn(hasPercentile(m) && d.Percentile != n.Percentile, "percentile-definition", "percentiles are samples ("+d.Percentile+"), not interpolated between them")
	return out
}

func hasPercentile(m result.Metrics) bool {
	for _, l := range []result.Latency{m.TTFT, m.TPOT, m.E2E, m.ITL, m.EventGap} {
		if l.P50 != nil || l.P99 != nil {
			return true
		}
	}
	return false
}
