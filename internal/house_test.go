package internal_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "llmdyno/"

// mayImport is the house: each room with the rooms that it may import. A name
// ending in /* stands for all rooms below it. "llmdyno/" is left out.
var mayImport = map[string][]string{
	"cmd/llmdyno":     {"internal/cli"},
	"cookbook":        {},
	"skills":          {},
	"internal/cli":    {"*"},
	"internal/report": {"internal/bench/result", "internal/load/stat", "internal/incident/bundle", "internal/incident/signal", "internal/incident/dump", "internal/incident/replay", "internal/profile", "internal/profile/attrib", "internal/profile/fusion", "internal/profile/kernel", "internal/load/metric", "internal/sota/result"},

	"internal/sota":        {"internal/bench/*", "internal/incident/*", "internal/profile", "internal/profile/*", "internal/sota/result", "internal/launch", "internal/load/*", "internal/load", "internal/client", "internal/artifact", "internal/engine"},
	"internal/sota/result": {"internal/bench/result", "internal/incident/signal", "internal/profile", "internal/profile/attrib", "internal/profile/fusion", "internal/load/metric"},

	"internal/bench/run":    {"internal/bench/*", "internal/launch", "internal/load/*", "internal/load", "internal/client", "internal/artifact", "internal/engine"},
	"internal/bench/search": {"internal/bench/config", "internal/bench/result", "internal/engine", "internal/load/stat"},
	"internal/bench/result": {"internal/load/metric", "internal/load/stat", "internal/engine", "internal/lines"},
	"internal/bench/config": {"internal/load/workload", "internal/engine", "cookbook"},
	// Samples and metrics: what differs between two tools is computed anew from them.
	"internal/bench/foreign": {"internal/bench/result", "internal/load/metric", "internal/load/sample", "internal/engine"},

	"internal/incident/replay":  {"internal/incident/dump", "internal/expr", "internal/load/*", "internal/load", "internal/launch", "internal/client", "internal/artifact", "internal/engine"},
	"internal/incident/collect": {"internal/incident/bundle", "internal/client", "internal/artifact", "internal/engine"},
	"internal/incident/signal":  {"internal/incident/bundle", "internal/expr", "internal/metrictext", "internal/engine"},
	"internal/incident/bundle":  {"internal/artifact", "internal/compress", "internal/engine"},
	"internal/incident/dump":    {"internal/incident/pickle", "internal/engine"},
	"internal/incident/pickle":  {},
	// Conditions that people write: signal rules, assertions; alone in knowing CEL.
	"internal/expr": {},

	// The work as a whole: files → the document that the triage prints, and the diff of two.
	"internal/profile":         {"internal/profile/trace", "internal/profile/kernel", "internal/profile/attrib", "internal/profile/fusion", "internal/engine"},
	"internal/profile/capture": {"internal/load", "internal/load/*", "internal/client", "internal/artifact", "internal/engine"},
	"internal/profile/fusion":  {"internal/profile/trace", "internal/profile/kernel", "internal/profile/attrib"},
	"internal/profile/attrib":  {"internal/profile/trace", "internal/profile/kernel", "internal/engine"},
	// Names and classes of kernels: one classifier for all tables.
	"internal/profile/kernel": {},
	"internal/profile/trace":  {"internal/compress"},

	"internal/load":          {"internal/load/sample", "internal/load/workload", "internal/load/echo", "internal/client", "internal/engine"},
	"internal/load/echo":     {},
	"internal/load/metric":   {"internal/load/sample", "internal/load/stat"},
	"internal/load/workload": {"internal/load/token", "internal/engine", "internal/lines"},
	"internal/load/stat":     {},
	// Cuts a load for several processes and puts their samples and audits together.
	"internal/load/shard":   {"internal/load", "internal/load/sample", "internal/load/workload"},
	"internal/load/witness": {"internal/client", "internal/engine", "internal/load/sample", "internal/load/metric"},
	"internal/load/token":   {},
	"internal/load/sample":  {},
	"internal/launch":       {"internal/client", "internal/artifact", "internal/engine", "internal/load/sample"},
	// The client fills the record of a request, so it sees the leaf that holds it.
	"internal/client": {"internal/engine", "internal/load/sample", "internal/metrictext"},
	// Pages of metrics; alone in knowing the Prometheus parser.
	"internal/metrictext": {},
	"internal/sim":        {"internal/engine"},
	"internal/artifact":   {"internal/lines", "internal/compress"},
	// Lines of text from outside, none longer than a bound.
	// A network within the process, for tests in bubbles.
	"internal/pipenet": {},
	// The one door to compressed files.
	"internal/compress":          {},
	"internal/lines":             {},
	"internal/engine":            {},
	"internal/engine/all":        {"internal/engine", "internal/engine/*"},
	"internal/engine/enginetest": {"internal/engine", "internal/sim", "internal/client", "internal/load/sample", "internal/incident/signal", "internal/profile/trace", "internal/profile/kernel", "internal/profile/attrib"},
	"internal/engine/sglang":     {"internal/engine"},
	"internal/engine/vllm":       {"internal/engine"},
	"internal/engine/trtllm":     {"internal/engine"},
	"internal/engine/tokenspeed": {"internal/engine"},
	"internal/engine/llamacpp":   {"internal/engine"},

	// Makes the model file that a real engine on a small machine serves.
	"internal/tinymodel": {},
	"scripts/tinymodel":  {"internal/tinymodel"},
	// Makes large dumps to measure the reader with.
	"scripts/bigdump": {"internal/engine/sglang/dumptest"},
	// Kills runs and resumes them, from outside as a user would.
	"scripts/killresume": {},
	// What other projects' clients and ours are held against.
	"scripts/compare-clients/server": {},
}

