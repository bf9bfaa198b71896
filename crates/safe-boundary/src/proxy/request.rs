//! What a start-up packet asks for, sorted into what is the proxy's business, what passes, and what is refused.
//!
//! Promises: parameters that change who one is or what the server loads never pass, also not inside `options`; names are
//! compared as the server does, in any case; no name is longer than [`NAME_BYTES_MAX`].
//! Deliberately not here: whether the person may have what she asks for.

use pgproto::notice::shortened;
use pgproto::options::{self, Opt};
use pgproto::startup::ProtocolVersion;

use super::startup::Packet;

/// The newest minor version of protocol 3 that we speak.
pub const NEWEST_MINOR: u16 = 2;

/// The longest name that is served, and the most that is recorded of one: what strangers write must not fill the trail.
pub const NAME_BYTES_MAX: usize = 255;

/// A start-up packet that can be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The name to log in with.
    pub user: String,
    /// The database; the user's name when the client did not say.
    pub database: String,
    /// Its `application_name`.
    pub program: Option<String>,
    /// The role it asks for (`safe_boundary.role`).
    pub role: Option<String>,
    /// Whether it wants to replicate, and how (`true`, `database`).
    pub replication: Option<String>,
    /// What passes to the server, `options` included.
    pub parameters: Vec<(String, String)>,
    /// The minor version that both sides will speak.
    pub minor: u16,
    /// What NegotiateProtocolVersion must say: the `_pq_.` options we do not know; none when it must not be sent.
    pub negotiation: Option<Vec<Vec<u8>>>,
}

/// Why a start-up packet cannot be served.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RequestError {
    /// Another protocol.
    #[error("unsupported frontend protocol {0}.{1}: expected 3.0 to 3.2")]
    Version(u16, u16),
    /// No `user`.
    #[error("no user name in the start-up packet")]
    NoUser,
    /// Not UTF-8.
    #[error("the start-up parameter `{0}` is not UTF-8")]
    Encoding(String),
    /// Longer than any name is.
    #[error("expected at most {NAME_BYTES_MAX} bytes in the start-up parameter `{name}`, got {bytes}")]
    TooLong {
        /// The parameter.
        name: &'static str,
        /// How long it is.
        bytes: usize,
    },
    /// It would change who one is or what the server loads.
    #[error("the start-up parameter `{0}` is not allowed here")]
    Forbidden(String),
    /// An option that is no setting.
    #[error("the start-up option `{0}` is not allowed here: only `-c name=value` is")]
    Option(String),
}

impl Request {
    /// Sorts the parameters of a packet.
    ///
    /// # Errors
    /// [`RequestError`] names the parameter.
    pub fn read(packet: &Packet) -> Result<Self, RequestError> {
        let ProtocolVersion { major, minor } = packet.version;
        if major != 3 {
            return Err(RequestError::Version(major, minor));
        }
        let mut found = Found::default();
        for (name, value) in &packet.parameters {
            if name.starts_with(b"_pq_.") {
                found.unknown.push(name.clone());
            } else {
                let name = text(name, name)?;
                let value = text(value, name.as_bytes())?;
                found.parameter(&name, value)?;
            }
        }
        let names = [("user", &found.user), ("database", &found.database), ("safe_boundary.role", &found.role)];
        for (name, value) in names {
            let bytes = value.as_ref().map_or(0, String::len);
            if bytes > NAME_BYTES_MAX {
                return Err(RequestError::TooLong { name, bytes });
            }
        }
        let user = found.user.filter(|user| !user.is_empty()).ok_or(RequestError::NoUser)?;
        let negotiation = (minor > NEWEST_MINOR || !found.unknown.is_empty()).then_some(found.unknown);
        let mut parameters = found.passing;
        if !found.settings.is_empty() {
            let settings = found.settings.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
            let joined = options::join(settings);
            parameters.push(("options".to_owned(), String::from_utf8_lossy(&joined).into_owned()));
        }
        Ok(Self {
            database: found.database.filter(|name| !name.is_empty()).unwrap_or_else(|| user.clone()),
            user,
            program: found.program,
            role: found.role,
            replication: found.replication,
            parameters,
            minor: minor.min(NEWEST_MINOR),
            negotiation,
        })
    }
}

