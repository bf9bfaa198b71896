//! The house rules as a test: sizes, floors, module docs, words.
//!
//! Promises: every rule names each place that breaks it; an exception stands here with its reason, or there is none.
//! Deliberately not here: what rustfmt and clippy see.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on panics"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;

/// A source file.
struct Source {
    /// Relative to the checkout, with forward slashes.
    path: String,
    text: String,
}

impl Source {
    /// The lines above the unit tests; none of a file that is nothing but tests.
    fn product(&self) -> Vec<&str> {
        if self.is_test() {
            return Vec::new();
        }
        let lines: Vec<_> = self.text.lines().collect();
        let tests = lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1] == "mod tests {");
        lines[..tests.unwrap_or(lines.len())].to_vec()
    }

    /// As [`Source::product`], with the line numbers, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.product().into_iter().enumerate().map(|(index, line)| (index + 1, line));
        numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    fn is_in(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the checkout")
}

/// All Rust files of the workspace but this one, which has to name what it forbids.
fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders = vec![root().join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("UTF-8");
                let path = path.strip_prefix(root()).expect("within").display().to_string();
                sources.push(Source { path, text });
            }
        }
    }
    sources.retain(|source| source.path != "crates/safe-boundary/tests/tidy.rs");
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(sources.len() > 50, "only {} files were found", sources.len());
    sources
}

