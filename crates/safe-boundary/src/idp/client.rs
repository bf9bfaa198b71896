//! Our client at the identity provider: what it asks for, and how it proves who it is.
//!
//! Promises: cheap to clone, nothing is fetched before it is needed, and so is the client's secret read.
//! Deliberately not here: the device flow (`device.rs`).

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use domain::identity::claims::Claims;
use domain::identity::keys::{KeyError, KeySet};
use domain::identity::verify::{Identity, Rules, TokenError, verify};
use domain::secret::Secret;
use jiff::Timestamp;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::device::LoginFailure;
use super::discovery::{self, Discovery, Metadata};
use super::error::{Endpoint, Error};
use super::http::{Http, TIMEOUT};
use super::keys::Keys;
use super::secret::ClientSecret;
use crate::clock;
use crate::config::{Idp, Preset};

/// The identity provider, as one of its clients.
#[derive(Clone)]
pub struct IdpClient(Arc<Parts>);

struct Parts {
    config: Idp,
    http: Http,
    discovery: Discovery,
    keys: Keys,
    secret: ClientSecret,
    rules: Rules,
}

/// A person who has just signed in.
#[derive(Debug)]
pub struct SignedIn {
    /// Who she is.
    pub identity: Identity,
    /// What the provider gave along with it.
    pub tokens: Tokens,
}

/// The tokens of one sign-in that outlive it. The access token does not.
#[derive(Debug)]
pub struct Tokens {
    /// The ID token, to be checked again.
    pub id: Secret<String>,
    /// What a fresh ID token can be had for.
    pub refresh: Option<Secret<String>>,
}

/// How the client shows its secret at the provider.
pub(super) enum Authentication {
    /// It has none (RFC 6749 §2.1, public client).
    Public,
    /// In the header `Authorization` (RFC 6749 §2.3.1).
    Basic(Secret<String>),
    /// In the form.
    Post(Secret<String>),
}

impl IdpClient {
    /// Prepares the client; reads root certificates, talks to nobody.
    ///
    /// # Errors
    /// [`Error`] when the issuer's address must not be called, or TLS cannot be set up.
    pub fn new(config: &Idp) -> Result<Self, Error> {
        let rules = Rules {
            issuer: config.issuer.clone(),
            client_id: config.client_id.clone(),
            login_claim: config.login_claim.clone(),
            subject_claim: config.subject_claim.clone(),
            groups_claim: config.groups_claim.clone(),
            require_verified_email: config.require_verified_email,
            hosted_domain: config.hosted_domain.clone(),
            nonce: None,
            access_token: None,
        };
        let http = Http::new(&config.issuer, config.ca.as_deref())?;
        let (discovery, keys) = (Discovery::default(), Keys::default());
        let secret = ClientSecret::new(config.client_secret.clone());
        Ok(Self(Arc::new(Parts { config: config.clone(), http, discovery, keys, secret, rules })))
    }

    /// What the provider says of itself.
    ///
    /// # Errors
    /// [`Error`] when it cannot be reached, or its discovery document cannot be believed.
    pub async fn metadata(&self) -> Result<Arc<Metadata>, Error> {
        self.0.discovery.metadata(&self.0.http, &self.0.config.issuer, self.0.config.preset).await
    }

    /// The keys the provider signs with at present.
    ///
    /// # Errors
    /// [`Error`] when they cannot be fetched, or are no keys.
    pub async fn keys(&self) -> Result<Arc<KeySet>, Error> {
        let metadata = self.metadata().await?;
        self.0.keys.current(&self.0.http, &metadata.jwks_uri).await
    }

    /// What the provider's clock says, if it says it; asked anew.
    ///
    /// # Errors
    /// [`Error`] when it cannot be reached.
    pub async fn time(&self) -> Result<Option<Timestamp>, Error> {
        let url = discovery::address(&self.0.http, &self.0.config.issuer)?;
        Ok(self.0.http.send(Endpoint::Discovery, self.0.http.get(&url)).await?.date)
    }

    pub(super) fn config(&self) -> &Idp {
        &self.0.config
    }

    pub(super) fn http(&self) -> &Http {
        &self.0.http
    }

    /// Reads the client's secret, and chooses how to show it.
    pub(super) async fn authentication(&self, metadata: &Metadata) -> Result<Authentication, Error> {
        let Some(secret) = self.0.secret.read().await? else { return Ok(Authentication::Public) };
        let takes = |method: &str| metadata.client_authentication.iter().any(|known| known == method);
        // Google documents its device flow with the secret in the form only.
        let prefers_post = self.0.config.preset == Preset::Google;
        match (takes("client_secret_basic"), takes("client_secret_post")) {
            (true, post) if !(post && prefers_post) => Ok(Authentication::Basic(secret)),
            (_, true) => Ok(Authentication::Post(secret)),
            (_, false) => Err(Error::NoClientAuthentication),
        }
    }

