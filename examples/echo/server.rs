//! The echo server: the part to start from.
//!
//! One task accepts, and spawns another for each connection. Closing the listener is all it takes to end the
//! server: the accept loop ends, connections that wait for their peer end, and echoes on their way are finished
//! first, for which there is a limit.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use runtime::net::{TcpListener, TcpStream};
use runtime::time::{Elapsed, sleep, timeout};
use runtime::{CancelToken, is_cancelled};

use crate::advice::{explain, is_out_of_descriptors};

/// A peer that neither sends nor takes anything for this long is let go.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
/// How long echoes on their way may take once the server is to end.
const FAREWELL_LIMIT: Duration = Duration::from_secs(5);
/// How long to accept nobody when there is no descriptor left for another connection.
const FULL_PAUSE: Duration = Duration::from_millis(100);
/// Bytes read at once.
const BUFFER_SIZE: usize = 16 * 1024;

pub(crate) struct Server {
    listener: TcpListener,
    stopping: CancelToken,
    served: Cell<Served>,
}

/// What the server has done so far.
#[derive(Clone, Copy, Default)]
pub(crate) struct Served {
    pub(crate) connections: u64,
    pub(crate) echoes: u64,
    pub(crate) bytes: u64,
}

impl Server {
    pub(crate) async fn bind(addr: &str) -> io::Result<Server> {
        let listener = TcpListener::bind(addr).await?;
        Ok(Server {
            listener,
            stopping: CancelToken::new(),
            served: Cell::default(),
        })
    }

    pub(crate) fn addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub(crate) fn served(&self) -> Served {
        self.served.get()
    }

    /// Ends the server: [`run`](Server::run) returns when the last connection is gone.
    pub(crate) fn stop(&self) {
        // The close begins here and now; nobody has to wait for it.
        drop(self.listener.close());
    }

    /// Serves until [`stop`](Server::stop).
    pub(crate) async fn run(self: Rc<Server>) -> io::Result<()> {
        // Each connection holds a sender; when the channel is closed they are all gone.
        let (alive, all_gone) = async_channel::bounded::<Infallible>(1);
        let accepting = self.accept_all(&alive).await;
        drop(alive);

        // The token is given to reads only. What was read is echoed; whoever wants to read on is told to stop.
        self.stopping.cancel().await;
        if timeout(FAREWELL_LIMIT, all_gone.recv()).await.is_err() {
            // They are dropped with the runtime, which cancels what they wait for.
            let left = all_gone.sender_count();
            eprintln!("echo: connections cut off after {FAREWELL_LIMIT:?}: {left}");
        }
        accepting
    }

    async fn accept_all(
        self: &Rc<Server>,
        alive: &async_channel::Sender<Infallible>,
    ) -> io::Result<()> {
        let mut full = false;
        let mut incoming = self.listener.incoming();
        while let Some(accepted) = incoming.next().await {
            match accepted {
                Ok(stream) => {
                    let (server, alive) = (self.clone(), alive.clone());
                    runtime::spawn(async move {
                        server.connection(stream).await;
                        drop(alive);
                    });
                }
                Err(error) if is_out_of_descriptors(&error) => {
                    // Said once: it does not get better by being said ten times a second.
                    if !std::mem::replace(&mut full, true) {
                        let open = alive.sender_count() - 1;
                        eprintln!(
                            "echo: {}",
                            explain(format_args!("no room beside {open} connections"), &error)
                        );
                    }
                    sleep(FULL_PAUSE).await;
                }
                // The peer was gone before it was accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn connection(&self, stream: TcpStream) {
        self.count(|served| served.connections += 1);
        if let Err(error) = self.echo(&stream).await
            && !is_no_news(&error)
        {
            let peer = stream.peer_addr();
            let peer = peer.map_or("(gone)".to_owned(), |peer| peer.to_string());
            eprintln!("echo: {peer}: {error}");
        }
        if let Err(error) = stream.close().await {
            eprintln!("echo: closing a connection: {error}");
        }
    }

    /// Sends back what comes until the peer ends its side.
    async fn echo(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut buf = Vec::with_capacity(BUFFER_SIZE);
        loop {
            // `read(..).timeout(..)` has the kernel keep the time: an entry and a completion more for each read.
            // This leaves it to the runtime's timers, and drops the read when the time is over.
            let read = stream.read(buf).cancel_with(&self.stopping);
            let (result, filled) = timeout(IDLE_LIMIT, read).await.map_err(idle)?;
            let n = result?;
            if n == 0 {
                return Ok(());
            }
            let write = stream.write_all(filled);
            let (result, sent) = timeout(IDLE_LIMIT, write).await.map_err(idle)?;
            result?;
            buf = sent;
            self.count(|served| {
                served.echoes += 1;
                served.bytes += n as u64;
            });
        }
    }

    fn count(&self, add: impl FnOnce(&mut Served)) {
        let mut served = self.served.get();
        add(&mut served);
        self.served.set(served);
    }
}

fn idle(_: Elapsed) -> io::Error {
    let message = format!("let go, as nothing moved for {IDLE_LIMIT:?}");
    io::Error::new(io::ErrorKind::TimedOut, message)
}

/// Peers may vanish at any time, and the server may be told to end.
fn is_no_news(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset};
    matches!(error.kind(), ConnectionReset | BrokenPipe) || is_cancelled(error)
}
