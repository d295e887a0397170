// Package client is the one door to a live server: admin reads, readiness
// probes, and generating requests whose instants it records.
//
//	Call(endpoint)  →  Reply
//	Probe           →  nil, or what came instead of what was expected
//	Stream(body)    →  sample.Record
//
// Requests go straight through an HTTP/1.1 transport: no redirects, no proxy,
// no compression, none of which belongs into a measurement. A stream is stamped
// when a read returns, before anything is parsed; over plain TCP on Linux it is
// read without net/http and stamped by the kernel, when its bytes arrived.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"llmdyno/internal/engine"
	"llmdyno/internal/load/sample"
)

// Options say which server and how.
type Options struct {
	BaseURL string // scheme and host; a path is put before every endpoint
	Engine  *engine.Engine
	APIKey  string      // sent as a bearer token, never part of an error
	Header  http.Header // added to every request
	// Dial opens connections; nil = TCP. Tests give pipes, the load generator
	// may give other source addresses.
	Dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	Conns   int   // idle connections that are kept; 0 = as many as were in use at once
	MaxBody int64 // bound on a whole reply; 0 = 64 MiB
	// Ports are the ports of endpoints that do not stand on the server's, by the
	// flag's key that the endpoint names; one that is missing is taken to be the
	// server's.
	Ports map[string]int
	// Sources are the addresses that streams are sent from, each until its ports
	// run out; nil = the system's choice, and towards a loopback server more
	// loopback addresses as needed. Without effect where Dial is given and over
	// TLS.
	Sources []netip.Addr
	// Portable sends streams through net/http even where the kernel would tell
	// when their parts arrived.
	Portable bool
	// Guard is asked before every admin request; its error is returned in place of
	// a reply, and nothing is sent. nil = all may be sent.
	Guard func(method, path string) error
	// Proxy is the HTTP proxy that admin requests go through; nil = none, whatever
	// the environment says.
	Proxy *url.URL
	// TLS is used for https; nil = the system's roots.
	TLS *tls.Config
}

// Client speaks to one server. It is safe for concurrent use.
type Client struct {
	base    *url.URL
	engine  *engine.Engine
	key     string
	header  http.Header
	maxBody int64
	ports   map[string]int
	guard   func(method, path string) error
	kept    *http.Transport // keeps connections
	fresh   *http.Transport // a new connection a request
	direct  *direct         // streams over plain TCP; nil = through kept
}

// idleTimeout is below the keep-alive of the servers (5 s: uvicorn's default
// timeout_keep_alive, and llama-server's "Keep-Alive: timeout=5", 2026-08), so
// that it is we who close first.
const idleTimeout = 4 * time.Second

// connectTimeout bounds a connection's set-up, callTimeout an admin call whose
// caller set no bound: stopping a profiler takes minutes.
const (
	connectTimeout = 30 * time.Second
	callTimeout    = 10 * time.Minute
)

// New makes a client; nothing is sent.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.BaseURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("server URL: expected http://host:port or https://host:port")
	}
	if u.User != nil || u.RawQuery != "" {
		return nil, errors.New("server URL: expected no user, password or query; give a key as the API key")
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	c := &Client{base: u, engine: o.Engine, key: o.APIKey, header: o.Header.Clone(), maxBody: o.MaxBody, ports: maps.Clone(o.Ports), guard: o.Guard}
	if c.header == nil {
		c.header = http.Header{}
	}
	if o.APIKey != "" {
		c.header.Set("Authorization", "Bearer "+o.APIKey)
	}
	if c.maxBody <= 0 {
		c.maxBody = 64 << 20
	}
	c.kept = transport(o)
	c.fresh = c.kept.Clone()
	c.fresh.DisableKeepAlives = true
	c.direct = newDirect(c, o)
	return c, nil
}

func transport(o Options) *http.Transport {
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.Conns <= 0 {
		o.Conns = math.MaxInt32
	}
	p := new(http.Protocols)
	p.SetHTTP1(true)
	var proxy func(*http.Request) (*url.URL, error)
	if o.Proxy != nil {
		proxy = http.ProxyURL(o.Proxy)
	}
	return &http.Transport{
		Proxy: proxy, TLSClientConfig: o.TLS,
		DialContext: traced(o.Dial), Protocols: p, DisableCompression: true,
		MaxIdleConnsPerHost: o.Conns, IdleConnTimeout: idleTimeout, TLSHandshakeTimeout: connectTimeout,
		ReadBufferSize: 4 << 10, WriteBufferSize: 4 << 10, MaxResponseHeaderBytes: 1 << 20,
	}
}

