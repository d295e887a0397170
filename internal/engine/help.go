package engine

import (
	"regexp"
	"slices"
	"strings"
)

// Bounds of one help text. The largest help seen, that of an engine with 472
// options, is below 300 KiB; what lies beyond these bounds is left unread.
const (
	maxHelpBytes   = 4 << 20
	maxHelpOptions = 10_000
	maxHelpJoin    = 40 // lines of one wrapped definition
	maxHelpText    = 16 << 10
)

// Has says whether the help defines an option, in exactly this spelling: an
// engine that defines --tp_size may refuse --tp-size.
func (h HelpFlags) Has(option string) bool {
	_, ok := h[option]
	return ok
}

// HelpFlag finds what a help text says of a flag, under the spelling that the
// command line would carry. The boolean is false when this help does not
// define it, even if it defines another spelling.
func (e *Engine) HelpFlag(h HelpFlags, key string) (HelpFlag, bool) {
	f, ok := h[e.Option(key)]
	return f, ok
}

// ParseArgparse reads the help of a Python argparse program: option
// definitions at an indentation of two, whose help text may stand on the same
// line after two spaces or on deeper lines below. Prose that mentions an option
// defines nothing. A help that holds only the usage block, without a single
// definition other than --help, yields the bracketed options of that block.
// Every spelling of an option is a key of the result. Text beyond 4 MiB is not
// read.
func ParseArgparse(text string) HelpFlags {
	lines := helpLines(text)
	flags := parseHelp(lines, 2)
	if !onlyHelpOption(flags) {
		return flags
	}
	for option, f := range parseUsage(lines) {
		if !flags.Has(option) {
			flags[option] = f
		}
	}
	return flags
}

// ParseClick reads the help of a click program, plain ("Options:" and an
// indentation of two) or in the boxes that rich-click draws. Spellings may be
// parted by a comma, by " / " (an on/off pair) or by columns. Every spelling of
// an option is a key of the result. Text beyond 4 MiB is not read.
func ParseClick(text string) HelpFlags {
	lines := helpLines(text)
	for i, line := range lines {
		lines[i] = unbox(line)
	}
	return parseHelp(lines, 2)
}

// onlyHelpOption says that nothing but the request for help is defined.
func onlyHelpOption(flags HelpFlags) bool {
	for option := range flags {
		if option != "-h" && option != "--help" {
			return false
		}
	}
	return true
}

// escapes are the colours and links that a terminal would swallow.
var escapes = regexp.MustCompile(`\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)`)

func helpLines(text string) []string {
	if len(text) > maxHelpBytes {
		text = text[:maxHelpBytes]
	}
	if strings.IndexByte(text, 0x1b) >= 0 {
		text = escapes.ReplaceAllString(text, "")
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		line = strings.TrimRight(line, " \t\r")
		lines[i] = strings.ReplaceAll(line, "\t", "        ")
	}
	return lines
}

// unbox takes the frame of a rich panel off a line, and gives the heading in
// its upper edge the form of a plain heading. In a panel the option column
// begins one to five columns after the bar; it is moved to an indentation of
// two, deeper lines stay deeper.
func unbox(line string) string {
	rest := strings.TrimLeft(line, " ")
	switch {
	case strings.HasPrefix(rest, "╭") || strings.HasPrefix(rest, "┌") || strings.HasPrefix(rest, "+-"):
		return strings.Trim(rest, "╭╮┌┐─-+ ") + ":"
	case strings.HasPrefix(rest, "╰") || strings.HasPrefix(rest, "└"):
		return ""
	}
	inner, ok := strings.CutPrefix(rest, "│")
	if !ok {
		return line
	}
	inner = strings.TrimRight(strings.TrimSuffix(inner, "│"), " ")
	body := strings.TrimLeft(inner, " ")
	depth := len(inner) - len(body)
	if starred, ok := strings.CutPrefix(body, "*"); ok { // a required option
		body = strings.TrimLeft(starred, " ")
	}
	if depth <= 5 && strings.HasPrefix(body, "-") {
		return "  " + body
	}
	return strings.Repeat(" ", max(depth, 3)) + body
}

// parseHelp collects the definitions at one indentation.
func parseHelp(lines []string, indent int) HelpFlags {
	flags := HelpFlags{}
	group := ""
	for i := 0; i < len(lines) && len(flags) < maxHelpOptions; {
		line := lines[i]
		if name, ok := heading(line); ok {
			group = name
		}
		if depth(line) != indent || !strings.HasPrefix(line[indent:], "-") {
			i++
			continue
		}
		f, next, ok := readDefinition(lines, i, indent)
		i = next
		if !ok {
			continue
		}
		f.Group = group
		for _, option := range f.All {
			if !flags.Has(option) {
				flags[option] = f
			}
		}
	}
	return flags
}

