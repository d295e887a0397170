package sim

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestStreamCarriesOneTokenAnEvent(t *testing.T) {
	inBubble(t, options("plain serve "+testModel), func(r *rig) {
		a := r.completion("r1", 100, 5)
		if a.status != 200 || len(a.events) != 7 || a.events[6] != "[DONE]" {
			t.Fatalf("got %d with events %q", a.status, a.events)
		}
		if !strings.Contains(a.events[4], `"finish_reason":"length"`) || strings.Contains(a.events[3], `"length"`) {
			t.Errorf("the reason belongs into the last delta: %q", a.events)
		}
		if !strings.Contains(a.events[5], `"prompt_tokens":100,"completion_tokens":5`) {
			t.Errorf("usage %q: expected 100 and 5 tokens", a.events[5])
		}
		if n := len(strings.Fields(a.text(t))); n != 5 {
			t.Errorf("%d words, expected 5", n)
		}
		for i := 1; i < 5; i++ {
			if a.at[i] <= a.at[i-1] {
				t.Errorf("token %d came at %v, not after %v", i+1, a.at[i], a.at[i-1])
			}
		}
	})
}

func TestWholeChatAndNativeReplies(t *testing.T) {
	inBubble(t, options("plain serve "+testModel), func(r *rig) {
		whole := r.post("/v1/completions", map[string]any{"prompt": []int{1, 2, 3}, "max_tokens": 3, "ignore_eos": true})
		if !strings.Contains(whole.body, `"prompt_tokens":3,"completion_tokens":3`) || !json.Valid([]byte(whole.body)) {
			t.Errorf("whole reply %q", whole.body)
		}
		chat := r.post("/v1/chat/completions", map[string]any{"messages": []map[string]string{{"role": "user", "content": "a b"}}, "max_tokens": 2, "stream": true, "ignore_eos": true})
		if len(chat.events) != 5 || !strings.Contains(chat.events[0], "assistant") || !strings.Contains(chat.events[3], `"finish_reason":"length"`) {
			t.Errorf("chat events %q: expected role, two texts, finish, done", chat.events)
		}
		if chat.header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("content type %q", chat.header.Get("Content-Type"))
		}
		native := r.post("/generate", map[string]any{"text": "a b c", "stream": true, "sampling_params": map[string]any{"max_new_tokens": 3, "ignore_eos": true}})
		if len(native.events) != 4 || !strings.Contains(native.events[2], `"completion_tokens":3`) {
			t.Fatalf("native events %q", native.events)
		}
		var first, last struct{ Text string }
		json.Unmarshal([]byte(native.events[0]), &first)
		json.Unmarshal([]byte(native.events[2]), &last)
		if !strings.HasPrefix(last.Text, first.Text+" ") {
			t.Errorf("texts %q and %q are not cumulative", first.Text, last.Text)
		}
	})
}

func TestUsageIsSentAsAsked(t *testing.T) {
	inBubble(t, options("plain serve "+testModel), func(r *rig) {
		for _, c := range []struct {
			options any
			events  int // those with counts
		}{
			{nil, 0},
			{map[string]any{"include_usage": true}, 1},
			{map[string]any{"include_usage": true, "continuous_usage_stats": true}, 4},
			{map[string]any{"include_usage": false}, 0},
		} {
			a := r.post("/v1/completions", map[string]any{"prompt": "x", "max_tokens": 3, "stream": true, "ignore_eos": true, "stream_options": c.options})
			if n := strings.Count(strings.Join(a.events, ""), "prompt_tokens\""); n != c.events {
				t.Errorf("stream_options %v: %d events with counts, expected %d", c.options, n, c.events)
			}
		}
		a := r.post("/v1/completions", map[string]any{"prompt": "x", "stream_options": map[string]any{}})
		if a.status != 400 {
			t.Errorf("stream_options without stream: %d, expected 400", a.status)
		}
	})
}

