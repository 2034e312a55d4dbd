//! What handles do the same way to become the standard library's or to be made of it, to be there twice, and to lend their
//! descriptor.

use std::io;
use std::os::fd::OwnedFd;

use annulet_driver::{Fd, IntoStdError, Kept};
use socket2::SockRef;

use crate::connection::Connection;
use crate::limit::Limits;

/// Takes a socket over, with the time limits that the kernel knows.
pub(crate) fn from_std<H>(socket: impl Into<OwnedFd>) -> io::Result<H>
where
    H: Connection + From<OwnedFd>,
{
    let fd = socket.into();
    let socket = SockRef::from(&fd);
    let (read, write) = (socket.read_timeout()?, socket.write_timeout()?);
    let handle = H::from(fd);
    handle.limits().read.store(read)?;
    handle.limits().write.store(write)?;
    Ok(handle)
}

/// Ends every operation on `fd`, and makes it the standard library's: in blocking mode, with time limits if it has some.
/// What is kept of dropped futures `take` takes, and the error that came after it; both go into the error here.
pub(crate) async fn into_std<S: From<OwnedFd>, T>(
    fd: Fd,
    limits: Option<&Limits>,
    take: impl FnOnce(Kept) -> (Vec<T>, Option<io::Error>),
) -> Result<S, IntoStdError<S, Vec<T>>> {
    let (fd, kept) = fd.reclaim().await.map_err(IntoStdError::gone)?;
    let (kept, failed) = take(kept);
    let socket = SockRef::from(&fd);
    let set = socket.set_nonblocking(false).and_then(|()| {
        let Some(limits) = limits else { return Ok(()) };
        socket.set_read_timeout(limits.read.load())?;
        socket.set_write_timeout(limits.write.load())
    });
    let handle = S::from(fd);
    let error = match (failed, set) {
        (Some(error), _) | (None, Err(error)) => error,
        (None, Ok(())) if kept.is_empty() => return Ok(handle),
        (None, Ok(())) => io::Error::other(
            "something had arrived for futures that were dropped; take it by into_parts",
        ),
    };
    Err(IntoStdError::with_parts(error, handle, kept))
}

/// The connections that arrived for accepts that were dropped.
pub(crate) fn accepted<H: From<OwnedFd>>(mut kept: Kept) -> (Vec<H>, Option<io::Error>) {
    (kept.sockets().map(|(fd, _)| fd.into()).collect(), None)
}

/// A second handle of the same socket.
pub(crate) fn twin<H: From<OwnedFd>>(fd: &Fd) -> io::Result<H> {
    Ok(fd.with(|fd| fd.try_clone_to_owned())?.into())
}

/// Gives a handle `try_clone`; with its time limits, if it has some.
macro_rules! try_clone {
    ($handle:ident) => {
        impl $handle {
            /// Makes a second handle of the listening socket (`dup(2)`). A plain system call that does not block.
            ///
            /// Connections arrive at either. Closing one ends its accepts and no others, and the socket listens until both
            /// are closed. A connection that came for a dropped accept waits for the next one of the same handle.
            ///
            /// # Errors
            ///
            /// `EMFILE` when out of descriptors; `EBADF` if the listener is closed.
            pub fn try_clone(&self) -> std::io::Result<$handle> {
                $crate::convert::twin(&self.fd)
            }
        }
    };
    ($handle:ident with limits) => {
        impl $handle {
            /// Makes a second handle of the socket (`dup(2)`), with the time limits that this one has now. A plain system
            /// call that does not block.
            ///
            /// Closing one ends its operations and no others, and the peer hears of it when both are closed. Nothing orders
            /// what the two do: what arrives goes to whichever asks first, and what came for a dropped future to the next
            /// of the same handle.
            ///
            /// # Errors
            ///
            /// `EMFILE` when out of descriptors; `EBADF` if the socket is closed.
            pub fn try_clone(&self) -> std::io::Result<$handle> {
                let twin: $handle = $crate::convert::twin(&self.fd)?;
                twin.limits.copy(&self.limits)?;
                Ok(twin)
            }
        }
    };
}

