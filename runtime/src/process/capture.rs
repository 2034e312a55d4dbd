//! [`Capture`]: all that a program prints, within limits; its input fed meanwhile.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::pin::Pin;
use std::process::Output;
use std::time::{Duration, Instant};

use annulet_driver::op::Operation;
use annulet_driver::{CancelToken, IoBufExt, Op, is_cancelled};
use futures_lite::future::zip;
use rustix::process::Signal;

use super::child::{Child, ChildStdin, ChildStdout, Process};
use super::command::Command;
use crate::time::timeout_at;

/// The least room a read is given.
const ROOM_BYTES: usize = 16 * 1024;

/// Runs a program to its end and collects what it prints; made by [`Command::output`] and
/// [`Child::wait_with_output`]. Await it.
///
/// Both outputs are read, and the input is written, at the same time, so none of them can get stuck behind another. It
/// is over when the program has ended *and* its outputs have: those whom it has started may have inherited
/// them.
///
/// # Errors
///
/// `TimedOut` past the [`timeout`](Capture::timeout), `FileTooLarge` beyond the
/// [`output_limit`](Capture::output_limit); the child was killed then, and its group if it has [one of its
/// own](Command::kill_group), and reaped. What it had printed by then is in the error: [`Incomplete::of`]. Otherwise
/// those of [`Command::spawn`] and [`Child::wait`], and `InvalidInput` for an input without a pipe for it.
///
/// A program that fails is none: look at the output's `status`. Nor is one that does not read its input to the end.
///
/// # Cancel safety
///
/// Dropping the future drops the child: it runs on without anybody to write to, or is killed
/// ([`Command::kill_on_drop`]), and is reaped. What it has printed is lost.
///
/// # Panics
///
/// If awaited outside a runtime.
#[derive(Debug)]
#[must_use = "nothing is run, or read, until it is awaited"]
pub struct Capture<'a> {
    source: Source<'a>,
    input: Option<Vec<u8>>,
    limit_bytes: usize,
    time: Option<Time>,
}

#[derive(Debug)]
enum Source<'a> {
    Command(&'a mut Command),
    Child(Box<Child>),
}

#[derive(Clone, Copy, Debug)]
enum Time {
    After(Duration),
    At(Instant),
}

impl<'a> Capture<'a> {
    pub(super) fn run(command: &'a mut Command) -> Capture<'a> {
        Capture::new(Source::Command(command))
    }

    pub(super) fn of(child: Child) -> Capture<'static> {
        Capture::new(Source::Child(Box::new(child)))
    }

    fn new(source: Source<'_>) -> Capture<'_> {
        Capture {
            source,
            input: None,
            limit_bytes: usize::MAX,
            time: None,
        }
    }

    /// Kills the program, if it and its outputs have not ended `duration` after this is first polled.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::process::{Command, Incomplete};
    /// use std::time::Duration;
    ///
    /// let mut slow = Command::new("sh");
    /// slow.args(["-c", "echo first; exec sleep 3600"]);
    /// let error = slow.output().timeout(Duration::from_millis(500)).await.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    /// assert_eq!(Incomplete::of(&error).unwrap().stdout, b"first\n");
    /// # Ok(()) }) }
    /// ```
    pub fn timeout(mut self, duration: Duration) -> Capture<'a> {
        self.time = Some(Time::After(duration));
        self
    }

    /// As [`timeout`](Capture::timeout), at an instant.
    pub fn deadline(mut self, instant: Instant) -> Capture<'a> {
        self.time = Some(Time::At(instant));
        self
    }

    /// Kills the program when it prints more than this many bytes, on both outputs together. Default: no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::process::{Command, Incomplete};
    ///
    /// let error = Command::new("yes").output().output_limit(6).await.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::FileTooLarge);
    /// assert_eq!(Incomplete::of(&error).unwrap().stdout, b"y\ny\ny\n");
    /// # Ok(()) }) }
    /// ```
    pub fn output_limit(mut self, bytes: usize) -> Capture<'a> {
        self.limit_bytes = bytes;
        self
    }

    /// Feeds the program's standard input with these bytes, then closes it. Default: none.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::process::Command;
    ///
    /// let output = Command::new("tr").args(["a-z", "A-Z"]).output().input("hello").await?;
    /// assert_eq!(output.stdout, b"HELLO");
    /// # Ok(()) }) }
    /// ```
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Capture<'a> {
        self.input = Some(bytes.into());
        self
    }

    async fn collect(self) -> io::Result<Output> {
        let deadline = match self.time {
            None => None,
            Some(Time::At(instant)) => Some(instant),
            // One beyond the end of time is none.
            Some(Time::After(duration)) => Instant::now().checked_add(duration),
        };
        let mut child = match self.source {
            Source::Command(command) => command.spawn_captured(self.input.is_some())?,
            Source::Child(child) => *child,
        };
        if self.input.is_some() && child.stdin.is_none() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "there is an input, but the program's standard input is no pipe of ours",
            ));
        }
        let limits = Limits {
            left_bytes: Cell::new(self.limit_bytes),
            deadline,
            token: CancelToken::new(),
            failure: RefCell::new(None),
            process: &child.process,
        };
        let feed = limits.feed(child.stdin.take(), self.input);
        let read = zip(
            limits.read(child.stdout.take()),
            limits.read(child.stderr.take()),
        );
        let ((), (stdout, stderr)) = zip(feed, read).await;
        limits.ended().await;
        let kind = match limits.failure.into_inner() {
            None => None,
            Some(error) if Incomplete::is(error.kind()) => Some(error.kind()),
            // The child is dropped, and so reaped.
            Some(error) => return Err(error),
        };
        let output = Output {
            status: child.process.wait().await?,
            stdout,
            stderr,
        };
        match kind {
            None => Ok(output),
            Some(kind) => Err(io::Error::new(kind, Incomplete { kind, output })),
        }
    }
}

