package cli

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"llmdyno/internal/profile/fusion"
)

func newProfileCatalogCommand(a *app) *cobra.Command {
	return group("catalog", "The known fusions and overlaps that traces are searched for",
		`The catalog is data: what fires an entry, what switches the fusion on, where it was
read. Your own entries (--catalog FILE or DIR) are laid over the built-in ones, by id.
docs/profile-fusion.md describes the file.`,
		`  llmdyno profile catalog list --engine vllm
  llmdyno profile catalog show sglang-qknorm-rope
  llmdyno profile catalog test mine.yaml`,
		newCatalogListCommand(a), newCatalogShowCommand(a), newCatalogTestCommand(a))
}

// loadCatalog reads the built-in catalog with the user's files over it.
func loadCatalog(paths []string) (*fusion.Catalog, error) {
	c, err := fusion.Load(paths...)
	if err != nil {
		return nil, fail(ExitUsage, "docs/profile-fusion.md describes the file", err)
	}
	return c, nil
}

func catalogFlag(c *cobra.Command, paths *[]string) {
	c.Flags().StringSliceVar(paths, "catalog", nil, "your own entries: a YAML file, or a folder of them; they replace entries of the same id")
}

// catalogLine is one entry in `profile catalog list --format json`.
type catalogLine struct {
	Kind    string   `json:"kind"` // "fusion", "overlap", "toggle"
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Engines []string `json:"engines"`
	Origin  string   `json:"origin,omitempty"`
	Toggle  string   `json:"toggle,omitempty"`
}

func newCatalogListCommand(a *app) *cobra.Command {
	var paths []string
	var format, engine string
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the entries",
		Example: "  llmdyno profile catalog list --engine vllm --format json",
		Args:    exactArgs(0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			if err := oneOf("format", format, "text", "json"); err != nil {
				return err
			}
			id := engine
			if engine != "" {
				known, ok := a.engines.Lookup(engine)
				if !ok {
					return failf(ExitUsage, fmt.Sprintf("use one of: %s", a.engines.IDs()), "--engine %q is not a known engine", engine)
				}
				id = string(known.ID)
			}
			catalog, err := loadCatalog(paths)
			if err != nil {
				return err
			}
			list := catalogLines(catalog, id)
			if format == "json" {
				return a.printJSON(struct {
					SchemaVersion int           `json:"schema_version"`
					Catalog       []catalogLine `json:"catalog"`
				}{1, list})
			}
			w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "kind\tid\tengines\torigin\tname")
			for _, l := range list {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", l.Kind, l.ID, strings.Join(l.Engines, ","), l.Origin, l.Name)
			}
			if err := w.Flush(); err != nil {
				return fail(ExitFailed, "", fmt.Errorf("writing to standard output: %w", err))
			}
			return nil
		},
	}
	c.Flags().StringVar(&format, "format", "text", "text or json")
	c.Flags().StringVar(&engine, "engine", "", "only entries of this engine")
	catalogFlag(c, &paths)
	return c
}

func catalogLines(c *fusion.Catalog, engine string) []catalogLine {
	all := []catalogLine{}
	for _, p := range c.Patterns {
		all = append(all, catalogLine{"fusion", p.ID, p.Name, p.Engines, p.Origin, p.Toggle})
	}
	for _, f := range c.Overlap {
		all = append(all, catalogLine{"overlap", f.ID, f.Mechanism, f.Engines, f.Origin, strings.Join(f.Settings, ", ")})
	}
	for _, t := range c.Toggles {
		all = append(all, catalogLine{"toggle", t.Name, t.Effect, []string{t.Engine}, "", t.Name})
	}
	return slices.DeleteFunc(all, func(l catalogLine) bool {
		return engine != "" && !slices.Contains(l.Engines, engine) && !slices.Contains(l.Engines, "any")
	})
}

func newCatalogShowCommand(a *app) *cobra.Command {
	var paths []string
	var format string
	c := &cobra.Command{
		Use:     "show ID",
		Short:   "Show one entry whole",
		Example: "  llmdyno profile catalog show vllm-allreduce-rmsnorm",
		Args:    exactArgs(1, "the id of an entry"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := oneOf("format", format, "text", "json"); err != nil {
				return err
			}
			catalog, err := loadCatalog(paths)
			if err != nil {
				return err
			}
			if p := catalog.Pattern(args[0]); p != nil {
				if format == "json" {
					return a.printJSON(p)
				}
				return a.printRaw([]byte(patternText(p)))
			}
			i := slices.IndexFunc(catalog.Overlap, func(f fusion.Family) bool { return f.ID == args[0] })
			if i < 0 {
				return failf(ExitUsage, "llmdyno profile catalog list names them all", "%q is no entry of the catalog", args[0])
			}
			if format == "json" {
				return a.printJSON(catalog.Overlap[i])
			}
			return a.printRaw([]byte(familyText(&catalog.Overlap[i])))
		},
	}
	c.Flags().StringVar(&format, "format", "text", "text or json")
	catalogFlag(c, &paths)
	return c
}

