//! Keys and signatures that must not be trusted.

use super::*;

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