func TestRefusals(t *testing.T) {
	o := options("plain serve " + testModel + " --api-key k1 k2 --ctx 200 --max-queued 1 --max-running 1")
	inBubble(t, o, func(r *rig) {
		auth := []string{"Authorization", "Bearer k2"}
		for _, c := range []struct {
			name, method, path, body string
			auth                     bool
			status                   int
			want                     string
		}{
			{"no key", "POST", "/v1/completions", "{}", false, 401, "Unauthorized"},
			{"open route without key", "GET", "/health", "", false, 200, ""},
			{"not JSON", "POST", "/v1/completions", "{", true, 400, "unexpected end"},
			{"no prompt", "POST", "/v1/completions", "{}", true, 400, `"field":"prompt"`},
			{"wrong type", "POST", "/v1/completions", `{"prompt":"x","max_tokens":"many"}`, true, 400, `"field":"max_tokens"`},
			{"unknown field", "POST", "/v1/completions", `{"prompt":"x","best":1}`, true, 422, `"field":"best"`},
			{"unknown nested field", "POST", "/v1/completions", `{"prompt":"x","stream":true,"stream_options":{"bad":1}}`, true, 422, `stream_options.bad`},
			{"another model", "POST", "/v1/completions", `{"prompt":"x","model":"other"}`, true, 404, "does not exist"},
			{"too long", "POST", "/v1/completions", `{"prompt":"x","max_tokens":200}`, true, 400, `"limit":200,"wanted":201`},
			{"unknown path", "GET", "/nope", "", true, 404, ""},
			{"wrong method", "GET", "/v1/completions", "", true, 405, ""},
			{"route that needs a flag", "GET", "/metrics", "", true, 404, ""},
			{"path with a rest", "GET", "/any/thing", "", true, 204, ""},
			{"messages missing", "POST", "/v1/chat/completions", `{}`, true, 400, "messages"},
		} {
			h := auth
			if !c.auth {
				h = nil
			}
			a := r.call(c.method, c.path, c.body, h...)
			if a.status != c.status || !strings.Contains(a.body, c.want) {
				t.Errorf("%s: got %d %q, expected %d with %q", c.name, a.status, a.body, c.status, c.want)
			}
		}
		var wg sync.WaitGroup
		statuses := make([]int, 3)
		for i := range statuses {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				a := r.call("POST", "/v1/completions", `{"prompt":"x","max_tokens":50,"ignore_eos":true}`, auth...)
				statuses[i] = a.status
			})
		}
		wg.Wait()
		if statuses[0] != 200 || statuses[1] != 200 || statuses[2] != 503 {
			t.Errorf("one runs, one waits, one is refused: got %v", statuses)
		}
	})
}

func TestLoadingThenReadyThenStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options("plain serve "+testModel))
		time.Sleep(time.Millisecond)
		if a := r.call("GET", "/health", ""); a.status != 503 || !strings.Contains(a.body, "loading") {
			t.Errorf("while loading: %d %q", a.status, a.body)
		}
		time.Sleep(bootTime)
		if a := r.call("GET", "/health", ""); a.status != 200 {
			t.Errorf("when ready: %d", a.status)
		}
		r.completion("r1", 10, 400)
		began := time.Now()
		r.stop()
		if d := time.Since(began); d > time.Second {
			t.Errorf("stopping took %v", d)
		}
		got := r.out.String()
		for _, want := range []string{"boot " + testModel + " on NVIDIA H100", "ready at 127.0.0.1 with ", "stats 1 0 ", "request ", "stop\n"} {
			if !strings.Contains(got, want) {
				t.Errorf("log lacks %q:\n%s", want, got)
			}
		}
	})
}

func TestStopCutsWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, options("plain serve "+testModel))
		time.Sleep(bootTime + time.Millisecond)
		got := make(chan answer, 1)
		go func() { got <- r.completion("r1", 10, 100_000/10) }()
		time.Sleep(time.Second)
		r.stop()
		a := <-got
		if a.err == nil || len(a.events) == 0 || a.events[len(a.events)-1] == "[DONE]" {
			t.Errorf("a stream that was running must end without its end: %v, %d events", a.err, len(a.events))
		}
	})
}

