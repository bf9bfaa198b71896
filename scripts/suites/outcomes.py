"""A plugin for pytest that writes the outcome of each test of a driver's own suite, one a line, to SB_OUTCOMES.

It also names the program in each connection, and the login where a suite has one written into it: a suite is pointed at
a server by its environment, and not every driver reads these from there. It does so with and without the proxy.
"""

import functools
import inspect
import os
import time

PROGRAM = "suite"
RANK = ["passed", "skipped", "failed"]
outcomes = {}

# A person may have so many sign-ins under way, and so many may come to nothing within a minute. What a test leaves of
# them must not fail the tests after it.
REST_S = {"too many sign-ins under way": 15, "too many sign-ins that came to nothing": 60}


def pytest_runtest_logreport(report):
    # Setup, the test and teardown report one after the other: the worst counts.
    before = outcomes.get(report.nodeid, "passed")
    outcomes[report.nodeid] = max(before, report.outcome, key=RANK.index)
    time.sleep(max((rest for told, rest in REST_S.items() if told in report.longreprtext), default=0))


def pytest_sessionfinish():
    with open(os.environ["SB_OUTCOMES"], "w") as file:
        for test, outcome in sorted(outcomes.items()):
            print(outcome, test, file=file)


def pytest_configure():
    {"asyncpg": name_asyncpg, "pg8000": name_pg8000, "psycopg2": name_libpq}[os.environ["SB_SUITE"]]()


def name_libpq():
    os.environ["PGAPPNAME"] = PROGRAM


def name_asyncpg():
    from asyncpg import connect_utils

    parse = connect_utils._parse_connect_dsn_and_args

    @functools.wraps(parse)
    def named(*args, server_settings=None, **kwargs):
        return parse(*args, server_settings={"application_name": PROGRAM, **(server_settings or {})}, **kwargs)

    connect_utils._parse_connect_dsn_and_args = named


def name_pg8000():
    from pg8000 import core

    begin = core.CoreConnection.__init__
    signature = inspect.signature(begin)

    @functools.wraps(begin)
    def named(*args, **kwargs):
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        words = given.arguments
        words["user"] = os.environ["PGUSER"] if words["user"] == "postgres" else words["user"]
        words["application_name"] = words["application_name"] or PROGRAM
        words["database"] = words["database"] or os.environ["PGDATABASE"]
        begin(*given.args, **given.kwargs)

    core.CoreConnection.__init__ = named
