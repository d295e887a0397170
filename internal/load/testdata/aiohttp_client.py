"""The client that most Python benchmarks are: aiohttp, one task a stream,
json.loads of each event, the time taken after it. Prints what
internal/load/speed_linux_test.go reads: {"at": {request id: [unix ns, ...]}}."""
import asyncio, json, sys, time, resource
import aiohttp


async def stream(session, url, i, at):
    body = {"model": "m", "prompt": "prompt %d" % i, "max_tokens": 1, "stream": True}
    times = []
    async with session.post(url + "/v1/completions", json=body, headers={"X-Request-Id": "s-%d" % i}) as resp:
        async for line in resp.content:
            line = line.strip()
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                continue
            choices = json.loads(data).get("choices")
            if choices and choices[0].get("text"):
                times.append(time.time_ns())
    at["s-%d" % i] = times


async def main(url, streams):
    timeout = aiohttp.ClientTimeout(total=600)
    at = {}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout, read_bufsize=1 << 20) as session:
        print("ready", flush=True)
        sys.stdin.readline()
        await asyncio.gather(*(stream(session, url, i, at) for i in range(streams)))
    json.dump({"at": at}, sys.stdout)


soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
asyncio.run(main(sys.argv[1], int(sys.argv[2])))
