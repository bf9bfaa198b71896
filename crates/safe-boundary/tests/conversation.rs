//! Do the records say what a real PostgreSQL ran? Random pipelines, cut and delayed at random, against PostgreSQL 15.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has to stop, also in its support"
)]

#[path = "support/conversation/mod.rs"]
mod conversation;
#[allow(dead_code, reason = "the server is all that is needed of it here")]
#[path = "support/upstream/mod.rs"]
mod support;

use std::collections::{BTreeMap, HashMap};

use conversation::proxied::{Proxied, Result, Trouble, directly};
use conversation::script::{Dice, Script, Spice};
use conversation::values;
use conversation::witness::{self, Witness};
use domain::audit::record::Parameters;
use domain::statement::params;
use pgproto::frontend::Bind;
use serde_json::Value;
use support::postgres::Postgres;

/// What the server said that ends a statement, or shows which one ran.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Parsed,
    Row(String),
    Complete(String),
    Empty,
    Suspended,
    Called,
    Error(String),
}

fn events(mut raw: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some((frame, rest)) = pgproto::frame::split(raw).unwrap() {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_matches(['\0', '\n']).to_owned();
        let body = frame.body();
        match frame.tag() {
            b'1' => events.push(Event::Parsed),
            b'D' => events.push(Event::Row(text(&body[6..]))),
            b'd' => events.push(Event::Row(text(body))),
            b'C' => events.push(Event::Complete(text(body))),
            b'I' => events.push(Event::Empty),
            b's' => events.push(Event::Suspended),
            b'V' => events.push(Event::Called),
            b'E' => {
                let message = body.split(|byte| *byte == 0).find(|field| field.first() == Some(&b'M')).unwrap();
                events.push(Event::Error(text(&message[1..])));
            }
            _ => {}
        }
        raw = rest;
    }
    events
}

/// All that a record of a statement says, with the outcomes that name it.
fn statements(records: &[Value]) -> Vec<(&Value, Vec<Vec<Value>>)> {
    let mut outcomes: HashMap<&str, Vec<Vec<Value>>> = HashMap::new();
    let mut seen = Vec::new();
    for record in records {
        if record["kind"] == "outcome" {
            let of = record["of"].as_str().unwrap();
            assert!(seen.contains(&of), "an outcome before its record: {record}");
            let list = record["outcome"].as_array().cloned().unwrap_or_else(|| vec![record["outcome"].clone()]);
            outcomes.entry(of).or_default().push(list);
        } else if record["kind"] == "statement" {
            seen.push(record["id"].as_str().unwrap());
        }
    }
    let statements = records.iter().filter(|record| record["kind"] == "statement");
    let all: Vec<_> = statements
        .map(|record| (record, outcomes.remove(record["id"].as_str().unwrap()).unwrap_or_default()))
        .collect();
    assert!(outcomes.is_empty(), "outcomes of nothing: {outcomes:?}");
    all
}

/// Takes events in order; errors that no record begins with (of a Bind with its Execute, a Describe, a commit) are passed over.
struct Told {
    events: std::vec::IntoIter<Event>,
    passed_over: usize,
}

impl Told {
    /// The rows before the end of a statement, and that end.
    fn until_end(&mut self, wanted: &Event) -> (Vec<String>, Option<Event>) {
        let mut rows = Vec::new();
        for event in self.events.by_ref() {
            match event {
                Event::Row(row) => rows.push(row),
                Event::Error(_) if event != *wanted => self.passed_over += 1,
                event => return (rows, Some(event)),
            }
        }
        (rows, None)
    }
}

