//! May they, as whom, and why.
//!
//! Promises: nobody gets in without a rule that says so; every decision names its rules.
//! Deliberately not here: who they are (`identity`), and carrying the decision out.

pub mod decide;
pub mod role_mapping;