    /// Checks the tokens of a sign-in, and asks for the groups where the token does not say them.
    pub(super) async fn identify(&self, mut answer: Claims) -> Result<SignedIn, LoginFailure> {
        let mut take = |name| {
            let malformed = |source| Error::Malformed { endpoint: Endpoint::Token, source };
            answer.take_text(name).map(|text| text.map(Secret::new)).map_err(malformed)
        };
        let (id, access, refresh) = (take("id_token")?, take("access_token")?, take("refresh_token")?);
        let id = id.ok_or(Error::NoIdToken)?;
        let rules = Rules { access_token: access, ..self.0.rules.clone() };
        // Where the keys cannot be had, each waits for its turn to try: nobody may wait for all the others' tries.
        let slow = Error::Slow { endpoint: Endpoint::Keys, after: TIMEOUT };
        let identity = timeout(TIMEOUT, self.verify(id.reveal(), &rules)).await.map_err(|_| slow)??;
        let identity = self.with_groups(identity, &rules).await?;
        Ok(SignedIn { identity, tokens: Tokens { id, refresh } })
    }

    /// Checks an ID token against the present keys; a key that is not among them may be a new one.
    async fn verify(&self, raw_token: &str, rules: &Rules) -> Result<Identity, LoginFailure> {
        let metadata = self.metadata().await?;
        let (http, url) = (&self.0.http, &metadata.jwks_uri);
        let keys = self.0.keys.current(http, url).await?;
        match verify(raw_token, &keys, rules, clock::now()) {
            Err(TokenError::Key(KeyError::Unknown)) => {
                let other = self.0.keys.other_than(&keys, http, url).await.ok_or(KeyError::Unknown);
                Ok(verify(raw_token, &*other.map_err(TokenError::Key)?, rules, clock::now())?)
            }
            checked => Ok(checked?),
        }
    }

    /// GitLab and others name the groups at the userinfo endpoint only.
    async fn with_groups(&self, identity: Identity, rules: &Rules) -> Result<Identity, LoginFailure> {
        let metadata = self.metadata().await?;
        let (Some(url), Some(access)) = (&metadata.userinfo_endpoint, &rules.access_token) else { return Ok(identity) };
        if identity.groups_were_said() {
            return Ok(identity);
        }
        let request = self.0.http.get(url).bearer_auth(access.reveal());
        let body = self.0.http.fetch(Endpoint::Userinfo, request).await?;
        let malformed = |source| Error::Malformed { endpoint: Endpoint::Userinfo, source };
        let userinfo = Claims::parse(&body).map_err(malformed)?;
        Ok(identity.with_groups_of(&userinfo, rules)?)
    }
}

impl fmt::Debug for IdpClient {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("IdpClient").field("issuer", &self.0.config.issuer).finish_non_exhaustive()
    }
}

impl Authentication {
    /// The header `Authorization`, for the client that shows its secret there.
    pub(super) fn header(&self, client_id: &str) -> Option<Zeroizing<String>> {
        let Self::Basic(secret) = self else { return None };
        let pair = Zeroizing::new(format!("{}:{}", form_encoded(client_id), form_encoded(secret.reveal())));
        Some(Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes()))))
    }

    /// The form's `client_secret`, for the client that shows its secret there.
    pub(super) fn field(&self) -> Option<&str> {
        match self {
            Self::Post(secret) => Some(secret.reveal()),
            Self::Public | Self::Basic(_) => None,
        }
    }
}

/// As RFC 6749 §2.3.1 wants both halves before they are joined by a colon.
fn form_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => encoded.push(char::from(byte)),
            b' ' => encoded.push('+'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// 32 random bytes as text: a PKCE `code_verifier` (RFC 7636 §4.1).
pub(super) fn random_text() -> Result<Secret<String>, Error> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
    random.fill(bytes.as_mut()).map_err(|_| Error::Randomness)?;
    Ok(Secret::new(BASE64_URL_SAFE_NO_PAD.encode(bytes.as_ref())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_halves_of_a_basic_secret_are_form_encoded() {
        let basic = Authentication::Basic(Secret::new("p:w %/é+".to_owned()));
        let header = basic.header("my client").unwrap();
        let pair = BASE64_STANDARD.decode(header.strip_prefix("Basic ").unwrap()).unwrap();
        assert_eq!(String::from_utf8(pair).unwrap(), "my+client:p%3Aw+%25%2F%C3%A9%2B");
        assert!(basic.field().is_none());
        assert!(Authentication::Public.header("x").is_none());
    }

    #[test]
    fn a_code_verifier_has_the_length_of_rfc_7636_and_is_new_each_time() {
        let (one, other) = (random_text().unwrap(), random_text().unwrap());
        assert_eq!(one.reveal().len(), 43);
        assert_ne!(one.reveal(), other.reveal());
    }
}
