package llamacpp

import (
	"regexp"
	"slices"
	"strings"

	"llmdyno/internal/engine"
)

// Bounds of one help text. That of 0.7.0 has 60 KB and some 260 options.
const (
	maxHelpBytes   = 4 << 20
	maxHelpOptions = 10_000
	maxHelpText    = 16 << 10
)

// textColumn is where the help text of an option begins, on its own line when
// the spellings are too long.
const textColumn = 40

var (
	section  = regexp.MustCompile(`^-{3,} (.+) params -{3,}$`)
	spelling = regexp.MustCompile(`^--?[A-Za-z][A-Za-z0-9_.-]*`)
	// prose is a sentence where the value names should stand.
	prose = regexp.MustCompile(`^[a-z]\S* |^[A-Z]\S* .*[a-z]`)
	// listed are the values that the text of an option names.
	listed = regexp.MustCompile(`allowed values: ([a-z0-9_]+(?:, [a-z0-9_]+)*)`)
)

// removedText begins the help of an option that is still listed but ends the
// start with an error.
const removedText = "the argument has been removed"

// parseHelp reads this server's own form of help: sections between dashes, the
// spellings of an option at the left edge parted by commas, its value name, and
// its text from column 40 on, there or on the lines below. Options that the
// text says are removed count as not defined: the server refuses them.
func parseHelp(text string) engine.HelpFlags {
	if len(text) > maxHelpBytes {
		text = text[:maxHelpBytes]
	}
	flags := engine.HelpFlags{}
	lines := strings.Split(strings.ReplaceAll(text, "\r", ""), "\n")
	group := ""
	for i := 0; i < len(lines) && len(flags) < maxHelpOptions; {
		if m := section.FindStringSubmatch(lines[i]); m != nil {
			group = m[1]
		}
		f, ok := definition(lines[i])
		i++
		if !ok {
			continue
		}
		for ; i < len(lines) && strings.HasPrefix(lines[i], strings.Repeat(" ", textColumn)); i++ {
			if len(f.Text) < maxHelpText {
				f.Text += " " + strings.TrimSpace(lines[i])
			}
		}
		finish(&f, group)
		if strings.HasPrefix(f.Text, removedText) {
			continue
		}
		for _, option := range f.All {
			if _, seen := flags[option]; !seen {
				flags[option] = f
			}
		}
	}
	return flags
}

// definition reads the line on which an option begins.
func definition(line string) (f engine.HelpFlag, ok bool) {
	rest := line
	for {
		word := spelling.FindString(rest)
		if word == "" {
			return f, false
		}
		f.All = append(f.All, word)
		rest = rest[len(word):]
		after, more := strings.CutPrefix(rest, ",")
		if !more {
			break
		}
		rest = strings.TrimLeft(after, " ")
	}
	if rest != "" && rest[0] != ' ' {
		return f, false
	}
	if !strings.HasPrefix(rest, "  ") {
		f.Metavar, rest, _ = strings.Cut(strings.TrimPrefix(rest, " "), "  ")
		if prose.MatchString(f.Metavar) {
			return f, false // a sentence that begins with an option
		}
	}
	f.Text = strings.TrimSpace(rest)
	f.Option = f.All[0]
	if i := slices.IndexFunc(f.All, func(s string) bool { return strings.HasPrefix(s, "--") }); i >= 0 {
		f.Option = f.All[i]
	}
	return f, true
}

func finish(f *engine.HelpFlag, group string) {
	f.Group = group
	f.Text = strings.TrimSpace(f.Text)
	f.Choices = choices(f.Metavar, f.Text)
	f.Default = defaultOf(f.Text)
}

// choices reads [on|off|auto], {none,layer} and <0|1>, or the list in the text.
func choices(value, text string) []string {
	if n := len(value); n > 2 {
		switch value[:1] + value[n-1:] {
		case "[]", "<>":
			if strings.Contains(value, "|") {
				return strings.Split(value[1:n-1], "|")
			}
		case "{}":
			return strings.Split(value[1:n-1], ",")
		}
	}
	if m := listed.FindStringSubmatch(text); m != nil {
		return strings.Split(m[1], ", ")
	}
	return nil
}

// defaultOf reads "(default: 0, 0 = loaded from model)" and "(default: -1; -1 =
// disabled)": the value before the comment that follows it.
func defaultOf(text string) string {
	i := strings.LastIndex(text, "(default: ")
	if i < 0 {
		return ""
	}
	value := text[i+len("(default: "):]
	open := 1
	for j, c := range value {
		switch c {
		case '(':
			open++
		case ')':
			open--
		}
		if open == 0 {
			value, _, _ = strings.Cut(value[:j], ", ")
			value, _, _ = strings.Cut(value, "; ")
			return strings.Trim(value, `'"`)
		}
	}
	return ""
}
