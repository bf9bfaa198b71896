//! Talking to the identity provider.
//!
//! Promises: nothing is believed that was not verified; every answer is bounded in size and time; no secret, token
//! or device code stands in an error or a log.
//! Deliberately not here: the rules of verification; `domain::identity` has them.

mod client;
pub mod device;
pub mod discovery;
pub mod error;
pub(crate) mod http;
mod keys;
pub mod presets;
mod secret;

pub use client::{IdpClient, SignedIn, Tokens};
pub use device::{DeviceLogin, LoginFailure, Prompt};
pub use error::{Endpoint, Error, Trouble};
