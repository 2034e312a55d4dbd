//! Operations on sockets.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use annulet_tests::{Canary, unacknowledged};
use runtime::buf::Chunk;
use runtime::op::{self, Multi};
use runtime::{Fd, Op};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketType, bind, connect, listen, recv, send, socket,
};

use crate::case::{Case, LEN, Next, SENT, blocked, instant, operations};
use crate::pipes::NOT_A_SOCKET;

operations! {
    accept: Accept;
    accept_multi: AcceptMulti;
    bind_to_an_address: Bind;
    connect_at_once: Connect;
    connect_to_a_full_backlog: Connect;
    listen_for_connections: Listen;
    recv_bytes: Recv;
    recv_chunk: RecvChunk;
    recv_exact: RecvExact;
    recv_multi: RecvMulti;
    recvfrom: RecvFrom;
    recvmsg: RecvMsg;
    recvmsg_with_a_descriptor: RecvMsg;
    recvmsg_without_room_for_the_descriptor: RecvMsg;
    send_bytes: Send;
    send_all: SendAll;
    send_all_in_place: SendAll;
    send_in_place: Send;
    send_zc: SendZc;
    sendmsg: SendMsg;
    sendmsg_in_place: SendMsg;
    sendmsg_with_a_descriptor: SendMsg;
    sendmsg_zc: SendMsgZc;
    sendto: SendTo;
    sendto_in_place: SendTo;
    shutdown: Shutdown;
    socket_of_a_kind: Socket;
    writev_in_place: Writev;
}

/// One of ours, connected to one of theirs.
pub(crate) type Pair = (Fd, UnixStream);

pub(crate) fn pair() -> Pair {
    let (ours, theirs) = UnixStream::pair().expect("a socket pair");
    (Fd::new(ours.into()), theirs)
}

pub(crate) fn send_to((_, theirs): &Pair) {
    let mut theirs = theirs;
    theirs.write_all(&SENT).expect("there is room");
}

/// No socket at all, where one is expected.
fn no_socket() -> Pair {
    (NOT_A_SOCKET(), UnixStream::pair().expect("a socket pair").0)
}

/// A pair in which there is no room to send.
fn full() -> Pair {
    let (ours, theirs) = pair();
    ours.with(|fd| {
        while send(fd, &[0; 4096], SendFlags::DONTWAIT).is_ok() {}
        while send(fd, &[0; 1], SendFlags::DONTWAIT).is_ok() {}
        Ok(())
    })
    .expect("it is open");
    (ours, theirs)
}

/// Makes room.
fn drain((_, theirs): &Pair) {
    let mut room = [0; 4096];
    while recv(theirs, &mut room, RecvFlags::DONTWAIT).is_ok_and(|(n, _)| n > 0) {}
}

fn tcp_pair() -> TcpPair {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    // Of a size that is chosen the kernel changes neither.
    let sized = socket2::SockRef::from(&listener);
    sized.set_send_buffer_size(32 << 10).expect("a size");
    sized.set_recv_buffer_size(32 << 10).expect("a size");
    // Segments smaller than the buffers, which else wait for room for a whole one.
    sized.set_tcp_mss(1400).expect("a size");
    let theirs = TcpStream::connect(listener.local_addr().expect("it is bound"));
    let (ours, _) = listener.accept().expect("one waits");
    let theirs = theirs.expect("it listens");
    let sized = socket2::SockRef::from(&theirs);
    sized.set_recv_buffer_size(32 << 10).expect("a size");
    (Fd::new(ours.into()), theirs, Cell::new(0))
}

/// Our listener, where it listens, and the clients of it.
type Listener = (Fd, SocketAddr, RefCell<Vec<TcpStream>>);

fn listener() -> Listener {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    (Fd::new(listener.into()), address, RefCell::default())
}

fn no_listener() -> Listener {
    let (ours, address, clients) = listener();
    drop(ours);
    (NOT_A_SOCKET(), address, clients)
}