// The header promises to keep the connection, which is gone 3 ms later.
func TestSilentCloseAfterStream(t *testing.T) {
	inBubble(t, options("plain serve "+testModel), func(r *rig) {
		r.hasty = true
		ask := func() answer {
			return r.post("/v1/chat/completions", map[string]any{"messages": []any{}, "max_tokens": 2, "stream": true})
		}
		if a := ask(); a.status != 200 || a.header.Get("Connection") != "" || a.header.Get("Keep-Alive") == "" {
			t.Errorf("first: %d %v", a.status, a.header)
		}
		time.Sleep(closeLag - time.Millisecond)
		synctest.Wait()
		if a := ask(); a.err == nil || a.status != 0 {
			t.Errorf("a request on the connection that is about to close was answered: %d", a.status)
		}
		time.Sleep(10 * time.Millisecond)
		if a := ask(); a.status != 200 || a.events[len(a.events)-1] != "[DONE]" {
			t.Errorf("on a new connection: %d %v", a.status, a.err)
		}
	})
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	inBubble(t, options("plain serve "+testModel), func(r *rig) {
		r.call("GET", "/health", "")
		time.Sleep(keepAlive + time.Second)
		synctest.Wait()
		if a := r.call("GET", "/health", ""); a.status != 200 {
			t.Errorf("after the keep-alive time: %d %v", a.status, a.err)
		}
	})
}

func TestDisconnectFreesTheRequest(t *testing.T) {
	inBubble(t, options("plain serve "+testModel), func(r *rig) {
		r.client.Timeout = 300 * time.Millisecond
		r.completion("r1", 10, 5000)
		r.client.Timeout = 0
		time.Sleep(50 * time.Millisecond)
		if s := r.state(); s.Running != 0 || s.KVUsed != 0 || s.Aborted != 1 {
			t.Errorf("after a disconnect: %+v", s)
		}
	})
}

