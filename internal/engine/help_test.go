package engine

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const argparseHelp = `usage: launch_server.py [-h] [--usage-only X]

Serve a model. The option --described-only is told here and defines nothing.

options:
  -h, --help            show this help message and exit
  --model-path MODEL_PATH, --model MODEL_PATH
                        Path of the model. Once --prose-only was here. (default:
                        None)
  --schedule-policy {lpm,fcfs,
                     priority}
                        Policy (one of three). (default: fcfs)
  --enable-x, --no-enable-x
                        Switch. (default: True)
  --sizes SIZES [SIZES ...]
                        Sizes.

                        --indented-prose comes after a blank line.
  --mean Q              short (default: (1, 2))
  --removed-option was removed in v0.5 and does nothing
  --lower path          a value in lower case

Cache:
  What is cached.

  --page-size=N         Tokens a page; use --other-prose for more.
  -O0                   fast start
`

func TestParseArgparse(t *testing.T) {
	got := ParseArgparse(argparseHelp)
	want := []string{"--enable-x", "--help", "--lower", "--mean", "--model", "--model-path",
		"--no-enable-x", "--page-size", "--schedule-policy", "--sizes", "-O0", "-h"}
	if d := cmp.Diff(want, sortedOptions(got)); d != "" {
		t.Errorf("options (-want +got):\n%s", d)
	}
	checks := map[string]HelpFlag{
		"--model": {Option: "--model-path", All: []string{"--model-path", "--model"}, Metavar: "MODEL_PATH",
			Default: "None", Group: "options", Text: "Path of the model. Once --prose-only was here. (default: None)"},
		"--schedule-policy": {Option: "--schedule-policy", All: []string{"--schedule-policy"}, Metavar: "{lpm,fcfs,priority}",
			Choices: []string{"lpm", "fcfs", "priority"}, Default: "fcfs", Group: "options", Text: "Policy (one of three). (default: fcfs)"},
		"--no-enable-x": {Option: "--enable-x", All: []string{"--enable-x", "--no-enable-x"}, Default: "True", Group: "options", Text: "Switch. (default: True)"},
		"--sizes": {Option: "--sizes", All: []string{"--sizes"}, Metavar: "SIZES [SIZES ...]", Group: "options",
			Text: "Sizes. --indented-prose comes after a blank line."},
		"--mean":      {Option: "--mean", All: []string{"--mean"}, Metavar: "Q", Default: "(1, 2)", Group: "options", Text: "short (default: (1, 2))"},
		"--page-size": {Option: "--page-size", All: []string{"--page-size"}, Metavar: "N", Group: "Cache", Text: "Tokens a page; use --other-prose for more."},
	}
	for option, want := range checks {
		if d := cmp.Diff(want, got[option]); d != "" {
			t.Errorf("%s (-want +got):\n%s", option, d)
		}
	}
}

