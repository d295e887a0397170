package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"llmdyno/cookbook"
	"llmdyno/internal/engine"
)

// cookbookScheme marks the name of an embedded file: cookbook:NAME.
const cookbookScheme = "cookbook:"

// LoadNamed reads a file by path, or an embedded one as cookbook:NAME.
func LoadNamed(name string) (*File, []Diagnostic) {
	data, err := readNamed(name)
	if err != nil {
		return nil, []Diagnostic{fileError("%v", err)}
	}
	return Parse(name, data)
}

// ReadNamed is the text that [LoadNamed] reads, for keeping beside a run.
func ReadNamed(name string) ([]byte, error) { return readNamed(name) }

func readNamed(name string) ([]byte, error) {
	short, embedded := strings.CutPrefix(name, cookbookScheme)
	if !embedded {
		return readFile(name)
	}
	data, err := cookbook.Get(short)
	if err != nil {
		return nil, fmt.Errorf("%w%s", err, didYouMean(short, cookbook.List()))
	}
	return data, nil
}

// ValidatePaths judges files and folders. Folders are searched with all below
// them for *.yaml and *.yml, in sorted order; a folder without any is an error
// (V26).
func ValidatePaths(paths []string, set engine.Set, opts Options) Report {
	report := Report{Files: []FileReport{}}
	help := readCaptures(opts.HelpDir, set)
	for _, p := range paths {
		files, err := expand(p)
		if err != nil {
			report.Files = append(report.Files, fileReport(p, []Diagnostic{fileError("%v", err)}))
			continue
		}
		for _, file := range files {
			report.Files = append(report.Files, validate(file, set, opts, help))
		}
	}
	return report
}

func validate(path string, set engine.Set, opts Options, help captures) FileReport {
	f, diags := LoadNamed(path)
	if f != nil {
		diags = ordered(append(diags, check(f, set, opts, help)...))
	}
	if help.err != nil {
		diags = append([]Diagnostic{fileError("%v", help.err)}, diags...)
	}
	return fileReport(path, diags)
}

func fileReport(path string, diags []Diagnostic) FileReport {
	r := FileReport{Path: path, Valid: !HasErrors(diags), Errors: []Diagnostic{}, Warnings: []Diagnostic{}}
	for _, d := range diags {
		if d.Severity == SeverityError {
			r.Errors = append(r.Errors, d)
		} else {
			r.Warnings = append(r.Warnings, d)
		}
	}
	return r
}

// expand lists the configurations that a path stands for.
func expand(path string) ([]string, error) {
	if strings.HasPrefix(path, cookbookScheme) {
		return []string{path}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("looking for configurations: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var out []string
	err = filepath.WalkDir(path, func(p string, entry fs.DirEntry, err error) error {
		ext := filepath.Ext(p)
		if err == nil && !entry.IsDir() && (ext == ".yaml" || ext == ".yml") {
			out = append(out, p)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for configurations below %s: %w", path, err)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("looking for configurations below %s: %w", path, errNoFiles)
	}
	slices.Sort(out)
	return out, nil
}

var errNoFiles = errors.New("no *.yaml or *.yml file is in it")
