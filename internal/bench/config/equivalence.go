package config

// Answers is [Equivalence] with its defaults filled in.
type Answers struct {
	Prompts, Tokens int
	MinAgreement    float64
	Words           []string // of the evaluation command; nil = none
	CommandTimeoutS float64
}

// Equivalence is how answers are compared; nil = they are not.
func (f *File) Equivalence() *Answers {
	e := f.Benchmark.Equivalence
	if e == (Equivalence{}) {
		return nil
	}
	a := &Answers{Prompts: or(e.Prompts, 16), Tokens: or(e.Tokens, 32), MinAgreement: 0.5, CommandTimeoutS: or(e.CommandTimeoutS, 600)}
	if e.MinAgreement != nil {
		a.MinAgreement = *e.MinAgreement
	}
	a.Words, _ = splitWords(e.Command) // the check has refused what cannot be split
	return a
}

// equivalence checks that the evaluation command can be read.
func (c *checker) equivalence() {
	const at = "benchmark.equivalence"
	if _, err := splitWords(c.f.Benchmark.Equivalence.Command); err != nil {
		c.errorf(at+".command", "cannot be split into words: %v", err)
	}
}
