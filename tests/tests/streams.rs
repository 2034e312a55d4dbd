//! A stream of bytes arrives complete and in order, whatever is done to those who read and write it.
//!
//! One end writes, the other reads, each by steps drawn at random: in pieces of any size, all or some, into several
//! buffers, with deadlines too short, cancelled, dropped at any poll (reads only: a dropped write may have written any
//! part), with pauses between. The same steps run through a pipe, a unix and a TCP socket. From sockets it is received into
//! the runtime's buffers, too, of any size, of which there are many, few or none, picked by the kernel or not.
//!
//! What was drawn comes from a seed, which a failing test prints; `ANNULET_SEED=<seed>` draws the same again.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::task::Poll;
use std::time::Duration;

use annulet_tests::{Ring, give_time, poll_now, socket_pair, spec, submitted};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use runtime::fs::{PipeReader, PipeWriter};
use runtime::net::{Chunks, TcpListener, TcpStream, UnixStream};
use runtime::op::{self, Operation};
use runtime::{BufResult, CancelToken, Fd, Op, Partial, is_cancelled};

spec! {
    alone a_stream_through_a_pipe_arrives_complete_and_in_order;
    alone a_stream_through_a_unix_socket_arrives_complete_and_in_order;
    alone a_stream_of_messages_arrives_complete_and_in_order;
    alone a_stream_through_tcp_arrives_complete_and_in_order;
}

const CASES: u32 = 32;

/// How a read or a write is limited.
#[derive(Clone, Copy, Debug)]
enum Limit {
    None,
    /// A deadline, in microseconds.
    Deadline(u64),
    /// A cancel, after so many turns.
    Cancel(u8),
    /// Dropped after so many polls. Reads only.
    Drop(u8),
}

/// What is done at one end.
#[derive(Clone, Debug)]
enum Step {
    /// A read or a write of up to so many bytes.
    Some(usize, Limit),
    /// Of so many.
    All(usize, Limit),
    Vectored(usize, usize, Limit),
    Pause(u8),
    /// What there is, in a buffer of the runtime's. Reads only.
    Chunk(Limit),
    /// So many looks at what comes by one submission, each taking up to so many bytes. Reads only.
    Chunks(u8, usize),
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 1..64usize, 2 => 1..4097usize, 1 => 1..200_000usize]
}

fn limit() -> impl Strategy<Value = Limit> {
    prop_oneof![
        2 => Just(Limit::None),
        2 => (0..60u64).prop_map(Limit::Deadline),
        1 => (0..4u8).prop_map(Limit::Cancel),
    ]
}

fn limit_or_drop() -> impl Strategy<Value = Limit> {
    prop_oneof![2 => limit(), 1 => (1..4u8).prop_map(Limit::Drop)]
}

fn steps<L: Strategy<Value = Limit>>(limit: fn() -> L) -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (size(), limit()).prop_map(|(n, limit)| Step::Some(n, limit)),
        2 => (size(), limit()).prop_map(|(n, limit)| Step::All(n, limit)),
        2 => (size(), size(), limit()).prop_map(|(a, b, limit)| Step::Vectored(a, b, limit)),
        1 => (0..6u8).prop_map(Step::Pause),
    ]
}

fn writes() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(steps(limit), 1..12)
}

fn reads() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => steps(limit_or_drop),
        2 => limit_or_drop().prop_map(Step::Chunk),
        1 => (0..20u8, size()).prop_map(|(looks, n)| Step::Chunks(looks, n)),
    ];
    prop::collection::vec(step, 1..12)
}

/// The runtime's own buffers: whether the kernel picks them, their size, how many there are at most.
/// Whether the kernel picks them, and fills them by and by; how large they are, and how many.
fn buffers() -> impl Strategy<Value = (bool, bool, usize, usize)> {
    let size = prop_oneof![1 => 64..1000usize, 1 => Just(8192)];
    (
        any::<bool>(),
        any::<bool>(),
        size,
        prop_oneof![Just(0), Just(32), Just(8192)],
    )
}

/// The stream: each byte tells where it belongs.
fn stream(range: Range<usize>) -> Vec<u8> {
    range
        .map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8)
        .collect()
}

