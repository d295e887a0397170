"""Runs benchmark clients of other projects and llmdyno's against one server, and prints
what each recorded beside what the server knows, as a Markdown table.

    go build -o /tmp/cc/llmdyno ./cmd/llmdyno && go build -o /tmp/cc/server ./scripts/compare-clients/server
    python3.12 scripts/compare-clients/compare.py install /tmp/cc     # venvs, from PyPI: several GB
    python3.12 scripts/compare-clients/compare.py run /tmp/cc --streams 64,512,256t --rounds 3
    python3.12 scripts/compare-clients/compare.py table /tmp/cc

Linux, two CPUs or more, taskset and zstd. The server runs on CPU 0, the client with all
its processes on CPU 1. Every client sends 2 x STREAMS requests as a closed loop of
STREAMS users to /v1/completions; each reply has 200 events, 50 a second, the first one
planned 200 to 220 ms after the request was read. The streams' events are spread evenly
over the 20 ms; with a t behind the number all streams tick together, as an engine's steps
do. The clients take turns, each round beginning with another one; a case's figure is the
median of its three rounds with the least CPU time of other processes. --exclusively names a command that others on the machine respect
(flock FILE, for one): every load runs while it runs. Times are the client's own records:

    TTFT error   |client's TTFT - (server's first write - request read)|
    lag          the client's instant of an event - the server's instant of writing it;
                 of SGLang, whose file has no instants, both counted from the request,
                 so that it holds the TTFT error too;
                 of GuideLLM, whose file has only the first and last one of a request, these
    event error  |lag of an event - median lag of its request|: what gaps are off by, and
                 the same for clients whose file has instants and whose file has none
    recorded/s   events over the time from the first to the last that the client recorded
    CPU/event    of all processes of the client, from the first request to the last event
    foreign      CPU time of other processes in that time, of all CPUs
"""
import argparse, calendar, glob, itertools, json, os, re, select, shutil, signal, subprocess, sys, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TICK = os.sysconf("SC_CLK_TCK")
EVENTS, RATE, PROMPT = 200, 50, 64

# What PyPI has to give. vllm cannot be installed without its dependencies to any use: its
# client imports most of the engine on the way, torch included.
# sglang's Rust client is a file of its own in the wheel and needs nothing else of it, its
# Python client needs the engine's packages.
PACKAGES = {"guidellm": ["guidellm"], "aiperf": ["aiperf"], "vllm": ["vllm"], "sglang": ["sglang"], "sglang-rust": ["--no-deps", "sglang"]}

# Two clients import an engine first, which takes half a minute: that is done once, and
# each run is a fork of the process that did it. A line on stdin is [arguments, log].
FORKS = """
import gc, json, os, sys
gc.freeze()
print("ready", flush=True)
for line in sys.stdin:
    argv, log = json.loads(line)
    pid = os.fork()
    if pid == 0:
        fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        sys.argv[1:] = argv
        try:
            main()
        except BaseException:
            import traceback
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        sys.stdout.flush()
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""

MAIN = {
    "vllm": """import argparse
from vllm.benchmarks import serve

def main():
    p = argparse.ArgumentParser()
    serve.add_cli_args(p)
    serve.main(p.parse_args())
""" + FORKS,
    "sglang": """import os
from sglang.benchmark import serving
serving.get_tokenizer(os.path.dirname(os.path.abspath(__file__)) + "/tok")  # imports more
main = serving.cli_main
""" + FORKS,
    "sglang-rust": """import glob, importlib.util, sys
