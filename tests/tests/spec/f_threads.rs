//! Section F: threads.
