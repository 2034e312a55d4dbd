//! The server: one task accepts, and spawns another for each connection. Closing the listener is all it takes to
//! end it.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use runtime::net::{TcpListener, TcpStream};
use runtime::task::JoinSet;
use runtime::time::{sleep, timeout};
use runtime::{CancelToken, is_cancelled};

use crate::advice::{explain, is_out_of_descriptors};
use crate::files::{Files, Found};
use crate::request::{Parsed, Request, parse};
use crate::response::{Code, Head, send_file, send_plain};

/// How long a peer may take for a request, from the end of the one before.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);
/// How long answers on their way may take once the server is to end.
const FAREWELL_LIMIT: Duration = Duration::from_secs(5);
/// How long to accept nobody when there is no descriptor left.
const FULL_PAUSE: Duration = Duration::from_millis(100);
/// Bytes a request may have.
const MAX_HEAD: usize = 16 * 1024;
/// Bytes read at once.
const READ_SIZE: usize = 4 * 1024;

pub(crate) struct Server {
    listener: TcpListener,
    files: Files,
    stopping: CancelToken,
    served: Cell<Served>,
}

/// What the server has done so far.
#[derive(Clone, Copy, Default)]
pub(crate) struct Served {
    pub(crate) connections: u64,
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
}

impl Server {
    pub(crate) async fn bind(addr: &str, files: Files) -> io::Result<Server> {
        Ok(Server {
            listener: TcpListener::bind(addr).await?,
            files,
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
        let mut connections = JoinSet::new();
        let accepting = self.accept_all(&mut connections).await;
        // Whoever waits for a request is told to go; answers on their way are finished.
        self.stopping.cancel().await;
        let all_gone = async { while connections.join_next().await.is_some() {} };
        if timeout(FAREWELL_LIMIT, all_gone).await.is_err() {
            eprintln!(
                "serve: connections cut off after {FAREWELL_LIMIT:?}: {}",
                connections.len()
            );
        }
        accepting
    }

    async fn accept_all(self: &Rc<Server>, connections: &mut JoinSet<()>) -> io::Result<()> {
        let mut incoming = self.listener.incoming();
        while let Some(accepted) = incoming.next().await {
            // Those that have ended make room.
            while connections.try_join_next().is_some() {}
            match accepted {
                Ok(stream) => {
                    let server = self.clone();
                    connections.spawn(async move { server.connection(stream).await });
                }
                Err(error) if is_out_of_descriptors(&error) => {
                    let open = connections.len();
                    let what = format_args!("no room beside {open} connections");
                    eprintln!("serve: {}", explain(what, &error));
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
        if let Err(error) = self.talk(&stream).await
            && !is_no_news(&error)
        {
            let peer = stream.peer_addr();
            let peer = peer.map_or("(gone)".to_owned(), |peer| peer.to_string());
            eprintln!("serve: {peer}: {error}");
        }
        if let Err(error) = stream.close().await {
            eprintln!("serve: closing a connection: {error}");
        }
    }

    /// Answers requests until the peer, or the server, wants no more.
    async fn talk(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut input = Vec::new();
        loop {
            let asked = timeout(REQUEST_LIMIT, self.next_request(stream, &mut input)).await;
            let Ok(asked) = asked else {
                return Ok(());
            };
            let (bytes, goes_on) = match asked? {
                Asked::Nothing => return Ok(()),
                Asked::Nonsense(code) => {
                    let head = Head::new(code, false);
                    (send_plain(stream, code, head, false).await?, false)
                }
                Asked::This(request) => {
                    let goes_on = request.keep_alive && !self.stopping.is_cancelled();
                    let request = Request {
                        keep_alive: goes_on,
                        ..request
                    };
                    (self.answer(stream, &request).await?, goes_on)
                }
            };
            self.count(|served| {
                served.requests += 1;
                served.bytes += bytes;
            });
            if !goes_on {
                return farewell(stream).await;
            }
        }
    }

    /// The next request; what was read beyond it stays in `input`.
    async fn next_request(&self, stream: &TcpStream, input: &mut Vec<u8>) -> io::Result<Asked> {
        let mut chunk = Vec::with_capacity(READ_SIZE);
        loop {
            match parse(input) {
                Parsed::Whole(request, len) => {
                    input.drain(..len);
                    return Ok(Asked::This(request));
                }
                Parsed::Refused(code) => return Ok(Asked::Nonsense(code)),
                Parsed::Partial if input.len() > MAX_HEAD => {
                    return Ok(Asked::Nonsense(Code::HeadTooLarge));
                }
                Parsed::Partial => {}
            }
            let (result, read) = stream.read(chunk).cancel_with(&self.stopping).await;
            if result? == 0 {
                return Ok(Asked::Nothing);
            }
            input.extend_from_slice(&read);
            chunk = read;
        }
    }

    async fn answer(&self, stream: &TcpStream, request: &Request) -> io::Result<u64> {
        let found = match request.path() {
            Some(path) => self.files.find(&path, &request.target).await,
            None => Ok(Found::Nothing(Code::BadRequest)),
        };
        let (code, location) = match found {
            Ok(Found::File(served)) => return send_file(stream, request, served).await,
            Ok(Found::Elsewhere) => {
                let location = format!("{}/", request.target);
                (Code::MovedPermanently, Some(location))
            }
            Ok(Found::Nothing(code)) => (code, None),
            Err(error) => {
                eprintln!("serve: {}: {error}", request.target);
                (Code::InternalError, None)
            }
        };
        let mut head = Head::new(code, request.keep_alive);
        if let Some(location) = location {
            head.add("Location", location);
        }
        send_plain(stream, code, head, request.head_only).await
    }

    fn count(&self, add: impl FnOnce(&mut Served)) {
        let mut served = self.served.get();
        add(&mut served);
        self.served.set(served);
    }
}

enum Asked {
    /// The peer has ended its side.
    Nothing,
    Nonsense(Code),
    This(Request),
}

/// Ends the connection so that the peer reads the answer to its end, even if it has sent what nobody has read:
/// a plain close would then reset the connection.
async fn farewell(stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(std::net::Shutdown::Write).await?;
    let rest = async {
        let mut chunk = Vec::with_capacity(READ_SIZE);
        loop {
            let (result, read) = stream.read(chunk).await;
            if result? == 0 {
                return Ok(());
            }
            chunk = read;
        }
    };
    timeout(FAREWELL_LIMIT, rest).await.unwrap_or(Ok(()))
}

/// Peers may vanish at any time, and the server may be told to end.
fn is_no_news(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected, TimedOut};
    let kind = error.kind();
    matches!(kind, ConnectionReset | BrokenPipe | NotConnected | TimedOut) || is_cancelled(error)
}
