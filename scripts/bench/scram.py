"""SCRAM-SHA-256 (RFC 7677), the client's side and the keys.

Deliberately not here: checking the server's proof; it is our own server.
"""

import base64
import hashlib
import hmac
import os

ITERATIONS = 4096


def keys(password, salt, iterations):
    """The client's key and the server's (RFC 5802 §3)."""
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, iterations)
    return hmac.digest(salted, b"Client Key", "sha256"), hmac.digest(salted, b"Server Key", "sha256")


class Exchange:
    """The client's side of one login."""

    def __init__(self, password):
        self.password, self.bare = password.encode(), b"n=,r=" + base64.b64encode(os.urandom(18))

    def first(self):
        return b"n,," + self.bare

    def proof(self, challenge):
        fields = dict(part.split(b"=", 1) for part in challenge.split(b","))
        key, _ = keys(self.password, base64.b64decode(fields[b"s"]), int(fields[b"i"]))
        bare = b"c=biws,r=" + fields[b"r"]
        signature = hmac.digest(hashlib.sha256(key).digest(), b",".join([self.bare, challenge, bare]), "sha256")
        return bare + b",p=" + base64.b64encode(bytes(a ^ b for a, b in zip(key, signature)))
