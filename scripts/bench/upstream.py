"""A database server that takes any number of sessions and then stays idle: ten thousand real ones need 11 GB.

It lets everybody in without a password, knows one question (which backend am I?) and nothing else. Memory and accepting are
measured with it, never speed.

    python3 upstream.py        prints {"port": …} on one line when it takes connections
"""

import asyncio
import itertools
import json
import resource
import struct

pids = itertools.count(1)

# What PostgreSQL 15 reports, since a proxy may keep it for each session.
PARAMETERS = {
    "application_name": "bench", "client_encoding": "UTF8", "DateStyle": "ISO, MDY", "default_transaction_read_only": "off",
    "in_hot_standby": "off", "integer_datetimes": "on", "IntervalStyle": "postgres", "is_superuser": "off",
    "server_encoding": "UTF8", "server_version": "15.20", "session_authorization": "payments_rw",
    "standard_conforming_strings": "on", "TimeZone": "Etc/UTC",
}  # fmt: skip


def frame(tag, body=b""):
    return tag + struct.pack("!i", len(body) + 4) + body


READY = frame(b"Z", b"I")
REPORTS = b"".join(frame(b"S", f"{name}\0{value}\0".encode()) for name, value in PARAMETERS.items())


class Idle(asyncio.Protocol):
    """One session."""

    def connection_made(self, transport):
        self.transport, self.pid, self.received, self.is_open = transport, next(pids), b"", False

    def data_received(self, data):
        self.received += data
        while (size := self._size()) and len(self.received) >= size:
            packet, self.received = self.received[:size], self.received[size:]
            self._answer(packet)

    def _size(self):
        at = 1 if self.is_open else 0
        return len(self.received) >= at + 4 and struct.unpack_from("!i", self.received, at)[0] + at

    def _answer(self, packet):
        if not self.is_open:
            self.is_open = True
            key = frame(b"K", struct.pack("!ii", self.pid, 7))
            self.transport.write(frame(b"R", struct.pack("!i", 0)) + REPORTS + key + READY)
        elif packet[:1] == b"Q":
            pid = str(self.pid).encode()
            column = b"pid\0" + struct.pack("!ihihih", 0, 0, 23, 4, -1, 0)
            row = frame(b"T", struct.pack("!h", 1) + column) + frame(b"D", struct.pack("!hi", 1, len(pid)) + pid)
            self.transport.write(row + frame(b"C", b"SELECT 1\0") + READY)
        elif packet[:1] == b"X":
            self.transport.close()


async def main():
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    server = await asyncio.get_running_loop().create_server(Idle, "127.0.0.1", 0, backlog=4096)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