fn client((_, address, clients): &Listener) {
    let client = TcpStream::connect(address).expect("it listens");
    clients.borrow_mut().push(client);
}

fn accept() -> Case<Listener, Op<op::Accept>> {
    blocked(
        listener,
        |(ours, ..), _| Op::on(ours, op::Accept::new()),
        client,
    )
    .on(|(ours, ..)| ours)
    .gives(|result| result.as_ref().is_ok_and(|(_, peer)| peer.is_some()))
    .fails(libc::ENOTSOCK, no_listener)
    .runs_on()
    .opens()
}

fn accept_multi() -> Case<Listener, Next<op::AcceptMulti>> {
    blocked(listener, |(ours, ..), _| Next(Multi::on(ours)), client)
        .on(|(ours, ..)| ours)
        .fails(libc::ENOTSOCK, no_listener)
        // The queue of the completions of an operation that has several.
        .allocates()
        .opens()
}

fn tcp_socket() -> Fd {
    Fd::new(socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket"))
}

fn bind_to_an_address() -> Case<Fd, Op<op::Bind>> {
    instant(tcp_socket, |ours, _| {
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        Op::on(ours, op::Bind::new(any.into()))
    })
    .on(|ours| ours)
    .fails(libc::ENOTSOCK, NOT_A_SOCKET)
    .once()
    .falls_back()
}

fn listen_for_connections() -> Case<Fd, Op<op::Listen>> {
    instant(tcp_socket, |ours, _| Op::on(ours, op::Listen::new(1)))
        .on(|ours| ours)
        .fails(libc::ENOTSOCK, NOT_A_SOCKET)
        .falls_back()
}

/// Our socket, and somebody who listens.
type Connecting = (Fd, TcpListener);

fn connecting() -> Connecting {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    (tcp_socket(), listener)
}

fn connect_at_once() -> Case<Connecting, Op<op::Connect>> {
    instant(connecting, |(ours, listener), _| {
        let address = listener.local_addr().expect("it is bound");
        Op::on(ours, op::Connect::new(address.into()))
    })
    .on(|(ours, _)| ours)
    .fails(libc::ENOTSOCK, || (NOT_A_SOCKET(), connecting().1))
    .once()
}

/// Our socket, a listener with no room, and what takes the room.
type FullBacklog = (Fd, UnixListener, RefCell<Vec<OwnedFd>>);

fn unix_socket() -> OwnedFd {
    socket(AddressFamily::UNIX, SocketType::STREAM, None).expect("a socket")
}

/// The address that the kernel has given a listener.
fn name_of(listener: &impl AsFd) -> SocketAddrUnix {
    let name = rustix::net::getsockname(listener).expect("it is bound");
    SocketAddrUnix::try_from(name).expect("a unix socket's")
}

fn full_backlog() -> FullBacklog {
    let listener = unix_socket();
    // Without a name it is given an abstract one.
    bind(
        &listener,
        &rustix::net::SocketAddrAny::from(SocketAddrUnix::new_unnamed()),
    )
    .expect("it can be bound");
    listen(&listener, 0).expect("it listens");
    let first = unix_socket();
    connect(&first, &name_of(&listener)).expect("the backlog holds one");
    let listener = UnixListener::from(listener);
    (Fd::new(unix_socket()), listener, RefCell::new(vec![first]))
}

fn accept_one((_, listener, taken): &FullBacklog) {
    let (server, _) = listener.accept().expect("one waits");
    taken.borrow_mut().push(server.into());
}

fn connect_to_a_full_backlog() -> Case<FullBacklog, Op<op::Connect>> {
    blocked(
        full_backlog,
        |(ours, listener, _), _| {
            let listener = socket2::SockRef::from(listener);
            let address = listener.local_addr().expect("it is bound");
            Op::on(ours, op::Connect::new(address))
        },
        accept_one,
    )
    .on(|(ours, ..)| ours)
    .once()
}

fn recv_bytes() -> Case<Pair, Op<op::Recv<Canary>>> {
    blocked(
        pair,
        |(ours, _), arena| Op::on(ours, op::Recv::new(arena.take())),
        send_to,
    )
    .on(|(ours, _)| ours)
    .gives(|(result, buf)| result.as_ref().is_ok_and(|n| *n == LEN) && buf[..] == SENT)
    .fails(libc::ENOTSOCK, no_socket)
    .runs_on()
}

fn is_sent(received: &io::Result<Chunk>) -> bool {
    received.as_ref().is_ok_and(|chunk| chunk[..] == SENT)
}

fn recv_chunk() -> Case<Pair, Op<op::RecvChunk>> {
    blocked(
        pair,
        |(ours, _), _| Op::on(ours, op::RecvChunk::new()),
        send_to,
    )
    .on(|(ours, _)| ours)
    .gives(is_sent)
    .fails(libc::ENOTSOCK, no_socket)
    .runs_on()
}

fn recv_multi() -> Case<Pair, Next<op::RecvMulti>> {
    blocked(pair, |(ours, _), _| Next(Multi::on(ours)), send_to)
        .on(|(ours, _)| ours)
        .gives(is_sent)
        .fails(libc::ENOTSOCK, no_socket)
        // The queue of the completions of an operation that has several.
        .allocates()
}

fn recv_exact() -> Case<Pair, Op<op::RecvExact<Canary>>> {
    blocked(
        pair,
        |(ours, _), arena| Op::on(ours, op::RecvExact::new(arena.take())),
        send_to,
    )
    .on(|(ours, _)| ours)
    .gives(|(_, buf)| buf[..] == SENT)
    .fails(libc::ENOTSOCK, no_socket)
}

fn recvmsg() -> Case<Pair, Op<op::RecvMsg<[Canary; 1]>>> {
    blocked(
        pair,
        |(ours, _), arena| Op::on(ours, op::RecvMsg::new([arena.take()], 0)),
        send_to,
    )
    .on(|(ours, _)| ours)
    .gives(|(result, [buf])| result.as_ref().is_ok_and(|m| m.len == LEN) && buf[..] == SENT)
    .fails(libc::ENOTSOCK, no_socket)
    .runs_on()
}

/// Sends with a descriptor beside the bytes.
fn send_descriptor_to((_, theirs): &Pair) {
    let passed = [theirs.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&passed)));
    let bytes = [IoSlice::new(&SENT)];
    rustix::net::sendmsg(theirs, &bytes, &mut control, SendFlags::empty()).expect("there is room");
}

