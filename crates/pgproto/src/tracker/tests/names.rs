//! What a name means, as the server answers.

use super::*;

#[test]
fn a_name_means_what_the_server_answered() {
    // docs/threats.md a17b: Parse S=A, Sync; Parse S=B fails with 42P05, Sync; Bind S, Execute runs A.
    check(
        "> parse s A
         > sync
         > parse s B
         > sync
         > bind - s => wait
         < parsed : A=ok
         > bind - s => wait
         < idle
         > bind - s => wait
         < error 42P05 : B=error
         > bind - s
         > execute - => = A
         > sync
         < idle
         < bound
         < complete : run -=ok
         < idle",
    );
    // In one group the failure skips what would run.
    check(
        "> parse s A
         > sync
         < parsed : A=ok
         < idle
         > parse s B
         > bind - s
         > execute - => = B
         > sync
         < error 42P05 : B=error, run -=skipped
         < idle
         > bind - s
         > execute - => = A",
    );
}

#[test]
fn a_closed_name_is_unknown_and_its_portals_live() {
    check(
        "> parse s A
         > bind p s
         > close statement s
         > execute p => = A
         > bind q s => pass flush
         > execute q => wait
         < parsed : A=ok
         < bound
         < closed
         < complete : run p=ok
         < error 26000
         > execute q => = ?
         ! ended : run q=skipped
         > sync
         < idle",
    );
    check(
        "> parse s A
         > close statement s
         > parse s B
         > bind - s
         > execute - => = B
         > close portal -
         > sync
         < parsed : A=ok
         < closed
         < parsed : B=ok
         < bound
         < complete : run -=ok
         < closed
         < idle
         > execute - => = ? flush",
    );
}

#[test]
fn the_unnamed_statement_ends_with_a_query_and_with_a_parse_that_fails() {
    let after = |what: &str, meaning: &str| {
        check(&format!(
            "> parse - A
             > sync
             < parsed : A=ok
             < idle
             {what}
             > bind - -
             > execute - => {meaning}"
        ));
    };
    after("> query B\n< complete\n< idle : B=ok", "= ? flush");
    after("> query B\n< error 42601\n< idle : B=error", "= ? flush");
    after("> query B\n< empty\n< idle : B=ok", "= ? flush");
    after("> parse - B\n> sync\n< error 42601 : B=error\n< idle", "= ? flush");
    after("> parse - B\n> sync\n< parsed : B=ok\n< idle", "= B");
    // Bytes that cannot be converted fail before the server looks at what it has.
    after("> parse - B\n> sync\n< error 22021 : B=error\n< idle", "= A?");
    after("> query B\n< error 22021\n< idle : B=error", "= A?");
    // It is not among those that SQL names.
    after(
        "> parse s deallocate all\n> bind p s\n> execute p => = deallocate all flush\n> sync => wait
           < parsed : deallocate all=ok\n< bound\n< complete : run p=ok\n> sync\n< idle",
        "= A",
    );
    after("> function\n< result\n< idle : function=ok", "= A");
}

/// SQL's EXECUTE runs what Parse has prepared, also what changes names; and in an encoding of clients a byte that looks like
/// a sign may be the end of a letter, so that nothing was prepared. The tag tells.
#[test]
fn a_name_is_in_doubt_when_the_tag_says_otherwise_than_the_text() {
    let after = |what: &str, told: &str| {
        check(&format!(
            "> parse s A
             > sync
             < parsed : A=ok
             < idle
             {what}
             > bind p s
             > execute p => {told}"
        ));
    };
    let query = |text: &str, tags: &[&str]| {
        let complete: String = tags.iter().map(|tag| format!("< complete {tag}\n")).collect();
        // Beyond the first thousand they are counted.
        let more = tags.get(1_000).map(|_| "more");
        let told: Vec<_> = tags.iter().take(1_000).map(|_| "ok").chain(more).collect();
        format!("> query {text}\n> sync => wait\n{complete}< idle : {text}={}", told.join("+"))
    };
    after(&query("execute d", &["DEALLOCATE"]), "= A?");
    after(&query("execute d", &["SELECT 1"]), "= A");
    after(&query("select 1; execute d; select 2", &["SELECT 1", "PREPARE", "SELECT 1"]), "= A?");
    after(&query("execute d", &["DISCARD ALL"]), "= A?");
    after(&query("execute d", &["CLOSE CURSOR"]), "= A");
    // However many changes of another kind come before.
    after(&query("execute d; execute e", &[vec!["CLOSE CURSOR"; 2_000], vec!["DEALLOCATE"]].concat()), "= A?");
    after(&query("select 1; prepare s as select 2; select 3", &["SELECT 1", "SELECT 1", "SELECT 1"]), "= A?");
    after(&query("select 1; prepare s as select 2", &["SELECT 1"]), "= A?");
    after(&query("prepare s as select 2; select 1", &["SELECT 1", "PREPARE"]), "= A?");
    // By Execute.
    after(
        "> parse - execute d\n> bind - -\n> execute - => = execute d flush\n> sync => wait
         < parsed : execute d=ok\n< bound\n< complete DEALLOCATE : run -=ok\n> sync\n< idle",
        "= A?",
    );
    after("> execute x => = ? flush\n> sync => wait\n< complete : run x=ok\n> sync\n< idle", "= A?");
}