/// The end that is read from.
trait Source {
    type Read: Operation<Output = BufResult<usize, Vec<u8>>>;
    type Exact: Operation<Output = BufResult<(), Vec<u8>>>;
    type Vectored: Operation<Output = BufResult<usize, [Vec<u8>; 2]>>;
    fn some(&self, buf: Vec<u8>) -> Op<Self::Read>;
    fn exact(&self, buf: Vec<u8>) -> Op<Self::Exact>;
    fn vectored(&self, bufs: [Vec<u8>; 2]) -> Op<Self::Vectored>;

    fn chunk(&self) -> Option<Op<op::RecvChunk>> {
        None
    }

    fn chunks(&self) -> Option<Chunks<'_>> {
        None
    }
}

/// The end that is written to.
trait Sink: 'static {
    type Write: Operation<Output = BufResult<usize, Vec<u8>>>;
    type All: Operation<Output = BufResult<(), Vec<u8>>>;
    type Vectored: Operation<Output = BufResult<usize, [Vec<u8>; 2]>>;
    fn some(&self, buf: Vec<u8>) -> Op<Self::Write>;
    fn all(&self, buf: Vec<u8>) -> Op<Self::All>;
    fn vectored(&self, bufs: [Vec<u8>; 2]) -> Op<Self::Vectored>;
}

macro_rules! source {
    ($end:ty: $read:ident, $exact:ident $(, $chunk:ident, $chunks:ident)?) => {
        impl Source for $end {
            type Read = op::$read<Vec<u8>>;
            type Exact = op::$exact<Vec<u8>>;
            type Vectored = op::Readv<[Vec<u8>; 2]>;
            fn some(&self, buf: Vec<u8>) -> Op<Self::Read> {
                self.read(buf)
            }
            fn exact(&self, buf: Vec<u8>) -> Op<Self::Exact> {
                self.read_exact(buf)
            }
            fn vectored(&self, bufs: [Vec<u8>; 2]) -> Op<Self::Vectored> {
                self.read_vectored(bufs)
            }
            $(
                fn chunk(&self) -> Option<Op<op::RecvChunk>> {
                    Some(self.$chunk())
                }
                fn chunks(&self) -> Option<Chunks<'_>> {
                    Some(self.$chunks())
                }
            )?
        }
    };
}

macro_rules! sink {
    ($end:ty: $write:ident, $all:ident) => {
        impl Sink for $end {
            type Write = op::$write<Vec<u8>>;
            type All = op::$all<Vec<u8>>;
            type Vectored = op::Writev<[Vec<u8>; 2]>;
            fn some(&self, buf: Vec<u8>) -> Op<Self::Write> {
                self.write(buf)
            }
            fn all(&self, buf: Vec<u8>) -> Op<Self::All> {
                self.write_all(buf)
            }
            fn vectored(&self, bufs: [Vec<u8>; 2]) -> Op<Self::Vectored> {
                self.write_vectored(bufs)
            }
        }
    };
}

source!(PipeReader: Read, ReadExact);
sink!(PipeWriter: Write, WriteAll);
source!(TcpStream: Recv, RecvExact, recv, chunks);
sink!(TcpStream: Send, SendAll);

source!(UnixStream: Recv, RecvExact, recv, chunks);
sink!(UnixStream: Send, SendAll);

/// A unix socket whose every operation is a message.
struct Messages(Fd);

impl Source for Messages {
    type Read = op::RecvFrom<Vec<u8>, usize>;
    type Exact = op::RecvExact<Vec<u8>>;
    type Vectored = op::Readv<[Vec<u8>; 2]>;
    fn some(&self, buf: Vec<u8>) -> Op<Self::Read> {
        Op::on(&self.0, op::RecvFrom::new(buf, 0))
    }
    fn exact(&self, buf: Vec<u8>) -> Op<Self::Exact> {
        Op::on(&self.0, op::RecvExact::new(buf))
    }
    fn vectored(&self, bufs: [Vec<u8>; 2]) -> Op<Self::Vectored> {
        Op::on(&self.0, op::Readv::new(bufs))
    }
}

impl Sink for Messages {
    type Write = op::SendTo<Vec<u8>>;
    type All = op::SendAll<Vec<u8>>;
    type Vectored = op::SendMsg<[Vec<u8>; 2]>;
    fn some(&self, buf: Vec<u8>) -> Op<Self::Write> {
        Op::on(&self.0, op::SendTo::new(buf, None, 0))
    }
    fn all(&self, buf: Vec<u8>) -> Op<Self::All> {
        Op::on(&self.0, op::SendAll::new(buf))
    }
    fn vectored(&self, bufs: [Vec<u8>; 2]) -> Op<Self::Vectored> {
        Op::on(&self.0, op::SendMsg::new(bufs, None, 0))
    }
}

