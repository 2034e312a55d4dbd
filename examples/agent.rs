//! An agent that holds opened files, as ssh-agent holds keys, and hands them to whoever knows their name.
//!
//! ```sh
//! cargo run --release --example agent -- serve           # in one terminal
//! cargo run --release --example agent -- add motd /etc/motd
//! cargo run --release --example agent -- get motd         # prints it, though it opened nothing
//! cargo run --release --example agent -- list
//! ```
//!
//! What goes over the unix socket is lines: `add NAME` with a descriptor, `get NAME`, which is answered with one, and
//! `list`. The kernel vouches for who is at the other end; only the agent's own user and root are served.

mod ctrl_c;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;
use lexopt::prelude::*;
use runtime::fs::File;
use runtime::net::{Credentials, UnixListener, UnixStream};

use crate::ctrl_c::CtrlC;

/// How long a client may be silent.
const PATIENCE: Duration = Duration::from_secs(60);
/// No line is longer, its end included.
const LONGEST_LINE: usize = 256;
/// A client that sends more descriptors than it talks about is up to no good.
const MAX_FDS: usize = 4;

const HELP: &str = "\
agent [--socket PATH] COMMAND
  serve             hold files until Ctrl-C
  add NAME FILE     open a file and hand it to the agent
  get NAME          print the file of that name
  list              print all names
The socket is $AGENT_SOCKET, or agent.socket in $XDG_RUNTIME_DIR, or in /tmp with the user's number.
";

enum Command {
    Serve,
    Add(String, PathBuf),
    Get(String),
    List,
}

fn main() -> ExitCode {
    let result = match parse() {
        Ok(Some((socket, command))) => {
            let run = runtime::block_on(async {
                match command {
                    Command::Serve => serve(&socket).await,
                    command => ask(&socket, command).await,
                }
            });
            run.unwrap_or_else(|error| Err(format!("cannot make a ring: {error}")))
        }
        Ok(None) => Ok(()),
        Err(error) => Err(format!("{error}\n\n{HELP}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("agent: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse() -> Result<Option<(PathBuf, Command)>, String> {
    let mut socket = None;
    let mut words = Vec::new();
    let mut args = lexopt::Parser::from_env();
    let text = |value: std::ffi::OsString| {
        value
            .into_string()
            .map_err(|word| format!("{word:?} is no text"))
    };
    while let Some(arg) = args.next().map_err(|error| error.to_string())? {
        match arg {
            Long("socket") => socket = Some(args.value().map_err(|error| error.to_string())?),
            Long("help") | Short('h') => {
                print!("{HELP}");
                return Ok(None);
            }
            Value(word) => words.push(word),
            other => return Err(other.unexpected().to_string()),
        }
    }
    let mut words = words.into_iter();
    let name = |word| text(word).and_then(checked_name);
    let command = match words.next().map(text).transpose()?.as_deref() {
        Some("serve") => Command::Serve,
        Some("list") => Command::List,
        Some("get") => Command::Get(name(words.next().ok_or("get what?")?)?),
        Some("add") => {
            let called = name(words.next().ok_or("add what?")?)?;
            Command::Add(called, words.next().ok_or("add which file?")?.into())
        }
        Some(other) => return Err(format!("`{other}` is no command")),
        None => return Err("a command is missing".to_owned()),
    };
    if let Some(word) = words.next() {
        return Err(format!("{word:?} is one argument too many"));
    }
    Ok(Some((
        socket.map_or_else(default_socket, PathBuf::from),
        command,
    )))
}

fn default_socket() -> PathBuf {
    if let Some(path) = std::env::var_os("AGENT_SOCKET") {
        return path.into();
    }
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(directory) => Path::new(&directory).join("agent.socket"),
        None => format!("/tmp/agent-{}.socket", own_user()).into(),
    }
}

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// A name is one word, and fits a line with its command.
fn checked_name(name: String) -> Result<String, String> {
    let fits = !name.is_empty() && name.len() < LONGEST_LINE - "add \n".len();
    if fits && !name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        Ok(name)
    } else {
        Err(format!("{name:?} is no name: one word, not too long"))
    }
}

// --- the agent ------------------------------------------------------------------------------------

/// The files by their names. All tasks are on one thread.
type Files = Rc<RefCell<BTreeMap<String, OwnedFd>>>;

async fn serve(path: &Path) -> Result<(), String> {
    let ctrl_c = CtrlC::listen().map_err(|error| format!("cannot listen to signals: {error}"))?;
    let listener = listen(path).await?;
    println!("holding files at {}; Ctrl-C ends it", path.display());
    let files = Files::default();
    let mut incoming = listener.incoming();
    let mut number = 0;
    loop {
        let next = async { Some(incoming.next().await) };
        let pressed = async {
            ctrl_c.pressed().await;
            None
        };
        match or(next, pressed).await {
            Some(Some(Ok(stream))) => {
                number += 1;
                runtime::spawn(attend(number, stream, files.clone()));
            }
            Some(Some(Err(error))) => {
                eprintln!("agent: cannot accept: {error}");
                runtime::time::sleep(Duration::from_millis(100)).await;
            }
            Some(None) | None => break,
        }
    }
    println!("let go of {} files", files.borrow().len());
    Ok(())
}

/// Listens at the path. What another agent has left there when it was killed is put out of the way.
async fn listen(path: &Path) -> Result<UnixListener, String> {
    let cannot = |error: io::Error| format!("cannot listen at {}: {error}", path.display());
    let bound = match UnixListener::bind(path).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let there = UnixStream::connect(path)
                .timeout(Duration::from_secs(1))
                .await;
            match there {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                _ => return Err(format!("an agent is there already: {}", path.display())),
            }
            std::fs::remove_file(path).map_err(cannot)?;
            UnixListener::bind(path).await
        }
        bound => bound,
    };
    bound.and_then(UnixListener::unlink_on_drop).map_err(cannot)
}

