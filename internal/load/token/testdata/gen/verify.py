"""Compares package token with the reference libraries on any tokenizer.

From the root of the repository, with tokenizers, tiktoken and sentencepiece installed:
  python internal/load/token/testdata/gen/verify.py PATH/tokenizer.json PATH/tokenizer.model ...
"""
import base64, json, pathlib, subprocess, sys, tempfile

from corpus import BYTES, NASTY, as_text, mixtures

HERE = pathlib.Path(__file__).parent


def ours(path, raws, *more):
    with tempfile.TemporaryDirectory() as d:
        f = pathlib.Path(d, "texts.json")
        f.write_text(json.dumps([base64.b64encode(r).decode() for r in raws]))
        out = subprocess.run(["go", "run", "./" + str((HERE / "check").resolve().relative_to(pathlib.Path.cwd())), str(path), str(f), *more],
                             check=True, capture_output=True)
    return json.loads(out.stdout)


def reference(path):
    if pathlib.Path(path).name.startswith("tekken"):
        return tekken_reference(path)
    if path.endswith(".json"):
        import tokenizers
        t = tokenizers.Tokenizer.from_file(path)
        t.no_truncation(), t.no_padding()
        return lambda s: (t.encode(s, add_special_tokens=False).ids, t.encode(s).ids,
                          t.decode(t.encode(s, add_special_tokens=False).ids, skip_special_tokens=False))
    if path.endswith(".tiktoken"):
        return tiktoken_reference(path)
    import sentencepiece
    p = sentencepiece.SentencePieceProcessor(model_file=path)
    return lambda s: (p.encode(s), None, None)


def tiktoken_reference(path):
    """The published encoding of the file's name, with the ranks of the file."""
    import tiktoken, tiktoken.load, tiktoken_ext.openai_public as public
    ranks = {base64.b64decode(t): int(r) for t, r in (line.split() for line in open(path))}
    public.load_tiktoken_bpe = lambda *_, **__: ranks
    public.data_gym_to_mergeable_bpe_ranks = lambda *_, **__: ranks
    e = tiktoken.Encoding(**public.ENCODING_CONSTRUCTORS[pathlib.Path(path).stem]())
    return lambda s: (e.encode(s, allowed_special="all"), None, e.decode(e.encode(s, allowed_special="all")))


def tekken_reference(path):
    import tiktoken
    d = json.load(open(path))
    first = d["config"]["default_num_special_tokens"]
    ranks = {base64.b64decode(v["token_bytes"]): v["rank"] for v in d["vocab"][:d["config"]["default_vocab_size"] - first]}
    e = tiktoken.Encoding("tekken", pat_str=d["config"]["pattern"], mergeable_ranks=ranks, special_tokens={})
    ids = lambda s: [i + first for i in e.encode_ordinary(s)]
    return lambda s: (ids(s), [1] + ids(s), e.decode(e.encode_ordinary(s)))


def main(paths, n=6000, seed=11):
    raws = [s.encode() for s in NASTY] + BYTES + [s.encode() for s in mixtures(n, seed)]
    bad = False
    for path in paths:
        want = reference(path)
        differ = {"ids": 0, "special": 0, "decoded": 0}
        for raw, got in zip(raws, ours(path, raws)):
            text = as_text(raw)
            for key, expect in zip(differ, want(text)):
                if expect is not None and got[key] != expect:
                    differ[key] += 1
                    if differ[key] <= 3:
                        print(f"  {key} of {text!r}\n    want {expect!r}\n    got  {got[key]!r}")
        print(f"{path}: {len(raws)} texts, differing: {differ}")
        bad = bad or any(differ.values())
    return bad


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
