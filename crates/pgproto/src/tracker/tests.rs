//! Conversations in a small language, and properties of random ones.
//!
//! A line is a frame of the client with the step expected of it, or an answer of the server with what it ends:
//! `> parse s A` passes; `> bind p s !wait` waits; `> execute p = A` runs A (`A?` uncertainly, `?` nobody knows);
//! `< parsed : A=ok` ends A's request. Keys are the texts; a text used twice gets `'` behind it the second time.

use super::answers::{Answer, Reaction};
use super::*;
use crate::frontend::Target;

type Key = u32;
type Told = Tracker<Key, String, ()>;

struct Stage {
    tracker: Told,
    names: Vec<String>,
    at: u64,
    marks: Vec<Mark>,
}

impl Stage {
    fn new() -> Self {
        Self { tracker: Tracker::default(), names: Vec::new(), at: 0, marks: Vec::new() }
    }

    fn key(&mut self, text: &str) -> Key {
        let mut name = text.to_owned();
        while self.names.contains(&name) {
            name.push('\'');
        }
        self.names.push(name);
        Key::try_from(self.names.len()).unwrap() - 1
    }

    /// Does what a line says, and says what came of it.
    fn client(&mut self, line: &str) -> String {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (name, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let bytes = |name: &str| if name == "-" { Vec::new() } else { name.as_bytes().to_vec() };
        let target = |name: &str, text: &str| (name == "statement", bytes(text));
        let before = self.names.len();
        let step = |step: Result<Step, DuringCopy>| match step {
            Ok(Step::Pass(())) => "pass".to_owned(),
            Ok(Step::Wait) => "wait".to_owned(),
            Ok(Step::Drop) => "drop".to_owned(),
            Err(error) => error.to_string(),
        };
        let told = match verb {
            "query" => {
                let key = self.key(rest);
                step(self.tracker.query(rest.to_owned(), TextFacts::of(rest.as_bytes()), key))
            }
            "parse" => {
                let key = self.key(text);
                let facts = TextFacts::of(text.as_bytes());
                step(self.tracker.parse(&bytes(name), text.to_owned(), facts, Vec::new(), key))
            }
            "bind" => step(self.tracker.bind(&bytes(name), &bytes(text), |_| ())),
            "execute" => {
                let key = self.key(&format!("run {name}"));
                match self.tracker.execute(&bytes(name), key) {
                    Ok(Step::Pass(running)) => {
                        let text = running.as_ref().and_then(|running| {
                            let doubt = if running.certain { "" } else { "?" };
                            running.portal.statement.as_ref().map(|statement| format!("= {}{doubt}", statement.text))
                        });
                        text.unwrap_or_else(|| "= ?".to_owned())
                    }
                    Ok(Step::Wait) => "wait".to_owned(),
                    Ok(Step::Drop) => "drop".to_owned(),
                    Err(error) => error.to_string(),
                }
            }
            "describe" | "close" => {
                let (is_statement, name) = target(name, text);
                let target = if is_statement { Target::Statement(&name) } else { Target::Portal(&name) };
                step(if verb == "close" { self.tracker.close(target) } else { self.tracker.describe(target) })
            }
            "function" => {
                let key = self.key("function");
                step(self.tracker.function(key))
            }
            "sync" => step(Ok(self.tracker.sync())),
            "flush" => step(Ok(self.tracker.flush())),
            "data" => {
                let told = step(Ok(self.tracker.copy_data()));
                if told == "pass" {
                    self.tracker.copied();
                }
                told
            }
            "done" => step(Ok(self.tracker.copy_end())),
            other => panic!("no frame {other}"),
        };
        if told == "wait" {
            self.names.truncate(before);
        }
        let flush = if self.tracker.wants_flush() { " flush" } else { "" };
        format!("{told}{flush}")
    }

    fn server(&mut self, line: &str) -> String {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        self.at += 10;
        let answer = match verb {
            "parsed" => Answer::ParseComplete,
            "bound" => Answer::BindComplete,
            "closed" => Answer::CloseComplete,
            "types" => Answer::ParameterTypes(vec![23]),
            "columns" => Answer::RowDescription,
            "complete" => Answer::Complete(if rest.is_empty() { b"TAG" } else { rest.as_bytes() }),
            "empty" => Answer::EmptyQuery,
            "suspended" => Answer::Suspended,
            "error" => {
                let sqlstate = if rest.is_empty() { "XX000" } else { rest };
                Answer::Error(Failure { sqlstate: sqlstate.into(), message: b"no".to_vec() })
            }
            "result" => Answer::FunctionResult,
            "copy" => Answer::CopyIn,
            "idle" => Answer::Ready(TransactionStatus::Idle),
            "open" => Answer::Ready(TransactionStatus::InTransaction),
            "failed" => Answer::Ready(TransactionStatus::Failed),
            other => panic!("no answer {other}"),
        };
        match self.tracker.answer(answer, self.at) {
            Ok(Reaction::Pass) => self.ended(),
            Ok(Reaction::Refusal(_)) => format!("refusal {}", self.ended()).trim_end().to_owned(),
            Err(error) => error.to_string(),
        }
    }

    fn ended(&mut self) -> String {
        let word = |outcome: &Outcome| match outcome {
            Outcome::Completed(_) => "ok",
            Outcome::Suspended => "suspended",
            Outcome::Failed(_) => "error",
            Outcome::Skipped(_) => "skipped",
            Outcome::More(_) => "more",
            Outcome::Lost => "lost",
        };
        let names = &self.names;
        let told = self.tracker.finished().map(|finished| {
            let outcomes: Vec<_> = finished.outcomes.iter().map(word).collect();
            format!("{}={}", names[usize::try_from(finished.key).unwrap()], outcomes.join("+"))
        });
        told.collect::<Vec<_>>().join(", ")
    }

    fn line(&mut self, line: &str) {
        let (did, expected, came) = match line.split_at(1) {
            (">", rest) => {
                let (did, expected) = match rest.split_once(" => ") {
                    Some((did, expected)) => (did.trim(), expected.trim().to_owned()),
                    None => (rest.trim(), "pass".to_owned()),
                };
                (did, expected, self.client(did))
            }
            ("<", rest) => {
                let (did, expected) = rest.split_once(" : ").unwrap_or((rest, ""));
                (did.trim(), expected.trim().to_owned(), self.server(did.trim()))
            }
            ("!", rest) => {
                let came = match rest.trim() {
                    "mark" => {
                        self.marks.push(self.tracker.mark());
                        String::new()
                    }
                    "refuse" => {
                        let mark = self.marks.pop().unwrap();
                        self.tracker.refuse_since(mark, Refused::Unrecorded);
                        String::new()
                    }
                    "refuse copy" => {
                        let mark = self.marks.pop().unwrap();
                        self.tracker.refuse_copy(mark);
                        String::new()
                    }
                    "owed" => self.tracker.take_held_sync().to_string(),
                    rest if rest.starts_with("lost") => {
                        self.tracker.lost();
                        format!("lost : {}", self.ended())
                    }
                    "ended" => self.ended(),
                    rest if rest.starts_with("ended : ") => format!("ended : {}", self.ended()),
                    rest => panic!("no stage direction {rest}"),
                };
                let rest = rest.trim();
                let expected = match rest {
                    "owed" => "true",
                    rest if rest.contains(" : ") => rest,
                    _ => "",
                };
                (rest, expected.to_owned(), came)
            }
            _ => panic!("not a line: {line}"),
        };
        assert_eq!(came, expected, "{did}");
    }
}

fn check(script: &str) {
    let mut stage = Stage::new();
    for (number, line) in script.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty()) {
        let line = line.to_owned();
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| stage.line(&line)));
        assert!(played.is_ok(), "line {number}: {line}\n{script}");
    }
}

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
         > bind q s
         > execute p => = A
         > execute q => = ? flush
         > sync => wait
         < parsed : A=ok
         < bound
         < closed
         < error 26000 : run p=skipped, run q=skipped
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
    after("> execute x => = ? flush\n> sync => wait\n< complete DEALLOCATE : run x=ok\n> sync\n< idle", "= A?");
}

