//! The name a person connects with.
//!
//! Promises: a [`Login`] has the shape of a login (`name@domain`), is short, and has neither control characters nor
//! invisible ones.
//! Deliberately not here: whether it is hers; only a verified token says that.

use std::fmt;

use crate::text::is_hidden;

/// The longest login, in bytes: the longest e-mail address (RFC 5321 §4.5.3.1 and its erratum 1690).
const LOGIN_BYTES_MAX: usize = 254;

/// A name that can be a login: what the start-up packet's `user` asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Login(String);

/// Why a name cannot be a login.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LoginError {
    /// It is no address, and there is no default domain to make it one.
    #[error("`{0}` is not a login")]
    NotALogin(String),
    /// It is too long, or has characters that no login has.
    #[error("the user name is too long or has characters that no login has")]
    Malformed,
}

impl Login {
    /// Reads the `user` of a start-up packet; `default_domain` completes a name without one.
    ///
    /// # Errors
    /// [`LoginError`] for what cannot be a login.
    pub fn parse(user: &str, default_domain: Option<&str>) -> Result<Self, LoginError> {
        let fits = !user.is_empty()
            && user.len() <= LOGIN_BYTES_MAX
            && user.chars().all(|c| !is_hidden(c) && !c.is_whitespace() && c != '/');
        if !fits {
            return Err(LoginError::Malformed);
        }
        match (user.split_once('@'), default_domain) {
            (Some((name, domain)), _) if !name.is_empty() && !domain.is_empty() => Ok(Self(user.to_owned())),
            (None, Some(domain)) => Ok(Self(format!("{user}@{domain}"))),
            _ => Err(LoginError::NotALogin(user.to_owned())),
        }
    }

    /// Whether a claim names this login: ASCII letters in either case, everything else exactly.
    #[must_use]
    pub fn is(&self, claim: &str) -> bool {
        self.0.eq_ignore_ascii_case(claim)
    }

    /// The login as it was asked for.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Login {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_can_and_cannot_be_a_login() {
        let check = |user: &str, domain: Option<&str>, expected: Option<&str>| {
            assert_eq!(Login::parse(user, domain).ok().map(|login| login.0), expected.map(str::to_owned), "{user}");
        };
        check("alice@example.com", None, Some("alice@example.com"));
        check("alice", Some("example.com"), Some("alice@example.com"));
        check("alice", None, None);
        check("@example.com", None, None);
        check("alice@", None, None);
        check("", Some("example.com"), None);
        check("al ice@example.com", None, None);
        check("alice\n@example.com", None, None);
        check("alice@example.com/key", None, None);
        check("\u{202e}alice@example.com", None, None);
        for hidden in ['\u{200b}', '\u{ad}', '\u{34f}', '\u{2028}', '\u{3164}', '\u{fe0f}', '\u{fffa}', '\u{e0100}'] {
            check(&format!("admin{hidden}@example.com"), None, None);
        }
        check(&format!("{}@example.com", "a".repeat(300)), None, None);
    }

    #[test]
    fn only_ascii_letters_fold() {
        let login = Login::parse("Alice@Example.com", None).unwrap();
        assert!(login.is("alice@example.com"));
        assert!(!login.is("\u{0391}lice@example.com"));
        assert!(!login.is("alice@example.com\u{200b}"));
        let kelvin = Login::parse("mike@example.com", None).unwrap();
        assert!(!kelvin.is("mi\u{212a}e@example.com"));
    }
}
