//! What the handles of unix sockets do the same way; the macros take the handle's name.

/// What every one of them has: its end, its borrowed descriptor.
macro_rules! handle {
    ($handle:ident) => {
        $crate::unix::handle::handle!($handle, |_| {});
    };
    // With what is to be done before it closes.
    ($handle:ident, $first:expr) => {
        impl $handle {
            /// Ends every operation in flight, then closes the socket.
            ///
            /// They resolve as [cancelled](annulet_driver::is_cancelled) before this does; later ones fail with `EBADF`.
            /// Closing twice, or from several tasks or threads, is fine: one closes, all resolve.
            ///
            /// # Errors
            ///
            /// What `close(2)` reports; the socket is closed all the same.
            ///
            /// # Cancel safety
            ///
            /// The close begins with the call. A dropped future leaves it to finish in the background.
            pub fn close(&self) -> annulet_driver::Close {
                let first: fn(&Self) = $first;
                first(self);
                self.fd.close()
            }

            /// Its own address; unnamed if it was not bound.
            ///
            /// # Errors
            ///
            /// `EBADF` if it is closed.
            pub fn local_addr(&self) -> std::io::Result<std::os::unix::net::SocketAddr> {
                $crate::options::with_socket(&self.fd, |socket| {
                    annulet_driver::unix_addr(&socket.local_addr()?)
                })
            }

            /// Takes the socket's pending error (`SO_ERROR`), if there is one.
            ///
            /// # Errors
            ///
            /// `EBADF` if it is closed.
            pub fn take_error(&self) -> std::io::Result<Option<std::io::Error>> {
                $crate::options::with_socket(&self.fd, |socket| socket.take_error())
            }
        }

        $crate::convert::descriptor!($handle);

        impl std::fmt::Debug for $handle {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut debug = f.debug_struct(stringify!($handle));
                if let Ok(addr) = self.local_addr() {
                    debug.field("addr", &addr);
                }
                debug.field("fd", &self.fd).finish()
            }
        }
    };
}

pub(super) use handle;

/// What those have that send and receive, besides: time limits, the peer, sizes of buffers.
macro_rules! talking_handle {
    ($handle:ident) => {
        $crate::unix::handle::handle!($handle);
        $crate::options::buffer_sizes!($handle);
        $crate::convert::try_clone!($handle with limits);
        $crate::limit::time_limits!($handle);

        impl $handle {
            fn new(fd: annulet_driver::Fd) -> $handle {
                fd.set_prompt();
                $handle {
                    fd,
                    limits: $crate::limit::Limits::default(),
                }
            }

            /// The address of the peer.
            ///
            /// # Errors
            ///
            /// `NotConnected` if there is none; `EBADF` if the socket is closed.
            pub fn peer_addr(&self) -> std::io::Result<std::os::unix::net::SocketAddr> {
                $crate::options::with_socket(&self.fd, |socket| {
                    annulet_driver::unix_addr(&socket.peer_addr()?)
                })
            }

            /// Ends one direction of the connection, or both. Reads in flight then read the end, writes fail.
            ///
            /// It does not wait for writes that have not resolved: await them first. It acts on the connection, so on
            /// handles made by `dup(2)` too. `IORING_OP_SHUTDOWN`, Linux 5.11.
            ///
            /// # Errors
            ///
            /// `NotConnected` if there is no connection; `EBADF` if the socket is closed; `Unsupported` before
            /// Linux 5.11.
            ///
            /// # Cancel safety
            ///
            /// If the future is dropped after its first poll, it may have been done or not.
            ///
            /// # Panics
            ///
            /// If awaited outside a runtime.
            pub fn shutdown(
                &self,
                how: std::net::Shutdown,
            ) -> annulet_driver::Op<annulet_driver::op::Shutdown> {
                $crate::connection::Connection::shutdown(self, how)
            }
        }

        impl $crate::connection::Connection for $handle {
            type Addr = std::os::unix::net::SocketAddr;

            fn adopt(socket: annulet_driver::Fd, _may_linger: bool) -> $handle {
                // Closing a unix socket never waits.
                $handle::new(socket)
            }

            fn addr(addr: &socket2::SockAddr) -> std::io::Result<Self::Addr> {
                annulet_driver::unix_addr(addr)
            }

            fn fd(&self) -> &annulet_driver::Fd {
                &self.fd
            }

            fn limits(&self) -> &$crate::limit::Limits {
                &self.limits
            }
        }

        impl From<std::os::fd::OwnedFd> for $handle {
            /// Takes over a socket of this kind, blocking or not.
            fn from(fd: std::os::fd::OwnedFd) -> $handle {
                $handle::new(annulet_driver::Fd::new(fd))
            }
        }
    };
}

pub(super) use talking_handle;

/// Who is at the other end.
macro_rules! peer {
    ($handle:ident) => {
        impl $handle {
            /// The process at the other end, its user and its group: as they were when it connected, called `listen(2)`,
            /// or made the pair. The kernel vouches for it (`SO_PEERCRED`).
            ///
            /// # Errors
            ///
            /// What `getsockopt(2)` reports; `EBADF` if the socket is closed.
            ///
            /// # Examples
            ///
            /// ```
            /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
            /// use runtime::net::UnixStream;
            ///
            /// let (ours, _theirs) = UnixStream::pair()?;
            /// assert_eq!(ours.peer_cred()?.pid, std::process::id() as i32);
            /// # Ok(()) }) }
            /// ```
            pub fn peer_cred(&self) -> std::io::Result<annulet_driver::op::Credentials> {
                self.fd.with(annulet_driver::op::Credentials::of_peer)
            }

            /// A descriptor of the process at the other end (`SO_PEERPIDFD`, Linux 6.5): unlike its number, it never comes
            /// to mean another process.
            ///
            /// # Errors
            ///
            /// What `getsockopt(2)` reports: `ESRCH` if the process is gone, `ENOPROTOOPT` before Linux 6.5; `EBADF` if
            /// the socket is closed.
            pub fn peer_pidfd(&self) -> std::io::Result<std::os::fd::OwnedFd> {
                self.fd.with(annulet_driver::op::Credentials::pidfd_of_peer)
            }
        }
    };
}

pub(super) use peer;
