"""Makes the small tokenizers and the golden ids of this package's tests.

From this folder:
  python -m venv /tmp/v && /tmp/v/bin/pip install tokenizers==0.23.3 tiktoken==0.14.0 sentencepiece==0.2.3
  /tmp/v/bin/python gen.py
Everything is trained here on the texts of corpus.py; nothing is downloaded.
"""
import base64, io, json, pathlib

import sentencepiece
import tiktoken
import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer

from corpus import BYTES, NASTY, as_text, mixtures

OUT = pathlib.Path(__file__).parent.parent
TRAIN = [s for s in NASTY for _ in range(3)] + list(mixtures(400, 1))
CONTRACT = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
SPLITS = {
    "llama3": CONTRACT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen": CONTRACT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwenmarks": CONTRACT + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "cl100k": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    "o200k": rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{CONTRACT}?|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{CONTRACT}?|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "tekken": rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "kimi": r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+" + CONTRACT
            + r"?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*" + CONTRACT
            + r"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "bloom": r" ?[^(\s|[.,!?…。，、।۔،])]+",
}


def isolated(regex):
    return pre_tokenizers.Split(Regex(regex), "isolated")


def byte_level(pre, normalizer=None, **model):
    t = Tokenizer(models.BPE(**model))
    if normalizer:
        t.normalizer = normalizer
    t.pre_tokenizer = pre
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(TRAIN, trainers.BpeTrainer(vocab_size=700, special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
                                                     initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return t


def with_raw(t, change):
    """A tokenizer whose file was changed by hand."""
    d = json.loads(t.to_str())
    change(d)
    return Tokenizer.from_str(json.dumps(d))


def tokenizers_to_make():
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for name, regex in SPLITS.items():
        t = byte_level(pre_tokenizers.Sequence([isolated(regex), plain]), normalizers.NFC() if name.startswith("qwen") else None)
        if name == "llama3":
            t = with_raw(t, lambda d: d["model"].update(ignore_merges=True))
            t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(
                single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", t.token_to_id("<|endoftext|>"))])])
        yield "bpe-" + name, t
    yield "bpe-gpt2", byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False))
    t = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True))
    t.post_processor = processors.RobertaProcessing(("<|im_end|>", 2), ("<|im_start|>", 1))
    t.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    yield "bpe-roberta", t
    yield "bpe-deepseek3", byte_level(pre_tokenizers.Sequence([
        isolated(r"\p{N}{1,3}"), isolated("[一-龥぀-ゟ゠-ヿ]+"),
        isolated(r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""), plain]))
    yield "bpe-deepseek2", byte_level(pre_tokenizers.Sequence([
        isolated("[\r\n]"), isolated(r"\s?\p{L}+"), isolated(r"\s?\p{P}+"), isolated("[一-龥ࠀ-一가-퟿]+"), pre_tokenizers.Digits(individual_digits=True), plain]))
    yield "bpe-starcoder", byte_level(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]))
    yield "bpe-digits-last", byte_level(pre_tokenizers.Sequence([plain, pre_tokenizers.Digits(individual_digits=False)]))
    t = Tokenizer(models.BPE(unk_token="<unk>"))
    t.normalizer, t.pre_tokenizer, t.decoder = normalizers.Sequence([normalizers.NFKD(), normalizers.Lowercase()]), plain, decoders.ByteLevel()
    t.train_from_iterator(["plain words only", "some more words"] * 5, trainers.BpeTrainer(vocab_size=60, special_tokens=["<unk>"], show_progress=False))
    yield "bpe-partial", t
    yield sentence_like()
    yield with_flags(byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False)))
    yield from word_models()
    yield from unigrams()


def sentence_like():
    """BPE with byte fallback and no splitter, as Llama 2 and Mistral."""
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.pre_tokenizer = pre_tokenizers.Metaspace(split=True, prepend_scheme="never")
    words = [w for s in NASTY[:40] for w in s.split()] * 4
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)]
    t.train_from_iterator([" " + " ".join(words[i:i + 6]) for i in range(0, len(words), 6)],
                          trainers.BpeTrainer(vocab_size=800, special_tokens=special, limit_alphabet=150, show_progress=False))
    d = json.loads(t.to_str())
    d["pre_tokenizer"] = None
    d["added_tokens"] = [dict(a, normalized=False) for a in d["added_tokens"][:3]]
    t = Tokenizer.from_str(json.dumps(d))
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    t.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    return "bpe-fallback", t


