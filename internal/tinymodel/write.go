package tinymodel

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
)

const (
	magic     = "GGUF"
	version   = 3
	alignment = 32
)

// GGUF value types.
const (
	valueUint32  = 4
	valueInt32   = 5
	valueFloat32 = 6
	valueBool    = 7
	valueString  = 8
	valueArray   = 9
)

// Create writes the model to path as a whole file: a reader sees the old file
// or the complete new one. The folder of path must exist.
func Create(path string, o Options) (err error) {
	if err := o.Check(); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("writing model %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = fmt.Errorf("writing model %s: %w", path, err)
		}
	}()
	if err := Write(f, o); err != nil {
		return err
	}
	// A temporary file is private to its owner; a model is for every reader.
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Write writes the model to w, holding one row of one matrix in memory.
func Write(w io.Writer, o Options) error {
	if err := o.Check(); err != nil {
		return err
	}
	list := tensors(o)
	out := bufio.NewWriterSize(w, 1<<18)
	if _, err := out.Write(header(o, list)); err != nil {
		return err
	}
	for i, t := range list {
		if err := writeTensor(out, t, rand.NewPCG(o.Seed, uint64(i)+1)); err != nil {
			return err
		}
	}
	return out.Flush()
}

func writeTensor(w *bufio.Writer, t tensor, r *rand.PCG) error {
	values := make([]float32, t.in)
	line := make([]byte, 0, 4*t.in)
	for row := range max(t.out, 1) {
		t.fill(r, row, values)
		line = line[:0]
		for _, v := range values {
			if t.kind == typeF16 {
				line = binary.LittleEndian.AppendUint16(line, half(v))
			} else {
				line = binary.LittleEndian.AppendUint32(line, math.Float32bits(v))
			}
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	_, err := w.Write(make([]byte, padding(t.bytes())))
	return err
}

func padding(n int64) int64 { return (alignment - n%alignment) % alignment }

// header is everything before the tensor data, padded to the alignment.
func header(o Options, list []tensor) []byte {
	var keys encoder
	writeKeys(&keys, o)
	var e encoder
	e.WriteString(magic)
	e.u32(version)
	e.u64(uint64(len(list)))
	e.u64(uint64(keys.count))
	e.Write(keys.Bytes())
	var offset int64
	for _, t := range list {
		e.text(t.name)
		if t.out == 0 {
			e.u32(1)
			e.u64(uint64(t.in))
		} else {
			e.u32(2)
			e.u64(uint64(t.in)) // innermost first
			e.u64(uint64(t.out))
		}
		e.u32(t.kind)
		e.u64(uint64(offset))
		offset += t.bytes() + padding(t.bytes())
	}
	e.Write(make([]byte, padding(int64(e.Len()))))
	return e.Bytes()
}

func writeKeys(e *encoder, o Options) {
	v := makeVocabulary(o)
	e.keyString("general.architecture", "llama")
	e.keyString("general.type", "model")
	e.keyString("general.name", o.Name)
	e.keyUint("general.alignment", alignment)
	e.keyUint("general.file_type", 1) // mostly 16-bit floats
	e.keyUint("general.quantization_version", 2)
	e.keyUint("llama.context_length", uint32(o.Context))
	e.keyUint("llama.embedding_length", uint32(o.Dim))
	e.keyUint("llama.block_count", uint32(o.Layers))
	e.keyUint("llama.feed_forward_length", uint32(o.FF))
	e.keyUint("llama.attention.head_count", uint32(o.Heads))
	e.keyUint("llama.attention.head_count_kv", uint32(o.KVHeads))
	e.keyFloat("llama.attention.layer_norm_rms_epsilon", 1e-5)
	e.keyUint("llama.rope.dimension_count", uint32(o.Dim/o.Heads))
	e.keyFloat("llama.rope.freq_base", 10000)
	e.keyUint("llama.vocab_size", uint32(o.Vocab))
	e.keyString("tokenizer.ggml.model", "llama")
	e.keyStrings("tokenizer.ggml.tokens", v.tokens)
	e.keyFloats("tokenizer.ggml.scores", v.scores)
	e.keyInts("tokenizer.ggml.token_type", v.types)
	e.keyUint("tokenizer.ggml.bos_token_id", beginID)
	e.keyUint("tokenizer.ggml.eos_token_id", endID)
	e.keyUint("tokenizer.ggml.unknown_token_id", unknownID)
	e.keyBool("tokenizer.ggml.add_bos_token", true)
	e.keyBool("tokenizer.ggml.add_space_prefix", true)
	e.keyString("tokenizer.chat_template", chatTemplate)
}

// encoder builds the little-endian header.
type encoder struct {
	bytes.Buffer
	count int // keys written
}

func (e *encoder) u32(v uint32) { e.Write(binary.LittleEndian.AppendUint32(nil, v)) }
func (e *encoder) u64(v uint64) { e.Write(binary.LittleEndian.AppendUint64(nil, v)) }

func (e *encoder) text(s string) {
	e.u64(uint64(len(s)))
	e.WriteString(s)
}

func (e *encoder) key(name string, kind uint32) {
	e.count++
	e.text(name)
	e.u32(kind)
}

func (e *encoder) keyString(name, v string) {
	e.key(name, valueString)
	e.text(v)
}

func (e *encoder) keyUint(name string, v uint32) {
	e.key(name, valueUint32)
	e.u32(v)
}

func (e *encoder) keyFloat(name string, v float32) {
	e.key(name, valueFloat32)
	e.u32(math.Float32bits(v))
}

func (e *encoder) keyBool(name string, v bool) {
	e.key(name, valueBool)
	if v {
		e.WriteByte(1)
	} else {
		e.WriteByte(0)
	}
}

func (e *encoder) keyArray(name string, kind uint32, n int) {
	e.key(name, valueArray)
	e.u32(kind)
	e.u64(uint64(n))
}

func (e *encoder) keyStrings(name string, list []string) {
	e.keyArray(name, valueString, len(list))
	for _, s := range list {
		e.text(s)
	}
}

func (e *encoder) keyFloats(name string, list []float32) {
	e.keyArray(name, valueFloat32, len(list))
	for _, v := range list {
		e.u32(math.Float32bits(v))
	}
}

func (e *encoder) keyInts(name string, list []int32) {
	e.keyArray(name, valueInt32, len(list))
	for _, v := range list {
		e.u32(uint32(v))
	}
}