/// As much of a stranger's text as a record has.
#[must_use]
pub fn for_record(raw: &[u8]) -> String {
    shortened(String::from_utf8_lossy(raw).into_owned(), NAME_BYTES_MAX)
}

#[derive(Default)]
struct Found {
    user: Option<String>,
    database: Option<String>,
    program: Option<String>,
    role: Option<String>,
    replication: Option<String>,
    passing: Vec<(String, String)>,
    settings: Vec<(String, String)>,
    unknown: Vec<Vec<u8>>,
}

impl Found {
    fn parameter(&mut self, name: &str, value: String) -> Result<(), RequestError> {
        match name.to_ascii_lowercase().as_str() {
            "user" => self.user = Some(value),
            "database" => self.database = Some(value),
            "application_name" => self.program = Some(value),
            "safe_boundary.role" => self.role = Some(value),
            "replication" => self.replication = wanted(&value).then_some(value),
            "options" => return self.options(&value),
            other if is_forbidden(other) => return Err(RequestError::Forbidden(name.to_owned())),
            _ => self.passing.push((name.to_owned(), value)),
        }
        Ok(())
    }

    /// `options`: each setting is judged as if it stood alone.
    fn options(&mut self, value: &str) -> Result<(), RequestError> {
        for option in options::parse(value.as_bytes()) {
            let (name, value) = match option {
                Opt::Setting { name, value } => (name, value),
                Opt::Other(other) => return Err(RequestError::Option(other)),
            };
            let value = text(&value, name.as_bytes())?;
            match name.to_ascii_lowercase().as_str() {
                "application_name" => self.program = Some(value),
                "safe_boundary.role" => self.role = Some(value),
                other if is_forbidden(other) || other == "replication" => return Err(RequestError::Forbidden(name)),
                _ => self.settings.push((name, value)),
            }
        }
        Ok(())
    }
}

/// Parameters that change who one is or what the server loads, and those that are ours to set.
fn is_forbidden(name: &str) -> bool {
    matches!(name, "role" | "session_authorization" | "is_superuser")
        || name.starts_with("safe_boundary.")
        || name.ends_with("_preload_libraries")
}

/// Whether `replication` asks for it: PostgreSQL reads a boolean, which may be cut short, or the word `database`. What is
/// neither counts as asking for it; the server refuses that.
fn wanted(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    let says_no = ["false", "no", "off"].iter().any(|no| no.starts_with(&value)) && value != "o";
    !says_no && value != "0"
}