// heading recognises a line at the left edge that ends in a colon, without
// being a usage line.
func heading(line string) (string, bool) {
	name, ok := strings.CutSuffix(line, ":")
	if !ok || name == "" || name[0] == ' ' || len(name) > 80 || isUsage(line) {
		return "", false
	}
	return name, true
}

func isUsage(line string) bool {
	return len(line) >= 6 && strings.EqualFold(line[:6], "usage:")
}

// depth is the number of leading spaces; -1 for an empty line.
func depth(line string) int {
	d := len(line) - len(strings.TrimLeft(line, " "))
	if d == len(line) {
		return -1
	}
	return d
}

// readDefinition reads the definition that begins at line i, with the help text
// below it. next is the first line after it.
func readDefinition(lines []string, i, indent int) (f HelpFlag, next int, ok bool) {
	def := lines[i][indent:]
	next = i + 1
	for next < len(lines) && next-i < maxHelpJoin && unfinished(def) && depth(lines[next]) >= 0 {
		def += strings.TrimLeft(lines[next], " ")
		next++
	}
	f, text, ok := parseDefinition(def)
	var help strings.Builder
	help.WriteString(text)
	for next < len(lines) {
		line := lines[next]
		d := depth(line)
		if d < 0 { // a blank line ends the text unless deeper lines follow
			if next+1 < len(lines) && depth(lines[next+1]) > indent+2 {
				next++
				continue
			}
			break
		}
		if d <= indent {
			break
		}
		if help.Len() < maxHelpText {
			if help.Len() > 0 {
				help.WriteByte(' ')
			}
			help.WriteString(line[d:])
		}
		next++
	}
	if !ok {
		return HelpFlag{}, next, false
	}
	f.Text = help.String()
	f.Default = helpDefault(f.Text)
	return f, next, true
}

// unfinished says that a definition was wrapped: a bracket is open, or a comma
// stands at the end.
func unfinished(def string) bool {
	open := 0
	for i := 0; i < len(def); i++ {
		switch def[i] {
		case '{', '[', '<':
			open++
		case '}', ']', '>':
			open--
		case ' ':
			if open <= 0 && i+1 < len(def) && def[i+1] == ' ' {
				return false // the help text began: brackets in it are prose
			}
		}
	}
	return open > 0 || strings.HasSuffix(def, ",")
}

// parseDefinition reads "--long VALUE, -s VALUE  help text". It refuses a line
// that is not made of spellings and value names only, such as a sentence that
// begins with an option.
func parseDefinition(def string) (f HelpFlag, text string, ok bool) {
	rest := def
	for {
		var word string
		word, rest = optionWord(rest)
		if word == "" {
			return HelpFlag{}, "", false
		}
		f.All = append(f.All, word)
		var value string
		value, rest = metavar(rest)
		if f.Metavar == "" {
			f.Metavar = value
		}
		var more bool
		rest, more = separator(rest)
		if !more {
			break
		}
	}
	switch {
	case rest == "":
	case strings.HasPrefix(rest, "  "):
		text = strings.TrimLeft(rest, " ")
	default:
		return HelpFlag{}, "", false
	}
	f.Option = f.All[0]
	if i := slices.IndexFunc(f.All, isLong); i >= 0 {
		f.Option = f.All[i]
	}
	f.Choices = choices(f.Metavar)
	return f, text, true
}

func isLong(option string) bool { return strings.HasPrefix(option, "--") }

// optionWord cuts one option string off the front.
func optionWord(s string) (word, rest string) {
	if len(s) < 2 || s[0] != '-' {
		return "", s
	}
	i := 0
	for i < len(s) && optionByte(s[i]) {
		i++
	}
	word = s[:i]
	if strings.Trim(word, "-") == "" || strings.HasSuffix(word, ".") {
		return "", s
	}
	return word, s[i:]
}

