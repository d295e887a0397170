package cli_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// planted are the secrets by the place that they enter from. None of them is
// real; each has the shape of its kind.
var planted = struct {
	environ           map[string]string
	yaml, log, server map[string]string
}{
	environ: map[string]string{
		"HF_TOKEN":              "hf_EnvAbCdEfGhIjKlMnOpQrStUvWx01",
		"OPENAI_API_KEY":        "sk-proj-EnvAbCdEfGhIjKlMnOpQr02",
		"AWS_SECRET_ACCESS_KEY": "EnvJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEK03",
		"GITHUB_TOKEN":          "ghp_EnvAbCdEfGhIjKlMnOpQrStUvWxYz04",
		"SLACK_BOT_TOKEN":       "xoxb-123456789012-EnvAbCdEfG05",
		"TEAM_DB_PASSWORD":      "envhunter06",
		"SERVER_KEY":            "env-server-key-07",
	},
	yaml: map[string]string{
		"flag":        "yaml-api-key-08",
		"environment": "hf_YamlAbCdEfGhIjKlMnOpQrStUvWx09",
		"password":    "yamlhunter10",
		"body":        "sk-YamlAbCdEfGhIjKlMnOpQrSt11",
		"comment":     "ghp_YamlAbCdEfGhIjKlMnOpQrStUvWxYz12",
		"prose":       "xoxp-123456789012-YamlAbCdEf13",
	},
	log: map[string]string{
		"bearer":   "LogMF9B5f41JqMxyz14",
		"basic":    "QWxhZGRpbjpvcGVuc2VzYW1lMTU=",
		"url":      "loghunter16",
		"pem":      "MIIEowLogAbCdEfGhIjKlMnOpQrStUvWx17",
		"akia":     "AKIALOGABCDEFGHIJK18",
		"assigned": "LogSecretValue19",
		"json":     "LogJsonValue20",
		"crash":    "hf_CrashAbCdEfGhIjKlMnOpQrStUv21",
		"flag":     "log-flag-key-22",
	},
	server: map[string]string{
		"help":    "sk-HelpAbCdEfGhIjKlMnOpQrSt23",
		"version": "glpat-VersionAbCdEfGhIjK24",
		"props":   "PropsApiKeyValue25",
		"metrics": "hf_MetricAbCdEfGhIjKlMnOpQrSt26",
		"header":  "nvapi-HeaderAbCdEfGhIjKlMn27",
		"cookie":  "CookieSessionValue28",
		"error":   "sk-ErrorAbCdEfGhIjKlMnOpQr29",
		"text":    "ghp_TextAbCdEfGhIjKlMnOpQrStUvWxYz30",
	},
}

// leakyServer stands in for an engine that says far too much: in its help, its
// version, its log, its replies, its headers and its last words.
func leakyServer() {
	p := planted
	args := strings.Join(os.Args[1:], " ")
	switch {
	case strings.Contains(args, "--help"), args == "-h":
		fmt.Printf("-h, --help\n--host HOST\n--port PORT\n-m, --model FNAME\n-np, --parallel N\n--api-key KEY   (default: %s)\n-b, --batch-size N\n-ub, --ubatch-size N\n--metrics\n-c, --ctx-size N\n", p.server["help"])
		return
	case strings.Contains(args, "--version"):
		fmt.Printf("version: 0.7.0 (%s)\n", p.server["version"])
		return
	}
	fmt.Println(strings.Join(os.Environ(), "\n"))
	fmt.Println("command line:", args)
	fmt.Println("Authorization: Bearer", p.log["bearer"])
	fmt.Println("sent Basic", p.log["basic"])
	fmt.Printf("pulling https://user:%s@example.org/model\n", p.log["url"])
	fmt.Printf("-----BEGIN RSA PRIVATE KEY-----\n%s\n-----END RSA PRIVATE KEY-----\n", p.log["pem"])
	fmt.Println("credentials", p.log["akia"])
	fmt.Printf("export STORE_SECRET=%s\n", p.log["assigned"])
	fmt.Printf(`{"api_key": "%s", "port": 1}`+"\n", p.log["json"])
	fmt.Printf("started with --api-key %s --port 1\n", p.log["flag"])
	if strings.Contains(args, "--ubatch-size 64") {
		fmt.Fprintf(os.Stderr, "error: invalid argument: --token %s\n", p.log["crash"])
		os.Exit(1)
	}
	serveLeaks()
}