/// A COPY that nobody saw coming swallows what was sent behind it: what comes then cannot be told any more.
#[test]
fn a_copy_out_of_nowhere_ends_the_session() {
    check("> query A\n> sync\n< copy : unexpected `CopyInResponse` from the server");
    check("> query execute c\n> sync => wait\n< copy\n> data\n> done\n< complete\n< idle : execute c=ok");
    check("> query UPLOAD_MANIFEST\n> sync => wait\n< copy");
    check("> query start_replication 0/0\n> sync => wait\n< copy");
    check("> query A\n< copy\n> data\n> done\n< complete\n< idle : A=ok");
}

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

#[test]
fn a_function_call_fails_by_itself() {
    check(
        "> function
         > function
         > query A
         < error : function=error
         < idle
         < result
         < idle : function'=ok
         < complete
         < idle : A=ok",
    );
    // Its commit fails after its result has come.
    check(
        "> function
         < result
         < error : function=error
         < idle",
    );
}

#[test]
fn a_query_has_an_outcome_for_each_of_its_statements() {
    check(
        "> query A;B;C
         < columns
         < complete
         < complete
         < error
         < failed : A;B;C=ok+ok+error
         > query X;Y
         < complete
         ! lost : X;Y=ok+lost",
    );
}

#[test]
fn a_copy_of_a_query_takes_data_and_nothing_else() {
    check(
        "> query copy a from stdin; copy b from stdin
         > data => wait
         > query A => wait
         < copy
         > data
         > flush => drop
         > query A => unexpected `Query` during COPY from the client
         > done
         > data => wait
         < complete
         > data => wait
         < copy
         > data
         > done
         > done => wait
         < complete
         < idle : copy a from stdin; copy b from stdin=ok+ok
         > data => drop
         > done => drop",
    );
    // It fails at once: `cannot copy to view`.
    check(
        "> query copy v from stdin
         < copy
         < error 42809
         > data => drop
         > done => drop
         > query A
         < idle : copy v from stdin=error
         < complete
         < idle : A=ok",
    );
}

