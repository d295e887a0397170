package artifact

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Rule recognises one kind of secret by its own shape. Secrets that only their
// name gives away (api_key: …) are found by the scanner in assign.go, with the
// words of names.go.
type Rule struct {
	ID      string // kebab-case; stands in the replacement
	Title   string
	Hints   []string       // lower case; the pattern is tried only on lines that hold one, in any case
	Pattern *regexp.Regexp // the first group is the secret; without a group the whole match
	Looks   func(secret string) bool
	Example string // a text in which the rule finds something
	Source  string // where the shape is documented
	Date    string // when that was read, YYYY-MM-DD
}

// left is what may stand before a token: anything but a letter or digit, or
// the letter of an escape (a log that quotes "…\nhf_…").
const left = `(?:^|[^A-Za-z0-9]|\\[abfnrtv]|%[0-9A-Fa-f]{2})`

func token(expr string) *regexp.Regexp { return regexp.MustCompile(left + `(` + expr + `)`) }

// Rules are the built-in rules, in the order in which they are applied: the
// most specific first, so that the replacement names the right one.
var Rules = []Rule{
	{ID: "private-key", Title: "PEM or PGP private key", Hints: []string{"private key"},
		Pattern: regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?:.*?-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|[A-Za-z0-9+/=\s\\:,-]*)`),
		Example: "-----BEGIN RSA PRIVATE KEY-----\nMIIEow==\n-----END RSA PRIVATE KEY-----", Source: "RFC 7468 section 10; RFC 9580 section 6.2", Date: "2026-09-01"},
	{ID: "huggingface", Title: "Hugging Face token", Hints: []string{"hf_", "api_org_"},
		Pattern: token(`(?:hf_|api_org_)[A-Za-z0-9]{16,}`),
		Example: "login hf_AbCdEfGhIjKlMnOpQrStUvWxYz12345678", Source: "huggingface.co/docs/hub/security-tokens", Date: "2026-09-01"},
	{ID: "anthropic", Title: "Anthropic API key", Hints: []string{"sk-ant-"},
		Pattern: token(`sk-ant-[A-Za-z0-9_-]{8,}`),
		Example: "key sk-ant-api03-AbCdEfGh_IjKl", Source: "docs.anthropic.com, API keys", Date: "2026-09-01"},
	{ID: "openai", Title: "OpenAI-style API key", Hints: []string{"sk-"},
		Pattern: token(`sk-[A-Za-z0-9_-]{16,}`),
		Example: "key sk-proj-AbCdEfGhIjKlMnOpQrSt", Source: "platform.openai.com/docs/api-reference/authentication", Date: "2026-09-01"},
	{ID: "aws-secret-key", Title: "AWS secret key beside its id", Hints: []string{"akia", "asia"},
		Pattern: regexp.MustCompile(`(?:AKIA|ASIA)[A-Z0-9]{16}[^A-Za-z0-9/+]{1,8}([A-Za-z0-9/+]{40})`),
		Example: "AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", Source: "docs.aws.amazon.com/IAM, reference identifiers", Date: "2026-09-01"},
	{ID: "aws-key-id", Title: "AWS access key id", Hints: []string{"akia", "asia", "abia", "acca"},
		Pattern: token(`(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}`),
		Example: "id AKIAIOSFODNN7EXAMPLE", Source: "docs.aws.amazon.com/IAM, reference identifiers", Date: "2026-09-01"},
	{ID: "github", Title: "GitHub token", Hints: []string{"ghp_", "gho_", "ghs_", "ghu_", "ghr_", "github_pat_"},
		Pattern: token(`gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,}`),
		Example: "clone with ghp_AbCdEfGhIjKlMnOpQrStUvWxYz1234567890", Source: "docs.github.com, about authentication, token formats", Date: "2026-09-01"},
	{ID: "gitlab", Title: "GitLab token", Hints: []string{"glpat-"},
		Pattern: token(`glpat-[A-Za-z0-9_.-]{16,}`),
		Example: "clone with glpat-AbCdEfGhIjKlMnOpQrSt", Source: "docs.gitlab.com, token overview", Date: "2026-09-01"},
	{ID: "slack", Title: "Slack token", Hints: []string{"xoxa-", "xoxb-", "xoxc-", "xoxd-", "xoxe-", "xoxe.", "xoxo-", "xoxp-", "xoxr-", "xoxs-", "xapp-"},
		Pattern: token(`(?:xox[abcdeoprs]|xapp)[-.][A-Za-z0-9.%-]{8,}`),
		Example: "bot xoxb-123456789012-AbCdEfGhIjKl", Source: "api.slack.com/concepts/token-types", Date: "2026-09-01"},
	{ID: "slack-webhook", Title: "Slack webhook URL", Hints: []string{"hooks.slack"},
		Pattern: regexp.MustCompile(`(?i)hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/([A-Za-z0-9/_-]{8,})`),
		Example: "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX", Source: "api.slack.com/messaging/webhooks", Date: "2026-09-01"},
	{ID: "google", Title: "Google API key or access token", Hints: []string{"aiza", "ya29."},
		Pattern: token(`AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9_-]{20,}`),
		Example: "maps AIzaSyA1234567890abcdefghijklmnopqrstuv", Source: "cloud.google.com/docs/authentication/api-keys", Date: "2026-09-01"},
	{ID: "nvidia", Title: "NVIDIA API key", Hints: []string{"nvapi-"},
		Pattern: token(`nvapi-[A-Za-z0-9_-]{16,}`),
		Example: "ngc nvapi-AbCdEfGhIjKlMnOpQrStUvWx", Source: "docs.nvidia.com/ngc, API keys", Date: "2026-09-01"},
	{ID: "provider-key", Title: "keys of other model and package providers", Hints: []string{"gsk_", "r8_", "xai-", "pypi-", "npm_", "dckr_pat_", "sk_live_", "rk_live_", "sk_test_"},
		Pattern: token(`(?:gsk|r8|npm|dckr_pat|[sr]k_live|sk_test)_[A-Za-z0-9_-]{20,}|(?:xai|pypi)-[A-Za-z0-9_-]{30,}`),
		Example: "groq gsk_AbCdEfGhIjKlMnOpQrStUvWxYz", Source: "docs.github.com, supported secret scanning patterns", Date: "2026-09-01"},
	{ID: "jwt", Title: "JSON Web Token", Hints: []string{"eyj"},
		Pattern: token(`eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]*`),
		Example: "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl", Source: "RFC 7519 section 3", Date: "2026-09-01"},
	{ID: "bearer", Title: "bearer credential", Hints: []string{"bearer"},
		Pattern: regexp.MustCompile(`(?i)\bbearer(?:\s+|%20|\+)([A-Za-z0-9._~+/=-]{8,})`), Looks: notProse,
		Example: "sent Bearer mF_9.B5f-4.1JqM", Source: "RFC 6750 section 2.1", Date: "2026-09-01"},
	{ID: "basic", Title: "basic credential", Hints: []string{"basic"},
		Pattern: regexp.MustCompile(`(?i)\bbasic(?:\s+|%20|\+)([A-Za-z0-9+/_-]{6,}={0,2})`), Looks: userAndPassword,
		Example: "sent Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Source: "RFC 7617 section 2", Date: "2026-09-01"},
	{ID: "curl-user", Title: "user and password of a curl command", Hints: []string{"curl"},
		Pattern: regexp.MustCompile(`\bcurl\b.*?\s(?:-u|--user|-U|--proxy-user)[ =]?\s*['"]?[^\s:'"]+:([^\s'"]+)`),
		Example: "curl -s -u admin:hunter2 http://host/", Source: "curl.se/docs/manpage.html", Date: "2026-09-01"},
	{ID: "url-password", Title: "password in a URL", Hints: []string{"://"},
		Pattern: regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@"'\\<>?#]*:([^\s/"'\\<>]+)@`),
		Example: "postgres://app:hunter2@db/x", Source: "RFC 3986 section 3.2.1", Date: "2026-09-01"},
	{ID: "url-user", Title: "token as the user of a URL", Hints: []string{"://"},
		Pattern: regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://([^\s/:@"'\\<>?#]{20,})@`),
		Example: "https://0123456789abcdef0123@example.org/x.git", Source: "RFC 3986 section 3.2.1", Date: "2026-09-01"},
	{ID: "query", Title: "credential in a query string", Hints: []string{"token=", "key=", "sig=", "signature=", "auth=", "password=", "passwd=", "secret=", "credential="},
		Pattern: regexp.MustCompile(`(?i)[?&;](?:[a-z0-9_.-]*[_.-])?(?:token|key|apikey|sig|signature|auth|password|passwd|secret|credential)=([^&\s"'<>\\#;]+)`),
		Looks:   notNothing,
		Example: "GET /v1/models?key=0123abc HTTP/1.1", Source: "RFC 6750 section 2.3; Azure SAS and AWS SigV4 query parameters", Date: "2026-09-01"},
}

// notProse refuses the words that follow "bearer" in sentences.
func notProse(s string) bool {
	word := strings.ToLower(strings.TrimRight(s, "."))
	return !slices.Contains([]string{"authentication", "authorization", "credential", "credentials", "challenge", "security", "scheme/token"}, word)
}

// userAndPassword demands base64 of printable text with a colon, as "basic" is
// an ordinary word.
func userAndPassword(s string) bool {
	s = strings.TrimRight(s, "=")
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if b, err := enc.DecodeString(s); err == nil && utf8.Valid(b) && strings.Contains(string(b), ":") {
			return true
		}
	}
	return false
}

func notNothing(s string) bool { return !nothing(s) }
