package workload

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"llmdyno/internal/engine"
)

// maxTurns bounds one conversation, whose requests grow with every turn.
const maxTurns = 10_000

// turn is one turn of a conversation: what is new in its request, how long an
// answer is asked for, and the answer that the next turn's history has. That
// answer is the recorded one, or made up, never the server's own: so every
// server gets the same prompts.
type turn struct {
	said   []engine.Message
	length int // tokens of what is new, or words; 0 = to be counted
	reply  engine.Message
	output int
	think  time.Duration // before this turn, from the end of the one before
}

// conversations makes KindConversation without a file: each turn has a text of
// the input length, and each answer in the history one of the output length.
func (s Spec) conversations() ([]Request, error) {
	in, out := s.lengths()
	turns := s.Turns
	switch {
	case turns.IsZero():
		turns = Fixed(1)
	case turns.MeanLength("") < 1 || turns.MeanLength("") > maxTurns:
		return nil, fmt.Errorf("workload: %s turns: expected 1 to %d", turns.Describe(""), maxTurns)
	}
	if in.MeanLength(s.Compat) < 1 {
		return nil, fmt.Errorf("workload: turns of %g tokens: expected at least 1", in.MeanLength(s.Compat))
	}
	var used budget
	var reqs []Request
	for c, text := 0, 0; len(reqs) < s.NumPrompts; c++ {
		talk := make([]turn, min(max(turns.Draw(s.Seed, streamTurns, c, ""), 1), maxTurns))
		for t := range talk {
			n := in.Draw(s.Seed, streamInput, text, s.Compat)
			said, err := s.text(newWords(s.Seed, 0, text, t == 0), "", 0, n)
			if err != nil {
				return nil, fmt.Errorf("workload: conversation %d, turn %d: %w", c, t, err)
			}
			talk[t] = turn{
				said: []engine.Message{{Role: "user", Content: said}}, length: n, output: out.Draw(s.Seed, streamOutput, text, s.Compat), think: s.think(text),
			}
			text++
		}
		var err error
		if reqs, err = s.addTurns(reqs, talk, 0, &used); err != nil {
			return nil, fmt.Errorf("workload: conversation %d: %w", c, err)
		}
	}
	return reqs[:s.NumPrompts], nil
}

// think is the time before turn i of a workload whose file does not say.
func (s Spec) think(i int) time.Duration {
	return time.Duration(s.ThinkMs.Draw(s.Seed, streamThink, i, "")) * time.Millisecond
}

// addTurns appends the requests of a conversation. The input of a turn is all
// that was said before it; of that, what the request before it held is shared.
func (s Spec) addTurns(reqs []Request, talk []turn, at time.Duration, used *budget) ([]Request, error) {
	if len(talk) > maxTurns {
		return nil, fmt.Errorf("%d turns; expected at most %d", len(talk), maxTurns)
	}
	var history []engine.Message
	length, before := 0, 0
	for t, x := range talk {
		history = append(history, x.said...)
		n, err := s.saidLen(x)
		if err != nil {
			return nil, err
		}
		length += n
		if err := used.take(length); err != nil {
			return nil, err
		}
		q := Request{
			Index: len(reqs), Messages: history[:len(history):len(history)], InputLen: length, SharedLen: before, OutputLen: x.output, At: at,
		}
		if t > 0 {
			q.After, q.Think = len(reqs), x.think
		}
		if q.OutputLen > maxLen || length > maxLen {
			return nil, fmt.Errorf("turn %d: lengths %d in and %d out: expected at most %d each", t, length, q.OutputLen, maxLen)
		}
		reqs, before = append(reqs, q), length
		if t == len(talk)-1 {
			break
		}
		reply, n, err := s.replyOf(x, q.Index)
		if err != nil {
			return nil, err
		}
		history, length = append(history, reply), length+n
	}
	return reqs, nil
}

// saidLen is the length of what is new in a turn.
func (s Spec) saidLen(x turn) (length int, err error) {
	if x.length > 0 {
		return x.length, nil
	}
	for _, m := range x.said {
		n, err := s.count(m.Text())
		if err != nil {
			return 0, err
		}
		length += n
	}
	return length, nil
}

