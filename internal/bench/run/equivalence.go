package run

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"llmdyno/internal/bench/config"
	"llmdyno/internal/bench/result"
	"llmdyno/internal/engine"
	"llmdyno/internal/load/token"
)

// EquivalencePlan says how the answers of a candidate are held against those of its
// reference.
type EquivalencePlan struct {
	Prompts         int      `json:"prompts"`
	Tokens          int      `json:"tokens"`
	MinAgreement    float64  `json:"min_agreement"`
	Command         []string `json:"command,omitempty"`
	CommandTimeoutS float64  `json:"command_timeout_s,omitempty"`
}

// Answers are the greedy answers of one candidate to the fixed prompts, and the end
// of the evaluation command.
type Answers struct {
	Texts    []string           `json:"texts,omitempty"`
	Tokens   [][]string         `json:"tokens,omitempty"` // the first ones of each answer
	TokensBy string             `json:"tokens_by"`        // tokenizer or words
	Error    string             `json:"error,omitempty"`  // why there are no answers
	Command  *result.Evaluation `json:"command,omitempty"`
	File     string             `json:"file,omitempty"`
}

const (
	answersName = "answers.json"
	// answerTimeout bounds one greedy answer.
	answerTimeout = 2 * time.Minute
	// lastLineMost bounds what is kept of the last line of an evaluation.
	lastLineMost = 500
)

// fixedPrompts are what every candidate is asked: short, of several kinds, with
// answers that a model is sure of, so that rounding alone seldom changes them.
var fixedPrompts = []string{
	"The capital of France is",
	"Count from one to twenty: one, two, three,",
	"The first ten prime numbers are 2, 3, 5,",
	"Water is made of hydrogen and",
	"def fibonacci(n):\n    if n < 2:\n        return n\n    return",
	"The days of the week are Monday, Tuesday,",
	"Translate into German: Good morning, how are you?\n",
	"12 * 12 = 144. 13 * 13 =",
	"The planets of the solar system, from the sun outwards: Mercury, Venus,",
	"SELECT name, price FROM products WHERE price >",
	"Once upon a time there was a king who had three",
	"{\"name\": \"Ada\", \"born\": 1815, \"field\": \"mathematics\"}\n{\"name\": \"Alan\", \"born\": 1912, \"field\":",
	"The opposite of hot is cold. The opposite of large is small. The opposite of early is",
	"A, B, C, D, E, F, G,",
	"In 1969 the first human being set foot on the",
	"To boil an egg, first fill a pot with water, then",
}

// answers asks a server that has just become ready, once for each candidate, and
// writes down what it said.
func (r *runner) answers(ctx context.Context, c config.Candidate) error {
	if r.plan.Equivalence == nil || r.state.candidate(c.ID).Answers != nil {
		return nil
	}
	r.show.phase("comparing answers")
	a := r.ask(ctx)
	if a.Error == "" && len(r.plan.Equivalence.Command) > 0 {
		a.Command = r.evaluate(ctx, c)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	a.File = "trials/" + c.ID + "/" + answersName
	if err := r.folder.WriteJSON(a.File, a); err != nil {
		return err
	}
	return r.record(Entry{Kind: KindAnswers, Candidate: c.ID, Answers: a})
}

// ask gets the greedy answers, one after another, so that no batch changes them.
func (r *runner) ask(ctx context.Context) *Answers {
	e, s, greedy := r.plan.Equivalence, r.server, 0.0
	a := &Answers{TokensBy: "words"}
	cut := cutWords
	if path := r.plan.Load.TokenizerPath; path != "" {
		t, err := token.Open(path)
		if err != nil {
			a.Error = err.Error()
			return a
		}
		a.TokensBy, cut = "tokenizer", func(text string) []string { return decimals(t.Encode(text, false)) }
	}
	for _, prompt := range fixedPrompts[:min(e.Prompts, len(fixedPrompts))] {
		request := engine.GenerateRequest{Model: s.model, Prompt: prompt, MaxTokens: e.Tokens, Temperature: &greedy}
		if strings.Contains(string(s.wire.Endpoint), "chat") {
			request.Prompt, request.Messages = "", []engine.Message{{Role: "user", Content: prompt}}
		}
		one, cancel := context.WithTimeout(ctx, answerTimeout)
		d, err := s.client.Generate(one, s.wire, request)
		cancel()
		if err != nil {
			a.Error = err.Error()
			return a
		}
		text := d.Reasoning + d.Text
		tokens := cut(text)
		a.Texts, a.Tokens = append(a.Texts, text), append(a.Tokens, tokens[:min(len(tokens), e.Tokens)])
	}
	return a
}

func decimals(ids []int) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = strconv.Itoa(id)
	}
	return out
}

