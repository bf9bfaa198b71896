//! What an error ends, skips and undoes, and what it is told of.

use super::*;

#[test]
fn an_error_skips_to_the_sync_whether_seen_or_not() {
    check(
        "> parse - A
         > bind - -
         > execute - => = A
         > query B
         > function
         < error : A=error, run -=skipped, B=skipped, function=skipped
         > parse - C
         ! ended : C=skipped
         > query copy t from stdin
         ! ended : copy t from stdin=skipped
         > execute p => = ?
         ! ended : run p=skipped
         > function
         ! ended : function'=skipped
         > flush
         > data => drop
         > done => drop
         > sync
         > parse - D
         > sync
         < idle
         < parsed : D=ok
         < idle",
    );
}

#[test]
fn an_error_at_sync_is_told_of_the_last_execute() {
    check(
        "> parse - A
         > bind - -
         > execute - => = A
         > bind - -
         > execute - => = A
         > sync
         < parsed : A=ok
         < bound
         < complete : run -=ok
         < bound
         < complete : run -'=ok
         < error 23505 : run -'=error
         < idle",
    );
}

/// What was refused goes up as something of ours, and its Sync as it is.
#[test]
fn a_commit_that_fails_is_told_also_when_its_sync_came_with_what_was_refused() {
    check(
        "> parse - A
         > bind - -
         > execute - => = A
         ! mark
         > sync
         > query Q
         ! refuse
         < parsed : A=ok
         < bound
         < complete : run -=ok
         < error 23505 : run -=error
         < idle
         < error 42601 : refusal
         < idle",
    );
}

/// The server plans at Bind, and code runs there: an Execute whose record is that of its Bind too was not just skipped.
#[test]
fn an_execute_is_not_skipped_whose_record_is_that_of_a_bind_that_ran() {
    let run = |answers: &str| {
        check(&format!(
            "> parse s A\n> run p s => = A\n> run q s => = A\n> execute q => = A\n> sync\n{answers}\n< idle"
        ));
    };
    run("< error : A=error, run p=skipped, run q=skipped, run q'=skipped");
    run("< parsed : A=ok\n< error : run p=error, run q=skipped, run q'=skipped");
    run("< parsed : A=ok\n< bound\n< error : run p=error, run q=skipped, run q'=skipped");
    run("< parsed : A=ok\n< bound\n< columns\n< error : run p=error, run q=skipped, run q'=skipped");
    let ran = "< parsed : A=ok\n< bound\n< columns\n< complete : run p=ok\n";
    run(&format!("{ran}< error : run q=error, run q'=skipped"));
    run(&format!("{ran}< bound\n< error : run p=error, run q=error, run q'=skipped"));
    run(&format!("{ran}< bound\n< columns\n< error : run q=error, run q'=skipped"));
    // The server skips already.
    check("> parse s A\n< error : A=error\n> run p s => = A\n! ended : run p=skipped\n> sync\n< idle");
}

/// An error that comes before the ReadyForQuery undoes what was done since the last one.
#[test]
fn an_error_of_what_has_no_record_is_told_of_what_it_undoes() {
    let begun = "> parse - A\n> bind - -\n> execute - => = A\n< parsed : A=ok\n< bound\n< complete : run -=ok\n";
    check(&format!("{begun}> describe portal p\n< error 34000 : run -=error\n> sync\n< idle"));
    check(&format!("{begun}> sync\n< idle\n> describe portal p\n< error 34000\n> sync\n< idle"));
    // Not told twice.
    check(&format!("{begun}> describe portal p\n> describe portal q\n< error 34000 : run -=error\n> sync\n< idle"));
}

#[test]
fn an_error_does_not_undo_what_has_ended_its_transaction() {
    for tag in ["COMMIT", "ROLLBACK", "PREPARE TRANSACTION"] {
        let ended = format!(
            "> parse - A\n> bind - -\n> execute - => = A\n> parse - E\n> bind - -\n> execute - => = E
             < parsed : A=ok\n< bound\n< complete : run -=ok\n< parsed : E=ok\n< bound\n< complete {tag} : run -'=ok\n"
        );
        check(&format!("{ended}> describe portal p\n< error 34000\n> sync\n< idle"));
        let mut stage = Stage::new();
        ended.lines().for_each(|line| stage.line(line.trim()));
        stage.tracker.lost();
        assert_eq!(stage.ended(), "", "{tag}");
    }
}

