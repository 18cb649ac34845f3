#!/usr/bin/env python3
"""A model server that only streams: 101 server-sent events of one token each, the pause between two of them taken from
the request's `seed` in milliseconds (0: as fast as they can be written). Plain HTTP; the bench's nginx backend puts TLS in
front of it. Standard library only."""

import asyncio
import json
import re
import sys

EVENT = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "llama-3.3-70b",
         "choices": [{"index": 0, "delta": {"content": "token "}, "logprobs": None, "finish_reason": None}]}
TOKENS = 100
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


TOKEN = chunk(b"data: " + json.dumps(EVENT).encode() + b"\n\n")
LAST = chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            body = await reader.readexactly(int(length[1])) if length else b""
            seed = re.search(rb'"seed": ?(\d+)', body)
            pause = int(seed[1]) / 1000 if seed else 0
            writer.write(HEAD)
            for _ in range(TOKENS):
                writer.write(TOKEN)
                # Also with no pause the loop turns once, so that each event is a write of its own.
                await asyncio.sleep(pause)
            writer.write(LAST)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=256)
    async with server:
        await server.serve_forever()


asyncio.run(main())