#[test]
fn a_copy_of_an_execute_is_followed_by_its_sync() {
    let begin = "> parse - copy t from stdin
         > bind - -
         > execute - => = copy t from stdin flush
         > sync => wait
         < parsed : copy t from stdin=ok
         < bound";
    // Refused before it begins: the Sync counts.
    check(&format!("{begin}\n< error 42P01 : run -=error\n> sync\n< idle"));
    // It begins: the server swallows the Sync, and the client sends another one.
    check(&format!("{begin}\n< copy\n> sync => drop\n> data\n> done\n> sync\n< complete : run -=ok\n< idle"));
    check(&format!("{begin}\n< copy\n> sync => drop\n> data\n> done\n< error 57014 : run -=error\n> sync\n< idle"));
    // It fails in the middle: no second ReadyForQuery.
    check(&format!(
        "{begin}\n< copy\n> sync => drop\n> data\n< error 22P02 : run -=error
         > data => drop\n> done => drop\n> sync\n< idle"
    ));
    // It fails at once, before the server has looked for data: then it does see the Sync.
    check(&format!(
        "{begin}\n< copy\n> sync => drop\n< error 42809 : run -=error
         > query A => wait\n> sync => wait\n! owed\n> query A\n< idle\n< complete\n< idle : A=ok"
    ));
    check(&format!(
        "{begin}\n< copy\n> data\n> sync => drop\n> query A => unexpected `Query` during COPY from the client"
    ));
    // Without a Sync in between the group goes on.
    check(&format!(
        "{begin}\n< copy\n> data\n> done\n> parse - A\n> bind - -\n> execute - => = A\n> sync
         < error : run -=error, A=skipped, run -'=skipped\n< idle"
    ));
}

