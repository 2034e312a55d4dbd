//! A buffer that does something when it is dropped.
#![allow(
    unsafe_code,
    reason = "IoBufMut is a promise about memory, which this is the owner of"
)]

use std::fmt;

use runtime::buf::{IoBuf, IoBufMut};

/// Bytes, and what their `Drop` does.
pub struct Dropping {
    bytes: Vec<u8>,
    act: Option<Box<dyn FnOnce()>>,
}

impl Dropping {
    /// Room for `len` bytes; dropping it calls `act`.
    pub fn new(len: usize, act: impl FnOnce() + 'static) -> Dropping {
        Dropping {
            bytes: vec![0; len],
            act: Some(Box::new(act)),
        }
    }
}

impl Drop for Dropping {
    fn drop(&mut self) {
        if let Some(act) = self.act.take() {
            act();
        }
    }
}

// SAFETY: the vector's memory stays where it is as long as the vector is left alone.
unsafe impl IoBuf for Dropping {
    fn stable_ptr(&self) -> *const u8 {
        self.bytes.as_ptr()
    }
    fn bytes_init(&self) -> usize {
        self.bytes.len()
    }
}

// SAFETY: as above; the vector's bytes are its own, and initialised.
unsafe impl IoBufMut for Dropping {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.bytes.as_mut_ptr()
    }
    fn bytes_total(&self) -> usize {
        self.bytes.len()
    }
    unsafe fn set_init(&mut self, _: usize) {}
}

impl fmt::Debug for Dropping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dropping").finish_non_exhaustive()
    }
}