fn recvmsg_with_a_descriptor() -> Case<Pair, Op<op::RecvMsg<[Canary; 1]>>> {
    blocked(
        pair,
        |(ours, _), arena| {
            let receive = op::RecvMsg::new([arena.take()], 0);
            Op::on(ours, receive.with_control(op::Control::room_for_fds(1)))
        },
        send_descriptor_to,
    )
    .on(|(ours, _)| ours)
    .gives(|(result, [buf])| {
        let fds = result.as_ref().map_or(0, |m| m.control.fds().count());
        fds == 1 && buf[..] == SENT
    })
    .fails(libc::ENOTSOCK, no_socket)
    .runs_on()
    .allocates()
    .opens()
}

fn recvmsg_without_room_for_the_descriptor() -> Case<Pair, Op<op::RecvMsg<[Canary; 1]>>> {
    blocked(
        pair,
        |(ours, _), arena| Op::on(ours, op::RecvMsg::new([arena.take()], 0)),
        send_descriptor_to,
    )
    .on(|(ours, _)| ours)
    .gives(|(result, [buf])| {
        let cut = result.as_ref().map_or(0, |m| m.flags & libc::MSG_CTRUNC);
        cut != 0 && buf[..] == SENT
    })
    .runs_on()
}

fn recvfrom() -> Case<Pair, Op<op::RecvFrom<Canary, usize>>> {
    blocked(
        pair,
        |(ours, _), arena| Op::on(ours, op::RecvFrom::new(arena.take(), 0)),
        send_to,
    )
    .on(|(ours, _)| ours)
    .gives(|(result, buf)| result.as_ref().is_ok_and(|n| *n == LEN) && buf[..] == SENT)
    .fails(libc::ENOTSOCK, no_socket)
    .runs_on()
}

