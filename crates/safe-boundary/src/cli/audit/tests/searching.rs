//! `audit search`: what is found, what belongs together, and how much is kept meanwhile.

use super::*;

#[test]
fn search_says_that_what_had_ended_well_does_not_hold() {
    let mut trail = Trail::new();
    let alice = "alice@example.com";
    let first = trail.statement(alice, "payments", "delete from cards");
    trail.outcome(first, alice, "ok", "DELETE 3", None);
    let second = trail.statement(alice, "payments", "delete from refunds");
    trail.outcome(second, alice, "ok", "DELETE 4", None);
    trail.outcome_so(first, alice, "error", "", Some("no such portal"), true);
    trail.outcome_so(second, alice, "lost", "", None, true);
    // Those that are still at hand are told with it, words or not.
    for line in ["search --database payments", "search --database payments delete"] {
        let (_, out) = trail.run(line);
        assert!(out.contains("DELETE 3; then error 42501 no such portal"), "{out}");
        assert!(out.contains("DELETE 4; then lost"), "{out}");
        assert_eq!(out.lines().count(), 3, "{out}");
    }
    // What was shown at once is told of behind it.
    for line in ["search --json --database payments", "search --json --kind statement delete"] {
        let (_, out) = trail.run(line);
        let rows: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows.len(), 4, "{out}");
        assert_eq!(rows[0]["outcome"]["outcome"]["tag"], "DELETE 3");
        assert_eq!((&rows[2]["record"]["of"], &rows[2]["record"]["again"]), (&rows[0]["record"]["id"], &true.into()));
        assert_eq!((&rows[3]["record"]["of"], &rows[3]["record"]["again"]), (&rows[1]["record"]["id"], &true.into()));
    }
    let (_, out) = trail.run("search --json --person bob@example.com");
    assert_eq!(out, "");
    let rows = parse_csv(&trail.run("export --format csv").1);
    let again = rows[0].iter().position(|name| name == "again").unwrap();
    let cells: Vec<&str> = rows[1..].iter().map(|row| row[again].as_str()).collect();
    assert_eq!(cells, ["", "", "", "", "", "true", "true"]);
    // Where the statement is not beside it, it says that it is not the first.
    for line in ["tail --no-follow -n 2", "search --limit 2 --kind outcome"] {
        let (_, out) = trail.run(line);
        assert!(out.contains(" then error 42501 no such portal") && out.contains(" then lost"), "{line}: {out}");
    }
    let (_, out) = trail.run("tail --no-follow -n 5");
    assert_eq!(out.matches(" then ").count(), 2, "{out}");
}

#[test]
fn search_says_where_sign_ins_and_cancels_came_from() {
    let mut trail = Trail::new();
    let nobody = "eve\u{202e}@example.com";
    let decision = Decision { effect: "refused", rules: &[], reason: Some("too many\nconnections") };
    trail.record(Kind::Login, nobody, "payments", &Body::Decision(&decision));
    let session = IdSource::new([3; 6]).session(Timestamp::UNIX_EPOCH);
    for session in [Some(session), None] {
        trail.record(Kind::Cancel, nobody, "payments", &Body::Cancel { session, pid: 4711 });
    }
    trail.record(Kind::End, nobody, "payments", &Body::End { reason: "client left", statements: 0 });
    for line in [format!("search --person {nobody}"), "tail --no-follow -n 4".to_owned()] {
        let (_, out) = trail.run(&line);
        let what: Vec<&str> = out.lines().rev().take(4).collect();
        assert!(what[3].ends_with(r" refused, from 127.0.0.1: too many\nconnections"), "{out}");
        assert!(what[2].ends_with(&format!(" process 4711 of session {session}, from 127.0.0.1")), "{out}");
        assert!(what[1].ends_with(" process 4711 of no session, from 127.0.0.1"), "{out}");
        assert!(what[0].ends_with(" client left"), "{out}");
    }
    let (_, out) = trail.run(&format!("search --json {session}"));
    assert_eq!(out.lines().count(), 1, "a cancel is found by the session that it names: {out}");
}

