//! [`Child`]: a program that runs, and its process until it is reaped.

use std::io;
use std::process::ExitStatus;

use annulet_driver::op::{Events, PollAdd, WaitId};
use annulet_driver::{Fd, Op};
use annulet_fs::{PipeReader, PipeWriter};
use rustix::process::{Pid, PidfdFlags, Signal};
use rustix::process::{kill_process_group, pidfd_open, pidfd_send_signal};

use super::capture::Capture;
use super::orphans;
use crate::signal::unix::SignalKind;

/// The end of a pipe that a child reads as its standard input. Close it, or drop it, to let the child read the end.
pub type ChildStdin = PipeWriter;
/// The end of a pipe that a child writes its standard output to.
pub type ChildStdout = PipeReader;
/// The end of a pipe that a child writes its standard error to.
pub type ChildStderr = PipeReader;

/// A program that runs; made by [`Command::spawn`](super::Command::spawn).
///
/// Dropped before it was waited for it runs on, and is reaped when it has ended; see the [module](super) and
/// [`kill_on_drop`](super::Command::kill_on_drop).
#[derive(Debug)]
pub struct Child {
    /// Its standard input, if that is [piped](super::Stdio::piped).
    pub stdin: Option<ChildStdin>,
    /// Its standard output, if that is piped.
    pub stdout: Option<ChildStdout>,
    /// Its standard error, if that is piped.
    pub stderr: Option<ChildStderr>,
    pub(super) process: Process,
}

impl Child {
    /// Takes over what the standard library has started.
    pub(super) fn adopt(
        mut child: std::process::Child,
        kill_on_drop: bool,
        kill_group: bool,
    ) -> io::Result<Child> {
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let process = Process::adopt(child, kill_on_drop, kill_group)?;
        let reader = |fd: std::os::fd::OwnedFd| PipeReader::from_std(fd.into());
        Ok(Child {
            stdin: pipes.0.map(own).map(PipeWriter::from_std).transpose()?,
            stdout: pipes.1.map(Into::into).map(reader).transpose()?,
            stderr: pipes.2.map(Into::into).map(reader).transpose()?,
            process,
        })
    }

    /// The process's number, until it was waited for: then it may be another's.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// let mut child = runtime::process::Command::new("true").spawn()?;
    /// assert!(child.id().is_some());
    /// child.wait().await?;
    /// assert!(child.id().is_none());
    /// # Ok(()) }) }
    /// ```
    pub fn id(&self) -> Option<u32> {
        self.process.held.as_ref().map(|held| held.child.id())
    }

