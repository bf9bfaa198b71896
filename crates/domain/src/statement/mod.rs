//! What the client's frames say, and what is written about them.
//!
//! Promises: a frame that carries SQL leaves here sealed behind its record; frames nobody knows do not leave at all.
//! Deliberately not here: sockets and files (the relay of the shell), and the grammar of SQL.

pub mod conversation;
mod copy;
mod failure;
mod held;
pub mod ink;
mod intake;
pub mod large;
pub mod params;
pub mod refusal;
mod values;
