//! Section H: buffers.
