package tokenspeed

import (
	"regexp"
	"strings"
	"time"

	"llmdyno/internal/engine"
)

// help asks the two programs behind the command. The command's own help holds
// nothing but --headless; the flags are those of the engine and of the gateway.
func help() engine.Help {
	return engine.Help{
		Args: [][]string{{"--help"}},
		Commands: [][]string{
			{"python", "-m", "smg_grpc_servicer.tokenspeed", "--help"},
			{"python", "-m", "smg", "launch", "--help"},
		},
		Timeout: 120 * time.Second, // importing torch and the kernels comes first
		Parse:   parseHelp,
	}
}

// ownOptions are taken by the serve command itself, before it hands the rest to
// engine and gateway, or are renamed by it on the way. No help lists them.
var ownOptions = []string{
	"--model", "--model-path", "--tp", "--host", "--port", "--chat-template", "--tool-call-parser", "--reasoning-parser",
	"--control-port", "--engine-startup-timeout", "--gateway-startup-timeout", "--drain-timeout",
	"--no-tokenizer-cache-enable-l0", "--no-tokenizer-cache-enable-l1",
}

// parseHelp reads the engine's help, which argparse writes without groups or
// defaults, and the gateway's, which is clap's when the Rust binary is asked and
// argparse's with groups and defaults when its Python launcher is. The options
// that the command itself takes are added to either. The command's own help
// lists none of them and yields nothing.
func parseHelp(text string) engine.HelpFlags {
	found := engine.ParseArgparse(fromClap(text))
	if wrapperOnly(found) {
		return engine.HelpFlags{}
	}
	for option, f := range found {
		if m := possible.FindStringSubmatch(f.Text); m != nil && f.Choices == nil {
			f.Choices = strings.Split(m[1], ", ")
			found[option] = f
		}
	}
	for _, option := range ownOptions {
		if !found.Has(option) {
			found[option] = engine.HelpFlag{Option: option, All: []string{option}, Group: "serve"}
		}
	}
	return found
}

// possible is how clap lists the values of an option.
var possible = regexp.MustCompile(`\[possible values: ([^\]\s]+(?:, [^\]\s]+)*)\]`)

// wrapperOnly says that a help lists nothing beyond what the serve command's
// own parser knows.
func wrapperOnly(found engine.HelpFlags) bool {
	for option := range found {
		if option != "-h" && option != "--help" && option != "--headless" {
			return false
		}
	}
	return true
}

// clapLine is an option of clap's help: a long one stands at column six, where
// the column of short ones ends.
var clapLine = regexp.MustCompile(`(?m)^ {6}(--[A-Za-z0-9])`)

// fromClap moves the options of a clap help to the column where argparse puts
// them. Only clap writes "[OPTIONS]" into its usage, so that the wrapped lines
// of another help stay where they are.
func fromClap(text string) string {
	if !clapUsage.MatchString(text) {
		return text
	}
	return clapLine.ReplaceAllString(text, "  $1")
}

var clapUsage = regexp.MustCompile(`(?m)^Usage: .*\[OPTIONS\]`)