// Each fault is seen on the wire as the real thing would be.
func TestFaults(t *testing.T) {
	argv := "plain serve " + testModel
	ask := func(r *rig) answer { return r.completion("r1", 10, 20) }
	t.Run("hang-request", func(t *testing.T) {
		inBubble(t, options(argv, "hang-request=2"), func(r *rig) {
			if a := ask(r); a.err != nil || a.status != 200 {
				t.Errorf("the first request: %+v", a)
			}
			r.client.Timeout = 5 * time.Minute
			if a := ask(r); a.status != 0 || a.took < 5*time.Minute {
				t.Errorf("the second request got %d after %v; expected silence", a.status, a.took)
			}
			if a := r.call("GET", "/health", ""); a.status != 200 {
				t.Errorf("health %d", a.status)
			}
		})
	})
	t.Run("poison", func(t *testing.T) {
		inBubble(t, options(argv, "poison=zyzzyva"), func(r *rig) {
			running := make(chan answer, 1)
			go func() { running <- r.completion("r0", 10, 1000) }()
			time.Sleep(50 * time.Millisecond)
			if a := ask(r); a.status != 200 {
				t.Errorf("a request without it got %d", a.status)
			}
			if a := r.post("/v1/completions", map[string]any{"prompt": "a zyzzyva b", "max_tokens": 3}); a.status != 0 {
				t.Errorf("the poison got %d, expected no reply", a.status)
			}
			if a := <-running; a.err == nil {
				t.Errorf("the request in flight ended well: %+v", a)
			}
			var end *Refusal
			if err := <-r.ended; !errors.As(err, &end) || end.Exit == 0 {
				t.Errorf("the process ended with %v, expected the engine's crash", err)
			}
			r.ended <- nil
			if a := r.call("GET", "/health", ""); a.status != 0 {
				t.Errorf("health %d after the end", a.status)
			}
		})
	})
	t.Run("http-500", func(t *testing.T) {
		inBubble(t, options(argv, "http-500"), func(r *rig) {
			if a := ask(r); a.status != 500 || !strings.Contains(a.body, "Internal Server Error") {
				t.Errorf("got %d %q", a.status, a.body)
			}
		})
	})
	t.Run("reset-stream", func(t *testing.T) {
		inBubble(t, options(argv, "reset-stream"), func(r *rig) {
			a := ask(r)
			if a.status != 200 || a.err == nil || len(a.events) == 0 || len(a.events) >= 20 {
				t.Errorf("got %d, %v after %d events; expected a cut within the stream", a.status, a.err, len(a.events))
			}
			if s := r.state(); s.Running != 0 {
				t.Errorf("still running: %+v", s)
			}
		})
	})
	t.Run("malformed-sse", func(t *testing.T) {
		inBubble(t, options(argv, "malformed-sse"), func(r *rig) {
			bad := 0
			for _, e := range ask(r).events {
				if e != "[DONE]" && !json.Valid([]byte(e)) {
					bad++
				}
			}
			if bad != 1 {
				t.Errorf("%d events cannot be read, expected 1", bad)
			}
		})
	})
	t.Run("no-usage", func(t *testing.T) {
		inBubble(t, options(argv, "no-usage"), func(r *rig) {
			all := strings.Join(ask(r).events, "")
			all += r.post("/v1/completions", map[string]any{"prompt": "x", "max_tokens": 2}).body
			all += strings.Join(r.post("/generate", map[string]any{"text": "x", "stream": true}).events, "")
			if strings.Contains(all, "completion_tokens") || !strings.Contains(all, `"text"`) {
				t.Errorf("counts were sent: %s", all)
			}
		})
	})
	t.Run("wrong-usage", func(t *testing.T) {
		inBubble(t, options(argv, "wrong-usage"), func(r *rig) {
			a := ask(r)
			if u := a.events[20]; strings.Contains(u, `"completion_tokens":20`) || !strings.Contains(u, `"completion_tokens":43`) {
				t.Errorf("usage %q", u)
			}
		})
	})
	t.Run("slow-tokens", func(t *testing.T) {
		var plain, slow time.Duration
		inBubble(t, options(argv), func(r *rig) { plain = ask(r).took })
		inBubble(t, options(argv, "slow-tokens=4"), func(r *rig) { slow = ask(r).took })
		if f := float64(slow) / float64(plain); f < 3.9 || f > 4.1 {
			t.Errorf("took %v instead of %v: a factor of %.2f, expected 4", slow, plain, f)
		}
	})
	t.Run("dead-scheduler", func(t *testing.T) {
		inBubble(t, options(argv, "dead-scheduler=1"), func(r *rig) {
			if a := ask(r); a.status != 200 {
				t.Errorf("before it dies: %d", a.status)
			}
			r.client.Timeout = time.Minute
			if a := ask(r); a.status != 0 {
				t.Errorf("a dead scheduler answered %d", a.status)
			}
			if a := r.call("GET", "/health", ""); a.status != 200 {
				t.Errorf("health %d, expected green", a.status)
			}
			if a := r.call("GET", "/deep", ""); a.status != 503 || a.took < 20*time.Second {
				t.Errorf("the deep probe said %d after %v", a.status, a.took)
			}
		})
	})
	t.Run("unauthorized", func(t *testing.T) {
		inBubble(t, options(argv, "unauthorized"), func(r *rig) {
			if a := ask(r); a.status != 401 {
				t.Errorf("got %d", a.status)
			}
		})
	})
	t.Run("slow-start", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, options(argv, "slow-start=90s"))
			defer r.stop()
			time.Sleep(89 * time.Second)
			if a := r.call("GET", "/health", ""); a.status != 503 {
				t.Errorf("after 89 s: %d", a.status)
			}
			time.Sleep(2 * time.Second)
			if a := r.call("GET", "/health", ""); a.status != 200 {
				t.Errorf("after 91 s: %d", a.status)
			}
		})
	})
	t.Run("never-ready", func(t *testing.T) {
		inBubble(t, options(argv, "never-ready"), func(r *rig) {
			time.Sleep(24 * time.Hour)
			if a := r.call("GET", "/health", ""); a.status != 503 {
				t.Errorf("after a day: %d", a.status)
			}
		})
	})
	t.Run("exit-loading", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, options(argv, "exit-loading"))
			var end *Refusal
			if err := <-r.ended; !errors.As(err, &end) || end.Exit != 134 || string(end.Text) != "crash\n" {
				t.Errorf("ended with %v", err)
			}
			r.client.CloseIdleConnections()
		})
	})
	t.Run("oom", func(t *testing.T) { wantEnd(t, options(argv, "oom"), 1, "out of memory") })
	t.Run("unknown-flag", func(t *testing.T) {
		wantEnd(t, options(argv+" --tp 1", "unknown-flag=--tp"), 2, "unrecognized arguments: --tp")
	})
}

func wantEnd(t *testing.T, o Options, exit int, text string) {
	t.Helper()
	_, err := New(o)
	var end *Refusal
	if !errors.As(err, &end) {
		t.Fatalf("New(%q) = %v, expected the engine to end", o.Argv, err)
	}
	if end.Exit != exit || !strings.Contains(string(end.Text), text) {
		t.Errorf("New(%q): exit code %d with %q, expected %d with %q", o.Argv, end.Exit, end.Text, exit, text)
	}
}

