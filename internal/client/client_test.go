package client

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"llmdyno/internal/engine"
	"llmdyno/internal/load/sample"
)

var testEngine = &engine.Engine{
	Title: "An Engine",
	Endpoints: []engine.Endpoint{
		{Name: engine.EndpointHealth, Method: "GET", Path: "/health"},
		{Name: engine.EndpointServerInfo, Method: "GET", Path: "/server_info", Legacy: []string{"/get_server_info", "/info"}},
		{Name: engine.EndpointMetrics, Method: "GET", Path: "/metrics", Needs: "--enable-metrics"},
		{Name: engine.EndpointStartProfile, Method: "POST", Path: "/start_profile"},
	},
	Wires: []engine.Wire{engine.OpenAICompletions(engine.WireOptions{})},
}

func TestNewRefuses(t *testing.T) {
	for _, bad := range []string{"", "host:80", "ftp://host", "http://", "http://user:secret-pw@host", "http://host/?key=secret-pw", "http://ho st"} {
		if c, err := New(Options{BaseURL: bad}); err == nil || c != nil || strings.Contains(err.Error(), "secret-pw") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestCall(t *testing.T) {
	server := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/prefix/health":
			io.WriteString(w, "ok "+r.URL.RawQuery)
		case "/prefix/info":
			io.WriteString(w, strings.Repeat("x", 101))
		case "/prefix/start_profile":
			body, _ := io.ReadAll(r.Body)
			w.WriteHeader(400)
			io.WriteString(w, `{"error":{"message":"already `+r.Method+` `+string(body)+`"}}`)
		default:
			http.NotFound(w, r)
		}
	}
	o := Options{Engine: testEngine, MaxBody: 100}
	exchange(t, server, o, func(ctx context.Context, c *Client) {
		if r, err := c.Call(ctx, engine.EndpointHealth, url.Values{"a": {"b c"}}, nil); err != nil || string(r.Body) != "ok a=b+c" || r.Status != 200 || r.Path != "/health" {
			t.Errorf("health: %+v, %v", r, err)
		}
		if r, err := c.Call(ctx, engine.EndpointServerInfo, nil, nil); err != nil || r.Path != "/info" || len(r.Body) != 100 || !r.Truncated {
			t.Errorf("info after two 404s: path %s, %d bytes, truncated %t, %v", r.Path, len(r.Body), r.Truncated, err)
		}
		r, err := c.Call(ctx, engine.EndpointMetrics, nil, nil)
		if r.Status != 404 || ClassOf(err) != sample.ClassStatus || !strings.Contains(err.Error(), "it needs --enable-metrics") {
			t.Errorf("metrics: %+v, %v", r, err)
		}
		r, err = c.Call(ctx, engine.EndpointStartProfile, nil, []byte(`1`))
		if r.Status != 400 || err == nil || err.Error() != "POST /start_profile: HTTP 400: already POST 1" {
			t.Errorf("profile: %+v, %v", r, err)
		}
		if _, err = c.Call(ctx, engine.EndpointSlots, nil, nil); err == nil || !strings.Contains(err.Error(), "An Engine has none") {
			t.Errorf("an endpoint that the engine lacks: %v", err)
		}
	})
	exchange(t, server, Options{}, func(ctx context.Context, c *Client) {
		if _, err := c.Call(ctx, engine.EndpointHealth, nil, nil); err == nil || !strings.Contains(err.Error(), "not known") {
			t.Errorf("an unknown engine: %v", err)
		}
	})
}

// A call that the server cut off on a new connection may have had its effect:
// it is not made again.
func TestCallIsNotDoubled(t *testing.T) {
	var n atomic.Int32
	abort := func(http.ResponseWriter, *http.Request) { n.Add(1); panic(http.ErrAbortHandler) }
	exchange(t, abort, Options{Engine: testEngine}, func(ctx context.Context, c *Client) {
		if _, err := c.Call(ctx, engine.EndpointStartProfile, nil, []byte("{}")); ClassOf(err) != sample.ClassReset || n.Load() != 1 {
			t.Errorf("%v after %d calls", err, n.Load())
		}
	})
}