// cutWords cuts a text where no tokenizer is at hand: runs of letters and digits, and
// every other character by itself, those of scripts without blanks too.
func cutWords(text string) []string {
	var out []string
	run := false
	for _, c := range text {
		alone := unicode.In(c, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai) || !unicode.IsLetter(c) && !unicode.IsDigit(c)
		switch {
		case unicode.IsSpace(c):
			run = false
		case run && !alone:
			out[len(out)-1] += string(c)
		default:
			out, run = append(out, string(c)), !alone
		}
	}
	return out
}

// evaluate runs the evaluation command beside the server.
func (r *runner) evaluate(ctx context.Context, c config.Candidate) *result.Evaluation {
	p := r.plan.Equivalence
	env := []string{"LLMDYNO_BASE_URL=" + r.server.URL(), "LLMDYNO_MODEL=" + r.server.model, "LLMDYNO_ENGINE=" + string(c.Engine), "LLMDYNO_CANDIDATE=" + c.ID}
	began := time.Now()
	out, exit, err := r.Backend.Output(ctx, p.Command, env, time.Duration(p.CommandTimeoutS*float64(time.Second)))
	v := &result.Evaluation{Command: strings.Join(p.Command, " "), ExitCode: exit, TookS: time.Since(began).Seconds()}
	lines := strings.FieldsFunc(string(out), func(c rune) bool { return c == '\n' || c == '\r' })
	lines = slices.DeleteFunc(lines, func(l string) bool { return strings.TrimSpace(l) == "" })
	if len(lines) > 0 {
		v.LastLine = strings.ToValidUTF8(strings.TrimSpace(lines[len(lines)-1]), "\ufffd")
	}
	if err != nil {
		if v.LastLine = err.Error(); v.ExitCode == 0 {
			v.ExitCode = -1
		}
	}
	v.LastLine = v.LastLine[:min(len(v.LastLine), lastLineMost)]
	return v
}

// reference is the candidate whose answers are the measure: side a of a comparison,
// else the baseline of the same engine. "" = the candidate is it.
func (p *Plan) reference(c config.Candidate) string {
	for _, other := range p.Candidates {
		if other.Index == 0 && (p.AB != nil || other.Engine == c.Engine) {
			if other.ID == c.ID {
				return ""
			}
			return other.ID
		}
	}
	return ""
}

// equivalence judges the answers of a candidate; nil = not asked for, or the
// candidate never came to answer.
func (p *Plan) equivalence(s *State, c config.Candidate) *result.Equivalence {
	a := s.candidate(c.ID).Answers
	if p.Equivalence == nil || a == nil {
		return nil
	}
	e := &result.Equivalence{Reference: p.reference(c), Prompts: len(a.Texts), Tokens: p.Equivalence.Tokens, TokensBy: a.TokensBy,
		MinAgreement: p.Equivalence.MinAgreement, Command: a.Command, Answers: a.File}
	if a.Error != "" {
		e.Reason = "its answers could not be had: " + a.Error
		return e
	}
	passed := true
	if e.Reference != "" {
		ref := s.candidate(e.Reference).Answers
		if ref == nil || ref.Error != "" || len(ref.Tokens) != len(a.Tokens) || ref.TokensBy != a.TokensBy {
			e.Reason = "not compared: " + e.Reference + " gave no answers"
			return e
		}
		agreement, same := agree(ref.Tokens, a.Tokens)
		e.Agreement, e.Identical = &agreement, same
		if agreement < e.MinAgreement {
			passed = false
			e.Reason = fmt.Sprintf("its greedy answers agree with those of %s in %.0f %% of the first %d tokens, at least %.0f %% are asked for", e.Reference, 100*agreement, e.Tokens, 100*e.MinAgreement)
		}
	}
	if v := a.Command; v != nil && v.ExitCode != 0 {
		passed = false
		e.Reason = strings.TrimPrefix(e.Reason+fmt.Sprintf("; the evaluation command ended with exit code %d: %s", v.ExitCode, v.LastLine), "; ")
	}
	e.Passed = &passed
	return e
}

// agree is the share of tokens before the first difference, the mean over answers,
// and the number of answers without one. After the first different token two greedy
// answers go ways of their own, so that later agreement says nothing.
func agree(ref, other [][]string) (share float64, same int) {
	for i := range ref {
		most := max(len(ref[i]), len(other[i]))
		n := 0
		for n < min(len(ref[i]), len(other[i])) && ref[i][n] == other[i][n] {
			n++
		}
		if n == most {
			same++
			share++
			continue
		}
		share += float64(n) / float64(most)
	}
	return share / float64(max(len(ref), 1)), same
}
