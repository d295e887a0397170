package vllm

import (
	"regexp"
	"slices"
	"strings"

	"llmdyno/internal/engine"
)

// shortUsage is the usage line of the short help of newer versions, which names
// no option: vllm serve [model_tag] [options].
var shortUsage = regexp.MustCompile(`(?m)^usage: vllm serve .*\[options\]\s*$`)

// shortGroups are the headings that the short help has.
var shortGroups = []string{"options", "optional arguments", "positional arguments", "Config Groups"}

// parseHelp reads every form of this engine's help: the whole list (--help=all,
// or --help before there were groups), one group or a search (--help=WORD),
// and the plain help, whose usage names every option or, in newer versions,
// only a few of them. That last form tells nothing of the others, so it counts
// as no help at all.
func parseHelp(text string) engine.HelpFlags {
	flags := engine.ParseArgparse(text)
	if shortUsage.MatchString(text) && !grouped(flags) {
		return engine.HelpFlags{}
	}
	for option, f := range engine.ParseArgparse(usage(text)) {
		if !flags.Has(option) {
			flags[option] = f
		}
	}
	return flags
}

// grouped says that an option stands under a heading of its own group.
func grouped(flags engine.HelpFlags) bool {
	for _, f := range flags {
		if f.Group != "" && !slices.Contains(shortGroups, f.Group) {
			return true
		}
	}
	return false
}

// usage cuts the usage block out of a help text: from its first line to the
// first blank one.
func usage(text string) string {
	start := strings.Index(text, "usage:")
	if start < 0 || start > 0 && text[start-1] != '\n' {
		return ""
	}
	block, _, _ := strings.Cut(strings.ReplaceAll(text[start:], "\r\n", "\n"), "\n\n")
	return block
}

func join(groups ...[]string) []string { return slices.Concat(groups...) }
