//! Places: what descriptors a strand has, and what may be done with them.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};

use proptest::prelude::*;
use rustix::fs::DirEntry;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tempfile::TempDir;

use super::members::plain::{NOP, anywhere};
use super::members::{
    What, cancels, mail, messages, names, picks, reads, rows, times, waits, words, writes,
};

/// The descriptors of a strand: an end to read from, an end to write to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Pipe,
    /// A pipe that holds all it can.
    FullPipe,
    Stream,
    /// Packets with boundaries.
    Packets,
    /// Packets without a connection.
    Datagrams,
    File,
    /// The end to read from accepts what a client, outside the ring, connects.
    Listener,
    /// Nothing but time.
    Clock,
    /// Nothing but what others complete; alone in its program.
    Counter,
    /// A word of memory.
    Word,
    Directory,
    /// Another ring.
    Mail,
    /// The rows of the ring's table of files; alone in its program.
    Table,
}

/// What a place consists of.
pub(super) struct Ends {
    pub(super) reader: OwnedFd,
    pub(super) writer: OwnedFd,
    /// Where clients connect.
    pub(super) address: Option<TempDir>,
}

pub(super) fn pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = std::io::pipe().unwrap();
    (reader.into(), writer.into())
}

fn pair(kind: SocketType) -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap()
}

fn fill(writer: &OwnedFd) {
    let flags = rustix::fs::fcntl_getfl(writer).unwrap();
    rustix::fs::fcntl_setfl(writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    while rustix::io::write(writer, &[b'f'; 4096]).is_ok() {}
    rustix::fs::fcntl_setfl(writer, flags).unwrap();
}

impl Place {
    pub(super) fn ends(self) -> Ends {
        let mut address = None;
        let (reader, writer) = match self {
            Place::Pipe
            | Place::Clock
            | Place::Counter
            | Place::Word
            | Place::Table
            | Place::Mail => pipe(),
            Place::FullPipe => {
                let (reader, writer) = pipe();
                fill(&writer);
                (reader, writer)
            }
            Place::Stream => {
                let (one, other) = UnixStream::pair().unwrap();
                (one.into(), other.into())
            }
            Place::Packets => pair(SocketType::SEQPACKET),
            Place::Datagrams => pair(SocketType::DGRAM),
            Place::Directory => {
                let dir = tempfile::tempdir().unwrap();
                let fd = File::open(dir.path()).unwrap();
                address = Some(dir);
                (fd.into(), pipe().1)
            }
            Place::File => {
                let mut file = tempfile::tempfile().unwrap();
                file.write_all(&[b'o'; 50]).unwrap();
                let other = file.try_clone().unwrap();
                (file.into(), other.into())
            }
            Place::Listener => {
                let dir = tempfile::tempdir().unwrap();
                let listener = UnixListener::bind(dir.path().join("l")).unwrap();
                address = Some(dir);
                (listener.into(), pipe().1)
            }
        };
        Ends {
            reader,
            writer,
            address,
        }
    }

    pub(super) fn is_socket(self) -> bool {
        matches!(self, Place::Stream | Place::Packets | Place::Datagrams)
    }

    /// Whether the end to write to may be closed.
    pub(super) fn can_close(self) -> bool {
        !matches!(self, Place::FullPipe | Place::File)
    }

    /// What may be a member of its chains.
    pub(super) fn members(self) -> BoxedStrategy<What> {
        let (reads, writes, polls) = (reads::reads(), writes::writes(), waits::polls());
        match self {
            Place::Clock | Place::Counter => {
                prop_oneof![2 => anywhere(), 4 => times::times(), 2 => cancels::changes()].boxed()
            }
            Place::Word => prop_oneof![1 => anywhere(), 4 => words::words()].boxed(),
            Place::Table => prop_oneof![1 => anywhere(), 5 => rows::rows()].boxed(),
            Place::File => {
                let changes = writes::changes();
                prop_oneof![2 => anywhere(), 2 => reads, 2 => writes, 1 => changes].boxed()
            }
            Place::Directory => prop_oneof![1 => anywhere(), 4 => names::names()].boxed(),
            Place::Mail => prop_oneof![1 => anywhere(), 2 => mail::mail()].boxed(),
            Place::Listener => {
                prop_oneof![3 => anywhere(), 4 => waits::accepts(), 1 => polls].boxed()
            }
            Place::FullPipe => prop_oneof![2 => anywhere(), 3 => reads, 3 => writes].boxed(),
            Place::Pipe | Place::Stream | Place::Packets | Place::Datagrams => {
                let picks = match self.is_socket() {
                    true => prop_oneof![picks::picks(), messages::messages()].boxed(),
                    false => Just(NOP).boxed(),
                };
                let (ends, splices) = (writes::ends(), reads::splices());
                prop_oneof![
                    6 => anywhere(), 6 => reads, 6 => writes, 6 => picks, 2 => polls, 1 => ends,
                    1 => splices
                ]
                .boxed()
            }
        }
    }

    /// What is there to be read at the end, but for what `remaining` finds.
    pub(super) fn remains(self, reader: &OwnedFd, remaining: impl Fn(RawFd) -> Vec<u8>) -> Vec<u8> {
        match self {
            Place::File => {
                let mut bytes = vec![0; 70_000];
                let n = rustix::io::pread(reader, &mut bytes, 0).unwrap();
                bytes.truncate(n);
                bytes
            }
            Place::Listener => Vec::new(),
            Place::Directory => {
                let entries = rustix::fs::Dir::read_from(reader).unwrap();
                let entry = |entry: rustix::io::Result<DirEntry>| {
                    let entry = entry.unwrap();
                    format!("{:?} {:?};", entry.file_name(), entry.file_type())
                };
                let mut entries: Vec<String> = entries.map(entry).collect();
                entries.sort_unstable();
                entries.concat().into_bytes()
            }
            _ => remaining(reader.as_raw_fd()),
        }
    }
}
