package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
)

// Message is one turn of a chat. Its JSON is that of the OpenAI protocol: the
// content is a text, a list of parts, or null beside tool calls.
type Message struct {
	Role    string
	Content string // text; ignored when Parts is set
	Parts   []Part
	// Other are the members beside role and content, as given: name,
	// tool_calls, tool_call_id. Content "" is then written as null.
	Other map[string]json.RawMessage
}

// Part is one piece of a message's content; one of the members is set.
type Part struct {
	Text     string
	ImageURL string          // http, https or data URL
	Raw      json.RawMessage // any other part, as given
}

// WithPrefix is the message with a text before its own.
func (m Message) WithPrefix(text string) Message {
	if len(m.Parts) > 0 {
		m.Parts = slices.Concat([]Part{{Text: text}}, m.Parts)
		return m
	}
	m.Content = text + m.Content
	return m
}

// Text is the text of the message, that of its parts joined.
func (m Message) Text() string {
	text := ""
	for _, p := range m.Parts {
		text += p.Text
	}
	if len(m.Parts) > 0 {
		return text
	}
	return m.Content
}

// MarshalJSON writes role, content, and the other members in the order of their
// names.
func (m Message) MarshalJSON() ([]byte, error) {
	var b Body
	b.Set("role", m.Role)
	switch {
	case len(m.Parts) > 0:
		b.Set("content", m.Parts)
	case m.Content == "" && len(m.Other) > 0:
		b.Set("content", nil)
	default:
		b.Set("content", m.Content)
	}
	for _, key := range slices.Sorted(maps.Keys(m.Other)) {
		b.Set(key, m.Other[key])
	}
	return b.Bytes()
}

// MarshalJSON writes the part as the OpenAI protocol has it.
func (p Part) MarshalJSON() ([]byte, error) {
	var b Body
	switch {
	case p.Raw != nil:
		return p.Raw, nil
	case p.ImageURL != "":
		b.Set("type", "image_url")
		b.Set("image_url", struct {
			URL string `json:"url"`
		}{p.ImageURL})
	default:
		b.Set("type", "text")
		b.Set("text", p.Text)
	}
	return b.Bytes()
}

// UnmarshalJSON reads any message of the OpenAI protocol.
func (m *Message) UnmarshalJSON(data []byte) error {
	*m = Message{}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return err
	}
	content := members["content"]
	if raw, has := members["role"]; has {
		if err := json.Unmarshal(raw, &m.Role); err != nil {
			return err
		}
	}
	delete(members, "role")
	delete(members, "content")
	if len(members) > 0 {
		m.Other = members
	}
	if len(content) > 0 && content[0] == '[' {
		return json.Unmarshal(content, &m.Parts)
	}
	if len(content) > 0 && !bytes.Equal(content, []byte("null")) && content[0] != '"' {
		return errors.New("content: expected a text, a list of parts, or null")
	}
	if len(content) == 0 {
		return nil
	}
	return json.Unmarshal(content, &m.Content)
}

// UnmarshalJSON reads text and image parts, and keeps any other as it is.
func (p *Part) UnmarshalJSON(data []byte) error {
	*p = Part{}
	var x struct {
		Type     string          `json:"type"`
		Text     *string         `json:"text"`
		ImageURL json.RawMessage `json:"image_url"`
	}
	if err := json.Unmarshal(data, &x); err != nil {
		return err
	}
	if x.Type == "text" && x.Text != nil {
		p.Text = *x.Text
		return nil
	}
	if x.Type == "image_url" {
		if p.setImage(x.ImageURL) {
			return nil
		}
	}
	if x.Type == "" || len(data) == 0 || data[0] != '{' {
		return errors.New("content part: expected an object with a type")
	}
	p.Raw = bytes.Clone(data)
	return nil
}

// setImage reads a URL given plain or as {"url": …}; one with more members, such
// as detail, is kept as it is.
func (p *Part) setImage(raw json.RawMessage) bool {
	if json.Unmarshal(raw, &p.ImageURL) == nil && p.ImageURL != "" {
		return true
	}
	p.ImageURL = ""
	var members map[string]string
	if json.Unmarshal(raw, &members) != nil || len(members) != 1 || members["url"] == "" {
		return false
	}
	p.ImageURL = members["url"]
	return true
}
