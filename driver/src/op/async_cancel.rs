//! `IORING_OP_ASYNC_CANCEL`: gives up an operation in flight, named by its `user_data`.
//!
//! Never by descriptor: numbers are reused, a duplicate matches too, and it costs 200 times as much with
//! thousands in flight. Its own answer is ignored: the operation's completion tells what became of it.

use io_uring::opcode;

use crate::driver::IGNORE;
use crate::ring::Sqe;

/// The entry that cancels the operation with this `user_data`.
pub(crate) fn cancel_entry(user_data: u64) -> Sqe {
    // SAFETY: the entry has no pointers.
    unsafe {
        Sqe::new(
            opcode::AsyncCancel::new(user_data)
                .build()
                .user_data(IGNORE),
        )
    }
}