// replyOf is the answer to a turn in the history, with its length: the recorded
// one, else words of the length that was asked for.
func (s Spec) replyOf(x turn, i int) (m engine.Message, length int, err error) {
	if x.reply.Role != "" {
		n, err := s.count(x.reply.Text())
		return x.reply, n, err
	}
	if x.output > maxLen {
		return m, 0, fmt.Errorf("an answer of %d tokens: expected at most %d", x.output, maxLen)
	}
	n := max(x.output, 1)
	text, err := s.text(newWords(s.Seed, streamReply, i, false), "", 0, n)
	return engine.Message{Role: "assistant", Content: text}, n, err
}

// conversationRow is one line of a conversation file.
type conversationRow struct {
	Messages      []engine.Message `json:"messages"`
	Conversations []exchange       `json:"conversations"`
	Turns         []turnRow        `json:"turns"`
	OutputLen     numbers          `json:"output_len"`
	ThinkMs       numbers          `json:"think_ms"`
	Timestamp     stamp            `json:"timestamp"`
	Extra         map[string]any   `json:"extra_request_body"`
}

// turnRow is a turn by its own members: what the user says, the answer if it was
// recorded, the length asked for, and the ms before it.
type turnRow struct {
	Content   string   `json:"content"`
	Text      string   `json:"text"`
	Reply     string   `json:"reply"`
	OutputLen *int     `json:"output_len"`
	ThinkMs   *float64 `json:"think_ms"`
	Delay     *float64 `json:"delay"`
}

// numbers is one number for all turns, or a list with one for each.
type numbers []float64

// UnmarshalJSON reads a number or a list of numbers, none below 0.
func (n *numbers) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] != '[' && string(data) != "null" {
		*n = make(numbers, 1)
		if err := json.Unmarshal(data, &(*n)[0]); err != nil {
			return err
		}
	} else if err := json.Unmarshal(data, (*[]float64)(n)); err != nil {
		return err
	}
	for _, x := range *n {
		if !(x >= 0 && x <= maxNumber) {
			return fmt.Errorf("the number %v: expected 0 to %g", x, float64(maxNumber))
		}
	}
	return nil
}

// maxNumber is also the longest think time in ms: ten years would be 3e11.
const maxNumber = 1e9

// at is the number of turn t of n; ok is false where none is given.
func (n numbers) at(t int) (x float64, ok bool) {
	switch {
	case len(n) == 1:
		return n[0], true
	case t < len(n):
		return n[t], true
	}
	return 0, false
}

