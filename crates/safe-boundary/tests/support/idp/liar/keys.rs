//! The keys that the liar signs with, and what it publishes of them.

use std::sync::LazyLock;

use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519, PKCS_RSA_SHA256,
    RsaKeySize, SignatureAlgorithm, SigningKey as _,
};
use serde_json::{Value, json};

use super::base64_url;

/// One key of each kind for all liars of a test program: RSA keys are slow to make.
pub(crate) static RSA: LazyLock<KeyPair> = LazyLock::new(rsa);
pub(crate) static P256: LazyLock<KeyPair> = LazyLock::new(|| pair(&PKCS_ECDSA_P256_SHA256));
pub(crate) static P384: LazyLock<KeyPair> = LazyLock::new(|| pair(&PKCS_ECDSA_P384_SHA384));
pub(crate) static P521: LazyLock<KeyPair> = LazyLock::new(|| pair(&PKCS_ECDSA_P521_SHA512));
/// The attacker's own.
pub(crate) static THEIRS: LazyLock<KeyPair> = LazyLock::new(rsa);

pub(crate) fn pair(kind: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(kind).unwrap()
}

fn rsa() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap()
}

pub(super) fn ed25519() -> KeyPair {
    pair(&PKCS_ED25519)
}

/// The modulus of an RSA key of 2048 bits.
pub(crate) fn modulus(key: &KeyPair) -> Vec<u8> {
    // RSAPublicKey in DER: both lengths take four bytes, and a zero keeps the modulus positive.
    key.public_key_raw()[9..265].to_vec()
}

pub(crate) fn rsa_jwk(kid: &str, key: &KeyPair) -> Value {
    json!({ "kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": base64_url(modulus(key)), "e": "AQAB" })
}

pub(crate) fn ec_jwk(kid: &str, curve: &str, key: &KeyPair) -> Value {
    let point = &key.public_key_raw()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    json!({ "kty": "EC", "kid": kid, "crv": curve, "x": base64_url(x), "y": base64_url(y) })
}

pub(super) fn ed_jwk(kid: &str, key: &KeyPair) -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": base64_url(key.public_key_raw()) })
}

/// The signature of an RSA or Ed25519 key; that of an elliptic curve in DER.
pub(crate) fn sign(key: &KeyPair, message: &str) -> Vec<u8> {
    key.sign(message.as_bytes()).unwrap()
}

/// The signature of an elliptic curve as tokens have it: r and s, one after the other.
pub(crate) fn sign_ec(algorithm: Algorithm, key: &KeyPair, message: &str) -> Vec<u8> {
    raw(&jsonwebtoken::crypto::sign(message.as_bytes(), &EncodingKey::from_ec_der(&key.serialize_der()), algorithm))
}

/// A keyed hash, with something public as the key.
pub(crate) fn hmac(algorithm: Algorithm, secret: &[u8], message: &str) -> Vec<u8> {
    raw(&jsonwebtoken::crypto::sign(message.as_bytes(), &EncodingKey::from_secret(secret), algorithm))
}

fn raw(text: &jsonwebtoken::errors::Result<String>) -> Vec<u8> {
    base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, text.as_ref().unwrap()).unwrap()
}