/// Serves one client until it goes.
async fn attend(number: usize, stream: UnixStream, files: Files) {
    let ended = match stream.peer_cred() {
        Ok(peer) => {
            let Credentials { pid, uid, gid } = peer;
            println!("#{number} process {pid}, user {uid}, group {gid}");
            if uid == own_user() || uid == 0 {
                converse(number, Lines::new(stream), &files).await
            } else {
                // Whatever the socket's permissions say.
                let refusal = stream.write_all("error: not your agent\n").await.0;
                refusal.and(Err(io::ErrorKind::PermissionDenied.into()))
            }
        }
        Err(error) => Err(error),
    };
    match ended {
        Ok(()) => println!("#{number} done"),
        Err(error) => println!("#{number} {error}"),
    }
}

async fn converse(number: usize, mut lines: Lines, files: &Files) -> io::Result<()> {
    lines.stream.set_read_timeout(Some(PATIENCE))?;
    lines.stream.set_write_timeout(Some(PATIENCE))?;
    while let Some(line) = lines.next().await? {
        println!("#{number} {}", line.escape_debug());
        let (answer, file) = answer(&line, &mut lines.fds, files);
        lines.send(answer, file).await?;
    }
    Ok(())
}

/// What a request is answered, and the descriptor that goes with it.
fn answer(line: &str, fds: &mut VecDeque<OwnedFd>, files: &Files) -> (String, Option<OwnedFd>) {
    let request: Vec<&str> = line.split(' ').collect();
    let answered = match request[..] {
        ["list"] => {
            let names: Vec<String> = files.borrow().keys().cloned().collect();
            Ok((format!("ok {}\n{}", names.len(), lines_of(&names)), None))
        }
        ["add", name] => match (fds.pop_front(), checked_name(name.to_owned())) {
            (Some(fd), Ok(name)) => {
                files.borrow_mut().insert(name, fd);
                Ok(("ok\n".to_owned(), None))
            }
            (None, Ok(_)) => Err("no file came with that".to_owned()),
            (_, Err(error)) => Err(error),
        },
        ["get", name] => match files.borrow().get(name).map(OwnedFd::try_clone) {
            Some(Ok(fd)) => Ok(("ok\n".to_owned(), Some(fd))),
            Some(Err(error)) => Err(format!("no descriptor to spare: {error}")),
            None => Err(format!("there is no `{}`", name.escape_debug())),
        },
        _ => Err("requests are `add NAME`, `get NAME` and `list`".to_owned()),
    };
    answered.unwrap_or_else(|error| (format!("error: {error}\n"), None))
}

