"""Asks the reference library which characters it counts to which property, and
writes ../../unicode.txt. Its parts were built on tables of several Unicode versions.

  python -m venv /tmp/v && /tmp/v/bin/pip install tokenizers==0.23.3 unicodedata2==17.0.1
  /tmp/v/bin/python unicode.py
"""
import pathlib

import tokenizers
import unicodedata2
from tokenizers import Regex, normalizers, pre_tokenizers

CHARS = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
SPLITS = "L Lu Ll Lt Lm Lo M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So Z C Han Hiragana Katakana Hangul".split()


def matched(pre, sep):
    """The characters that pre sets apart between separators."""
    out = []
    for i in range(0, len(CHARS), 2000):
        text = sep + sep.join(CHARS[i:i + 2000]) + sep
        out += [ord(text[a]) for _, (a, b) in pre.pre_tokenize_str(text) if b - a == 1 and a % 2 == 1]
    return out


def removed(n):
    return [ord(c) for c in CHARS if n.normalize_str("a" + c + "b") == "ab"]


def ranges(codes):
    out = []
    for c in sorted(codes):
        if out and c == out[-1][1] + 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return " ".join(f"{a:x}" if a == b else f"{a:x}-{b:x}" for a, b in out)


def bert(**on):
    return normalizers.BertNormalizer(**{"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False, **on})


def main():
    lines = {}
    for p in SPLITS:
        lines[p] = matched(pre_tokenizers.Split(Regex(r"\p{%s}" % p), "isolated"), "x" if p[0] in "NPSZ" else "€")
    lines["space"] = matched(pre_tokenizers.Split(Regex(r"\s"), "isolated"), "x")
    lines["word"] = matched(pre_tokenizers.Split(Regex(r"\w"), "isolated"), "€")
    lines["rust-word"] = matched(pre_tokenizers.Whitespace(), "€")
    lines["rust-numeric"] = matched(pre_tokenizers.Digits(True), "x")
    lines["old-punctuation"] = matched(pre_tokenizers.Punctuation("isolated"), "x")
    lines["bert-clean"] = removed(bert(clean_text=True))
    lines["bert-accents"] = removed(bert(strip_accents=True))
    lines["accents"] = removed(normalizers.StripAccents())
    nfkd = normalizers.NFKD()
    lines["unknown-forms"] = [ord(c) for c in CHARS if unicodedata2.normalize("NFKD", c) != c and nfkd.normalize_str(c) == c]
    low = normalizers.Lowercase()
    pairs = [f"{ord(c):x}>{ord(low.normalize_str(c)):x}" for c in CHARS if len(low.normalize_str(c)) == 1 and low.normalize_str(c) != c.lower()]
    text = f"# Character sets as tokenizers {tokenizers.__version__} counts them; made by testdata/gen/unicode.py\n"
    text += "".join(f"{name} {ranges(codes)}\n" for name, codes in lines.items()) + "lower " + " ".join(pairs) + "\n"
    (pathlib.Path(__file__).parent.parent.parent / "unicode.txt").write_text(text)


if __name__ == "__main__":
    main()