/// What SQL's EXECUTE runs says nothing by its tag where it is a DO block, and nothing at all where it fails.
#[test]
fn names_are_in_doubt_when_sql_executes_what_hides_changes() {
    let after = |prepared: &str, run: &str, answer: &str, told: &str| {
        check(&format!(
            "> parse x {prepared} => {}
             < parsed : {prepared}=ok
             > sync
             < idle
             > parse s A
             > sync
             < parsed : A=ok
             < idle
             > query {run}
             < {answer}
             < idle : {run}={}
             > bind p s
             > execute p => {told}",
            if prepared.starts_with("do") { "pass flush" } else { "pass" },
            if answer == "error" { "error" } else { "ok" },
        ));
    };
    let block = "do $$ begin execute 'deallocate s'; end $$";
    after(block, "execute x", "complete DO", "= A?");
    after(block, "execute x", "error", "= A?");
    after(block, "explain analyze execute x", "complete EXPLAIN", "= A?");
    after(block, "select f('execute x')", "complete SELECT 1", "= A?");
    after("deallocate s", "select f('execute x')", "complete SELECT 1", "= A?");
    // The query of a cursor, and of PREPARE.
    let later = |named: &str, tag: &str, run: &str, ran: &str| {
        check(&format!(
            "> query begin; {named}\n> sync => wait\n< complete\n< complete {tag}\n< open : begin; {named}=ok+ok
             > parse s A\n> sync\n< parsed : A=ok\n< open\n{run}\n{ran}\n> bind q s\n> execute q => = A?"
        ));
    };
    let (cursor, query) = ("declare c cursor for select f('deallocate s')", "prepare x as select f('deallocate s')");
    later(cursor, "DECLARE CURSOR", "> query fetch c", "< complete FETCH 1\n< open : fetch c=ok");
    later(cursor, "DECLARE CURSOR", "> query move c", "< error\n< open : move c=error");
    let run = format!("> execute c => = begin; {cursor} flush\n> sync => wait");
    later(cursor, "DECLARE CURSOR", &run, "< complete SELECT 1 : run c=ok\n> sync\n< open");
    let run = format!("> bind - x => pass flush\n> execute - => wait\n< bound\n> execute - => = begin; {query}? flush");
    later(query, "PREPARE", &run, "< complete SELECT 1 : run -=ok\n> sync\n< open");
    // What that runs may itself run what was prepared.
    let (cursor, query) = ("declare c cursor for select f('execute y')", "prepare x as select f('execute y')");
    let hides = "> parse y deallocate s\n> sync\n< parsed : deallocate s=ok\n< open";
    let run = format!("{hides}\n> execute c => = begin; {cursor} flush\n> sync => wait");
    later(cursor, "DECLARE CURSOR", &run, "< complete SELECT 1 : run c=ok\n> sync\n< open");
    let run = format!(
        "{hides}\n> bind - x => pass flush\n> execute - => wait\n< bound\n> execute - => = begin; {query} flush"
    );
    later(query, "PREPARE", &run, "< complete SELECT 1 : run -=ok\n> sync\n< open");
    // Nothing that was prepared changes names, or nothing that was prepared is run.
    after("select 2", "execute x", "complete SELECT 1", "= A");
    after("select 2", "execute x", "error", "= A");
    after(block, "grant execute on function f to public", "complete GRANT", "= A");
}

/// The query of a cursor WITH HOLD runs when its transaction ends, and nothing says so then.
#[test]
fn names_are_in_doubt_until_what_a_held_cursor_hides_has_run() {
    for (text, doubt) in [
        ("declare c cursor with hold for select f('deallocate s')", "?"),
        ("declare c cursor with hold for select f('execute y')", "?"),
        ("select f('declare c cursor with hold for select f(''deallocate s'')')", "?"),
        ("do $$ x $$", "?"),
        ("declare c cursor with hold for select 1", ""),
        ("select f('deallocate s')", ""),
    ] {
        let tag = tag(text);
        check(&format!(
            "> query begin
             < complete BEGIN
             < open : begin=ok
             > query {text}
             > sync => wait
             < complete {tag}
             < open : {text}=ok
             > parse s A
             > bind q s
             > execute q => = A{doubt}
             > sync
             < parsed : A=ok
             < bound
             < complete : run q=ok
             < open
             > query commit
             < complete COMMIT
             < idle : commit=ok
             > bind q s
             > execute q => = A{doubt}
             > sync
             < bound
             < complete : run q'=ok
             < idle
             > parse t T
             > bind q t
             > execute q => = T"
        ));
    }
}

