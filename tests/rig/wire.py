"""A proxy between a process and (emulated) AWS that records every call and lets through what a role allows.

    wire = Wire(emulator, bedrock=simulator.url)
    wire.roles["ACCESSKEYOFTHEWORKER"] = Role("smoother-worker", documents)
    … processes with AWS_ENDPOINT_URL=wire.url and that access key …
    wire.calls, wire.denied()

Who signs with an access key that has no role is not held to anything. A denied call is answered as the service itself would,
and never reaches the emulator. Enforced besides what IAM says about the call: the key of an encrypted bucket or topic, and
that S3 tells a missing object from a forbidden one only to those who may list the bucket.
"""

import asyncio
import contextlib
import json
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from urllib.parse import urlsplit

import cbor2

from .calls import ACCOUNT, Call, Need, parse

CHUNK = 1 << 16
# Which services the simulated Bedrock serves; the use of quotas is the only thing read from CloudWatch.
SIMULATED = {"bedrock", "servicequotas"}
SIMULATED_CALLS = {"cloudwatch:GetMetricData"}
# What a service's encryption asks of KMS on the caller's behalf.
KEY_USES = {
    "s3:PutObject": ("s3", ("kms:GenerateDataKey",)),
    "s3:GetObject": ("s3", ("kms:Decrypt",)),
    "sns:Publish": ("sns", ("kms:GenerateDataKey", "kms:Decrypt")),
}


@dataclass
class Record:
    """One call that came over the wire. `at` counts seconds on the monotonic clock; `refused` says what was not allowed."""

    at: float
    call: Call
    body: bytes
    status: int = 0
    received: int = 0
    refused: Need | None = None

    def plain(self):
        return {
            "at": round(self.at, 3),
            "call": self.call.name,
            "needs": [[need.action, need.resource] for need in self.call.needs],
            "sent": len(self.body),
            "received": self.received,
            "status": self.status,
            "refused": self.refused and [self.refused.action, self.refused.resource],
        }


class Dropped(Exception):
    """The other side has closed its connection."""


# How a connection ends in the ordinary course of things.
ENDS = (Dropped, ConnectionError, asyncio.IncompleteReadError)


