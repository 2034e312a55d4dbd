//! The driver of the Annulet runtime: io_uring below, futures above.
//!
//! | module | what lives there |
//! | --- | --- |
//! | `ring` | the waist: entries in, completions out; the only code that enters the kernel |
//! | `slots` | operations in flight, in memory that does not move |
//! | [`op`] | the operations, one file each, named after their `IORING_OP_*` |
//! | `chain`, `group`, `cancel` | several operations linked; one after another; ended from outside |
//! | `fd`, `kept`, `into_std` | a descriptor, what is in flight on it, what arrived for futures that were dropped |
//! | `driver` | a thread's driver; its turn: stage, enter, reap, settle, wake; its shutdown |
//! | `unix_addr` | addresses of unix sockets, to and from the standard library's |
//! | `current`, `unpark` | the thread's driver; reaching it from other threads |
//! | `watch` | the readiness of descriptors that others own |
//! | `stream` | reading and writing by traits |
//! | [`buf`] | buffers that can be handed to the kernel |
//!
//! Arrows point from `op` down to `ring`; `ring` knows nobody. Start reading at [`Driver::turn`] and [`op::Op`].

pub mod buf;
mod cancel;
mod chain;
mod current;
mod driver;
mod fd;
mod group;
mod guarded;
mod into_std;
mod kept;
pub mod op;
mod partial;
mod ring;
mod slots;
mod stream;
mod unix_addr;
mod unpark;
mod watch;

pub use buf::{BufResult, IoBuf, IoBufExt, IoBufMut, IoVectoredBuf, IoVectoredBufMut};
pub use cancel::{CancelReport, CancelToken, Cancelled, Cancelling, is_cancelled};
pub use chain::{Chain, Links, chain, hard_chain};
pub use current::Entered;
pub use driver::{Driver, Metrics};
pub use fd::{Close, Fd, Lane};
pub use group::SerialGroup;
#[doc(hidden)]
pub use guarded::guarded;
pub use into_std::IntoStdError;
pub use kept::{Kept, KeptMessage};
pub use op::Op;
pub use partial::Partial;
pub use ring::{DriverKind, Setup, Wait};
pub use stream::{AsyncRead, AsyncWrite, Endpoint, EndpointKind};
pub use unix_addr::{from_unix_addr, unix_addr};
pub use unpark::Unparker;
pub use watch::{Interest, Ready, Seat, Told, Trigger, Watch};
