package trtllm

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"llmdyno/internal/engine"
)

// patch adds Python frames and a path of each rank's own to the profiler that
// py_executor.py makes. It knows the two forms of that part that were seen.
func patch() *engine.ProfilerPatch {
	return &engine.ProfilerPatch{
		File:   "tensorrt_llm/_torch/pyexecutor/py_executor.py",
		What:   "adds with_stack=True to the torch profiler, and a path for each rank where all write to one",
		Apply:  patchExecutor,
		Source: engine.Source{Ref: "NVIDIA/TensorRT-LLM tensorrt_llm/_torch/pyexecutor/py_executor.py, copies of 2025 and 2026", Date: "2026-11-25"},
	}
}

const (
	profilerCall = "torch_profiler = torch.profiler.profile("
	pathLine     = "torch_trace_path = os.environ.get(PROFILE_TRACE_ENV_VAR_NAME, None)"
	rankPath     = "-rank-{"
	maxCallLines = 40
)

var indentOf = regexp.MustCompile(`^[ \t]*`)

// patchExecutor works on lines, so that what it does not know stays byte for byte.
func patchExecutor(source []byte) ([]byte, []string, error) {
	lines := strings.SplitAfter(string(source), "\n")
	lines, stacked, err := addStack(lines)
	if err != nil {
		return nil, nil, err
	}
	lines, parted, err := addRank(lines)
	if err != nil {
		return nil, nil, err
	}
	out := []byte(strings.Join(lines, ""))
	if bytes.Equal(out, source) {
		return source, nil, nil
	}
	var did []string
	for _, d := range []string{stacked, parted} {
		if d != "" {
			did = append(did, d)
		}
	}
	return out, did, nil
}

// only finds the one line that holds a text.
func only(lines []string, text string) (int, error) {
	at := -1
	for i, l := range lines {
		if !strings.Contains(l, text) || strings.HasPrefix(strings.TrimSpace(l), "#") {
			continue
		}
		if at >= 0 {
			return 0, fmt.Errorf("lines %d and %d both hold %q: expected one, so this source is not known", at+1, i+1, text)
		}
		at = i
	}
	if at < 0 {
		return 0, fmt.Errorf("%d lines without %q: this is no py_executor.py that is known", len(lines), text)
	}
	return at, nil
}

// addStack puts with_stack=True behind the last argument of the profiler's call.
func addStack(lines []string) ([]string, string, error) {
	at, err := only(lines, profilerCall)
	if err != nil {
		return nil, "", err
	}
	end, depth := -1, 0
	for i := at; i < len(lines) && i < at+maxCallLines && end < 0; i++ {
		if strings.ContainsAny(lines[i], `"'#`) {
			return nil, "", fmt.Errorf("line %d: %q: a quote or a comment within the profiler's call was not expected", i+1, strings.TrimSpace(lines[i]))
		}
		depth += strings.Count(lines[i], "(") - strings.Count(lines[i], ")")
		if depth == 0 {
			end = i
		}
	}
	if end < 0 {
		return nil, "", fmt.Errorf("lines %d to %d: the profiler's call does not end", at+1, min(at+maxCallLines, len(lines)))
	}
	call := strings.Join(lines[at:end+1], "")
	switch {
	case strings.Contains(call, "with_stack=True"):
		return lines, "", nil
	case strings.Contains(call, "with_stack"):
		return nil, "", fmt.Errorf("lines %d to %d: the profiler's call sets with_stack to something else", at+1, end+1)
	case !strings.Contains(call, "record_shapes=True"):
		return nil, "", fmt.Errorf("lines %d to %d: the profiler's call has no record_shapes=True, so it is not the known one", at+1, end+1)
	}
	last := strings.LastIndex(lines[end], ")")
	before, after := lines[end][:last], lines[end][last:]
	out := append([]string{}, lines[:end]...)
	did := end
	if strings.TrimSpace(before) == "" { // the parenthesis stands alone
		out[end-1] = withComma(lines[end-1])
		out = append(out, indentOf.FindString(lines[end-1])+"with_stack=True,\n", lines[end])
	} else {
		out = append(out, strings.TrimRight(before, ", ")+", with_stack=True"+after)
	}
	return append(out, lines[end+1:]...), fmt.Sprintf("line %d: with_stack=True in the profiler's call", did+1), nil
}

// withComma is a line whose argument is followed by another.
func withComma(line string) string {
	text := strings.TrimRight(line, "\r\n")
	if strings.HasSuffix(strings.TrimRight(text, " "), ",") {
		return line
	}
	return strings.TrimRight(text, " ") + "," + line[len(text):]
}

// addRank gives each rank its own path, where the source does not yet.
func addRank(lines []string) ([]string, string, error) {
	at, err := only(lines, pathLine)
	if err != nil {
		return nil, "", err
	}
	for i := at; i < len(lines) && i < at+maxCallLines; i++ {
		if strings.Contains(lines[i], rankPath) {
			return lines, "", nil
		}
	}
	in := indentOf.FindString(lines[at])
	rank := "self.dist.rank"
	if strings.Contains(strings.Join(lines, ""), "svc.dist.rank") {
		rank = "ctx.svc.dist.rank"
	}
	add := []string{
		in + "if torch_trace_path is not None:\n",
		in + "    trace_base, trace_ext = os.path.splitext(torch_trace_path)\n",
		in + "    torch_trace_path = f\"{trace_base}-rank-{" + rank + "}{trace_ext}\"\n",
	}
	out := append(append(append([]string{}, lines[:at+1]...), add...), lines[at+1:]...)
	return out, fmt.Sprintf("lines %d to %d: a path for each rank", at+2, at+1+len(add)), nil
}