class Wire:
    def __init__(self, emulator, bedrock=None):
        self.upstreams = {"aws": address(emulator)}
        if bedrock:
            self.upstreams["bedrock"] = address(bedrock)
        self.calls = []
        # What the proxy itself could not do; `stop` raises them.
        self.faults = []
        self.roles = {}
        # Given a record, an answer (status, body, headers) to give in place of AWS's, or None.
        self.spoil = lambda record: None
        # ARN of a bucket or topic → ARN of the key that encrypts it.
        self.keys = {}
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="wire", daemon=True)
        self.thread.start()
        serving = asyncio.run_coroutine_threadsafe(asyncio.start_server(self.serve, "127.0.0.1", 0), self.loop)
        self.server = serving.result(10)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    def stop(self):
        async def end():
            self.server.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        asyncio.run_coroutine_threadsafe(end(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        if self.faults:
            raise ExceptionGroup("the wire could not pass on everything", self.faults)

    def point_bedrock_to(self, url):
        self.upstreams["bedrock"] = address(url)

    def denied(self):
        """(action, resource) of everything that was refused for want of a permission, counted."""
        return Counter((r.refused.action, r.refused.resource) for r in self.calls if r.refused)

    def counts(self, since=0):
        """Operation → (calls, bytes sent, bytes received) from record number `since` on."""
        counts = defaultdict(lambda: [0, 0, 0])
        for record in self.calls[since:]:
            for place, amount in enumerate((1, len(record.body), record.received)):
                counts[record.call.name][place] += amount
        return {name: tuple(amounts) for name, amounts in sorted(counts.items())}

    def save(self, path):
        path.write_text(json.dumps({"counts": self.counts(), "calls": [record.plain() for record in self.calls]}))

    async def serve(self, reader, writer):
        """One connection of a client, with a connection of its own to each upstream, until either side is done."""
        upstreams = {}
        with contextlib.suppress(asyncio.CancelledError, *ENDS):
            try:
                while True:
                    await self.exchange(reader, writer, upstreams)
            except ENDS:
                raise
            except Exception as error:
                self.faults.append(error)
        for connection in [writer, *(connection[1] for connection in upstreams.values())]:
            connection.close()

    async def exchange(self, reader, writer, upstreams):
        method, target, _, headers, raw = await read_head(reader)
        if headers.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body, framed = await read_request_body(reader, headers)
        call = parse(method, target, headers, body)
        record = Record(time.monotonic(), call or Call("none", f"{method} {target}"), body)
        role = call and self.roles.get(call.key_id)
        if call:
            self.calls.append(record)
        record.refused = self.refusal(call, role) if role else None
        if record.refused:
            status, answer, more = denial(call, role.name, record.refused)
            record.status, record.received = status, len(answer)
            await respond(writer, status, answer, more)
            return
        if call and (spoilt := self.spoil(record)):
            record.status, record.received = spoilt[0], len(spoilt[1])
            await respond(writer, *spoilt)
            return
        place = "bedrock" if self.is_simulated(call) else "aws"
        try:
            if place not in upstreams or upstreams[place][0].at_eof():
                upstreams[place] = await asyncio.open_connection(*self.upstreams[place])
            up_reader, up_writer = upstreams[place]
            kept = b"".join(
                line + b"\r\n" for line in raw if not line.lower().startswith((b"expect:", b"connection:"))
            )
            up_writer.write(f"{method} {target} HTTP/1.1\r\n".encode() + kept + b"\r\n" + framed)
            await up_writer.drain()
            head = await unless_dropped(read_head(up_reader), reader)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            raise Dropped from error
        await self.relay(head, method, record, role, up_reader, writer)

    def is_simulated(self, call):
        if call is None or "bedrock" not in self.upstreams:
            return False
        return call.service in SIMULATED or call.name in SIMULATED_CALLS

    async def relay(self, head, method, record, role, upstream, writer):
        version, status, reason, headers, raw = head
        record.status = int(status)
        hidden = record.status == 404 and role and self.hides_missing(record.call, role)
        body = Body(upstream, headers, empty=method == "HEAD" or status in ("204", "304"))
        if hidden:
            async for _ in body.pieces():
                pass
            record.refused = hidden
            record.status, answer, more = denial(record.call, role.name, hidden)
            await respond(writer, record.status, b"" if method == "HEAD" else answer, more)
            return
        writer.write(f"{version} {status} {reason}\r\n".encode() + b"".join(line + b"\r\n" for line in raw) + b"\r\n")
        async for piece, size in body.pieces():
            record.received += size
            writer.write(piece)
            await writer.drain()
        await writer.drain()
        if not body.reusable:
            raise Dropped

    def refusal(self, call, role):
        """The first thing that is needed and not allowed."""
        for need in [*call.needs, *self.implied(call)]:
            if not role.allows(need.action, need.resource, need.context):
                return need
        return None

    def implied(self, call):
        for need in call.needs:
            service, actions = KEY_USES.get(need.action, (None, ()))
            key = self.keys.get(need.resource.split("/")[0])
            if key:
                via = (("kms:ViaService", f"{service}.{call.region}.amazonaws.com"),)
                yield from (Need(action, key, via) for action in actions)

    def hides_missing(self, call, role):
        if call.operation not in ("GetObject", "HeadObject"):
            return None
        bucket = f"arn:aws:s3:::{call.parameters['Bucket']}"
        if role.allows("s3:ListBucket", bucket):
            return None
        return Need("s3:ListBucket", bucket)


def address(url):
    parts = urlsplit(url)
    return parts.hostname, parts.port


async def read_head(reader):
    """The three words of the first line, the headers by lower-case name, and the header lines as they came."""
    head = await reader.readuntil(b"\r\n\r\n")
    first, *raw = head[:-4].split(b"\r\n")
    headers = {}
    for line in raw:
        name, _, value = line.partition(b":")
        headers[name.strip().lower().decode("latin-1")] = value.strip().decode("latin-1")
    words = first.decode("latin-1").split(" ", 2)
    return *words, *[""] * (3 - len(words)), headers, raw


async def read_request_body(reader, headers):
    """The content, and the bytes that frame it."""
    if headers.get("transfer-encoding", "").lower() != "chunked":
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        return body, body
    content, framed = b"", b""
    async for piece, inner in chunks(reader):
        content += inner
        framed += piece
    return content, framed


async def chunks(reader):
    """(bytes as framed, content) of each chunk up to and with the last one."""
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        rest = await reader.readexactly(size + 2) if size else await reader.readuntil(b"\r\n")
        while not size and rest[-4:] != b"\r\n\r\n" and rest != b"\r\n":
            rest += await reader.readuntil(b"\r\n")
        yield line + rest, rest[:size]
        if not size:
            return


class Body:
    """A response's body as it is framed."""

    def __init__(self, reader, headers, empty):
        self.reader = reader
        self.chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        self.length = 0 if empty else int(headers["content-length"]) if "content-length" in headers else None
        self.reusable = (empty or self.chunked or self.length is not None) and headers.get("connection") != "close"

    async def pieces(self):
        """(bytes as framed, how many of them are content)."""
        if self.chunked and self.length != 0:
            async for framed, content in chunks(self.reader):
                yield framed, len(content)
            return
        left = self.length
        while left is None or left:
            piece = await self.reader.read(CHUNK if left is None else min(CHUNK, left))
            if not piece:
                if left:
                    # Cut off: the client must see that as well.
                    raise Dropped
                return
            left = left and left - len(piece)
            yield piece, len(piece)


async def unless_dropped(answer, reader):
    """The upstream's answer, unless the client hangs up first: then the upstream has to see that too."""
    answering = asyncio.ensure_future(answer)
    hanging_up = asyncio.ensure_future(reader.read(1))
    done, _ = await asyncio.wait({answering, hanging_up}, return_when=asyncio.FIRST_COMPLETED)
    if answering in done:
        hanging_up.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await hanging_up
        return answering.result()
    answering.cancel()
    raise Dropped


async def respond(writer, status, body, headers):
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"HTTP/1.1 {status} Denied\r\ncontent-length: {len(body)}\r\n{lines}\r\n".encode() + body)
    await writer.drain()


def denial(call, role, need):
    """(status, body, headers) of a refusal in the words and the dialect of the service."""
    who = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/task"
    what = f"is not authorized to perform: {need.action} on resource: {need.resource}"
    message = f"User: {who} {what} because no identity-based policy allows the {need.action} action"
    request_id = {"x-amzn-requestid": "00000000-0000-0000-0000-000000000000"}
    match call.dialect:
        case "s3":
            body = f"<Error><Code>AccessDenied</Code><Message>{message}</Message></Error>"
            return 403, b'<?xml version="1.0" encoding="UTF-8"?>' + body.encode(), {"content-type": "application/xml"}
        case "query":
            code = "AuthorizationError" if call.service == "sns" else "AccessDenied"
            error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
            body = f"<ErrorResponse>{error}<RequestId>0</RequestId></ErrorResponse>"
            return 403, body.encode(), {"content-type": "text/xml", **request_id}
        case "cbor":
            body = cbor2.dumps({"__type": "com.amazonaws.cloudwatch#AccessDenied", "message": message})
            more = {"smithy-protocol": "rpc-v2-cbor", "x-amzn-query-error": "AccessDenied;Sender"}
            return 403, body, {"content-type": "application/cbor", **more, **request_id}
        case "rest":
            more = {"x-amzn-errortype": "AccessDeniedException"}
            return 403, json.dumps({"message": message}).encode(), {"content-type": "application/json", **more, **request_id}
    # These spoke the query protocol once, and still give its codes along.
    queried = call.service in ("sqs", "cloudwatch")
    body = json.dumps({"__type": "com.amazon.coral.service#AccessDeniedException", "Message": message, "message": message})
    more = {"x-amzn-query-error": "AccessDenied;Sender"} if queried else {}
    status = 403 if queried else 400
    return status, body.encode(), {"content-type": "application/x-amz-json-1.0", **more, **request_id}