// ReadConversations reads conversations of several turns: JSONL, or a JSON list.
// A row has "messages" in any form of the OpenAI protocol, in which every
// message of the assistant ends a turn; or ShareGPT's "conversations"; or "turns",
// a list of {"content","output_len","think_ms","reply"}. Optional are
// "output_len" and "think_ms", a number for all turns or a list with one for each
// (a think time stands before its turn), "extra_request_body" and "timestamp".
// Without an output length that of the recorded answer is asked for. Each turn
// becomes a request that waits for the one before it.
func (s Spec) ReadConversations(r io.Reader, name string) ([]Request, error) {
	var reqs []Request
	var stamps []stamp
	var used budget
	turns := 0
	err := eachRecord(r, name, `"messages", "turns" or "conversations"`, func(text []byte) error {
		var x conversationRow
		if err := decodeRow(text, &x); err != nil {
			return err
		}
		talk, err := s.talk(x, turns)
		if err != nil {
			return err
		}
		turns += len(talk)
		from := len(reqs)
		if reqs, err = s.addTurns(reqs, talk, 0, &used); err != nil {
			return err
		}
		if turns > maxRows {
			return fmt.Errorf("more than %d turns; split the file", maxRows)
		}
		for i := from; i < len(reqs); i++ {
			reqs[i].Extra = x.Extra
			stamps = append(stamps, x.Timestamp)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return inOrder(reqs, stamps, name)
}

// inOrder sorts conversations by their instants and mends what their turns wait
// for.
func inOrder(reqs []Request, stamps []stamp, name string) ([]Request, error) {
	sorted, err := timed(reqs, stamps, name) // stable: the turns of a conversation have one instant
	if err != nil {
		return nil, err
	}
	for i := range sorted {
		if sorted[i].After > 0 {
			sorted[i].After = i // 1 + the index of the turn before
		}
	}
	return sorted, nil
}

// talk is the conversation of a row; first is the number of its first turn.
func (s Spec) talk(x conversationRow, first int) ([]turn, error) {
	var out []turn
	var err error
	given := 0
	for _, n := range []int{len(x.Messages), len(x.Conversations), len(x.Turns)} {
		if n > 0 {
			given++
		}
	}
	switch {
	case given != 1:
		return nil, errors.New(`expected one of "messages", "turns" and "conversations", and something in it`)
	case len(x.Turns) > 0:
		out, err = turnsOf(x.Turns)
	case len(x.Messages) > 0:
		out = split(x.Messages)
	default:
		messages := make([]engine.Message, len(x.Conversations))
		for i, e := range x.Conversations {
			messages[i] = engine.Message{Role: e.role(), Content: e.text()}
		}
		out = split(messages)
	}
	if err != nil || len(out) == 0 {
		return nil, errors.Join(err, errNoTurn(out))
	}
	for t := range out {
		if err := s.complete(&out[t], x, t, first+t); err != nil {
			return nil, fmt.Errorf("turn %d: %w", t, err)
		}
	}
	return out, nil
}

func errNoTurn(talk []turn) error {
	if len(talk) == 0 {
		return errors.New("nobody but the assistant says anything; expected a message of the user")
	}
	return nil
}

// unknown marks what a turn's own members do not say.
const unknown = -1

// split cuts messages into turns: each ends with a message of the assistant.
func split(messages []engine.Message) []turn {
	var out []turn
	var said []engine.Message
	spoke := false // somebody but the assistant, since the last turn
	for _, m := range messages {
		if m.Role == "assistant" && spoke {
			out = append(out, turn{said: said, reply: m, output: unknown, think: unknown})
			said, spoke = nil, false
			continue
		}
		said = append(said, m)
		spoke = spoke || m.Role != "assistant" && m.Role != "system"
	}
	if spoke {
		out = append(out, turn{said: said, output: unknown, think: unknown})
	}
	return out
}

func turnsOf(rows []turnRow) ([]turn, error) {
	out := make([]turn, len(rows))
	for i, x := range rows {
		t := turn{said: []engine.Message{{Role: "user", Content: x.Content + x.Text}}, output: unknown, think: unknown}
		if x.Content+x.Text == "" {
			return nil, fmt.Errorf(`turn %d says nothing; expected "content"`, i)
		}
		if x.Reply != "" {
			t.reply = engine.Message{Role: "assistant", Content: x.Reply}
		}
		if x.OutputLen != nil {
			if t.output = *x.OutputLen; t.output < 0 || t.output > maxLen {
				return nil, fmt.Errorf("turn %d: output_len %d: expected 0 to %d", i, t.output, maxLen)
			}
		}
		if x.ThinkMs == nil {
			x.ThinkMs = x.Delay
		}
		if ms := x.ThinkMs; ms != nil {
			if !(*ms >= 0 && *ms <= maxNumber) {
				return nil, fmt.Errorf("turn %d: %v ms before it: expected 0 to %g", i, *ms, float64(maxNumber))
			}
			t.think = time.Duration(*ms * nsPerMs)
		}
		out[i] = t
	}
	return out, nil
}

// complete fills in what a turn does not say itself: from its row, the recorded
// answer, and the spec.
func (s Spec) complete(t *turn, x conversationRow, n, number int) error {
	if ms, ok := x.ThinkMs.at(n); ok && t.think == unknown {
		t.think = time.Duration(ms * nsPerMs)
	}
	if t.think == unknown {
		t.think = s.think(number)
	}
	if length, ok := x.OutputLen.at(n); ok && t.output == unknown {
		t.output = int(length)
	}
	if t.output == unknown {
		t.output = s.outputLen(number)
	}
	if text := t.reply.Text(); t.output == 0 && text != "" {
		length, err := s.count(text)
		if err != nil {
			return err
		}
		t.output = length
	}
	if t.output > maxLen {
		return fmt.Errorf("output_len %d: expected at most %d", t.output, maxLen)
	}
	return nil
}
