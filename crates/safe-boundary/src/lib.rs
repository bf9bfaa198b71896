//! The shell of Safe Boundary: sockets, TLS, HTTP, files, the clock. Start reading at [`serve`].
//!
//! Promises: decisions are made in `domain`; here they are carried out, and never without a record.
//! Deliberately not here: what a decision is, and what PostgreSQL's bytes mean.

pub mod causes;
pub mod cli;
pub mod clock;
pub mod config;
pub mod entropy;
pub mod http;
pub mod idp;
pub mod metrics;
pub mod proxy;
pub mod serve;
pub mod trail;
pub mod version;