// A help that is only a usage block with a list of groups still tells what the
// engine accepts.
func TestParseArgparseUsageOnly(t *testing.T) {
	got := ParseArgparse(`usage: vllm serve [model_tag] [--headless] [-h]
                  [--api-key API_KEY [API_KEY ...]]
                  [--dtype {auto,half}] [--x | --no-x | -ep]

Config Groups:
  positional arguments
  options
  CacheConfig              Says --prose and [--bracketed-prose].
`)
	want := []string{"--api-key", "--dtype", "--headless", "--no-x", "--x", "-ep", "-h"}
	if d := cmp.Diff(want, sortedOptions(got)); d != "" {
		t.Errorf("options (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"auto", "half"}, got["--dtype"].Choices); d != "" {
		t.Error(d)
	}
	if got["-ep"].Option != "--x" {
		t.Errorf("-ep belongs to %q", got["-ep"].Option)
	}
}

func TestParseClick(t *testing.T) {
	plain := `Usage: trtllm-serve serve [OPTIONS] MODEL

  Serve MODEL. The option --described is prose.

Options:
  --tokenizer TEXT                Path. (--prose) [default: none]
  --backend [pytorch|tensorrt|trt]
                                  :tag:` + "`beta`" + ` Backend.
  --tensor_parallel_size, --tp_size INTEGER
                                  Size.
  --trust_remote_code             Flag.
  --chunk / --no-chunk            Pair.
  --fraction FLOAT RANGE          A share.  [0<=x<=1]
  --help                          Show this message and exit.
`
	boxed := `
 Usage: trtllm-serve serve [OPTIONS] MODEL

╭─ Options ──────────────────────────────────────────────────────────╮
│ *  --tokenizer              TEXT                  Path. (--prose)  │
│                                                   --wrapped prose  │
│                                                   [default: none]  │
│    --backend                [pytorch|tensorrt|trt]  :tag: Backend. │
│    --tensor_parallel_size,--tp_size  INTEGER      Size.            │
│    --trust_remote_code                            Flag.            │
│    --chunk                  --no-chunk            Pair.            │
│    --fraction               FLOAT RANGE           A share.         │
│    --help                                         Show this.       │
╰────────────────────────────────────────────────────────────────────╯
`
	want := []string{"--backend", "--chunk", "--fraction", "--help", "--no-chunk",
		"--tensor_parallel_size", "--tokenizer", "--tp_size", "--trust_remote_code"}
	for name, text := range map[string]string{"plain": plain, "boxed": boxed} {
		t.Run(name, func(t *testing.T) {
			got := ParseClick(text)
			if d := cmp.Diff(want, sortedOptions(got)); d != "" {
				t.Errorf("options (-want +got):\n%s", d)
			}
			if d := cmp.Diff([]string{"pytorch", "tensorrt", "trt"}, got["--backend"].Choices); d != "" {
				t.Error(d)
			}
			if f := got["--tp_size"]; f.Metavar != "INTEGER" || f.Option != "--tensor_parallel_size" {
				t.Errorf("--tp_size: %+v", f)
			}
			if got["--trust_remote_code"].Metavar != "" {
				t.Errorf("--trust_remote_code takes no value: %+v", got["--trust_remote_code"])
			}
			if f := got["--tokenizer"]; f.Group != "Options" || f.Default != "none" {
				t.Errorf("--tokenizer: %+v", f)
			}
		})
	}
}

func TestParseHelpBounds(t *testing.T) {
	for name, text := range map[string]string{
		"empty":   "",
		"prose":   "Pass --tp-size 8.\n  Also --dp-size was removed.\n",
		"open":    "options:\n  --x {a,\n" + strings.Repeat("    b,\n", 10_000),
		"not cli": "<html>-- > </html>\n  --\n  ---\n  -",
	} {
		if got := ParseArgparse(text); len(got) != 0 {
			t.Errorf("%s: argparse found %v", name, sortedOptions(got))
		}
		if got := ParseClick(text); len(got) != 0 {
			t.Errorf("%s: click found %v", name, sortedOptions(got))
		}
	}
	var huge strings.Builder
	for i := range 400_000 {
		huge.WriteString("  --option-" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + " X   text\n")
	}
	if got := ParseArgparse(huge.String()); len(got) == 0 || len(got) > maxHelpOptions {
		t.Errorf("huge help: %d options", len(got))
	}
}

func sortedOptions(h HelpFlags) []string {
	var out []string
	for o := range h {
		out = append(out, o)
	}
	slices.Sort(out)
	return out
}

func FuzzParseArgparse(f *testing.F) { fuzzHelp(f, ParseArgparse) }

func FuzzParseClick(f *testing.F) { fuzzHelp(f, ParseClick) }

func fuzzHelp(f *testing.F, parse func(string) HelpFlags) {
	f.Add(argparseHelp)
	f.Add("usage: x [--a {b,c}] [-h]\n")
	f.Add("╭─ Options ─╮\n│ --x -y TEXT  z │\n╰╯")
	f.Fuzz(func(t *testing.T, text string) {
		for option, flag := range parse(text) {
			if option == "" || option[0] != '-' || !slices.Contains(flag.All, option) || !slices.Contains(flag.All, flag.Option) {
				t.Fatalf("%q: %+v", option, flag)
			}
			if !strings.Contains(text, option) {
				t.Fatalf("%q stands nowhere in the text", option)
			}
		}
	})
}