// sheet is a text of labelled lines; empty values are left out.
type sheet struct{ strings.Builder }

func (s *sheet) line(label string, values ...string) {
	for _, v := range values {
		if v != "" {
			fmt.Fprintf(s, "%-12s %s\n", label, v)
			label = ""
		}
	}
}

func (s *sheet) origin(engines []string, origin, since string, pulls []int, sources []fusion.Source) {
	s.line("engines", strings.Join(engines, ", "))
	s.line("origin", origin+", as of "+since)
	for _, p := range pulls {
		s.line("pull request", fmt.Sprintf("#%d", p))
	}
	label := "sources"
	for _, src := range sources {
		s.line(label, src.String())
		label = ""
	}
}

func patternText(p *fusion.Pattern) string {
	var s sheet
	s.line(p.ID, p.Name)
	s.origin(p.Engines, p.Origin, p.Since, p.Pulls, p.Sources)
	s.line("why", p.Why)
	s.line("mind", p.Hazard)
	var identities []string
	for _, part := range []struct {
		kind  string
		words []string
	}{{"kernel", p.Active.Kernels}, {"operator", p.Active.Ops}, {"role", p.Active.Roles}} {
		if len(part.words) > 0 {
			identities = append(identities, part.kind+" "+strings.Join(part.words, ", "))
		}
	}
	s.line("on when seen", identities...)
	if len(p.Split) > 1 {
		parts := make([]string, len(p.Split))
		for i, r := range p.Split {
			parts[i] = r.Role
			if len(r.Words) > 0 {
				parts[i] += " (" + strings.Join(r.Words, ", ") + ")"
			}
		}
		how := "within one segment"
		if p.Adjacent {
			how = "directly after one another"
		}
		s.line("split when", strings.Join(parts, " + ")+" "+how)
	}
	if p.TP > 1 {
		s.line("needs", fmt.Sprintf("tensor-parallel size %d or more", p.TP))
	}
	s.line("GPU", p.GPU)
	s.line("models", strings.Join(p.Models.Include, ", "))
	if len(p.Models.Exclude) > 0 {
		s.line("not for", strings.Join(p.Models.Exclude, ", "))
	}
	s.line("subsumes", p.Subsumes...)
	s.line("least share", fmt.Sprintf("%g %%", p.MinShare))
	s.line("toggle", p.Toggle)
	for _, d := range p.Dropped {
		s.line("no proof", d.Word+": "+d.Reason)
	}
	s.line("fixture", p.Fixture)
	return s.String()
}

func familyText(f *fusion.Family) string {
	var s sheet
	s.line("overlap", f.ID)
	s.origin(f.Engines, f.Origin, f.Since, f.Pulls, f.Sources)
	s.line("mechanism", f.Mechanism)
	s.line("meaning", f.Meaning)
	s.line("words", strings.Join(f.Words, ", "))
	s.line("settings", strings.Join(f.Settings, ", "))
	return s.String()
}

func newCatalogTestCommand(a *app) *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "test [FILE|DIR]",
		Short: "Hold entries against their fixtures: each must fire, its neighbour must not",
		Long: `Without an argument every built-in entry is held against its fixture. With a file or
folder its entries are, laid over the built-in catalog; fixtures lie beside the file.
Exit code 1 says that some entry failed.`,
		Example: "  llmdyno profile catalog test\n  llmdyno profile catalog test mine.yaml",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) <= 1 {
				return nil
			}
			return exactArgs(1, "at most one file or folder")(c, args)
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if err := oneOf("format", format, "text", "json"); err != nil {
				return err
			}
			catalog, err := loadCatalog(args)
			if err != nil {
				return err
			}
			var ids []string
			if len(args) == 1 {
				own, err := fusion.ReadFiles(args[0])
				if err != nil {
					return fail(ExitUsage, "", err)
				}
				for _, p := range own.Patterns {
					ids = append(ids, p.ID)
				}
				if len(ids) == 0 {
					return failf(ExitUsage, "give it patterns", "%s holds no patterns to test", args[0])
				}
			}
			return a.reportCatalogTest(catalog.Test(ids...), format)
		},
	}
	c.Flags().StringVar(&format, "format", "text", "text or json")
	return c
}

func (a *app) reportCatalogTest(results []fusion.Result, format string) error {
	failed := 0
	var text strings.Builder
	for _, r := range results {
		if len(r.Problems) == 0 {
			continue
		}
		failed++
		for _, p := range r.Problems {
			fmt.Fprintf(&text, "%s: %s\n", r.Pattern, p)
		}
	}
	fmt.Fprintf(&text, "%d of %d entries hold against their fixtures\n", len(results)-failed, len(results))
	var err error
	if format == "json" {
		err = a.printJSON(struct {
			SchemaVersion int             `json:"schema_version"`
			Results       []fusion.Result `json:"results"`
		}{1, results})
	} else {
		err = a.printRaw([]byte(text.String()))
	}
	if err == nil && failed > 0 {
		return quiet(ExitNo)
	}
	return err
}
