//! A server and its clients, for as long as it takes: connects, echoes, drops at any await, time-outs, closes.
//!
//! `ANNULET_SOAK_SECONDS` (default 3) says how long, `ANNULET_SOAK_SEED` repeats a run's choices. When it is over
//! nothing may be left, and the second half may not have taken more memory than the first.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use annulet_tests::{
    Ring, fds, give_time, raise_descriptor_limit, resident_bytes, spec, threads, until,
};
use runtime::Runtime;
use runtime::net::{TcpListener, TcpStream};
use runtime::time::sleep;

spec! {
    alone soak;
}

const MIB: usize = 1 << 20;

/// Choices, drawn from a seed (xorshift64*). A task draws its own seed from the one that spawns it.
#[derive(Clone)]
struct Choices(Rc<Cell<u64>>);

impl Choices {
    fn from_seed(seed: u64) -> Choices {
        Choices(Rc::new(Cell::new(seed | 1)))
    }

    fn draw(&self) -> u64 {
        let mut x = self.0.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0.set(x);
        x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&self, bound: u64) -> u64 {
        self.draw() % bound
    }

    fn one_in(&self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    fn microseconds(&self, bound: u64) -> Duration {
        Duration::from_micros(self.below(bound))
    }
}

/// What has happened, to show that it did.
#[derive(Debug, Default)]
struct Tally {
    connected: Cell<u64>,
    refused: Cell<u64>,
    echoes: Cell<u64>,
    dropped: Cell<u64>,
    timed_out: Cell<u64>,
    reset: Cell<u64>,
    open: Cell<usize>,
    most_open: Cell<usize>,
}

fn bump(count: &Cell<u64>) {
    count.set(count.get() + 1);
}

/// Polls `future` at most `polls` times, then drops it: at whichever await it is.
async fn at_most<F: Future>(polls: u64, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        let polled = future.as_mut().poll(cx);
        if polled.is_pending() && left == 0 {
            return Poll::Ready(None);
        }
        polled.map(Some)
    })
    .await
}

/// Reads, after giving up a read or two: what those would have brought must come all the same.
async fn read(
    stream: &TcpStream,
    buf: Vec<u8>,
    choices: &Choices,
) -> (std::io::Result<usize>, Vec<u8>) {
    if choices.one_in(8) {
        let given_up = at_most(choices.below(3), stream.read(vec![0; 512.min(buf.len())]));
        if let Some(in_time) = given_up.await {
            return in_time;
        }
    }
    if choices.one_in(16) {
        let limit = choices.microseconds(200);
        drop(stream.peek(vec![0; 1]).timeout(limit).await);
    }
    let limit = if choices.one_in(4) {
        choices.microseconds(300)
    } else {
        Duration::from_secs(60)
    };
    stream.read(buf).timeout(limit).await
}

/// Echoes what comes.
async fn serve(stream: TcpStream, choices: Choices) {
    loop {
        let (got, mut bytes) = read(&stream, vec![0; 4096], &choices).await;
        match got {
            Ok(0) => return,
            Ok(got) => bytes.truncate(got),
            Err(error) if error.kind() == ErrorKind::TimedOut => continue,
            Err(_) => return,
        }
        if stream.write_all(bytes).await.0.is_err() {
            return;
        }
        if choices.one_in(200) {
            return drop(stream.close().await);
        }
    }
}

/// One connection's life; the bytes that come back must be those sent.
async fn client(address: SocketAddr, choices: Choices, tally: &Tally) {
    let connect = TcpStream::connect_timeout(&address, Duration::from_secs(10));
    let stream = match connect.await {
        Ok(stream) => stream,
        Err(_) => return bump(&tally.refused),
    };
    bump(&tally.connected);
    for _ in 0..choices.below(20) {
        let len = 1 + choices.below(2048) as usize;
        let fill = choices.draw() as u8;
        let (sent, _) = stream.write_all(vec![fill; len]).await;
        if sent.is_err() {
            return bump(&tally.reset);
        }
        let mut left = len;
        while left > 0 {
            let (got, bytes) = read(&stream, vec![0; left], &choices).await;
            match got {
                Ok(0) => return bump(&tally.reset),
                Ok(got) => {
                    let ours = bytes[..got].iter().all(|byte| *byte == fill);
                    assert!(ours, "bytes of another round");
                    left -= got;
                }
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    bump(&tally.timed_out);
                }
                Err(_) => return bump(&tally.reset),
            }
        }
        bump(&tally.echoes);
        if choices.one_in(4) {
            sleep(choices.microseconds(2000)).await;
        }
    }
    if choices.one_in(2) {
        drop(stream.close().await);
    }
}

