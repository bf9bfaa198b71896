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

mod copies;
mod errors;
mod flushes;
mod names;
mod properties;
mod scale;