async fn pause(yields: u8) {
    for _ in 0..yields {
        runtime::yield_now().await;
    }
}

/// What the operation resolves to, unless it is dropped before.
async fn limited<T: Operation>(mut op: Op<T>, limit: Limit) -> Option<T::Output> {
    match limit {
        Limit::None => Some(op.await),
        Limit::Deadline(micros) => Some(op.timeout(Duration::from_micros(micros)).await),
        Limit::Cancel(turns) => {
            let token = CancelToken::new();
            let canceller = runtime::spawn({
                let token = token.clone();
                async move {
                    pause(turns).await;
                    token.cancel().await;
                }
            });
            let output = op.cancel_with(&token).await;
            canceller.await.unwrap();
            Some(output)
        }
        Limit::Drop(polls) => {
            for poll in 0..polls {
                if let Poll::Ready(output) = poll_now(&mut op).await {
                    return Some(output);
                }
                if poll % 2 == 0 {
                    submitted().await;
                }
            }
            None
        }
    }
}

/// The operation was given up, and not because the stream is broken.
fn assert_given_up(error: &io::Error) {
    let given_up = error.kind() == ErrorKind::TimedOut || is_cancelled(error);
    assert!(given_up, "{error:?}");
}

/// How much of the stream has been read.
#[derive(Default)]
struct Reader {
    at: usize,
}

impl Reader {
    fn took(&mut self, bytes: &[u8]) {
        let end = self.at + bytes.len();
        let expected = stream(self.at..end);
        assert!(bytes == expected, "others than these at {}..{end}", self.at);
        self.at = end;
    }

    /// `false`: the stream has ended.
    async fn step(&mut self, source: &impl Source, step: &Step) -> bool {
        let room = Vec::with_capacity;
        let result = match *step {
            Step::Some(n, limit) => match limited(source.some(room(n)), limit).await {
                Some((result, buf)) => {
                    self.took(&buf[..*result.as_ref().unwrap_or(&0)]);
                    result
                }
                None => return true,
            },
            Step::All(n, limit) => match limited(source.exact(room(n)), limit).await {
                Some((result, buf)) => {
                    let done = result.as_ref().map_or_else(Partial::of, |()| n);
                    self.took(&buf[..done]);
                    result.map(|()| n)
                }
                None => return true,
            },
            Step::Vectored(a, b, limit) => {
                match limited(source.vectored([room(a), room(b)]), limit).await {
                    Some((Ok(n), bufs)) => {
                        self.took(&bufs.concat());
                        assert_eq!(n, bufs[0].len() + bufs[1].len());
                        Ok(n)
                    }
                    Some((error, _)) => error,
                    None => return true,
                }
            }
            Step::Pause(turns) => {
                pause(turns).await;
                return true;
            }
            Step::Chunk(limit) => {
                let Some(op) = source.chunk() else {
                    return true;
                };
                match limited(op, limit).await {
                    Some(received) => received.map(|chunk| {
                        self.took(&chunk);
                        chunk.len()
                    }),
                    None => return true,
                }
            }
            Step::Chunks(looks, most) => {
                let Some(chunks) = source.chunks() else {
                    return true;
                };
                return self.look(chunks, looks, most).await;
            }
        };
        match result {
            Ok(n) => n > 0,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => false,
            Err(error) => {
                assert_given_up(&error);
                true
            }
        }
    }
}

impl Reader {
    /// `false`: the stream has ended.
    async fn look(&mut self, mut chunks: Chunks<'_>, looks: u8, most: usize) -> bool {
        for look in 0..looks {
            if look % 3 == 2 {
                match chunks.next().await {
                    Some(chunk) => self.took(&chunk.expect("nothing limits it")),
                    None => return false,
                }
                continue;
            }
            let shown = chunks.fill_buf().await.expect("nothing limits it");
            if shown.is_empty() {
                return false;
            }
            let n = shown.len().min(most);
            self.took(&shown[..n]);
            chunks.consume(n);
        }
        true
    }
}