// why is printed with a broken rule.
const why = `imports run downward only: the four works never import one another, what two share goes down to the floor.
Move the shared type into a leaf, or pass the value as a parameter. The table is mayImport in internal/house_test.go.`

type goPackage struct {
	ImportPath, Dir string
	GoFiles         []string
	Imports         []string
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,Imports", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []goPackage
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatalf("reading go list: %v", err)
		}
		pkgs = append(pkgs, p)
	}
}

func allowed(rules []string, path string) bool {
	return slices.ContainsFunc(rules, func(r string) bool {
		if r == "*" || r == path {
			return true
		}
		room, below := strings.CutSuffix(r, "*")
		return below && strings.HasPrefix(path, room)
	})
}

func TestImportsRunDownward(t *testing.T) {
	for _, p := range packages(t) {
		room := strings.TrimPrefix(p.ImportPath, module)
		if len(p.GoFiles) == 0 {
			continue // tests alone
		}
		rules, known := mayImport[room]
		if !known && !strings.HasPrefix(room, "internal/engine/") {
			t.Errorf("%s: no such room in the house; add it to mayImport with what it may import", room)
			continue
		}
		if !known {
			rules = []string{"internal/engine"}
		}
		for _, imp := range p.Imports {
			target, ours := strings.CutPrefix(imp, module)
			if ours && !allowed(rules, target) {
				t.Errorf("%s imports %s\n%s", room, target, why)
			}
		}
	}
}

// Only cli knows which engines exist.
func TestOnlyCLIImportsAllEngines(t *testing.T) {
	for _, p := range packages(t) {
		if p.ImportPath != module+"internal/cli" && slices.Contains(p.Imports, module+"internal/engine/all") {
			t.Errorf("%s imports internal/engine/all: take an engine.Set as a parameter instead", p.ImportPath)
		}
	}
}

// sharedLibraries may have more than one importer, for the reason given.
var sharedLibraries = map[string]string{
	"golang.org/x/sys/unix": "the operating system's own calls",
	"go.yaml.in/yaml/v3":    "two formats of the user's own files, benchmark files and fusion catalogs, whose readers need its nodes for line numbers and lie in works that must not see one another",
}

func TestOneImporterPerLibrary(t *testing.T) {
	importers := map[string][]string{}
	for _, p := range packages(t) {
		for _, imp := range p.Imports {
			if strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") && sharedLibraries[imp] == "" {
				importers[imp] = append(importers[imp], strings.TrimPrefix(p.ImportPath, module))
			}
		}
	}
	for lib, by := range importers {
		if len(by) > 1 {
			t.Errorf("%s is imported by %s: wrap it in one of them and let the rest see our type", lib, strings.Join(by, " and "))
		}
	}
}

// forbidden calls belong to cli, which hands streams, environment and exit
// codes to everybody else as parameters.
var forbidden = map[string]string{
	"fmt.Print": "write to an io.Writer", "fmt.Printf": "write to an io.Writer", "fmt.Println": "write to an io.Writer",
	"os.Exit": "return an error", "os.Getenv": "take the environment as a parameter", "os.LookupEnv": "take the environment as a parameter",
	"os.Environ": "take the environment as a parameter", "log.Fatal": "return an error",
}

func inCLI(room string) bool {
	return room == "internal/cli" || strings.HasPrefix(room, "cmd/") || strings.HasPrefix(room, "scripts/")
}

func TestProcessStateStaysInCLI(t *testing.T) {
	eachFile(t, func(room, path string, file *ast.File, fset *token.FileSet) {
		if inCLI(room) {
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if pkg, ok := sel.X.(*ast.Ident); ok {
					if instead, bad := forbidden[pkg.Name+"."+sel.Sel.Name]; bad {
						t.Errorf("%s: %s.%s outside internal/cli: %s", fset.Position(n.Pos()), pkg.Name, sel.Sel.Name, instead)
					}
				}
			}
			return true
		})
	})
}

// engineNames may stand in a string literal only in the engine's own folder
// and in prose for people (help texts of cli).
var engineNames = []string{"sglang", "vllm", "trtllm", "tensorrt", "tokenspeed", "llamacpp", "llama-server"}

// compatBlocks are result blocks that carry another tool's keys under that
// tool's name: the name is the format, not knowledge of the engine.
var compatBlocks = []string{"compat.vllm", "compat.sglang", "compat", "vllm", "sglang"}

// foreignFormats reads the files of other benchmark tools, some of which carry
// the name of an engine: there it names a file format, not the engine.
const foreignFormats = "internal/bench/foreign"

func TestEngineNamesStayInTheirFolder(t *testing.T) {
	eachFile(t, func(room, path string, file *ast.File, fset *token.FileSet) {
		if strings.HasPrefix(room, "internal/engine/") || inCLI(room) || room == "cookbook" || room == foreignFormats {
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if _, isImport := n.(*ast.ImportSpec); isImport {
				return false
			}
			if field, ok := n.(*ast.Field); ok && field.Tag != nil && room == "internal/load/metric" {
				return false
			}
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(lit.Value)
			if err != nil {
				return true
			}
			lower := strings.ToLower(text)
			for _, name := range engineNames {
				if strings.Contains(lower, name) && !slices.Contains(compatBlocks, lower) {
					t.Errorf("%s: %q names an engine: what is known of it belongs into internal/engine/<id>", fset.Position(lit.Pos()), text)
				}
			}
			return true
		})
	})
}

func eachFile(t *testing.T, check func(room, path string, file *ast.File, fset *token.FileSet)) {
	t.Helper()
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			path := filepath.Join(p.Dir, name)
			src, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, path, src, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			check(strings.TrimPrefix(p.ImportPath, module), path, file, fset)
		}
	}
}
