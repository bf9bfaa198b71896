//! What the claims of a token say, each made wrong in turn.

use super::*;

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
