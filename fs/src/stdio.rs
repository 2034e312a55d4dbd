//! The process's standard input, output and error.
//!
//! **One of each, for the whole process.** All handles of standard input are handles to one descriptor, a duplicate of
//! number 0 made when it is first asked for, so that what a dropped read received is there for the next one, whoever
//! asks. Numbers 0, 1 and 2 themselves are never closed, nor are the duplicates.
//!
//! **Flags are left alone.** A terminal, or a pipe, that was inherited is shared with other processes, and so is its
//! `O_NONBLOCK`; any of them may set it at any time. So it is neither cleared nor relied upon: where the kernel says that
//! a read or a write would have to wait, the ring is asked to tell when it would not.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use annulet_driver::op::{Events, PollAdd};
use annulet_driver::{
    AsyncRead, AsyncWrite, BufResult, Endpoint, IoBuf, IoBufExt, IoBufMut, IoVectoredBuf,
    IoVectoredBufMut, Op, Partial,
};
use rustix::io::fcntl_dupfd_cloexec;

use crate::File;

/// The lowest number a duplicate gets: below are the three that it is a duplicate of, closed or not.
const ABOVE: i32 = 3;

/// One of the three, duplicated once.
struct Std(OnceLock<File>);

static IN: Std = Std(OnceLock::new());
static OUT: Std = Std(OnceLock::new());
static ERR: Std = Std(OnceLock::new());

impl Std {
    fn file(&'static self, of: impl AsFd) -> io::Result<&'static File> {
        if let Some(file) = self.0.get() {
            return Ok(file);
        }
        let file = duplicate(of.as_fd())?;
        // Another thread may have been faster: then this one is closed again.
        Ok(self.0.get_or_init(|| file))
    }
}

fn duplicate(fd: BorrowedFd<'_>) -> io::Result<File> {
    let owned: OwnedFd = fcntl_dupfd_cloexec(fd, ABOVE)?;
    Ok(File::shared(owned))
}

/// Standard input.
///
/// # Errors
///
/// `EBADF` if the process was started without it; `EMFILE` when out of descriptors.
///
/// # Examples
///
/// ```no_run
/// # async fn echo() -> std::io::Result<()> {
/// let (result, line) = runtime::io::stdin()?.read(Vec::with_capacity(4096)).await;
/// println!("{} bytes: {line:?}", result?);
/// # Ok(()) }
/// ```
pub fn stdin() -> io::Result<Stdin> {
    let file = IN.file(io::stdin())?;
    Ok(Stdin { file })
}

/// Standard output. Unlike std's it holds nothing back: each write is written.
///
/// # Errors
///
/// As [`stdin`].
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// runtime::io::stdout()?.write_all("by the ring\n").await.0?;
/// # Ok(()) }) }
/// ```
pub fn stdout() -> io::Result<Stdout> {
    let file = OUT.file(io::stdout())?;
    Ok(Stdout { file })
}

/// Standard error.
///
/// # Errors
///
/// As [`stdin`].
pub fn stderr() -> io::Result<Stderr> {
    let file = ERR.file(io::stderr())?;
    Ok(Stderr { file })
}

/// Standard input: a terminal, a pipe, a file. Made by [`stdin`].
///
/// What is typed at a terminal comes line by line. A file is read where its cursor is.
///
/// # Cancel safety
///
/// A dropped [`read`](Stdin::read) loses nothing: what it receives goes to the next read, of this handle or another.
/// Limit reads by [`time::timeout`](https://docs.rs/annulet): it drops them.
#[derive(Clone, Debug)]
pub struct Stdin {
    file: &'static File,
}

impl Stdin {
    /// Reads what is there, or what comes first, at least one byte, into the buffer's room; 0 means the end.
    ///
    /// Goes through the ring: `IORING_OP_READ`, and `IORING_OP_POLL_ADD` if the descriptor is set not to wait.
    ///
    /// # Errors
    ///
    /// What `read(2)` reports; `InvalidInput` for a buffer without room.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing but the buffer.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    pub async fn read<B: IoBufMut>(&self, mut buf: B) -> BufResult<usize, B> {
        loop {
            let result;
            (result, buf) = self.file.read(buf).await;
            if let Some(result) = wait(result, self.file, Events::READ).await {
                return (result, buf);
            }
        }
    }

    /// As [`read`](Stdin::read), into several buffers.
    pub async fn read_vectored<B: IoVectoredBufMut>(&self, mut bufs: B) -> BufResult<usize, B> {
        loop {
            let result;
            (result, bufs) = self.file.read_vectored(bufs).await;
            if let Some(result) = wait(result, self.file, Events::READ).await {
                return (result, bufs);
            }
        }
    }
}

