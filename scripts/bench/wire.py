"""Enough of PostgreSQL's protocol, as a client, to open sessions by the thousand and to let a gigabyte stream through.

Promises: blocking and plain; nothing is decoded that need not be. What streams is not looked into but for its end.
Deliberately not here: everything else that a driver does.
"""

import socket
import ssl
import struct

import scram
from process import Failed
from stage import DATABASE, LOAD_PROGRAM

SSL_REQUEST = struct.pack("!ii", 8, 80877103)
READY = b"Z\0\0\0\5I"
TIMEOUT_S = 60
STREAM_BYTES = 1 << 20


def _context():
    # Whose certificate it is makes no difference to what is measured.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


CONTEXT = _context()


def frame(tag, body):
    return tag + struct.pack("!i", len(body) + 4) + body


class Session:
    """One session, ready for its first statement."""

    def __init__(self, contestant, tls, port=None, source="127.0.0.1"):
        self.socket = socket.create_connection(("127.0.0.1", port or contestant.port), TIMEOUT_S, (source, 0))
        try:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls:
                self.socket.sendall(SSL_REQUEST)
                if self._take(1) != b"S":
                    raise Failed(f"{contestant.name} has no TLS")
                self.socket = CONTEXT.wrap_socket(self.socket)
            self._begin(contestant)
        except BaseException:
            self.socket.close()
            raise

    def _begin(self, contestant):
        settings = {"user": contestant.user, "database": DATABASE, "application_name": LOAD_PROGRAM}
        packet = b"".join(text.encode() + b"\0" for pair in settings.items() for text in pair) + b"\0"
        self.socket.sendall(struct.pack("!ii", len(packet) + 8, 196608) + packet)
        exchange = None
        while True:
            tag, body = self.message()
            if tag == b"Z":
                return
            if tag == b"E":
                raise Failed(f"{contestant.name} refuses: {body.decode(errors='replace')}")
            if tag != b"R":
                continue
            (kind,) = struct.unpack_from("!i", body)
            if kind == 10:
                exchange = scram.Exchange(contestant.password)
                first = exchange.first()
                self.socket.sendall(frame(b"p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first))
            elif kind == 11:
                self.socket.sendall(frame(b"p", exchange.proof(body[4:])))

    def _take(self, count):
        taken = b""
        while len(taken) < count:
            some = self.socket.recv(count - len(taken))
            if not some:
                raise Failed("the connection was closed")
            taken += some
        return taken

    def message(self):
        head = self._take(5)
        return head[:1], self._take(struct.unpack("!i", head[1:])[0] - 4)

    def query(self, statement):
        """Runs a statement and passes over its answer, of any size. Returns how many bytes that was."""
        self.socket.sendall(frame(b"Q", statement.encode() + b"\0"))
        return self._skip()

    def copy_in(self, statement, chunk, times):
        """Feeds a COPY with whole frames, as often as said."""
        self.socket.sendall(frame(b"Q", statement.encode() + b"\0"))
        tag, body = self.message()
        if tag != b"G":
            raise Failed(f"expected a COPY, got {tag} {body[:200]}")
        for _ in range(times):
            self.socket.sendall(chunk)
        self.socket.sendall(frame(b"c", b""))
        self._skip()
        return len(chunk) * times

    def _skip(self):
        """To the end of an answer, which is known by its last bytes: no row of ours ends so."""
        buffer, count, tail = memoryview(bytearray(STREAM_BYTES)), 0, b""
        while tail != READY:
            some = self.socket.recv_into(buffer)
            if not some:
                raise Failed("the connection was closed in the middle of an answer")
            if count == 0 and buffer[:1] == b"E":
                raise Failed(f"a statement failed: {bytes(buffer[5:some]).decode(errors='replace')}")
            count += some
            tail = (tail + bytes(buffer[max(0, some - len(READY)) : some]))[-len(READY) :]
        return count

    def close(self):
        try:
            self.socket.sendall(frame(b"X", b""))
        finally:
            self.socket.close()