func TestFaultShareIsSeeded(t *testing.T) {
	hits := func(seed uint64) (set string) {
		o := options("plain serve "+testModel, "http-500=0.3")
		o.Seed = seed
		inBubble(t, o, func(r *rig) {
			for i := range 60 {
				if r.completion("r"+string(rune('A'+i)), 3, 1).status == 500 {
					set += string(rune('A' + i))
				}
			}
		})
		return set
	}
	one, again, other := hits(1), hits(1), hits(2)
	if one != again {
		t.Errorf("the same seed struck %q and %q", one, again)
	}
	if one == other || len(one) < 8 || len(one) > 30 {
		t.Errorf("seeds 1 and 2 struck %q and %q of 60, expected about 18 each and different ones", one, other)
	}
}

// Same seed, same bubble: byte-identical truth and texts.
func TestDeterminism(t *testing.T) {
	run := func(seed uint64) (truth, texts string) {
		o := options("plain serve " + testModel + " --max-running 6 --chunk 512 --max-total 4096 --ctx 2000 --policy lpm")
		o.Seed = seed
		inBubble(t, o, func(r *rig) {
			out := make([]string, 24)
			var wg sync.WaitGroup
			for i := range out {
				wg.Go(func() {
					time.Sleep(time.Duration(i/4) * 20 * time.Millisecond) // four arrive at the same instant
					a := r.post("/v1/completions", map[string]any{"prompt": promptOf("p", 60*(1+i%7)) + " own", "max_tokens": 300, "stream": true}, "X-Request-Id", string(rune('a'+i)))
					out[i] = strings.Join(a.events, "\n")
				})
			}
			wg.Wait()
			texts = strings.Join(out, "\n")
			time.Sleep(2 * time.Second)
			truth = r.truth.String()
		})
		return truth, texts
	}
	truth, texts := run(3)
	for range 3 {
		truth2, texts2 := run(3)
		if truth != truth2 {
			t.Fatalf("truth differs:\n%s\n%s", truth, truth2)
		}
		if texts != texts2 {
			t.Fatal("texts differ")
		}
	}
	if other, _ := run(4); other == truth {
		t.Error("another seed gave the same truth")
	}
	if n := strings.Count(truth, "\n"); n != 24 {
		t.Errorf("%d truth lines, expected 24", n)
	}
	var rec TruthRecord
	if err := json.Unmarshal([]byte(truth[:strings.IndexByte(truth, '\n')]), &rec); err != nil {
		t.Fatal(err)
	}
	if len(rec.EventsNs) != rec.OutputTokens || rec.FirstNs != rec.EventsNs[0] || rec.LastNs < rec.FirstNs || rec.FinishedNs < rec.LastNs || rec.ReceivedNs > rec.FirstNs {
		t.Errorf("truth %+v does not agree with itself", rec)
	}
}

func TestFlushAndPrefixCache(t *testing.T) {
	inBubble(t, options("plain serve "+testModel), func(r *rig) {
		r.completion("same", 1000, 2)
		second := r.completion("same", 1000, 2)
		if s := r.state(); s.Cached < 900 || s.HitRate < 0.4 {
			t.Errorf("the second request found %d tokens of its prompt", s.Cached)
		}
		if a := r.call("POST", "/flush", ""); a.status != 200 {
			t.Errorf("flush of an idle engine: %d", a.status)
		}
		before := r.state().Cached
		third := r.completion("same", 1000, 2)
		if s := r.state(); s.Cached != before {
			t.Errorf("after a flush %d tokens were found", s.Cached-before)
		}
		if second.at[0] >= third.at[0] {
			t.Errorf("TTFT with a cached prompt %v, without %v", second.at[0], third.at[0])
		}
		done := make(chan answer)
		go func() { done <- r.completion("long", 10, 300) }()
		time.Sleep(100 * time.Millisecond)
		if a := r.call("POST", "/flush", ""); a.status != 400 {
			t.Errorf("flush while a request runs: %d", a.status)
		}
		<-done
	})
}

func TestTokenize(t *testing.T) {
	inBubble(t, options("plain serve "+testModel), func(r *rig) {
		a := r.call("POST", "/tokenize", `{"prompt":"one two one"}`)
		var got struct {
			Tokens []int
			Count  int
		}
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || got.Count != 3 || got.Tokens[0] != got.Tokens[2] || got.Tokens[0] == got.Tokens[1] {
			t.Errorf("got %q, %v", a.body, err)
		}
	})
}

func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}