#[test]
fn words_are_sought_in_second_outcomes_too() {
    let mut trail = Trail::new();
    let alice = "alice@example.com";
    let waiting = trail.statement(alice, "payments", "select 'waiting'");
    let first = trail.statement(alice, "payments", "delete from cards");
    trail.outcome(first, alice, "ok", "DELETE 3", None);
    trail.outcome_so(first, alice, "error", "", Some("no such portal"), true);
    trail.outcome(waiting, alice, "ok", "SELECT 1", None);
    // While it is at hand, behind one that is not over, they count as words of its statement.
    for line in ["search", "search --limit 0"] {
        let (_, out) = trail.run(&format!("{line} portal cards"));
        let rows: Vec<&str> = out.lines().collect();
        assert!(rows.len() == 2 && rows[1].contains("DELETE 3; then error 42501 no such portal"), "{line}: {out}");
        assert_eq!(trail.run(&format!("{line} portal orders")).1.lines().count(), 1, "{line}");
    }
    // Later, its statement was not taken for want of the word: then it is found by itself.
    let second = trail.statement(alice, "payments", "delete from refunds");
    trail.outcome(second, alice, "ok", "DELETE 4", None);
    trail.outcome_so(second, alice, "error", "", Some("deferred check"), true);
    for line in ["search deferred", "search deferred --limit 0", "search deferred --kind statement"] {
        let (_, out) = trail.run(line);
        assert!(out.contains(" then error 42501 deferred check") && out.lines().any(|row| row.contains("deferred")));
    }
    let (_, out) = trail.run("search check --limit 5");
    assert_eq!(out.lines().count(), 2, "{out}");
}

#[test]
fn search_finds_who_where_when_and_what() {
    let trail = Trail::story();
    let check = |line: &str, expected: &[u64]| {
        let (exit, out) = trail.run(&format!("search --json {line}"));
        let found: Vec<u64> =
            out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["index"].as_u64().unwrap()).collect();
        assert_eq!((exit, found.as_slice()), (Exit::Fine, expected), "{line}");
    };
    check("", &[0, 1, 2, 3, 6, 7]);
    check("--person ALICE@example.com", &[1, 2, 6, 7]);
    check("--login bob@example.com", &[3]);
    check("--database payments --kind statement", &[2, 3]);
    check("--role rw --database reports", &[6]);
    check("CARDS", &[2, 3]);
    check("cards select", &[2]);
    check("permission denied", &[3]);
    check("4711", &[2, 3, 6]);
    check("needle", &[6]);
    check("--kind outcome", &[4, 5]);
    check("--kind statement --limit 1", &[6]);
    check("--from 1970-01-01T03:00 --to 1970-01-01T04:00Z", &[3]);
    check("--to 1970-01-01 --kind end", &[7]);
    check("--from 1970-01-02", &[]);
    check("--session 00000000-0000-0000-0000-000000000000", &[]);
}

#[test]
fn a_statement_comes_with_its_outcome() {
    let trail = Trail::story();
    let (_, out) = trail.run("search --kind statement");
    let rows: Vec<&str> = out.lines().collect();
    assert_eq!(rows.len(), 4, "{out}");
    assert!(rows[1].contains("alice@example.com") && rows[1].contains("SELECT 1"), "{out}");
    assert!(
        rows[2].contains("error 42501 permission denied") && rows[2].ends_with("drop table cards  (4711)"),
        "{out}"
    );
    let (_, out) = trail.run("search --json --kind statement --limit 3");
    let first: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!(first["outcome"]["outcome"]["tag"], "SELECT 1");
    let (_, out) = trail.run("search --limit 1");
    assert!(out.ends_with("(5 earlier records match too; --limit 0 shows all)\n"), "{out}");
    let (_, out) = trail.run("search --kind login");
    assert!(out.contains("alice@example.com?"), "a login that is only named has a question mark: {out}");
}