func serveLeaks() {
	p := planted
	addr := "127.0.0.1:9931"
	for i, a := range os.Args {
		if a == "--port" && i+1 < len(os.Args) {
			addr = "127.0.0.1:" + os.Args[i+1]
		}
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "couldn't bind HTTP server socket:", err)
		os.Exit(1)
	}
	mux := http.NewServeMux()
	say := func(path, kind, body string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.Header().Set("X-Api-Key", p.server["header"])
			w.Header().Set("Set-Cookie", "session="+p.server["cookie"])
			fmt.Fprint(w, body)
		})
	}
	say("/health", "application/json", `{"status":"ok"}`)
	say("/props", "application/json", `{"api_key":"`+p.server["props"]+`"}`)
	say("/v1/models", "application/json", `{"data":[{"id":"tiny"}]}`)
	say("/metrics", "text/plain", "llamacpp:prompt_tokens_total{key=\""+p.server["metrics"]+"\"} 1\nllamacpp:requests_processing 0\n")
	n := 0
	mux.HandleFunc("/v1/completions", func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("got", r.Header)
		if n++; n%5 == 4 {
			w.WriteHeader(500)
			fmt.Fprintf(w, `{"error":{"message":"upstream refused key %s","code":500}}`, p.server["error"])
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for range 3 {
			fmt.Fprintf(w, `data: {"choices":[{"text":"%s","index":0,"finish_reason":null}]}`+"\n\n", p.server["text"])
		}
		fmt.Fprint(w, `data: {"choices":[{"text":"","index":0,"finish_reason":"length"}],"usage":{"prompt_tokens":4,"completion_tokens":3}}`+"\n\ndata: [DONE]\n\n")
	})
	http.Serve(l, mux)
}

func (p plantedEnv) list() []string {
	var out []string
	for k, v := range p {
		out = append(out, k+"="+v)
	}
	return out
}

type plantedEnv map[string]string

const leakyConfig = `schema_version: 2
# written by hand with %[5]s
source:
  translation: copied with %[6]s
model:
  name: tiny
  path: tiny.gguf
scenarios:
  - {name: chat, input_len: 8, output_len: 3}
dataset: {num_prompts: 6}
benchmark:
  arrivals: {kind: closed}
  loads: [{max_concurrency: 2}]
  sla: {max_p50_ttft_ms: 5000}
  api_key_env: SERVER_KEY
  extra_request_body: {user: %[4]s}
search: {max_candidates_per_framework: 4}
frameworks:
  llamacpp:
    enabled: true
    environment: {STORE_TOKEN: %[2]s, STORE_PASSWORD: %[3]s}
    base_server_flags: {ctx_size: 4096, api_key: %[1]s, metrics: true}
    search_space:
      ubatch_size: [512, 64]
`

// A run over an engine that leaks in every way leaves no secret in any file
// nor on either stream.
func TestPlantedSecretsStayHidden(t *testing.T) {
	dir := t.TempDir()
	y := planted.yaml
	text := fmt.Sprintf(leakyConfig, y["flag"], y["environment"], y["password"], y["body"], y["comment"], y["prose"])
	write(t, filepath.Join(dir, "leaky.yaml"), text)
	write(t, filepath.Join(dir, "tiny.gguf"), "GGUF")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "bin")
	for _, name := range []string{"llmdyno", "llama-server"} {
		link(t, self, filepath.Join(bin, name))
	}
	out := filepath.Join(dir, "run")
	var shown bytes.Buffer
	run := func(args ...string) {
		cmd := exec.Command(filepath.Join(bin, "llmdyno"), args...)
		cmd.Dir = dir
		cmd.Env = append(plantedEnv(planted.environ).list(), "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+dir)
		cmd.Stdout, cmd.Stderr = &shown, &shown
		if err := cmd.Run(); err != nil && cmd.ProcessState.ExitCode() > 1 {
			t.Fatalf("llmdyno %s: %v\n%s", strings.Join(args, " "), err, shown.String())
		}
	}
	run("bench", "validate", "leaky.yaml", "--print-commands")
	run("bench", "plan", "leaky.yaml", "--format", "json")
	run("bench", "run", "leaky.yaml", "--out", out)
	run("bench", "run", "--resume", out)
	run("bench", "compare", "--input", filepath.Join(out, "results.jsonl"), "--format", "json")

	texts := map[string]string{"stdout and stderr": shown.String()}
	files := readAll(t, out)
	for name, text := range files {
		texts[name] = text
	}
	for _, must := range []string{"results.jsonl", "journal.jsonl", "report.html", "config.yaml"} {
		if files[must] == "" {
			t.Errorf("the run left no %s", must)
		}
	}
	n := 0
	for _, group := range []map[string]string{planted.environ, planted.yaml, planted.log, planted.server} {
		for place, secret := range group {
			n++
			for name, text := range texts {
				if i := strings.Index(text, secret); i >= 0 {
					t.Logf("%q", text[max(0, i-200):min(len(text), i+100)])
				}
				if strings.Contains(text, secret) {
					t.Errorf("the secret of %s stands in %s", place, name)
				}
			}
		}
	}
	if n < 30 {
		t.Errorf("%d secrets planted, expected 30", n)
	}
	if !strings.Contains(files["results.jsonl"], "invalid argument") {
		t.Errorf("the failed candidate does not quote its server:\n%s", files["results.jsonl"])
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// link makes a second name for the test binary, which acts by its name. A
// symbolic link would not do: the program starts itself by its real path.
func link(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Link(from, to) == nil {
		return
	}
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// readAll reads every file below a folder, decompressed, by its relative path.
func readAll(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if strings.HasSuffix(path, ".zst") {
			dec, err := zstd.NewReader(nil)
			if err != nil {
				return err
			}
			defer dec.Close()
			if b, err = dec.DecodeAll(b, nil); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
		rel, err := filepath.Rel(dir, path)
		files[filepath.ToSlash(rel)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