/// Takes one step; returns where in the stream that leads.
async fn write_step(sink: &impl Sink, at: usize, total: usize, step: &Step) -> usize {
    let next = |at: usize, n: usize| stream(at..total.min(at + n));
    let result = match *step {
        Step::Some(n, limit) => limited(sink.some(next(at, n)), limit).await.map(|o| o.0),
        Step::All(n, limit) => {
            let part = next(at, n);
            let n = part.len();
            let output = limited(sink.all(part), limit).await;
            output.map(|(result, _)| result.map(|()| n))
        }
        Step::Vectored(a, b, limit) => {
            let first = next(at, a);
            let second = next(at + first.len(), b);
            let output = limited(sink.vectored([first, second]), limit).await;
            output.map(|o| o.0)
        }
        Step::Pause(turns) => {
            pause(turns).await;
            Some(Ok(0))
        }
        Step::Chunk(_) | Step::Chunks(..) => unreachable!("only drawn for reads"),
    };
    match result.expect("a write is not dropped") {
        Ok(n) => at + n,
        Err(error) => {
            assert_given_up(&error);
            at + Partial::of(&error)
        }
    }
}

/// Writes `total` bytes and closes; reads until the end.
async fn run(
    source: impl Source,
    sink: impl Sink,
    total: usize,
    writes: Vec<Step>,
    reads: &[Step],
) {
    let writer = runtime::spawn(async move {
        let mut at = 0;
        for step in writes.iter().cycle() {
            at = write_step(&sink, at, total, step).await;
            if at == total {
                break;
            }
            runtime::yield_now().await;
        }
    });
    let mut reader = Reader::default();
    for step in reads.iter().cycle() {
        if !reader.step(&source, step).await {
            break;
        }
        runtime::yield_now().await;
    }
    assert_eq!(reader.at, total, "it ended early");
    writer.await.unwrap();
    // And it stays ended.
    let (read, _) = source.some(vec![0; 8]).await;
    assert_eq!(read.unwrap(), 0);
}

/// Draws cases from a seed, which is printed.
fn check(ring: Ring, run: impl AsyncFn(usize, Vec<Step>, Vec<Step>)) {
    give_time(Duration::from_secs(120));
    let chosen = std::env::var("ANNULET_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed: u64 = chosen.unwrap_or_else(|| RandomState::new().hash_one(ring.name));
    println!("ANNULET_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let cases = (1..300_000usize, writes(), reads(), buffers());
    let result =
        TestRunner::new_with_rng(config, rng).run(&cases, |(total, mut writes, reads, buffers)| {
            // Both ends must get on, whatever was drawn.
            writes.push(Step::All(4096, Limit::None));
            let mut reads = reads;
            reads.push(Step::Some(4096, Limit::None));
            let (provided, incremental, size, limit) = buffers;
            let builder = ring.builder().provided_buffers(provided);
            let builder = builder.incremental(incremental);
            let runtime = builder.chunk_size(size).chunk_limit(limit).build().unwrap();
            let driver = runtime.driver().clone();
            runtime.block_on(run(total, writes, reads));
            drop(runtime);
            let left = driver.metrics();
            assert_eq!((left.in_flight, left.live, left.chunks_lent), (0, 0, 0));
            Ok(())
        });
    if let Err(error) = result {
        panic!("{error}");
    }
}

fn a_stream_through_a_pipe_arrives_complete_and_in_order(ring: Ring) {
    check(ring, async |total, writes, reads| {
        let (source, sink) = runtime::fs::pipe().unwrap();
        run(source, sink, total, writes, &reads).await;
    });
}

fn a_stream_through_a_unix_socket_arrives_complete_and_in_order(ring: Ring) {
    check(ring, async |total, writes, reads| {
        let (source, sink) = UnixStream::pair().unwrap();
        run(source, sink, total, writes, &reads).await;
    });
}

fn a_stream_of_messages_arrives_complete_and_in_order(ring: Ring) {
    check(ring, async |total, writes, reads| {
        let (source, sink) = socket_pair();
        run(Messages(source), Messages(sink), total, writes, &reads).await;
    });
}

fn a_stream_through_tcp_arrives_complete_and_in_order(ring: Ring) {
    check(ring, async |total, writes, reads| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sink = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (source, _) = listener.accept().await.unwrap();
        run(source, sink.unwrap(), total, writes, &reads).await;
    });
}