/// Accepts for ever, dropping an accept now and then: whoever it would have brought must not be lost.
async fn accept(listener: TcpListener, choices: Choices) {
    loop {
        let given_up = at_most(choices.below(3), listener.accept()).await;
        let accepted = match given_up {
            Some(in_time) => in_time,
            None => listener.accept().await,
        };
        let (stream, _) = accepted.unwrap();
        drop(runtime::spawn(serve(
            stream,
            Choices::from_seed(choices.draw()),
        )));
    }
}

/// Keeps up to `most` clients going until `end`, then waits for the last.
async fn drive(
    address: SocketAddr,
    most: usize,
    end: Instant,
    choices: &Choices,
    tally: &Rc<Tally>,
) {
    let waiting = Rc::new(RefCell::new(None));
    while Instant::now() < end {
        if tally.open.get() >= most {
            // Until one of them ends.
            poll_fn(|cx| {
                *waiting.borrow_mut() = Some(cx.waker().clone());
                if tally.open.get() < most {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
        }
        tally.open.set(tally.open.get() + 1);
        tally
            .most_open
            .set(tally.most_open.get().max(tally.open.get()));
        let own = Choices::from_seed(choices.draw());
        let polls = if own.one_in(3) {
            own.below(40)
        } else {
            u64::MAX
        };
        let (tally, waiting) = (tally.clone(), waiting.clone());
        drop(runtime::spawn(async move {
            let client = Box::pin(client(address, own, &tally));
            if at_most(polls, client).await.is_none() {
                bump(&tally.dropped);
            }
            tally.open.set(tally.open.get() - 1);
            let waiting = waiting.borrow_mut().take();
            waiting.into_iter().for_each(std::task::Waker::wake);
        }));
        runtime::yield_now().await;
    }
    until(|| tally.open.get() == 0).await;
}

/// A half of the soak, in a runtime that goes on to the next.
fn half(runtime: &Runtime, most: usize, time: Duration, choices: &Choices, tally: &Rc<Tally>) {
    let driver = runtime.driver().clone();
    runtime.block_on(async {
        let before = driver.metrics().in_flight;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = runtime::spawn(accept(listener, Choices::from_seed(choices.draw())));
        drive(address, most, Instant::now() + time, choices, tally).await;
        acceptor.abort();
        assert!(acceptor.await.unwrap_err().is_cancelled());
        // The servers hear that their clients are gone, and go too.
        until(|| driver.metrics().in_flight == before && runtime.metrics().tasks == 1).await;
        let left = driver.metrics();
        assert_eq!(
            (left.in_flight, left.live, left.backlog),
            (before, before, 0),
            "{left:?}"
        );
    });
    assert_eq!(runtime.metrics().tasks, 0);
}

fn soak(ring: Ring) {
    let seconds = std::env::var("ANNULET_SOAK_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(3.0);
    let seed = std::env::var("ANNULET_SOAK_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| {
        rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_nsec as u64
    });
    println!("seed {seed}: repeat with ANNULET_SOAK_SEED={seed}");
    give_time(Duration::from_secs_f64(seconds) * 2 + Duration::from_secs(60));
    // Each connection is two descriptors here, and some close late.
    let most = (raise_descriptor_limit() / 4).min(1000);
    let (choices, tally) = (Choices::from_seed(seed), Rc::new(Tally::default()));
    let time = Duration::from_secs_f64(seconds / 2.0);

    let before = (fds(), threads());
    let runtime = ring.runtime();
    half(&runtime, most, time, &choices, &tally);
    let (middle, resident) = (fds(), resident_bytes());
    half(&runtime, most, time, &choices, &tally);
    assert_eq!(fds(), middle, "descriptors of the second half");
    let grown = resident_bytes().saturating_sub(resident);
    // What a thousand connections' allocations leave between them differs from time to time; a leak would go on.
    assert!(grown < 4 * MIB, "the second half took {grown} bytes");
    drop(runtime);
    assert_eq!((fds(), threads()), before);

    println!("{tally:?}, {grown} bytes grown");
    let happened = [
        &tally.connected,
        &tally.echoes,
        &tally.dropped,
        &tally.timed_out,
    ];
    assert!(
        happened.iter().all(|count| count.get() > 0),
        "something never happened: {tally:?}"
    );
    assert!(
        tally.most_open.get() >= most / 2,
        "never many at a time: {tally:?}"
    );
}
