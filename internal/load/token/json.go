package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Limits on a tokenizer file. The largest known have 34 MB and 262,144 tokens.
const (
	MaxFileBytes = 256 << 20
	MaxVocab     = 1 << 22
)

// component is any normalizer, pre-tokenizer, post-processor or decoder of a
// tokenizer.json: each type reads the fields that it knows.
type component struct {
	Type          string      `json:"type"`
	Normalizers   []component `json:"normalizers"`
	PreTokenizers []component `json:"pretokenizers"`
	Processors    []component `json:"processors"`
	Decoders      []component `json:"decoders"`

	Pattern struct {
		String *string `json:"String"`
		Regex  *string `json:"Regex"`
	} `json:"pattern"`
	Behavior string `json:"behavior"`
	Invert   *bool  `json:"invert"`

	AddPrefixSpace   *bool  `json:"add_prefix_space"`
	UseRegex         *bool  `json:"use_regex"`
	Replacement      string `json:"replacement"`
	PrependScheme    string `json:"prepend_scheme"`
	Split            *bool  `json:"split"`
	IndividualDigits *bool  `json:"individual_digits"`
	Delimiter        string `json:"delimiter"`
	Length           int    `json:"length"`

	Content             string `json:"content"`
	Prepend             string `json:"prepend"`
	StripLeft           *bool  `json:"strip_left"`
	StripRight          *bool  `json:"strip_right"`
	Lowercase           *bool  `json:"lowercase"`
	StripAccents        *bool  `json:"strip_accents"`
	CleanText           *bool  `json:"clean_text"`
	HandleChineseChars  *bool  `json:"handle_chinese_chars"`
	PrecompiledCharsMap string `json:"precompiled_charsmap"`

	Start   int    `json:"start"`
	Stop    int    `json:"stop"`
	Prefix  string `json:"prefix"`
	Suffix  string `json:"suffix"`
	Cleanup *bool  `json:"cleanup"`

	Single        []templateItem             `json:"single"`
	SpecialTokens map[string]templateSpecial `json:"special_tokens"`
	Cls           *namedID                   `json:"cls"`
	Sep           *namedID                   `json:"sep"`
}

func isTrue(p *bool, otherwise bool) bool {
	if p == nil {
		return otherwise
	}
	return *p
}

type templateItem struct {
	SpecialToken *struct {
		ID string `json:"id"`
	} `json:"SpecialToken"`
	Sequence *struct {
		ID string `json:"id"`
	} `json:"Sequence"`
}

type templateSpecial struct {
	IDs []int `json:"ids"`
}

// namedID is a token and its id, written as a list of two.
type namedID struct{ ID int }

func (n *namedID) UnmarshalJSON(raw []byte) error {
	var pair []json.RawMessage
	if err := json.Unmarshal(raw, &pair); err != nil {
		return err
	}
	if len(pair) != 2 {
		return errors.New("expected [token, id]")
	}
	return json.Unmarshal(pair[1], &n.ID)
}

type document struct {
	AddedTokens   []addedToken `json:"added_tokens"`
	Normalizer    *component   `json:"normalizer"`
	PreTokenizer  *component   `json:"pre_tokenizer"`
	PostProcessor *component   `json:"post_processor"`
	Decoder       *component   `json:"decoder"`
	Model         *modelText   `json:"model"`
	Config        struct {
		Pattern string `json:"pattern"`
	} `json:"config"` // of a tekken.json
}

type modelText struct {
	Type   string          `json:"type"`
	Vocab  json.RawMessage `json:"vocab"`
	Merges mergeList       `json:"merges"`

	Dropout       *float64 `json:"dropout"`
	UnkToken      *string  `json:"unk_token"`
	UnkID         *int     `json:"unk_id"`
	SubwordPrefix *string  `json:"continuing_subword_prefix"`
	WordSuffix    *string  `json:"end_of_word_suffix"`
	FuseUnk       bool     `json:"fuse_unk"`
	ByteFallback  bool     `json:"byte_fallback"`
	IgnoreMerges  bool     `json:"ignore_merges"`
	MaxInputChars *int     `json:"max_input_chars_per_word"`
}

// mergeList reads both forms of a merge: "a b" and ["a", "b"].
type mergeList [][2]string

func (m *mergeList) UnmarshalJSON(raw []byte) error {
	var pairs [][]string
	if json.Unmarshal(raw, &pairs) == nil {
		for i, p := range pairs {
			if len(p) != 2 {
				return fmt.Errorf("model.merges[%d] has %d parts; expected 2", i, len(p))
			}
			*m = append(*m, [2]string{p[0], p[1]})
		}
		return nil
	}
	var lines []string
	if err := json.Unmarshal(raw, &lines); err != nil {
		return errors.New(`model.merges: expected a list of "a b" or of ["a", "b"]`)
	}
	for i, line := range lines {
		at := slices.Index([]byte(line), ' ')
		if at < 0 || slices.Index([]byte(line[at+1:]), ' ') >= 0 {
			return fmt.Errorf("model.merges[%d] is %q; expected two tokens with one space between", i, line)
		}
		*m = append(*m, [2]string{line[:at], line[at+1:]})
	}
	return nil
}

