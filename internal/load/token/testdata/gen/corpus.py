"""Texts that tokenizers trip over, and random mixtures of them."""
import random

NASTY = [
    "", " ", "  ", "\n", "\r\n", "\t", " \n", "\n ", "\n\n\n", "   \n   \n", "\n \n \n ", "a", " a", "a ", "  a  ",
    "Hello, world!", "hello   world", "Hello world  ", "The quick brown fox jumps over the lazy dog.",
    "I'm you're he's we'll they'd I've can't DON'T I'M WE'LL it'S 'S 's", "'\u017f '\u212a 'ſ x'ſ", "rock 'n' roll ''quoted''",
    "don't\u2019t I\u2019m it\u2019s", "1 12 123 1234 12345 123456 1234567890", "3.14159 1,000,000 -5 1e-10 0xDEADBEEF 50% $9.99 \u00bd \u00b2 \u2167 \u0663\u0664\u0665",
    "MixedCase camelCase PascalCase snake_case kebab-case SCREAMING_CASE HTTPServer XMLHttpRequest iPhone",
    "def f(x):\n    return x + 1\n\n\nclass A:\n\tpass\n", "for (int i = 0; i < n; ++i) { a[i] += b[i] * c; }  // done\r\n",
    "{\"key\": [1, 2.5, null, true], \"nested\": {\"a\": \"b\\n\"}}", "<html><body class=\"x\">&nbsp;</body></html>",
    "https://example.org/path?q=1&r=a%20b#frag user@example.org", "\\frac{a}{b} $x^2$ \\alpha", "a/b//c/\n/d", "!!!???...---===***", "?!\n\n!?\r\n",
    "中文字符测试。你好,世界!", "日本語のテキスト、カタカナとひらがな。", "한국어 텍스트입니다. 안녕하세요", "中文mixed英文123数字", "\u3000全角\u3000空格",
    "مرحبا بالعالم كيف حالك", "שלום עולם", "سلام دنیا \u200c\u200d\u200f", "Привет, мир! Как дела?", "Γειά σου Κόσμε", "ǅ ǈ ǋ ʰ ª º Å",
    "नमस्ते दुनिया", "สวัสดีชาวโลก", "வணக்கம்", "ສະບາຍດີ", "እንኳን", "ગુજરાતી", "বাংলা ভাষা",
    "😀 😃😄 👨\u200d👩\u200d👧\u200d👦 🏳\ufe0f\u200d🌈 👍🏽 🇩🇪🇫🇷 \u2764\ufe0f", "e\u0301 n\u0303 a\u0308\u0301 \u0301x o\u0323\u0302 \u1e69 s\u0323\u0307", "caf\u00e9 cafe\u0301 na\u00efve Z\u0351\u036b\u0343a\u0310lgo",
    "\ufb01\ufb02 \u2460\u2461 \u00b5 \u2126 \u212b \uff21\uff42\uff43\uff11\uff12 \u33a1", "\u1100\u1161\u11a8 \uac01", "I\u0307 \u0130 \u0131 \u00df \u1e9e STRASSE \u03a3\u03c2",
    "a" + "\u0301" * 40 + "b", "\x00\x01\x02\x1b[31mred\x1b[0m\x7f\x80\x9f", "\u00a0nbsp\u00a0\u2003em\u2028line\u2029para\u0085nel\u200bzw\ufeffbom\u180e",
    "\u00ad soft\u00adhyphen \u2013 \u2014 \u2026 \u201cq\u201d \u00ab\u00bb \u20ac \u00a3 \u00a5", "\ue000\uf8ff \U000f0000 \ufffd \U0010ffff", "𝒳𝓎𝔷 𝟘𝟙 𐍈 𠀀𠀁 𝼀",
    "▁ ▁▁a ▁b a▁b", "Ġ Ċ Ã ā", "##ing ##", "<0x0A> <0xFF>", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "a" * 200, "ab" * 300, " " * 150 + "x" + " " * 37, "\n" * 70, "\t" * 33 + "x",
    "the" * 60, "1" * 100, "中" * 130, "=" * 120, "." * 65, "\r\n" * 20, "x\r\ry", "a\u0000b", "word\n  next\n\tthird\n\n    fourth",
    "<|endoftext|>", "a<|endoftext|>b", "<s>hi</s>", " <|im_start|> user\nHi<|im_end|>\n", "<unk> <pad> [CLS] [MASK] [SEP]", "<|end", "<mask>  x", "x <mask> y", "x  <mask>y", "a<word>b <word> c", "<word>", "Lower<NORM>lower <norm>", "<plain><plain>",
    "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et dolore magna aliqua",
    "  leading and trailing  ", "tab\tseparated\tvalues\n1\t2\t3\n", "ALL CAPS TEXT AND MORE", "Ünïcödé Ñandú Øre Åse Łódź Žižek İstanbul",
    "a.b,c;d:e!f?g(h)i[j]k{l}m", "$100 #tag @user ~tilde^caret`tick|pipe\\back", "\u0915\u094d\u0937\u093f", "\u1f600 \U0001F600\U0001F3FD\u200d\U0001F4BB", "end with newline\n", "end with space ",
]
BYTES = [b"\xff", b"abc\xffdef", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"ok \xed\xa0\x80 no", b"\xc0\x80", b"\x80\x81 x\xfe\xff", b"caf\xe9 latin1", b"\xe4\xb8\xad\xe6\x96"]


def as_text(raw: bytes) -> str:
    """U+FFFD for each bad byte, as encoding/json in Go writes it."""
    out, at = [], 0
    while at < len(raw):
        for n in (4, 3, 2, 1):
            try:
                piece = raw[at:at + n].decode("utf-8")
            except UnicodeDecodeError:
                continue
            if len(piece) == 1 and n == min(n, len(raw) - at):
                out.append(piece)
                at += n
                break
        else:
            out.append("\ufffd")
            at += 1
    return "".join(out)


def mixtures(n: int, seed: int):
    r = random.Random(seed)
    chars = list("".join(NASTY[:100]))
    blanks = [" ", "  ", "\n", "\n\n", "\t", "\r\n", " \n", "", "", ""]
    for _ in range(n):
        parts = []
        for _ in range(r.randrange(1, 12)):
            kind = r.randrange(4)
            if kind == 0:
                parts.append(r.choice(NASTY)[:60])
            elif kind == 1:
                parts.append("".join(r.choice(chars) for _ in range(r.randrange(1, 8))))
            elif kind == 2:
                parts.append(r.choice(NASTY[15:40]).split(" ")[0])
            else:
                parts.append(r.choice(blanks) * r.randrange(1, 4))
        yield "".join(parts)
