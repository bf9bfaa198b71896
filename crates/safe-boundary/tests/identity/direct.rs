//! Our client for providers, without the proxy around it: for what would take too long, or cannot be seen, from outside.

use std::error::Error;

use safe_boundary::config::Idp;
use safe_boundary::idp::{DeviceLogin, IdpClient, LoginFailure, SignedIn};

use super::support::liar::DEVICE_CODE;
use super::support::provider::Provider;

/// One prompt of a new client.
pub(crate) async fn begin(config: &Idp) -> DeviceLogin {
    IdpClient::new(config).unwrap().begin_device().await.unwrap()
}

/// Signs in at the certified provider.
pub(crate) async fn sign_in(client: &IdpClient, provider: &Provider, login: &str) -> Result<SignedIn, LoginFailure> {
    let waiting = client.begin_device().await?;
    let url = waiting.prompt().verification_uri_complete.clone().unwrap();
    let (signed_in, ()) = tokio::join!(waiting.wait(), provider.approve(login, &url));
    signed_in
}

/// An error and its causes, as an operator sees them; it never holds a code.
pub(crate) fn told(error: &(dyn Error + 'static)) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(" {error} {error:?}"));
        cause = error.source();
    }
    assert!(!text.contains(DEVICE_CODE) && !text.contains("access-1") && !text.contains("refresh-1"), "{text}");
    text
}
