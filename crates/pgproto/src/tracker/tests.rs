//! Conversations in a small language, and properties of random ones.
//!
//! A line is a frame of the client with the step expected of it, an answer of the server with what it ends, or a stage
//! direction: `> parse s A` passes; `> bind p s => wait` waits; `=> pass flush` wants a Flush behind it;
//! `> execute p => = A` runs A (`A?` uncertainly, `?` nobody knows); `> bindalone p s` is a Bind with a record of its own,
//! `> run p s` a Bind and its Execute with one; `< parsed : A=ok` ends A's request; `! mark` and `! refuse` refuse what stands
//! between them. `-` is the empty name. Keys are the texts, `bind p` and `run p`; what is used again gets `'` behind it.

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

    /// A Bind with a record of its own.
    fn bind_alone(&mut self, shown: &str, portal: &[u8], statement: &[u8]) -> String {
        let (mark, key) = (self.tracker.mark(), self.key(&format!("bind {shown}")));
        let told = step(self.tracker.bind(portal, statement, |_| ()).map(|step| step.map(drop)));
        self.tracker.record_bind(mark, key);
        told
    }

    /// An Execute: says what it runs.
    fn execute(&mut self, shown: &str, portal: &[u8]) -> String {
        let key = self.key(&format!("run {shown}"));
        match self.tracker.execute(portal, key) {
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

    /// A Bind and its Execute with one record and a Describe between them.
    fn bind_and_execute(&mut self, shown: &str, portal: &[u8], statement: &[u8]) -> String {
        let mark = self.tracker.mark();
        assert_eq!(step(self.tracker.bind(portal, statement, |_| ()).map(|step| step.map(drop))), "pass");
        assert_eq!(step(self.tracker.describe(Target::Portal(portal))), "pass");
        let told = self.execute(shown, portal);
        self.tracker.join_bind(mark);
        told
    }

    /// Does what a line says, and says what came of it.
    fn client(&mut self, line: &str) -> String {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (name, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let bytes = |name: &str| if name == "-" { Vec::new() } else { name.as_bytes().to_vec() };
        let target = |name: &str, text: &str| (name == "statement", bytes(text));
        let before = self.names.len();
        let told = match verb {
            "query" => {
                let key = self.key(rest);
                step(self.tracker.query(rest.to_owned(), TextFacts::of(rest.as_bytes()), key))
            }
            "parse" => {
                let key = self.key(text);
                let facts = TextFacts::of(text.as_bytes());
                step(self.tracker.parse(&bytes(name), text.to_owned(), facts, &[], key))
            }
            "bind" => step(self.tracker.bind(&bytes(name), &bytes(text), |_| ()).map(|step| step.map(drop))),
            "bindalone" => self.bind_alone(name, &bytes(name), &bytes(text)),
            "execute" => self.execute(name, &bytes(name)),
            "run" => self.bind_and_execute(name, &bytes(name), &bytes(text)),
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
                let sqlstate = if rest.is_empty() { "42601" } else { rest };
                Answer::Error(Failure { sqlstate: sqlstate.into(), message: b"no".to_vec() })
            }
            "fatal" => Answer::Fatal(Failure { sqlstate: b"57P01".to_vec(), message: b"no".to_vec() }),
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

fn step(step: Result<Step, DuringCopy>) -> String {
    match step {
        Ok(Step::Pass(())) => "pass".to_owned(),
        Ok(Step::Wait) => "wait".to_owned(),
        Ok(Step::Drop) => "drop".to_owned(),
        Err(error) => error.to_string(),
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

#[test]
fn a_bind_with_a_record_of_its_own_has_an_outcome() {
    check(
        "> parse s A
         > bindalone p s
         > bindalone q s
         > execute p => = A
         > sync
         < parsed : A=ok
         < bound : bind p=ok
         < error : bind q=error, run p=skipped
         < idle",
    );
    check("> parse - A\n< error : A=error\n> bindalone - -\n! ended : bind -=skipped\n> sync\n< idle");
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
fn a_server_that_repeats_itself_takes_no_memory() {
    check("> query A\n< error\n< error\n< error\n< idle : A=error");
    check("> query A\n< copy\n< copy : unexpected `CopyInResponse` from the server");
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

#[test]
fn long_pipelines_take_linear_time() {
    let mut stage = Stage::new();
    let tracker = &mut stage.tracker;
    let facts = TextFacts::default();
    tracker.parse(b"s", String::new(), facts.clone(), &[], 0).unwrap();
    let groups = 10_000_u32;
    let (mut sent, mut waited) = (0, 0);
    for key in 1..=groups {
        let name = key.to_string();
        for step in [
            tracker.parse(name.as_bytes(), String::new(), facts.clone(), &[], key).unwrap(),
            tracker.bind(b"", b"s", |_| ()).unwrap().map(drop),
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
        tracker.parse(name.as_bytes(), String::new(), TextFacts::default(), &[], number).unwrap();
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

/// If each ReadyForQuery looked at all of them, these would be five billion looks: more than a test's time.
#[test]
fn many_syncs_beside_many_held_cursors_take_linear_time() {
    let mut stage = Stage::new();
    let tracker = &mut stage.tracker;
    let mut at = 0;
    let mut answer = |tracker: &mut Told, answer| {
        at += 1;
        tracker.answer(answer, at).unwrap();
    };
    for number in 0..50_000 {
        let text = format!("declare c{number} cursor with hold for select 1");
        tracker.query(text.clone(), TextFacts::of(text.as_bytes()), 0).unwrap();
        answer(tracker, Answer::Complete(b"DECLARE CURSOR"));
        answer(tracker, Answer::Ready(TransactionStatus::Idle));
    }
    assert_eq!(tracker.names(), 50_000);
    for _ in 0..100_000 {
        assert_eq!(tracker.sync(), Step::Pass(()));
        answer(tracker, Answer::Ready(TransactionStatus::Idle));
    }
    assert_eq!(tracker.names(), 50_000);
}

mod copies;
mod flushes;
mod names;
mod properties;
