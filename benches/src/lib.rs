//! What the benches share.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "no library: only the benches see it")]

pub mod cores;
