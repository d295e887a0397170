// Package token turns text into the ids of a model's tokenizer, exactly as the
// Hugging Face tokenizers library, tiktoken and SentencePiece do: it counts the
// tokens of prompts and answers and builds prompts of an exact number of tokens
// without Python and without a network.
//
//	tokenizer.json ┐                 added tokens → normalizer → splitters → model → ids
//	*.tiktoken     ├→ Open → Tokenizer ┤
//	tokenizer.model┘                 ids → tokens → decoder → text
//
// tokenizer.json: BPE (byte-level, byte fallback), Unigram, WordPiece, WordLevel
// with the normalizers, pre-tokenizers, post-processors and decoders that
// tokenizers 0.23 knows, but for the splitter UnicodeScripts and the decoder
// CTC. Truncation and padding are ignored. Rank files of tiktoken do not carry
// their split expression; it comes from the file's name or its number of ranks.
// A tekken.json does carry it.
// tokenizer.model is SentencePiece's (BPE and Unigram) or a rank file.
//
// What a file holds that this package does not know is an error at Open, never
// a different count later. Invalid UTF-8 is read as U+FFFD for each bad byte:
// that is what a JSON request carries to the server. Unicode properties are those
// that the reference library answers with (unicode.txt), not the Go release's.
//
// A Tokenizer is safe for use by several goroutines. Time and memory are linear
// in the text, but for n log n in a piece that no splitter cuts.
package token
