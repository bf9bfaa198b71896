//! What every client is made to do, and what it must see.
//!
//! Promises: one list for all clients; a value is the same whatever the client, for it is read back as text that the
//! server made, or is a count or a checksum.
//! Deliberately not here: how a client does it (its program in `scripts/clients/` says it).

use serde_json::{Value, json};

/// One thing that is tried.
pub(crate) struct Check {
    /// The key of its value in what a client program prints.
    pub(crate) name: &'static str,
    /// For the page.
    pub(crate) means: &'static str,
    /// What must come back; the argument is `SB_LARGE`.
    pub(crate) expected: fn(usize) -> Value,
}

pub(crate) const CHECKS: &[Check] = &[
    // select current_user
    Check { name: "who", means: "signs in, and is the role that was mapped", expected: |_| json!("payments_rw") },
    // One Query: create temporary table two (n int); insert into two values (20), (22). Then: select sum(n) from two
    Check { name: "simple", means: "simple protocol, several statements in one text", expected: |_| json!(42) },
    // A named statement `select $1::int * 2`, run with 1, 2, 3.
    Check { name: "prepared", means: "a named statement, run three times", expected: |_| json!([2, 4, 6]) },
    // Each value is bound to `select $1::TYPE`; what comes back is bound to `select $1::TYPE::text`.
    Check { name: "types", means: "22 types and NULL, as parameter and as result", expected: |_| types() },
    // begin; select 1 / 0; select 1; rollback; select 'alive'. SQLSTATEs of the failures and the last value.
    Check {
        name: "transaction",
        means: "error inside a transaction",
        expected: |_| json!(["22012", "25P02", "alive"]),
    },
    // begin; insert 1; savepoint s; insert 2; rollback to s; insert 3; commit; what is left, in order.
    Check { name: "savepoint", means: "savepoints", expected: |_| json!([1, 3]) },
    // 1000 rows (n, 'row N<tab>of 1000') into a temporary table and out again, ordered by n.
    Check {
        name: "copy_text",
        means: "COPY both ways, text",
        expected: |_| copied("bbafe8191e889ad0edf71fc4320bf310"),
    },
    // The same rows with `format binary`.
    Check {
        name: "copy_binary",
        means: "COPY both ways, binary",
        expected: |_| copied("c53d8633b04c29f5986ccac2eba2bdab"),
    },
    // The client sends a row and gives up (CopyFail): SQLSTATE, and how many rows the table has then.
    Check { name: "copy_fail", means: "COPY that the client gives up", expected: |_| json!(["57014", 0]) },
    // The cancel goes out when the server has said that the statement has begun. SQLSTATE, then select 'alive'.
    Check { name: "cancel", means: "cancels its own statement", expected: |_| json!(["57014", "alive"]) },
    // select repeat('x', 10000) from generate_series(1, 2000): the sum of the lengths that the client saw.
    Check { name: "large_result", means: "a result of 20 MB", expected: |_| json!(20_000_000) },
    // select length($1::text) of SB_LARGE times `x`.
    Check { name: "large_parameter", means: "a parameter of 100 MB", expected: |large| json!(large) },
    // listen, notify 'hello': the payload, and whether the process id is that of the client's own backend.
    Check {
        name: "notify",
        means: "LISTEN and NOTIFY, with the right process id",
        expected: |_| json!(["hello", true]),
    },
    // One pipeline: `select 1`, then one with `select 1 / 0` in its middle, then `select 3` after its Sync.
    Check { name: "pipeline", means: "pipelines, with an error in the middle", expected: |_| json!([1, "22012", 3]) },
    // 1 MiB (byte n is n % 251) written and read whole, 4 bytes at offset 524288 after a seek; then unlinked.
    Check {
        name: "large_object",
        means: "large objects: write, read, seek",
        expected: |_| json!({ "bytes": 1 << 20, "md5": "8f293a2f6c19b345152f7a49bb4c643c", "at": "c8c9cacb" }),
    },
    // generate_series(1, 25), at most 10 rows at a time: their sum.
    Check { name: "cursor", means: "rows in portions", expected: |_| json!(325) },
    // set work_mem = '8MB'; show; discard all; show; select current_setting('safe_boundary.login').
    Check { name: "discard_all", means: "DISCARD ALL", expected: |_| json!(["8MB", "4MB", super::support::ALICE]) },
];

fn copied(md5: &str) -> Value {
    json!({ "rows": 1000, "md5": md5 })
}

/// The values, as the server prints them in UTC.
fn types() -> Value {
    json!({
        "bool": "true",
        "int2": "-32768",
        "int4": "2147483647",
        "int8": "-9223372036854775808",
        "float4": "1.5",
        "float8": "0.1",
        "numeric": "12345678901234567890.123456789",
        "text": "Grüße,\n\t'世界' \\ \"$1\"",
        "varchar": "a varchar",
        "bytea": "\\x00ff5c27",
        "date": "2026-02-28",
        "time": "23:59:59.123456",
        "timetz": "12:34:56+02",
        "timestamp": "2026-02-28 23:59:59.123456",
        "timestamptz": "2026-02-28 23:59:59.123456+00",
        "interval": "3 days 04:05:06",
        "uuid": "0190f5a5-7e5b-7c3d-8f2e-0123456789ab",
        "json": "[\"x\"]",
        "jsonb": "{\"a\": [1, null, \"x\"]}",
        "int4[]": "{1,NULL,-3}",
        "text[]": "{a,\"b c\",NULL,\"d\\\"e\"}",
        "inet": "192.0.2.1/32",
        "null": null
    })
}