type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// traced tells the request that waits for it that a connection is being made,
// which dialers other than net's own do not, and bounds it: the transport goes
// on dialing when the request has been given up.
func traced(dial dialer) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if t := httptrace.ContextClientTrace(ctx); t != nil && t.ConnectStart != nil {
			t.ConnectStart(network, addr)
		}
		ctx, cancel := context.WithTimeout(ctx, connectTimeout)
		defer cancel()
		return dial(ctx, network, addr)
	}
}

// Close drops the connections that are kept.
func (c *Client) Close() {
	c.kept.CloseIdleConnections()
	c.fresh.CloseIdleConnections()
	if c.direct != nil {
		c.direct.close()
	}
}

// Engine is the engine that the server is taken for; nil = unknown.
func (c *Client) Engine() *engine.Engine { return c.engine }

// KernelTime says that streams are read with the instants at which the kernel
// received their parts; otherwise with those at which they were read.
func (c *Client) KernelTime() bool { return c.direct != nil }

// Reply is the answer of an admin endpoint.
type Reply struct {
	Status    int
	Header    http.Header
	Body      []byte
	Took      time.Duration
	Truncated bool   // the body was longer than MaxBody
	Path      string // that answered; a legacy one after a 404
}

// Ask asks one path of an endpoint, whatever the engine is taken for and without
// a fall-back. A status of 400 and above is an error and still fills the reply;
// so does a body that ends too early.
func (c *Client) Ask(ctx context.Context, e engine.Endpoint, path string) (Reply, error) {
	return c.at(e).do(ctx, e.Method, path, nil, nil)
}

// Call asks an endpoint of the engine, trying its legacy paths after a 404. A
// status of 400 and above is an error and still fills the reply. A nil body
// sends none.
func (c *Client) Call(ctx context.Context, name engine.EndpointName, query url.Values, body []byte) (Reply, error) {
	e, err := c.endpoint(name)
	if err != nil {
		return Reply{}, err
	}
	var r Reply
	for _, path := range append([]string{e.Path}, e.Legacy...) {
		r, err = c.at(e).do(ctx, e.Method, path, query, body)
		if r.Status != http.StatusNotFound {
			break
		}
	}
	if r.Status == http.StatusNotFound && e.Needs != "" {
		err = &Error{sample.ClassStatus, c.oneLine("%v; it needs %s", err, e.Needs), err}
	}
	return r, err
}

// CountTokens asks the server how many tokens a text has, special tokens left
// aside. The error says that the engine has no such endpoint, or what failed.
func (c *Client) CountTokens(ctx context.Context, model, text string) (int, error) {
	if c.engine == nil || c.engine.Tokenize == nil {
		_, err := c.endpoint(engine.EndpointTokenize)
		if err == nil {
			err = fmt.Errorf("endpoint %s: nothing is known of its replies", engine.EndpointTokenize)
		}
		return 0, err
	}
	body, err := c.engine.Tokenize.Encode(model, text)
	if err != nil {
		return 0, fmt.Errorf("endpoint %s: %w", engine.EndpointTokenize, err)
	}
	r, err := c.Call(ctx, engine.EndpointTokenize, nil, body)
	if err != nil {
		return 0, err
	}
	n, err := c.engine.Tokenize.Count(r.Body)
	if err != nil {
		return 0, &Error{sample.ClassMalformed, c.oneLine("POST %s: %v", r.Path, err), err}
	}
	return n, nil
}

// at is the client of the port on which an endpoint stands. A path before every
// endpoint belongs to the server's own port.
func (c *Client) at(e engine.Endpoint) *Client {
	port, known := c.ports[e.Port]
	if e.Port == "" || !known {
		return c
	}
	u, other := *c.base, *c
	u.Host, u.Path = net.JoinHostPort(c.base.Hostname(), strconv.Itoa(port)), ""
	other.base = &u
	return &other
}

func (c *Client) endpoint(name engine.EndpointName) (engine.Endpoint, error) {
	if c.engine != nil {
		for _, e := range c.engine.Endpoints {
			if e.Name == name {
				return e, nil
			}
		}
		return engine.Endpoint{}, fmt.Errorf("endpoint %s: %s has none", name, c.engine.Title)
	}
	return engine.Endpoint{}, fmt.Errorf("endpoint %s: the server's engine is not known; name it", name)
}