fn lines_of(names: &[String]) -> String {
    names.iter().map(|name| format!("{name}\n")).collect()
}

// --- a client -------------------------------------------------------------------------------------

async fn ask(path: &Path, command: Command) -> Result<(), String> {
    let file = match &command {
        Command::Add(_, file) => {
            let opened = std::fs::File::open(file);
            Some(opened.map_err(|error| format!("cannot open {}: {error}", file.display()))?)
        }
        _ => None,
    };
    let stream = UnixStream::connect(path)
        .timeout(Duration::from_secs(5))
        .await;
    let stream = stream.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => format!(
            "no agent is at {}: start one by `agent serve`",
            path.display()
        ),
        _ => format!("cannot connect to {}: {error}", path.display()),
    })?;
    let mut lines = Lines::new(stream);
    let talk = async {
        match command {
            Command::Serve => {}
            Command::Add(name, _) => {
                let request = format!("add {name}\n");
                lines.send(request, file.map(OwnedFd::from)).await?;
                lines.answer().await?;
            }
            Command::Get(name) => {
                lines.send(format!("get {name}\n"), None).await?;
                lines.answer().await?;
                let file = lines.fds.pop_front();
                print(file.ok_or_else(|| io::Error::other("no file came with the answer"))?)
                    .await?;
            }
            Command::List => {
                lines.send("list\n".to_owned(), None).await?;
                let count: usize = lines.answer().await?.parse().unwrap_or(0);
                for _ in 0..count {
                    println!("{}", lines.next().await?.unwrap_or_default());
                }
            }
        }
        Ok(())
    };
    talk.await.map_err(|error: io::Error| error.to_string())
}

/// Prints a file from its start. Its cursor is shared by all who have it, so it is not used.
async fn print(fd: OwnedFd) -> io::Result<()> {
    let file = File::from_std(fd.into())?;
    let mut buf = Vec::with_capacity(64 * 1024);
    let mut at = 0;
    loop {
        let (read, filled) = file.read_at(buf, at).await;
        let read = read?;
        if read == 0 {
            return Ok(());
        }
        at += read as u64;
        io::Write::write_all(&mut io::stdout(), &filled[..read])?;
        buf = filled;
    }
}

// --- both -----------------------------------------------------------------------------------------

/// Lines over a stream, and the descriptors that came along.
struct Lines {
    stream: UnixStream,
    read: Vec<u8>,
    fds: VecDeque<OwnedFd>,
}

impl Lines {
    fn new(stream: UnixStream) -> Lines {
        Lines {
            stream,
            read: Vec::new(),
            fds: VecDeque::new(),
        }
    }

    /// The next line without its end; `None` at the end of the stream.
    async fn next(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                let line = String::from_utf8(line).map_err(io::Error::other)?;
                return Ok(Some(line.trim_end_matches('\n').to_owned()));
            }
            if self.read.len() >= LONGEST_LINE {
                return Err(io::Error::other("a line that does not end"));
            }
            let (passed, buf) = self.stream.recv_fds([0; LONGEST_LINE], MAX_FDS).await;
            let passed = passed?;
            if passed.len == 0 {
                return Ok(None);
            }
            self.read.extend_from_slice(&buf[..passed.len]);
            self.fds.extend(passed.fds);
            if passed.fds_truncated || self.fds.len() > MAX_FDS {
                return Err(io::Error::other("too many descriptors at once"));
            }
        }
    }

    /// Sends all of `text`, with the descriptor if there is one.
    async fn send(&self, text: String, fd: Option<OwnedFd>) -> io::Result<()> {
        let mut text = text.into_bytes();
        let (sent, rest) = self.stream.send_fds(text, fd).await;
        text = rest;
        // The descriptor went with the first byte.
        text.drain(..sent?);
        self.stream.write_all(text).await.0
    }

    /// What follows the `ok` that a request was answered.
    async fn answer(&mut self) -> io::Result<String> {
        let line = self.next().await?;
        let line = line.ok_or_else(|| io::Error::other("the agent hung up"))?;
        match line.strip_prefix("ok") {
            Some(rest) => Ok(rest.trim().to_owned()),
            None => Err(io::Error::other(
                line.trim_start_matches("error: ").to_owned(),
            )),
        }
    }
}
