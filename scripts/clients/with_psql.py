"""What psql does through the proxy; prints one JSON object with what it saw.

One psql runs everything: a script, and behind it commands that are interrupted with Ctrl-C. A line of its output that
is `check|value` is the value of that check.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import checks

TEXTS = {
    "bool": "t",
    "int2": "-32768",
    "int4": "2147483647",
    "int8": "-9223372036854775808",
    "float4": "1.5",
    "float8": "0.1",
    "numeric": "12345678901234567890.123456789",
    "text": checks.VALUES["text"],
    "varchar": "a varchar",
    "bytea": "\\x00ff5c27",
    "date": "2026-02-28",
    "time": "23:59:59.123456",
    "timetz": "12:34:56+02",
    "timestamp": "2026-02-28 23:59:59.123456",
    "timestamptz": "2026-02-28 23:59:59.123456+00",
    "interval": "3 days 04:05:06",
    "uuid": "0190f5a5-7e5b-7c3d-8f2e-0123456789ab",
    "json": '["x"]',
    "jsonb": '{"a": [1, null, "x"]}',
    "int4[]": "{1,NULL,-3}",
    "text[]": '{a,"b c",NULL,"d\\"e"}',
    "inet": "192.0.2.1",
}

SCRIPT = r"""
select 'who', to_json(current_user);
create temporary table two (n int) \; insert into two values (20), (22) \; select 'simple', sum(n) from two;

prepare twice as select $1::int * 2 as n;
execute twice(1) \gset one_
execute twice(2) \gset two_
execute twice(3) \gset three_
select 'prepared', json_build_array(:one_n, :two_n, :three_n);
select 1 as one, 'two' as two \gdesc
{types}

begin;
select 1 / 0;
\set first :LAST_ERROR_SQLSTATE
select 1;
\set second :LAST_ERROR_SQLSTATE
rollback;
select 'transaction', json_build_array(:'first', :'second', 'alive');

create temporary table kept (n int);
begin;
insert into kept values (1);
savepoint s;
insert into kept values (2);
rollback to s;
insert into kept values (3);
commit;
select 'savepoint', json_agg(n order by n) from kept;

create temporary table copied_text (n int, t text);
\copy copied_text from 'rows.txt'
\copy (select * from copied_text order by n) to 'copied.txt'
select 'rows_text', count(*) from copied_text;
create temporary table copied_binary (n int, t text);
\copy (select n, 'row ' || n || e'\tof 1000' from generate_series(1, 1000) n) to 'rows.bin' (format binary)
\copy copied_binary from 'rows.bin' (format binary)
\copy (select * from copied_binary order by n) to 'copied.bin' (format binary)
select 'rows_binary', count(*) from copied_binary;

\o |awk '{ length_ += length($0) } END { print "large_result|" length_ }'
{large_result};
\o
\i large.sql

select 'pid', pg_backend_pid();
listen {channel};
notify {channel}, 'hello';

\lo_import object.in
\set oid :LASTOID
\lo_export :oid object.out
select 'object_at', to_json(encode(lo_get(:oid, 524288, 4), 'hex'));
\lo_unlink :oid

\set FETCH_COUNT 10
\o |awk '{ sum += $1 } END { print "cursor|" sum }'
select generate_series(1, 25);
\o
\unset FETCH_COUNT

set work_mem = '8MB';
select current_setting('work_mem') as before \gset
discard all;
select 'discard_all', json_build_array(:'before', current_setting('work_mem'), current_setting('safe_boundary.login'));
create temporary table failed (n int, t text);
"""

# Ctrl-C while psql sends rows: it gives up. That is so only while it waits for more of them: they must all have been read.
# In the middle of sending some it asks the server to cancel instead.
GIVEN_UP = r"\copy failed from program 'python3 given_up.py'"
GIVEN_UP_PROGRAM = """
import fcntl, struct, sys, termios, time
sys.stdout.write("1\\tone\\n" * 100_000)
sys.stdout.flush()
while struct.unpack("i", fcntl.ioctl(1, termios.FIONREAD, bytes(4))) != (0,):
    time.sleep(0.01)