/// The server plans at Bind, and so runs what its text hides there.
#[test]
fn names_are_in_doubt_after_a_bind_of_what_hides_changes() {
    let script = |answer: &str, rest: &str| {
        format!(
            "> parse z select f('deallocate s') => pass flush
             < parsed : select f('deallocate s')=ok
             > parse s A
             > sync
             < parsed : A=ok
             < idle
             > bindalone p z => pass flush
             > sync => wait
             > bind q s => wait
             < {answer} : bind p={}
             > sync
             < idle
             > bind q s
             > execute q => {rest}",
            if answer == "bound" { "ok" } else { "error" },
        )
    };
    check(&script("bound", "= A?"));
    check(&script("error", "= A?"));
    // Nobody knows what this is.
    check(
        "> parse s A\n> sync\n< parsed : A=ok\n< idle\n> bind p x => pass flush\n> sync => wait\n< bound\n> sync\n< idle
         > bind q s\n> execute q => = A?",
    );
}

/// The server checks constants against their types at Parse, and so runs what stands in them.
#[test]
fn names_are_in_doubt_after_a_parse_of_what_hides_changes() {
    for (answer, told) in [("parsed", "ok"), ("error", "error")] {
        check(&format!(
            "> parse s A
             > sync
             < parsed : A=ok
             < idle
             > parse z select '{{deallocate s}}'::d[] => pass flush
             > bind q s => wait
             > sync => wait
             < {answer} : select '{{deallocate s}}'::d[]={told}
             > sync
             < idle
             > bind q s
             > execute q => = A?"
        ));
    }
    // What it names means what it says: the name is given after that.
    check(
        "> parse z select f('deallocate z') => pass flush
         < parsed : select f('deallocate z')=ok
         > bind q z => pass flush
         > execute q => wait
         < bound
         > execute q => = select f('deallocate z') flush",
    );
}

/// The tag of what these tests run.
fn tag(sql: &str) -> &'static str {
    const TAGS: [(&str, &str); 8] = [
        ("prepare", "PREPARE"),
        ("deallocate all", "DEALLOCATE ALL"),
        ("deallocate", "DEALLOCATE"),
        ("discard all", "DISCARD ALL"),
        ("declare", "DECLARE CURSOR"),
        ("close all", "CLOSE CURSOR ALL"),
        ("close", "CLOSE CURSOR"),
        ("do", "DO"),
    ];
    TAGS.into_iter().find(|(words, _)| sql.starts_with(words)).map_or("SELECT 1", |(_, tag)| tag)
}

/// What a text does to the names of a session in a transaction.
fn run(sql: &str, then: &str) {
    check(&format!(
        "> query begin
         < complete
         < open : begin=ok
         > parse s A
         > parse t T
         > bind p s
         > sync
         < parsed : A=ok
         < parsed : T=ok
         < bound
         < open
         {sql}
         {then}"
    ));
}

#[test]
fn sql_shares_the_names() {
    // The tags of the first statements, as PostgreSQL tells them.
    let tags = |sql: &str, count: usize| -> String {
        sql.split(';').take(count).map(|one| format!("< complete {}\n", tag(one.trim()))).collect()
    };
    let simple = |sql: &str| {
        let count = sql.split(';').count();
        let outcomes = ["ok"].repeat(count).join("+");
        format!("> query {sql}\n> sync => wait\n{}< open : {sql}={outcomes}", tags(sql, count))
    };
    let failing = |sql: &str, ran: usize| {
        let outcomes = [vec!["ok"; ran], vec!["error"]].concat().join("+");
        format!("> query {sql}\n{}< error\n< open : {sql}={outcomes}", tags(sql, ran))
    };
    let means = |statement: &str, meaning: &str| format!("> bind - {statement}\n> execute - => {meaning}");
    // Whether it is there, only the answer tells.
    let unknown = "> bind - s => pass flush\n> execute - => wait";
    run(&simple("prepare u as U"), &means("u", "= prepare u as U"));
    run(&simple("deallocate S"), unknown);
    run(&simple("deallocate s; prepare s as B"), &means("s", "= deallocate s; prepare s as B"));
    run(&simple("deallocate \"S\""), &means("s", "= A"));
    run(&simple("deallocate all"), unknown);
    run(&simple("discard all"), "> execute p => = ? flush");
    run(&simple("declare c cursor for C"), "> execute c => = declare c cursor for C");
    run(&simple("close p"), "> execute p => = ? flush");
    run(&simple("close all"), "> execute p => = ? flush");
    run(&simple("do $$ x $$"), &means("s", "= A?"));
    run(&simple("do $$ x $$"), "> execute p => = A?");
    run(&simple("select f('close p')"), "> execute p => = A?");
    run(&simple("select f('close p')"), &means("s", "= A"));
    run(&simple("select f('deallocate s')"), &means("s", "= A?"));
    run(&simple("do $$ x $$"), "> parse - B\n> bind - -\n> execute - => = B");
    // What had completed before an error has happened; what was to come may have, or not.
    run(&failing("deallocate s; prepare s as B; X", 2), &means("s", "= deallocate s; prepare s as B; X"));
    run(&failing("deallocate s; prepare s as B; X", 1), &means("s", "= deallocate s; prepare s as B; X?"));
    run(&failing("deallocate s; prepare s as B", 0), &means("s", "= A?"));
    run(&failing("deallocate s; prepare s as B", 0), &means("t", "= T"));
    run(&failing("deallocate all; X", 0), &means("t", "= T?"));
    run(&failing("select 1; close p", 1), "> execute p => = A?");
    run(&failing("do $$ x $$", 0), &means("s", "= A?"));
}

