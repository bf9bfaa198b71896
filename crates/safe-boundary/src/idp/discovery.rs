//! The provider's discovery document (OpenID Connect Discovery 1.0).
//!
//! Promises: the document must name the configured issuer, byte for byte, and only endpoints within its reach; the keys
//! stay where they were when the process began; one request at a time, however many people are waiting.
//! Deliberately not here: building addresses by hand. What the document does not say does not exist.

use std::sync::Arc;
use std::time::Duration;

use domain::identity::claims::Claims;
use reqwest::Url;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::error::{Endpoint, Error};
use super::http::{Http, Reach};
use super::presets;
use crate::config::Preset;

/// How long a document is used before it is fetched again.
const TTL: Duration = Duration::from_secs(3600);

/// How long one without a device flow is: somebody who is told so switches it on, and tries again.
const TTL_UNFIT: Duration = Duration::from_secs(10);

/// What the provider says of itself.
#[derive(Clone, Debug)]
pub struct Metadata {
    /// Where a device code is asked for; not every provider has it.
    pub device_authorization_endpoint: Option<Url>,
    /// Where tokens are asked for.
    pub token_endpoint: Url,
    /// Where the public keys are.
    pub jwks_uri: Url,
    /// Where claims are that the token lacks.
    pub userinfo_endpoint: Option<Url>,
    /// How a client may show its secret.
    pub client_authentication: Vec<String>,
    /// Which scopes it says it has; empty when it does not say.
    pub scopes: Vec<String>,
    /// Which claims it says it has; empty when it does not say.
    pub claims: Vec<String>,
}

/// The document, fetched when needed and kept for a while.
#[derive(Debug, Default)]
pub(super) struct Discovery {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    document: Option<(Instant, Arc<Metadata>)>,
    /// The origin of `jwks_uri` in the first document. Whoever can forge a document for a moment must not have people
    /// signed in by keys of his own for an hour.
    keys_origin: Option<String>,
}

impl Discovery {
    /// What the provider says of itself, not older than an hour.
    pub(super) async fn metadata(&self, http: &Http, issuer: &str, preset: Preset) -> Result<Arc<Metadata>, Error> {
        // Whoever comes while a request is under way waits here for its answer; a waiter that goes away frees its
        // place, and one that was fetching lets the next one fetch.
        let mut kept = self.kept.lock().await;
        if let Some((fetched, metadata)) = &kept.document
            && fetched.elapsed() < metadata.ttl()
        {
            return Ok(Arc::clone(metadata));
        }
        let url = address(http, issuer)?;
        let body = http.fetch(Endpoint::Discovery, http.get(&url)).await?;
        let metadata = Arc::new(Metadata::parse(&body, issuer, preset, http.reach())?);
        kept.pin(&metadata)?;
        kept.document = Some((Instant::now(), Arc::clone(&metadata)));
        Ok(metadata)
    }
}

impl Kept {
    /// Notes where the keys are, or finds them where they were.
    fn pin(&mut self, metadata: &Metadata) -> Result<(), Error> {
        let found = metadata.jwks_uri.origin().ascii_serialization();
        match &self.keys_origin {
            Some(expected) if *expected != found => Err(Error::KeysMoved { expected: expected.clone(), found }),
            Some(_) => Ok(()),
            None => {
                self.keys_origin = Some(found);
                Ok(())
            }
        }
    }
}

/// Where the document is.
pub(super) fn address(http: &Http, issuer: &str) -> Result<Url, Error> {
    let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    http.reach().check(Endpoint::Discovery, &address)
}

impl Metadata {
    const fn ttl(&self) -> Duration {
        if self.device_authorization_endpoint.is_some() { TTL } else { TTL_UNFIT }
    }