#[test]
fn a_query_of_ours_that_fails_is_told_of_what_it_undoes() {
    let begun = "> parse - A\n> bind - -\n> execute - => = A\n< parsed : A=ok\n< bound\n< complete : run -=ok\n";
    for refused in ["query Q", "function"] {
        check(&format!("{begun}! mark\n> {refused}\n! refuse\n< error 42601 : refusal run -=error\n< idle"));
        check(&format!("{begun}> sync\n< idle\n! mark\n> {refused}\n! refuse\n< error 42601 : refusal\n< idle"));
    }
}

#[test]
fn what_a_lost_connection_leaves_uncommitted_is_said_to_be_so() {
    let mut stage = Stage::new();
    let begun = "> parse - A\n> bind - -\n> execute - => = A\n< parsed : A=ok\n< bound\n< complete : run -=ok";
    begun.lines().for_each(|line| stage.line(line));
    stage.tracker.lost();
    assert_eq!(stage.ended(), "run -=lost");
    stage.tracker.lost();
    assert_eq!(stage.ended(), "");
    // Also when something failed behind it that was told with what it made the server skip.
    check(
        "> parse - A\n> bind - -\n> execute - => = A\n> bind p -\n> execute p => = A
         < parsed : A=ok\n< bound\n< complete : run -=ok\n< error : run p=skipped\n! lost : run -=lost",
    );
}

#[test]
fn what_is_refused_fails_in_its_place() {
    // In every position of a group, and across groups.
    check(
        "> parse s A
         > bind - s
         ! mark
         > execute - => = A
         > parse s B
         > sync
         > query Q
         > function
         ! refuse
         > bind - s => wait
         < parsed : A=ok
         < bound
         < error 34000 : refusal
         < idle
         < error 42601 : refusal
         < idle
         < error 42601 : refusal
         < idle
         > bind - s
         > execute - => = A",
    );
    // The error of another comes first: that one is told, and nothing of ours.
    check(
        "> parse s A
         ! mark
         > execute - => = ? flush
         ! refuse
         > query Q
         < error : A=error, Q=skipped
         > sync
         < idle",
    );
    // Nothing waits for a COPY that does not come, or for an unknown meaning.
    check("! mark\n> query copy t from stdin\n> query A => wait\n! refuse\n> query A\n< error : refusal\n< idle");
    // What goes up in the place of a Query ends the unnamed statement as that would, and what ends the server is its own word.
    for refused in ["query Q", "function"] {
        check(&format!(
            "> parse - A\n> sync\n< parsed : A=ok\n< idle\n! mark\n> {refused}\n! refuse\n> bind - - => wait
             < error 42601 : refusal\n< idle\n> bind - -\n> execute - => = ? flush"
        ));
    }
    check("! mark\n> query Q\n! refuse\n< fatal");
    // A commit that fails is not told of what was refused.
    check(
        "! mark
         > execute - => = ? flush
         ! refuse
         > sync
         < error : refusal
         < error
         < idle",
    );
    check("! mark\n> parse - A\n> execute - => = ? flush\n! refuse\n> sync\n< error : refusal\n< error\n< idle");
    // A name that a refused frame was to change means what it meant before.
    check(
        "> parse s A
         ! mark
         > close statement s
         ! refuse
         > bind - s
         > execute - => = A",
    );
    // While the server skips, what is refused is skipped too.
    check("> parse - A\n< error : A=error\n! mark\n> query Q\n! ended : Q=skipped\n! refuse\n> sync\n< idle");
}

#[test]
fn answers_that_nothing_explains_are_errors() {
    for (answer, told) in [
        ("parsed", "ParseComplete"),
        ("bound", "BindComplete"),
        ("closed", "CloseComplete"),
        ("types", "ParameterDescription"),
        ("columns", "RowDescription"),
        ("complete", "CommandComplete"),
        ("suspended", "CommandComplete"),
        ("result", "FunctionCallResponse"),
        ("copy", "CopyInResponse"),
        ("idle", "ReadyForQuery"),
    ] {
        check(&format!("< {answer} : unexpected `{told}` from the server"));
        if answer != "idle" {
            check(&format!("> sync\n< {answer} : unexpected `{told}` from the server"));
        }
    }
}
