//! The check that turns an ID token into an [`Identity`] (OIDC Core §3.1.3.7, RFC 8725).
//!
//! Promises: [`verify`] is the only way to an [`Identity`], after the signature, the issuer, the audience and every
//! time were checked against the keys and the clock that were handed in. The token says which of our algorithms it
//! uses, never which key material to believe.
//! Deliberately not here: fetching keys, and comparing the login with the name that was asked for (`Login::is`).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::Algorithm;
use serde_json::Value;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::claims::{Claims, ClaimsError};
use super::keys::{KeyError, KeySet};
pub use super::subject::Identity;
use crate::secret::Secret;

/// The longest token that is looked at, in bytes: ten thousand groups by object id in base64, with room.
pub const TOKEN_BYTES_MAX: usize = 640 * 1024;

/// The longest header of a token, in bytes, encoded: one that carries a certificate chain still fits.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// By how much the clocks of the provider and ours may differ.
pub const LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// What a token must say to be believed.
#[derive(Clone, Debug)]
pub struct Rules {
    /// `iss` must equal this, byte for byte.
    pub issuer: String,
    /// `aud` must name this client.
    pub client_id: String,
    /// Path of the claim that holds the login.
    pub login_claim: String,
    /// Paths of the claims that together are the person's stable id: `["sub"]`; Entra `["tid", "oid"]`.
    pub subject_claim: Vec<String>,
    /// Path of the claim that holds the groups.
    pub groups_claim: String,
    /// Refuse a login from `email` when `email_verified` is absent. A false one is refused always.
    pub require_verified_email: bool,
    /// Google: what `hd` must equal.
    pub hosted_domain: Option<String>,
    /// What `nonce` must equal, when one was sent.
    pub nonce: Option<String>,
    /// The access token that came along: `at_hash`, when there is one, must be its hash.
    pub access_token: Option<Secret<String>>,
}

/// Why a token is not believed.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It is longer than any honest token.
    #[error("expected a token of at most {TOKEN_BYTES_MAX} bytes, got {0}")]
    TooLarge(usize),
    /// It is not three parts of base64url with dots between (JWE and JSON serialisations neither).
    #[error("expected a signed token in compact form")]
    NotCompact,
    /// Its header is no strict JSON object.
    #[error("the token's header is malformed")]
    Header(#[source] ClaimsError),
    /// Its header has a member that changes what the token is (`crit`, `b64`, `enc`, `zip`, `cty`).
    #[error("the token's header has `{0}`, which is not supported")]
    HeaderMember(&'static str),
    /// Its algorithm is none of ours; never `none`, never a shared secret.
    #[error("the token's algorithm `{0}` is not accepted")]
    Algorithm(String),
    /// It says that it is another kind of token.
    #[error("expected an ID token, got one of type `{0}`")]
    Type(String),
    /// No key may check it.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Its signature is not that of the key.
    #[error("the token's signature is wrong")]
    Signature,
    /// Its claims are not strict JSON, or one is absent or of the wrong type.
    #[error("the token's claims are malformed")]
    Claims(#[from] ClaimsError),
    /// It is of another issuer.
    #[error("expected the issuer `{expected}`, got `{found}`")]
    Issuer {
        /// The configured one.
        expected: String,
        /// The token's.
        found: String,
    },
    /// It is meant for somebody else.
    #[error("the token is not meant for the client `{0}`")]
    Audience(String),
    /// It was given to another client.
    #[error("the token was given to another client than `{0}`")]
    AuthorizedParty(String),
    /// It has expired.
    #[error("the token expired at {0}")]
    Expired(Timestamp),
    /// A time in it lies in the future: one of the clocks is wrong.
    #[error("the token's `{claim}` {at} lies in the future; compare the clocks")]
    Future {
        /// Which time.
        claim: &'static str,
        /// The time.
        at: Timestamp,
    },
    /// A claim that names the person cannot be such a name.
    #[error("the claim `{0}` is empty, too long, or has characters that no name has")]
    Name(String),
    /// The provider has not verified that the e-mail address is hers.
    #[error("the provider does not say that the e-mail address is verified")]
    EmailNotVerified,
    /// She is of another Google Workspace domain, or of none.
    #[error("expected the hosted domain `{0}`")]
    HostedDomain(String),
    /// It answers another request than ours.
    #[error("the token's `nonce` is not the one that was sent")]
    Nonce,
    /// It does not belong to the access token that came with it.
    #[error("the token's `at_hash` is not that of the access token")]
    AccessTokenHash,
    /// The userinfo endpoint speaks of another person.
    #[error("userinfo is about another person than the token")]
    OtherSubject,
}

/// Checks an ID token and reads who it is about.
///
/// # Errors
/// [`TokenError`] for the first thing that is wrong. Nothing of the token is believed then.
pub fn verify(raw_token: &str, keys: &KeySet, rules: &Rules, now: Timestamp) -> Result<Identity, TokenError> {
    if raw_token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::TooLarge(raw_token.len()));
    }
    let (message, signature) = raw_token.rsplit_once('.').ok_or(TokenError::NotCompact)?;
    let (raw_header, raw_claims) = message.split_once('.').ok_or(TokenError::NotCompact)?;
    if signature.is_empty() || raw_claims.contains('.') || raw_header.len() > HEADER_BYTES_MAX {
        return Err(TokenError::NotCompact);
    }
    let header = Claims::parse(&decode(raw_header)?).map_err(TokenError::Header)?;
    let algorithm = check_header(&header)?;
    let kid = header.text_if_any("kid").map_err(TokenError::Header)?;
    let key = keys.select(algorithm, kid)?;
    match jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key, algorithm) {
        Ok(true) => {}
        Ok(false) | Err(_) => return Err(TokenError::Signature),
    }
    let claims = Claims::parse(&decode(raw_claims)?)?;
    check_kind(&claims)?;
    check_parties(&claims, rules)?;
    let expires_at = check_times(&claims, now)?;
    check_email(&claims, rules)?;
    check_binding(&claims, rules, algorithm)?;
    Identity::read(claims, rules, expires_at)
}

fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::NotCompact)
}

/// The algorithm, if the header is that of a plain signed token. `jku`, `x5u`, `x5c` and `jwk` are never looked at.
fn check_header(header: &Claims) -> Result<Algorithm, TokenError> {
    if let Some(member) = ["crit", "b64", "enc", "zip", "cty"].into_iter().find(|member| header.has(member)) {
        return Err(TokenError::HeaderMember(member));
    }
    if let Some(kind) = header.text_if_any("typ").map_err(TokenError::Header)? {
        let plain = kind.eq_ignore_ascii_case("JWT") || kind.eq_ignore_ascii_case("application/jwt");
        if !plain {
            return Err(TokenError::Type(shown(kind)));
        }
    }
    match header.text("alg").map_err(TokenError::Header)? {
        "RS256" => Ok(Algorithm::RS256),
        "RS384" => Ok(Algorithm::RS384),
        "RS512" => Ok(Algorithm::RS512),
        "PS256" => Ok(Algorithm::PS256),
        "PS384" => Ok(Algorithm::PS384),
        "PS512" => Ok(Algorithm::PS512),
        "ES256" => Ok(Algorithm::ES256),
        "ES384" => Ok(Algorithm::ES384),
        // RFC 9864: the new name of EdDSA with the one curve that is accepted.
        "EdDSA" | "Ed25519" => Ok(Algorithm::EdDSA),
        other => Err(TokenError::Algorithm(shown(other))),
    }
}

/// Refuses tokens that the same provider signs for other ends.
fn check_kind(claims: &Claims) -> Result<(), TokenError> {
    if claims.has("events") {
        return Err(TokenError::Type("security event".to_owned()));
    }
    // Keycloak signs all its tokens with one key and says here what they are.
    match claims.find("typ").and_then(Value::as_str) {
        Some(kind) if ["Bearer", "DPoP", "Refresh", "Offline", "Logout"].contains(&kind) => {
            Err(TokenError::Type(shown(kind)))
        }
        _ => Ok(()),
    }
}

