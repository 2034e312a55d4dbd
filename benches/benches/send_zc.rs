//! From which size on does it pay not to copy what is sent? Sends of a size on one TCP connection, one after another, with
//! at most sixteen buffers in the kernel's hands; copied and not, through the runtime and through a ring by hand. What is
//! measured is the CPU time of the thread that sends.
//!
//! By itself it sends to a thread of its own, by the loopback device, where the kernel copies all the same: so the
//! figures are the price of not getting what was asked for. With `ANNULET_SINK=host:port` it sends to whoever reads and
//! throws away there, by a device that may do it (`nc -lk 9 > /dev/null`), with `ANNULET_SINK=udp:host:port` as datagrams,
//! which nobody need read. A device of the kind `ifb` throws away what it is given, and copies nothing:
//!
//! ```sh
//! ip link add ifb9 type ifb && ip addr add 10.9.0.1/24 dev ifb9 && ip link set ifb9 mtu 20000 up
//! ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev ifb9
//! ANNULET_SINK=udp:10.9.0.2:9 cargo bench -p annulet-benches --bench send_zc
//! ```
#![allow(missing_docs, reason = "criterion makes the functions")]
#![allow(unsafe_code, reason = "the ring by hand takes entries unchecked")]

use std::io::Read;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use annulet_benches::{Annulet, Executor, cpu_time, quick, ring};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use io_uring::{IoUring, cqueue, opcode, types};
use runtime::op::{Send, SendZc};
use runtime::{Fd, Op};

const SIZES: [usize; 4] = [1200, 4000, 8000, 16384];
/// Buffers that the kernel may read from at a time.
const BUFFERS: usize = 16;
/// `IORING_SEND_ZC_REPORT_USAGE`.
const REPORT_USAGE: u16 = 1 << 3;

/// Who sends, and whether the kernel is to copy.
const WAYS: [(&str, bool); 4] = [
    ("annulet, copied", false),
    ("annulet, in place", true),
    ("ring, copied", false),
    ("ring, in place", true),
];

/// Sends so far, and the CPU time they took.
#[derive(Clone, Copy, Default)]
struct Total(u64, Duration);

impl Total {
    fn add(&mut self, sends: u64, took: Duration) -> Duration {
        *self = Total(self.0 + sends, self.1 + took);
        took
    }

    fn a_second(self) -> f64 {
        self.0 as f64 / self.1.as_secs_f64()
    }
}

fn connected() -> OwnedFd {
    if let Ok(sink) = std::env::var("ANNULET_SINK") {
        if let Some(sink) = sink.strip_prefix("udp:") {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a port");
            socket.connect(sink).expect("a way to get there");
            return socket.into();
        }
        return TcpStream::connect(sink)
            .expect("somebody listens there")
            .into();
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let ours = TcpStream::connect(listener.local_addr().expect("it is bound"));
    let (mut theirs, _) = listener.accept().expect("one waits");
    std::thread::spawn(move || {
        let mut room = vec![0; 256 << 10];
        while theirs.read(&mut room).is_ok_and(|n| n > 0) {}
    });
    ours.expect("it listens").into()
}

fn send_zc(criterion: &mut Criterion) {
    let mut totals = [[Total::default(); SIZES.len()]; WAYS.len()];
    let mut group = criterion.benchmark_group("send_zc");
    for (at, size) in SIZES.into_iter().enumerate() {
        group.throughput(Throughput::Elements(1));
        for (way, (name, in_place)) in WAYS.into_iter().enumerate() {
            let total = &mut totals[way][at];
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                let socket = connected();
                if name.starts_with("ring") {
                    let mut ring = ring(256);
                    let fd = socket.as_raw_fd();
                    bencher.iter_custom(|sends| {
                        total.add(sends, by_hand(&mut ring, fd, in_place, size, sends))
                    });
                } else {
                    let executor = Annulet::new();
                    let socket = Rc::new(Fd::new(socket));
                    bencher.iter_custom(|sends| {
                        let sending = by_tasks(&socket, in_place, size, sends);
                        total.add(sends, executor.block_on(sending))
                    });
                }
            });
        }
    }
    group.finish();
    println!("\nsends a second of CPU time, in millions");
    println!(
        "{:20}{:>8}{:>8}{:>8}{:>8}",
        "", SIZES[0], SIZES[1], SIZES[2], SIZES[3]
    );
    for ((name, _), row) in WAYS.iter().zip(totals) {
        let row = row.map(|total| format!("{:8.3}", total.a_second() / 1e6));
        println!("{name:20}{}", row.concat());
    }
}

async fn by_tasks(socket: &Rc<Fd>, in_place: bool, size: usize, sends: u64) -> Duration {
    let start = cpu_time();
    let tasks: Vec<_> = (0..BUFFERS as u64)
        .map(|task| {
            let socket = socket.clone();
            runtime::spawn(async move {
                let mut buf = vec![7; size];
                for _ in (task..sends).step_by(BUFFERS) {
                    let (sent, back) = if in_place {
                        Op::on(&socket, SendZc::with_flags(buf, libc::MSG_WAITALL)).await
                    } else {
                        Op::on(&socket, Send::with_flags(buf, libc::MSG_WAITALL)).await
                    };
                    assert_eq!(sent.expect("somebody reads"), size);
                    buf = back;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("the task does not panic");
    }
    cpu_time() - start
}

/// All from one buffer, as nobody writes to it.
fn by_hand(ring: &mut IoUring, fd: RawFd, in_place: bool, size: usize, sends: u64) -> Duration {
    let buf = vec![7_u8; size];
    let flags = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
    let (fd, len) = (types::Fd(fd), size as u32);
    let entry = if in_place {
        let send = opcode::SendZc::new(fd, buf.as_ptr(), len).flags(flags);
        send.zc_flags(REPORT_USAGE).build()
    } else {
        opcode::Send::new(fd, buf.as_ptr(), len)
            .flags(flags)
            .build()
    };
    let start = cpu_time();
    let mut held = 0;
    for left in (0..sends).rev() {
        // SAFETY: the buffer lives until the last of its sends was notified of.
        unsafe { ring.submission().push(&entry) }.expect("there is room for one");
        let mut sent = false;
        while !sent || held >= BUFFERS || (left == 0 && held > 0) {
            ring.submit_and_wait(1).expect("our own ring");
            for completion in ring.completion() {
                if cqueue::notif(completion.flags()) {
                    held -= 1;
                    continue;
                }
                assert_eq!(completion.result(), size as i32);
                held += usize::from(cqueue::more(completion.flags()));
                sent = true;
            }
        }
    }
    cpu_time() - start
}

criterion_group! { name = benches; config = quick(); targets = send_zc }
criterion_main!(benches);
