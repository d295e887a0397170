package workload

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"llmdyno/internal/engine"
)

// Limits of images: of one file, and of all files of a workload together.
const (
	maxImageBytes = 32 << 20
	maxImages     = 2 << 30
)

// pictures reads image files, all below the folder of the workload's file: a
// row of a file from elsewhere must not send other files of this machine to a
// server.
type pictures struct {
	root *os.Root
	seen map[string]string // path → data URL
	used int
}

func openPictures(path string) (*pictures, error) {
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	return &pictures{root: root, seen: map[string]string{}}, nil
}

func (p *pictures) close() { p.root.Close() }

// url is the URL of an image: as it stands, or the file as a data URL.
func (p *pictures) url(image string) (string, error) {
	for _, scheme := range []string{"http://", "https://", "data:"} {
		if strings.HasPrefix(strings.ToLower(image), scheme) {
			return image, nil
		}
	}
	if p == nil {
		return "", fmt.Errorf("image %q: expected a URL", cut(image))
	}
	path := filepath.Clean(strings.TrimPrefix(image, "file://"))
	if url, ok := p.seen[path]; ok {
		return url, nil
	}
	data, err := p.read(path)
	if err != nil {
		return "", fmt.Errorf("image %q: %w", cut(image), err)
	}
	kind := imageType(data)
	if kind == "" {
		return "", fmt.Errorf("image %q: expected a PNG, JPEG, GIF or WebP file", cut(image))
	}
	if p.used += len(data); p.used > maxImages {
		return "", fmt.Errorf("image %q: the images of the workload have more than %d bytes together", cut(image), maxImages)
	}
	url := "data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(data)
	p.seen[path] = url
	return url, nil
}

func (p *pictures) read(path string) ([]byte, error) {
	f, err := p.root.Open(path)
	if err != nil {
		return nil, fmt.Errorf("expected a URL or a file below the folder of the workload: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(errors.New("expected a plain file"), err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxImageBytes+1))
	if err == nil && len(data) > maxImageBytes {
		return nil, fmt.Errorf("longer than %d bytes", maxImageBytes)
	}
	return data, err
}

// imageType tells the formats apart by their first bytes.
func imageType(data []byte) string {
	switch {
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		return "image/png"
	case bytes.HasPrefix(data, []byte("\xff\xd8\xff")):
		return "image/jpeg"
	case bytes.HasPrefix(data, []byte("GIF87a")), bytes.HasPrefix(data, []byte("GIF89a")):
		return "image/gif"
	case len(data) >= 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP":
		return "image/webp"
	}
	return ""
}

// addImages puts images behind the text of the last message, making a message of
// a prompt, and turns the files in the messages' own parts into data URLs.
func (q *Request) addImages(images []string, pics *pictures) error {
	for _, m := range q.Messages {
		for i, part := range m.Parts {
			if part.ImageURL == "" {
				continue
			}
			url, err := pics.url(part.ImageURL)
			if err != nil {
				return err
			}
			m.Parts[i].ImageURL = url
		}
	}
	if len(images) == 0 {
		return nil
	}
	if len(q.PromptTokens) > 0 {
		return errors.New(`"images" beside token ids; expected a text or messages`)
	}
	if len(q.Messages) == 0 {
		q.Messages, q.Prompt = []engine.Message{{Role: "user", Content: q.Prompt}}, ""
	}
	last := &q.Messages[len(q.Messages)-1]
	if len(last.Parts) == 0 {
		last.Parts = []engine.Part{{Text: last.Content}}
		last.Content = ""
	}
	for _, image := range images {
		url, err := pics.url(image)
		if err != nil {
			return err
		}
		last.Parts = append(last.Parts, engine.Part{ImageURL: url})
	}
	return nil
}
