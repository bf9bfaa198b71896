//! The person a verified token is about.
//!
//! Promises: an [`Identity`] has no public constructor, no setters and no default; `verify` makes it, after every
//! check. A person is issuer and stable id; login and groups are what the provider says of her today.
//! Deliberately not here: the checks of signature, issuer, audience and times.

use jiff::Timestamp;
use serde_json::Value;

use super::claims::Claims;
use super::verify::{Rules, TokenError};
use crate::text::is_hidden;

/// The longest stable id of a person (OIDC Core §2, `sub`).
const SUBJECT_CHARS_MAX: usize = 255;

/// The longest login, in bytes (RFC 5321 §4.5.3.1).
const LOGIN_BYTES_MAX: usize = 254;

/// How many authentication methods are kept; no provider sends more.
const AMR_MAX: usize = 16;

/// The longest context class or authentication method that is kept, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// A person whose token was checked just now.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    login: String,
    issuer: String,
    subject: String,
    sub: String,
    groups: Option<Vec<String>>,
    acr: Option<String>,
    amr: Vec<String>,
    auth_time: Option<Timestamp>,
    expires_at: Timestamp,
    claims: Claims,
}

impl Identity {
    /// Reads who claims are about. Only [`super::verify::verify`] calls this, after every check.
    pub(super) fn read(claims: Claims, rules: &Rules, expires_at: Timestamp) -> Result<Self, TokenError> {
        let name = |path: &str, fits: fn(&str) -> bool| match claims.text(path)? {
            text if fits(text) => Ok(text.to_owned()),
            _ => Err(TokenError::Name(path.to_owned())),
        };
        let sub = name("sub", is_subject)?;
        let parts = rules.subject_claim.iter().map(|path| name(path, is_subject)).collect::<Result<Vec<_>, _>>()?;
        // Several parts are joined by a colon, so none of them may have one: two people must not become one.
        let ambiguous = parts.len() > 1 && parts.iter().any(|part| part.contains(':'));
        if parts.is_empty() || ambiguous {
            return Err(TokenError::Name(rules.subject_claim.join(":")));
        }
        let login = name(&rules.login_claim, is_login)?;
        let amr = match claims.find("amr") {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        Ok(Self {
            login,
            issuer: rules.issuer.clone(),
            subject: parts.join(":"),
            sub,
            groups: claims.groups(&rules.groups_claim)?,
            // A context class or method of another type counts as absent: that can only deny.
            acr: claims.find("acr").and_then(Value::as_str).filter(|acr| is_short(acr)).map(str::to_owned),
            amr: amr.into_iter().filter(|method| is_short(method)).take(AMR_MAX).collect(),
            auth_time: claims.time_if_any("auth_time")?,
            expires_at,
            claims,
        })
    }

    /// The name the provider knows her by, to be compared by [`super::login::Login::is`].
    #[must_use]
    pub fn login(&self) -> &str {
        &self.login
    }

    /// The issuer: one half of who she is.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The issuer's stable id of her: the other half. Never the login or the e-mail address.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Her groups as the provider calls them, sorted; empty when it names none.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        self.groups.as_deref().unwrap_or_default()
    }

    /// Whether the provider said anything about groups, be it that there are none.
    #[must_use]
    pub const fn groups_were_said(&self) -> bool {
        self.groups.is_some()
    }

    /// The authentication context class, when the token has one.
    #[must_use]
    pub fn acr(&self) -> Option<&str> {
        self.acr.as_deref()
    }

    /// The authentication methods, when the token has them.
    #[must_use]
    pub fn amr(&self) -> &[String] {
        &self.amr
    }

    /// When she last signed in at the provider, when the token says so.
    #[must_use]
    pub const fn auth_time(&self) -> Option<Timestamp> {
        self.auth_time
    }

    /// When the token expires.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// All claims of the token, as JSON for people to look at.
    #[must_use]
    pub fn claims_json(&self) -> String {
        self.claims.to_json()
    }

    /// The same person with the groups that the userinfo endpoint names (OIDC Core §5.3), for providers that leave
    /// them out of the token.
    ///
    /// # Errors
    /// [`TokenError`] when userinfo is about somebody else, or its groups are none (OIDC Core §5.3.2, §5.3.4).
    pub fn with_groups_of(self, userinfo: &Claims, rules: &Rules) -> Result<Self, TokenError> {
        if userinfo.text("sub")? != self.sub {
            return Err(TokenError::OtherSubject);
        }
        Ok(Self { groups: userinfo.groups(&rules.groups_claim)?, ..self })
    }
}

fn is_subject(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= SUBJECT_CHARS_MAX && !text.chars().any(is_hidden)
}

fn is_login(text: &str) -> bool {
    let plain = |c: char| !is_hidden(c) && !c.is_whitespace() && c != '/';
    !text.is_empty() && text.len() <= LOGIN_BYTES_MAX && text.chars().all(plain)
}

fn is_short(text: &str) -> bool {
    text.len() <= NAME_BYTES_MAX && !text.chars().any(is_hidden)
}