func optionByte(c byte) bool {
	return c == '-' || c == '_' || c == '.' || c == '+' ||
		'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// separator cuts what parts two spellings; more says that another follows.
func separator(s string) (rest string, more bool) {
	for _, sep := range []string{", ", ",", " / ", "/", " | "} {
		if r, ok := strings.CutPrefix(s, sep); ok && strings.HasPrefix(r, "-") {
			return r, true
		}
	}
	// Columns of a panel: the short spelling in a column of its own.
	if r := strings.TrimLeft(s, " "); len(s)-len(r) >= 2 && strings.HasPrefix(r, "-") {
		if w, after := optionWord(r); w != "" && (after == "" || strings.HasPrefix(after, "  ")) {
			return r, true
		}
	}
	return s, false
}

// metavar cuts the value names after one spelling: "=X", " X", " [X ...]",
// " {a,b}", "  [a|b]" in its own column. A word in lower case counts only when
// it stands alone, so that a sentence is not taken for a list of values.
func metavar(s string) (value, rest string) {
	if r, ok := strings.CutPrefix(s, "="); ok {
		i := wordEnd(r)
		return r[:i], r[i:]
	}
	start := len(s) - len(strings.TrimLeft(s, " "))
	if start == 0 || start == len(s) {
		return "", s
	}
	if start > 1 && !panelValue(s[start:]) {
		return "", s
	}
	end, lower, words := start, 0, 0
	for at := start; at < len(s); {
		i := at + wordEnd(s[at:])
		word := strings.TrimSuffix(s[at:i], ",")
		if !valueWord(word) {
			break
		}
		words++
		if word[0] >= 'a' && word[0] <= 'z' {
			lower++
		}
		end = at + len(word)
		if end < i || end >= len(s) || s[end] != ' ' || end+1 >= len(s) || s[end+1] == ' ' {
			break
		}
		at = end + 1
	}
	if words == 0 || lower > 0 && words > 1 {
		return "", s
	}
	return s[start:end], s[end:]
}

// clickTypes are the value names that click prints.
var clickTypes = regexp.MustCompile(`^(?:TEXT|INTEGER|FLOAT|BOOLEAN|PATH|FILE|FILENAME|DIRECTORY|UUID|CHOICE|\[[^\]]*\||<[A-Z ]+>)`)

// panelValue says that a column of a panel holds a value name rather than the
// help text.
func panelValue(s string) bool { return clickTypes.MatchString(s) }

// wordEnd is the length of the first word, where brackets hold words together.
func wordEnd(s string) int {
	open := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '{', '[', '<':
			open++
		case '}', ']', '>':
			open--
		case ' ':
			if open <= 0 {
				return i
			}
		}
	}
	return len(s)
}

// valueWord says whether a word can name a value: brackets, or capitals with
// digits and marks, or one plain word.
func valueWord(word string) bool {
	if word == "" || word[0] == '-' {
		return false
	}
	if strings.IndexByte("{[<", word[0]) >= 0 {
		return true
	}
	named := false
	for i := 0; i < len(word); i++ {
		switch c := word[i]; {
		case optionByte(c):
			named = named || c != '-' && c != '.'
		case strings.IndexByte("/:|<>[]*=,", c) < 0:
			return false
		}
	}
	return named
}

// choices reads {a,b} and [a|b] out of a value name.
func choices(value string) []string {
	if i := strings.IndexByte(value, '{'); i >= 0 {
		if j := strings.IndexByte(value[i:], '}'); j > 0 {
			return splitChoices(value[i+1:i+j], ",")
		}
	}
	if strings.HasPrefix(value, "[") && strings.HasSuffix(value, "]") && strings.Contains(value, "|") {
		return splitChoices(value[1:len(value)-1], "|")
	}
	return nil
}

func splitChoices(s, sep string) []string {
	var out []string
	for c := range strings.SplitSeq(s, sep) {
		if c = strings.TrimSpace(c); c != "" {
			out = append(out, c)
		}
	}
	return out
}

// helpDefault reads the last "(default: …)" or "[default: …]" of a help text.
func helpDefault(text string) string {
	i := max(strings.LastIndex(text, "(default: "), strings.LastIndex(text, "[default: "))
	if i < 0 {
		return ""
	}
	body := text[i+len("(default: "):]
	open := 1
	for j := 0; j < len(body); j++ {
		switch body[j] {
		case '(', '[':
			open++
		case ')', ']':
			if open--; open == 0 {
				return body[:j]
			}
		}
	}
	return ""
}

// parseUsage reads the bracketed options of the usage block: "[--x X]",
// "[--x | --no-x]". A usage written by hand without them yields nothing.
func parseUsage(lines []string) HelpFlags {
	flags := HelpFlags{}
	i := slices.IndexFunc(lines, isUsage)
	if i < 0 {
		return flags
	}
	var block strings.Builder
	for ; i < len(lines) && depth(lines[i]) >= 0; i++ {
		block.WriteString(strings.TrimLeft(lines[i], " "))
		block.WriteByte(' ')
	}
	for text := block.String(); len(flags) < maxHelpOptions; {
		i := strings.Index(text, "[-")
		if i < 0 {
			break
		}
		end := wordEnd(text[i:])
		addUsage(flags, text[i+1:i+end])
		text = text[i+end:]
	}
	return flags
}

func addUsage(flags HelpFlags, word string) {
	word = strings.TrimSuffix(word, "]")
	f, _, ok := parseDefinition(strings.TrimSpace(word))
	if !ok {
		return
	}
	for _, option := range f.All {
		if !flags.Has(option) {
			flags[option] = f
		}
	}
}