impl<'a> IntoFuture for Capture<'a> {
    type Output = io::Result<Output>;
    type IntoFuture = Pin<Box<dyn Future<Output = io::Result<Output>> + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.collect())
    }
}

/// What ends the collecting early, and whether it has.
struct Limits<'a> {
    left_bytes: Cell<usize>,
    deadline: Option<Instant>,
    /// Ends what is still being read and written when something has failed.
    token: CancelToken,
    /// The first.
    failure: RefCell<Option<io::Error>>,
    process: &'a Process,
}

impl Limits<'_> {
    fn bound<T: Operation>(&self, op: Op<T>) -> Op<T> {
        let op = op.cancel_with(&self.token);
        match self.deadline {
            Some(instant) => op.deadline(instant),
            None => op,
        }
    }

    /// Kills the child, before its pipes are closed: it is to notice nothing else.
    fn fail(&self, error: io::Error) {
        if self.failure.borrow().is_none() && !is_cancelled(&error) {
            let killed = self.process.signal(Signal::KILL);
            *self.failure.borrow_mut() = Some(killed.err().unwrap_or(error));
            self.token.cancel();
        }
    }

    async fn feed(&self, stdin: Option<ChildStdin>, input: Option<Vec<u8>>) {
        let (Some(stdin), Some(input)) = (stdin, input) else {
            return;
        };
        match self.bound(stdin.write_all(input)).await.0 {
            // It has read enough of it.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => self.fail(error),
            Ok(_) => {}
        }
    }

    async fn read(&self, pipe: Option<ChildStdout>) -> Vec<u8> {
        let mut all = Vec::new();
        let Some(pipe) = pipe else {
            return all;
        };
        loop {
            all.reserve(ROOM_BYTES);
            let before = all.len();
            let (read, part) = self.bound(pipe.read(all.slice(before..))).await;
            all = part.into_inner();
            match read {
                Ok(0) => return all,
                Ok(n) if n <= self.left_bytes.get() => {
                    self.left_bytes.set(self.left_bytes.get() - n);
                }
                Ok(_) => {
                    all.truncate(before + self.left_bytes.take());
                    self.fail(io::ErrorKind::FileTooLarge.into());
                    return all;
                }
                Err(error) => {
                    self.fail(error);
                    return all;
                }
            }
        }
    }

    /// Waits until the process has ended, unless something has failed.
    async fn ended(&self) {
        if self.failure.borrow().is_some() {
            return;
        }
        let ended = match self.deadline {
            None => self.process.ended().await,
            Some(instant) => timeout_at(instant, self.process.ended())
                .await
                .unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into())),
        };
        if let Err(error) = ended {
            self.fail(error);
        }
    }
}

/// What a program had printed when it was killed for going beyond a limit; inside the error of a [`Capture`].
#[derive(Debug)]
pub struct Incomplete {
    kind: io::ErrorKind,
    output: Output,
}

impl Incomplete {
    /// Whether an error of this kind says that a limit was met: nothing else gives it here.
    fn is(kind: io::ErrorKind) -> bool {
        matches!(kind, io::ErrorKind::TimedOut | io::ErrorKind::FileTooLarge)
    }

    /// What the program had printed, if the error is of this kind.
    pub fn of(error: &io::Error) -> Option<&Output> {
        let inside = error.get_ref()?.downcast_ref::<Incomplete>()?;
        Some(&inside.output)
    }

    /// What the program had printed, taken out of the error. To have it from an [`io::Error`], use
    /// [`io::Error::downcast`].
    pub fn into_output(self) -> Output {
        self.output
    }
}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.output.stdout.len() + self.output.stderr.len();
        match self.kind {
            io::ErrorKind::TimedOut => write!(f, "the program was killed when its time was up"),
            _ => write!(f, "the program was killed when it printed too much"),
        }?;
        write!(f, ", with {bytes} bytes of output by then")
    }
}

impl Error for Incomplete {}
