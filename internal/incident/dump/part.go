package dump

import (
	"fmt"
	"math"
	"slices"

	"llmdyno/internal/engine"
	"llmdyno/internal/incident/pickle"
)

// part is one pickle of a file.
type part struct {
	doc    *pickle.Document
	layout *engine.DumpLayout
	engine engine.ID
	file   *File

	container map[string]pickle.Value // of a dict
	records   []record
	figures   *Figures
	dists     dists
}

// record is what is known of one record without its texts.
type record struct {
	request, output pickle.Value
	start, end      float64 // NaN = unusable
	why             string  // it is irregular; "" = it is not
	shaped          bool    // it has four items
	finished        bool
	finish          string
	queue           float64 // NaN = not told
	prompt, output2 float64 // tokens; NaN = not told
	retracted       float64
}

// open reads the container.
func (p *part) open(root pickle.Value) error {
	switch root.Kind() {
	case pickle.List, pickle.Tuple:
		p.figures = newFigures("list")
		p.addRecords(root)
		return nil
	case pickle.Dict:
		return p.openDict(root)
	}
	return fmt.Errorf("no dump: it holds a %s; expected a list of records, or a dict with %q", root.Kind(), p.layout.Requests)
}

func (p *part) openDict(root pickle.Value) error {
	p.figures = newFigures("dict")
	p.container = map[string]pickle.Value{}
	p.doc.Pairs(root, func(k, v pickle.Value) bool {
		if text, ok := p.doc.RawText(k); ok {
			p.setMember(string(text), v)
		}
		return len(p.container) < maxGlobals
	})
	v, ok := p.container[p.layout.Requests]
	if !ok {
		return fmt.Errorf("no dump: the dict has no %q", p.layout.Requests)
	}
	q := p.doc.Plain(v)
	if q.Kind != pickle.List && q.Kind != pickle.Tuple {
		return fmt.Errorf("no dump: %q is a %s; expected a list", p.layout.Requests, q.Kind)
	}
	p.addRecords(q.Value)
	return nil
}

func (p *part) setMember(key string, v pickle.Value) {
	if _, twice := p.container[key]; twice {
		p.file.warn("duplicate", "the dump has %q twice; the last one counts", key)
	} else {
		p.figures.Keys = append(p.figures.Keys, key)
	}
	p.container[key] = v
}

func (p *part) addRecords(list pickle.Value) {
	p.records = slices.Grow(p.records, p.doc.Len(list))
	p.doc.Items(list, func(v pickle.Value) bool {
		p.records = append(p.records, p.record(v))
		return true
	})
}

// record takes a record apart. Only a tuple of four is one.
func (p *part) record(v pickle.Value) record {
	r := record{start: math.NaN(), end: math.NaN(), queue: math.NaN(), prompt: math.NaN(), output2: math.NaN(), retracted: math.NaN()}
	switch {
	case v.Kind() != pickle.Tuple:
		r.why = fmt.Sprintf("record is %s, not tuple", p.typeName(v))
		return r
	case p.doc.Len(v) != 4:
		r.why = fmt.Sprintf("tuple of %d, not 4", p.doc.Len(v))
		return r
	}
	r.shaped = true
	r.request, r.output = p.doc.Item(v, 0), p.doc.Item(v, 1)
	var okStart, okEnd bool
	if r.start, okStart = p.doc.Number(p.doc.Item(v, 2)); !okStart {
		r.start, r.why = math.NaN(), "start time unusable"
	}
	if r.end, okEnd = p.doc.Number(p.doc.Item(v, 3)); !okEnd {
		r.end = math.NaN()
	}
	if r.end < r.start {
		r.why = "end before start"
	}
	return r
}

// typeName is the name of a value's type as Python has it.
func (p *part) typeName(v pickle.Value) string {
	if v.Kind() == pickle.Object {
		if n, ok := p.doc.ClassOf(v); ok {
			return n.Name
		}
	}
	return v.Kind().String()
}

// className is the full name of the class of a request.
func (p *part) className(v pickle.Value) string {
	if n, ok := p.doc.ClassOf(v); ok && v.Kind() == pickle.Object {
		return n.String()
	}
	return "builtins." + v.Kind().String()
}

// salvage reads what stands complete on the stack of a damaged pickle, and says how
// many records that are.
func (p *part) salvage() int {
	var bottom pickle.Value
	p.doc.Stack(func(v pickle.Value) bool { bottom = v; return false })
	if k := bottom.Kind(); k != pickle.List && k != pickle.Dict {
		return 0
	}
	p.figures = newFigures(bottom.Kind().String())
	if bottom.Kind() == pickle.Dict {
		p.container = map[string]pickle.Value{}
		p.doc.Pairs(bottom, func(k, v pickle.Value) bool { return p.salvagePair(k, v) })
		var key pickle.Value
		p.doc.Stack(func(v pickle.Value) bool {
			p.salvagePair(key, v)
			key = v
			return len(p.container) < maxGlobals
		})
	}
	for _, v := range standing(p.doc) {
		p.records = append(p.records, p.record(v))
	}
	return len(p.records)
}

// salvagePair takes a key and value of the container where they are such.
func (p *part) salvagePair(k, v pickle.Value) bool {
	if text, ok := p.doc.RawText(k); ok && p.member(string(text)) {
		p.setMember(string(text), v)
	}
	return true
}

// member says that the container of a dump has a member of that name.
func (p *part) member(name string) bool {
	for _, c := range p.layout.Configs {
		if name == c {
			return true
		}
	}
	return name == p.layout.Requests || name == p.layout.Launch
}

// standing are the complete records on the stack and in the lists on it: a tuple of
// four whose second item is an answer.
func standing(d *pickle.Document) []pickle.Value {
	var out []pickle.Value
	take := func(v pickle.Value) bool {
		if v.Kind() != pickle.Tuple || d.Len(v) != 4 {
			return true
		}
		if k := d.Item(v, 1).Kind(); k == pickle.Dict || k == pickle.None || k == pickle.Object {
			out = append(out, v)
		}
		return true
	}
	level := 0
	d.Stack(func(v pickle.Value) bool {
		switch {
		case v.Kind() == pickle.Tuple:
			take(v)
		case (v.Kind() == pickle.List || v.Kind() == pickle.Dict) && level < 64:
			level++
			d.Items(v, take)
			d.Pairs(v, func(_, x pickle.Value) bool {
				if x.Kind() == pickle.List {
					d.Items(x, take)
				}
				return true
			})
		}
		return true
	})
	return out
}