func TestCallIsBounded(t *testing.T) {
	stuck := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	exchange(t, stuck, Options{Engine: testEngine}, func(ctx context.Context, c *Client) {
		began := time.Now()
		if _, err := c.Call(ctx, engine.EndpointHealth, nil, nil); ClassOf(err) != sample.ClassTimeout || time.Since(began) != callTimeout {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		why := &net.OpError{Op: "dial", Err: errors.New("the user's own words")} // whatever it is made of
		ctx, cancel := context.WithCancelCause(ctx)
		time.AfterFunc(time.Second, func() { cancel(why) })
		if _, err := c.Call(ctx, engine.EndpointHealth, nil, nil); ClassOf(err) != sample.ClassCancelled || !errors.Is(err, context.Canceled) && !errors.Is(err, why) || !strings.Contains(err.Error(), "interrupted: dial: the user's own words") {
			t.Errorf("cancelled: %v", err)
		}
	})
}

func TestProbe(t *testing.T) {
	status := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.WriteHeader(code)
			io.WriteString(w, body)
		}
	}
	health := engine.Probe{Endpoint: engine.EndpointHealth}
	generate := engine.Probe{Endpoint: engine.EndpointCompletions, Generate: true, Timeout: 5 * time.Second}
	tests := []struct {
		name   string
		server http.HandlerFunc
		probe  engine.Probe
		class  sample.Class
		want   string
	}{
		{"ready", status(200, ""), health, "", ""},
		{"loading", status(503, `{"error":{"message":"Loading model"}}`), health, "http_status", "HTTP 503 (Loading model), expected 200"},
		{"key missing", status(401, "who?"), health, "auth", "HTTP 401 (who?)"},
		{"other status expected", status(204, ""), engine.Probe{Endpoint: engine.EndpointHealth, Status: 204}, "", ""},
		{"body as expected", status(200, `{"status":"ok"}`), engine.Probe{Endpoint: engine.EndpointHealth, Body: regexp.MustCompile(`"ok"`)}, "", ""},
		{"another body", status(200, `{"status":"loading"}`), engine.Probe{Endpoint: engine.EndpointHealth, Body: regexp.MustCompile(`"ok"`)}, "malformed", "does not match"},
		{"generates", parts(tokenA + finish + doneMark), generate, "", ""},
		{"generates nothing", parts(doneMark), generate, "empty", "expected at least one generated token"},
		{"generates for ever", func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body) // only then does the server see that the client has gone
			<-r.Context().Done()
		}, generate, "timeout", "within the time allowed"},
		{"no such wire", status(200, ""), engine.Probe{Endpoint: engine.EndpointChat, Generate: true}, "reset", "no wire format"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			exchange(t, tt.server, Options{Engine: testEngine}, func(ctx context.Context, c *Client) {
				err := c.Probe(ctx, tt.probe, "m")
				if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want %q", err, tt.want)
				}
				if tt.name != "no such wire" && ClassOf(err) != tt.class {
					t.Errorf("class %q, want %q", ClassOf(err), tt.class)
				}
			})
		})
	}
}

// The words of an error fit a record: one line, bounded, without the key.
func TestOneLine(t *testing.T) {
	c, err := New(Options{BaseURL: "http://h", APIKey: "k-secret"})
	if err != nil {
		t.Fatal(err)
	}
	got := c.oneLine("a\r\n\tb k-secret %s", strings.Repeat("é", maxErrorText))
	if !strings.HasPrefix(got, "a b [redacted] éé") || !strings.HasSuffix(got, "…") || len(got) > maxErrorText+4 || strings.Contains(got, "\ufffd") {
		t.Errorf("%q", got)
	}
}
