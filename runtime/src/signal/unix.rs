//! Listeners for the signals of Unix, named as in tokio.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use annulet_driver::Op;
use annulet_driver::op::Read;
use annulet_fs::PipeReader;
use futures_core::Stream;
use signal_hook::consts::signal;
use signal_hook::low_level::{pipe, unregister};
use signal_hook::{SigId, consts};

/// How many signals are fetched at once.
const BATCH: usize = 64;

/// Which signal: by name, or by number.
///
/// # Examples
///
/// ```
/// use runtime::signal::unix::SignalKind;
///
/// assert_eq!(SignalKind::interrupt(), SignalKind::from_raw(2));
/// assert_eq!(SignalKind::interrupt().as_raw_value(), 2);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SignalKind(i32);

macro_rules! kinds {
    ($($name:ident $signal:ident $what:literal)*) => {$(
        #[doc = concat!("`", stringify!($signal), "`: ", $what)]
        #[must_use]
        pub const fn $name() -> SignalKind {
            SignalKind(signal::$signal)
        }
    )*};
}

impl SignalKind {
    /// The signal with this number, a real-time signal (`SIGRTMIN` and up) for instance.
    ///
    /// Whether there is such a signal, and it can be caught, is asked by [`signal`](fn@signal).
    #[must_use]
    pub const fn from_raw(number: i32) -> SignalKind {
        SignalKind(number)
    }

    /// Its number.
    #[must_use]
    pub const fn as_raw_value(self) -> i32 {
        self.0
    }

    kinds! {
        alarm SIGALRM "a timer of `alarm(2)` or `setitimer(2)` has run out."
        child SIGCHLD "a child has ended, has stopped or goes on. \
            [`process`](crate::process) needs it not, and does not mind it."
        hangup SIGHUP "the terminal is gone; daemons take it for \"read your configuration again\"."
        interrupt SIGINT "Ctrl-C."
        io SIGIO "a descriptor is ready; see `O_ASYNC`."
        pipe SIGPIPE "written to a pipe that nobody reads. Rust programs ignore it unless told otherwise."
        quit SIGQUIT "Ctrl-\\\\."
        terminate SIGTERM "somebody asks the process to end, as `kill(1)` does."
        user_defined1 SIGUSR1 "what the program makes of it."
        user_defined2 SIGUSR2 "what the program makes of it."
        window_change SIGWINCH "the terminal's size has changed."
    }
}

impl From<i32> for SignalKind {
    fn from(number: i32) -> SignalKind {
        SignalKind::from_raw(number)
    }
}

impl From<SignalKind> for i32 {
    fn from(kind: SignalKind) -> i32 {
        kind.as_raw_value()
    }
}

/// Listens for a signal, from now on.
///
/// Its handler is installed for the whole process, and stays: see the [module](super).
///
/// # Errors
///
/// `InvalidInput` for a signal that does not exist or cannot be caught: `SIGKILL` and `SIGSTOP`, which the kernel
/// keeps to itself, and `SIGSEGV`, `SIGILL` and `SIGFPE`, whose handlers cannot just return. `EMFILE` when out of
/// descriptors; a listener holds two.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// use runtime::signal::unix::{SignalKind, signal};
/// use rustix::process::{Signal, getpid, kill_process};
///
/// let mut hangup = signal(SignalKind::hangup())?;
/// kill_process(getpid(), Signal::HUP)?;
/// hangup.recv().await;
/// println!("reading the configuration again");
/// # Ok(()) }) }
/// ```
pub fn signal(kind: SignalKind) -> io::Result<Signal> {
    if consts::FORBIDDEN.contains(&kind.0) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("signal {} cannot be caught", kind.0),
        ));
    }
    let (reader, writer) = io::pipe()?;
    let pipe = PipeReader::from_std(reader)?;
    // It makes its end non-blocking: a handler must not wait.
    let id = pipe::register(kind.0, writer)?;
    Ok(Signal {
        _registered: Registered { id },
        pipe,
        pending: 0,
        kind,
    })
}

/// A listener; made by [`signal`](fn@signal).
///
/// It may be moved to another thread, and used in the runtime there.
pub struct Signal {
    // The first to be dropped: the handler must not find a pipe that nobody reads.
    _registered: Registered,
    pipe: PipeReader,
    /// Fetched, and not given out yet.
    pending: usize,
    kind: SignalKind,
}

