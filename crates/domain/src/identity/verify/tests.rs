//! A valid token passes; then each claim, key, algorithm, header and time is made wrong in turn, and refused.

use std::sync::LazyLock;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaEncoding};
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use super::*;

const NOW: i64 = 1_790_000_000;
const ISSUER: &str = "https://idp.example.com";

/// One key of each kind, made once: RSA keys are slow to make.
struct Keys {
    rsa: RsaKeyPair,
    other_rsa: RsaKeyPair,
    p256: Vec<u8>,
    p384: Vec<u8>,
    ed: Ed25519KeyPair,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
    other_rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
    p256: pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
    p384: pkcs8(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
    ed: Ed25519KeyPair::generate().unwrap(),
});

fn pkcs8(algorithm: &'static signature::EcdsaSigningAlgorithm) -> Vec<u8> {
    EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap().as_ref().to_vec()
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn ec_sign(algorithm: &'static signature::EcdsaSigningAlgorithm, pkcs8: &[u8], message: &str) -> Vec<u8> {
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8).unwrap();
    pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec()
}

fn rsa_sign(pair: &RsaKeyPair, padding: &'static dyn RsaEncoding, message: &str) -> Vec<u8> {
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(padding, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
    signature
}

fn signature_of(alg: &str, message: &str) -> Vec<u8> {
    let rsa = |padding| rsa_sign(&KEYS.rsa, padding, message);
    match alg {
        "RS256" => rsa(&signature::RSA_PKCS1_SHA256),
        "RS384" => rsa(&signature::RSA_PKCS1_SHA384),
        "RS512" => rsa(&signature::RSA_PKCS1_SHA512),
        "PS256" => rsa(&signature::RSA_PSS_SHA256),
        "PS384" => rsa(&signature::RSA_PSS_SHA384),
        "PS512" => rsa(&signature::RSA_PSS_SHA512),
        "ES256" => ec_sign(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, &KEYS.p256, message),
        "ES384" => ec_sign(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, &KEYS.p384, message),
        "EdDSA" | "Ed25519" => KEYS.ed.sign(message.as_bytes()).as_ref().to_vec(),
        other => panic!("{other}"),
    }
}

fn message(header: &str, claims: &str) -> String {
    format!("{}.{}", b64(header), b64(claims))
}

/// A token with these texts as header and claims, signed as `alg` says whatever the header says.
fn signed(alg: &str, header: &str, claims: &str) -> String {
    let message = message(header, claims);
    format!("{message}.{}", b64(signature_of(alg, &message)))
}

fn token(claims: &Value) -> String {
    signed("RS256", r#"{"alg":"RS256","kid":"rsa","typ":"JWT"}"#, &claims.to_string())
}

fn rsa_jwk(kid: &str, pair: &RsaKeyPair) -> Value {
    // RSAPublicKey in DER: both lengths take four bytes, and a zero keeps the modulus positive.
    let der = pair.public_key().as_ref();
    json!({ "kty": "RSA", "kid": kid, "use": "sig", "n": b64(&der[9..265]), "e": "AQAB" })
}

fn ec_jwk(kid: &str, curve: &str, pkcs8: &[u8]) -> Value {
    let algorithm = match curve {
        "P-256" => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        _ => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
    };
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(if curve == "P-256" { 32 } else { 48 });
    json!({ "kty": "EC", "kid": kid, "crv": curve, "x": b64(x), "y": b64(y) })
}

fn ed_jwk(kid: &str) -> Value {
    json!({ "kty": "OKP", "kid": kid, "crv": "Ed25519", "x": b64(KEYS.ed.public_key().as_ref()) })
}

fn key_set(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn all_keys() -> KeySet {
    let (p256, p384) = (ec_jwk("p256", "P-256", &KEYS.p256), ec_jwk("p384", "P-384", &KEYS.p384));
    key_set(&[rsa_jwk("rsa", &KEYS.rsa), p256, p384, ed_jwk("ed"), json!({ "kty": "oct", "k": "AAAA", "kid": "oct" })])
}

fn rules() -> Rules {
    Rules {
        issuer: ISSUER.to_owned(),
        client_id: "client".to_owned(),
        login_claim: "email".to_owned(),
        subject_claim: vec!["sub".to_owned()],
        groups_claim: "groups".to_owned(),
        require_verified_email: false,
        hosted_domain: None,
        nonce: None,
        access_token: None,
    }
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "client", "sub": "00u1", "email": "alice@example.com",
        "exp": NOW + 300, "iat": NOW - 5, "groups": ["on-call", "engineering"],
    })
}

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

/// The outcome in one word: `ok`, or the name of the error.
fn outcome(token: &str, keys: &KeySet, rules: &Rules) -> String {
    match verify(token, keys, rules, now()) {
        Ok(_) => "ok".to_owned(),
        Err(TokenError::Key(error)) => format!("{error:?}"),
        Err(error) => {
            assert!(!error.to_string().contains(['\n', '\u{202e}', '\0']), "{error}");
            format!("{error:?}").split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned()
        }
    }
}

#[test]
fn a_valid_token_of_each_accepted_algorithm_passes() {
    let keys = all_keys();
    for (alg, kid) in [
        ("RS256", "rsa"),
        ("RS384", "rsa"),
        ("RS512", "rsa"),
        ("PS256", "rsa"),
        ("PS384", "rsa"),
        ("PS512", "rsa"),
        ("ES256", "p256"),
        ("ES384", "p384"),
        ("EdDSA", "ed"),
        ("Ed25519", "ed"),
    ] {
        let header = json!({ "alg": alg, "kid": kid }).to_string();
        assert_eq!(outcome(&signed(alg, &header, &claims().to_string()), &keys, &rules()), "ok", "{alg}");
    }
}

#[test]
fn an_identity_has_what_the_token_says() {
    let mut claims = claims();
    claims["acr"] = json!("urn:mfa");
    claims["amr"] = json!(["pwd", "otp", 7]);
    claims["auth_time"] = json!(NOW - 60);
    let identity = verify(&token(&claims), &all_keys(), &rules(), now()).unwrap();
    assert_eq!((identity.login(), identity.issuer(), identity.subject()), ("alice@example.com", ISSUER, "00u1"));
    assert_eq!(identity.groups(), ["engineering", "on-call"]);
    assert_eq!((identity.acr(), identity.amr()), (Some("urn:mfa"), &["pwd".to_owned(), "otp".to_owned()][..]));
    assert_eq!(identity.auth_time().map(Timestamp::as_second), Some(NOW - 60));
    assert_eq!(identity.expires_at().as_second(), NOW + 300);
    assert!(identity.claims_json().contains("urn:mfa"));
}

/// Sets one claim (or removes it, for `None`) and says what comes of it.
fn with(name: &str, value: Option<Value>) -> Value {
    let mut claims = claims();
    match value {
        Some(value) => claims[name] = value,
        None => drop(claims.as_object_mut().unwrap().remove(name)),
    }
    claims
}

#[test]
fn each_claim_made_wrong_in_turn_is_refused() {
    let keys = all_keys();
    let check = |name: &str, value: Option<Value>, expected: &str| {
        assert_eq!(outcome(&token(&with(name, value.clone())), &keys, &rules()), expected, "{name} = {value:?}");
    };
    // b10: the issuer, byte for byte
    for other in
        ["https://idp.example.com/", "https://IDP.example.com", "http://idp.example.com", "", "https://x/{tenantid}"]
    {
        check("iss", Some(json!(other)), "Issuer");
    }
    check("iss", Some(json!(["https://idp.example.com"])), "Claims");
    check("iss", None, "Claims");
    // b9: the audience
    check("aud", None, "Claims");
    check("aud", Some(json!(7)), "Claims");
    check("aud", Some(json!(["client", 7])), "Claims");
    for other in [json!("other"), json!("CLIENT"), json!([]), json!(["other"]), json!("client ")] {
        check("aud", Some(other), "Audience");
    }
    check("aud", Some(json!(["client", "other"])), "AuthorizedParty");
    check("aud", Some(json!(["client"])), "ok");
    check("azp", Some(json!("other")), "AuthorizedParty");
    check("azp", Some(json!(7)), "Claims");
    check("azp", Some(json!("client")), "ok");
    // b11: tokens for other ends
    check("events", Some(json!({ "http://schemas.openid.net/event/backchannel-logout": {} })), "Type");
    for kind in ["Bearer", "Refresh", "Offline", "Logout", "DPoP"] {
        check("typ", Some(json!(kind)), "Type");
    }
    check("typ", Some(json!("ID")), "ok");
    // b14: the subject
    check("sub", None, "Claims");
    check("sub", Some(json!(7)), "Claims");
    check("sub", Some(json!("x".repeat(255))), "ok");
    for bad in ["", "a\0b", "a\nb", "a\u{202e}b", "a\u{200b}b", &"x".repeat(256)] {
        check("sub", Some(json!(bad)), "Name");
    }
    // the login
    check("email", None, "Claims");
    check("email", Some(json!(["alice@example.com"])), "Claims");
    for bad in ["", "ali ce@example.com", "alice@example.com\0", "admin\u{200b}@example.com", "a/b@x", &"a".repeat(255)]
    {
        check("email", Some(json!(bad)), "Name");
    }
    // groups
    check("groups", None, "ok");
    check("groups", Some(json!("one")), "ok");
    check("groups", Some(json!({ "a": 1 })), "Claims");
    check("hasgroups", Some(json!(true)), "Claims");
    check("_claim_names", Some(json!({ "groups": "src1" })), "Claims");
}

#[test]
fn each_time_made_wrong_in_turn_is_refused() {
    let keys = all_keys();
    let check = |name: &str, value: Option<Value>, expected: &str| {
        assert_eq!(outcome(&token(&with(name, value.clone())), &keys, &rules()), expected, "{name} = {value:?}");
    };
    check("exp", Some(json!(NOW - 59)), "ok");
    check("exp", Some(json!(NOW - 60)), "Expired");
    check("exp", Some(json!(0)), "Expired");
    check("iat", Some(json!(NOW + 60)), "ok");
    check("nbf", Some(json!(NOW + 60)), "ok");
    for name in ["iat", "nbf", "auth_time"] {
        check(name, Some(json!(NOW + 61)), "Future");
        check(name, Some(json!(NOW + 300)), "Future");
    }
    check("exp", None, "Claims");
    check("iat", None, "Claims");
    for name in ["exp", "iat", "nbf", "auth_time"] {
        for bad in [json!("1790000000"), json!(-1), json!(1e300), json!(null), json!([NOW])] {
            check(name, Some(bad), "Claims");
        }
    }
    check("exp", Some(json!(253_402_207_200_i64)), "ok");
    check("exp", Some(json!(253_402_207_201_i64)), "Claims");
    check("iat", Some(json!(1_790_000_000.5)), "ok");
}

#[test]
fn an_unverified_address_names_nobody() {
    let check = |claims: &[(&str, Value)], change: fn(&mut Rules), expected: &str| {
        let mut rules = rules();
        change(&mut rules);
        let mut all = self::claims();
        for (name, value) in claims {
            all[*name] = value.clone();
        }
        assert_eq!(outcome(&token(&all), &all_keys(), &rules), expected, "{claims:?}");
    };
    let required: fn(&mut Rules) = |rules| rules.require_verified_email = true;
    let plain: fn(&mut Rules) = |_| {};
    check(&[("email_verified", json!(true))], required, "ok");
    check(&[("email_verified", json!("true"))], required, "ok");
    check(&[], required, "EmailNotVerified");
    check(&[], plain, "ok");
    for no in [json!(false), json!("false"), json!(null), json!("yes"), json!([true])] {
        check(&[("email_verified", no.clone())], plain, "EmailNotVerified");
        check(&[("xms_edov", no)], plain, "EmailNotVerified");
    }
    check(&[("xms_edov", json!("1")), ("email_verified", json!(true))], plain, "ok");
    let by_name: fn(&mut Rules) = |rules| rules.login_claim = "preferred_username".to_owned();
    check(&[("email_verified", json!(false)), ("preferred_username", json!("a@b"))], by_name, "ok");
    let hosted: fn(&mut Rules) = |rules| rules.hosted_domain = Some("example.com".to_owned());
    check(&[("hd", json!("example.com"))], hosted, "ok");
    check(&[("hd", json!("example.org"))], hosted, "HostedDomain");
    check(&[], hosted, "HostedDomain");
    check(&[("hd", json!(["example.com"]))], hosted, "Claims");
}

#[test]
fn a_person_is_issuer_and_stable_id_never_the_address() {
    let subject = |claims: &Value, paths: &[&str]| {
        let rules = Rules { subject_claim: paths.iter().map(|&path| path.to_owned()).collect(), ..rules() };
        verify(&token(claims), &all_keys(), &rules, now()).map(|identity| identity.subject().to_owned())
    };
    let mut claims = claims();
    (claims["tid"], claims["oid"]) = (json!("tenant"), json!("object"));
    assert_eq!(subject(&claims, &["sub"]).unwrap(), "00u1");
    assert_eq!(subject(&claims, &["tid", "oid"]).unwrap(), "tenant:object");
    assert!(subject(&claims, &["tid", "none"]).is_err());
    assert!(subject(&claims, &[]).is_err());
    claims["tid"] = json!("ten:ant");
    assert!(subject(&claims, &["tid", "oid"]).is_err());
    assert!(subject(&claims, &["tid"]).is_ok());
    // nOAuth: the same address from another tenant is another person.
    claims["tid"] = json!("other");
    assert_eq!(subject(&claims, &["tid", "oid"]).unwrap(), "other:object");
}

#[test]
fn each_header_made_wrong_in_turn_is_refused() {
    let keys = all_keys();
    let check = |header: &str, expected: &str| {
        assert_eq!(outcome(&signed("RS256", header, &claims().to_string()), &keys, &rules()), expected, "{header}");
    };
    // b1: no algorithm
    for none in
        ["none", "None", "nOnE", "NONE", "", "RS256 ", "rs256", "RS1", "ES256K", "ES512", "Ed448", "dir", "RSA-OAEP"]
    {
        check(&json!({ "alg": none, "kid": "rsa" }).to_string(), "Algorithm");
    }
    for header in [
        r#"{"kid":"rsa"}"#,
        r#"{"alg":7,"kid":"rsa"}"#,
        r#"{"alg":["RS256"]}"#,
        "[]",
        "",
        "{",
        r#"{"alg":"RS256","alg":"RS256"}"#,
    ] {
        check(header, "Header");
    }
    // b3: key ids
    for kid in ["../../rsa", "' OR 1=1 --", "rsa\r\nx: y", "RSA", "rsa ", "", "/dev/null", "http://127.0.0.1/k"] {
        check(&json!({ "alg": "RS256", "kid": kid }).to_string(), "Unknown");
    }
    check(r#"{"alg":"RS256","kid":7}"#, "Header");
    check(r#"{"alg":"RS256","kid":null}"#, "Header");
    check(r#"{"alg":"RS256","kid":"p256"}"#, "Unfit");
    check(r#"{"alg":"ES256","kid":"rsa"}"#, "Unfit");
    check(r#"{"alg":"ES384","kid":"p256"}"#, "Unfit");
    check(r#"{"alg":"RS256","kid":"oct"}"#, "Unfit");
    check(r#"{"alg":"RS384","kid":"rsa"}"#, "Signature");
    check(r#"{"alg":"PS256","kid":"rsa"}"#, "Signature");
    check(r#"{"alg":"RS256"}"#, "ok");
    // b4: keys that the token brings along are not looked at
    let jwk = rsa_jwk("theirs", &KEYS.other_rsa);
    let theirs = |kid: &str| {
        json!({ "alg": "RS256", "kid": kid, "jwk": jwk, "jku": "http://127.0.0.1:1/jwks",
        "x5u": "http://127.0.0.1:1/x", "x5c": ["AAAA"] })
        .to_string()
    };
    check(&theirs("theirs"), "Unknown");
    let claims = claims().to_string();
    let message = message(&theirs("rsa"), &claims);
    let signature = rsa_sign(&KEYS.other_rsa, &signature::RSA_PKCS1_SHA256, &message);
    assert_eq!(outcome(&format!("{message}.{}", b64(signature)), &keys, &rules()), "Signature");
    // b5, b6: members that change what the token is
    for member in ["crit", "b64", "enc", "zip", "cty"] {
        for value in [json!(["exp"]), json!(false), json!("JWT"), json!(null)] {
            let mut header = json!({ "alg": "RS256", "kid": "rsa" });
            header[member] = value;
            check(&header.to_string(), "HeaderMember");
        }
    }
    // b11: types
    for kind in ["at+jwt", "application/at+jwt", "logout+jwt", "secevent+jwt", "dpop+jwt", "JWE", ""] {
        check(&json!({ "alg": "RS256", "kid": "rsa", "typ": kind }).to_string(), "Type");
    }
    for kind in ["JWT", "jwt", "application/JWT"] {
        check(&json!({ "alg": "RS256", "kid": "rsa", "typ": kind }).to_string(), "ok");
    }
}

#[test]
fn a_public_key_is_never_a_shared_secret() {
    // b2: HS256 with everything that an attacker knows of the public key
    let der = KEYS.rsa.public_key().as_der().unwrap().as_ref().to_vec();
    let pkcs1 = KEYS.rsa.public_key().as_ref().to_vec();
    let lines: Vec<_> = BASE64_STANDARD
        .encode(&der)
        .into_bytes()
        .chunks(64)
        .map(|line| String::from_utf8(line.to_vec()).unwrap())
        .collect();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"));
    let jwk = rsa_jwk("rsa", &KEYS.rsa);
    let modulus = BASE64_URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    for secret in
        [pem.trim_end().as_bytes(), pem.as_bytes(), &der, &pkcs1, jwk.to_string().as_bytes(), &modulus, b"", &[0, 0, 0]]
    {
        for (alg, algorithm) in
            [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
        {
            for kid in ["rsa", "oct"] {
                let message = message(&json!({ "alg": alg, "kid": kid }).to_string(), &claims().to_string());
                let tag = hmac::sign(&hmac::Key::new(algorithm, secret), message.as_bytes());
                assert_eq!(outcome(&format!("{message}.{}", b64(tag)), &all_keys(), &rules()), "Algorithm");
            }
        }
    }
}

#[test]
fn only_compact_signed_tokens_are_read() {
    let good = token(&claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let json_form = json!({ "payload": payload, "protected": header, "signature": signature }).to_string();
    let flat =
        json!({ "payload": payload, "signatures": [{ "protected": header, "signature": signature }] }).to_string();
    for bad in [
        "",
        ".",
        "..",
        "...",
        "a.b",
        &format!("{message}."),
        message,
        &format!("{good}."),
        &format!("{good}.x"),
        &format!(".{good}"),
        &format!("{header}..{signature}.x"),
        &format!("{good}="),
        &format!(" {good}"),
        &format!("{good}\n"),
        &format!("{header}.{payload}.x.{signature}"),
        &json_form,
        &flat,
        &format!("{header}={payload}.{signature}"),
        &format!("{}.{payload}.{signature}", "A".repeat(HEADER_BYTES_MAX + 1)),
    ] {
        let outcome = outcome(bad, &all_keys(), &rules());
        assert!(["NotCompact", "Header", "Signature", "Claims"].contains(&outcome.as_str()), "{outcome}: {bad}");
    }
    assert_eq!(outcome(&format!("{good}{}", "A".repeat(TOKEN_BYTES_MAX)), &all_keys(), &rules()), "TooLarge");
    // nested: a token as the claims of a token
    let nested = signed("RS256", r#"{"alg":"RS256","kid":"rsa"}"#, &good);
    assert_eq!(outcome(&nested, &all_keys(), &rules()), "Claims");
}

#[test]
fn every_character_of_a_token_counts() {
    let good = signed("ES256", r#"{"alg":"ES256","kid":"p256"}"#, &claims().to_string());
    let keys = all_keys();
    assert_eq!(outcome(&good, &keys, &rules()), "ok");
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert_ne!(outcome(&changed, &keys, &rules()), "ok", "at {at}");
    }
    for end in 0..good.len() {
        assert_ne!(outcome(good.get(..end).unwrap(), &keys, &rules()), "ok", "cut at {end}");
    }
}

#[test]
fn claims_that_two_readers_could_read_differently_are_refused() {
    let header = r#"{"alg":"RS256","kid":"rsa"}"#;
    let good = claims().to_string();
    let inner = good.strip_prefix('{').unwrap();
    let deep = format!(r#"{{"x":{}1{},{inner}"#, "[".repeat(50), "]".repeat(50));
    for bad in [
        format!(r#"{{"sub":"someone-else",{inner}"#),
        format!(r#"{{"exp":1e400,{inner}"#),
        format!("{good}{good}"),
        format!(r#"{{"x":NaN,{inner}"#),
        deep,
        format!("\u{feff}{good}"),
        "null".to_owned(),
        "[]".to_owned(),
        String::new(),
    ] {
        let outcome = outcome(&signed("RS256", header, &bad), &all_keys(), &rules());
        assert!(["Claims", "NotCompact"].contains(&outcome.as_str()), "{outcome}: {bad}");
    }
}

#[test]
fn odd_elliptic_signatures_and_keys_are_refused() {
    let message = message(r#"{"alg":"ES256","kid":"p256"}"#, &claims().to_string());
    let check = |signature: &[u8], expected: &str| {
        assert_eq!(outcome(&format!("{message}.{}", b64(signature)), &all_keys(), &rules()), expected);
    };
    // b7: r = s = 0 (CVE-2022-21449), r or s alone, the order itself, DER, cut
    let fixed = ec_sign(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, &KEYS.p256, &message);
    check(&fixed, "ok");
    check(&[0; 64], "Signature");
    check(&[&[0; 32], &fixed[32..]].concat(), "Signature");
    check(&[&fixed[..32], &[0; 32]].concat(), "Signature");
    check(&[&ORDER[..], &ORDER[..]].concat(), "Signature");
    check(&ec_sign(&signature::ECDSA_P256_SHA256_ASN1_SIGNING, &KEYS.p256, &message), "Signature");
    check(&fixed[..63], "Signature");
    check(&[&fixed[..], &[0]].concat(), "Signature");
    check(&ec_sign(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, &KEYS.p384, &message), "Signature");
    // The other of the two signatures that ECDSA has for one message: as valid, and it says nothing else.
    check(&[&fixed[..32], &order_minus(&fixed[32..])].concat(), "ok");

    let token = format!("{message}.{}", b64(&fixed));
    let honest = ec_jwk("p256", "P-256", &KEYS.p256);
    let (x, y) = (honest["x"].clone(), honest["y"].clone());
    let bytes = |member: &Value| BASE64_URL_SAFE_NO_PAD.decode(member.as_str().unwrap()).unwrap();
    let moved = [&bytes(&x)[..], &bytes(&y)].concat();
    for (change, expected) in [
        (json!({}), "ok"),
        (json!({ "crv": "P-384" }), "Unfit"),
        (json!({ "crv": "secp256k1" }), "Unfit"),
        (json!({ "crv": 7 }), "Unfit"),
        (json!({ "kty": "OKP" }), "Unfit"),
        (json!({ "kty": "RSA" }), "Unfit"),
        (json!({ "kty": "oct" }), "Unfit"),
        (json!({ "alg": "ES384" }), "Unfit"),
        (json!({ "alg": 7 }), "Unfit"),
        (json!({ "use": "enc" }), "Unfit"),
        (json!({ "use": ["sig"] }), "Unfit"),
        (json!({ "key_ops": ["sign"] }), "Unfit"),
        (json!({ "key_ops": "verify" }), "Unfit"),
        (json!({ "key_ops": ["verify"], "use": "sig", "alg": "ES256" }), "ok"),
        (json!({ "x": b64(&moved[..31]), "y": b64(&moved[31..]) }), "Weak"),
        (json!({ "x": b64([0; 32]), "y": b64([0; 32]) }), "Signature"),
        (json!({ "x": y, "y": x }), "Signature"),
        (json!({ "x": "!!" }), "Unfit"),
        (json!({ "kid": 7 }), "Unknown"),
    ] {
        let mut jwk = honest.clone();
        jwk.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        assert_eq!(outcome(&token, &key_set(&[jwk]), &rules()), expected, "{change}");
    }
}

/// The order of P-256.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7,
    0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

fn order_minus(s: &[u8]) -> Vec<u8> {
    let mut borrow = 0_i16;
    let mut difference = vec![0; 32];
    for at in (0..32).rev() {
        let digit = i16::from(ORDER[at]) - i16::from(s[at]) - borrow;
        borrow = i16::from(digit < 0);
        difference[at] = u8::try_from(digit.rem_euclid(256)).unwrap();
    }
    difference
}

#[test]
fn weak_and_ambiguous_keys_are_refused() {
    let token = token(&claims());
    let honest = rsa_jwk("rsa", &KEYS.rsa);
    let modulus = BASE64_URL_SAFE_NO_PAD.decode(honest["n"].as_str().unwrap()).unwrap();
    let short = [&[0; 128][..], &modulus[..128]].concat();
    for (change, expected) in [
        (json!({ "e": "AQ" }), "Weak"),
        (json!({ "e": "Aw" }), "Weak"),
        (json!({ "e": "AQAA" }), "Weak"),
        (json!({ "e": "" }), "Weak"),
        (json!({ "e": b64([255; 9]) }), "Weak"),
        (json!({ "n": b64(&modulus[..128]) }), "Weak"),
        (json!({ "n": b64(&short) }), "Weak"),
        (json!({ "n": b64(&modulus[..255]) }), "Weak"),
        (json!({ "n": "" }), "Weak"),
        (json!({ "n": b64(vec![255; 1025]) }), "Weak"),
        (json!({ "n": b64([&[0][..], &modulus].concat()) }), "ok"),
        (json!({ "alg": "RS256" }), "ok"),
        (json!({ "alg": "RS512" }), "Unfit"),
        (json!({ "alg": "HS256" }), "Unfit"),
        (json!({ "n": 7 }), "Unfit"),
    ] {
        let mut jwk = honest.clone();
        jwk.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        assert_eq!(outcome(&token, &key_set(&[jwk]), &rules()), expected, "{change}");
    }
    // b3, b17: a second key under the same name stands for none; the same key twice is one key
    let other = rsa_jwk("rsa", &KEYS.other_rsa);
    let (mut twice, mut nameless) = (honest.clone(), other.clone());
    twice["alg"] = json!("RS512");
    nameless["kid"] = Value::Null;
    let ec = ec_jwk("rsa", "P-256", &KEYS.p256);
    for (keys, expected) in [
        (vec![honest.clone(), other.clone()], "Ambiguous"),
        (vec![other.clone(), honest.clone()], "Ambiguous"),
        (vec![honest.clone(), ec], "Ambiguous"),
        (vec![honest.clone(), twice], "ok"),
        (vec![honest, nameless], "ok"),
        (vec![rsa_jwk("else", &KEYS.rsa)], "Unknown"),
        (vec![other], "Signature"),
        (vec![], "Unknown"),
    ] {
        assert_eq!(outcome(&token, &key_set(&keys), &rules()), expected, "{keys:?}");
    }
    // without a name: the only key that fits, or none
    let nameless = signed("RS256", r#"{"alg":"RS256"}"#, &claims().to_string());
    let (one, two) = (rsa_jwk("1", &KEYS.rsa), rsa_jwk("2", &KEYS.other_rsa));
    for (keys, expected) in [
        (vec![one.clone()], "ok"),
        (vec![one.clone(), ed_jwk("3")], "ok"),
        (vec![one, two], "Ambiguous"),
        (vec![ed_jwk("3")], "Unknown"),
    ] {
        assert_eq!(outcome(&nameless, &key_set(&keys), &rules()), expected, "{keys:?}");
    }
}

#[test]
fn what_is_no_key_set_is_refused() {
    for bad in ["", "<html>", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]"#, r#"{"keys":[],"keys":[]}"#] {
        assert!(KeySet::parse(bad.as_bytes()).is_err(), "{bad}");
    }
    let many = json!({ "keys": vec![json!({}); 101] }).to_string();
    assert!(KeySet::parse(many.as_bytes()).is_err());
    assert_eq!(KeySet::parse(br#"{"keys":[{},7,null,{"kty":"RSA"}]}"#).unwrap().len(), 4);
}

#[test]
fn a_token_is_bound_to_the_request_and_to_its_access_token() {
    let check = |claim: &str, value: Option<Value>, change: fn(&mut Rules), expected: &str| {
        let mut rules = rules();
        change(&mut rules);
        assert_eq!(outcome(&token(&with(claim, value.clone())), &all_keys(), &rules), expected, "{claim} {value:?}");
    };
    let nonce: fn(&mut Rules) = |rules| rules.nonce = Some("n-1".to_owned());
    check("nonce", Some(json!("n-1")), nonce, "ok");
    check("nonce", Some(json!("n-2")), nonce, "Nonce");
    check("nonce", Some(json!(1)), nonce, "Claims");
    check("nonce", None, nonce, "Nonce");
    // The example of OpenID Connect Core, appendix A.3
    let access: fn(&mut Rules) =
        |rules| rules.access_token = Some(Secret::new("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y".to_owned()));
    check("at_hash", Some(json!("77QmUPtjPfzWtF2AnpK9RQ")), access, "ok");
    check("at_hash", None, access, "ok");
    for bad in ["77QmUPtjPfzWtF2AnpK9RA", "", "77QmUPtjPfzWtF2AnpK9RQ=="] {
        check("at_hash", Some(json!(bad)), access, "AccessTokenHash");
    }
    check("at_hash", Some(json!("not ours to check")), |_| {}, "ok");
}

#[test]
fn userinfo_adds_groups_of_the_same_person_only() {
    let read = |userinfo: Value| {
        let identity = verify(&token(&with("groups", None)), &all_keys(), &rules(), now()).unwrap();
        assert!(!identity.groups_were_said());
        let userinfo = Claims::parse(userinfo.to_string().as_bytes()).unwrap();
        identity.with_groups_of(&userinfo, &rules()).map(|identity| identity.groups().to_vec()).ok()
    };
    assert_eq!(read(json!({ "sub": "00u1", "groups": ["a"] })), Some(vec!["a".to_owned()]));
    assert_eq!(read(json!({ "sub": "00u1" })), Some(vec![]));
    assert_eq!(read(json!({ "sub": "00u2", "groups": ["a"] })), None);
    assert_eq!(read(json!({ "groups": ["a"] })), None);
    assert_eq!(read(json!({ "sub": "00u1", "groups": 7 })), None);
    assert_eq!(read(json!({ "sub": "00u1", "_claim_names": { "groups": "src1" } })), None);
}

#[test]
fn ten_thousand_groups_are_read_and_a_megabyte_is_not() {
    let groups: Vec<_> = (0..10_000).map(|n| format!("00000000-0000-4000-8000-{n:012}")).collect();
    let large = token(&with("groups", Some(json!(groups))));
    assert_eq!(verify(&large, &all_keys(), &rules(), now()).unwrap().groups().len(), 10_000);
    let huge = token(&with("x", Some(json!("x".repeat(1024 * 1024)))));
    assert_eq!(outcome(&huge, &all_keys(), &rules()), "TooLarge");
}