at = glob.glob(sys.prefix + "/lib/python3*/site-packages/sglang/srt/rust_extensions/_bench.*.so")[0]
spec = importlib.util.spec_from_file_location("_bench", at)
m = importlib.util.module_from_spec(spec)
spec.loader.exec_module(m)
m.run_argv(["sglang-bench", *sys.argv[1:]])
""",
}
FORKED = ("vllm", "sglang")


def install(at):
    os.makedirs(at, exist_ok=True)
    for name, packages in PACKAGES.items():
        venv = f"{at}/{name}"
        python = f"{venv}/bin/python"
        steps = [[sys.executable, "-m", "venv", venv], [python, "-m", "pip", "install", "-q", "uv"], [python, "-m", "uv", "pip", "install", *packages]]
        for step in steps:
            print("+", " ".join(step), flush=True)
            if subprocess.run(step, env={**os.environ, "VIRTUAL_ENV": venv}).returncode != 0:
                print(f"{name}: not installed", flush=True)
                break


def prepare(at):
    """A small tokenizer, and what runs the clients that have no program of their own."""
    os.makedirs(f"{at}/tok", exist_ok=True)
    shutil.copy(f"{ROOT}/internal/load/token/testdata/bpe-gpt2.json", f"{at}/tok/tokenizer.json")
    with open(f"{at}/tok/tokenizer_config.json", "w") as f:
        json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 100000}, f)
    for client, text in MAIN.items():
        with open(f"{at}/{client}_main.py", "w") as f:
            f.write(text)


def command(client, at, url, n, out):
    prompts, tok = 2 * n, f"{at}/tok"
    if client == "llmdyno":
        return [f"{at}/llmdyno", "load", "--url", url, "--model", "m", "--engine", "openai", "--endpoint", "/v1/completions", "--concurrency", n,
                "--num-prompts", prompts, "--input-len", PROMPT, "--output-len", EVENTS, "--no-calibration", "--quiet", "--out", f"{out}/run"]
    if client == "vllm":
        return [f"{at}/vllm/bin/python", f"{at}/vllm_main.py", "--backend", "openai", "--base-url", url, "--endpoint", "/v1/completions", "--model", "m",
                "--tokenizer", tok, "--dataset-name", "random", "--random-input-len", PROMPT, "--random-output-len", EVENTS, "--num-prompts", prompts,
                "--max-concurrency", n, "--request-rate", "inf", "--ready-check-timeout-sec", 0, "--disable-tqdm",
                "--save-result", "--save-detailed", "--result-dir", out, "--result-filename", "vllm.json"]
    if client in ("sglang", "sglang-rust"):
        return [f"{at}/{client}/bin/python", f"{at}/{client}_main.py", "--backend", "vllm", "--base-url", url, "--model", "m", "--tokenizer", tok,
                "--dataset-name", "random-ids", "--random-input-len", PROMPT, "--random-output-len", EVENTS, "--random-range-ratio", 1,
                "--num-prompts", prompts, "--max-concurrency", n, "--warmup-requests", 0, "--disable-tqdm", "--output-details", "--output-file", f"{out}/sglang.jsonl"]
    if client == "aiperf":
        return [f"{at}/aiperf/bin/aiperf", "profile", "--model", "m", "--url", url, "--endpoint-type", "completions", "--streaming", "--concurrency", n,
                "--request-count", prompts, "--isl", PROMPT, "--isl-stddev", 0, "--osl", EVENTS, "--osl-stddev", 0, "--tokenizer", tok,
                "--use-server-token-count", "--ui", "none", "--output-artifact-dir", f"{out}/aiperf"]
    return [f"{at}/guidellm/bin/guidellm", "run", "--backend", f"kind=openai_http,target={url},model=m,request_format=/v1/completions",
            "--profile", f"kind=concurrent,streams={n}", "--constraint", f"kind=max_requests,count={prompts}",
            "--tokenizer", f"kind=huggingface_auto,model={tok}", "--data", f"kind=synthetic_text,prompt_tokens={PROMPT},output_tokens={EVENTS}",
            "--output", f"kind=json,path={out}/guidellm.json", "--disable-progress"]


# Readers: (key of the request, TTFT in ns, [(number of the event, its instant on the monotonic clock)]).

def serial(text):
    m = re.match(r"\s*r(\d+)", text or "")
    return int(m.group(1)) if m else None


def read_llmdyno(out, wall):
    lines = subprocess.run(["zstd", "-dc", f"{out}/run/samples.jsonl.zst"], capture_output=True, check=True).stdout.splitlines()
    started = json.loads(lines[0])["started"]
    whole, frac = started.rstrip("Z").split(".") if "." in started else (started.rstrip("Z"), "0")
    zero = calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) * 10**9 + int(frac.ljust(9, "0")) - wall
    for line in lines[1:]:
        r = json.loads(line)
        if not r.get("class"):
            yield r["request_id"], r["first_text_ns"] - r["send_ns"], [(k, zero + e["at_ns"]) for k, e in enumerate(r["events"])]


def read_vllm(out, wall):
    d = json.load(open(f"{out}/vllm.json"))
    for text, start, ttft, itls in zip(d["generated_texts"], d["start_times"], d["ttfts"], d["itls"]):
        if text:
            yield serial(text), ttft * 1e9, list(enumerate(t * 1e9 for t in itertools.accumulate([start + ttft] + itls)))


def read_sglang(out, wall):
    """Its file does not say when a request began: instants since then."""
    d = json.loads(open(f"{out}/sglang.jsonl").readline())
    for text, ttft, itls in zip(d["generated_texts"], d["ttfts"], d["itls"]):
        if text:
            yield serial(text), ttft * 1e9, list(enumerate(t * 1e9 for t in itertools.accumulate([ttft] + itls)))


def read_aiperf(out, wall):
    for line in open(f"{out}/aiperf/profile_export.jsonl"):
        r = json.loads(line)
        m, meta = r.get("metrics") or {}, r["metadata"]
        if "time_to_first_token" in m:
            ttft, gaps = m["time_to_first_token"]["value"] * 1e6, m["inter_chunk_latency"]["value"]
            times = itertools.accumulate([meta["request_start_ns"] - wall + ttft] + [g * 1e6 for g in gaps])
            yield meta["x_request_id"], ttft, list(enumerate(times))


def read_guidellm(out, wall):
    for r in json.load(open(f"{out}/guidellm.json"))["benchmarks"][0]["requests"]["successful"]:
        start, ttft = r["request_start_time"] * 1e9 - wall, r["time_to_first_token_ms"] * 1e6
        timings = (r.get("info") or {}).get("timings") or {}
        last = timings.get("last_token_iteration") or r["request_end_time"]
        yield serial(r["output"]), ttft, [(0, start + ttft), (-1, last * 1e9 - wall)]


READERS = {"sglang": read_sglang, "sglang-rust": read_sglang, "llmdyno": read_llmdyno, "vllm": read_vllm, "aiperf": read_aiperf, "guidellm": read_guidellm}


class Watch(threading.Thread):
    """CPU time of a process with all that it starts, of another one, and of the machine."""

    def __init__(self, pid, server):
        super().__init__(daemon=True)
        self.pid, self.server, self.looks, self.quit = pid, server, [], threading.Event()
        self.seen = {}

    def run(self):
        while not self.quit.wait(0.1):
            procs = {}
            for path in glob.glob("/proc/[0-9]*/stat"):
                try:
                    text = open(path).read()
                except OSError:
                    continue
                f = text[text.rindex(")") + 2:].split()
                procs[int(path.split("/")[2])] = (int(f[1]), int(f[11]) + int(f[12]))
            tree, grown = {self.pid}, True
            while grown:
                more = {p for p, (parent, _) in procs.items() if parent in tree} - tree
                tree |= more
                grown = bool(more)
            self.seen.update({p: procs[p][1] for p in tree if p in procs})
            f = [int(x) for x in open("/proc/stat").readline().split()[1:9]]
            busy = sum(f) - f[3] - f[4]
            self.looks.append((time.monotonic_ns(), sum(self.seen.values()) / TICK, procs.get(self.server, (0, 0))[1] / TICK, busy / TICK))

    def between(self, begin, end):
        before = max((l for l in self.looks if l[0] <= begin), default=self.looks[0])
        after = min((l for l in self.looks if l[0] >= end), default=self.looks[-1])
        return [b - a for a, b in zip(before, after)]


def quantile(values, q):
    v = sorted(values)
    if not v:
        return float("nan")
    i = q * (len(v) - 1)
    low = int(i)
    return v[low] + (v[min(low + 1, len(v) - 1)] - v[low]) * (i - low)


class Alone:
    """Holds a command that shuts others out, from its first sign of life until closed."""

    def __init__(self, prefix):
        self.held = prefix and subprocess.Popen([*prefix.split(), "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.held:
            print("mine", file=self.held.stdin, flush=True)
            self.held.stdout.readline()

    def close(self):
        if self.held:
            self.held.stdin.close()
            self.held.wait()
            self.held = None


class Client:
    """A client that is run once for each case, imported once if it is one that forks."""

    def __init__(self, name, nice):
        self.name, self.prefix, self.loaded = name, ["nice", "-n", str(nice), "taskset", "-c", "1"], None

    def load(self, argv):
        """Once: what imports take must not fall into a load."""
        if self.name in FORKED and not self.loaded:
            self.loaded = self.open(argv[:2], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, process_group=0)
            for line in self.loaded.stdout:
                if line == "ready\n":
                    return
            raise SystemExit(f"{self.name}: its venv does not import the client; run install again")

    def start(self, argv, log):
        if self.loaded:
            print(json.dumps([argv[2:], log]), file=self.loaded.stdin, flush=True)
            return self.loaded.pid
        with open(log, "w") as f:
            self.running = self.open(argv, stdout=f, stderr=subprocess.STDOUT)
        return self.running.pid

    def open(self, argv, **how):
        return subprocess.Popen([*self.prefix, *argv], env={**os.environ, "TOKENIZERS_PARALLELISM": "false"}, text=True, **how)

    def wait(self, limit):
        if self.loaded:
            if not select.select([self.loaded.stdout], [], [], limit)[0]:
                self.close()
                return -1
            return int(self.loaded.stdout.readline() or 1)
        try:
            return self.running.wait(limit)
        except subprocess.TimeoutExpired:
            self.running.terminate()
            return self.running.wait(20)

    def close(self):
        if self.loaded:
            os.killpg(self.loaded.pid, signal.SIGTERM)
            self.loaded.wait()
            self.loaded = None


def measure(client, at, n, together, out, limit, exclusively):
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    truth = f"{out}/truth.jsonl"
    server = subprocess.Popen([*client.prefix[:-1], "0", f"{at}/server", "-gap", f"{1000 // RATE}ms", "-spread", str(n), "-truth", truth, *["-together"] * together],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    url = server.stdout.readline().strip()
    argv = [str(a) for a in command(client.name, at, url, n, out)]
    client.load(argv)
    alone = Alone(exclusively)
    watch = Watch(client.start(argv, f"{out}/client.log"), server.pid)
    watch.start()
    code = client.wait(limit)
    alone.close()
    watch.quit.set()
    watch.join()
    server.stdin.close()
    server.wait(60)
    r = {"client": client.name, "version": version(client.name, at), "streams": n, "together": together, "exit": code,
         "command": " ".join(argv).replace(at, "$AT"), "date": time.strftime("%Y-%m-%d %H:%M:%S"), "load": os.getloadavg()[0]}
    try:
        r.update(join(READERS[client.name], out, truth, watch, n))
    except Exception as e:  # a client that failed leaves no file: the table says so
        r["failed"] = f"{type(e).__name__}: {e}"
    return r


def join(reader, out, truth, watch, n):
    lines = [json.loads(line) for line in open(truth)]
    wall, requests = lines[0]["wall_minus_mono_ns"], [x for x in lines[1:] if x["want"] == EVENTS]
    known = {x["serial"]: x for x in requests} | {x["id"]: x for x in requests if x.get("id")}
    ttft, lag, event, at, matched = [], [], [], [], []
    for key, t, events in reader(out, wall):
        x = known.get(key)
        if x is None or len(x["events_ns"]) != EVENTS:
            continue
        matched.append(x)
        if reader is read_sglang:
            events = [(k, x["received_ns"] + instant) for k, instant in events]
        ttft.append(abs(t - (x["events_ns"][0] - x["received_ns"])) / 1e6)
        lags = [(instant - x["events_ns"][k]) / 1e6 for k, instant in events if k < EVENTS]
        middle = quantile(lags, .5)
        lag += lags
        event += [abs(v - middle) for v in lags] if reader is not read_guidellm else []
        at += [instant for k, instant in events if k < EVENTS]
    seen = len(matched)  # not what a client sends to see whether the server is there
    first, last = min(x["received_ns"] for x in matched), max(x["events_ns"][-1] for x in matched)
    end = max(max(at), last)
    wall_s, cpu, server, busy = watch.between(first, end)
    wall_s /= 1e9
    return {
        "requests": seen, "of": 2 * n, "written": seen * EVENTS / ((last - min(x["events_ns"][0] for x in matched)) / 1e9),
        "recorded": seen * EVENTS / ((max(at) - min(at)) / 1e9),
        "ttft50": quantile(ttft, .5), "ttft99": quantile(ttft, .99), "lag50": quantile(lag, .5), "lag99": quantile(lag, .99), "lagmax": max(lag), "lagmin": min(lag),
        "event50": quantile(event, .5), "event99": quantile(event, .99),
        "cpu_us": cpu * 1e6 / (seen * EVENTS), "cpu": cpu / wall_s, "server": server / wall_s, "foreign": max(0, busy - cpu - server) / wall_s / os.cpu_count(),
        "late99": quantile([x["late_ns"] / 1e6 for x in matched], .99),
    }


def privilege(nice):
    """Under the kernel's autogroups a nice value only counts within a session: the session's own is set too."""
    if nice and os.path.exists("/proc/self/autogroup"):
        with open("/proc/self/autogroup", "w") as f:
            f.write(str(nice))


def run(at, names, cases, rounds, limit, exclusively, nice):
    prepare(at)
    privilege(nice)
    clients = [Client(name, nice) for name in names]
    with open(f"{at}/results.jsonl", "a") as f:
        for k in range(rounds):
            for n, together in cases:
                for client in clients[k % len(clients):] + clients[:k % len(clients)]:
                    r = measure(client, at, n, together, f"{at}/out/{client.name}-{n}{'t' * together}", limit, exclusively)
                    print(json.dumps(r), file=f, flush=True)
                    print({k: round(v, 3) if isinstance(v, float) else v for k, v in r.items() if k != "command"}, flush=True)
    for client in clients:
        client.close()


def version(client, at):
    if client == "llmdyno":
        text = subprocess.run(["go", "version", "-m", f"{at}/llmdyno"], capture_output=True, text=True).stdout
        built = dict(re.findall(r"vcs\.(revision|modified)=(\S+)", text))
        return built.get("revision", "?")[:7] + "+" * (built.get("modified") == "true")
    package = client.removesuffix("-rust")
    return subprocess.run([f"{at}/{client}/bin/python", "-c", f"import importlib.metadata as m; print(m.version('{package}'))"], capture_output=True, text=True).stdout.strip()


def verdict(rounds):
    """Only llmdyno judges its own measurement: exit 1."""
    valid = sum(r["exit"] == 0 for r in rounds)
    return "-" if rounds[0]["client"] != "llmdyno" else f"valid {valid} of {len(rounds)}"


def spread(rounds, key, digits):
    """The median of the rounds and, in brackets, the lowest and the highest."""
    v = [r[key] for r in rounds]
    return f"{quantile(v, .5):,.{digits}f} ({min(v):,.{digits}f} to {max(v):,.{digits}f})" if len(v) > 1 else f"{v[0]:,.{digits}f}"


def event_error(rounds):
    v = [[r[key] for r in rounds if r.get(key, float("nan")) >= 0] for key in ("event50", "event99")]
    return f"{quantile(v[0], .5):.3f} / {quantile(v[1], .5):.2f}" if v[0] else "-"


COLUMNS = ["streams", "client", "rounds", "requests", "events/s written", "recorded", "TTFT error p50, ms", "p99", "lag p50, ms", "p99", "max", "event error p50 / p99, ms",
           "CPU/event, us", "client CPU", "foreign CPU", "own verdict"]


def table(at, quietest):
    cases = {}
    for line in open(f"{at}/results.jsonl"):
        r = json.loads(line)
        cases.setdefault((r["together"], r["streams"], r["client"], r["version"]), []).append(r)
    print("| " + " | ".join(COLUMNS) + " |\n|" + " --- |" * len(COLUMNS))
    for (together, n, client, version_), all_ in sorted(cases.items()):
        good = sorted((r for r in all_ if "failed" not in r), key=lambda r: r["foreign"])[:quietest]
        head = f"| {n}{', together' * together} | {client} {version_} | {len(good)} of {len(all_)} |"
        if not good:
            print(head, f"failed: {all_[-1]['failed']} |" + " |" * (len(COLUMNS) - 4))
            continue
        print(head, f"{min(r['requests'] for r in good):,} of {good[0]['of']:,} | {quantile([r['written'] for r in good], .5):,.0f} | {spread(good, 'recorded', 0)} | {spread(good, 'ttft50', 2)} | {spread(good, 'ttft99', 1)} | "
              f"{spread(good, 'lag50', 3)} | {spread(good, 'lag99', 2)} | {max(r['lagmax'] for r in good):.0f} | {event_error(all_)} | {spread(good, 'cpu_us', 1)} | "
              f"{100 * quantile([r['cpu'] for r in good], .5):.0f} % | {100 * max(r['foreign'] for r in good):.0f} % | {verdict(good)} |")
    print("\nCommands ($AT is the folder of the venvs, run with taskset -c 1):\n")
    for (together, n, client, _), all_ in sorted(cases.items()):
        if (together, n) == min(c[:2] for c in cases):
            print("    " + re.sub(r"http://[\d.:]+", "$URL", all_[-1]["command"]))


def case(text):
    return int(text.removesuffix("t")), text.endswith("t")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=["install", "run", "table"])
    p.add_argument("at", type=os.path.abspath)
    p.add_argument("--clients", default="llmdyno,sglang-rust,sglang,vllm,aiperf,guidellm")
    p.add_argument("--streams", default="64,512")
    p.add_argument("--rounds", type=int, default=1)
    p.add_argument("--exclusively", default="", help="command that shuts others out while it runs")
    p.add_argument("--nice", type=int, default=0, help="of server and client, and of their session; below 0 keeps other processes back, as root")
    p.add_argument("--quietest", type=int, default=3, help="rounds of a case that the table takes: those with the least CPU time of other processes")
    p.add_argument("--limit", type=float, default=240, help="seconds that a client may take")
    a = p.parse_args()
    if a.what == "install":
        install(a.at)
    elif a.what == "run":
        run(a.at, a.clients.split(","), [case(n) for n in a.streams.split(",")], a.rounds, a.limit, a.exclusively, a.nice)
    else:
        table(a.at, a.quietest)


main()
