package cli_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// leakyEndpoint answers like an engine that says far too much, with the planted
// secrets of every place in bodies, headers and errors.
func leakyEndpoint() http.Handler {
	p := planted
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("X-Api-Key", p.server["header"])
		w.Header().Set("Set-Cookie", "session="+p.server["cookie"])
		switch q.URL.Path {
		case "/v1/models":
			fmt.Fprint(w, `{"data":[{"id":"tiny","owned_by":"sglang"}]}`)
		case "/server_info":
			fmt.Fprintf(w, `{"api_key":%q,"admin_api_key":%q,"internal_states":[{"api_key":%q,"env":{"HF_TOKEN":%q,"DB_PASSWORD":%q}}],"launch":"serve --api-key %s --token %s"}`,
				p.server["props"], p.log["json"], p.server["props"], p.yaml["environment"], p.yaml["password"], p.yaml["flag"], p.log["flag"])
		case "/model_info":
			fmt.Fprintf(w, `{"model_path":"https://user:%s@example.org/m","note":"%s","other":"%s"}`, p.log["url"], p.server["version"], p.yaml["prose"])
		case "/metrics":
			fmt.Fprintf(w, "# HELP sglang:x with %s\nsglang:x{key=%q,id=%q} 1\n", p.server["help"], p.server["metrics"], p.log["akia"])
		case "/v1/loads":
			fmt.Fprintf(w, "<html>Bearer %s and Basic %s, %s %s</html>", p.log["bearer"], p.log["basic"], p.yaml["body"], p.yaml["comment"])
		default:
			w.WriteHeader(500)
			fmt.Fprintf(w, `{"error":{"message":"upstream refused key %s"}}`, p.server["error"])
		}
	})
}

// No planted secret gets into a bundle, an archive, stdout or stderr, whatever
// it came in by.
func TestSecretsStayOutOfBundles(t *testing.T) {
	p := planted
	dir := t.TempDir()
	s := httptest.NewServer(leakyEndpoint())
	defer s.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "bin", "llmdyno")
	link(t, self, bin)
	write(t, filepath.Join(dir, "server.log"), fmt.Sprintf("export STORE_SECRET=%s\n-----BEGIN RSA PRIVATE KEY-----\n%s\n-----END RSA PRIVATE KEY-----\ncrash with %s\nsaid %s\n",
		p.log["assigned"], p.log["pem"], p.log["crash"], p.server["text"]))
	old := filepath.Join(dir, "old")
	for name, text := range map[string]string{
		"metadata.json":    fmt.Sprintf(`{"base_url":"http://u:%s@h:1","collected_at":"20260502_120000"}`, p.log["url"]),
		"server_info.json": fmt.Sprintf(`{"ok":true,"status":200,"path":"/server_info","json":{"api_key":%q}}`, p.server["props"]),
		"loads_all.json":   fmt.Sprintf(`{"ok":false,"status":500,"path":"/v1/loads","error":"{\"api_key\": \"%s\"}"}`, p.log["json"]),
		"SUMMARY.txt":      fmt.Sprintf("loads_all.json: failed status=500 error={\"api_key\": \"%s\"}\n", p.log["json"]),
	} {
		if err := os.MkdirAll(old, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(old, name), text)
	}
	var shown bytes.Buffer
	run := func(args ...string) {
		cmd := exec.Command(bin, args...)
		cmd.Dir = dir
		cmd.Env = append(plantedEnv(p.environ).list(), "PATH="+os.Getenv("PATH"), "HOME="+dir)
		cmd.Stdout, cmd.Stderr = &shown, &shown
		if err := cmd.Run(); err != nil {
			t.Fatalf("llmdyno %s: %v\n%s", strings.Join(args, " "), err, shown.String())
		}
	}
	run("incident", "collect", "--url", s.URL, "--token-env", "SERVER_KEY", "--include", "all", "--logs", "server.log", "--out", "folder", "--format", "json")
	run("incident", "collect", "--url", s.URL, "--token-env", "SERVER_KEY", "--keep-prompts", "--logs", "server.log", "--out", "kept.tar.zst")
	run("incident", "redact", "old", "--out", "oldredacted")
	run("incident", "redact", "kept.tar.zst", "--out", "again.tar.zst")
	run("incident", "verify", "folder", "--format", "json")

	texts := map[string]string{"stdout and stderr": shown.String()}
	for _, place := range []string{"folder", "oldredacted"} {
		for name, text := range readAll(t, filepath.Join(dir, place)) {
			texts[place+"/"+name] = text
		}
	}
	for name, text := range readAll(t, dir) {
		if strings.HasSuffix(name, ".tar.zst") {
			texts[name] = text
		}
	}
	if len(texts) < 15 {
		t.Fatalf("only %d texts to look into", len(texts))
	}
	n := 0
	for _, group := range []map[string]string{p.environ, p.yaml, p.log, p.server} {
		for place, secret := range group {
			n++
			for name, text := range texts {
				if i := strings.Index(text, secret); i >= 0 {
					t.Errorf("the secret of %s stands in %s: %q", place, name, text[max(0, i-80):min(len(text), i+60)])
				}
			}
		}
	}
	if n < 30 {
		t.Errorf("%d secrets planted, expected 30", n)
	}
	if !strings.Contains(texts["folder/targets/"+strings.TrimPrefix(strings.ReplaceAll(s.URL, ":", "-"), "http-//")+"/server_info.json"], "[redacted:") {
		t.Error("the bundle has no redacted server_info")
	}
}
