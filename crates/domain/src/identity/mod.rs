//! Who is it, proved just now.
//!
//! Promises: an [`verify::Identity`] exists only where a token's signature, issuer, audience and times were checked.
//! Deliberately not here: HTTP, key caches, timers; `idp/` of the shell does those.

pub mod claims;
pub mod device_flow;
pub mod keys;
pub mod login;
pub mod subject;
pub mod verify;
