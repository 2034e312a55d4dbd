//! A TCP proxy: what comes in at one address goes out to another, and back.
//!
//! ```sh
//! cargo run --release --example proxy                                  # shows itself: client, proxy, upstream
//! cargo run --release --example proxy -- 127.0.0.1:8080 example.org:80
//! ```
//!
//! Either side may end its direction while the other goes on (half-close). A connection on which nothing moves in
//! either direction is let go, as is one whose upstream does not answer. Ctrl-C stops accepting, gives what is open
//! some time to finish, and ends; a second one ends at once.

mod advice;
mod ctrl_c;

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::future::{or, try_zip};
use indicatif::BinaryBytes;
use lexopt::prelude::*;
use runtime::net::{TcpListener, TcpStream};
use runtime::time::{sleep, timeout};

use crate::advice::{explain, is_out_of_descriptors};
use crate::ctrl_c::CtrlC;

/// How long the upstream has to take a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// A connection on which nothing moves for this long, in neither direction, is let go.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
/// How long connections may go on once the proxy is to end.
const FAREWELL_LIMIT: Duration = Duration::from_secs(10);
/// How long to accept nobody when there is no descriptor left for another connection.
const FULL_PAUSE: Duration = Duration::from_millis(100);
/// Bytes moved at once.
const BUFFER_SIZE: usize = 64 * 1024;

const HELP: &str = "\
A TCP proxy on io_uring.

    proxy LISTEN UPSTREAM    passes what arrives at LISTEN on to UPSTREAM, such as
                             proxy 127.0.0.1:8080 example.org:80
    proxy                    shows itself: an upstream, the proxy and a client in one program
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("proxy: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let mut addrs = Vec::new();
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next().map_err(|error| error.to_string())? {
        match arg {
            Value(addr) => addrs.push(addr.to_string_lossy().into_owned()),
            Long("help") | Short('h') => {
                print!("{HELP}");
                return Ok(());
            }
            other => return Err(format!("{}\n\n{HELP}", other.unexpected())),
        }
    }
    let result = match addrs.as_slice() {
        [] => runtime::block_on(show()),
        [listen, upstream] => runtime::block_on(serve(listen, upstream)),
        _ => return Err(format!("it takes two addresses, or none\n\n{HELP}")),
    };
    result.map_err(|error| format!("cannot make a ring: {error}"))?
}

/// Passes on what arrives at `listen` until Ctrl-C.
async fn serve(listen: &str, upstream: &str) -> Result<(), String> {
    let ctrl_c = CtrlC::listen().map_err(|error| format!("cannot take over Ctrl-C: {error}"))?;
    let proxy = Proxy::bind(listen, upstream)
        .await
        .map_err(|error| explain(format_args!("cannot listen at {listen}"), &error))?;
    let addr = proxy
        .listener
        .local_addr()
        .map_err(|error| error.to_string())?;
    println!("{addr} -> {upstream}; Ctrl-C ends it");

    let stopper = runtime::spawn({
        let proxy = proxy.clone();
        async move {
            ctrl_c.pressed().await;
            println!(
                "no more connections; those that are open have {FAREWELL_LIMIT:?}, or until Ctrl-C"
            );
            proxy.stop();
        }
    });
    let result = proxy.run().await;
    stopper.abort();
    result.map_err(|error| explain("accepting", &error))
}

struct Proxy {
    listener: TcpListener,
    upstream: String,
    connections: Cell<u64>,
}

impl Proxy {
    async fn bind(listen: &str, upstream: &str) -> io::Result<Rc<Proxy>> {
        let listener = TcpListener::bind(listen).await?;
        Ok(Rc::new(Proxy {
            listener,
            upstream: upstream.to_owned(),
            connections: Cell::new(0),
        }))
    }

    /// Stops accepting; [`run`](Proxy::run) returns when what is open is done, or its time is over.
    fn stop(&self) {
        // The close begins here and now; nobody has to wait for it.
        drop(self.listener.close());
    }