    fn parse(raw: &[u8], issuer: &str, preset: Preset, reach: Reach) -> Result<Self, Error> {
        let malformed = |source| Error::Malformed { endpoint: Endpoint::Discovery, source };
        let document = Claims::parse(raw).map_err(malformed)?;
        let found = document.text("issuer").map_err(malformed)?;
        if found != issuer {
            let found = found.chars().take(200).flat_map(char::escape_debug).collect();
            let remedy = presets::other_issuer(preset);
            return Err(Error::Issuer { expected: issuer.to_owned(), found, remedy });
        }
        let endpoint_if_any = |endpoint: Endpoint, name: &str| match document.text_if_any(name).map_err(malformed)? {
            Some(address) => reach.check(endpoint, address).map(Some),
            None => Ok(None),
        };
        let endpoint = |endpoint: Endpoint, name: &str| reach.check(endpoint, document.text(name).map_err(malformed)?);
        let list = |name: &str| match document.find(name) {
            Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        let mut client_authentication = list("token_endpoint_auth_methods_supported");
        if client_authentication.is_empty() {
            // What OpenID Connect Discovery §3 says the absence means.
            client_authentication.push("client_secret_basic".to_owned());
        }
        Ok(Self {
            device_authorization_endpoint: endpoint_if_any(
                Endpoint::DeviceAuthorization,
                "device_authorization_endpoint",
            )?,
            token_endpoint: endpoint(Endpoint::Token, "token_endpoint")?,
            jwks_uri: endpoint(Endpoint::Keys, "jwks_uri")?,
            userinfo_endpoint: endpoint_if_any(Endpoint::Userinfo, "userinfo_endpoint")?,
            client_authentication,
            scopes: list("scopes_supported"),
            claims: list("claims_supported"),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://idp.example.com";

    fn document() -> Value {
        json!({
            "issuer": ISSUER,
            "token_endpoint": "https://idp.example.com/token",
            "jwks_uri": "https://keys.example.net/jwks",
            "device_authorization_endpoint": "https://idp.example.com/device",
        })
    }

    fn parse(document: &Value) -> Result<Metadata, Error> {
        let reach = Reach::of_issuer(ISSUER).unwrap();
        Metadata::parse(document.to_string().as_bytes(), ISSUER, Preset::Generic, reach)
    }

    #[test]
    fn an_honest_document_is_read() {
        let metadata = parse(&document()).unwrap();
        assert_eq!(metadata.jwks_uri.as_str(), "https://keys.example.net/jwks");
        assert!(metadata.userinfo_endpoint.is_none());
        assert_eq!(metadata.ttl(), TTL);
        assert_eq!(metadata.client_authentication, ["client_secret_basic"]);
    }

    #[test]
    fn a_device_flow_that_is_switched_on_is_found_soon() {
        let mut document = document();
        document.as_object_mut().unwrap().remove("device_authorization_endpoint");
        assert_eq!(parse(&document).unwrap().ttl(), TTL_UNFIT);
    }

    #[test]
    fn b18_the_keys_stay_on_their_host() {
        let mut kept = Kept::default();
        let mut check = |jwks_uri: &str, expected: bool| {
            let mut document = document();
            document["jwks_uri"] = json!(jwks_uri);
            assert_eq!(kept.pin(&parse(&document).unwrap()).is_ok(), expected, "{jwks_uri}");
        };
        check("https://keys.example.net/jwks", true);
        check("https://keys.example.net/v2/jwks?x=1", true);
        check("https://keys.example.net:443/jwks", true);
        check("https://keys.example.net:8443/jwks", false);
        check("https://evil.example/jwks", false);
        check("https://idp.example.com/jwks", false);
        check("https://keys.example.net/jwks", true);
    }

    #[test]
    fn each_member_made_wrong_in_turn_is_refused() {
        for (member, value) in [
            ("issuer", json!("https://idp.example.com/")),
            ("issuer", json!("https://IDP.example.com")),
            ("issuer", json!("http://idp.example.com")),
            ("issuer", json!("https://idp.example.com/{tenantid}/v2.0")),
            ("issuer", json!(null)),
            ("token_endpoint", json!("http://idp.example.com/token")),
            ("token_endpoint", json!(7)),
            ("jwks_uri", json!("https://169.254.169.254/jwks")),
            ("jwks_uri", json!("file:///etc/passwd")),
            ("jwks_uri", json!("https://127.0.0.1/jwks")),
            ("userinfo_endpoint", json!("http://10.0.0.1/")),
            ("device_authorization_endpoint", json!("https://user@idp.example.com/device")),
        ] {
            let mut changed = document();
            changed[member] = value.clone();
            let error = parse(&changed).unwrap_err();
            assert_eq!(error.trouble(), super::super::Trouble::AnswersWrongly, "{member} = {value}: {error}");
        }
        for member in ["issuer", "token_endpoint", "jwks_uri"] {
            let mut changed = document();
            changed.as_object_mut().unwrap().remove(member);
            assert!(parse(&changed).is_err(), "{member}");
        }
    }
}
