//! What the test of the conversation runs: a client, a proxy without sockets of its own, and a real server.
//!
//! Promises: bytes take the way that the relay sends them, in pieces and with delays that the seed decides.
//! Deliberately not here: what is asserted.

pub(crate) mod proxied;
pub(crate) mod script;
#[path = "../../end_to_end/support/server_log.rs"]
mod server_log;
pub(crate) mod values;
pub(crate) mod witness;