/// While it lives the handler writes to the listener's pipe.
struct Registered {
    id: SigId,
}

impl Drop for Registered {
    fn drop(&mut self) {
        // It returns once no handler is about to write to the pipe.
        unregister(self.id);
    }
}

impl Signal {
    /// Waits for the signal; for each time that the process was given it since the last call, returns once.
    ///
    /// The kernel itself joins signals of one kind that come while the one before has not been delivered; real-time
    /// signals are not joined. Those that came while nobody asked are counted up to 65,536, those beyond are not.
    ///
    /// Goes through the ring: `IORING_OP_READ`, Linux 5.6.
    ///
    /// `None` means that there will be no more: the runtime is being shut down, or something took all handlers of the
    /// signal away. Why is told to `tracing`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: the signal is there for the next call.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::signal::unix::{SignalKind, signal};
    /// use runtime::time::timeout;
    /// use rustix::process::{Signal, getpid, kill_process};
    /// use std::time::Duration;
    ///
    /// let mut usr1 = signal(SignalKind::user_defined1())?;
    /// assert!(timeout(Duration::from_millis(1), usr1.recv()).await.is_err());
    ///
    /// kill_process(getpid(), Signal::USR1)?;
    /// assert_eq!(usr1.recv().await, Some(()));
    /// # Ok(()) }) }
    /// ```
    pub async fn recv(&mut self) -> Option<()> {
        let mut stream = self.stream();
        poll_fn(|cx| Pin::new(&mut stream).poll_next(cx)).await
    }

    /// The signals as a stream: an item each time [`recv`](Signal::recv) would return, and the end where it is `None`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the stream loses nothing: what it has not given is there for the next one, or for
    /// [`recv`](Signal::recv).
    ///
    /// # Panics
    ///
    /// If polled outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use futures_lite::StreamExt;
    /// use runtime::signal::unix::{SignalKind, signal};
    /// use rustix::process::{Signal, getpid, kill_process};
    ///
    /// let mut hangups = signal(SignalKind::hangup())?;
    /// let mut hangups = hangups.stream();
    /// for _ in 0..3 {
    ///     kill_process(getpid(), Signal::HUP)?;
    ///     hangups.next().await;
    /// }
    /// # Ok(()) }) }
    /// ```
    pub fn stream(&mut self) -> Signals<'_> {
        Signals {
            listener: self,
            reading: None,
        }
    }

    pub(super) async fn next(&mut self) -> io::Result<()> {
        let mut stream = self.stream();
        poll_fn(|cx| stream.poll_recv(cx)).await
    }
}

/// The signals of a listener as a stream; made by [`Signal::stream`].
#[must_use = "nothing is read until it is polled"]
pub struct Signals<'a> {
    listener: &'a mut Signal,
    /// What asks the pipe. Dropped, it leaves what it will read to the next.
    reading: Option<Op<Read<[u8; BATCH]>>>,
}

impl Signals<'_> {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let listener = &mut *self.listener;
        if listener.pending == 0 {
            let ask = || listener.pipe.read([0; BATCH]);
            let reading = self.reading.get_or_insert_with(ask);
            let (read, _) = ready!(Pin::new(reading).poll(cx));
            self.reading = None;
            listener.pending = read?;
        }
        // Still none: that is the end of the pipe.
        let Some(left) = listener.pending.checked_sub(1) else {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "all handlers of the signal were taken away",
            )));
        };
        listener.pending = left;
        Poll::Ready(Ok(()))
    }
}

impl Stream for Signals<'_> {
    type Item = ();

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let received = ready!(self.poll_recv(cx));
        if let Err(error) = &received {
            let kind = self.listener.kind;
            tracing::warn!(%error, ?kind, "a listener for signals has ended");
        }
        Poll::Ready(received.ok())
    }
}

impl fmt::Debug for Signals<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signals").field(&self.listener).finish()
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal")
            .field("kind", &self.kind)
            .field("pending", &self.pending)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_caught_is_refused() {
        for number in [-1, 0, 9, 11, 19, 65, i32::MAX] {
            let error = signal(SignalKind::from_raw(number)).unwrap_err();
            assert_eq!(
                error.kind(),
                io::ErrorKind::InvalidInput,
                "{number}: {error}"
            );
        }
    }

    #[test]
    fn a_listener_can_change_threads() {
        fn sends<T: Send + Sync>() {}
        sends::<Signal>();
    }
}
