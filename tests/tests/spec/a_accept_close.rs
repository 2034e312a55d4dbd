//! Section A: accept and close.
