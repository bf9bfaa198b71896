//! Real clients: what each library does by itself, through the proxy.

use super::support::program::Library;
use super::support::proxy::Settings;
use super::support::psql::Answer;
use super::support::{ALICE, Stage};

/// The name under which a test lets a library in that hides prompts, until there are keys.
pub(crate) const TRUSTED: &str = "a program under test";

/// What a session may take beyond what it is sent at once.
const SESSION_KIB: u64 = 8 * 1024;

#[test]
fn a_library_that_hides_prompts_is_sent_to_the_page_for_keys() {
    let stage = Stage::start();
    for library in Library::ALL {
        let saw = stage.client(library, ALICE, None).finish();
        let refused = saw["refused"].as_str().unwrap_or_default();
        assert!(refused.contains("this program cannot show a sign-in prompt"), "{library:?}: {saw}");
        assert!(refused.contains("https://boundary.example.com/me"), "{library:?}: {saw}");
        // libpq does not say the SQLSTATE of a refused connection.
        assert!(matches!(saw["sqlstate"].as_str(), None | Some("28000")), "{library:?}: {saw}");
    }
    assert_eq!(stage.idp.codes_made(), 0);
}

fn works_through_the_proxy(library: Library) {
    let stage = Stage::prompting(&[TRUSTED]);
    let saw = stage.run_client(library, ALICE, TRUSTED);
    let expected = [
        ("who", "\"payments_rw\""),
        ("error", "\"22012\""),
        ("after_error", "\"alive\""),
        ("copied", "1000"),
        ("large", "20000000"),
        ("notified", "[\"hello\",true]"),
        ("cancelled", "\"57014\""),
        ("after_cancel", "\"alive\""),
        ("binary", "1099511627777"),
        ("named", "[\"n0\",\"n1\",\"n2\"]"),
        ("text", "\"5.00\""),
    ];
    for (what, value) in expected {
        assert_eq!(saw[what].to_string(), value, "{what} in {saw}");
    }
    stage.verify_trail();
}

#[test]
fn psycopg_works() {
    works_through_the_proxy(Library::Psycopg);
}

#[test]
fn asyncpg_works() {
    works_through_the_proxy(Library::Asyncpg);
}

#[test]
fn pgjdbc_works() {
    works_through_the_proxy(Library::Pgjdbc);
}

#[test]
fn psql_runs_a_script() {
    let stage = Stage::start();
    let script = "
        select 1 \\; select 2;
        begin; insert into refunds (\"order\", amount) values (1, 1); select 1 / 0; commit;
        select count(*) from refunds;
        create temporary table copied (n int, t text);
        \\copy copied from stdin
1\ta
2\tb
\\.
        \\copy copied to stdout
        select n from copied order by n desc;
        prepare p as select $1::int * 2; execute p(21); deallocate p;
        begin; declare far cursor for select generate_series(1, 10); fetch 2 from far; move 5 in far; fetch 1 from far; commit;
        ";
    let spoken = stage.psql(ALICE).script(script);
    assert!(spoken.err.contains("ERROR:  22012: division by zero"), "{spoken:?}");
    assert_eq!(spoken.lines(), ["1", "2", "8", "1\ta", "2\tb", "2", "1", "42", "1", "2", "8"]);
}

#[test]
fn psql_cancels_a_statement() {
    let stage = Stage::start();
    let sleep = "do $$ begin raise notice 'begun'; perform pg_sleep(60); end $$";
    let psql = stage.psql(ALICE).argument("-c").argument(sleep).start();
    psql.answer();
    psql.err.wait_for(|line| line.contains("begun").then_some(()));
    psql.process.signal("INT");
    let spoken = psql.finish();
    assert!(spoken.err.contains("ERROR:  57014: canceling statement due to user request"), "{spoken:?}");
    let cancel = stage.wait_for_record(|record| record.kind() == "cancel");
    let session = cancel.0["cancels"].as_str().expect("the session that was meant");
    let hers = stage.wait_for_record(|record| record.session() == session && !record.login().is_empty());
    assert_eq!(hers.login(), ALICE);
}

#[test]
fn a_large_result_takes_no_memory() {
    let stage = Stage::start();
    let memory = memory_for(&stage, |stage| {
        let rows = "copy (select repeat('x', 10000) from generate_series(1, 20000)) to stdout";
        let count = stage.psql(ALICE).argument("-o").argument("|wc -c >&2").run(&[rows]);
        assert!(count.err.contains("200020000"), "{count:?}");
        let rows = "select repeat('x', 10000) from generate_series(1, 20000)";
        let count = stage.psql(ALICE).argument("-o").argument("|wc -c >&2").run(&["\\set FETCH_COUNT 1000", rows]);
        assert!(count.err.contains("200020000"), "{count:?}");
    });
    assert!(memory < SESSION_KIB, "{memory} KiB for results of 200 MB");
}

#[test]
fn a_large_statement_arrives_whole() {
    const LENGTH: usize = 64 << 20;
    let stage = Stage::with(&Settings { log_statements: "none", ..Settings::default() });
    let memory = memory_for(&stage, |stage| {
        let script = format!("select length('{}');\nselect 'alive';\n", "x".repeat(LENGTH));
        assert_eq!(stage.psql(ALICE).script(&script).lines(), [LENGTH.to_string(), "alive".to_owned()]);
    });
    assert!(memory < 2 * (LENGTH as u64 / 1024) + SESSION_KIB, "{memory} KiB for a statement of 64 MiB");
    let long = stage.trail().into_iter().find(|record| record.0["statement"]["text"]["sha256"].is_string()).unwrap();
    assert_eq!(long.text(stage.folder()).unwrap().len(), LENGTH + "select length('');".len());
    stage.verify_trail();
}

/// By how much `run` raises the proxy's memory, after one session has warmed it up.
fn memory_for(stage: &Stage, run: impl FnOnce(&Stage)) -> u64 {
    stage.psql(ALICE).answered(Answer::As(ALICE)).run(&["select 1"]).lines();
    stage.proxy.reset_peak_memory();
    let before = stage.proxy.peak_memory_kib();
    run(stage);
    stage.proxy.peak_memory_kib() - before
}