    async fn run(self: Rc<Proxy>) -> io::Result<()> {
        // Each connection holds a sender; when the channel is closed they are all gone.
        let (alive, all_gone) = async_channel::bounded::<Infallible>(1);
        let mut full = false;
        let mut incoming = self.listener.incoming();
        while let Some(accepted) = incoming.next().await {
            match accepted {
                Ok(client) => {
                    let (proxy, alive) = (self.clone(), alive.clone());
                    runtime::spawn(async move {
                        proxy.connection(client).await;
                        drop(alive);
                    });
                }
                Err(error) if is_out_of_descriptors(&error) => {
                    // Said once: it does not get better by being said ten times a second.
                    if !std::mem::replace(&mut full, true) {
                        let open = alive.sender_count() - 1;
                        eprintln!(
                            "proxy: {}",
                            explain(format_args!("no room beside {open} connections"), &error)
                        );
                    }
                    sleep(FULL_PAUSE).await;
                }
                // The client was gone before it was accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
        drop(alive);
        if timeout(FAREWELL_LIMIT, all_gone.recv()).await.is_err() {
            // They are dropped with the runtime, which cancels what they wait for.
            eprintln!(
                "proxy: connections cut off after {FAREWELL_LIMIT:?}: {}",
                all_gone.sender_count()
            );
        }
        Ok(())
    }

    /// One client, from its arrival to its line in the log.
    async fn connection(&self, client: TcpStream) {
        let number = self.connections.get() + 1;
        self.connections.set(number);
        let started = Instant::now();
        let peer = client.peer_addr();
        let traffic = Traffic::new();
        let end = match TcpStream::connect_timeout(self.upstream.as_str(), CONNECT_LIMIT).await {
            Ok(upstream) => pass_both_ways(&client, &upstream, &traffic)
                .await
                .map_err(|e| e.to_string()),
            Err(error) => Err(explain(
                format_args!("cannot reach {}", self.upstream),
                &error,
            )),
        };
        let peer: &dyn fmt::Display = match &peer {
            Ok(peer) => peer,
            Err(_) => &"(gone)",
        };
        println!(
            "#{number} {peer}: {} up, {} down in {:.3} s: {}",
            BinaryBytes(traffic.up.get()),
            BinaryBytes(traffic.down.get()),
            started.elapsed().as_secs_f64(),
            end.err().as_deref().unwrap_or("done"),
        );
    }
}

/// What has moved on a connection, and when that was last.
struct Traffic {
    up: Cell<u64>,
    down: Cell<u64>,
    last: Cell<Instant>,
}

impl Traffic {
    fn new() -> Traffic {
        Traffic {
            up: Cell::new(0),
            down: Cell::new(0),
            last: Cell::new(Instant::now()),
        }
    }

    fn count(&self, direction: &Cell<u64>, n: usize) {
        direction.set(direction.get() + n as u64);
        self.last.set(Instant::now());
    }

    /// Returns when nothing has moved for as long as is allowed.
    async fn idle(&self) -> io::Result<()> {
        loop {
            let left = IDLE_LIMIT.saturating_sub(self.last.get().elapsed());
            if left.is_zero() {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("nothing moved for {IDLE_LIMIT:?}"),
                ));
            }
            sleep(left).await;
        }
    }
}

/// Passes bytes until both directions have ended, one fails, or nothing moves.
///
/// Both streams are used by reference; `into_split` is for halves that different tasks own.
async fn pass_both_ways(
    client: &TcpStream,
    upstream: &TcpStream,
    traffic: &Traffic,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    let up = pass(client, upstream, traffic, &traffic.up);
    let down = pass(upstream, client, traffic, &traffic.down);
    let both = async { try_zip(up, down).await.map(drop) };
    or(both, traffic.idle()).await
}

