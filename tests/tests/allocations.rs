//! A warm runtime does I/O without allocating, dropped operations included.
//!
//! Counted by the process's allocator, a thread at a time. What is done a few hundred times first makes room for all
//! that comes after; then a few hundred more may not allocate once.

use std::time::Duration;

use annulet_tests::{
    Counting, Ring, allocations, metrics, pipe, poll_now, socket_pair, spec, submitted, until,
};
use runtime::buf::Arena;
use runtime::net::{TcpListener, TcpStream, UdpSocket, UnixStream};
use runtime::time::sleep;
use runtime::{Fd, Op, SerialGroup, op};

spec! {
    alone async a_nop_and_a_sleep_allocate_nothing;
    alone async a_read_and_a_write_allocate_nothing;
    alone async a_read_and_a_write_of_a_file_allocate_nothing;
    alone async an_arenas_buffers_and_many_blocks_allocate_nothing;
    alone async a_receive_and_a_send_allocate_nothing;
    alone async a_receive_of_a_chunk_allocates_nothing;
    alone async a_receive_with_a_deadline_allocates_nothing;
    alone async a_stream_of_chunks_allocates_nothing;
    alone async a_message_allocates_nothing;
    alone async a_udp_socket_allocates_nothing;
    alone async an_accept_and_a_connect_allocate_nothing;
    alone async a_tcp_stream_allocates_nothing;
    alone async a_tcp_listener_allocates_nothing;
    alone async a_dropped_receive_allocates_nothing;
    alone async a_dropped_operation_that_is_cancelled_allocates_nothing;
    alone async a_dropped_accept_allocates_nothing;
    alone async a_queued_receive_allocates_nothing;
    alone async a_serial_group_and_a_splice_allocate_nothing;
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ROUNDS: usize = 300;

/// Does `round` until all is warm, then as often again, without an allocation.
async fn allocates_nothing(round: impl AsyncFnMut(usize)) {
    allocates_at_most(0, round).await;
}

/// So many where workers do it in user space: one that has waited a tenth of a second for the next job, or is late for it,
/// is another one's memory.
fn for_workers(ring: Ring) -> u64 {
    if ring.name == "poll" {
        ROUNDS as u64 / 20
    } else {
        0
    }
}

async fn allocates_at_most(most: u64, mut round: impl AsyncFnMut(usize)) {
    for n in 0..ROUNDS {
        round(n).await;
    }
    let before = allocations();
    for n in 0..ROUNDS {
        round(n).await;
    }
    let count = allocations() - before;
    assert!(count <= most, "{count} allocations in {ROUNDS} rounds");
}

async fn a_nop_and_a_sleep_allocate_nothing(_: Ring) {
    allocates_nothing(async |_| {
        Op::new(op::Nop::new()).await.unwrap();
        sleep(Duration::from_micros(1)).await;
        runtime::yield_now().await;
    })
    .await;
}

async fn a_read_and_a_write_allocate_nothing(_: Ring) {
    let (read_end, write_end) = pipe();
    allocates_nothing(async |n| {
        let (wrote, _) = Op::on(&write_end, op::Write::new([n as u8; 64])).await;
        assert_eq!(wrote.unwrap(), 64);
        let (got, bytes) = Op::on(&read_end, op::Read::new([0; 64])).await;
        assert_eq!((got.unwrap(), bytes), (64, [n as u8; 64]));
    })
    .await;
}

/// A file without a name.
fn new_file() -> std::fs::File {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("allocations-{}", std::process::id()));
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

async fn an_arenas_buffers_and_many_blocks_allocate_nothing(ring: Ring) {
    let file = runtime::fs::File::from_std(new_file()).unwrap();
    let arena = Arena::new(4, 4096);
    let offsets = (0..).map(|n| n % 3 * 100);
    let buffers: Vec<_> = (0..3).filter_map(|_| arena.buffer()).collect();
    let mut blocks = file.read_many(offsets, buffers);
    allocates_at_most(for_workers(ring), async |n| {
        let mut buf = arena.buffer().unwrap();
        buf.set_len(512);
        buf.fill(n as u8);
        let (wrote, buf) = file.write_at(buf, 0).await;
        assert_eq!(wrote.unwrap(), 512);
        let (read, buf) = file.read_at(buf, 0).await;
        assert_eq!((read.unwrap(), &buf[..]), (512, &[n as u8; 512][..]));
        for _ in 0..5 {
            assert!(!blocks.next().await.unwrap().unwrap().is_empty() || n == 0);
        }
    })
    .await;
}

async fn a_read_and_a_write_of_a_file_allocate_nothing(ring: Ring) {
    let file = Fd::new(new_file().into());
    allocates_at_most(for_workers(ring), async |n| {
        let (wrote, _) = Op::on(&file, op::Write::at([n as u8; 512], 0)).await;
        assert_eq!(wrote.unwrap(), 512);
        let (got, bytes) = Op::on(&file, op::Read::at([0; 512], 0)).await;
        assert_eq!((got.unwrap(), bytes), (512, [n as u8; 512]));
    })
    .await;
}

async fn a_receive_and_a_send_allocate_nothing(_: Ring) {
    let (ours, theirs) = socket_pair();
    let mut buf = vec![0; 4096];
    allocates_nothing(async |_| {
        // Blocked first, then served.
        let mut recv = Op::on(&ours, op::Recv::new(std::mem::take(&mut buf)));
        assert!(poll_now(&mut recv).await.is_pending());
        submitted().await;
        assert_eq!(Op::on(&theirs, op::Send::new([7; 64])).await.0.unwrap(), 64);
        let (got, back) = recv.await;
        assert_eq!(got.unwrap(), 64);
        buf = back;
        buf.resize(4096, 0);
    })
    .await;
}

async fn a_receive_of_a_chunk_allocates_nothing(_: Ring) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    allocates_nothing(async |n| {
        let mut receive = ours.recv();
        if n % 2 == 0 {
            assert!(poll_now(&mut receive).await.is_pending());
        }
        theirs.write_all([n as u8; 64]).await.0.unwrap();
        let chunk = receive.await.unwrap();
        ours.write_all(chunk).await.0.unwrap();
        let echoed = theirs.recv().await.unwrap();
        assert_eq!(echoed[..], [n as u8; 64]);
    })
    .await;
}

