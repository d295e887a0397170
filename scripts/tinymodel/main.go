// Tinymodel writes a small random model for llama-server:
//
//	go run ./scripts/tinymodel -o tiny.gguf
//	go run ./scripts/tinymodel -o small.gguf -layers 8 -dim 512 -ff 1376 -vocab 8192
package main

import (
	"flag"
	"fmt"
	"os"

	"llmdyno/internal/tinymodel"
)

func main() {
	o := tinymodel.Defaults()
	out := flag.String("o", "", "file to write (required)")
	flag.Uint64Var(&o.Seed, "seed", o.Seed, "seed of the weights and of the words; same seed and sizes, same bytes")
	flag.StringVar(&o.Name, "name", o.Name, "name of the model inside the file")
	flag.IntVar(&o.Layers, "layers", o.Layers, "transformer blocks")
	flag.IntVar(&o.Dim, "dim", o.Dim, "width of the model; dim / heads must be even")
	flag.IntVar(&o.Heads, "heads", o.Heads, "attention heads")
	flag.IntVar(&o.KVHeads, "kv-heads", o.KVHeads, "key and value heads; must divide heads")
	flag.IntVar(&o.FF, "ff", o.FF, "width of the feed-forward layer")
	flag.IntVar(&o.Vocab, "vocab", o.Vocab, fmt.Sprintf("tokens, at least %d", tinymodel.MinVocab))
	flag.IntVar(&o.Context, "context", o.Context, "context length that the model claims, in tokens")
	flag.Float64Var(&o.EOSBias, "eos-bias", o.EOSBias, "readiness to end an answer: negative never, 1.25 after some 144 tokens, 2 after some 9 (default sizes, temperature 1)")
	flag.Parse()
	if *out == "" || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: tinymodel -o FILE.gguf [flags]; -h lists them")
		os.Exit(2)
	}
	if err := tinymodel.Create(*out, o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	info, err := os.Stat(*out)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	fmt.Printf("%s: %.2f million parameters, %.1f MB\n", *out, float64(o.Params())/1e6, float64(info.Size())/1e6)
}
