package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"llmdyno/internal/artifact"
)

// Difference is one way in which a bundle is not as it was sealed.
type Difference = artifact.Difference

// Verify compares the files of a bundle with its manifest; an empty list means
// that all are as they were sealed.
func (b *Bundle) Verify() ([]Difference, error) {
	raw, err := b.files.read(artifact.ManifestName, maxIndex)
	if err != nil {
		if b.Manifest.Origin == OriginPython {
			return nil, fmt.Errorf("verifying %s: a bundle of the Python toolkit has no hashes to compare with", b.Path)
		}
		return nil, fmt.Errorf("verifying %s: it has no %s: the capture was cut short", b.Path, artifact.ManifestName)
	}
	var m artifact.Manifest
	if err := json.Unmarshal(raw, &m); err != nil || m.Schema != artifact.ManifestSchema {
		return nil, fmt.Errorf("verifying %s: %s is no manifest", b.Path, artifact.ManifestName)
	}
	left := map[string]bool{}
	for _, name := range b.files.names() {
		left[name] = name != artifact.ManifestName
	}
	diffs := []Difference{}
	for _, want := range m.Files {
		if !left[want.Path] {
			diffs = append(diffs, Difference{Path: want.Path, What: "missing"})
			continue
		}
		delete(left, want.Path)
		body, err := b.files.read(want.Path, max(maxFile, want.Bytes))
		sum := sha256.Sum256(body)
		switch {
		case err != nil || int64(len(body)) != want.Bytes:
			diffs = append(diffs, Difference{Path: want.Path, What: "size"})
		case hex.EncodeToString(sum[:]) != want.SHA256:
			diffs = append(diffs, Difference{Path: want.Path, What: "content"})
		}
	}
	for name, extra := range left {
		if extra {
			diffs = append(diffs, Difference{Path: name, What: "not in the manifest"})
		}
	}
	slices.SortFunc(diffs, func(x, y Difference) int { return strings.Compare(x.Path, y.Path) })
	return diffs, nil
}

// Change is what a redaction did.
type Change struct {
	Files  []string // that were changed
	Places int      // hidden places in the result
}

// Redact writes a redacted copy of a bundle to out, which must be new. A bundle
// without anything to hide comes out byte for byte as it was, so that redacting
// twice changes nothing. Prompts stay when keep says so.
func (b *Bundle) Redact(out string, keep bool, r *artifact.Redactor) (Change, error) {
	packed, err := isArchive(out)
	if err != nil {
		return Change{}, err
	}
	dir := out
	if packed {
		if _, err := os.Lstat(out); err == nil {
			return Change{}, fmt.Errorf("bundle %s: it is there already: choose another name", out)
		}
		dir = out + ".partial"
	}
	run, err := artifact.CreatePrivate(dir, artifact.Meta{Kind: "incident"}, r)
	if err != nil {
		return Change{}, fmt.Errorf("bundle %s: %w", out, err)
	}
	done, err := b.redactInto(run, keep)
	err = errors.Join(err, run.Settle())
	if err != nil {
		os.RemoveAll(dir) // CreatePrivate has seen to it that it was empty
		return done, err
	}
	if !packed {
		return done, nil
	}
	at := b.Manifest.Ended
	if at.IsZero() {
		at = b.Manifest.Started
	}
	if _, err := pack(dir, out, false, at); err != nil {
		return done, err
	}
	return done, os.RemoveAll(dir)
}

func (b *Bundle) redactInto(run *artifact.Run, keep bool) (Change, error) {
	var done Change
	places := map[string]marks{}
	var manifest []byte
	for _, name := range b.files.names() {
		body, err := b.files.read(name, maxFile)
		if err != nil {
			return done, fmt.Errorf("redacting %s: %w", b.Path, err)
		}
		if name == artifact.ManifestName {
			manifest = body
			continue
		}
		hidden := body
		if !keep && !isIndex(name) {
			hidden = hidePrompts(body)
		}
		if hidden, err = run.WriteHidden(name, hidden); err != nil {
			return done, err
		}
		if !bytes.Equal(hidden, body) {
			done.Files = append(done.Files, name)
		}
		if found, n := marksIn(name, hidden, maxRedacted); n > 0 && name != manifestName {
			places[name] = marks{found, n}
			done.Places += n
		}
	}
	switch {
	case b.Manifest.Origin == OriginPython:
		return done, dropManifest(run)
	case len(done.Files) == 0 && manifest != nil:
		return done, run.WriteFile(artifact.ManifestName, manifest)
	}
	return done, b.reseal(run, places, keep)
}

// isIndex names the files that hold no bodies.
func isIndex(name string) bool { return name == manifestName || isTarget(name) || name == SummaryName }

// dropManifest: a folder of the Python toolkit stays one.
func dropManifest(run *artifact.Run) error {
	if err := os.Remove(filepath.Join(run.Dir(), artifact.ManifestName)); err != nil {
		return fmt.Errorf("writing %s: %w", run.Dir(), err)
	}
	return nil
}

// reseal writes index and manifest anew after a change.
func (b *Bundle) reseal(run *artifact.Run, places map[string]marks, keep bool) error {
	m := b.Manifest
	m.Redacted, m.RedactedN = nil, 0
	m.Settings.KeepPrompts = m.Settings.KeepPrompts && keep
	for _, name := range sortedKeys(places) {
		x := places[name]
		m.RedactedN += x.n
		m.Redacted = append(m.Redacted, x.places[:min(len(x.places), maxRedacted-len(m.Redacted))]...)
	}
	if err := run.WriteJSON(manifestName, m); err != nil {
		return err
	}
	var old artifact.Manifest
	if raw, err := b.files.read(artifact.ManifestName, maxIndex); err == nil {
		_ = json.Unmarshal(raw, &old) // what is damaged is made anew
	}
	err := run.Update(func(meta *artifact.Meta) { *meta = old.Meta })
	state := old.State
	if state == "" {
		state = artifact.StateInterrupted
	}
	return errors.Join(err, run.Seal(state))
}