fn check_parties(claims: &Claims, rules: &Rules) -> Result<(), TokenError> {
    let issuer = claims.text("iss")?;
    if issuer != rules.issuer {
        return Err(TokenError::Issuer { expected: rules.issuer.clone(), found: shown(issuer) });
    }
    let client = rules.client_id.as_str();
    let wrong = || ClaimsError::WrongType { claim: "aud".to_owned(), expected: "a string or a list of strings" };
    let audience = match claims.find("aud") {
        None => return Err(ClaimsError::Absent("aud".to_owned()).into()),
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => {
            several.iter().map(Value::as_str).collect::<Option<Vec<_>>>().ok_or_else(wrong)?
        }
        Some(_) => return Err(wrong().into()),
    };
    if !audience.contains(&client) {
        return Err(TokenError::Audience(client.to_owned()));
    }
    let shared = audience.iter().any(|other| *other != client);
    match claims.text_if_any("azp")? {
        Some(party) if party == client => Ok(()),
        None if !shared => Ok(()),
        Some(_) | None => Err(TokenError::AuthorizedParty(client.to_owned())),
    }
}

/// Checks every time, and says when the token expires.
fn check_times(claims: &Claims, now: Timestamp) -> Result<Timestamp, TokenError> {
    let latest = now.saturating_add(LEEWAY).unwrap_or(Timestamp::MAX);
    let expires_at = claims.time("exp")?;
    if expires_at.saturating_add(LEEWAY).unwrap_or(Timestamp::MAX) <= now {
        return Err(TokenError::Expired(expires_at));
    }
    let times = [
        ("iat", Some(claims.time("iat")?)),
        ("nbf", claims.time_if_any("nbf")?),
        ("auth_time", claims.time_if_any("auth_time")?),
    ];
    for (claim, at) in times {
        if let Some(at) = at.filter(|at| *at > latest) {
            return Err(TokenError::Future { claim, at });
        }
    }
    Ok(expires_at)
}

/// An address that nobody verified names nobody: whoever may type it into a profile could be anyone.
fn check_email(claims: &Claims, rules: &Rules) -> Result<(), TokenError> {
    let says_yes = |value: &Value| match value {
        Value::Bool(yes) => *yes,
        Value::String(text) => text == "true" || text == "1",
        Value::Number(number) => number.as_u64() == Some(1),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    };
    if rules.login_claim == "email" {
        let verified = claims.find("email_verified").map(says_yes);
        // Entra says the same by another name: whether the owner of the address's domain is the tenant's.
        let owned = claims.find("xms_edov").map(says_yes);
        if verified == Some(false) || owned == Some(false) || (rules.require_verified_email && verified.is_none()) {
            return Err(TokenError::EmailNotVerified);
        }
    }
    match &rules.hosted_domain {
        Some(domain) if claims.text_if_any("hd")? != Some(domain) => Err(TokenError::HostedDomain(domain.clone())),
        _ => Ok(()),
    }
}

fn check_binding(claims: &Claims, rules: &Rules, algorithm: Algorithm) -> Result<(), TokenError> {
    if let Some(nonce) = &rules.nonce
        && claims.text_if_any("nonce")? != Some(nonce)
    {
        return Err(TokenError::Nonce);
    }
    match (claims.text_if_any("at_hash")?, &rules.access_token) {
        (Some(hash), Some(access)) if hash != hash_of(access.reveal(), algorithm) => Err(TokenError::AccessTokenHash),
        _ => Ok(()),
    }
}

/// The left half of the token's hash, by the hash function of the algorithm (OIDC Core §3.1.3.6).
fn hash_of(access_token: &str, algorithm: Algorithm) -> String {
    use Algorithm::{ES384, EdDSA, PS384, PS512, RS384, RS512};
    let digest = match algorithm {
        RS384 | PS384 | ES384 => Sha384::digest(access_token).to_vec(),
        RS512 | PS512 | EdDSA => Sha512::digest(access_token).to_vec(),
        _ => Sha256::digest(access_token).to_vec(),
    };
    let half = digest.len() / 2;
    BASE64_URL_SAFE_NO_PAD.encode(digest.into_iter().take(half).collect::<Vec<_>>())
}

/// A text of the token as an error may show it: short, on one line, nothing hidden.
fn shown(text: &str) -> String {
    text.chars().take(100).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests;
