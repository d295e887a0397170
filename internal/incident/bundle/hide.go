package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Prompts and generated text are replaced by their length in bytes and the start
// of their SHA-256, so that equal ones stay comparable: [redacted:prompt-LEN-HASH].
// The form is that of package artifact, which leaves its own marks alone.
var anyMark = regexp.MustCompile(`\[redacted:([a-z0-9]+(?:-[a-z0-9]+)*)\]`)

// promptHash is the number of hexadecimal digits that are kept of a hash.
const promptHash = 12

func promptMark(text string) string {
	sum := sha256.Sum256([]byte(text))
	return fmt.Sprintf("[redacted:prompt-%d-%s]", len(text), hex.EncodeToString(sum[:])[:promptHash])
}

// promptKeys name what users sent or got: in the protocols of the engines, their
// logs and their request dumps.
var promptKeys = map[string]bool{
	"prompt": true, "prompts": true, "text": true, "content": true, "input": true, "inputs": true,
	"input_text": true, "origin_input_text": true, "output_text": true, "generated_text": true, "completion": true,
	"reasoning_content": true, "system_prompt": true, "user_prompt": true, "suffix": true, "arguments": true,
	"input_ids": true, "prompt_token_ids": true, "output_ids": true, "output_token_ids": true, "token_ids": true,
	"origin_input_ids": true, "prompt_tokens": true, "image_data": true, "audio_data": true, "video_data": true,
	"image_url": true, "decoded_text": true,
}

// hidePrompts replaces prompts in a JSON document, in lines of them, and in the
// log lines of the engines, until nothing changes any more: what is no JSON may
// become some when a prompt is gone.
func hidePrompts(body []byte) []byte {
	for range maxPasses {
		next := hideOnce(body)
		if bytes.Equal(next, body) {
			break
		}
		body = next
	}
	return body
}

// maxPasses bounds the repetition.
const maxPasses = 8

func hideOnce(body []byte) []byte {
	if trimmed := bytes.TrimSpace(body); len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[') && json.Valid(trimmed) {
		return hideInJSON(body)
	}
	if isMetrics(body) || !promptHint.Match(body) {
		return body
	}
	var out bytes.Buffer
	for line := range bytes.Lines(body) {
		if t := bytes.TrimSpace(line); len(t) > 0 && t[0] == '{' && json.Valid(t) {
			out.Write(hideInJSON(line))
		} else {
			out.Write(hideInText(line))
		}
	}
	return out.Bytes()
}

// isMetrics tells the Prometheus text format, in which nobody writes prompts.
func isMetrics(body []byte) bool {
	return bytes.HasPrefix(body, []byte("# HELP ")) || bytes.HasPrefix(body, []byte("# TYPE "))
}

// hideInJSON leaves every byte outside of prompts as it is.
func hideInJSON(body []byte) []byte {
	var out bytes.Buffer
	last := 0
	walkJSON(body, func(v jsonValue) {
		if !v.underPrompt || v.from < last || v.path == "$.text" && bytes.Contains(body, []byte(`"decode_error"`)) { // the Python toolkit's wrapper
			return
		}
		raw := body[v.from:v.to]
		text := string(raw)
		if raw[0] == '"' && json.Unmarshal(raw, &text) != nil || text == "" || onlyMark(text) {
			return
		}
		out.Write(body[last:v.from])
		out.WriteString(strconv.Quote(promptMark(text)))
		last = v.to
	})
	if last == 0 {
		return body
	}
	return append(out.Bytes(), body[last:]...)
}

func onlyMark(s string) bool {
	m := anyMark.FindString(s)
	return m != "" && m == strings.TrimSpace(s)
}

// jsonValue is a string, or a list of plain numbers, in a document.
type jsonValue struct {
	from, to    int // bytes
	path        string
	underPrompt bool // a key of promptKeys stands above it, with no object in between but those of content parts
}

// level is one open object or list.
type level struct {
	object  bool
	key     string // the member that is being read
	wantKey bool
	index   int
	prompt  bool // what stands in it belongs to a prompt
	from    int
	plain   bool // a list of numbers only so far
}

