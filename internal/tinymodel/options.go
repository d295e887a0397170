package tinymodel

import "fmt"

// Options are the sizes of a model and the seed of its weights.
type Options struct {
	Seed    uint64
	Name    string // general.name in the file
	Layers  int    // transformer blocks
	Dim     int    // width of the residual stream
	Heads   int    // attention heads; Dim / Heads must be even (rotary pairs)
	KVHeads int    // key and value heads; must divide Heads
	FF      int    // width of the feed-forward layer
	Vocab   int    // tokens; at least MinVocab
	Context int    // tokens that the model claims to have been trained for
	// EOSBias sets how readily the model ends its answer. Negative: it never
	// does and runs to the limit of the request. With the default sizes and
	// temperature 1, a value of 1.25 ends after about 144 tokens in the mean,
	// 1.5 after 35, 2 after 9; 1 and below hardly ever.
	EOSBias float64
}

// MinVocab is the smallest vocabulary: control tokens, one token a byte,
// printable characters and all syllables.
const MinVocab = firstWord

// The largest sizes that are accepted. They keep a slip of the keyboard from
// filling a disk; the largest model that they allow has about 10¹² parameters
// only on paper, so the sum is bounded too.
const (
	maxDim     = 1 << 14
	maxLayers  = 256
	maxVocab   = 1 << 18
	maxContext = 1 << 22
	maxParams  = 1 << 31
)

// Defaults are the options of a model with about 4 million parameters (8 MB)
// that generates some 700 tokens a second on one core.
func Defaults() Options {
	return Options{
		Seed: 1, Name: "tiny", Layers: 4, Dim: 256, Heads: 8, KVHeads: 4,
		FF: 688, Vocab: 2048, Context: 8192, EOSBias: -4,
	}
}

// Check says what makes the options impossible; nil = nothing. The server
// aborts on an odd head size and on heads that do not divide, so these are
// refused here, where the reason can be told.
func (o Options) Check() error {
	for _, b := range []struct {
		name          string
		value, lo, hi int
	}{
		{"layers", o.Layers, 1, maxLayers},
		{"dim", o.Dim, 4, maxDim},
		{"heads", o.Heads, 1, maxDim},
		{"kv-heads", o.KVHeads, 1, maxDim},
		{"ff", o.FF, 1, 4 * maxDim},
		{"vocab", o.Vocab, MinVocab, maxVocab},
		{"context", o.Context, 1, maxContext},
	} {
		if b.value < b.lo || b.value > b.hi {
			return fmt.Errorf("tiny model: %s is %d, expected %d to %d", b.name, b.value, b.lo, b.hi)
		}
	}
	switch head := o.Dim / o.Heads; {
	case o.Dim%o.Heads != 0:
		return fmt.Errorf("tiny model: dim %d is not a multiple of heads %d: change one of them", o.Dim, o.Heads)
	case head%2 != 0:
		return fmt.Errorf("tiny model: dim %d / heads %d gives heads of %d, expected an even size (rotary embedding turns pairs)", o.Dim, o.Heads, head)
	case o.Heads%o.KVHeads != 0:
		return fmt.Errorf("tiny model: heads %d is not a multiple of kv-heads %d: change one of them", o.Heads, o.KVHeads)
	case o.EOSBias < -100 || o.EOSBias > 100 || o.EOSBias != o.EOSBias:
		return fmt.Errorf("tiny model: eos-bias is %v, expected -100 to 100", o.EOSBias)
	case o.Params() > maxParams:
		return fmt.Errorf("tiny model: these sizes make %d parameters, expected at most %d: choose a smaller one", o.Params(), maxParams)
	}
	return nil
}

// Params is the number of weights.
func (o Options) Params() int64 {
	var n int64
	for _, t := range tensors(o) {
		n += t.elements()
	}
	return n
}