async fn a_stream_of_chunks_allocates_nothing(_: Ring) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut chunks = ours.chunks();
    allocates_nothing(async |n| {
        theirs.write_all([n as u8; 64]).await.0.unwrap();
        assert_eq!(chunks.fill_buf().await.unwrap(), [n as u8; 64]);
        chunks.consume(64);
    })
    .await;
}

async fn a_receive_with_a_deadline_allocates_nothing(_: Ring) {
    let (ours, theirs) = socket_pair();
    allocates_nothing(async |n| {
        if n % 2 == 0 {
            let late = Op::on(&ours, op::Recv::new([0; 64])).timeout(Duration::from_micros(50));
            assert_eq!(
                late.await.0.unwrap_err().kind(),
                std::io::ErrorKind::TimedOut
            );
        } else {
            assert_eq!(Op::on(&theirs, op::Send::new([7; 64])).await.0.unwrap(), 64);
            let in_time = Op::on(&ours, op::Recv::new([0; 64])).timeout(Duration::from_secs(60));
            assert_eq!(in_time.await.0.unwrap(), 64);
        }
    })
    .await;
}

async fn a_message_allocates_nothing(_: Ring) {
    let (ours, theirs) = socket_pair();
    allocates_nothing(async |_| {
        let send = op::SendMsg::new([[1; 32], [2; 32]], None, 0);
        assert_eq!(Op::on(&theirs, send).await.0.unwrap(), 64);
        let (message, parts) = Op::on(&ours, op::RecvMsg::new([[0; 32], [0; 32]], 0)).await;
        assert_eq!((message.unwrap().len, parts), (64, [[1; 32], [2; 32]]));
    })
    .await;
}

async fn a_udp_socket_allocates_nothing(_: Ring) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let here = socket.local_addr().unwrap();
    allocates_nothing(async |_| {
        assert_eq!(socket.send_to([7; 64], here).await.0.unwrap(), 64);
        assert_eq!(socket.recv_from([0; 64]).await.0.unwrap(), (64, here));
        assert_eq!(
            socket.send_segments_to([7; 64], 32, here).await.0.unwrap(),
            64
        );
        assert_eq!(socket.recv([0; 64]).await.0.unwrap(), 32);
        assert_eq!(socket.recv_batch([0; 64]).await.0.unwrap().len(), 32);
    })
    .await;
}

async fn an_accept_and_a_connect_allocate_nothing(_: Ring) {
    let (listener, address) = annulet_tests::tcp_listener();
    allocates_nothing(async |_| {
        let socket = op::Socket::new(libc::AF_INET, libc::SOCK_STREAM, 0);
        let client = Fd::new(Op::new(socket).await.unwrap());
        let mut accept = Op::on(&listener, op::Accept::new());
        assert!(poll_now(&mut accept).await.is_pending());
        Op::on(&client, op::Connect::new(address.into()))
            .await
            .unwrap();
        let (server, _) = accept.await.unwrap();
        let server = Fd::new(server);
        drop((client, server));
        closed().await;
    })
    .await;
}