fn text(raw: &[u8], name: &[u8]) -> Result<String, RequestError> {
    String::from_utf8(raw.to_vec()).map_err(|_| RequestError::Encoding(String::from_utf8_lossy(name).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(minor: u16, parameters: &[(&str, &str)]) -> Result<Request, RequestError> {
        let held = |text: &str| text.as_bytes().to_vec();
        let parameters = parameters.iter().map(|(name, value)| (held(name), held(value))).collect();
        Request::read(&Packet { version: ProtocolVersion { major: 3, minor }, parameters, server_name: None })
    }

    #[test]
    fn what_changes_who_one_is_never_passes() {
        let check = |name: &str, value: &str| {
            let error = read(0, &[("user", "alice@example.com"), (name, value)]).unwrap_err();
            assert!(matches!(error, RequestError::Forbidden(_) | RequestError::Option(_)), "{name}={value}: {error}");
        };
        check("role", "postgres");
        check("ROLE", "postgres");
        check("session_authorization", "postgres");
        check("safe_boundary.login", "bob@example.com");
        check("session_preload_libraries", "evil");
        check("local_preload_libraries", "evil");
        check("options", "-c role=postgres");
        check("options", "-crole=postgres");
        check("options", "--role=postgres");
        check("options", "--Session-Authorization=postgres");
        check("options", "-c safe_boundary.login=bob@example.com");
        check("options", "-c search_path=a -c local_preload_libraries=x");
        check("options", "-c replication=database");
        check("options", "-D /etc");
    }

    #[test]
    fn drivers_settings_pass() {
        let request = read(
            0,
            &[
                ("user", "alice@example.com"),
                ("database", "payments"),
                ("application_name", "psql"),
                ("client_encoding", "UTF8"),
                ("search_path", "a,b"),
                ("options", "-c jit=off --statement-timeout=5s -c safe_boundary.role=payments_ro"),
                ("replication", "off"),
            ],
        )
        .unwrap();
        assert_eq!(request.role.as_deref(), Some("payments_ro"));
        assert_eq!(request.program.as_deref(), Some("psql"));
        assert_eq!(request.replication, None);
        let names: Vec<_> = request.parameters.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["client_encoding", "search_path", "options"]);
        let options = &request.parameters[2].1;
        assert!(options.contains("jit=off") && !options.contains("safe_boundary"), "{options}");
    }

    #[test]
    fn replication_is_asked_for_in_the_words_that_the_server_reads() {
        let check = |value: &str, expected: Option<&str>| {
            let request = read(0, &[("user", "alice@example.com"), ("replication", value)]).unwrap();
            assert_eq!(request.replication.as_deref(), expected, "{value:?}");
        };
        for no in ["", "0", "f", "fa", "FALS", "false", "n", "no", "of", "off"] {
            check(no, None);
        }
        for yes in ["1", "t", "true", "on", "y", "database", "o", "falsely", "nobody"] {
            check(yes, Some(yes));
        }
    }

    #[test]
    fn the_newest_protocol_is_negotiated_only_where_needed() {
        let user = ("user", "alice@example.com");
        assert_eq!(read(0, &[user]).unwrap().negotiation, None);
        assert_eq!(read(2, &[user]).unwrap().negotiation, None);
        let newer = read(9999, &[user, ("_pq_.test", "")]).unwrap();
        assert_eq!((newer.minor, newer.negotiation), (2, Some(vec![b"_pq_.test".to_vec()])));
        assert_eq!(read(9999, &[user]).unwrap().negotiation, Some(vec![]));
        assert_eq!(read(0, &[user, ("_pq_.x", "")]).unwrap().minor, 0);
    }

    #[test]
    fn d3_names_have_a_bound() {
        let long = "\u{1}".repeat(NAME_BYTES_MAX + 1);
        let user = ("user", "alice@example.com");
        let too_long = |name| Err(RequestError::TooLong { name, bytes: NAME_BYTES_MAX + 1 });
        assert_eq!(read(0, &[("user", &long)]), too_long("user"));
        assert_eq!(read(0, &[user, ("database", &long)]), too_long("database"));
        assert_eq!(read(0, &[user, ("safe_boundary.role", &long)]), too_long("safe_boundary.role"));
        let option = format!("-c safe_boundary.role={long}");
        assert_eq!(read(0, &[user, ("options", &option)]), too_long("safe_boundary.role"));
        let longest = "x".repeat(NAME_BYTES_MAX);
        let request = read(0, &[user, ("database", &longest), ("application_name", &long), ("search_path", &long)]);
        assert_eq!(request.unwrap().database, longest);
        assert_eq!(
            read(0, &[("user", &long)]).unwrap_err().to_string(),
            "expected at most 255 bytes in the start-up parameter `user`, got 256"
        );
    }

    #[test]
    fn d3_a_record_has_the_beginning_of_a_long_text() {
        let check = |raw: &[u8], expected: &str| {
            let text = for_record(raw);
            assert_eq!(text, expected);
            assert!(text.len() <= NAME_BYTES_MAX, "{}", text.len());
        };
        check(b"psql", "psql");
        check(b"psql\xff", "psql\u{fffd}");
        check("x".repeat(255).as_bytes(), &"x".repeat(255));
        check("x".repeat(256).as_bytes(), &format!("{}…", "x".repeat(252)));
        check(format!("x{}", "ä".repeat(200)).as_bytes(), &format!("x{}…", "ä".repeat(125)));
        check(&[0xff; 10_000], &format!("{}…", "\u{fffd}".repeat(84)));
    }

    #[test]
    fn a_database_defaults_to_the_user() {
        assert_eq!(read(0, &[("user", "alice@example.com")]).unwrap().database, "alice@example.com");
        assert_eq!(read(0, &[("user", "")]), Err(RequestError::NoUser));
        assert_eq!(read(0, &[]), Err(RequestError::NoUser));
    }
}
