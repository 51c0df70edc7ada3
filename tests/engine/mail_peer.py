"""A mail server of a test: it speaks as much SMTP as is needed, and keeps what it was given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.message import Message
from email.policy import default

import msgspec


class MailPeer(msgspec.Struct):
    """Where the server is, what it says to recipients, and what it was given."""

    port: int = 0
    says: bytes = b"250 fine"
    recipients: list[str] = []
    messages: list[Message] = []

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"


@asynccontextmanager
async def mail_peer() -> AsyncGenerator[MailPeer]:
    """Lend a mail server on a free port of this machine."""
    peer = MailPeer(recipients=[], messages=[])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 test\r\n")
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"RCPT":
                peer.recipients.append(line.decode().strip())
                writer.write(peer.says + b"\r\n")
            elif verb == b"DATA":
                writer.write(b"354 go on\r\n")
                body = await reader.readuntil(b"\r\n.\r\n")
                peer.messages.append(message_from_bytes(body[:-5], policy=default))
                writer.write(b"250 kept\r\n")
            else:
                writer.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 fine\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    peer.port = server.sockets[0].getsockname()[1]
    async with server:
        yield peer