def with_flags(t):
    t.normalizer = normalizers.Lowercase()
    t.add_tokens([AddedToken("<word>", single_word=True), AddedToken("<NORM>", normalized=True), AddedToken("<plain>", normalized=False),
                  AddedToken("<mask>", lstrip=True, rstrip=True, normalized=False), AddedToken("the", single_word=True, normalized=True),
                  AddedToken("    ", normalized=False), AddedToken("   ", normalized=False)])
    t.add_special_tokens([AddedToken("[SEP]", rstrip=True, special=True)])
    return "bpe-flags", t


def word_models():
    for name, norm in [("uncased", normalizers.BertNormalizer(lowercase=True)), ("cased", normalizers.BertNormalizer(lowercase=False, strip_accents=None))]:
        t = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
        t.normalizer, t.pre_tokenizer, t.decoder = norm, pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
        t.train_from_iterator(TRAIN, trainers.WordPieceTrainer(vocab_size=700, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False))
        t.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        yield "wordpiece-" + name, t
    t = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    t.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Strip(), normalizers.Replace(Regex(r"\d+"), "0")])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation("contiguous")])
    t.train_from_iterator(TRAIN, trainers.WordLevelTrainer(vocab_size=300, special_tokens=["[UNK]"], show_progress=False))
    yield "wordlevel", t
    t = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    t.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    t.pre_tokenizer = pre_tokenizers.Split(Regex(r"'s|'t|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", invert=True)
    t.decoder = decoders.BPEDecoder(suffix="</w>")
    t.train_from_iterator(TRAIN, trainers.BpeTrainer(vocab_size=600, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False))
    yield "bpe-suffix", t
    t = Tokenizer(models.BPE(unk_token="<unk>", continuing_subword_prefix="@@"))
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.CharDelimiterSplit(","),
                                               pre_tokenizers.Punctuation("merged_with_next"), pre_tokenizers.Split("e", "merged_with_previous"),
                                               pre_tokenizers.Split(Regex("[aou]"), "contiguous")])
    t.train_from_iterator(TRAIN[:60], trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>"], limit_alphabet=100, continuing_subword_prefix="@@", show_progress=False))
    yield "bpe-prefix", t


def unigrams():
    for name, scheme, fallback in [("always", "always", False), ("first", "first", True), ("never", "never", False)]:
        t = Tokenizer(models.Unigram())
        t.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
        t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=name != "never")
        t.decoder = decoders.Metaspace(prepend_scheme=scheme)
        special = ["<unk>", "<s>", "</s>"] + ([f"<0x{i:02X}>" for i in range(256)] if fallback else [])
        t.train_from_iterator(TRAIN if not fallback else TRAIN[:60], trainers.UnigramTrainer(vocab_size=900, special_tokens=special, unk_token="<unk>", show_progress=False))
        if fallback:
            t = with_raw(t, lambda d: d["model"].update(byte_fallback=True))
        yield "unigram-" + name, t
    for rule in ["nmt_nfkc", "nfkc_cf"]:
        m = sentencepiece_model("unigram", rule)
        t = from_sentencepiece(m)
        yield "unigram-" + rule.replace("_", "-"), t


def sentencepiece_model(kind, rule, **more):
    out = io.BytesIO()
    lines = [s.replace("\0", "") for s in TRAIN if s.strip() and len(s) < 2000]
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=out, model_type=kind, vocab_size=600, normalization_rule_name=rule,
                                             hard_vocab_limit=False, character_coverage=0.98, minloglevel=2, **more)
    return out.getvalue()


def from_sentencepiece(raw):
    """As transformers' convert_slow_tokenizer makes it (SpmConverter)."""
    p = sentencepiece.SentencePieceProcessor(model_proto=raw)
    vocab = [(p.id_to_piece(i), p.get_score(i)) for i in range(p.vocab_size())]
    t = Tokenizer(models.Unigram(vocab, p.unk_id(), False))
    t.normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap(raw)), normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "▁")])
    t.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    t.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    return t


def fields(raw):
    at = 0
    def varint():
        nonlocal at
        v = shift = 0
        while True:
            b = raw[at]
            at += 1
            v |= (b & 127) << shift
            shift += 7
            if b < 128:
                return v
    while at < len(raw):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
        elif tag & 7 == 2:
            n = varint()
            yield tag >> 3, raw[at:at + n]
            at += n
        else:
            at += 4 if tag & 7 == 5 else 8


def charsmap(raw):
    return dict(fields(dict(fields(raw))[3]))[2]


def golden(name, texts, encode):
    """Left out: special when it is ids, decoded when it is the text."""
    (OUT / f"{name}.golden.json").write_text(json.dumps([case(s, *encode(s)) for s in texts], separators=(",", ":")) + "\n")


