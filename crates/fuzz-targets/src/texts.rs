//! Texts that people write: the configuration, connection strings, times.
//!
//! Promises: what is taken is complete and consistent; what is not names its place in the text; passwords are not shown.
//! Deliberately not here: what is in the files that a text names.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};
use safe_boundary::config::{Config, Error};
use safe_boundary::proxy::upstream::conninfo::Conninfo;
use safe_boundary::strangers;
use tempfile::TempDir;

/// Any configuration file.
pub fn config(raw: &[u8]) {
    let Ok(text) = std::str::from_utf8(raw) else { return };
    // Files that it names are looked at; those of the system are not for a fuzzer to aim at.
    if text.contains("/dev") || text.contains("/proc") || text.contains("..") {
        return;
    }
    static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
        let dir = tempfile::tempdir().expect("a folder");
        for name in ["a.crt", "a.key", "a.pem", "secret"] {
            fs::write(dir.path().join(name), "x").expect("a file");
        }
        dir
    });
    match Config::check(&FOLDER.path().join("safe-boundary.toml"), text) {
        Ok(config) => {
            assert!(!config.server.node.is_empty() && !config.databases.is_empty());
            // A scheme may be written in any case (RFC 3986, section 3.1).
            let issuer = config.idp.issuer.to_ascii_lowercase();
            assert!(issuer.starts_with("http") && config.idp.scopes.iter().any(|scope| scope == "openid"));
            for database in &config.databases {
                assert!(!database.name.is_empty() && !database.roles.is_empty());
                assert!(database.roles.iter().all(|role| !role.role.is_empty() && !role.groups.is_empty()));
            }
            assert!(format!("{config:?}").len() < 1000 * (text.len() + 100));
        }
        Err(Error::Wrong { problems }) => {
            let lines = text.matches('\n').count() + 1;
            assert!(!problems.is_empty());
            for problem in problems {
                assert!((1..=lines).contains(&problem.line), "line {} of {lines}", problem.line);
                assert!(problem.column >= 1 && !problem.message.is_empty());
                assert!(!problem.message.contains('\n'), "{:?}", problem.message);
            }
        }
        Err(error) => panic!("nothing was read: {error}"),
    }
}

/// Any connection string; and any with a password in it, which no error may show.
pub fn conninfo(raw: &[u8]) {
    let Ok(text) = std::str::from_utf8(raw) else { return };
    let base = Path::new("/nowhere");
    if let Ok(conninfo) = Conninfo::parse(text, base) {
        assert!(!conninfo.hosts().is_empty());
        assert!(conninfo.files().all(|path| path.is_absolute()));
        assert!(conninfo.is_verified() || text.contains("sslmode") || text.contains('/') || text.contains('%'));
        assert!(conninfo.dbname().is_none_or(|name| !name.is_empty()));
    }
    const SECRET: &str = "Zq8secret8qZ";
    if text.contains(SECRET) {
        return;
    }
    let quoted = text.replace(['\'', '\\'], "");
    for text in [
        format!("host=h password='{SECRET}{quoted}' {text}"),
        format!("password={SECRET} {text}"),
        format!("postgresql://u:{SECRET}@h/{text}"),
        format!("postgresql://h/?password={SECRET}&{text}"),
    ] {
        if let Err(error) = Conninfo::parse(&text, base) {
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains(SECRET), "{text:?} is told as {shown}");
        }
    }
}

/// Any two times of `--from` and `--to`, with a line end between.
pub fn times(raw: &[u8]) {
    let Ok(text) = std::str::from_utf8(raw) else { return };
    let (from, to) = text.split_once('\n').unwrap_or((text, "2026-11-03"));
    let now = Timestamp::from_second(1_790_000_000).unwrap();
    let before = |time: Timestamp| time.saturating_sub(SignedDuration::from_secs(1)).unwrap();
    let moments = [Timestamp::MIN, before(now), now, Timestamp::MAX];
    for moment in moments {
        let Some(within) = strangers::is_between(from, to, now, moment) else { continue };
        // Both ends are judged apart: what is in the whole is in both halves.
        let open = strangers::is_between(from, "9999-01-01", now, moment).unwrap();
        let shut = strangers::is_between("-009999-01-02", to, now, moment).unwrap_or(within);
        assert!(!within || (shut && (open || moment == Timestamp::MAX)), "{from:?} {to:?} {moment}");
    }
    // A point of the clock is itself where a range begins, and not in one that ends there.
    if let Ok(at) = from.parse::<Timestamp>() {
        assert_ne!(
            strangers::is_between(from, "9999-01-01", now, at),
            // The first second of the year 9999.
            Some(at.as_second() >= 253_370_764_800),
            "{from:?}"
        );
        assert_eq!(strangers::is_between("2h", from, now, at), Some(false), "{from:?}");
    }
}
