//! Section B: read, write and close.