fn send_bytes() -> Case<Pair, Op<op::Send<Canary>>> {
    blocked(
        full,
        |(ours, _), arena| Op::on(ours, op::Send::new(arena.take())),
        drain,
    )
    .on(|(ours, _)| ours)
    .gives(|(result, _)| result.as_ref().is_ok_and(|n| *n == LEN))
    .fails(libc::ENOTSOCK, no_socket)
}

fn send_all() -> Case<Pair, Op<op::SendAll<Canary>>> {
    blocked(
        full,
        |(ours, _), arena| Op::on(ours, op::SendAll::new(arena.take())),
        drain,
    )
    .on(|(ours, _)| ours)
    .fails(libc::ENOTSOCK, no_socket)
}

fn sendmsg() -> Case<Pair, Op<op::SendMsg<[Canary; 1]>>> {
    blocked(
        full,
        |(ours, _), arena| Op::on(ours, op::SendMsg::new([arena.take()], None, 0)),
        drain,
    )
    .on(|(ours, _)| ours)
    .gives(|(result, _)| result.as_ref().is_ok_and(|n| *n == LEN))
    .fails(libc::ENOTSOCK, no_socket)
}

fn sendmsg_with_a_descriptor() -> Case<Pair, Op<op::SendMsg<[Canary; 1]>>> {
    blocked(
        full,
        |(ours, theirs), arena| {
            let passed = theirs.try_clone().expect("a descriptor");
            let control = op::Control::new().with_fd(passed);
            Op::on(
                ours,
                op::SendMsg::new([arena.take()], None, 0).with_control(control),
            )
        },
        drain,
    )
    .on(|(ours, _)| ours)
    .fails(libc::ENOTSOCK, no_socket)
    .allocates()
    .opens()
}

fn sendto() -> Case<Pair, Op<op::SendTo<Canary>>> {
    blocked(
        full,
        |(ours, _), arena| Op::on(ours, op::SendTo::new(arena.take(), None, 0)),
        drain,
    )
    .on(|(ours, _)| ours)
    .gives(|(result, _)| result.as_ref().is_ok_and(|n| *n == LEN))
    .fails(libc::ENOTSOCK, no_socket)
}

/// One of ours, connected by TCP to one of theirs, and how many bytes are on the way there.
type TcpPair = (Fd, TcpStream, Cell<usize>);

fn no_tcp_socket() -> TcpPair {
    (NOT_A_SOCKET(), tcp_pair().1, Cell::new(0))
}

/// A pair in which there is no room to send.
fn full_tcp() -> TcpPair {
    let (ours, theirs, sent) = tcp_pair();
    ours.with(|fd| {
        let fits = |len| {
            let n = send(fd, &[0; 4096][..len], SendFlags::DONTWAIT);
            sent.set(sent.get() + n.unwrap_or(0));
            n.is_ok()
        };
        loop {
            // What is on its way makes room when it has arrived and that is told.
            let settled = unacknowledged(fd) == 0;
            if !fits(4096) && !fits(1) && settled {
                break;
            }
            acknowledge(&theirs);
            std::thread::yield_now();
        }
        Ok(())
    })
    .expect("it is open");
    (ours, theirs, sent)
}

/// Reads all that was sent before, so that there is room at both ends; what comes then is acknowledged at once.
fn drain_tcp((_, theirs, sent): &TcpPair) {
    let mut theirs = theirs;
    theirs
        .read_exact(&mut vec![0; sent.take()])
        .expect("it was sent");
    acknowledge(theirs);
}

/// Acknowledges what has arrived, at once instead of in 40 ms.
fn acknowledge(theirs: &TcpStream) {
    rustix::net::sockopt::set_tcp_quickack(theirs, true).expect("it is TCP");
}