// parseJSON builds a tokenizer from a tokenizer.json.
func parseJSON(raw []byte) (*Tokenizer, error) {
	var d document
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, fmt.Errorf("%w; expected a tokenizer.json", err)
	}
	if d.Model == nil && d.Config.Pattern != "" {
		return parseTekken(raw)
	}
	if d.Model == nil {
		return nil, errors.New("no model; expected a tokenizer.json of the Hugging Face tokenizers library")
	}
	t := &Tokenizer{}
	if err := t.pipeline(&d); err != nil {
		return nil, err
	}
	vocab, err := t.readModel(d.Model)
	if err != nil {
		return nil, err
	}
	return t, t.addTokens(d.AddedTokens, vocab)
}

func (t *Tokenizer) pipeline(d *document) (err error) {
	if d.Normalizer != nil {
		if t.normalize, err = d.Normalizer.normalizer(0); err != nil {
			return err
		}
	}
	if d.PreTokenizer != nil {
		if t.stages, err = d.PreTokenizer.splitters(0); err != nil {
			return err
		}
	}
	if d.PostProcessor != nil {
		if err = t.template(d.PostProcessor, 0); err != nil {
			return err
		}
	}
	if d.Decoder != nil {
		t.decoder, err = d.Decoder.decoder(0)
	}
	return err
}

// template collects what a post-processor puts around a single text.
func (t *Tokenizer) template(c *component, depth int) error {
	switch c.Type {
	case "Sequence":
		if depth > maxNesting {
			return errors.New("post-processors nested too deep")
		}
		for i := range c.Processors {
			if err := t.template(&c.Processors[i], depth+1); err != nil {
				return err
			}
		}
		return nil
	case "ByteLevel":
		return nil
	case "BertProcessing", "RobertaProcessing":
		if c.Cls == nil || c.Sep == nil {
			return fmt.Errorf("post_processor %s: expected cls and sep", c.Type)
		}
		t.before, t.after = append([]int{c.Cls.ID}, t.before...), append(t.after, c.Sep.ID)
		return nil
	case "TemplateProcessing":
		return t.templateItems(c)
	}
	return fmt.Errorf("post_processor.type %q is not known; expected Sequence, ByteLevel, BertProcessing, RobertaProcessing or TemplateProcessing", c.Type)
}

func (t *Tokenizer) templateItems(c *component) error {
	var sides [2][]int
	texts := 0
	for _, item := range c.Single {
		switch {
		case item.Sequence != nil:
			texts++
		case item.SpecialToken != nil:
			s, ok := c.SpecialTokens[item.SpecialToken.ID]
			if !ok {
				return fmt.Errorf("post_processor: %q is not in special_tokens", item.SpecialToken.ID)
			}
			side := min(texts, 1)
			sides[side] = append(sides[side], s.IDs...)
		}
	}
	if texts != 1 {
		return fmt.Errorf("post_processor: the text stands %d times in the template for one text; expected once", texts)
	}
	t.before, t.after = append(sides[0], t.before...), append(t.after, sides[1]...)
	return nil
}

// setTokens fills the table of tokens by id.
func (t *Tokenizer) setTokens(vocab map[string]int32) error {
	if len(vocab) > MaxVocab {
		return fmt.Errorf("model.vocab has %d tokens; expected at most %d", len(vocab), MaxVocab)
	}
	for token, id := range vocab {
		if err := t.setToken(id, token); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tokenizer) setToken(id int32, token string) error {
	if id < 0 || id >= MaxVocab {
		return fmt.Errorf("token %q has the id %d; expected 0 to %d", token, id, MaxVocab-1)
	}
	if n := int(id) + 1; n > len(t.tokens) {
		t.tokens = slices.Grow(t.tokens, n-len(t.tokens))[:n]
	}
	if t.tokens[id] == "" && token != "" {
		t.known++
	}
	t.tokens[id] = token
	return nil
}

// addTokens takes the added tokens in. A token that the vocabulary has keeps
// the vocabulary's id.
func (t *Tokenizer) addTokens(added []addedToken, vocab map[string]int32) error {
	var plain, normal []addedToken
	for _, special := range []bool{true, false} { // of two with the same text the special one counts
		for _, a := range added {
			if a.Special != special {
				continue
			}
			if id, ok := vocab[a.Content]; ok {
				a.ID = int(id)
			}
			if a.ID < 0 || a.ID >= MaxVocab {
				return fmt.Errorf("added token %q has the id %d; expected 0 to %d", a.Content, a.ID, MaxVocab-1)
			}
			shown := a.Content
			if isTrue(a.Normalized, !a.Special) {
				shown = t.spelled(shown)
				normal = append(normal, a)
			} else {
				plain = append(plain, a)
			}
			if err := t.setToken(int32(a.ID), shown); err != nil {
				return err
			}
		}
	}
	if len(plain) > 0 {
		t.added = newAddedTokens(plain, func(s string) string { return s })
	}
	if len(normal) > 0 {
		t.normalized = newAddedTokens(normal, t.spelled)
	}
	return nil
}

// spelled is a text as the normalizer leaves it.
func (t *Tokenizer) spelled(s string) string {
	if t.normalize == nil {
		return s
	}
	return t.normalize(s)
}