    /// Waits until the child has ended, and says how. Asked again, it says the same.
    ///
    /// [`stdin`](Child::stdin), if it is still here, is closed first, or the child might wait for more of it. Its
    /// outputs are not read: if they are piped, have another task read them, or take
    /// [`wait_with_output`](Child::wait_with_output), as the child cannot end while it is stuck on a full pipe.
    ///
    /// Goes through the ring: `IORING_OP_WAITID`, Linux 6.7; before, `IORING_OP_POLL_ADD` on the pidfd. To limit it,
    /// use [`time::timeout`](crate::time::timeout).
    ///
    /// # Errors
    ///
    /// `ECHILD` if other code has reaped the child, or the process ignores `SIGCHLD`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: wait again.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::process::Command;
    /// use runtime::time::timeout;
    /// use std::time::Duration;
    ///
    /// let mut child = Command::new("sleep").arg("3600").spawn()?;
    /// if timeout(Duration::from_millis(1), child.wait()).await.is_err() {
    ///     child.start_kill()?;
    /// }
    /// assert_eq!(child.wait().await?.code(), None); // killed by a signal
    /// # Ok(()) }) }
    /// ```
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        self.process.wait().await
    }

    /// Whether the child has ended, and how; if it has not, returns at once all the same.
    ///
    /// A plain system call (`waitid(2)`, `WNOHANG`). [`stdin`](Child::stdin) is left alone.
    ///
    /// # Errors
    ///
    /// As [`wait`](Child::wait).
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.try_wait()
    }

    /// Reads all that the child prints to what is piped, both at once, waits until it has ended, and gives
    /// it all.
    ///
    /// [`stdin`](Child::stdin), if it is still here, is fed with the [`input`](Capture::input), then closed.
    /// See [`Capture`] for limits, errors and what becomes of it when dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::process::{Command, Stdio};
    ///
    /// let mut sort = Command::new("sort");
    /// let sort = sort.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    /// let output = sort.wait_with_output().input("b\na\n").await?;
    /// assert_eq!(output.stdout, b"a\nb\n");
    /// # Ok(()) }) }
    /// ```
    pub fn wait_with_output(self) -> Capture<'static> {
        Capture::of(self)
    }

    /// Kills the child (`SIGKILL`), or its group ([`kill_group`](super::Command::kill_group)), and does not wait.
    ///
    /// Still [`wait`](Child::wait) for it, or drop it. One that was waited for is left alone, and that is no error.
    ///
    /// # Errors
    ///
    /// What `pidfd_send_signal(2)` reports: `PermissionDenied` if the program has changed its user.
    pub fn start_kill(&mut self) -> io::Result<()> {
        self.process.signal(Signal::KILL)
    }

    /// [Kills](Child::start_kill) the child and [waits](Child::wait) until it has ended.
    ///
    /// # Errors
    ///
    /// As these two.
    ///
    /// # Cancel safety
    ///
    /// The child is killed with the first poll.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// let mut child = runtime::process::Command::new("sleep").arg("3600").spawn()?;
    /// child.kill().await?;
    /// # Ok(()) }) }
    /// ```
    pub async fn kill(&mut self) -> io::Result<()> {
        self.start_kill()?;
        self.wait().await.map(drop)
    }

    /// Sends the child a signal, or its group ([`kill_group`](super::Command::kill_group)).
    ///
    /// One that was waited for is left alone, and that is no error.
    ///
    /// # Errors
    ///
    /// As [`start_kill`](Child::start_kill); `InvalidInput` for a number without a name, those of real-time signals
    /// among them.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::signal::unix::SignalKind;
    /// use std::os::unix::process::ExitStatusExt;
    ///
    /// let mut child = runtime::process::Command::new("sleep").arg("3600").spawn()?;
    /// child.signal(SignalKind::terminate())?;
    /// assert_eq!(child.wait().await?.signal(), Some(15));
    /// # Ok(()) }) }
    /// ```
    pub fn signal(&mut self, kind: SignalKind) -> io::Result<()> {
        let signal = Signal::from_named_raw(kind.as_raw_value()).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("no signal has the number {}", kind.as_raw_value()),
            )
        })?;
        self.process.signal(signal)
    }
}

fn own(stdin: std::process::ChildStdin) -> io::PipeWriter {
    std::os::fd::OwnedFd::from(stdin).into()
}

/// A child's process, with what is to become of it.
#[derive(Debug)]
pub(super) struct Process {
    /// Until it is reaped.
    held: Option<Held>,
    /// How it ended, once it is reaped.
    ended: Option<ExitStatus>,
    kill_on_drop: bool,
    kill_group: bool,
}

/// A process that is not reaped.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) child: std::process::Child,
    pub(super) pidfd: Fd,
}

impl Process {
    fn adopt(
        mut child: std::process::Child,
        kill_on_drop: bool,
        kill_group: bool,
    ) -> io::Result<Process> {
        let pidfd = match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(pidfd) => Fd::new(pidfd),
            Err(error) => {
                // Nobody could look after it. It has hardly begun, and ends at once.
                let _ = child.kill();
                let _ = child.wait();
                return Err(error.into());
            }
        };
        Ok(Process {
            held: Some(Held { child, pidfd }),
            ended: None,
            kill_on_drop,
            kill_group,
        })
    }

    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            self.ended().await?;
        }
    }

    /// Waits until it has ended, and leaves it to be reaped.
    pub(super) async fn ended(&self) -> io::Result<()> {
        let Some(held) = &self.held else {
            return Ok(());
        };
        match Op::on(&held.pidfd, WaitId::pidfd()).await {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                let poll = Op::on(&held.pidfd, PollAdd::new(Events::READ));
                poll.await.map(drop)
            }
            waited => waited.map(drop),
        }
    }

    fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        if let Some(held) = &mut self.held {
            self.ended = held.child.try_wait()?;
            if self.ended.is_some() {
                self.held = None;
            }
        }
        Ok(self.ended)
    }

    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        let Some(held) = &self.held else {
            return Ok(());
        };
        if self.kill_group {
            // The group has its leader's number, which is not given away before the leader is reaped.
            return Ok(kill_process_group(Pid::from_child(&held.child), signal)?);
        }
        let send = |pidfd: std::os::fd::BorrowedFd<'_>| Ok(pidfd_send_signal(pidfd, signal)?);
        held.pidfd.with(send)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.kill_on_drop
            && let Err(error) = self.signal(Signal::KILL)
        {
            tracing::warn!(%error, "a child could not be killed as it was dropped");
        }
        if let Ok(None) = self.try_wait()
            && let Some(held) = self.held.take()
        {
            orphans::adopt(held);
        }
    }
}
