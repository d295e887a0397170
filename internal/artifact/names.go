package artifact

import (
	"slices"
	"strings"
	"unicode"
)

// strength says how sure a name makes us that its value is a secret.
type strength int

const (
	notSecret strength = iota
	// weak names (token, auth, credentials) also name harmless things; the value
	// has to look like a credential.
	weak
	// keyLike names (api_key, hf_token) hold credentials; a plain number under
	// them is a setting.
	keyLike
	// passwordLike names hide whatever stands under them.
	passwordLike
	// headerLike names are HTTP headers whose value runs to the end of the line.
	headerLike
)

// Words of names. Source: the names of environment variables and options in
// the documentation of huggingface_hub, boto3, wandb, docker, kubernetes and the
// command lines of the serving engines, read 2026-09-01.
var (
	passwordWords = []string{"password", "passwd", "passphrase", "passcode", "secret"}
	joinedWords   = []string{"apikey", "secretkey", "accesskey", "privatekey", "authkey", "authtoken", "accesstoken", "hftoken", "refreshtoken", "sessiontoken"}
	headerNames   = []string{"authorization", "proxy-authorization", "cookie", "set-cookie", "x-amz-security-token"}

	// secretKeys are words before "key" that make it one to a lock.
	secretKeys = []string{"api", "access", "secret", "private", "account", "storage", "auth", "license", "ssh", "encryption", "signing", "master", "shared", "subscription", "session", "service", "admin", "deploy", "app", "client", "hmac", "aes", "rsa", "hf", "openai", "anthropic", "aws", "azure", "gcp", "google", "nvidia", "ngc", "wandb"}
	// otherKeys are words before "KEY" in an upper-case name that do not.
	otherKeys = []string{"public", "primary", "foreign", "cache", "sort", "partition", "routing", "hash", "prefix", "bucket", "group", "map", "object", "row", "column", "dict", "lookup", "index", "unique", "config", "attention", "query", "k"}
	// textTokens are words before "token" that make it a piece of text.
	textTokens = []string{"eos", "bos", "pad", "unk", "mask", "sep", "cls", "image", "video", "audio", "next", "first", "last", "new", "per", "output", "input", "prompt", "special", "stop", "start", "end", "begin", "cached", "extra", "draft", "added", "tool", "think", "num", "max", "min", "total", "each", "one", "single", "generated", "generation", "completion", "reasoning", "context", "batch", "chunk", "kv", "ms", "us", "s", "decode", "prefill", "budget", "of", "stream", "vocab", "text", "word", "sub", "blank", "null", "fallback", "by", "count", "pending", "full", "swa", "mamba", "running", "accepted", "verified", "sampled", "top", "matched", "a", "the", "newline", "media", "vision", "placeholder"}
	// dressing are words after a secret's name that leave it one.
	dressing = []string{"value", "base64", "b64", "plain", "plaintext", "string", "text", "raw"}
)

// SecretName says whether the value under a name (an environment variable, a
// key of a file, an option, a header) is to be treated as a secret.
func SecretName(name string) bool { return classify(name) != notSecret }

// classify looks at the last words of a name: HF_TOKEN, awsSecretAccessKey,
// --api-key, db.password. What only mentions a secret (API_KEY_FILE,
// max_tokens, key_cache) is none.
func classify(name string) strength {
	lower := strings.ToLower(strings.Trim(name, "-_."))
	if slices.Contains(headerNames, lower) {
		return headerLike
	}
	words := splitName(name)
	for len(words) > 1 && slices.Contains(dressing, words[len(words)-1]) {
		words = words[:len(words)-1]
	}
	if len(words) == 0 {
		return notSecret
	}
	last, before := words[len(words)-1], ""
	if len(words) > 1 {
		before = words[len(words)-2]
	}
	suffix := func(w string) bool { return strings.HasSuffix(last, w) }
	upper := strings.ToUpper(name) == name
	switch {
	case slices.ContainsFunc(passwordWords, suffix), last == "pwd" && before != "" && before != "old":
		return passwordLike
	case slices.ContainsFunc(joinedWords, suffix):
		return keyLike
	case last == "token":
		return classifyToken(before, upper)
	case last == "key":
		return classifyKey(before, upper)
	case (last == "keys" || last == "tokens") && slices.Contains([]string{"api", "access", "secret", "private", "auth", "refresh"}, before):
		return keyLike
	case last == "auth", last == "credential", last == "credentials", last == "secrets", last == "pat" && before != "":
		return weak
	}
	return notSecret
}

func classifyToken(before string, upper bool) strength {
	switch {
	case slices.Contains(textTokens, before):
		return notSecret
	case before == "" && !upper:
		return weak
	}
	return keyLike
}

func classifyKey(before string, upper bool) strength {
	switch {
	case slices.Contains(secretKeys, before), upper && before != "" && !slices.Contains(otherKeys, before):
		return keyLike
	}
	return notSecret
}

// splitName cuts a name into lower-case words at _ - . and at changes of case,
// without trailing digits.
func splitName(name string) []string {
	var words []string
	var word []rune
	end := func() {
		if w := strings.TrimRight(string(word), "0123456789"); w != "" {
			words = append(words, strings.ToLower(w))
		}
		word = word[:0]
	}
	runes := []rune(name)
	for i, c := range runes {
		if c == '_' || c == '-' || c == '.' {
			end()
			continue
		}
		if i > 0 && unicode.IsUpper(c) && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1]) && unicode.IsUpper(runes[i-1])) {
			end()
		}
		word = append(word, c)
	}
	end()
	return words
}

// nothing is a value that hides nothing: absent, a type, or a reference to a
// place where the secret stands.
func nothing(v string) bool {
	v = strings.TrimSpace(v)
	switch strings.ToLower(v) {
	case "", "none", "null", "nil", "true", "false", "undefined", "empty", "~", "-", "str", "string", "int", "bool", "optional", "required", "unset", "yes", "no", "x", "|", ">", "|-", ">-":
		return true
	}
	if strings.Trim(v, "*") == "" || strings.Trim(v, ".") == "" {
		return true
	}
	return reference(v)
}

// reference is $NAME, ${NAME}, $(command), {{template}} or <placeholder>.
func reference(v string) bool {
	if name, ok := strings.CutPrefix(v, "$"); ok {
		return strings.HasPrefix(name, "{") || strings.HasPrefix(name, "(") || name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") == ""
	}
	return strings.HasPrefix(v, "{{") || strings.HasPrefix(v, "<") && strings.HasSuffix(v, ">")
}

// hides decides whether a value under a name of some strength is a secret.
func hides(s strength, v string) bool {
	if s == notSecret || nothing(v) || onlyMarks(v) {
		return false
	}
	switch s {
	case weak:
		return looksCredential(v)
	case keyLike:
		return !number(v)
	}
	return true
}

func number(v string) bool {
	return len(v) <= 12 && strings.Trim(v, "0123456789.-+") == ""
}

// looksCredential: at least 12 characters without spaces, letters and digits
// mixed, and neither a path nor the length of a commit or SHA-256 in hex.
func looksCredential(v string) bool {
	if len(v) < 12 || strings.ContainsAny(v, " \t\n") || strings.HasPrefix(v, "/") || strings.HasPrefix(v, "./") || strings.HasPrefix(v, "~/") {
		return false
	}
	if hex := strings.Trim(v, "0123456789abcdef") == ""; hex && (len(v) == 40 || len(v) == 64) {
		return false
	}
	return strings.ContainsAny(v, "0123456789") && strings.ContainsFunc(v, unicode.IsLetter)
}
