use clap::Parser;
use domain::audit::id::{IdSource, RecordId};
use domain::audit::pending::Unrecorded;
use domain::audit::record::{
    Batch, Body, ClientFields, Content, Context, ContextFields, Decision, Head, Kind, Outcome, Protocol, Statement,
    SubjectFields,
};
use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::trail::journal::{Journal, Options};

mod forged;
mod searching;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    audit: AuditArgs,
}

/// A journal under construction, its clock an hour further with each record.
struct Trail {
    dir: TempDir,
    journal: Journal,
    ids: IdSource,
    hours: i64,
}

impl Trail {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options =
            Options { segment_bytes: 8 << 10, clock: || Timestamp::UNIX_EPOCH, ..Options::new("n".to_owned()) };
        let (journal, _) = Journal::open(dir.path(), options, IdSource::new([1; 6])).unwrap();
        Self { dir, journal, ids: IdSource::new([2; 6]), hours: 0 }
    }

    fn record(&mut self, kind: Kind, person: &str, database: &str, body: &Body<'_>) -> RecordId {
        self.hours += 1;
        let time = Timestamp::from_second(self.hours * 3600).unwrap();
        let id = self.ids.record(time);
        let subject =
            SubjectFields { iss: "i", sub: "s", login: person, groups: &[], acr: None, amr: &[], auth_time: None };
        let address = [127, 0, 0, 1].into();
        let client = ClientFields { address, port: 1, program: Some("psql"), tls: None, login: Some(person) };
        let proved = kind != Kind::Login;
        let context = Context::new(&ContextFields {
            subject: proved.then_some(subject),
            database: Some(database),
            served: (database == "payments" && person.starts_with("carol")).then_some("staging"),
            role: proved.then_some("rw"),
            client: Some(client),
            ..ContextFields::default()
        });
        let mut batch = Batch::default();
        batch.push(&Head { id, time, node: "n", kind, session: None, seq: 1 }, &context, body);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.journal.append(Unrecorded::new(batch, ()))).unwrap();
        id
    }

    fn statement(&mut self, person: &str, database: &str, text: &str) -> RecordId {
        let params = Some(Content::Bytes(br#"[{"type":"int4","format":"text","value":"4711"}]"#));
        let text = Some(Content::Bytes(text.as_bytes()));
        let statement = Statement { params, ..Statement::new(Protocol::Execute, text) };
        self.record(Kind::Statement, person, database, &Body::Statement(&statement))
    }

    fn outcome(&mut self, of: RecordId, person: &str, result: &'static str, tag: &str, message: Option<&str>) {
        self.outcome_so(of, person, result, tag, message, false);
    }

    fn outcome_so(
        &mut self,
        of: RecordId,
        person: &str,
        result: &'static str,
        tag: &str,
        message: Option<&str>,
        again: bool,
    ) {
        let sqlstate = message.map(|_| "42501".to_owned());
        let outcome = Outcome {
            result,
            tag: Some(tag.to_owned()),
            sqlstate,
            message: message.map(str::to_owned),
            ..Outcome::default()
        };
        let body = Body::Outcome { of, outcomes: &[outcome], duration_us: 5, bytes: 6, again };
        self.record(Kind::Outcome, person, "payments", &body);
    }

    /// A little story: two people, two databases, an error, a sign-in, and a long text.
    fn story() -> Self {
        let mut trail = Self::new();
        let decision = Decision { effect: "prompted", rules: &[], reason: None };
        trail.record(Kind::Login, "alice@example.com", "payments", &Body::Decision(&decision));
        let first = trail.statement("alice@example.com", "payments", "select * from Cards where id = $1");
        let second = trail.statement("bob@example.com", "payments", "drop table cards");
        trail.outcome(second, "bob@example.com", "error", "", Some("permission denied"));
        trail.outcome(first, "alice@example.com", "ok", "SELECT 1", None);
        trail.statement("alice@example.com", "reports", &format!("select '{}needle'", "hay ".repeat(10_000)));
        trail.record(Kind::End, "alice@example.com", "payments", &Body::End { reason: "client left", statements: 1 });
        trail
    }

    fn run(&self, line: &str) -> (Exit, String) {
        let words = std::iter::once("audit").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).unwrap();
        let mut out = Vec::new();
        let exit = run(self.dir.path(), &line.audit.command, &mut out).unwrap();
        (exit, String::from_utf8(out).unwrap())
    }

    /// Searches for statements, of which so much may be kept.
    fn search(&self, line: &str, records: usize, bytes: usize) -> String {
        let words = ["audit", "search", "--kind", "statement"].into_iter().chain(line.split_whitespace());
        let AuditCommand::Search(args) = Line::try_parse_from(words).unwrap().audit.command else { panic!("a search") };
        let mut out = Vec::new();
        search::search(self.dir.path(), &args, search::Waiting { records, bytes }, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// Why it cannot be carried out, and what it printed before.
    fn fail(&self, line: &str) -> (String, String) {
        let words = std::iter::once("audit").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).unwrap();
        let mut out = Vec::new();
        let failure = run(self.dir.path(), &line.audit.command, &mut out).unwrap_err();
        (failure.to_string(), String::from_utf8(out).unwrap())
    }
}

/// The same name may be served by several.
#[test]
fn a_table_says_what_served_where_that_has_another_name() {
    let mut trail = Trail::new();
    trail.statement("alice@example.com", "payments", "select 1");
    trail.statement("carol@example.com", "payments", "select 1");
    for line in ["search", "tail --no-follow -n 2"] {
        let (_, out) = trail.run(line);
        let rows = out.lines().filter(|line| line.contains("example.com"));
        let databases: Vec<_> = rows.filter_map(|line| line.split_whitespace().nth(2)).collect();
        assert_eq!(databases, ["payments", "payments@staging"], "{out}");
    }
}

#[test]
fn what_the_record_doubts_is_doubted_in_every_format() {
    let mut trail = Trail::new();
    let text = Some(Content::Bytes(b"select 'A'"));
    for (protocol, uncertain) in [(Protocol::Execute, true), (Protocol::Bind, true), (Protocol::Execute, false)] {
        let statement = Statement { uncertain, ..Statement::new(protocol, text) };
        trail.record(Kind::Statement, "alice@example.com", "payments", &Body::Statement(&statement));
    }
    let unknown = Statement::new(Protocol::Execute, None);
    trail.record(Kind::Statement, "alice@example.com", "payments", &Body::Statement(&unknown));
    for line in ["search", "search --wide", "tail --no-follow -n 4"] {
        let (_, out) = trail.run(line);
        let rows: Vec<&str> = out.lines().filter(|row| row.contains("alice")).collect();
        let ends =
            [" (uncertain) select 'A'", " (uncertain) (bind) select 'A'", " select 'A'", " (a name nobody knows)"];
        assert!(
            rows.len() == ends.len() && rows.iter().zip(ends).all(|(row, end)| row.ends_with(end)),
            "{line}: {out}"
        );
        assert_eq!(out.matches("uncertain").count(), 2, "{line}: {out}");
    }
    for line in ["search --csv --kind statement", "export --format csv"] {
        let rows = parse_csv(&trail.run(line).1);
        let at = rows[0].iter().position(|name| name == "resolution").unwrap();
        let found: Vec<&str> = rows[rows.len() - 4..].iter().map(|row| row[at].as_str()).collect();
        assert_eq!(found, ["uncertain", "uncertain", "", "unknown"], "{line}");
    }
}

#[test]
fn one_record_stays_one_record_in_every_format() {
    let mut trail = Trail::new();
    let odd =
        ["a\nb", "=cmd|' /C calc'!A0", "\x1b[2J", "\"", "a,b;c", "\u{2028}", "\u{202e}x", "\r\n", "CEF|0", "\u{0}"];
    odd.iter().for_each(|text| {
        trail.statement("alice@example.com", "payments", text);
    });
    let (_, json) = trail.run("export --format json");
    let texts: Vec<String> = json
        .split('\n')
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|value| value["statement"]["text"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(texts, odd);
    let (_, csv) = trail.run("export --format csv");
    let rows = parse_csv(&csv);
    assert_eq!(rows.len(), odd.len() + 2, "a heading, the start, and the statements");
    assert!(rows.iter().all(|row| row.len() == rows[0].len()));
    let texts: Vec<&str> = rows[2..].iter().map(|row| row[1].strip_prefix('\'').unwrap_or(&row[1])).collect();
    let spelled = odd.map(|text| text.replace('\x1b', "\\u{1b}").replace('\0', "\\u{0}"));
    assert_eq!(texts, spelled, "what commands a terminal is spelled out; the rest stands as it came");
    assert!(rows.iter().flatten().all(|cell| !cell.starts_with(['=', '+', '-', '@', '\t', '\r'])));
    let (_, csv) = trail.run("search --csv");
    assert_eq!(parse_csv(&csv).len(), odd.len() + 2);
    for line in ["search", "tail --no-follow -n 100"] {
        let (_, table) = trail.run(line);
        assert!(table.chars().all(|c| c == '\n' || !c.is_control()), "{table:?}");
        assert!(!table.contains(['\u{2028}', '\u{202e}']));
        let rows = table.lines().filter(|line| line.contains("statement")).count();
        assert_eq!(rows, odd.len(), "{table}");
    }
}

/// Rows of cells (RFC 4180).
fn parse_csv(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => cell.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !quoted && chars.peek() == Some(&'\n') => {}
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            _ => cell.push(c),
        }
    }
    rows
}