// walkJSON calls see for every string value and for every list of numbers below
// a prompt's key, in order of their ends. It stops in silence where the text is
// no JSON.
func walkJSON(body []byte, see func(jsonValue)) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var stack []level
	at := 0
	for {
		t, err := d.Token()
		if err != nil {
			return
		}
		end := int(d.InputOffset())
		from := at + bytes.IndexFunc(body[at:end], func(r rune) bool { return !strings.ContainsRune(" \t\r\n,:", r) })
		at = end
		top := (*level)(nil)
		if len(stack) > 0 {
			top = &stack[len(stack)-1]
		}
		if key, ok := t.(string); ok && top != nil && top.object && top.wantKey {
			top.key, top.wantKey = key, false
			continue
		}
		inPrompt := top != nil && (top.prompt || top.object && promptKeys[strings.ToLower(top.key)])
		switch v := t.(type) {
		case json.Delim:
			switch v {
			case '{', '[':
				if top != nil {
					top.plain = false
				}
				stack = append(stack, level{object: v == '{', wantKey: v == '{', prompt: inPrompt && v == '[' || top != nil && top.prompt && v == '[', from: from, plain: v == '['})
				continue
			}
			closed := *top
			stack = stack[:len(stack)-1]
			if !closed.object && closed.plain && closed.index > 0 && closed.prompt {
				see(jsonValue{closed.from, end, pathOf(stack), true})
			}
		case string:
			if top != nil {
				top.plain = false
			}
			see(jsonValue{from, end, pathOf(stack), inPrompt})
		}
		if len(stack) > 0 {
			top = &stack[len(stack)-1]
			top.index++
			top.wantKey = top.object
		}
	}
}

// maxPath bounds the levels that a path names: documents may nest as deep as they like.
const maxPath = 16

func pathOf(stack []level) string {
	var b strings.Builder
	b.WriteByte('$')
	for i, l := range stack {
		if i == maxPath {
			b.WriteString("…")
			break
		}
		if l.object {
			b.WriteString("." + l.key)
		} else {
			fmt.Fprintf(&b, "[%d]", l.index)
		}
	}
	return b.String()
}

// Prompts in the text of logs: NAME: 'TEXT', NAME='TEXT', 'NAME': "TEXT" and
// NAME=[1, 2, 3], as Python writes its values. Both engines with request logs
// print them so (vllm/entrypoints/logger.py; sglang
// srt/utils/request_logger.py, 2026-08).
var (
	promptHint = regexp.MustCompile(`(?i)prompt|text|content|input|token_ids|output_ids|completion|suffix`)
	promptText = regexp.MustCompile(`\b(?:prompt|prompts|text|content|input|inputs|input_text|origin_input_text|output_text|generated_text|completion|reasoning_content|system_prompt|decoded_text)(?:\\?['"])?\s*[:=]\s*\[?(\\?"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')`)
	promptIDs  = regexp.MustCompile(`\b(?:input_ids|prompt_token_ids|output_ids|output_token_ids|token_ids|origin_input_ids)(?:\\?['"])?\s*[:=]\s*(\[[-0-9, ]+\.{0,3}[-0-9, .]*\])`)
)

func hideInText(line []byte) []byte {
	s := string(line)
	for _, re := range []*regexp.Regexp{promptText, promptIDs} {
		s = replaceGroup(re, s, func(v string) string {
			inner := strings.Trim(v, `\"'`)
			if inner == "" || onlyMark(inner) {
				return v
			}
			if v[0] == '[' {
				return promptMark(v)
			}
			open := v[:len(v)-len(strings.TrimLeft(v, `\"'`))]
			return open + promptMark(inner) + open
		})
	}
	return []byte(s)
}

func replaceGroup(re *regexp.Regexp, s string, with func(string) string) string {
	var out strings.Builder
	last := 0
	for _, m := range re.FindAllStringSubmatchIndex(s, -1) {
		out.WriteString(s[last:m[2]] + with(s[m[2]:m[3]]))
		last = m[3]
	}
	return out.String() + s[last:]
}

// marksIn lists the places of a redacted file where something was hidden.
func marksIn(file string, body []byte, most int) (found []Redacted, n int) {
	if !bytes.Contains(body, []byte("[redacted:")) {
		return nil, 0
	}
	add := func(where, text string) {
		for _, m := range anyMark.FindAllStringSubmatch(text, -1) {
			if n++; len(found) < most {
				found = append(found, Redacted{file, where, ruleOf(m[1])})
			}
		}
	}
	if json.Valid(body) {
		walkJSON(body, func(v jsonValue) { add(v.path, string(body[v.from:v.to])) })
		return found, n
	}
	at := 0
	for line := range bytes.Lines(body) {
		at++
		add("line "+strconv.Itoa(at), string(line))
	}
	return found, n
}

// ruleOf leaves length and hash of a prompt out of its rule.
func ruleOf(id string) string {
	if strings.HasPrefix(id, "prompt-") {
		return "prompt"
	}
	return id
}