/// `None`: the kernel would not wait, so this did. Try again.
async fn wait<T>(
    result: io::Result<T>,
    file: &'static File,
    events: Events,
) -> Option<io::Result<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            match Op::on(&file.fd, PollAdd::new(events)).await {
                Ok(_) => None,
                Err(error) => Some(Err(error)),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => None,
        other => Some(other),
    }
}

impl AsyncRead for Stdin {
    fn read<B: IoBufMut>(&mut self, buf: B) -> impl Future<Output = BufResult<usize, B>> {
        Stdin::read(self, buf)
    }

    fn read_vectored<B: IoVectoredBufMut>(
        &mut self,
        bufs: B,
    ) -> impl Future<Output = BufResult<usize, B>> {
        Stdin::read_vectored(self, bufs)
    }

    fn source(&self) -> Option<Endpoint<'_>> {
        self.file.endpoint()
    }
}

impl AsFd for Stdin {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Writes one after another, each whole if nobody has set the descriptor not to wait.
async fn write_all<B: IoBuf>(file: &'static File, buf: B) -> BufResult<(), B> {
    let (result, mut buf) = file.write_all(buf).await;
    let mut result = result;
    let mut done = 0;
    loop {
        if let Err(error) = &result {
            done += Partial::of(error);
        }
        match wait(result, file, Events::WRITE).await {
            Some(Ok(())) => return (Ok(()), buf),
            Some(Err(error)) => return (Err(Partial::after(done, error)), buf),
            None => {}
        }
        let (again, rest) = file.write_all(buf.slice(done..)).await;
        (result, buf) = (again, rest.into_inner());
    }
}

macro_rules! writes {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// # Cancel safety
        ///
        /// Of a dropped write any part may have been written.
        #[derive(Clone, Debug)]
        pub struct $name {
            file: &'static File,
        }

        impl $name {
            /// Writes from the buffer's initialised bytes what there is room for, at least one byte.
            ///
            /// Goes through the ring: `IORING_OP_WRITE`, and `IORING_OP_POLL_ADD` if the descriptor is set not to
            /// wait.
            ///
            /// # Errors
            ///
            /// What `write(2)` reports: `BrokenPipe` when nobody reads. `InvalidInput` for an empty buffer.
            ///
            /// # Cancel safety
            ///
            /// If the future is dropped, any part of the buffer may have been written.
            ///
            /// # Panics
            ///
            /// If awaited outside a runtime.
            pub async fn write<B: IoBuf>(&self, mut buf: B) -> BufResult<usize, B> {
                loop {
                    let result;
                    (result, buf) = self.file.write(buf).await;
                    if let Some(result) = wait(result, self.file, Events::WRITE).await {
                        return (result, buf);
                    }
                }
            }

            /// Writes all of the buffer's initialised bytes, before any other task's later write if nobody has set
            /// the descriptor not to wait. Otherwise as `write`.
            ///
            /// # Errors
            ///
            /// As `write`; [`Partial::of`] tells how much was written by then.
            pub async fn write_all<B: IoBuf>(&self, buf: B) -> BufResult<(), B> {
                write_all(self.file, buf).await
            }

            /// As `write`, from several buffers.
            pub async fn write_vectored<B: IoVectoredBuf>(
                &self,
                mut bufs: B,
            ) -> BufResult<usize, B> {
                loop {
                    let result;
                    (result, bufs) = self.file.write_vectored(bufs).await;
                    if let Some(result) = wait(result, self.file, Events::WRITE).await {
                        return (result, bufs);
                    }
                }
            }
        }

        impl AsyncWrite for $name {
            fn write<B: IoBuf>(&mut self, buf: B) -> impl Future<Output = BufResult<usize, B>> {
                $name::write(self, buf)
            }

            fn write_all<B: IoBuf>(&mut self, buf: B) -> impl Future<Output = BufResult<(), B>> {
                $name::write_all(self, buf)
            }

            fn write_vectored<B: IoVectoredBuf>(
                &mut self,
                bufs: B,
            ) -> impl Future<Output = BufResult<usize, B>> {
                $name::write_vectored(self, bufs)
            }

            async fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }

            /// Does nothing: standard streams are never closed.
            async fn shutdown(&mut self) -> io::Result<()> {
                Ok(())
            }

            fn sink(&self) -> Option<Endpoint<'_>> {
                self.file.endpoint()
            }
        }

        impl AsFd for $name {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.file.as_fd()
            }
        }
    )*};
}

writes! {
    /// Standard output: a terminal, a pipe, a file. Made by [`stdout`].
    Stdout;
    /// Standard error. Made by [`stderr`].
    Stderr;
}
