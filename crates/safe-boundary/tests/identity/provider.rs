//! The certified provider: what is true is believed.

use std::time::Duration;

use safe_boundary::config::Idp;
use safe_boundary::idp::{IdpClient, LoginFailure};
use serde_json::json;
use tokio::time::Instant;

use super::direct::{begin, sign_in};
use super::support::config;
use super::support::liar::DISCOVERY;
use super::support::provider::Provider;

#[tokio::test]
async fn people_sign_in_and_are_who_the_provider_says() {
    let provider = Provider::start();
    let rsa = IdpClient::new(&config(&provider.issuer)).unwrap();
    let elliptic =
        IdpClient::new(&Idp { client_id: "safe-boundary-es256".to_owned(), ..config(&provider.issuer) }).unwrap();
    let (alice, bob, mallory) = tokio::join!(
        sign_in(&rsa, &provider, "alice@example.com"),
        sign_in(&elliptic, &provider, "bob@example.com"),
        sign_in(&rsa, &provider, "mallory@example.com"),
    );
    let (alice, bob, mallory) = (alice.unwrap(), bob.unwrap(), mallory.unwrap());
    assert_eq!((alice.identity.login(), alice.identity.subject()), ("alice@example.com", "00u-alice"));
    assert_eq!(alice.identity.issuer(), provider.issuer);
    assert_eq!(alice.identity.groups(), ["engineering", "on-call"]);
    assert!(alice.tokens.refresh.is_some());
    assert_eq!((bob.identity.login(), bob.identity.groups()), ("bob@example.com", &["engineering".to_owned()][..]));
    assert_eq!(mallory.identity.login(), "mallory@example.com");
    assert!(mallory.identity.groups().is_empty());
    // Two clients looked at the provider once each, however many people signed in.
    assert_eq!(provider.requests(DISCOVERY).await, 2);
}

#[tokio::test]
async fn a_refusal_ends_the_login() {
    let provider = Provider::start();
    let waiting = begin(&config(&provider.issuer)).await;
    let url = waiting.prompt().verification_uri_complete.clone().unwrap();
    let refusal = provider.control("approve", json!({ "login": "alice@example.com", "url": url, "deny": true }));
    let (outcome, _) = tokio::join!(waiting.wait(), refusal);
    assert!(matches!(outcome, Err(LoginFailure::Refused)), "{outcome:?}");
}

#[tokio::test]
async fn a_code_that_nobody_answers_expires() {
    let provider = Provider::start();
    provider.control("lifetime", json!({ "device_code": 2 })).await;
    let waiting = begin(&config(&provider.issuer)).await;
    assert_eq!(waiting.prompt().expires_in, Duration::from_secs(2));
    let begun = Instant::now();
    assert!(matches!(waiting.wait().await, Err(LoginFailure::Expired)));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn b17_new_keys_are_fetched_once_a_minute_at_most() {
    let provider = Provider::start();
    let client = IdpClient::new(&config(&provider.issuer)).unwrap();
    sign_in(&client, &provider, "alice@example.com").await.unwrap();
    provider.control("keys", json!({})).await;
    sign_in(&client, &provider, "alice@example.com").await.unwrap();
    assert_eq!(provider.requests("/jwks").await, 2);
    provider.control("keys", json!({})).await;
    let outcome = sign_in(&client, &provider, "alice@example.com").await;
    assert!(matches!(outcome, Err(LoginFailure::Token(_))), "{outcome:?}");
    assert_eq!(provider.requests("/jwks").await, 2);
}