/// A statement whose outcome never comes must not make the search keep all that comes behind it.
#[test]
fn what_waits_behind_a_statement_is_bounded_and_said_so() {
    let mut trail = Trail::new();
    let first = trail.statement("alice@example.com", "payments", "select 'slow'");
    let second = trail.statement("alice@example.com", "payments", &"long ".repeat(2000));
    trail.outcome(second, "alice@example.com", "ok", "SELECT 2", None);
    let third = trail.statement("alice@example.com", "payments", "select 'quick'");
    trail.outcome(third, "alice@example.com", "ok", "SELECT 3", None);
    trail.outcome(first, "alice@example.com", "ok", "SELECT 1", None);
    let check = |line: &str, records: usize, bytes: usize| trail.search(line, records, bytes);
    let out = check("", 3, 1 << 20);
    assert!(out.contains("SELECT 1") && !out.contains("joined") && !out.contains("waited"), "{out}");
    let longest = trail.run("export").1.lines().map(str::len).max().unwrap();
    for (records, bytes) in [(1, 1 << 20), (3, longest + 100)] {
        let out = check("--limit 0", records, bytes);
        let rows: Vec<&str> = out.lines().collect();
        assert!(rows[1].contains("(not joined)") && rows[1].contains("slow"), "{out}");
        assert!(rows[2].contains("SELECT 2") && rows[3].contains("SELECT 3"), "{out}");
        assert!(rows[4].starts_with("(1 statements waited too long") && rows.len() == 5, "{out}");
        let out = check("--json", records, bytes);
        let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&lines[0]["outcome"], &lines[0]["joined"]), (&Value::Null, &Value::Bool(false)));
        assert!(lines[1].get("joined").is_none() && lines[2]["outcome"]["outcome"]["tag"] == "SELECT 3", "{out}");
        assert!(check("--csv", records, bytes).lines().nth(1).unwrap().contains("(not joined)"));
    }
    assert!(check("--limit 1", 1, 1 << 20).contains("waited too long"));
}

/// However many the newest may be, they are no larger in all than what waits.
#[test]
fn the_newest_are_bounded_by_their_bytes_and_what_that_leaves_out_is_counted() {
    let mut trail = Trail::new();
    let alice = "alice@example.com";
    for n in 0..8 {
        let id = trail.statement(alice, "payments", &format!("select {n}, '{}'", "x".repeat(1000)));
        trail.outcome(id, alice, "ok", "SELECT 1", None);
    }
    let found = |bytes: usize, line: &str| {
        let out = trail.search(line, 20_000, bytes);
        let rows: Vec<String> = out.lines().filter(|row| row.contains("select ")).map(str::to_owned).collect();
        (rows, out)
    };
    let (rows, out) = found(1 << 20, "");
    assert!(rows.len() == 8 && !out.contains("earlier"), "{out}");
    let (rows, out) = found(8000, "");
    assert!((2..8).contains(&rows.len()) && rows[rows.len() - 1].contains("select 7"), "{out}");
    assert!(out.ends_with(&format!("({} earlier records match too; --limit 0 shows all)\n", 8 - rows.len())), "{out}");
    assert_eq!(found(8000, "--json --limit 100").0.len(), rows.len());
    // The newest itself is shown, whatever its size.
    assert_eq!(found(1, "").0.len(), 1);
    assert_eq!(found(8000, "--limit 0").0.len(), 8);
}

/// A statement at its row limit has its outcome; the execution that goes on has a record of its own.
#[test]
fn a_suspended_statement_waits_for_nothing() {
    let mut trail = Trail::new();
    let alice = "alice@example.com";
    let first = trail.statement(alice, "payments", "select 'many'");
    trail.outcome(first, alice, "suspended", "", None);
    for n in 0..3 {
        let next = trail.statement(alice, "payments", &format!("select {n}"));
        trail.outcome(next, alice, "ok", "SELECT 1", None);
    }
    let out = trail.search("", 1, 1 << 20);
    assert!(!out.contains("joined") && !out.contains("waited"), "{out}");
    let rows: Vec<&str> = out.lines().collect();
    assert!(rows.len() == 5 && rows[1].contains("suspended") && rows[1].contains("many"), "{out}");
}
