package result

// Equivalence says whether a candidate answers as its reference does, and as an
// evaluation command demands.
type Equivalence struct {
	Reference string `json:"reference,omitempty"` // the candidate whose answers are the measure; "" = this one is
	Prompts   int    `json:"prompts"`
	Tokens    int    `json:"tokens"` // compared of each answer, at most
	// TokensBy says what a token is here: "tokenizer", or "words" where there is none.
	TokensBy string `json:"tokens_by"`
	// Agreement is the share of tokens before the first difference, the mean over
	// prompts, 0 to 1; nil = not compared.
	Agreement    *float64 `json:"agreement,omitempty"`
	Identical    int      `json:"identical"` // answers without a difference
	MinAgreement float64  `json:"min_agreement"`
	// Command is what the evaluation command said; nil = there is none.
	Command *Evaluation `json:"command,omitempty"`
	Passed  *bool       `json:"passed,omitempty"` // nil = could not be judged; Reason says why
	Reason  string      `json:"reason,omitempty"`
	Answers string      `json:"answers,omitempty"` // file
}

// Evaluation is the end of an evaluation command.
type Evaluation struct {
	Command  string  `json:"command"`
	ExitCode int     `json:"exit_code"`
	LastLine string  `json:"last_line,omitempty"` // of its output
	TookS    float64 `json:"took_s"`
}

// failed says that the answers differ too much for the row to win.
func (e *Equivalence) failed() bool { return e != nil && e.Passed != nil && !*e.Passed }