func (c *Client) request(ctx context.Context, method, path string, query url.Values, body []byte) *http.Request {
	u := *c.base
	u.Path += path
	u.RawQuery = query.Encode()
	r := &http.Request{
		Method: method, URL: &u, Host: u.Host, Header: c.header.Clone(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if body != nil {
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		r.ContentLength = int64(len(body))
		r.Header.Set("Content-Type", "application/json")
	}
	return r.WithContext(ctx)
}

func (c *Client) do(ctx context.Context, method, path string, query url.Values, body []byte) (Reply, error) {
	if method == "" {
		method = http.MethodGet
	}
	if c.guard != nil {
		if err := c.guard(method, path); err != nil {
			return Reply{}, err
		}
	}
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTimeout)
		defer cancel()
	}
	began := time.Now()
	reused := new(atomic.Bool) // the transport may write to it after its return
	trace := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) { reused.Store(i.Reused) },
	})
	resp, err := c.kept.RoundTrip(c.request(trace, method, path, query, body))
	if err != nil && reused.Load() && stale(ctx, err) {
		resp, err = c.fresh.RoundTrip(c.request(ctx, method, path, query, body))
	}
	if err != nil {
		return Reply{}, c.fail(ctx, method, path, err)
	}
	defer resp.Body.Close()
	r := Reply{Status: resp.StatusCode, Header: resp.Header, Path: path}
	r.Body, err = io.ReadAll(io.LimitReader(resp.Body, c.maxBody+1))
	r.Took = time.Since(began)
	if int64(len(r.Body)) > c.maxBody {
		r.Body, r.Truncated = r.Body[:c.maxBody], true
	}
	if err != nil {
		return r, c.fail(ctx, method, path, err)
	}
	if r.Status >= 400 {
		return r, &Error{statusClass(r.Status), c.oneLine("%s %s: HTTP %d: %s", method, path, r.Status, c.reason(r.Body)), nil}
	}
	return r, nil
}

func (c *Client) fail(ctx context.Context, method, path string, err error) error {
	class, words := classify(cause(ctx, err))
	return &Error{class, c.oneLine("%s %s: %s", method, path, words), err}
}

func statusClass(status int) sample.Class {
	if status == http.StatusUnauthorized || status == http.StatusForbidden {
		return sample.ClassAuth
	}
	return sample.ClassStatus
}

// reason is what an error reply says: the message of a JSON error, or its text.
func (c *Client) reason(body []byte) string {
	var d engine.Delta
	if engine.DecodeOpenAI(body, &d) == nil && d.Error != "" {
		return d.Error
	}
	if len(body) > maxErrorText {
		body = body[:maxErrorText]
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return "no further words"
	}
	return string(body)
}

// Probe checks that the server answers as a ready one does. nil means that it
// does; the error says which endpoint was asked, what came and what was expected.
func (c *Client) Probe(ctx context.Context, p engine.Probe, model string) error {
	if p.Timeout <= 0 {
		p.Timeout = callTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	if p.Generate {
		return c.probeGenerate(ctx, p, model)
	}
	want := p.Status
	if want == 0 {
		want = http.StatusOK
	}
	r, err := c.Call(ctx, p.Endpoint, nil, nil)
	if r.Status == 0 {
		return fmt.Errorf("probe %s: expected HTTP %d: %w", p.Endpoint, want, err)
	}
	if r.Status != want {
		return &Error{statusClass(r.Status), c.oneLine("probe %s: HTTP %d (%s), expected %d", p.Endpoint, r.Status, c.reason(r.Body), want), err}
	}
	if p.Body != nil && !p.Body.Match(r.Body) {
		return &Error{sample.ClassMalformed, c.oneLine("probe %s: the reply %.80q does not match %s", p.Endpoint, r.Body, p.Body), nil}
	}
	return nil
}

// probeTokens are asked of a generating probe: one token may be a lone special
// one without text.
const probeTokens = 4

func (c *Client) probeGenerate(ctx context.Context, p engine.Probe, model string) error {
	w, err := c.Wire(p.Endpoint)
	if err != nil {
		return err
	}
	body, err := w.Encode(engine.GenerateRequest{Model: model, Prompt: "Hello", MaxTokens: probeTokens, Stream: true})
	if err != nil {
		return fmt.Errorf("probe %s: %w", p.Endpoint, err)
	}
	rec := sample.New(0, 0)
	c.Stream(ctx, w, body, "probe", wallClock(time.Now()), &rec)
	if !rec.OK() {
		return &Error{rec.Class, c.oneLine("probe %s: expected at least one generated token: %s", p.Endpoint, rec.Error), nil}
	}
	return nil
}

// Wire is the engine's wire format of an endpoint; "" = its first.
func (c *Client) Wire(name engine.EndpointName) (engine.Wire, error) {
	if c.engine != nil {
		for _, w := range c.engine.Wires {
			if w.Endpoint == name || name == "" {
				return w, nil
			}
		}
	}
	return engine.Wire{}, fmt.Errorf("endpoint %s: no wire format to generate through", name)
}

type wallClock time.Time

func (w wallClock) Now() int64 { return int64(time.Since(time.Time(w))) }