async fn a_tcp_stream_allocates_nothing(_: Ring) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (server, _) = listener.accept().await.unwrap();
    let mut buf = vec![7; 4096];
    allocates_nothing(async |_| {
        let (sent, back) = client.write_all(std::mem::take(&mut buf)).await;
        sent.unwrap();
        let (got, back) = server.read_exact(back).await;
        got.unwrap();
        buf = back;
    })
    .await;
}

/// Dropped handles are closed in the background; their memory is then there for the next ones.
async fn closed() {
    until(|| metrics().in_flight == 0).await;
}

async fn a_tcp_listener_allocates_nothing(_: Ring) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    allocates_nothing(async |_| {
        let client = TcpStream::connect(address).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        drop((client, server));
        closed().await;
    })
    .await;
}

async fn a_dropped_receive_allocates_nothing(_: Ring) {
    let (ours, theirs) = socket_pair();
    allocates_nothing(async |n| {
        let mut dropped = Op::on(&ours, op::Recv::new([0; 64]));
        assert!(poll_now(&mut dropped).await.is_pending());
        if n % 2 == 0 {
            submitted().await;
        }
        drop(dropped);
        assert_eq!(
            Op::on(&theirs, op::Send::new([n as u8; 64]))
                .await
                .0
                .unwrap(),
            64
        );
        let (got, bytes) = Op::on(&ours, op::Recv::new([0; 64])).await;
        assert_eq!((got.unwrap(), bytes), (64, [n as u8; 64]));
    })
    .await;
}

async fn a_dropped_operation_that_is_cancelled_allocates_nothing(_: Ring) {
    let (ours, _theirs) = socket_pair();
    allocates_nothing(async |n| {
        let mut hour = Op::new(op::Timeout::new(Duration::from_secs(3600)));
        let readable = op::PollAdd::new(op::Events(libc::POLLIN as u32));
        let mut poll = Op::on(&ours, readable).timeout(Duration::from_secs(3600));
        assert!(poll_now(&mut hour).await.is_pending());
        assert!(poll_now(&mut poll).await.is_pending());
        if n % 2 == 0 {
            submitted().await;
        }
        drop((hour, poll));
        closed().await;
    })
    .await;
}

async fn a_dropped_accept_allocates_nothing(_: Ring) {
    let (listener, address) = annulet_tests::tcp_listener();
    allocates_nothing(async |_| {
        let socket = op::Socket::new(libc::AF_INET, libc::SOCK_STREAM, 0);
        let client = Fd::new(Op::new(socket).await.unwrap());
        let mut dropped = Op::on(&listener, op::Accept::new());
        assert!(poll_now(&mut dropped).await.is_pending());
        submitted().await;
        drop(dropped);
        Op::on(&client, op::Connect::new(address.into()))
            .await
            .unwrap();
        let (server, peer) = Op::on(&listener, op::Accept::new()).await.unwrap();
        assert!(peer.is_some());
        drop((client, Fd::new(server)));
        closed().await;
    })
    .await;
}

async fn a_serial_group_and_a_splice_allocate_nothing(_: Ring) {
    let group = SerialGroup::new();
    let ((input, feed), (drain, output)) = (pipe(), pipe());
    allocates_nothing(async |n| {
        let read = || Op::on(&input, op::Read::new([0; 1])).in_group(&group);
        let splice = || Op::on(&output, op::Splice::new(&input, 1)).in_group(&group);
        let mut first = read();
        assert!(poll_now(&mut first).await.is_pending());
        let (mut second, mut dropped, mut third) = (splice(), splice(), splice());
        assert!(poll_now(&mut second).await.is_pending());
        assert!(poll_now(&mut dropped).await.is_pending());
        assert!(poll_now(&mut third).await.is_pending());
        drop(dropped);
        let all = op::WriteAll::new([n as u8; 3]);
        Op::on(&feed, all).await.0.unwrap();
        first.await.0.unwrap();
        assert_eq!(second.await.unwrap(), 1);
        assert_eq!(third.await.unwrap(), 1);
        let (read, bytes) = Op::on(&drain, op::Read::new([0; 2])).await;
        assert_eq!((read.unwrap(), bytes), (2, [n as u8; 2]));
    })
    .await;
}

async fn a_queued_receive_allocates_nothing(_: Ring) {
    let (ours, theirs) = socket_pair();
    allocates_nothing(async |_| {
        let mut first = Op::on(&ours, op::Recv::new([0; 1]));
        let mut second = Op::on(&ours, op::Recv::new([0; 1]));
        assert!(poll_now(&mut first).await.is_pending());
        assert!(poll_now(&mut second).await.is_pending());
        assert_eq!(Op::on(&theirs, op::Send::new([1, 2])).await.0.unwrap(), 2);
        assert_eq!(first.await.1, [1]);
        assert_eq!(second.await.1, [2]);
    })
    .await;
}
