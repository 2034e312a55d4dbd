//! Section G: chains.
