package collect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// ReadTargets reads a list of servers: one URL a line, a name before it if
// wanted; # begins a comment.
func ReadTargets(text string) ([]Spec, error) {
	var specs []Spec
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		switch len(words) {
		case 0:
		case 1:
			specs = append(specs, Spec{URL: words[0]})
		case 2:
			specs = append(specs, Spec{Name: words[0], URL: words[1]})
		default:
			return nil, fmt.Errorf("line %d: expected URL or NAME URL, found %d words", n, len(words))
		}
		if len(words) > 0 && !strings.Contains(words[len(words)-1], "://") {
			return nil, fmt.Errorf("line %d: expected a URL such as http://host:30000, found %.60q", n, words[len(words)-1])
		}
	}
	return specs, nil
}

// Found are targets that somebody else knows of, with what was said of them.
type Found struct {
	Specs []Spec
	File  string // name in the bundle
	Body  []byte // raw
}

// podList is the part of `kubectl get pods -o json` that is used (Kubernetes API
// v1, PodList).
type podList struct {
	Items []struct {
		Metadata struct{ Name, Namespace string }
		Spec     struct {
			Containers []struct {
				Ports []struct {
					Name          string
					ContainerPort int
				}
			}
		}
		Status struct{ Phase, PodIP string }
	}
}

// Kubernetes finds the pods of a label selector ("app=x", or "namespace/app=x")
// through kubectl. port = 0: the port named http, else the first one declared.
func Kubernetes(ctx context.Context, run Runner, selector string, port int) (Found, error) {
	args := []string{"get", "pods", "-o", "json", "-l", selector}
	if ns, label, ok := strings.Cut(selector, "/"); ok && !strings.ContainsAny(ns, "=,") {
		args = []string{"get", "pods", "-o", "json", "-n", ns, "-l", label}
	}
	out, err := run(ctx, "kubectl", args...)
	if errors.Is(err, errAbsent) {
		return Found{}, errors.New("kubectl is not on PATH: install it, or name the servers with --url or --targets")
	}
	if err != nil {
		return Found{}, err
	}
	var pods podList
	if err := json.Unmarshal(out, &pods); err != nil {
		return Found{}, fmt.Errorf("kubectl get pods: expected JSON: %w", err)
	}
	f := Found{File: "host/pods.json", Body: out}
	for _, p := range pods.Items {
		at := port
		for _, c := range p.Spec.Containers {
			for _, x := range c.Ports {
				if at == 0 || port == 0 && x.Name == "http" {
					at = x.ContainerPort
				}
			}
		}
		s := Spec{Name: p.Metadata.Name}
		if p.Status.Phase != "Running" {
			s.Notes = append(s.Notes, "pod is "+p.Status.Phase)
		}
		if p.Status.PodIP == "" || at == 0 {
			s.Notes = append(s.Notes, "it has no address, or declares no port: give --port")
		} else {
			s.URL = "http://" + net.JoinHostPort(p.Status.PodIP, strconv.Itoa(at))
		}
		f.Specs = append(f.Specs, s)
	}
	if len(f.Specs) == 0 {
		return f, fmt.Errorf("kubectl: no pod has the labels %q", selector)
	}
	return f, nil
}

// Slurm finds the nodes of a job through squeue and scontrol.
func Slurm(ctx context.Context, run Runner, job string, port int) (Found, error) {
	if port == 0 {
		return Found{}, errors.New("a Slurm job does not tell the port of its servers: give --port")
	}
	out, err := run(ctx, "squeue", "--noheader", "--jobs", job, "--format", "%N")
	if errors.Is(err, errAbsent) {
		return Found{}, errors.New("squeue is not on PATH: run on a node of the cluster, or name the servers with --url or --targets")
	}
	if err != nil {
		return Found{}, err
	}
	list := strings.Join(strings.Fields(string(out)), ",")
	if list == "" {
		return Found{}, fmt.Errorf("squeue: job %s has no nodes: it does not run", job)
	}
	hosts, err := run(ctx, "scontrol", "show", "hostnames", list)
	if err != nil {
		return Found{}, err
	}
	f := Found{File: "host/slurm-job.txt"}
	f.Body, _ = run(ctx, "scontrol", "show", "job", job) // said for its reader, not needed
	for _, h := range strings.Fields(string(hosts)) {
		if !slices.ContainsFunc(f.Specs, func(s Spec) bool { return s.Name == h }) {
			f.Specs = append(f.Specs, Spec{Name: h, URL: "http://" + net.JoinHostPort(h, strconv.Itoa(port))})
		}
	}
	return f, nil
}
