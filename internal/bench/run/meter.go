package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"llmdyno/internal/bench/result"
	"llmdyno/internal/client"
	"llmdyno/internal/engine"
	"llmdyno/internal/load/sample"
)

// The schema of server-metrics.jsonl: a header line, then one line a reading.
const (
	serverMetricsName          = "server-metrics.jsonl"
	serverMetricsSchema        = "llmdyno.server-metrics"
	serverMetricsSchemaVersion = 1
)

const (
	meterEvery   = time.Second
	meterTimeout = 5 * time.Second
)

// reading is the state of a server at one moment, by its own metrics.
type reading struct {
	AtMs   float64                     `json:"at_ms"` // since the first reading was asked for
	Values map[engine.Quantity]float64 `json:"values,omitempty"`
	Error  string                      `json:"error,omitempty"`
	// absent: there is no such endpoint on this server, which is not worth a
	// warning: most engines have it only with a flag.
	absent bool
}

// meterReading is what the meter saw of a trial.
type meterReading struct {
	has      bool // the engine has a metrics endpoint
	readings []reading
}

// meter reads a server's metrics before a trial, each second, and after it.
type meter struct {
	client *client.Client
	ctx    context.Context
	began  time.Time
	quit   chan struct{}
	ended  chan meterReading
}

func startMeter(ctx context.Context, c *client.Client) *meter {
	m := &meter{client: c, ctx: ctx, began: time.Now(), quit: make(chan struct{}), ended: make(chan meterReading, 1)}
	if _, has := c.Engine().Endpoint(engine.EndpointMetrics); !has {
		m.ended <- meterReading{}
		return m
	}
	first := m.read()
	go func() {
		out := meterReading{has: true, readings: []reading{first}}
		defer func() { m.ended <- out }()
		if first.Values == nil {
			return // it will not answer later either
		}
		tick := time.NewTicker(meterEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				out.readings = append(out.readings, m.read())
			case <-m.quit:
				out.readings = append(out.readings, m.read())
				return
			}
		}
	}()
	return m
}

func (m *meter) read() reading {
	ctx, cancel := context.WithTimeout(m.ctx, meterTimeout)
	defer cancel()
	r := reading{AtMs: float64(time.Since(m.began)) / float64(time.Millisecond)}
	values, err := m.client.Quantities(ctx)
	if err != nil {
		r.Error = err.Error()
		var failed *client.Error
		r.absent = errors.As(err, &failed) && failed.Class == sample.ClassStatus && strings.Contains(failed.Message, "HTTP 404")
		return r
	}
	r.Values = values
	return r
}

func (m *meter) stop() meterReading {
	close(m.quit)
	return <-m.ended
}

func (r *runner) writeMeter(dir string, m meterReading) error {
	f, err := r.folder.CreateFile(dir + "/" + serverMetricsName)
	if err != nil {
		return err
	}
	defer f.Abort()
	lines := []any{map[string]any{"schema": serverMetricsSchema, "schema_version": serverMetricsSchemaVersion}}
	for _, x := range m.readings {
		lines = append(lines, x)
	}
	for _, x := range lines {
		line, err := json.Marshal(x)
		if err != nil {
			return fmt.Errorf("server metrics: %w", err)
		}
		if _, err := f.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return f.Commit()
}

// ends are the first and the last reading with values.
func (m meterReading) ends() (first, last map[engine.Quantity]float64) {
	for _, x := range m.readings {
		if x.Values == nil {
			continue
		}
		if first == nil {
			first = x.Values
		}
		last = x.Values
	}
	return first, last
}

// cache is what the server says of its KV cache over the trial; nil = nothing.
func (m meterReading) cache() *result.Cache {
	first, last := m.ends()
	var c result.Cache
	grown := func(q engine.Quantity) (float64, bool) {
		a, ok := first[q]
		b, too := last[q]
		return b - a, ok && too && b >= a
	}
	prompt, ok := grown(engine.QuantityPromptTokens)
	if cached, too := grown(engine.QuantityCachedTokens); ok && too && prompt > 0 && cached <= prompt {
		rate := cached / prompt
		c.PrefixCacheHitRate = &rate
	}
	for _, x := range m.readings {
		if v, ok := x.Values[engine.QuantityKVUsage]; ok && (c.KVCacheUtilization == nil || v > *c.KVCacheUtilization) {
			c.KVCacheUtilization = &v
		}
	}
	if c == (result.Cache{}) {
		return nil
	}
	return &c
}

func (m meterReading) warnings() []result.Warning {
	if !m.has || len(m.readings) == 0 || m.readings[0].Values != nil || m.readings[0].absent {
		return nil
	}
	return []result.Warning{{Code: "no-server-metrics", Message: "the server's own metrics are missing: " + m.readings[0].Error}}
}
