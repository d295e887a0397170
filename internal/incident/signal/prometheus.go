package signal

import (
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"

	"llmdyno/internal/engine"
)

// The keys of [Prometheus] that are no engine's id.
const (
	promAll = "all"
	promFor = "for"
)

// WritePrometheus writes a file of alerting rules, one group for each engine and
// one for all. The names of alerts are the ids of the rules. Rules without an
// expression are left out: they need more than a page of metrics.
// Format: prometheus.io, alerting rules, read 2026-11.
func (rs *Rules) WritePrometheus(w io.Writer, engines engine.Set) error {
	type alert struct {
		Alert       string            `yaml:"alert"`
		Expr        string            `yaml:"expr"`
		For         string            `yaml:"for,omitempty"`
		Labels      map[string]string `yaml:"labels"`
		Annotations map[string]string `yaml:"annotations"`
	}
	type group struct {
		Name  string  `yaml:"name"`
		Rules []alert `yaml:"rules"`
	}
	var doc struct {
		Groups []group `yaml:"groups"`
	}
	for _, id := range append([]engine.ID{promAll}, engines.IDs()...) {
		g := group{Name: "llmdyno-" + string(id)}
		for _, r := range rs.List {
			if r.Prometheus[string(id)] == "" {
				continue
			}
			a := alert{Alert: r.ID, Expr: r.Prometheus[string(id)], For: r.Prometheus[promFor],
				Labels:      map[string]string{"severity": r.Severity, "class": r.Class, "confidence": r.Confidence},
				Annotations: map[string]string{"summary": r.Title, "description": "Next step: " + r.NextStep, "risk": r.Risk}}
			if id != promAll {
				a.Labels["engine"] = string(id)
			}
			g.Rules = append(g.Rules, a)
		}
		if len(g.Rules) > 0 {
			doc.Groups = append(doc.Groups, g)
		}
	}
	return writeYAML(w, "Alerting rules of Prometheus, from the signal rules of llmdyno.", doc)
}

// WriteAlertmanager writes inhibition rules: where one finding explains another,
// its alert silences the other's of the same server.
// Format: prometheus.io, Alertmanager configuration, read 2026-11.
func (rs *Rules) WriteAlertmanager(w io.Writer) error {
	type inhibit struct {
		Source []string `yaml:"source_matchers"`
		Target []string `yaml:"target_matchers"`
		Equal  []string `yaml:"equal"`
	}
	var doc struct {
		Inhibit []inhibit `yaml:"inhibit_rules"`
	}
	match := func(label, value string) []string { return []string{fmt.Sprintf("%s=%q", label, value)} }
	equal := []string{"instance"}
	for _, r := range rs.List {
		for _, c := range r.Hides.Classes {
			doc.Inhibit = append(doc.Inhibit, inhibit{match("alertname", r.ID), match("class", c), equal})
		}
		for _, id := range r.Hides.Rules {
			doc.Inhibit = append(doc.Inhibit, inhibit{match("alertname", r.ID), match("alertname", id), equal})
		}
		for _, o := range rs.List {
			if o.ID != r.ID && r.Behind.has(o) && len(o.Prometheus) > 0 && len(r.Prometheus) > 0 {
				doc.Inhibit = append(doc.Inhibit, inhibit{match("alertname", o.ID), match("alertname", r.ID), equal})
			}
		}
	}
	return writeYAML(w, "Inhibition rules of Alertmanager, from the signal rules of llmdyno.", doc)
}

func writeYAML(w io.Writer, comment string, doc any) error {
	if _, err := fmt.Fprintf(w, "# %s\n", comment); err != nil {
		return err
	}
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(doc); err != nil {
		return err
	}
	return enc.Close()
}
