"""What the Python clients have in common: where to connect, the values they carry, and how they say what they saw.

The contract is told in crates/safe-boundary/tests/matrix/program.rs, the checks in checks.rs beside it.
"""

import hashlib
import ipaddress
import json
import os
import traceback
import uuid
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal

HOST = os.environ.get("SB_HOST", "localhost")
PORT = int(os.environ["SB_PORT"])
DATABASE = os.environ.get("SB_DATABASE", "payments")
LOGIN = os.environ["SB_LOGIN"]
CA = os.environ["SB_CA"]
PROGRAM = os.environ.get("SB_PROGRAM")
LARGE = int(os.environ.get("SB_LARGE", 4 << 20))

# For libpq and what speaks as it does.
CONNINFO = {"host": HOST, "port": PORT, "dbname": DATABASE, "user": LOGIN, "sslmode": "verify-full", "sslrootcert": CA}
CONNINFO |= {"application_name": PROGRAM} if PROGRAM else {}

VALUES = {
    "bool": True,
    "int2": -32768,
    "int4": 2147483647,
    "int8": -9223372036854775808,
    "float4": 1.5,
    "float8": 0.1,
    "numeric": Decimal("12345678901234567890.123456789"),
    "text": "Grüße,\n\t'世界' \\ \"$1\"",
    "varchar": "a varchar",
    "bytea": b"\x00\xff\\'",
    "date": date(2026, 2, 28),
    "time": time(23, 59, 59, 123456),
    "timetz": time(12, 34, 56, tzinfo=timezone(timedelta(hours=2))),
    "timestamp": datetime(2026, 2, 28, 23, 59, 59, 123456),
    "timestamptz": datetime(2026, 2, 28, 23, 59, 59, 123456, tzinfo=timezone.utc),
    "interval": timedelta(days=3, hours=4, minutes=5, seconds=6),
    "uuid": uuid.UUID("0190f5a5-7e5b-7c3d-8f2e-0123456789ab"),
    "json": ["x"],
    "jsonb": {"a": [1, None, "x"]},
    "int4[]": [1, None, -3],
    "text[]": ["a", "b c", None, 'd"e'],
    "inet": ipaddress.ip_address("192.0.2.1"),
    "null": None,
}

ROWS = [(n, f"row {n}\tof 1000") for n in range(1, 1001)]
COPY_TEXT = "".join(f"{n}\trow {n}\\tof 1000\n" for n in range(1, 1001)).encode()
COPY_TABLE = "create temporary table {} (n int, t text)"
LARGE_RESULT = "select repeat('x', 10000) from generate_series(1, 2000)"
LARGE_OBJECT = bytes(n % 251 for n in range(1 << 20))
SLEEP = "do $$ begin raise notice 'begun'; perform pg_sleep(60); end $$"
# Clients run side by side in one database: each listens to its own name.
CHANNEL = '"' + (PROGRAM or "news") + '"'


def sql_type(name):
    """The type to cast to: there is none of the name `null`."""
    return "text" if name == "null" else name


def md5(data):
    return hashlib.md5(data).hexdigest()


def copied(rows, data):
    return {"rows": rows, "md5": md5(data)}


def large_object(data, at):
    return {"bytes": len(data), "md5": md5(data), "at": at.hex()}


def tell(saw):
    print(json.dumps(saw))


def refused(error, sqlstate=None):
    tell({"refused": str(error)} | ({"sqlstate": sqlstate} if sqlstate else {}))


def run(session, checks):
    """Does every check, also after one has failed, and says what each saw."""
    saw = {}
    for check in checks:
        try:
            saw[check.__name__] = check(session)
        except Exception:
            saw[check.__name__] = traceback.format_exc()
    tell(saw)


async def run_async(session, checks):
    """As `run`, for checks that are coroutines."""
    saw = {}
    for check in checks:
        try:
            saw[check.__name__] = await check(session)
        except Exception:
            saw[check.__name__] = traceback.format_exc()
    tell(saw)