print("begun", file=sys.stderr, flush=True)
time.sleep(60)
"""


def types():
    lines = []
    for name, text in TEXTS.items():
        label = re.sub(r"\W", "_", name)
        quoted = "'" + text.replace("'", "''") + "'"
        lines.append(f"prepare {label}_ ({name}) as select $1 as back, $1::text as text;")
        lines.append(f"execute {label}_ ({quoted}) \\gset")
        lines.append(f"execute {label}_ (:'back') \\gset")
        lines.append(f"select 'type:{name}', to_json(:'text'::text);")
    lines.append("prepare null_ (text) as select $1::text as text;")
    lines.append("execute null_ (null) \\gset")
    lines.append("select 'type:null', case when :{?text} then '1' else 'null' end;")
    return "\n".join(lines)


def psql(folder):
    """Runs psql; presses Ctrl-C whenever it is told that something has begun. What it printed, and SQLSTATEs of errors."""
    # After a Ctrl-C psql may print no more rows, but it says how many there were.
    arguments = ["-f", "script.sql", "-c", GIVEN_UP, "-c", "select from failed", "-c", r"\echo left|:ROW_COUNT"]
    arguments += ["-c", checks.SLEEP, "-c", "select 'alive'", "-c", r"\echo rows_alive|:ROW_COUNT"]
    words = " ".join(f"{name}={value}" for name, value in checks.CONNINFO.items() if name != "application_name")
    environment = os.environ | ({"PGAPPNAME": checks.PROGRAM} if checks.PROGRAM else {})
    command = ["psql", "-X", "-w", "-q", "-A", "-t", "-v", "VERBOSITY=verbose", *arguments, words]
    # A group of its own: Ctrl-C goes to psql and to the program that it reads from, as on a terminal.
    running = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )

    complaints = []

    def interrupt():
        for line in running.stderr:
            sys.stderr.write(line)
            complaints.extend(re.findall(r"ERROR:  (\w{5}): ", line))
            if line.rstrip().endswith("begun"):
                os.killpg(running.pid, signal.SIGINT)

    watch = threading.Thread(target=interrupt)
    watch.start()
    out = running.stdout.read()
    watch.join()
    running.wait()
    return out, complaints


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rows.txt").write_bytes(checks.COPY_TEXT)
        (folder / "object.in").write_bytes(checks.LARGE_OBJECT)
        (folder / "given_up.py").write_text(GIVEN_UP_PROGRAM)
        (folder / "large.sql").write_text("select 'large_parameter', length('" + "x" * checks.LARGE + "');\n")
        script = SCRIPT.replace("{types}", types()).replace("{channel}", checks.CHANNEL)
        (folder / "script.sql").write_text(script.replace("{large_result}", checks.LARGE_RESULT))
        tell(folder, *psql(folder))


def tell(folder, out, complaints):
    values = dict(line.split("|", 1) for line in out.splitlines() if re.match(r"[a-z_]+(:[^|]*)?\|", line))
    saw = {name: json.loads(value) for name, value in values.items() if name in CHECKS}
    saw["types"] = {name[5:]: json.loads(value) for name, value in values.items() if name.startswith("type:")}
    read = lambda file: (folder / file).read_bytes() if (folder / file).exists() else b""
    for kind, file in (("text", "copied.txt"), ("binary", "copied.bin")):
        saw[f"copy_{kind}"] = checks.copied(int(values[f"rows_{kind}"]), read(file))
    given_up, cancelled = complaints[-2:]
    saw["copy_fail"] = [given_up, int(values["left"])]
    saw["cancel"] = [cancelled, "alive" if values["rows_alive"] == "1" else None]
    heard = re.search(r'with payload "(.*)" received from server process with PID (\d+)', out)
    saw["notify"] = [heard[1], heard[2] == values["pid"]] if heard else None
    saw["large_object"] = checks.large_object(read("object.out"), bytes.fromhex(json.loads(values["object_at"])))
    checks.tell(saw)


CHECKS = ["who", "simple", "prepared", "transaction", "savepoint", "large_result", "large_parameter", "cursor", "discard_all"]

main()
