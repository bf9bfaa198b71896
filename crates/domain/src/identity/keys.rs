//! The public keys of an identity provider (RFC 7517), and which of them may check a token.
//!
//! Promises: a key is used only for an algorithm that its type, curve, `use`, `key_ops` and `alg` allow, and only
//! if it is strong enough; a `kid` that stands for two different keys stands for none.
//! Deliberately not here: fetching and caching them; `idp/keys.rs` of the shell does.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use super::claims::{Claims, ClaimsError};

/// How many keys one set may have; providers publish two to ten.
const KEYS_MAX: usize = 100;

/// The sizes of an RSA modulus that are strong enough and still checked fast, in bits (RFC 7518 §3.3).
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The smallest public exponent of RSA that is accepted (FIPS 186-5: above 2^16).
const RSA_EXPONENT_MIN: u64 = 65_537;

/// The keys an identity provider signs with at present.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeySet(Vec<Key>);

/// Why a JSON text is not a key set.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// It is not the JSON object that it must be.
    #[error("expected a key set")]
    NotAKeySet(#[from] ClaimsError),
    /// It has no list `keys`.
    #[error("expected a list `keys`")]
    NoKeys,
    /// It has more keys than any honest provider.
    #[error("expected at most {KEYS_MAX} keys, got {0}")]
    TooMany(usize),
}

/// Why no key may check a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No key has the token's `kid`, or the token has none and no key fits.
    #[error("no key of the provider has this `kid`")]
    Unknown,
    /// Different keys have this `kid`, or the token has none and several keys fit.
    #[error("several keys of the provider could be meant")]
    Ambiguous,
    /// The key is of another type or curve, or for another algorithm or use.
    #[error("the provider's key is not for the token's algorithm")]
    Unfit,
    /// The key is too short, or its numbers are not those of a key.
    #[error("the provider's key is too weak or malformed")]
    Weak,
}

#[derive(Clone, Debug, PartialEq)]
struct Key {
    kid: Option<String>,
    alg: Option<String>,
    /// Whether `use` and `key_ops` allow to check signatures.
    verifies: bool,
    material: Material,
}

#[derive(Clone, Debug, PartialEq)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    Ec {
        curve: String,
        x: Vec<u8>,
        y: Vec<u8>,
    },
    Okp {
        curve: String,
        x: Vec<u8>,
    },
    /// A type that no accepted algorithm uses, or members that cannot be read.
    Unusable,
}

impl KeySet {
    /// Reads a JWK set. Keys of unknown types stay in as unusable ones: they still occupy their `kid`.
    ///
    /// # Errors
    /// [`KeySetError`] when the text is not a bounded JWK set.
    pub fn parse(raw: &[u8]) -> Result<Self, KeySetError> {
        let document = Claims::parse(raw)?;
        let Some(Value::Array(keys)) = document.find("keys") else { return Err(KeySetError::NoKeys) };
        if keys.len() > KEYS_MAX {
            return Err(KeySetError::TooMany(keys.len()));
        }
        Ok(Self(keys.iter().map(Key::read).collect()))
    }

    /// How many keys it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has no key.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one key that may check a token with this algorithm and `kid`.
    pub(super) fn select(&self, algorithm: Algorithm, kid: Option<&str>) -> Result<DecodingKey, KeyError> {
        let named = |key: &&Key| kid.is_none() || key.kid.as_deref() == kid;
        let candidates: Vec<_> = self.0.iter().filter(named).collect();
        let Some(first) = candidates.first() else { return Err(KeyError::Unknown) };
        // One key may stand there several times, once for each of its algorithms; two keys under one name may not.
        if kid.is_some() && candidates.iter().any(|key| key.material != first.material) {
            return Err(KeyError::Ambiguous);
        }
        let mut fitting = candidates.iter().filter(|key| key.fits(algorithm));
        match (fitting.next(), kid) {
            (None, None) => Err(KeyError::Unknown),
            (None, Some(_)) => Err(KeyError::Unfit),
            (Some(key), _) if fitting.all(|other| other.material == key.material) => key.material.checker(),
            (Some(_), _) => Err(KeyError::Ambiguous),
        }
    }
}

