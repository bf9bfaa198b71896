//! The provider's signing keys: row b17.

use safe_boundary::idp::IdpClient;

use super::direct::told;
use super::support::config;
use super::support::liar::{Liar, Reply};

#[tokio::test]
async fn b17_an_unknown_key_asks_once_and_the_kept_keys_survive_an_outage() {
    let liar = Liar::start();
    let client = IdpClient::new(&config(&liar.issuer)).unwrap();
    client.begin_device().await.unwrap().wait().await.unwrap();
    liar.always("/jwks", Reply::html("502 Bad Gateway"));
    client.begin_device().await.unwrap().wait().await.unwrap();
    assert_eq!(liar.requests("/jwks").len(), 1);
    liar.rename_key("two");
    for _ in 0..2 {
        let failure = client.begin_device().await.unwrap().wait().await.unwrap_err();
        assert!(told(&failure).contains("`kid`"));
    }
    assert_eq!(liar.requests("/jwks").len(), 2);
    liar.rename_key("one");
    client.begin_device().await.unwrap().wait().await.unwrap();
}