#[test]
fn sql_shares_the_names_by_execute_too() {
    let executed = |sql: &str, answer: &str| {
        format!(
            "> parse - {sql}\n> bind - -\n> execute - => = {sql} flush\n> sync => wait
             < parsed : {sql}=ok\n< bound\n{answer}\n> sync\n< open"
        )
    };
    run(&executed("deallocate s", "< complete DEALLOCATE : run -=ok"), "> bind q s => pass flush\n> execute q => wait");
    run(&executed("deallocate s", "< error : run -=error"), "> bind q s\n> execute q => = A");
    run(
        "> parse - do $$ x $$ => pass flush\n> bind - - => wait\n< parsed : do $$ x $$=ok
         > bind - - => pass flush\n> execute - => wait\n< bound
         > execute - => = do $$ x $$ flush\n> sync => wait\n< error : run -=error\n> sync\n< open",
        "> bind q s\n> execute q => = A?",
    );
    run(&executed("prepare u as U", "< complete PREPARE : run -=ok"), "> bind q u\n> execute q => = prepare u as U");
}

#[test]
fn names_are_compared_as_the_server_compares_them() {
    let long = "n".repeat(63);
    check(&format!(
        "> parse {long}1 A\n> bind - {long}2\n> execute - => = A\n> close statement {long}\n> bind - {long}3 => pass flush\n> execute - => wait"
    ));
    // What is not ASCII may be converted to the same name from different bytes.
    check("> parse \u{e9} A\n> bind - \u{e9}\n> execute - => = A?");
    check("> parse s A\n> bind \u{e9} s\n> execute \u{e9} => = A?");
    check("> parse \u{e9} A\n> sync\n< parsed : A=ok\n< idle\n> bind - \u{e9}\n> execute - => = A?");
}

#[test]
fn portals_end_with_their_transaction() {
    let then = |ready: &str, meaning: &str| {
        check(&format!(
            "> parse s A
             > bind p s
             > sync
             > execute p => wait
             < parsed : A=ok
             < bound
             < {ready}
             > execute p => {meaning}"
        ));
    };
    then("idle", "= ? flush");
    then("open", "= A");
    check(
        "> query declare c cursor with hold for C
         < complete DECLARE CURSOR
         < idle : declare c cursor with hold for C=ok
         > execute c => = declare c cursor with hold for C",
    );
    // The transaction may end although another one is open then.
    let chained = |text: &str, tag: &str, meaning: &str| {
        let opened = "> parse s A\n> bind p s\n> sync\n< parsed : A=ok\n< bound\n< open";
        check(&format!("{opened}\n> query {text}\n< complete {tag}\n< open : {text}=ok\n> execute p => = {meaning}"));
        let opened = format!("{opened}\n> parse - {text}\n> bind - -\n> execute - => = {text}");
        check(&format!(
            "{opened}\n> sync\n< parsed : {text}=ok\n< bound\n< complete {tag} : run -=ok\n< open\n> execute p => = {meaning}"
        ));
    };
    chained("commit and chain", "COMMIT", "? flush");
    chained("rollback and chain", "ROLLBACK", "? flush");
    chained("rollback to a", "ROLLBACK", "A");
    chained("savepoint a", "SAVEPOINT", "A");
    // Only a Query that runs something ends the unnamed portal.
    let after = |answer: &str, meaning: &str| {
        check(&format!(
            "> parse - A\n> bind - -\n> sync\n< parsed : A=ok\n< bound\n< open
             > query B\n> execute - => wait\n< {answer}\n< open : B=ok\n> execute - => {meaning}"
        ));
    };
    after("complete", "= ? flush");
    after("empty", "= A");
}