impl Key {
    fn read(jwk: &Value) -> Self {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        // A member of the wrong type must not count as absent: absent allows more.
        let is = |name: &str, wanted: &str| jwk.get(name).is_none_or(|value| value.as_str() == Some(wanted));
        let verify = |ops: &Value| ops.as_array().is_some_and(|ops| ops.iter().any(|op| op.as_str() == Some("verify")));
        let odd_alg = jwk.get("alg").is_some_and(|alg| !alg.is_string());
        let verifies = is("use", "sig") && jwk.get("key_ops").is_none_or(verify) && !odd_alg;
        Self {
            kid: text("kid").map(str::to_owned),
            alg: text("alg").map(str::to_owned),
            verifies,
            material: Material::read(jwk).unwrap_or(Material::Unusable),
        }
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        let alg_fits = match self.alg.as_deref() {
            None => true,
            // RFC 9864 names the curve where RFC 8037 did not.
            Some("Ed25519") => algorithm == Algorithm::EdDSA,
            Some(alg) => alg.parse() == Ok(algorithm),
        };
        self.verifies && alg_fits && self.material.fits(algorithm)
    }
}

impl Material {
    fn read(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| BASE64_URL_SAFE_NO_PAD.decode(text(name)?).ok();
        Some(match text("kty")? {
            "RSA" => Self::Rsa { n: without_zeros(bytes("n")?), e: without_zeros(bytes("e")?) },
            "EC" => Self::Ec { curve: text("crv")?.to_owned(), x: bytes("x")?, y: bytes("y")? },
            "OKP" => Self::Okp { curve: text("crv")?.to_owned(), x: bytes("x")? },
            _ => return None,
        })
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        match self {
            Self::Rsa { .. } => matches!(algorithm, RS256 | RS384 | RS512 | PS256 | PS384 | PS512),
            Self::Ec { curve, .. } => {
                matches!((algorithm, curve.as_str()), (ES256, "P-256") | (ES384, "P-384"))
            }
            Self::Okp { curve, .. } => algorithm == EdDSA && curve == "Ed25519",
            Self::Unusable => false,
        }
    }

    /// The key for the signature check, if it is strong enough.
    fn checker(&self) -> Result<DecodingKey, KeyError> {
        match self {
            Self::Rsa { n, e } if rsa_is_strong(n, e) => Ok(DecodingKey::from_rsa_raw_components(n, e)),
            Self::Ec { curve, x, y } => {
                // Each coordinate has its full length (RFC 7518 §6.2.1.2), or x and y could be cut differently.
                let bytes = if curve == "P-256" { 32 } else { 48 };
                if x.len() != bytes || y.len() != bytes {
                    return Err(KeyError::Weak);
                }
                Ok(DecodingKey::from_ec_der(&[&[4][..], x, y].concat()))
            }
            Self::Okp { x, .. } if x.len() == 32 => Ok(DecodingKey::from_ed_der(x)),
            Self::Rsa { .. } | Self::Okp { .. } | Self::Unusable => Err(KeyError::Weak),
        }
    }
}

fn without_zeros(bytes: Vec<u8>) -> Vec<u8> {
    bytes.into_iter().skip_while(|&byte| byte == 0).collect()
}

fn rsa_is_strong(n: &[u8], e: &[u8]) -> bool {
    let Some(first) = n.first() else { return false };
    let bits = n.len().saturating_mul(8).saturating_sub(usize::try_from(first.leading_zeros()).unwrap_or(8));
    let exponent = match e.len() {
        1..=8 => e.iter().fold(0_u64, |sum, &byte| (sum << 8) | u64::from(byte)),
        _ => return false,
    };
    RSA_BITS.contains(&bits) && exponent >= RSA_EXPONENT_MIN && exponent % 2 == 1
}