fn compare(result: &Result, hidden: bool) -> std::result::Result<(), String> {
    let mut told = Told { events: events(&result.server).into_iter(), passed_over: 0 };
    let mut undone = 0;
    for (record, outcomes) in statements(&result.records) {
        let statement = &record["statement"];
        let protocol = statement["protocol"].as_str().unwrap();
        if protocol == "copy" {
            if !outcomes.is_empty() {
                return Err(format!("an outcome of a COPY's data: {record}"));
            }
            continue;
        }
        match outcomes.get(1..) {
            Some([]) => {}
            Some([second]) if second[0]["result"] == "error" && protocol == "execute" => undone += 1,
            _ => return Err(format!("outcomes {outcomes:?} of {record}")),
        }
        for outcome in &outcomes[0] {
            let said = |field: &str| outcome[field].as_str().unwrap_or_default().to_owned();
            let wanted = match (said("result").as_str(), protocol) {
                ("skipped", _) => continue,
                ("suspended", _) => Event::Suspended,
                ("error", _) => Event::Error(said("message")),
                ("ok", "parse") => Event::Parsed,
                ("ok", "bind") => continue,
                ("ok", "function") => Event::Called,
                ("ok", _) if outcome.get("tag").is_none() => Event::Empty,
                ("ok", _) => Event::Complete(said("tag")),
                (other, _) => return Err(format!("result {other} of {record}")),
            };
            let (rows, came) = told.until_end(&wanted);
            if came.as_ref() != Some(&wanted) {
                return Err(format!("{record}\n  says {wanted:?}, the server said {came:?}"));
            }
            let shown = |mark: &String| statement["text"].as_str().is_some_and(|text| text.contains(mark.as_str()));
            let hedged = hidden && matches!(statement["resolution"].as_str(), Some("uncertain" | "unknown"));
            // Its rows are those of what was prepared, possibly long ago; the log names it.
            let is_by_name = statement["text"].as_str().is_some_and(|text| text.contains("execute "));
            if protocol != "function" && !rows.iter().all(shown) && !hedged && !is_by_name {
                return Err(format!("{record}\n  ran as {rows:?}"));
            }
            if statement["resolution"] == "unknown" && wanted != Event::Error(said("message")) && !hidden {
                return Err(format!("{record}\n  ran as {wanted:?}"));
            }
        }
    }
    let (errors, rest): (Vec<Event>, Vec<Event>) = told.events.partition(|event| matches!(event, Event::Error(_)));
    if !rest.is_empty() {
        return Err(format!("the server said {rest:?}, and no record does"));
    }
    let left = told.passed_over + errors.len();
    if undone > left {
        return Err(format!("{undone} executions are said to be undone, by {left} errors"));
    }
    Ok(())
}

/// What the records say, without what differs from run to run: ids, and whether data still went up to a COPY that had
/// failed already.
fn content(result: &Result) -> Vec<String> {
    // How many pieces of COPY data there are, and whether a Bind comes with its Execute, is for the pieces to say.
    let is_cut = |record: &Value| matches!(record["statement"]["protocol"].as_str(), Some("bind" | "copy"));
    let statements = statements(&result.records).into_iter().filter(|(record, _)| !is_cut(record));
    let told = |(record, mut outcomes): (&Value, Vec<Vec<Value>>)| {
        // With its Bind it has the error of that Bind, without it is skipped.
        let results = outcomes.iter_mut().flatten().filter(|one| one["result"] == "skipped");
        results.for_each(|one| one["result"] = "error".into());
        format!("{} {outcomes:?}", record["statement"])
    };
    statements.map(told).collect()
}

/// What the client got, without the numbers that calls return: new large objects have new ones.
fn without_results(mut raw: &[u8]) -> Vec<(u8, &[u8])> {
    let mut messages = Vec::new();
    while let Some((frame, rest)) = pgproto::frame::split(raw).unwrap() {
        messages.push((frame.tag(), if frame.tag() == b'V' { &b""[..] } else { frame.body() }));
        raw = rest;
    }
    messages
}

/// How many pipelines of each kind; `CONVERSATION_SEED` runs one, `CONVERSATION_PIPELINES` more.
fn seeds(many: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    number("CONVERSATION_SEED").map_or(0..number("CONVERSATION_PIPELINES").unwrap_or(many), |seed| seed..seed + 1)
}

/// One kind of pipelines.
#[derive(Clone, Copy, Debug, Default)]
struct Kind {
    spice: Spice,
    trouble: Trouble,
}

/// Many runs.
struct Runs<'s> {
    server: &'s Postgres,
    witness: Witness,
    seen: Seen,
}

/// What they have seen.
#[derive(Debug, Default)]
struct Seen {
    pipelines: usize,
    statements: usize,
    outcomes: BTreeMap<String, usize>,
    refused: usize,
    cancels: usize,
    /// Of the server, by itself.
    crashes: usize,
}

