//! A socket's settings: time limits, which live in the handle, and socket options, which live in the kernel.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::UdpSocket;
use crate::limit::time_limits;
use crate::options::{buffer_sizes, ip_options, socket_options, with_socket};

time_limits!(UdpSocket);

impl UdpSocket {
    /// From how many bytes on a send goes without a copy, as with
    /// [`TcpStream::set_zero_copy`](crate::TcpStream::set_zero_copy); a datagram's buffer comes back when the device, or
    /// a receiver on this machine, is through with it.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # use runtime::net::UdpSocket;
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// socket.set_zero_copy(Some(4096));
    /// assert_eq!(socket.zero_copy(), Some(4096));
    /// socket.send_to(vec![7; 8192], socket.local_addr()?).await.0?;
    /// assert_eq!(socket.recv(vec![0; 8192]).await.0?, 8192);
    /// # Ok(()) }) }
    /// ```
    pub fn set_zero_copy(&self, least: Option<usize>) {
        self.fd.set_zero_copy(least);
    }

    /// What [`set_zero_copy`](UdpSocket::set_zero_copy) set, or the runtime's builder, if it was not undone.
    pub fn zero_copy(&self) -> Option<usize> {
        self.fd.zero_copy()
    }

    /// Joins the IPv4 group `group` on the device with the address `interface`; an unspecified one leaves the
    /// choice to the kernel (`IP_ADD_MEMBERSHIP`).
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` reports: `ENODEV` without such a device, `AddrInUse` if it has joined before.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::net::UdpSocket;
    /// use std::net::Ipv4Addr;
    ///
    /// let socket = UdpSocket::bind("0.0.0.0:0").await?;
    /// socket.join_multicast_v4(Ipv4Addr::new(239, 7, 7, 7), Ipv4Addr::LOCALHOST)?;
    /// socket.leave_multicast_v4(Ipv4Addr::new(239, 7, 7, 7), Ipv4Addr::LOCALHOST)?;
    /// # Ok(()) }) }
    /// ```
    pub fn join_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        with_socket(&self.fd, |s| s.join_multicast_v4(&group, &interface))
    }

    /// Leaves a group that was [joined](UdpSocket::join_multicast_v4).
    ///
    /// # Errors
    ///
    /// `AddrNotAvailable` if it was not.
    pub fn leave_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        with_socket(&self.fd, |s| s.leave_multicast_v4(&group, &interface))
    }

    /// As [`join_multicast_v4`](UdpSocket::join_multicast_v4), for what `source` sends to the group only
    /// (`IP_ADD_SOURCE_MEMBERSHIP`).
    ///
    /// # Errors
    ///
    /// As [`join_multicast_v4`](UdpSocket::join_multicast_v4).
    pub fn join_ssm_v4(
        &self,
        source: Ipv4Addr,
        group: Ipv4Addr,
        interface: Ipv4Addr,
    ) -> io::Result<()> {
        with_socket(&self.fd, |s| s.join_ssm_v4(&source, &group, &interface))
    }

    /// Leaves a group that was [joined](UdpSocket::join_ssm_v4) for one source.
    ///
    /// # Errors
    ///
    /// `AddrNotAvailable` if it was not.
    pub fn leave_ssm_v4(
        &self,
        source: Ipv4Addr,
        group: Ipv4Addr,
        interface: Ipv4Addr,
    ) -> io::Result<()> {
        with_socket(&self.fd, |s| s.leave_ssm_v4(&source, &group, &interface))
    }

    /// Joins the IPv6 group `group` on the device with the index `interface`; 0 leaves the choice to the kernel
    /// (`IPV6_ADD_MEMBERSHIP`).
    ///
    /// # Errors
    ///
    /// As [`join_multicast_v4`](UdpSocket::join_multicast_v4).
    pub fn join_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        with_socket(&self.fd, |s| s.join_multicast_v6(group, interface))
    }

    /// Leaves a group that was [joined](UdpSocket::join_multicast_v6).
    ///
    /// # Errors
    ///
    /// `AddrNotAvailable` if it was not.
    pub fn leave_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        with_socket(&self.fd, |s| s.leave_multicast_v6(group, interface))
    }

    /// Sends multicast datagrams by the device with the address `interface` (`IP_MULTICAST_IF`).
    ///
    /// # Errors
    ///
    /// `AddrNotAvailable` if there is none.
    pub fn set_multicast_if_v4(&self, interface: Ipv4Addr) -> io::Result<()> {
        with_socket(&self.fd, |s| s.set_multicast_if_v4(&interface))
    }

    /// What [`set_multicast_if_v4`](UdpSocket::set_multicast_if_v4) sets.
    ///
    /// # Errors
    ///
    /// `EBADF` if the socket is closed.
    pub fn multicast_if_v4(&self) -> io::Result<Ipv4Addr> {
        with_socket(&self.fd, |s| s.multicast_if_v4())
    }

    /// Takes the socket's pending error (`SO_ERROR`), if there is one.
    ///
    /// # Errors
    ///
    /// `EBADF` if the socket is closed.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        with_socket(&self.fd, |s| s.take_error())
    }
}

socket_options! {
    impl UdpSocket {
        /// Whether datagrams may be sent to broadcast addresses (`SO_BROADCAST`). Off by default.
        broadcast, set_broadcast: bool = broadcast, set_broadcast;
        /// Sets the time to live of IPv4 packets (`IP_TTL`), in hops.
        ttl, set_ttl: u32 = ttl_v4, set_ttl_v4;
        /// Whether multicast datagrams sent come back to this machine's members (`IP_MULTICAST_LOOP`). On by default.
        multicast_loop_v4, set_multicast_loop_v4: bool = multicast_loop_v4, set_multicast_loop_v4;
        /// Sets the time to live of multicast packets (`IP_MULTICAST_TTL`), in hops; 1 by default.
        multicast_ttl_v4, set_multicast_ttl_v4: u32 = multicast_ttl_v4, set_multicast_ttl_v4;
        /// Whether the socket is given what comes to any group that anybody here has joined (`IP_MULTICAST_ALL`), not
        /// only what comes to its own. On by default.
        multicast_all_v4, set_multicast_all_v4: bool = multicast_all_v4, set_multicast_all_v4;
        /// As [`set_multicast_loop_v4`](UdpSocket::set_multicast_loop_v4), for IPv6.
        multicast_loop_v6, set_multicast_loop_v6: bool = multicast_loop_v6, set_multicast_loop_v6;
        /// As [`set_multicast_ttl_v4`](UdpSocket::set_multicast_ttl_v4), for IPv6 (`IPV6_MULTICAST_HOPS`).
        multicast_hops_v6, set_multicast_hops_v6: u32 = multicast_hops_v6, set_multicast_hops_v6;
        /// Sends IPv6 multicast datagrams by the device with this index (`IPV6_MULTICAST_IF`).
        multicast_if_v6, set_multicast_if_v6: u32 = multicast_if_v6, set_multicast_if_v6;
        /// Whether the type of service of IPv4 packets comes with them as control data (`IP_RECVTOS`).
        recv_tos_v4, set_recv_tos_v4: bool = recv_tos_v4, set_recv_tos_v4;
        /// Whether the traffic class of IPv6 packets comes with them as control data (`IPV6_RECVTCLASS`).
        recv_tclass_v6, set_recv_tclass_v6: bool = recv_tclass_v6, set_recv_tclass_v6;
    }
}

ip_options!(UdpSocket);
buffer_sizes!(UdpSocket);
