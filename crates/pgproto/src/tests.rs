//! Tests of the crate as a whole: recorded conversations and properties.

mod properties;
mod transcripts;
mod views;
