//! Socket options, all by way of `socket2`: short system calls, under which no close happens.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use annulet_driver::Fd;
use socket2::{SockAddr, SockRef};

/// Reads or sets an option, or asks for an address.
pub(crate) fn with_socket<R>(
    fd: &Fd,
    f: impl FnOnce(&SockRef<'_>) -> io::Result<R>,
) -> io::Result<R> {
    fd.with(|fd| f(&SockRef::from(&fd)))
}

/// Has the close left to a worker of the kernel's if it may wait for the peer (`SO_LINGER`).
pub(crate) fn mind_linger(fd: &Fd) -> io::Result<()> {
    let linger = with_socket(fd, |socket| socket.linger())?;
    fd.set_lingers(linger.is_some_and(|duration| !duration.is_zero()));
    Ok(())
}

pub(crate) fn set_linger(fd: &Fd, linger: Option<Duration>) -> io::Result<()> {
    with_socket(fd, |socket| socket.set_linger(linger))?;
    fd.set_lingers(linger.is_some_and(|duration| !duration.is_zero()));
    Ok(())
}

/// An address as IP has them.
pub(crate) fn ip_addr(addr: &SockAddr) -> io::Result<SocketAddr> {
    addr.as_socket().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "the socket's address is no IP address",
        )
    })
}

/// Gives a handle a setter and a getter for each option: `getter, setter: type = socket2's getter, its setter;`.
macro_rules! socket_options {
    (impl $handle:ident {$(
        $(#[$doc:meta])*
        $get:ident, $set:ident: $type:ty = $their_get:ident, $their_set:ident;
    )*}) => {
        impl $handle {$(
            $(#[$doc])*
            ///
            /// # Errors
            ///
            /// What `setsockopt(2)` reports; `EBADF` if the handle is closed.
            pub fn $set(&self, value: $type) -> io::Result<()> {
                $crate::options::with_socket(&self.fd, |socket| socket.$their_set(value))
            }

            #[doc = concat!(
                "What [`", stringify!($set), "`](", stringify!($handle), "::", stringify!($set), ") sets."
            )]
            ///
            /// # Errors
            ///
            /// What `getsockopt(2)` reports; `EBADF` if the handle is closed.
            pub fn $get(&self) -> io::Result<$type> {
                $crate::options::with_socket(&self.fd, |socket| socket.$their_get())
            }
        )*}
    };
}

pub(crate) use socket_options;

/// The options of every IP socket.
macro_rules! ip_options {
    ($handle:ident) => {
        $crate::options::socket_options! {
            impl $handle {
                /// Sets the type of service of IPv4 packets (`IP_TOS`): DSCP in the upper six bits.
                tos_v4, set_tos_v4: u32 = tos_v4, set_tos_v4;
                /// Sets the traffic class of IPv6 packets (`IPV6_TCLASS`): DSCP in the upper six bits.
                tclass_v6, set_tclass_v6: u32 = tclass_v6, set_tclass_v6;
                /// Sets the hop limit of IPv6 packets (`IPV6_UNICAST_HOPS`).
                unicast_hops_v6, set_unicast_hops_v6: u32 = unicast_hops_v6, set_unicast_hops_v6;
                /// Sets the mark of the socket's packets (`SO_MARK`), which routing and filters can go by. It needs
                /// `CAP_NET_ADMIN`, or `CAP_NET_RAW` since Linux 5.17.
                mark, set_mark: u32 = mark, set_mark;
            }
        }

        impl $handle {
            /// Binds the socket to a network device by its name (`SO_BINDTODEVICE`); `None` undoes it.
            ///
            /// # Errors
            ///
            /// `ENODEV` if there is none of that name; `PermissionDenied` where it is bound to another already.
            pub fn bind_device(&self, interface: Option<&[u8]>) -> io::Result<()> {
                $crate::options::with_socket(&self.fd, |socket| socket.bind_device(interface))
            }

            /// The network device the socket is bound to.
            ///
            /// # Errors
            ///
            /// `EBADF` if the handle is closed.
            pub fn device(&self) -> io::Result<Option<Vec<u8>>> {
                $crate::options::with_socket(&self.fd, |socket| socket.device())
            }
        }
    };
}

pub(crate) use ip_options;

/// The sizes of the kernel's buffers.
macro_rules! buffer_sizes {
    ($handle:ident) => {
        impl $handle {
            /// Sets the size of the kernel's send buffer (`SO_SNDBUF`), in bytes; the kernel doubles it, up to
            /// `/proc/sys/net/core/wmem_max`, and no longer tunes it.
            ///
            /// # Errors
            ///
            /// What `setsockopt(2)` reports; `EBADF` if the handle is closed.
            pub fn set_send_buffer_size(&self, size: u32) -> io::Result<()> {
                $crate::options::with_socket(&self.fd, |socket| {
                    socket.set_send_buffer_size(size as usize)
                })
            }

            /// The size of the kernel's send buffer, in bytes.
            ///
            /// # Errors
            ///
            /// What `getsockopt(2)` reports; `EBADF` if the handle is closed.
            pub fn send_buffer_size(&self) -> io::Result<u32> {
                $crate::options::with_socket(&self.fd, |socket| {
                    Ok(socket.send_buffer_size()? as u32)
                })
            }

            /// Sets the size of the kernel's receive buffer (`SO_RCVBUF`), in bytes; the kernel doubles it, up to
            /// `/proc/sys/net/core/rmem_max`, and no longer tunes it. On a TCP socket that is not connected yet it
            /// bounds the window that is offered.
            ///
            /// # Errors
            ///
            /// What `setsockopt(2)` reports; `EBADF` if the handle is closed.
            pub fn set_recv_buffer_size(&self, size: u32) -> io::Result<()> {
                $crate::options::with_socket(&self.fd, |socket| {
                    socket.set_recv_buffer_size(size as usize)
                })
            }

            /// The size of the kernel's receive buffer, in bytes.
            ///
            /// # Errors
            ///
            /// What `getsockopt(2)` reports; `EBADF` if the handle is closed.
            pub fn recv_buffer_size(&self) -> io::Result<u32> {
                $crate::options::with_socket(&self.fd, |socket| {
                    Ok(socket.recv_buffer_size()? as u32)
                })
            }
        }
    };
}

pub(crate) use buffer_sizes;
