package config

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"llmdyno/internal/engine"
)

// maxHelpBytes bounds one help capture; the longest known is below 300 KB.
const maxHelpBytes = 4 << 20

// captures are the help texts of installed engines.
type captures struct {
	options map[engine.ID]map[string]bool // every spelling that a help text defines
	files   map[engine.ID][]string
	empty   map[engine.ID][]string // captures without a single flag
	err     error
}

// readCaptures reads the help captures below a folder. A file belongs to an
// engine when its name is the engine's id or alias, or holds one of them and
// the word serve or launch (as upstream's hints do); a capture of a benchmark's
// help is not one of the server (V19).
func readCaptures(dir string, set engine.Set) captures {
	c := captures{options: map[engine.ID]map[string]bool{}, files: map[engine.ID][]string{}, empty: map[engine.ID][]string{}}
	if dir == "" {
		return c
	}
	c.err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.EqualFold(filepath.Ext(path), ".txt") {
			return err
		}
		for _, e := range set {
			if e.Help.Parse == nil || !isServerHelp(e, entry.Name()) {
				continue
			}
			if err := c.add(e, path); err != nil {
				return err
			}
		}
		return nil
	})
	if c.err != nil {
		c.err = fmt.Errorf("reading help captures below %s: %w", dir, c.err)
	}
	return c
}

func isServerHelp(e *engine.Engine, file string) bool {
	name := strings.ToLower(strings.TrimSuffix(file, filepath.Ext(file)))
	if strings.Contains(name, "bench") || strings.Contains(name, "sweep") {
		return false
	}
	for _, id := range append([]string{string(e.ID)}, e.Aliases...) {
		id = strings.ToLower(id)
		if name == id {
			return true
		}
		if strings.Contains(name, id) && (strings.Contains(name, "serve") || strings.Contains(name, "launch")) {
			return true
		}
	}
	return false
}

func (c *captures) add(e *engine.Engine, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxHelpBytes))
	if err != nil {
		return err
	}
	flags := e.Help.Parse(string(text))
	if len(flags) == 0 {
		c.empty[e.ID] = append(c.empty[e.ID], path)
		return nil
	}
	if c.options[e.ID] == nil {
		c.options[e.ID] = map[string]bool{}
	}
	for option, f := range flags {
		c.options[e.ID][option] = true
		for _, spelling := range f.All {
			c.options[e.ID][spelling] = true
		}
	}
	c.files[e.ID] = append(c.files[e.ID], path)
	return nil
}

// defines says whether the engine's help defines the option, spelled exactly
// so; known is false when there is no capture.
func (c captures) defines(id engine.ID, option string) (defined, known bool) {
	options, known := c.options[id]
	return options[option], known
}

// long are the long options of an engine's help, sorted.
func (c captures) long(id engine.ID) []string {
	var out []string
	for o := range c.options[id] {
		if strings.HasPrefix(o, "--") {
			out = append(out, o)
		}
	}
	slices.Sort(out)
	return out
}
