package engine

import "regexp"

// Mark is what a reply says of the engine that gave it.
type Mark struct {
	Path    string // the request's path, without query
	Header  string // name of the header that is looked at; "" = the body of a reply with status 200
	Pattern *regexp.Regexp
	Source  Source
}

func (m Mark) find(path string, status int, header func(string) string, body []byte) [][]byte {
	switch {
	case m.Path != "" && m.Path != path:
		return nil
	case m.Header != "":
		return m.Pattern.FindSubmatch([]byte(header(m.Header)))
	case status == 200:
		return m.Pattern.FindSubmatch(body)
	}
	return nil
}

// Recognise finds the engine that a reply comes from; nil = it does not say.
// header gives the value of a header, "" without it.
func (s Set) Recognise(path string, status int, header func(string) string, body []byte) *Engine {
	for _, e := range s {
		for _, m := range e.Marks {
			if m.find(path, status, header, body) != nil {
				return e
			}
		}
	}
	return nil
}

// VersionIn is the version that a reply tells; "" = none.
func (e *Engine) VersionIn(path string, status int, body []byte) string {
	for _, m := range e.VersionMarks {
		if found := m.find(path, status, func(string) string { return "" }, body); len(found) > 1 {
			return string(found[1])
		}
	}
	return ""
}

// Reading says that an endpoint may be asked by who only looks: it is read-only,
// or has an effect that somebody has agreed to by naming it.
func (ep Endpoint) Reading(agreed bool) bool {
	return ep.Method == "GET" && (ep.ReadOnly && ep.Effect == "" || ep.Effect != "" && agreed)
}

// JSON says that the replies of an endpoint are JSON documents.
func (n EndpointName) JSON() bool {
	switch n {
	case EndpointModels, EndpointModelInfo, EndpointServerInfo, EndpointVersion, EndpointLoads, EndpointSlots, EndpointHiCache, EndpointPerfMetrics, EndpointEnergy:
		return true
	}
	return false
}