/// Fails with every broken place, so that one run shows all.
fn check(rule: &str, broken: impl IntoIterator<Item = String>) {
    let broken: Vec<_> = broken.into_iter().collect();
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn files_hold_one_idea() {
    let long = |source: &Source| {
        let lines = source.product().len();
        (lines > FILE_LINES_MAX).then(|| format!("{}: {lines}", source.path))
    };
    check("files over 400 lines without their unit tests", sources().iter().filter_map(long));
}

#[test]
fn functions_fit_on_a_screen() {
    let mut long = Vec::new();
    for source in sources() {
        let lines: Vec<_> = source.text.lines().collect();
        for (start, line) in lines.iter().enumerate().filter(|(_, line)| starts_function(line)) {
            let end = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
            let length = lines[start..].iter().position(|line| *line == end).unwrap_or(0);
            if length > FUNCTION_LINES_MAX {
                long.push(format!("{}:{}: {length}", source.path, start + 1));
            }
        }
    }
    check("functions over 70 lines", long);
}

fn starts_function(line: &str) -> bool {
    let is_comment = line.trim_start().starts_with("//");
    line.split_whitespace().take(6).any(|word| word == "fn") && !is_comment && !line.ends_with([';', '}'])
}

#[test]
fn a_function_is_known_by_its_first_line() {
    let cases = [
        ("fn a() {", true),
        ("    pub(crate) async fn a<T>(", true),
        ("    pub const fn a(&self) -> u8 {", true),
        ("    fn a(&self);", false),
        ("fn a() {}", false),
        ("// a fn of mine (", false),
        ("    let f: fn() = a;", false),
    ];
    for (line, expected) in cases {
        assert_eq!(starts_function(line), expected, "{line}");
    }
}

/// What each crate may use: a floor is what its manifest lets it name.
#[test]
fn floors_depend_downwards_only() {
    let floors: [(&str, &[&str]); 3] = [
        ("tlog", &["sha2"]),
        ("pgproto", &["memchr", "thiserror"]),
        (
            "domain",
            &[
                "base64",
                "jiff",
                "memchr",
                "jsonwebtoken",
                "pgproto",
                "schemars",
                "serde",
                "serde_json",
                "sha2",
                "thiserror",
                "tlog",
                "uuid",
                "zeroize",
            ],
        ),
    ];
    for (floor, allowed) in floors {
        let manifest = fs::read_to_string(root().join(format!("crates/{floor}/Cargo.toml"))).expect("a manifest");
        let (_, dependencies) = manifest.split_once("[dependencies]").expect("dependencies");
        let dependencies = dependencies.lines().skip(1).take_while(|line| !line.starts_with('['));
        let names = dependencies.filter_map(|line| line.split(['.', ' ', '=']).next()).filter(|name| !name.is_empty());
        let foreign: BTreeSet<_> = names.filter(|name| !allowed.contains(name)).map(str::to_owned).collect();
        check(&format!("dependencies that {floor} must not have"), foreign);
    }
}

/// What a floor may not even name.
#[test]
fn floors_know_only_their_own() {
    // Deciding is pure: whoever decides gets time, bytes and randomness as arguments. Addresses are values, and allowed.
    const IMPURE: [&str; 11] = [
        "tokio",
        "std::fs",
        "std::env",
        "std::process",
        "std::thread",
        "std::io",
        "SystemTime",
        "Instant::now",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
    ];
    // Bytes know neither what they are for nor each other.
    const PRODUCT: [&str; 6] = ["safe_boundary", "safe-boundary", "Safe Boundary", "oidc", "role_mapping", "journal"];
    let floors: [(&str, &[&str]); 5] = [
        ("crates/domain/src/", &IMPURE),
        ("crates/pgproto/src/", &IMPURE),
        ("crates/tlog/src/", &IMPURE),
        ("crates/pgproto/src/", &PRODUCT),
        ("crates/tlog/src/", &PRODUCT),
    ];
    let mut named = Vec::new();
    for source in sources() {
        for (_, words) in floors.iter().filter(|(floor, _)| source.is_in(floor)) {
            for (number, line) in source.code() {
                named.extend(words.iter().filter(|word| line.contains(*word)).map(|word| place(&source, number, word)));
            }
        }
    }
    check("words that a floor must not know", named);
}

fn place(source: &Source, number: usize, what: &str) -> String {
    format!("{}:{number}: {what}", source.path)
}

#[test]
fn modules_say_what_they_promise() {
    let mut silent = Vec::new();
    for source in sources() {
        let docs: String = source.text.lines().take_while(|line| line.starts_with("//!")).collect();
        // The binary hands over to the library in one line, an example shows one thing: there is nothing to promise.
        let promises =
            source.is_in("crates/") && source.path.contains("/src/") && !source.path.ends_with("/src/main.rs");
        let parts: &[&str] =
            if promises && !source.is_test() { &["Promises:", "Deliberately not here:"] } else { &["//!"] };
        let missing = parts.iter().filter(|part| !docs.contains(*part));
        // Unit tests are a part of the module whose promises they try.
        silent.extend(
            missing.filter(|_| !source.path.contains("/src/") || !source.is_test()).map(|part| place(&source, 1, part)),
        );
    }
    check("modules that do not say what they are", silent);
}

#[test]
fn crate_roots_are_only_a_table_of_contents() {
    let mut busy = Vec::new();
    for source in sources().iter().filter(|source| source.path.ends_with("/src/lib.rs")) {
        let allowed = |line: &str| {
            line.is_empty() || line.starts_with("pub mod ") || line.starts_with("mod ") || line == "#[cfg(test)]"
        };
        busy.extend(source.code().filter(|(_, line)| !allowed(line)).map(|(number, line)| place(source, number, line)));
    }
    check("crate roots with more than docs and `mod` lines", busy);
}

/// Words that say nothing: what does a manager do?
#[test]
fn names_say_what_a_thing_is() {
    const EMPTY: [&str; 6] = ["Manager", "Helper", "Util", "Data", "Info", "Processor"];
    // Names that PostgreSQL's documentation gives to its messages.
    const POSTGRES: [&str; 3] = ["CopyData", "DataRow", "BackendKeyData"];
    let mut vague = Vec::new();
    for source in sources() {
        for (number, line) in source.code() {
            let mut words =
                line.split(|char: char| !char.is_alphanumeric() && char != '_').filter(|word| !word.is_empty());
            while let Some(word) = words.next() {
                let Some(name) =
                    ["struct", "enum", "trait", "type", "fn", "mod"].contains(&word).then(|| words.next()).flatten()
                else {
                    continue;
                };
                let is_empty = words_of(name).any(|word| EMPTY.contains(&word)) && !POSTGRES.contains(&name);
                if is_empty
                    || (word == "fn" && name.starts_with("get_"))
                    || (word == "mod" && ["util", "utils", "helpers"].contains(&name))
                {
                    vague.push(place(&source, number, name));
                }
            }
        }
    }
    check("names that say nothing", vague);
}

/// The words of a name in camel case: `KeyData` is `Key` and `Data`, `Database` is one word.
fn words_of(name: &str) -> impl Iterator<Item = &str> {
    let mut starts: Vec<_> = name.char_indices().filter(|(_, char)| char.is_uppercase()).map(|(at, _)| at).collect();
    starts.push(name.len());
    (1..starts.len()).map(move |place| &name[starts[place - 1]..starts[place]])
}

#[test]
fn nothing_is_left_for_later() {
    const UNDONE: [&str; 5] = ["todo!", "unimplemented!", "#[ignore", "#[should_panic", "FIXME"];
    let mut undone = Vec::new();
    for source in sources() {
        for (index, line) in source.text.lines().enumerate() {
            undone
                .extend(UNDONE.iter().filter(|word| line.contains(*word)).map(|word| place(&source, index + 1, word)));
        }
    }
    check("what is not done, or not tested", undone);
}

/// A test that sleeps is slow on a fast machine and wrong on a slow one.
#[test]
fn tests_wait_for_events() {
    let mut asleep = Vec::new();
    for source in sources() {
        let product = if source.path.contains("/tests/") { 0 } else { source.product().len() };
        let tests = source.text.lines().enumerate().skip(product);
        let sleeps = tests.filter(|(_, line)| line.contains("thread::sleep") || line.contains("time::sleep("));
        asleep.extend(sleeps.map(|(index, line)| place(&source, index + 1, line.trim())));
    }
    check("tests that sleep", asleep);
}

/// The attacks that there must be a test against, by their number in `docs/threats.md`.
const THREATS: [&str; 57] = [
    "a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9", "a11", "a14", "a15", "a16", "a17", "a17b", "a18", "a19",
    "a20", "a21", "a22", "a23", "a24", "a25", "a26", "b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8", "b9", "b10",
    "b11", "b12", "b13", "b14", "b15", "b17", "b18", "b20", "b20b", "b21", "c1", "c2", "c3", "c4", "c6", "c13", "d1",
    "d2", "d3", "d4", "d5", "d7", "d9",
];

/// The page and the tests against each other: what stands there is tried, and what must be tried stands there.
#[test]
fn every_threat_has_its_tests() {
    let mut tests = BTreeSet::new();
    for source in sources() {
        for pair in source.text.lines().collect::<Vec<_>>().windows(2) {
            let is_test = pair[0].trim() == "#[test]" || pair[0].trim().starts_with("#[tokio::test");
            let name = pair[1].split_once("fn ").and_then(|(_, rest)| rest.split_once('('));
            tests.extend(name.filter(|_| is_test).map(|(name, _)| name.to_owned()));
        }
    }
    let page = fs::read_to_string(root().join("docs/threats.md")).expect("the page of threats");
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| ")).map(cells).collect();
    let mut broken = Vec::new();
    let is_number = |word: &&str| {
        word.starts_with(['a', 'b', 'c', 'd']) && word[1..].trim_end_matches('b').parse::<u8>().is_ok_and(|n| n > 0)
    };
    let of_tests = tests.iter().filter_map(|name| name.split('_').next()).filter(is_number);
    let of_rows = rows.iter().map(|row| row[0].as_str()).filter(is_number);
    for number in THREATS.into_iter().chain(of_tests).chain(of_rows).collect::<BTreeSet<_>>() {
        let of = |name: &str| name.split_once('_').is_some_and(|(first, _)| first == number);
        if !tests.iter().any(|name| of(name)) {
            broken.push(format!("{number}: no test has a name that begins with it"));
        }
        let Some(row) = rows.iter().find(|row| row[0] == number) else {
            broken.push(format!("{number}: it has no row in docs/threats.md"));
            continue;
        };
        let named: Vec<_> = row[3].split(", ").map(|name| name.trim_matches('`')).collect();
        let wrong = named.iter().filter(|name| !of(name) || !tests.contains(**name));
        broken.extend(wrong.map(|name| format!("{number}: there is no test `{name}`")));
    }
    check("threats without a test", broken);
}

/// The feature `unaudited-bench` does not compile where panics unwind (domain: `audit/record/batch.rs`).
#[test]
fn what_is_released_records() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest");
    let mut wrong = Vec::new();
    for profile in manifest.split("\n[profile.").skip(1) {
        let name = profile.split(']').next().expect("a name");
        if name != "unaudited" && profile.contains("panic = \"abort\"") {
            wrong.push(format!("profile {name} does not unwind"));
        }
    }
    for package in ["domain", "safe-boundary"] {
        let manifest = fs::read_to_string(root().join("crates").join(package).join("Cargo.toml")).expect("a manifest");
        let uses = manifest.lines().filter(|line| !line.starts_with("unaudited-bench = "));
        let uses = uses.filter(|line| line.contains("unaudited-bench") || line.starts_with("default = "));
        wrong.extend(uses.map(|line| format!("{package}: {line}")));
    }
    let lock = fs::read_to_string(root().join("crates/domain/src/audit/record/batch.rs")).expect("batches");
    if !lock.contains("#[cfg(all(feature = \"unaudited-bench\", not(panic = \"abort\")))]\ncompile_error!") {
        wrong.push("batch.rs lets the feature compile anywhere".to_owned());
    }
    let binary = fs::read(env!("CARGO_BIN_EXE_safe-boundary")).expect("the binary");
    if memchr::memmem::find(&binary, b"WITHOUT AUDIT").is_some() {
        wrong.push("the binary leaves out the audit".to_owned());
    }
    check("a way to run without the audit", wrong);
}

/// What is true on one machine only, or is nobody's business.
#[test]
fn no_machine_is_named() {
    // Folders of people and of workplaces; the system's own (`/usr`, `/tmp`, `/etc`, `/var`, `/run`) are the same everywhere.
    const PLACES: [&str; 4] = ["/home/", "/root/", "/work/", "/Users/"];
    let mut named = Vec::new();
    for source in sources() {
        for (index, line) in source.text.lines().enumerate() {
            named.extend(
                PLACES.iter().filter(|place| line.contains(*place)).map(|word| place(&source, index + 1, word)),
            );
        }
    }
    const LOCKS: [&str; 5] = [
        "Cargo.lock",
        "scripts/clients/rust/Cargo.lock",
        "scripts/clients/node/package-lock.json",
        "scripts/idp/package-lock.json",
        "scripts/servers/package-lock.json",
    ];
    for lock in LOCKS {
        let text = fs::read_to_string(root().join(lock)).expect("a lock file");
        let hosts = text.lines().filter(|line| {
            line.contains("\"resolved\"") || (line.contains("registry+") && !line.contains("crates.io-index"))
        });
        named.extend(hosts.map(|line| format!("{lock}: {line}")));
    }
    check("places that exist on one machine only", named);
}