#[test]
fn export_gives_the_entries_byte_for_byte_and_only_those_of_the_range() {
    let trail = Trail::story();
    let mut reader = read::Reader::open(trail.dir.path()).unwrap();
    let mut expected = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        expected.extend(entry.bytes);
        expected.push(b'\n');
    }
    assert_eq!(trail.run("export").1.into_bytes(), expected);
    assert_eq!(trail.run("export --from 1970-01-01T02:00 --to 1970-01-01T04:00").1.lines().count(), 2);
}

#[test]
fn tail_begins_with_the_newest_and_ends_when_nobody_reads() {
    /// Takes so many lines, then is gone.
    struct Reader(usize, Vec<u8>);
    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.1.iter().filter(|byte| **byte == b'\n').count() >= self.0 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut trail = Trail::story();
    let (_, out) = trail.run("tail --no-follow -n 2 --json");
    let kinds: Vec<Value> =
        out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].clone()).collect();
    assert_eq!(kinds, ["statement", "end"]);
    assert_eq!(trail.run("tail --no-follow -n 1000").1.lines().count(), 8);
    let dir = trail.dir.path().to_owned();
    let following = std::thread::spawn(move || {
        let mut out = Reader(3, Vec::new());
        let exit = tail::run(&dir, &tail::Args { lines: 1, json: false, no_follow: false }, &mut out).unwrap();
        (exit, String::from_utf8(out.1).unwrap())
    });
    while !following.is_finished() {
        trail.statement("carol@example.com", "payments", "select now()");
    }
    let (exit, out) = following.join().unwrap();
    assert_eq!((exit, out.lines().count()), (Exit::Fine, 3), "{out}");
    assert!(out.lines().last().unwrap().contains("carol@example.com"), "{out}");
}