/// Passes bytes one way until their end, and passes the end on.
async fn pass(
    from: &TcpStream,
    to: &TcpStream,
    traffic: &Traffic,
    moved: &Cell<u64>,
) -> io::Result<()> {
    let mut buf = Vec::with_capacity(BUFFER_SIZE);
    loop {
        let (result, filled) = from.read(buf).await;
        let n = result?;
        if n == 0 {
            // The other direction goes on. A peer that has left altogether needs no end.
            return match to.shutdown(Shutdown::Write).await {
                Err(error) if error.kind() != io::ErrorKind::NotConnected => Err(error),
                _ => Ok(()),
            };
        }
        let (result, sent) = to.write_all(filled).await;
        result?;
        traffic.count(moved, n);
        buf = sent;
    }
}

// ------------------------------------------------------------------------------------- the show

/// Bytes that the client sends.
const SHOWN_SIZE: usize = 8 << 20;
/// What the upstream says when the client has ended its side.
const LAST_WORD: &str = "that was all of it";

/// An upstream, the proxy, and a client that ends its side when it has sent all. The upstream echoes, and has a
/// last word after that: it comes through only if the proxy keeps the other direction open.
async fn show() -> Result<(), String> {
    shown().await.map_err(|error| explain("the show", &error))
}

async fn shown() -> io::Result<()> {
    let upstream = TcpListener::bind("127.0.0.1:0").await?;
    let upstream_addr = upstream.local_addr()?;
    let echoing = runtime::spawn(async move {
        let (stream, _) = upstream.accept().await?;
        echo(&stream).await?;
        stream.write_all(LAST_WORD).await.0
    });
    let proxy = Proxy::bind("127.0.0.1:0", &upstream_addr.to_string()).await?;
    let addr = proxy.listener.local_addr()?;
    let proxying = runtime::spawn(proxy.clone().run());
    println!("client -> {addr} (proxy) -> {upstream_addr} (upstream, echoes)");

    let started = Instant::now();
    let sent: Rc<[u8]> = (0..SHOWN_SIZE as u32)
        .map(|at| (at.wrapping_mul(0x9e37_79b9) >> 24) as u8)
        .collect();
    let received = client(addr, sent.clone()).await?;
    echoing.await??;
    proxy.stop();
    proxying.await??;

    let rest = received.strip_prefix(&*sent);
    let rest = rest.ok_or_else(|| io::Error::other("what came back is not what was sent"))?;
    println!(
        "{} went there and back in {:.3} s, every byte as it was sent",
        BinaryBytes(sent.len() as u64),
        started.elapsed().as_secs_f64(),
    );
    println!(
        "after the client had ended its side came {:?}",
        String::from_utf8_lossy(rest)
    );
    if rest != LAST_WORD.as_bytes() {
        return Err(io::Error::other(format!(
            "it should have been {LAST_WORD:?}"
        )));
    }
    Ok(())
}

/// Sends back what comes, until its end.
async fn echo(stream: &TcpStream) -> io::Result<()> {
    let mut buf = Vec::with_capacity(BUFFER_SIZE);
    loop {
        let (result, filled) = stream.read(buf).await;
        if result? == 0 {
            return Ok(());
        }
        let (result, sent) = stream.write_all(filled).await;
        result?;
        buf = sent;
    }
}

/// Sends everything and ends its side, in a task of its own, and reads to the end.
async fn client(addr: SocketAddr, message: Rc<[u8]>) -> io::Result<Vec<u8>> {
    let (reader, writer) = TcpStream::connect(addr).await?.into_split();
    let sending = runtime::spawn(async move {
        writer.write_all(message).await.0?;
        writer.shutdown().await
    });
    let mut received = Vec::new();
    let mut buf = Vec::with_capacity(BUFFER_SIZE);
    loop {
        let (result, filled) = reader.read(buf).await;
        if result? == 0 {
            sending.await??;
            return Ok(received);
        }
        received.extend_from_slice(&filled);
        buf = filled;
    }
}