def case(text, ids, special, decoded):
    return {"ids": ids} | ({"special": special} if special != ids else {}) | ({"decoded": decoded} if decoded != text else {})


def main():
    raws = [s.encode() for s in NASTY] + BYTES + [s.encode() for s in mixtures(60, 42)]
    (OUT / "corpus.json").write_text(json.dumps([base64.b64encode(r).decode() for r in raws], indent=0) + "\n")
    texts = [as_text(r) for r in raws]
    for name, t in tokenizers_to_make():
        (OUT / f"{name}.json").write_text(t.to_str() + "\n")
        t = Tokenizer.from_file(str(OUT / f"{name}.json"))
        def encode(s):
            ids = t.encode(s, add_special_tokens=False).ids
            return ids, t.encode(s).ids, t.decode(ids, skip_special_tokens=False)
        golden(name, texts, encode)
    for name, kind, rule, more in [("sp-unigram", "unigram", "nmt_nfkc", {}), ("sp-bpe", "bpe", "identity", dict(
            byte_fallback=True, remove_extra_whitespaces=False, split_digits=True, user_defined_symbols=["<word>", "▁▁▁▁"])), ("sp-unk", "bpe", "nfkc", {}),
            ("sp-user", "unigram", "nfkc", dict(user_defined_symbols=["<word>", "中文"], byte_fallback=True))]:
        raw = sentencepiece_model(kind, rule, **more)
        (OUT / f"{name}.model").write_bytes(raw)
        p = sentencepiece.SentencePieceProcessor(model_proto=raw)
        golden(name, texts, lambda s: (p.encode(s), p.encode(s), p.decode(p.encode(s))))
    ranks()
    tekken()


def ranks():
    """A rank file: all bytes, then the joints that a byte-level BPE learnt."""
    raws = json.loads((OUT / "corpus.json").read_text())
    texts = [as_text(base64.b64decode(r)) for r in raws]
    for split in ["cl100k", "o200k", "llama3", "kimi"]:
        t = json.loads((OUT / f"bpe-{split}.json").read_text())
        back = {v: k for k, v in byte_chars().items()}
        table = {bytes([b]): b for b in range(256)}
        for a, b in t["model"]["merges"]:
            token = bytes(back[c] for c in a + b)
            table.setdefault(token, len(table))
        (OUT / f"ranks-{split}.tiktoken").write_bytes(b"".join(base64.b64encode(k) + b" %d\n" % v for k, v in table.items()))
        special = {"<|endoftext|>": len(table), "<mask>": len(table) + 5}
        e = tiktoken.Encoding(split, pat_str=SPLITS[split], mergeable_ranks=table, special_tokens=special)
        (OUT / f"ranks-{split}.json").write_text(json.dumps({"split": SPLITS[split], "special": special}) + "\n")
        def encode(s):
            ids = e.encode(s, allowed_special="all")
            return ids, ids, e.decode(ids)
        golden(f"ranks-{split}", texts, encode)


def tekken():
    """Mistral's own format, read as mistral_common 1.13.1 does: ids of ranks behind those of the special tokens."""
    ranks = [line.split() for line in (OUT / "ranks-o200k.tiktoken").read_text().splitlines()]
    special = [{"rank": i, "token_str": s, "is_control": True} for i, s in enumerate(["<unk>", "<s>", "</s>", "[INST]"])]
    (OUT / "tekken.json").write_text(json.dumps({
        "config": {"pattern": SPLITS["tekken"], "num_vocab_tokens": len(ranks), "default_vocab_size": len(ranks) - 50 + 10, "default_num_special_tokens": 10, "version": "v7"},
        "vocab": [{"rank": int(r), "token_bytes": t, "token_str": None} for t, r in ranks], "special_tokens": special}, separators=(",", ":")) + "\n")
    kept = {base64.b64decode(t): int(r) for t, r in ranks[:-50]}
    e = tiktoken.Encoding("tekken", pat_str=SPLITS["tekken"], mergeable_ranks=kept, special_tokens={})
    def encode(s):
        ids = e.encode_ordinary(s)
        return [i + 10 for i in ids], [1] + [i + 10 for i in ids], e.decode(ids)
    golden("tekken", [as_text(base64.b64decode(r)) for r in json.loads((OUT / "corpus.json").read_text())], encode)


def byte_chars():
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in keep]
    return {**{b: chr(b) for b in keep}, **{b: chr(256 + i) for i, b in enumerate(rest)}}


if __name__ == "__main__":
    main()