#[test]
fn verify_holds_the_trail_against_a_head_that_was_kept_outside() {
    let mut trail = Trail::story();
    let (exit, out) = trail.run("verify");
    assert_eq!(exit, Exit::Fine, "{out}");
    let head = out.split("head ").nth(1).unwrap().lines().next().unwrap().to_owned();
    trail.statement("alice@example.com", "payments", "later");
    assert_eq!(trail.run(&format!("verify --head {head}")).0, Exit::Fine);
    let (exit, out) = trail.run(&format!("verify --head 3:{}", "0".repeat(64)));
    assert!(exit == Exit::Findings && out.contains("finding: record 2"), "{out}");
    let (exit, out) = trail.run(&format!("verify --head 99:{}", "0".repeat(64)));
    assert!(exit == Exit::Findings && out.contains("ends before record 99"), "{out}");
    assert!(Line::try_parse_from(["audit", "verify", "--head", "1:xyz"]).is_err());
}

#[test]
fn names_of_a_strangers_files_command_no_terminal() {
    let trail = Trail::story();
    std::fs::write(trail.dir.path().join("journal/torn-\u{1b}[2J\nthe chain holds"), "x").unwrap();
    let (exit, out) = trail.run("verify");
    assert_eq!(exit, Exit::Fine, "{out}");
    assert!(out.contains(r"torn-\u{1b}[2J\nthe chain holds"), "{out}");
}

/// A copy of a trail may hold in the place of a blob what never ends, or what is elsewhere.
#[test]
fn what_is_no_file_is_not_read_for_a_blob() {
    let mut trail = Trail::story();
    trail.statement("alice@example.com", "payments", &"x".repeat(20_000));
    assert_eq!(trail.run("verify").0, Exit::Fine);
    let blobs = trail.dir.path().join("blobs/sha256");
    let folder = std::fs::read_dir(blobs).unwrap().next().unwrap().unwrap().path();
    let blob = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_file(&blob).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &blob).unwrap();
    let (exit, out) = trail.run("verify");
    assert!(exit == Exit::Findings && out.contains(" is not a file"), "{out}");
    assert_eq!(trail.run("search word").0, Exit::Fine);
    std::fs::remove_file(&blob).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &blob, rustix::fs::Mode::RUSR).unwrap();
    let (exit, out) = trail.run("verify");
    assert!(exit == Exit::Findings && out.contains(" is not a file"), "{out}");
    // One that is longer than its record says is read no further.
    std::fs::remove_file(&blob).unwrap();
    std::fs::write(&blob, "x".repeat(20_001)).unwrap();
    let (exit, out) = trail.run("verify");
    assert!(exit == Exit::Findings && out.contains("has other content"), "{out}");
}

#[test]
fn a_folder_without_a_journal_is_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    for line in ["verify", "search", "tail", "export"] {
        let command = Line::try_parse_from(["audit", line]).unwrap().audit.command;
        let failure = run(dir.path(), &command, &mut Vec::new()).unwrap_err();
        assert!(failure.to_string().ends_with("holds no journal"), "{failure}");
    }
}

#[test]
fn the_folder_may_be_named_in_several_places() {
    let read =
        |line: &str| Line::try_parse_from(std::iter::once("audit").chain(line.split_whitespace())).unwrap().audit;
    let check = |line: &str, expected: Option<&str>| {
        assert_eq!(read(line).dir().unwrap(), expected.map(Path::new));
    };
    check("verify", None);
    check("verify here", Some("here"));
    check("verify --dir there", Some("there"));
    check("verify --dir here here", Some("here"));
    check("--dir there tail", Some("there"));
    check("search --dir there word", Some("there"));
    for line in ["--dir there verify here", "verify --dir there here"] {
        let told = read(line).dir().unwrap_err().to_string();
        assert_eq!(told, "expected one audit folder, found two: `here` and `--dir there`");
    }
}
