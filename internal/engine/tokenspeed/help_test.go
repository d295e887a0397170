package tokenspeed

import (
	"slices"
	"strings"
	"testing"

	"llmdyno/internal/engine"
)

// The forms of help that stand behind the command: the engine's, the gateway's
// by its Python launcher and by its Rust binary, and the command's own.
const (
	engineHelp = `usage: __main__.py [-h] [--model MODEL] [--kv-cache-dtype {auto,fp8}]
                   [--only-in-usage X]
                   [model]

positional arguments:
  model                 model

options:
  -h, --help            show this help message and exit
  --model MODEL, --model-path MODEL
                        Weights. The old --in-prose is gone.
  --trust-remote-code, --no-trust-remote-code
                        Code of the model.
  --kv-cache-dtype {auto,fp8,fp8_e4m3,mxfp8}
                        Cache. "mxfp8" requires
                        --block-size 128.
  --prefix-granularity PREFIX_GRANULARITY, --block-size PREFIX_GRANULARITY
                        Tokens.
  --cudagraph-capture-sizes CUDAGRAPH_CAPTURE_SIZE [CUDAGRAPH_CAPTURE_SIZE ...]
                        Sizes.
  --enable-prefix-caching
                        On.
  --no-enable-prefix-caching
                        Off.
  --attention-config.use-x, --attention_config.use_x [USE_X]
                        Dots.
  --tensor-parallel-size TENSOR_PARALLEL_SIZE, --tp TENSOR_PARALLEL_SIZE
                        Ranks.
`
	launcherHelp = `usage: __main__.py [-h] [--host HOST]
                   [--policy {random,passthrough}]

The router.

Usage:
This starts a router.

Examples:
  # Regular
  python -m smg.launch_router --worker-urls http://a:1 \
    --in-an-example http://b:2

options:
  -h, --help            show this help message and exit

Worker Configuration:
  Settings of workers

  --host HOST           Address (default: 0.0.0.0)
  --worker-urls [WORKER_URLS ...]
                        Workers (default: [])

Prometheus Metrics:
  --prometheus-port PROMETHEUS_PORT
                        Port (default: 29000)
`
	clapHelp = `Launch the router (same as running without subcommand)

Usage: smg launch [OPTIONS]

Options:
  -h, --help
          Print help (see a summary with '-h')

Worker Configuration:
      --host <HOST>
          Address

          [default: 0.0.0.0]

      --worker-urls [<WORKER_URLS>...]
          Workers; see
          --described-only

Routing Policy:
      --policy <POLICY>
          Policy

          [default: cache_aware]
          [possible values: random, round_robin, passthrough]

      --engine-metrics
          Gauges of the engine
`
	serveHelp = `usage: tokenspeed serve [-h] [--headless]

Launch the server.

options:
  -h, --help  show this help message and exit
  --headless  Engine only; --data-parallel-address says where to.
`
)

func TestHelpOfEngine(t *testing.T) {
	got := parseHelp(engineHelp)
	want(t, got, "--model", "--model-path", "--trust-remote-code", "--no-trust-remote-code", "--kv-cache-dtype",
		"--prefix-granularity", "--block-size", "--cudagraph-capture-sizes", "--enable-prefix-caching",
		"--no-enable-prefix-caching", "--attention-config.use-x", "--attention_config.use_x", "--tensor-parallel-size", "--tp",
		// taken by the command itself
		"--control-port", "--tool-call-parser", "--drain-timeout", "--no-tokenizer-cache-enable-l1")
	refuse(t, got, "--in-prose", "--only-in-usage", "--prometheus-port", "--host-typo")
	if c := got["--kv-cache-dtype"].Choices; !slices.Equal(c, []string{"auto", "fp8", "fp8_e4m3", "mxfp8"}) {
		t.Errorf("choices of --kv-cache-dtype: %v", c)
	}
}

func TestHelpOfGateway(t *testing.T) {
	for name, text := range map[string]string{"launcher": launcherHelp, "clap": clapHelp, "clap, CRLF": strings.ReplaceAll(clapHelp, "\n", "\r\n")} {
		got := parseHelp(text)
		want(t, got, "--host", "--worker-urls", "--control-port", "--tool-call-parser")
		refuse(t, got, "--in-an-example", "--described-only", "--kv-cache-dtype")
		if f := got["--host"]; f.Default != "0.0.0.0" || f.Group != "Worker Configuration" {
			t.Errorf("%s: --host has default %q and stands under %q", name, f.Default, f.Group)
		}
	}
	policy := parseHelp(clapHelp)["--policy"]
	if policy.Default != "cache_aware" || policy.Metavar != "<POLICY>" || !slices.Equal(policy.Choices, []string{"random", "round_robin", "passthrough"}) {
		t.Errorf("--policy: %+v", policy)
	}
	if f, ok := parseHelp(clapHelp)["--engine-metrics"]; !ok || f.Metavar != "" {
		t.Errorf("--engine-metrics: %+v, %v", f, ok)
	}
}

// The command's own help lists none of its flags, so it must count as none: a
// file checked against it would have every flag refused.
func TestHelpOfCommandIsNone(t *testing.T) {
	for _, text := range []string{serveHelp, "", "bash: tokenspeed: command not found\n", "Traceback (most recent call last):\nModuleNotFoundError: No module named 'smg'\n"} {
		if got := parseHelp(text); len(got) != 0 {
			t.Errorf("%q yields %d options", text, len(got))
		}
	}
}

func want(t *testing.T, got engine.HelpFlags, options ...string) {
	t.Helper()
	for _, o := range options {
		if !got.Has(o) {
			t.Errorf("%s is missing", o)
		}
	}
}

func refuse(t *testing.T, got engine.HelpFlags, options ...string) {
	t.Helper()
	for _, o := range options {
		if got.Has(o) {
			t.Errorf("%s is not defined by this help", o)
		}
	}
}

func FuzzHelp(f *testing.F) {
	for _, text := range []string{engineHelp, launcherHelp, clapHelp, serveHelp, "Usage: x [OPTIONS]\n      --a", "      ----\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		found := parseHelp(text)
		for option, x := range found {
			if !strings.HasPrefix(option, "-") || !slices.Contains(x.All, option) {
				t.Errorf("option %q of %+v", option, x)
			}
		}
		if n := len(found); n > 0 && n < len(ownOptions) {
			t.Errorf("%d options, fewer than the command's own", n)
		}
	})
}
