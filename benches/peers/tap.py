"""A measuring tap between a contestant and the simulated Bedrock: passes HTTP/1.1 on byte for byte and notes of every
call which request it was for, when it came, when it was answered and with which status. All figures that are about
time are taken here, the same way for everybody."""

import asyncio
import re
import threading
import time
from dataclasses import dataclass

NAME = re.compile(rb"\[(peer-\d+)\]")
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass
class Call:
    """One call on the wire; times in seconds since the epoch. `status` is 0 when it was not answered."""

    name: str
    began: float
    ended: float = 0.0
    status: int = 0


class Tap:
    def __init__(self, host, port):
        self.upstream = (host, port)
        self.calls = []
        self.url = None
        self.loop = asyncio.new_event_loop()
        self.up = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        if not self.up.wait(10):
            raise RuntimeError("the tap does not start")

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    def _run(self):
        asyncio.set_event_loop(self.loop)
        # Heads of any size that a peer may send, bodies are read by length.
        server = self.loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self.up.set()
        self.loop.run_forever()
        server.close()
        open_lines = asyncio.all_tasks(self.loop)
        for line in open_lines:
            line.cancel()
        self.loop.run_until_complete(asyncio.gather(*open_lines, return_exceptions=True))
        self.loop.close()

    async def _serve(self, reader, writer):
        up_writer = None
        try:
            up_reader, up_writer = await asyncio.open_connection(*self.upstream, limit=1 << 20)
            while True:
                message, body = await read_message(reader)
                began = time.time()
                up_writer.write(message)
                call = None
                if name := NAME.search(body):
                    call = Call(name[1].decode(), began)
                    self.calls.append(call)
                answer, _ = await self._answer(up_reader, reader)
                if call:
                    call.ended, call.status = time.time(), int(answer.split(b" ", 2)[1])
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            for end in (writer, up_writer):
                if end is not None:
                    end.close()

    async def _answer(self, up_reader, reader):
        """The answer, unless the client goes away first: then its call must end too."""
        answer = asyncio.ensure_future(read_message(up_reader))
        while not answer.done():
            await asyncio.wait([answer], timeout=0.5)
            if not answer.done() and reader.at_eof():
                answer.cancel()
                raise ConnectionResetError("the client went away")
        return answer.result()


async def read_message(reader):
    """(all bytes, body) of a request or response that tells its length."""
    head = await reader.readuntil(b"\r\n\r\n")
    if b"transfer-encoding" in head.lower():
        raise RuntimeError(f"the tap passes on bodies with a length only: {head[:200]!r}")
    length = LENGTH.search(head)
    body = await reader.readexactly(int(length[1])) if length else b""
    return head + body, body
