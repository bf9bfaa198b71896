"""The least that a relay can do: bytes from one socket into another, and nothing else. What it costs, any proxy costs here.

    python3 pipe.py PORT        carries connections to that port of loopback; prints {"port": …} when it takes them
"""

import json
import select
import socket
import sys
from threading import Thread

# As much as PostgreSQL's socket mostly holds at once; larger pieces leave the processor's caches.
PIECE_BYTES = 64 * 1024


def carry(client, port):
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        to = {client.fileno(): (client, server), server.fileno(): (server, client)}
        ready = select.poll()
        for end, (each, _) in to.items():
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ready.register(end, select.POLLIN)
        piece = memoryview(bytearray(PIECE_BYTES))
        while True:
            for end, _ in ready.poll():
                source, target = to[end]
                count = source.recv_into(piece)
                if count == 0:
                    return
                target.sendall(piece[:count])


def main():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
        while True:
            Thread(target=carry, args=(listener.accept()[0], int(sys.argv[1])), daemon=True).start()


if __name__ == "__main__":
    main()
