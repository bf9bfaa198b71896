//! What can be wrong with an identity provider.
//!
//! Promises: no secret, token or code in any text; [`Error::trouble`] tells "cannot be reached" from "answers
//! wrongly" from "refuses our client", because a client is told different things.
//! Deliberately not here: tokens that are not believed (`domain::identity::verify::TokenError`), and SQLSTATEs.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use domain::identity::claims::ClaimsError;
use domain::identity::keys::KeySetError;

use super::http::BODY_BYTES_MAX;

/// One address of the provider, by what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `/.well-known/openid-configuration` of the issuer.
    Discovery,
    /// `jwks_uri`
    Keys,
    /// `device_authorization_endpoint`
    DeviceAuthorization,
    /// `token_endpoint`
    Token,
    /// `userinfo_endpoint`
    Userinfo,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Discovery => "discovery document",
            Self::Keys => "jwks_uri",
            Self::DeviceAuthorization => "device_authorization_endpoint",
            Self::Token => "token_endpoint",
            Self::Userinfo => "userinfo_endpoint",
        })
    }
}

/// Which kind of trouble an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The provider cannot be reached, or is too busy: later may be better (08006).
    Unreachable,
    /// It answers, and not as an OpenID provider does.
    AnswersWrongly,
    /// It answers, and does not want this client or this flow: its administrator or ours must act.
    RefusesClient,
    /// Something on this machine: a certificate file, a secret.
    Local,
}

/// What is wrong with the provider, or with the way to it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection, or it broke.
    #[error("the {endpoint} cannot be reached")]
    Unreachable {
        /// Where.
        endpoint: Endpoint,
        /// What the HTTP client says, without the address.
        source: reqwest::Error,
    },
    /// No descriptor may be taken for a connection: the last ones are the trail's.
    #[error("the {endpoint} cannot be asked: no file descriptors are left")]
    NoDescriptors {
        /// Where.
        endpoint: Endpoint,
        /// What the system would say.
        source: io::Error,
    },
    /// It took too long.
    #[error("the {endpoint} did not answer within {}", seconds(*.after))]
    Slow {
        /// Where.
        endpoint: Endpoint,
        /// How long it had.
        after: Duration,
    },
    /// It answers that it cannot at the moment.
    #[error("the {endpoint} is not available now (HTTP {status})")]
    Busy {
        /// Where.
        endpoint: Endpoint,
        /// The HTTP status.
        status: u16,
    },
    /// An answer with a status that the protocol does not have.
    #[error("expected HTTP 200 from the {endpoint}, got {status}")]
    Status {
        /// Where.
        endpoint: Endpoint,
        /// The HTTP status.
        status: u16,
    },
    /// A redirect, which is never followed.
    #[error("expected an answer from the {endpoint}, got a redirect (HTTP {status}); redirects are not followed")]
    Redirect {
        /// Where.
        endpoint: Endpoint,
        /// The HTTP status.
        status: u16,
    },
    /// More than any honest answer.
    #[error("expected at most {BODY_BYTES_MAX} bytes from the {endpoint}, got more")]
    TooLarge {
        /// Where.
        endpoint: Endpoint,
    },
    /// Not the JSON object it should be, or a member is missing or of the wrong type.
    #[error("the answer of the {endpoint} is malformed")]
    Malformed {
        /// Where.
        endpoint: Endpoint,
        /// What is wrong with it.
        source: ClaimsError,
    },
    /// The key set cannot be read.
    #[error("the answer of the jwks_uri is malformed")]
    Keys(#[from] KeySetError),
    /// A member of an answer that is shown to people or sent back has characters that it must not have.
    #[error("the answer of the {endpoint} has a `{member}` that cannot be used")]
    Unusable {
        /// Where.
        endpoint: Endpoint,
        /// Which member.
        member: &'static str,
    },
    /// The discovery document is that of another issuer.
    #[error("expected the issuer `{expected}` in the discovery document, got `{found}`; {remedy}")]
    Issuer {
        /// `idp.issuer`
        expected: String,
        /// What the document says.
        found: String,
        /// What usually helps.
        remedy: &'static str,
    },
    /// The discovery document names another place for the keys than it did before.
    #[error(
        "expected the jwks_uri at `{expected}`, where it was before, got `{found}`; restart the proxy if the provider \
         has moved its keys"
    )]
    KeysMoved {
        /// Scheme, host and port so far.
        expected: String,
        /// What the document says now.
        found: String,
    },
    /// The issuer or an endpoint has an address that must not be called.
    #[error("expected an https address that may be called for the {endpoint}, got `{address}`")]
    Address {
        /// Which one.
        endpoint: Endpoint,
        /// The address.
        address: String,
    },
    /// The provider does not offer the device flow.
    #[error("the provider offers no device flow: {remedy}")]
    NoDeviceFlow {
        /// What to switch on.
        remedy: &'static str,
    },
    /// The provider refuses our client.
    #[error("the {endpoint} refuses this client with `{code}`: {remedy}")]
    Client {
        /// Where.
        endpoint: Endpoint,
        /// The error code, for Entra with the number of its cause.
        code: String,
        /// What usually helps.
        remedy: &'static str,
    },
    /// The provider takes the client's secret in no way that we have.
    #[error("expected `client_secret_basic` or `client_secret_post` in `token_endpoint_auth_methods_supported`")]
    NoClientAuthentication,
    /// A sign-in brought no ID token.
    #[error(
        "the token_endpoint gave no ID token: the scope `openid` must be asked for, and the provider must be an OpenID provider"
    )]
    NoIdToken,
    /// The file of `idp.ca` cannot be used.
    #[error("expected PEM certificates in `{}`", path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error("TLS towards the provider cannot be set up")]
    Tls(#[source] rustls::Error),
    /// The HTTP client cannot be set up.
    #[error("the HTTP client cannot be set up")]
    Setup(#[source] reqwest::Error),
    /// There are no roots at all to check the provider's certificate with.
    #[error("expected root certificates of the system, or `idp.ca`, found none")]
    NoRoots,
    /// The client's secret cannot be read.
    #[error("the client's secret cannot be read")]
    Secret(#[from] crate::config::secret::Error),
    /// The operating system gave no randomness.
    #[error("the system gives no random numbers")]
    Randomness,
}

impl Error {
    /// Which kind of trouble this is.
    #[must_use]
    pub const fn trouble(&self) -> Trouble {
        match self {
            Self::Unreachable { .. } | Self::NoDescriptors { .. } | Self::Slow { .. } | Self::Busy { .. } => {
                Trouble::Unreachable
            }
            Self::NoDeviceFlow { .. } | Self::Client { .. } | Self::NoClientAuthentication => Trouble::RefusesClient,
            Self::Status { .. }
            | Self::Redirect { .. }
            | Self::TooLarge { .. }
            | Self::Malformed { .. }
            | Self::Keys(_)
            | Self::Unusable { .. }
            | Self::Issuer { .. }
            | Self::KeysMoved { .. }
            | Self::Address { .. }
            | Self::NoIdToken => Trouble::AnswersWrongly,
            Self::Roots { .. } | Self::Tls(_) | Self::Setup(_) | Self::NoRoots | Self::Secret(_) | Self::Randomness => {
                Trouble::Local
            }
        }
    }

    /// Whether trying again later may help without anybody's doing.
    #[must_use]
    pub const fn is_unreachable(&self) -> bool {
        matches!(self.trouble(), Trouble::Unreachable)
    }
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs())
}
