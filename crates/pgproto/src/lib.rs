//! The PostgreSQL v3 protocol as values: frames, messages, and what an Execute really runs.
//!
//! Promises: no IO, no allocation for what is only passed on, no panic on any bytes.
//! Deliberately not here: sockets, and what anything is allowed to do.

pub mod backend;
pub mod body;
pub mod budget;
pub mod encode;
pub mod frame;
pub mod frontend;
pub mod lists;
pub mod notice;
pub mod options;
pub mod sasl;
pub mod sqlstate;
pub mod startup;
pub mod tag;
pub mod tracker;

#[cfg(test)]
mod tests;