pub(crate) use try_clone;

/// Has a handle lend its descriptor.
macro_rules! descriptor {
    ($handle:ident) => {
        impl std::os::fd::AsRawFd for $handle {
            /// The number. It may belong to another file once the socket is closed.
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                self.fd.as_raw_fd()
            }
        }

        impl std::os::fd::AsFd for $handle {
            /// Borrows the descriptor, which makes closing the socket dearer: its number stays taken until the handle
            /// is dropped.
            ///
            /// # Panics
            ///
            /// If the socket is closed.
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.fd.as_fd()
            }
        }
    };
}

pub(crate) use descriptor;

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use annulet_driver::is_cancelled;

    use super::*;
    use crate::{Domain, Socket, TcpListener, TcpStream, Type, UnixSeqpacket};

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        runtime::Runtime::new().unwrap().block_on(future)
    }

    fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn closing_one_of_two_handles_ends_its_operations_and_not_the_connection() {
        block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addr = listener.local_addr().unwrap();
            let one = TcpStream::connect(addr).await.unwrap();
            let (peer, _) = listener.accept().await.unwrap();
            one.set_read_timeout(Some(Duration::from_secs(7))).unwrap();
            let two = one.try_clone().unwrap();
            assert_eq!(two.read_timeout().unwrap(), Some(Duration::from_secs(7)));
            let (mut ours, mut theirs) = (one.read([0; 1]), two.read([0; 1]));
            assert!(poll_once(&mut ours).is_pending() && poll_once(&mut theirs).is_pending());
            one.close().await.unwrap();
            assert!(is_cancelled(&ours.await.0.unwrap_err()));
            peer.write_all("x").await.0.unwrap();
            assert_eq!(theirs.await.0.unwrap(), 1);
            two.write_all("y").await.0.unwrap();
            assert_eq!(peer.read([0; 8]).await.0.unwrap(), 1);
            two.close().await.unwrap();
            assert_eq!(peer.read([0; 8]).await.0.unwrap(), 0);
        });
    }

    #[test]
    fn a_listener_of_two_handles_listens_until_both_are_closed() {
        block_on(async {
            let one = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addr = one.local_addr().unwrap();
            let two = one.try_clone().unwrap();
            one.close().await.unwrap();
            assert!(one.try_clone().is_err());
            let mut accept = two.accept();
            assert!(poll_once(&mut accept).is_pending());
            let client = TcpStream::connect(addr).await.unwrap();
            assert_eq!(accept.await.unwrap().1, client.local_addr().unwrap());
            two.close().await.unwrap();
            assert!(TcpStream::connect(addr).await.is_err());
        });
    }

    #[test]
    fn what_std_has_no_type_for_goes_as_a_descriptor_with_its_messages_beside_it() {
        block_on(async {
            let (one, two) = UnixSeqpacket::pair().unwrap();
            two.set_write_timeout(Some(Duration::from_secs(7))).unwrap();
            one.send("first").await.0.unwrap();
            one.send("second").await.0.unwrap();
            let mut receive = two.recv([0; 8]);
            assert!(poll_once(&mut receive).is_pending());
            drop(receive);
            // Queued behind the dropped one, so this hears of it.
            assert_eq!(two.peek([0; 8]).await.0.unwrap(), 5);
            let (fd, messages) = two.into_std().await.unwrap_err().into_parts().unwrap();
            assert_eq!(messages.len(), 1);
            assert_eq!(messages[0].bytes, b"first");
            let limit = SockRef::from(&fd).write_timeout().unwrap();
            assert_eq!(limit, Some(Duration::from_secs(7)));
            let two = Socket::from(fd).into_std().await.unwrap();
            assert_eq!(UnixSeqpacket::from(two).recv([0; 8]).await.0.unwrap(), 6);
            let datagrams = Socket::new(Domain::IPV4, Type::DGRAM, None).await.unwrap();
            datagrams.close().await.unwrap();
            assert!(
                datagrams
                    .into_std()
                    .await
                    .unwrap_err()
                    .into_parts()
                    .is_none()
            );
        });
    }
}
