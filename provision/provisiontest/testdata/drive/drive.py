"""Drives one of Python's HTTP clients: urllib, requests, httpx, aiohttp or botocore. See README.md."""

import asyncio
import sys

LIMIT = 60


def headers(token):
    return {} if token == "-" else {"Authorization": "Bearer " + token}


def data(body):
    if body == "-":
        return None
    with open(body, "rb") as f:
        return f.read()


def events(lines, ack):
    """Reads an event stream and asks for more after the first event."""
    seen = []
    for line in lines:
        line = line.decode().strip() if isinstance(line, bytes) else line.strip()
        if line.startswith("data: "):
            seen.append(line[6:])
            if len(seen) == 1:
                ack()
    return ",".join(seen)


class Urllib:
    def open(self, url, method="GET", body="-", token="-"):
        import urllib.error
        import urllib.request

        try:
            return urllib.request.urlopen(
                urllib.request.Request(url, data(body), headers(token), method=method), timeout=LIMIT)
        except urllib.error.HTTPError as e:
            return e

    def request(self, method, url, body, token):
        with self.open(url, method, body, token) as res:
            res.read()
            return res.status

    def download(self, method, url, body, token):
        with self.open(url) as res:
            return "%d %d" % (res.status, sum(len(c) for c in iter(lambda: res.read(65536), b"")))

    def cancel(self, method, url, body, token):
        with self.open(url) as res:
            res.read(1000)
            return res.status

    def sse(self, method, url, body, token):
        with self.open(url) as res:
            return events(res, lambda: self.open(url + "-ack").read())


class Requests:
    def __init__(self):
        import requests

        self.lib = requests

    def request(self, method, url, body, token):
        return self.lib.request(method, url, data=data(body), headers=headers(token), timeout=LIMIT).status_code

    def download(self, method, url, body, token):
        with self.lib.get(url, stream=True, timeout=LIMIT) as res:
            return "%d %d" % (res.status_code, sum(len(c) for c in res.iter_content(65536)))

    def cancel(self, method, url, body, token):
        with self.lib.get(url, stream=True, timeout=LIMIT) as res:
            next(res.iter_content(1000))
            return res.status_code

    def sse(self, method, url, body, token):
        with self.lib.get(url, stream=True, timeout=LIMIT) as res:
            return events(res.iter_lines(chunk_size=1), lambda: self.lib.get(url + "-ack", timeout=LIMIT))


class Httpx:
    def __init__(self):
        import httpx

        self.lib = httpx

    def request(self, method, url, body, token):
        return self.lib.request(method, url, content=data(body), headers=headers(token), timeout=LIMIT).status_code

    def download(self, method, url, body, token):
        with self.lib.stream("GET", url, timeout=LIMIT) as res:
            return "%d %d" % (res.status_code, sum(len(c) for c in res.iter_bytes()))

    def cancel(self, method, url, body, token):
        with self.lib.stream("GET", url, timeout=LIMIT) as res:
            next(res.iter_bytes())
            return res.status_code

    def sse(self, method, url, body, token):
        with self.lib.stream("GET", url, timeout=LIMIT) as res:
            return events(res.iter_lines(), lambda: self.lib.get(url + "-ack", timeout=LIMIT))


class Aiohttp:
    """aiohttp reads the environment only when it is told to."""

    def __init__(self):
        import aiohttp

        self.lib = aiohttp

    def run(self, do):
        async def inside():
            async with self.lib.ClientSession(trust_env=True, timeout=self.lib.ClientTimeout(total=LIMIT)) as session:
                return await do(session)

        return asyncio.run(inside())

    def request(self, method, url, body, token):
        async def do(session):
            async with session.request(method, url, data=data(body), headers=headers(token)) as res:
                await res.read()
                return res.status

        return self.run(do)

    def download(self, method, url, body, token):
        async def do(session):
            async with session.get(url) as res:
                size = 0
                async for chunk in res.content.iter_chunked(65536):
                    size += len(chunk)
                return "%d %d" % (res.status, size)

        return self.run(do)

    def cancel(self, method, url, body, token):
        async def do(session):
            res = await session.get(url)
            await res.content.read(1000)
            res.close()
            return res.status

        return self.run(do)

    def sse(self, method, url, body, token):
        async def do(session):
            seen = []
            async with session.get(url) as res:
                async for line in res.content:
                    if line.startswith(b"data: "):
                        seen.append(line[6:].decode().strip())
                        if len(seen) == 1:
                            async with session.get(url + "-ack") as ack:
                                await ack.read()
            return ",".join(seen)

        return self.run(do)

    def ws(self, method, url, body, token):
        async def do(session):
            async with session.ws_connect(url) as ws:
                await ws.send_str(method)
                return await ws.receive_str()

        return self.run(do)


class Botocore:
    """The HTTP layer of the AWS SDK, set up as its clients set it up."""

    def __init__(self):
        import os

        import botocore.awsrequest
        import botocore.httpsession
        import botocore.utils

        self.awsrequest, self.utils, self.session = botocore.awsrequest, botocore.utils, botocore.httpsession
        self.bundle = os.environ.get("AWS_CA_BUNDLE", True)

    def request(self, method, url, body, token):
        session = self.session.URLLib3Session(
            verify=self.bundle, proxies=self.utils.get_environ_proxies(url), timeout=LIMIT)
        req = self.awsrequest.AWSRequest(method, url, headers(token), data(body) or b"")
        return session.send(req.prepare()).status_code


CLIENTS = {"urllib": Urllib, "requests": Requests, "httpx": Httpx, "aiohttp": Aiohttp, "botocore": Botocore}


def main():
    client = CLIENTS[sys.argv[1]]()
    for line in sys.stdin:
        op, cell, method, url, body, token = line.split()
        try:
            print(cell, getattr(client, op)(method, url, body, token), flush=True)
        except Exception as e:  # whatever it is, it is this cell's answer
            print(cell, "error", type(e).__name__, str(e).replace("\n", " ")[:300], flush=True)


main()
