package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Args renders settings as the words of a command line, in their order. null
// leaves the option out; true is the option alone; false is the option's
// negative form, or nothing when it has none; a list is the option and one word
// an element, unless the option takes JSON; a map is the option and its JSON;
// anything else is the option and the text.
func (e *Engine) Args(s Settings) []string {
	args := make([]string, 0, 2*len(s))
	for _, x := range s {
		args = e.appendArg(args, x)
	}
	return args
}

func (e *Engine) appendArg(args []string, x Setting) []string {
	f, _ := e.Flag(x.Key)
	switch x.Value.Kind {
	case ValueNull:
		return args
	case ValueBool:
		switch {
		case x.Value.Text == "true":
			return append(args, e.Option(x.Key))
		case f.Negative != "":
			return append(args, f.Negative)
		}
		return args
	case ValueList:
		if f.Type == FlagJSON {
			break
		}
		if len(x.Value.List) == 0 {
			return args
		}
		args = append(args, e.Option(x.Key))
		for _, v := range x.Value.List {
			args = append(args, v.Text)
		}
		return args
	}
	return append(args, e.Option(x.Key), x.Value.Text)
}

// ArgsUpstream renders settings exactly as the upstream cookbook does: the
// option is "--" and the key by the engine's rule for underscores, null and
// false leave it out, true is the option alone, and a list or a map is one word
// in the notation of Python's str. It reproduces two defects on purpose (a
// default-on option cannot be switched off, lists are not command-line lists),
// so that old commands can be compared word for word.
func (e *Engine) ArgsUpstream(s Settings) []string {
	args := make([]string, 0, 2*len(s))
	for _, x := range s {
		switch {
		case x.Value.Kind == ValueNull, x.Value.Kind == ValueBool && x.Value.Text != "true":
		case x.Value.Kind == ValueBool:
			args = append(args, e.spell(x.Key))
		default:
			args = append(args, e.spell(x.Key), pythonText(x.Value))
		}
	}
	return args
}

// spell is the option of a key by the engine's rule alone.
func (e *Engine) spell(key string) string {
	if e.Launch.Underscores {
		return "--" + key
	}
	return "--" + strings.ReplaceAll(key, "_", "-")
}

// pythonText is the value in the notation of Python's str.
func pythonText(v Value) string {
	if v.Kind != ValueList && v.Kind != ValueMap {
		return v.Text
	}
	dec := json.NewDecoder(strings.NewReader(v.Text))
	dec.UseNumber()
	var b strings.Builder
	if err := pythonValue(&b, dec, 0); err != nil {
		return v.Text
	}
	return b.String()
}

var errDeep = errors.New("nested deeper than 64 levels")

// pythonValue copies the next JSON value of dec in Python's notation, keeping
// the order of keys.
func pythonValue(b *strings.Builder, dec *json.Decoder, level int) error {
	if level > 64 {
		return errDeep
	}
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	switch t := tok.(type) {
	case json.Delim:
		return pythonItems(b, dec, t, level)
	case string:
		b.WriteString(pythonString(t))
	case bool:
		if t {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	case nil:
		b.WriteString("None")
	default:
		fmt.Fprint(b, t)
	}
	return nil
}

func pythonItems(b *strings.Builder, dec *json.Decoder, open json.Delim, level int) error {
	b.WriteRune(rune(open))
	for n := 0; dec.More(); n++ {
		if n > 0 {
			b.WriteString(", ")
		}
		if open == '{' {
			if err := pythonValue(b, dec, level+1); err != nil {
				return err
			}
			b.WriteString(": ")
		}
		if err := pythonValue(b, dec, level+1); err != nil {
			return err
		}
	}
	end, err := dec.Token()
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	if err == nil {
		fmt.Fprint(b, end)
	}
	return err
}

// pythonString quotes as Python's repr: single quotes, unless the text holds
// one and no double quote.
func pythonString(s string) string {
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	var b strings.Builder
	b.WriteByte(quote)
	for _, r := range s {
		switch {
		case r == rune(quote) || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte(quote)
	return b.String()
}