/// As often as an operation is made: the kernel copies on the loopback device, and says so.
fn in_place(ours: &Fd) -> &Fd {
    ours.set_zero_copy(Some(1));
    ours
}

fn send_zc() -> Case<TcpPair, Op<op::SendZc<Canary>>> {
    blocked(
        full_tcp,
        |(ours, ..), arena| Op::on(ours, op::SendZc::new(arena.take())),
        drain_tcp,
    )
    .on(|(ours, ..)| ours)
    .gives(|(result, _)| result.as_ref().is_ok_and(|n| *n == LEN))
    .fails(libc::ENOTSOCK, no_tcp_socket)
}

fn send_in_place() -> Case<TcpPair, Op<op::Send<Canary>>> {
    blocked(
        full_tcp,
        |(ours, ..), arena| Op::on(in_place(ours), op::Send::new(arena.take())),
        drain_tcp,
    )
    .on(|(ours, ..)| ours)
    .gives(|(result, _)| result.as_ref().is_ok_and(|n| *n == LEN))
    .fails(libc::ENOTSOCK, no_tcp_socket)
}

fn send_all_in_place() -> Case<TcpPair, Op<op::SendAll<Canary>>> {
    blocked(
        full_tcp,
        |(ours, ..), arena| Op::on(in_place(ours), op::SendAll::new(arena.take())),
        drain_tcp,
    )
    .on(|(ours, ..)| ours)
    .fails(libc::ENOTSOCK, no_tcp_socket)
}

fn sendmsg_zc() -> Case<TcpPair, Op<op::SendMsgZc<[Canary; 1]>>> {
    blocked(
        full_tcp,
        |(ours, ..), arena| Op::on(ours, op::SendMsgZc::new([arena.take()], None, 0)),
        drain_tcp,
    )
    .on(|(ours, ..)| ours)
    .gives(|(result, _)| result.as_ref().is_ok_and(|n| *n == LEN))
    .fails(libc::ENOTSOCK, no_tcp_socket)
}

fn sendmsg_in_place() -> Case<TcpPair, Op<op::SendMsg<[Canary; 1]>>> {
    blocked(
        full_tcp,
        |(ours, ..), arena| {
            let send = op::SendMsg::new([arena.take()], None, 0);
            Op::on(in_place(ours), send)
        },
        drain_tcp,
    )
    .on(|(ours, ..)| ours)
    .gives(|(result, _)| result.as_ref().is_ok_and(|n| *n == LEN))
    .fails(libc::ENOTSOCK, no_tcp_socket)
}

fn sendto_in_place() -> Case<TcpPair, Op<op::SendTo<Canary>>> {
    blocked(
        full_tcp,
        |(ours, ..), arena| Op::on(in_place(ours), op::SendTo::new(arena.take(), None, 0)),
        drain_tcp,
    )
    .on(|(ours, ..)| ours)
    .gives(|(result, _)| result.as_ref().is_ok_and(|n| *n == LEN))
    .fails(libc::ENOTSOCK, no_tcp_socket)
}

fn writev_in_place() -> Case<TcpPair, Op<op::Writev<[Canary; 1]>>> {
    blocked(
        full_tcp,
        |(ours, ..), arena| Op::on(in_place(ours), op::Writev::new([arena.take()])),
        drain_tcp,
    )
    .on(|(ours, ..)| ours)
    .gives(|(result, _)| result.as_ref().is_ok_and(|n| *n == LEN))
}

fn shutdown() -> Case<Pair, Op<op::Shutdown>> {
    instant(pair, |(ours, _), _| {
        Op::on(ours, op::Shutdown::new(Shutdown::Write))
    })
    .on(|(ours, _)| ours)
    .fails(libc::ENOTSOCK, no_socket)
}

fn socket_of_a_kind() -> Case<(), Op<op::Socket>> {
    instant(
        || (),
        |(), _| Op::new(op::Socket::new(libc::AF_UNIX, libc::SOCK_STREAM, 0)),
    )
    .falls_back()
    .opens()
}