#[test]
fn a_row_limit_suspends() {
    check(
        "> parse - A
         > bind p -
         > execute p => = A
         > execute p => = A
         > sync
         < parsed : A=ok
         < bound
         < suspended : run p=suspended
         < complete : run p'=ok
         < idle",
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

#[test]
fn sql_shares_the_names() {
    let run = |sql: &str, then: &str| {
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
    };
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
    run(&simple("prepare u as U"), &means("u", "= prepare u as U"));
    run(&simple("deallocate S"), &means("s", "= ? flush"));
    run(&simple("deallocate s; prepare s as B"), &means("s", "= deallocate s; prepare s as B"));
    run(&simple("deallocate \"S\""), &means("s", "= A"));
    run(&simple("deallocate all"), &means("s", "= ? flush"));
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
    // The same by Execute.
    let executed = |sql: &str, answer: &str| {
        format!(
            "> parse - {sql}\n> bind - -\n> execute - => = {sql} flush\n> sync => wait
             < parsed : {sql}=ok\n< bound\n{answer}\n> sync\n< open"
        )
    };
    run(&executed("deallocate s", "< complete DEALLOCATE : run -=ok"), "> bind q s\n> execute q => = ? flush");
    run(&executed("deallocate s", "< error : run -=error"), "> bind q s\n> execute q => = A");
    run(&executed("do $$ x $$", "< error : run -=error"), "> bind q s\n> execute q => = A?");
    run(&executed("prepare u as U", "< complete PREPARE : run -=ok"), "> bind q u\n> execute q => = prepare u as U");
}

#[test]
fn names_are_compared_as_the_server_compares_them() {
    let long = "n".repeat(63);
    check(&format!(
        "> parse {long}1 A\n> bind - {long}2\n> execute - => = A\n> close statement {long}\n> bind - {long}3\n> execute - => = ? flush"
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
fn a_copy_is_refused_where_it_still_runs() {
    let begin = "> parse - copy t from stdin
         > bind - -
         > execute - => = copy t from stdin flush
         < parsed : copy t from stdin=ok
         < bound
         < copy
         ! mark
         > done";
    check(&format!("{begin}\n> sync\n< error : run -=error\n< idle"));
    let refused = format!("{begin}\n! refuse copy\n> sync\n< error 57014 : refusal run -=error\n< idle");
    check(&refused);
    // It has failed by itself meanwhile: the Sync's errors are its own.
    check(&format!("{begin}\n> sync\n< error 22P02 : run -=error\n! refuse copy\n< error\n< idle"));
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
    check("< error");
}

#[test]
fn long_pipelines_take_linear_time() {
    let mut stage = Stage::new();
    let tracker = &mut stage.tracker;
    let facts = TextFacts::default();
    tracker.parse(b"s", String::new(), facts.clone(), Vec::new(), 0).unwrap();
    let groups = 10_000_u32;
    let (mut sent, mut waited) = (0, 0);
    for key in 1..=groups {
        let name = key.to_string();
        for step in [
            tracker.parse(name.as_bytes(), String::new(), facts.clone(), Vec::new(), key).unwrap(),
            tracker.bind(b"", b"s", |_| ()).unwrap(),
            match tracker.execute(b"", key + groups).unwrap() {
                Step::Pass(running) => {
                    assert!(running.unwrap().portal.statement.is_some());
                    Step::Pass(())
                }
                Step::Wait => Step::Wait,
                Step::Drop => Step::Drop,
            },
        ] {
            match step {
                Step::Pass(()) => sent += 1,
                _ => waited += 1,
            }
        }
    }
    assert_eq!((sent, waited), (3 * groups, 0));
    // Beyond a bound the next frame waits until there are answers.
    while tracker.sync() == Step::Pass(()) {
        sent += 1;
    }
    assert!(sent < 40_000);
    tracker.answer(Answer::ParseComplete, 1).unwrap();
    assert_eq!(tracker.sync(), Step::Pass(()));
    tracker.lost();
    assert_eq!(tracker.finished().count(), 1 + 2 * usize::try_from(groups).unwrap());
}

/// If each change went through all names, this would take a thousand times as long.
#[test]
fn many_doubtful_changes_of_many_names_take_linear_time() {
    let mut stage = Stage::new();
    let tracker = &mut stage.tracker;
    for number in 0..50_000_u32 {
        let name = number.to_string();
        tracker.parse(name.as_bytes(), String::new(), TextFacts::default(), Vec::new(), number).unwrap();
        tracker.answer(Answer::ParseComplete, u64::from(number) + 1).unwrap();
    }
    let text = format!("select 1/0;{}", "discard all;".repeat(20_000));
    tracker.query(text.clone(), TextFacts::of(text.as_bytes()), 50_000).unwrap();
    let failure = Failure { sqlstate: b"22012".to_vec(), message: Vec::new() };
    tracker.answer(Answer::Error(failure), 50_001).unwrap();
    tracker.answer(Answer::Ready(TransactionStatus::Idle), 50_002).unwrap();
    for name in [b"0".as_slice(), b"49999"] {
        tracker.bind(b"", name, |_| ()).unwrap();
        let Step::Pass(Some(running)) = tracker.execute(b"", 50_001).unwrap() else { panic!("it runs") };
        assert!(!running.certain, "any of the names may be gone");
    }
}

mod properties;
