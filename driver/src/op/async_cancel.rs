//! `IORING_OP_ASYNC_CANCEL`: gives up an operation in flight, named by its `user_data`.
//!
//! Never by descriptor: numbers are reused, a duplicate matches too, and it costs 200 times as much with
//! thousands in flight. Its own answer is ignored, as the operation's completion tells
//! what became of it; but for the member of a chain, which may not have been there yet to be found.

use io_uring::opcode;

use crate::ring::Sqe;

/// The entry that cancels the operation with this `user_data`; its own answer comes as `answer`.
pub(crate) fn cancel_entry(user_data: u64, answer: u64) -> Sqe {
    let entry = opcode::AsyncCancel::new(user_data).build();
    // SAFETY: the entry has no pointers.
    unsafe { Sqe::new(entry.user_data(answer)) }
}
