//! Errors that come of no request: a statement's timeout ends at whatever the server reads next, and that may be a Flush.

use super::*;

/// The server skips to the next Sync then, a Query included.
#[test]
fn an_error_at_a_flush_skips_to_the_sync() {
    check(
        "> parse - A
         > flush
         < parsed : A=ok
         < error 57014
         > query B
         ! ended : B=skipped
         > parse s C
         ! ended : C=skipped
         > sync
         < idle
         > bind - s => pass flush
         > execute - => wait",
    );
}

/// Two in a row are as one, and one that nothing comes of is passed with the next answer.
#[test]
fn a_flush_that_nothing_comes_of_changes_nothing() {
    check(
        "> flush
         > flush
         > parse s A
         > flush
         > bind - s
         > execute - => = A
         > flush
         < parsed : A=ok
         < bound
         < complete : run -=ok
         > sync
         < idle
         > query B
         < complete
         < idle : B=ok",
    );
}

/// What was sent behind a Flush fails, or the Flush did: either way the server skips.
#[test]
fn an_error_behind_a_flush_is_that_of_what_follows_it() {
    let run = "> parse - A
               > bind - -
               > execute - => = A
               > flush
               < parsed : A=ok
               < bound
               < complete : run -=ok";
    check(&format!("{run}\n> parse - B\n> sync\n< error 57014 : B=error\n< idle"));
    // At the Sync the commit fails, at the Flush the group: what was done is undone.
    check(&format!("{run}\n> sync\n< error 57014 : run -=error\n< idle"));
}

/// If the Flush has failed, the Query is skipped with all up to the next Sync; if the Query has, nothing is: nobody can tell from
/// an error that either may have, when more has been sent.
#[test]
fn an_error_of_a_flush_or_of_the_query_behind_it_ends_the_session() {
    for (behind, ended) in [("query B", "B"), ("function", "function")] {
        let sent = format!("> parse - A\n> flush\n< parsed : A=ok\n> {behind}\n> parse s C\n> sync");
        check(&format!("{sent}\n< error 57014 : unexpected `ErrorResponse` from the server"));
        check(&format!("{sent}\n< fatal{}", if ended == "B" { "" } else { " : function=error" }));
    }
    // What only reading the text can bring is the Query's, and so is what only running it can.
    for sqlstate in ["42601", "55006", "40P01", "53200"] {
        let behind = "> query C\n> flush";
        check(&format!(
            "> parse - A\n> flush\n< parsed : A=ok\n> query B\n{behind}\n< error {sqlstate}\n< idle : B=error"
        ));
    }
}

/// asyncpg sends no Sync after it has prepared something, and may run a Query next. Whatever has failed, nothing more is sent
/// before the server is ready.
#[test]
fn an_error_of_a_flush_or_of_the_query_behind_it_is_waited_out_when_nothing_follows() {
    for sqlstate in ["57014", "55P03", "40001"] {
        check(&format!(
            "> parse a A
             > flush
             < parsed : A=ok
             > query B
             < error {sqlstate}
             > bind - a => wait
             > sync => wait
             < idle : B=error
             > bind - a
             > execute - => = A
             > sync"
        ));
        check(&format!(
            "> parse a A\n> flush\n< parsed : A=ok\n> query B\n> flush\n< error {sqlstate}\n< idle : B=error"
        ));
    }
}

#[test]
fn an_error_out_of_nowhere_ends_the_session_unless_the_server_does() {
    check("< error 57014 : unexpected `ErrorResponse` from the server");
    check("< fatal");
    check("> parse - A\n< parsed : A=ok\n< error 57014 : unexpected `ErrorResponse` from the server");
}

#[test]
fn a_query_that_nothing_is_said_of_has_not_ended() {
    check("> query A\n< idle : unexpected `ReadyForQuery` from the server");
}

/// The answer to what waits comes with a Flush of ours, and an error may come at that too.
#[test]
fn an_error_at_a_flush_of_ours_skips_to_the_sync() {
    check(
        "> parse s select 'declare c' => pass flush
         < parsed : select 'declare c'=ok
         < error 57014
         > parse s B
         ! ended : B=skipped
         > sync
         < idle",
    );
}

/// A Flush behind what begins a COPY is swallowed by it.
#[test]
fn a_flush_behind_the_beginning_of_a_copy_is_no_request() {
    check(
        "> query copy t from stdin
         > flush => wait
         < copy
         > flush => drop
         > data
         > done
         < complete
         < idle : copy t from stdin=ok",
    );
    check(
        "> parse - copy t from stdin
         > bind - -
         > execute - => = copy t from stdin flush
         < parsed : copy t from stdin=ok
         < bound
         < copy
         > data
         > done
         < complete : run -=ok",
    );
}

/// A timeout comes before the server drops the old unnamed statement, a mistake in the text after it.
#[test]
fn the_unnamed_statement_may_outlive_what_fails_to_replace_it() {
    for (sqlstate, result) in [("57014", "A?"), ("42601", "? flush")] {
        for failing in [
            format!("> parse - B\n> sync\n< error {sqlstate} : B=error\n< idle"),
            format!("> query B\n< error {sqlstate}\n< idle : B=error"),
        ] {
            check(&format!(
                "> parse - A
                 > sync
                 < parsed : A=ok
                 < idle
                 {failing}
                 > bind - -
                 > execute - => = {result}"
            ));
        }
    }
}

/// A Query replaces the unnamed portal when it runs something, which one that fails may not have come to.
#[test]
fn the_unnamed_portal_may_outlive_a_query_that_fails() {
    check(
        "> query begin
         < complete BEGIN
         < open : begin=ok
         > parse x A
         > bind - x
         > sync
         < parsed : A=ok
         < bound
         < open
         > query B
         < error
         < failed : B=error
         > execute - => = A?",
    );
}

/// Both have the tag of what ends a transaction.
#[test]
fn a_rollback_to_a_savepoint_and_an_executed_commit_end_no_transaction() {
    for (text, undone) in
        [("rollback to a", true), ("rollback work to savepoint a", true), ("rollback", false), ("execute c", true)]
    {
        let tag = if text == "execute c" { "COMMIT" } else { "ROLLBACK" };
        let fence = if text == "execute c" { " flush" } else { "" };
        let again = if undone { " : run -=error" } else { "" };
        check(&format!(
            "> parse - {text}
             > bind - -
             > execute - => = {text}{fence}
             < parsed : {text}=ok
             < bound
             < complete {tag} : run -=ok
             > describe statement nosuch
             < error 26000{again}"
        ));
    }
}
