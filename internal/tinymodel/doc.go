// Package tinymodel makes a small language model with random weights, in the
// GGUF format of llama.cpp, so that a real engine has something to serve on a
// machine without GPUs and without a model hub.
//
//	Options → vocabulary, metadata, tensor list → header → tensors, one at a time → file
//
// The model computes as hard as a trained one of its size and speaks readable
// nonsense: real words made of random syllables, valid UTF-8, with an end of
// text that comes when Options say. The same options give the same bytes on
// every machine: weights come from integer arithmetic on a seeded generator,
// and each tensor has its own stream of random numbers.
//
// The file format: GGUF version 3, llama architecture, matrices in 16-bit
// floats, norms in 32-bit floats, a SentencePiece-style vocabulary. Read from
// the llama.cpp 0.7.0 server, which was run on such files on 2026-11-23.
package tinymodel