impl Runs<'_> {
    fn one(&mut self, seed: u64, kind: Kind) -> std::result::Result<(), String> {
        let (spice, port) = (kind.spice, self.server.port);
        let script = Script::random(seed, spice);
        let told = |what: String| format!("seed {seed} of {kind:?}: {what}\n{}", script.story.join("\n"));
        let result = match Proxied::new(port, seed, &script.bytes, kind.trouble).run() {
            Ok(result) => result,
            // It forgets all about what it ran: nothing is left to compare.
            Err(_) if self.witness.has_crashed() => {
                self.seen.crashes += 1;
                return Ok(());
            }
            Err(why) => return Err(told(why)),
        };
        compare(&result, spice.hidden || kind.trouble.cancels).map_err(told)?;
        let statements = statements(&result.records);
        witness::agree(&self.witness.statements(result.pid), &statements).map_err(told)?;
        self.seen.count(&result, &statements);
        let is_plain = result.refused == 0 && !spice.early_sync && !kind.trouble.cancels;
        if !is_plain {
            return Ok(());
        }
        let again = Proxied::new(port, !seed, &script.bytes, Trouble::default()).run().map_err(told)?;
        if content(&again) != content(&result) {
            return Err(told("the records say something else when the bytes come in other pieces".to_owned()));
        }
        if without_results(&result.client) != without_results(&directly(port, &script.bytes)) {
            return Err(told("the server says something else when nobody stands between".to_owned()));
        }
        Ok(())
    }
}

impl Seen {
    fn count(&mut self, result: &Result, statements: &[(&Value, Vec<Vec<Value>>)]) {
        self.pipelines += 1;
        self.statements += statements.len();
        self.refused += result.refused;
        self.cancels += result.cancels;
        for outcome in statements.iter().flat_map(|(_, outcomes)| outcomes.iter().flatten()) {
            *self.outcomes.entry(outcome["result"].to_string()).or_default() += 1;
        }
    }
}

/// Runs so many pipelines of each kind: everyday, hidden names, early Syncs, a full journal, cancels.
fn pipelines(times: u64) {
    let server = Postgres::start(None);
    let kinds = [
        (Kind::default(), 120),
        (Kind { spice: Spice { hidden: true, ..Spice::default() }, ..Kind::default() }, 50),
        (Kind { spice: Spice { early_sync: true, ..Spice::default() }, ..Kind::default() }, 50),
        (Kind { trouble: Trouble { refuses: true, ..Trouble::default() }, ..Kind::default() }, 80),
        (
            Kind {
                spice: Spice { early_sync: true, slow: true, ..Spice::default() },
                trouble: Trouble { cancels: true, ..Trouble::default() },
            },
            50,
        ),
    ];
    let witness = Witness::of(&server);
    let mut runs = Runs { server: &server, witness, seen: Seen::default() };
    let mut wrong = Vec::new();
    for (kind, many) in kinds {
        for seed in seeds(many * times) {
            wrong.extend(runs.one(seed, kind).err());
            assert!(wrong.len() < 3, "{}", wrong.join("\n\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    let Runs { witness, seen: Seen { pipelines, statements, outcomes, refused, cancels, crashes }, .. } = runs;
    println!(
        "{pipelines} pipelines: {statements} statements recorded, {outcomes:?}; the server logged {} of them, none \
         besides; {refused} reads refused, {cancels} cancels; the server itself crashed {crashes} times",
        witness.heard
    );
}

#[test]
fn records_say_what_the_server_ran() {
    pipelines(1);
}

mod long {
    #[test]
    fn records_say_what_the_server_ran() {
        super::pipelines(10);
    }
}

#[test]
fn binary_parameters_read_as_the_server_prints_them() {
    let server = Postgres::start(None);
    let mut wrong = Vec::new();
    for (oid, name, element) in values::TYPES {
        let mut dice = Dice::new(u64::from(oid));
        for _ in 0..4 {
            let sent: Vec<Vec<u8>> = (0..500).map(|_| values::value(&mut dice, oid, element)).collect();
            let printed = values::printed(server.port, name, &sent);
            let body = values::bind(&sent);
            let types = vec![oid; sent.len()];
            let json = params::encode(&Bind::parse(&body).unwrap(), &types, Parameters::Full, None).unwrap();
            let recorded: Vec<Value> = serde_json::from_slice(&json).unwrap();
            assert_eq!((recorded.len(), printed.len()), (sent.len(), sent.len()));
            for ((recorded, printed), sent) in recorded.iter().zip(&printed).zip(&sent) {
                if recorded["value"] != *printed.as_str() {
                    wrong.push(format!("{name} {sent:02x?}: {recorded}, the server prints {printed:?}"));
                }
            }
        }
    }
    let many = wrong.len();
    wrong.truncate(60);
    assert!(wrong.is_empty(), "{many} differ:\n{}", wrong.join("\n"));
}
