// Package expr evaluates conditions that people write: those of signal rules and
// the assertions of a replay.
//
//	names  →  Env;  text  →  Condition;  values  →  true, false, or why neither
//
// The language is CEL (https://cel.dev, read 2026-11 at cel-go 0.32.0) with one
// simplification: every number is a double, in the values and in the text, so that
// failed / sent is a share and 2 * count needs no conversion. Nothing can be called
// but what computes, and an evaluation is bounded.
package expr

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
)

// Bounds on a condition.
const (
	maxText  = 4096      // bytes
	maxDepth = 64        // of nesting
	maxCost  = 2_000_000 // steps of an evaluation, by cel-go's count
)

// ErrAbsent is in an error that says: a value that the condition asks for is not
// there. The condition is then neither true nor false.
var ErrAbsent = errors.New("not there")

// Env is the names that conditions may use.
type Env struct {
	names []string
	env   *cel.Env
}

// New makes an environment of names; each may hold any value.
func New(names ...string) (*Env, error) {
	options := []cel.EnvOption{
		cel.CrossTypeNumericComparisons(true), cel.ParserRecursionLimit(maxDepth), cel.ParserExpressionSizeLimit(maxText),
	}
	for _, n := range names {
		options = append(options, cel.Variable(n, cel.DynType))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("conditions: %w", err)
	}
	return &Env{names: slices.Sorted(slices.Values(names)), env: env}, nil
}

// Names are the names of the environment, sorted.
func (e *Env) Names() []string { return e.names }

// Condition is a text that was understood.
type Condition struct {
	text    string
	program cel.Program
}

// String is the text of the condition.
func (c *Condition) String() string { return c.text }

// Compile reads a condition. The error is one line.
func (e *Env) Compile(text string) (*Condition, error) {
	if strings.TrimSpace(text) == "" {
		return nil, errors.New("condition: there is none; expected one such as failed == 0")
	}
	if len(text) > maxText {
		return nil, fmt.Errorf("condition of %d bytes: expected at most %d", len(text), maxText)
	}
	parsed, issues := e.env.Parse(text)
	if issues.Err() != nil {
		return nil, e.misread(text, issues)
	}
	doubles(parsed.NativeRep())
	checked, issues := e.env.Check(parsed)
	if issues.Err() != nil {
		return nil, e.misread(text, issues)
	}
	if t := checked.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("condition %q: it is of type %s, expected one that is true or false", text, t)
	}
	program, err := e.env.Program(checked, cel.CostLimit(maxCost))
	if err != nil {
		return nil, fmt.Errorf("condition %q: %w", text, err)
	}
	return &Condition{text, program}, nil
}

// misread words what cel-go found, without its drawing of the place.
func (e *Env) misread(text string, issues *cel.Issues) error {
	first := issues.Errors()[0]
	what := strings.TrimSuffix(first.Message, " (in container '')")
	what = strings.Join(strings.Fields(what), " ")
	if strings.HasPrefix(what, "undeclared reference") {
		what += "; known are " + strings.Join(e.names, " ")
	}
	return fmt.Errorf("condition %q, column %d: %s", text, first.Location.Column()+1, what)
}

// doubles makes a double of every whole number of the text, and of what size
// gives.
func doubles(a *ast.AST) {
	make, id := ast.NewExprFactory(), int64(1)<<32 // beyond the ids of the parser
	ast.PostOrderVisit(a.Expr(), ast.NewExprVisitor(func(x ast.Expr) {
		switch {
		case x.Kind() == ast.LiteralKind:
			if n, whole := x.AsLiteral().(types.Int); whole {
				x.SetKindCase(make.NewLiteral(x.ID(), types.Double(n)))
			}
		case x.Kind() == ast.CallKind && x.AsCall().FunctionName() == "size":
			inner := make.NewUnspecifiedExpr(id)
			inner.SetKindCase(x)
			id++
			x.SetKindCase(make.NewCall(x.ID(), "double", inner))
		}
	}))
}

// Holds evaluates the condition over values, which [Values] makes. An error says
// why it is neither true nor false; [ErrAbsent] is in it where a value is missing.
func (c *Condition) Holds(values map[string]any) (bool, error) {
	out, _, err := c.program.Eval(values)
	if err != nil {
		what := strings.Join(strings.Fields(err.Error()), " ")
		if strings.Contains(what, "no such key") || strings.Contains(what, "no such attribute") {
			return false, fmt.Errorf("condition %q: %s: %w", c.text, what, ErrAbsent)
		}
		return false, fmt.Errorf("condition %q: %s", c.text, what)
	}
	yes, ok := out.Value().(bool)
	if !ok {
		return false, fmt.Errorf("condition %q: it gives %v, expected true or false", c.text, out.Value())
	}
	return yes, nil
}

// Values are the members of a value's JSON, with all numbers as doubles.
func Values(v any) (map[string]any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("values of a condition: %w", err)
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("values of a condition: %w", err)
	}
	return out, nil
}
