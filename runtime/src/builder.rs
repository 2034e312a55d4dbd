//! Options, and the [`Runtime`] they make.

use std::io;
use std::time::Duration;

use annulet_driver::{DriverKind, Setup};

use crate::run::Runtime;
use crate::turn::{DEFAULT_BUDGET, DEFAULT_SLACK};

/// Makes a [`Runtime`] to measure.
///
/// # Examples
///
/// ```
/// let runtime = runtime::Builder::new().entries(1024).budget(64).build()?;
/// assert_eq!(runtime.block_on(async { 6 * 7 }), 42);
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct Builder {
    pub(crate) setup: Setup,
    pub(crate) budget: u32,
    pub(crate) shutdown_timeout: Duration,
    pub(crate) thread_name: Option<String>,
    pub(crate) timer_slack: Duration,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder::new()
    }
}

impl Builder {
    /// The defaults: 256 entries, 4096 completions, a budget of 256 polls, 50 us of timer slack, 10 s for the shutdown.
    pub fn new() -> Builder {
        Builder {
            setup: Setup::default(),
            budget: DEFAULT_BUDGET,
            shutdown_timeout: Duration::from_secs(10),
            thread_name: None,
            timer_slack: DEFAULT_SLACK,
        }
    }

    /// Submission queue entries, rounded up to a power of two between 4 and 32,768. Default: 256.
    ///
    /// It bounds the longest [`chain`](crate::chain) and how much is handed over at once, not how much may
    /// be in flight.
    pub fn entries(mut self, entries: u32) -> Builder {
        self.setup.entries = entries;
        self
    }

    /// Completion queue entries, rounded up to a power of two, at least twice the
    /// [`entries`](Builder::entries). Default: 4096. What does not fit is kept by the kernel, not lost.
    pub fn completions(mut self, completions: u32) -> Builder {
        self.setup.completions = completions;
        self
    }

    /// Polls of tasks between two looks at timers, completions and other threads. Default: 256; at least 1.
    pub fn budget(mut self, budget: u32) -> Builder {
        self.budget = budget;
        self
    }

    /// Lets a kernel thread take the submissions, which falls asleep after `idle` without any
    /// (`IORING_SETUP_SQPOLL`). Default: off. It spins on a core of its own; without one to spare it costs.
    pub fn sqpoll(mut self, idle: Duration) -> Builder {
        self.setup.sqpoll = Some(idle);
        self
    }

    /// Leaves out set-up flags newer than Linux 5.19. Default: `false`: the newest the kernel takes.
    ///
    /// For tests and for measuring what the flags give.
    pub fn plain(mut self, plain: bool) -> Builder {
        self.setup.plain = plain;
        self
    }

    /// Makes a runtime for the inside of another loop: with [`Runtime::wait_fd`], which that loop waits for. Default:
    /// `false`.
    ///
    /// The ring then works without `IORING_SETUP_DEFER_TASKRUN`, which has completions wait until the ring is entered.
    pub fn embedded(mut self, embedded: bool) -> Builder {
        self.setup.embedded = embedded;
        self
    }

    /// Tries reads and writes of pipes, small reads of files and small sends by a plain call that does not wait, before the
    /// ring. Default: `true`.
    ///
    /// It is done where it pays: on a pipe (or a socket used as a stream) where the last operation did not have to wait,
    /// for reads of up to 16 KiB at offsets of a file where the last one found its bytes in memory, while little else is
    /// handed over, and 128 times a turn at most; for sends of up to 16 KiB, unless the last one there had to wait, in turns
    /// with no more than eight. For tests and for measuring what that gives.
    pub fn attempts(mut self, attempts: bool) -> Builder {
        self.setup.attempts = attempts;
        self
    }

    /// Bytes of the runtime's own buffers, which `recv` and `chunks` of streams receive into: the most that a
    /// [`Chunk`](crate::buf::Chunk) brings. Rounded up to a multiple of 64, at most 1 GiB. Default: 16,384.
    pub fn chunk_size(mut self, bytes: usize) -> Builder {
        self.setup.chunk_size = bytes;
        self
    }

    /// The most of these buffers that are kept for reuse. Rounded down to a multiple of 32, at most 65,536. Default: 4096.
    ///
    /// They are made as they are needed. Receives that find all of them in use take memory of their own.
    pub fn chunk_limit(mut self, count: usize) -> Builder {
        self.setup.chunk_limit = count;
        self
    }

    /// Lets the kernel pick these buffers as data arrives, so that a stream that waits holds none. Default: `true`, where
    /// the kernel can (`IORING_REGISTER_PBUF_RING`, Linux 5.19).
    ///
    /// Without, a `recv` holds a buffer while it waits. For tests and for measuring what that gives.
    pub fn provided_buffers(mut self, provided: bool) -> Builder {
        self.setup.provided_buffers = provided;
        self
    }

    /// Has the kernel fill such a buffer by and by, one receive behind the other, until it is full. Default: `false`, each
    /// receive has a buffer to itself.
    ///
    /// Small messages then lie close together, and there is room for large ones: with a [`chunk_size`](Builder::chunk_size)
    /// of 64 KiB, which is the most, an echo of small messages costs what it costs without, one of 64 KiB a fifth less than
    /// in buffers of 16 KiB.
    ///
    /// What it asks for: a buffer is used again when the last [`Chunk`](crate::buf::Chunk) that has a part of it is
    /// gone, so a single byte that is kept keeps 64 KiB; the metrics' `chunks_lent` counts buffers of which something
    /// is kept. Of these buffers there are at most 4096, however high the [`chunk_limit`](Builder::chunk_limit). A
    /// message of a socket with boundaries (datagrams) that is longer than what is left of a buffer is cut there: read
    /// those into memory of your own.
    ///
    /// Linux 6.12 (`IOU_PBUF_RING_INC`), and the ring in user space; elsewhere, and with larger buffers, it means
    /// nothing. Where a part begins follows from the order of completions, which some kernels before 6.15 did not keep:
    /// on those leave it off.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use runtime::net::UnixStream;
    ///
    /// let builder = runtime::Builder::new().incremental(true).chunk_size(64 * 1024);
    /// builder.build()?.block_on(async {
    ///     let (ours, theirs) = UnixStream::pair()?;
    ///     theirs.write_all("one").await.0?;
    ///     let one = ours.recv().await?;
    ///     theirs.write_all("two").await.0?;
    ///     let two = ours.recv().await?;
    ///     assert_eq!((&one[..], &two[..]), (&b"one"[..], &b"two"[..]));
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn incremental(mut self, incremental: bool) -> Builder {
        self.setup.incremental = incremental;
        self
    }

    /// Has TCP and UDP sockets made in the runtime send buffers of so many bytes or more without a copy
    /// (`IORING_OP_SEND_ZC`, Linux 6.2). Default: `None`, they copy.
    ///
    /// The kernel then reads the buffer where it is, for as long as it needs: so a write resolves, and gives the buffer
    /// back, not when its bytes are in the socket's queue but when the peer has acknowledged them. That is a round trip
    /// later, and no time limit shortens it: if the peer reads nothing, it is when the connection ends. The next write
    /// need not wait for it. So it pays for buffers of 4 KiB and more, many of them under way, on a device that can do
    /// it; a program that awaits each write before the next is slower with it, whence the default.
    ///
    /// It is undone for a socket where it proves to be of no use: where the kernel says that it has copied after all, as
    /// it does on the loopback device and as the ring in user space always does, or that it cannot do without.
    /// [`TcpStream::set_zero_copy`] sets it for one stream; the metrics ([`zero_copy`](crate::Metrics::driver)) count
    /// such sends, and the ones among them that were copied.
    ///
    /// [`TcpStream::set_zero_copy`]: crate::net::TcpStream::set_zero_copy
    ///
    /// # Examples
    ///
    /// ```
    /// let runtime = runtime::Builder::new().zero_copy(Some(16 * 1024)).build()?;
    /// # runtime.block_on(async {
    /// # use runtime::net::{TcpListener, TcpStream};
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// assert_eq!(stream.zero_copy(), Some(16 * 1024));
    /// # std::io::Result::Ok(()) })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn zero_copy(mut self, least: Option<usize>) -> Builder {
        self.setup.zero_copy = least;
        self
    }

    /// Lets memory be registered with the ring, which [arenas](crate::buf::Arena) do. Default: `true`.
    ///
    /// Without, reads and writes of their buffers are like those of any other. For tests and for measuring what that gives.
    pub fn fixed_buffers(mut self, fixed: bool) -> Builder {
        self.setup.fixed_buffers = fixed;
        self
    }

    /// Lets files be registered with the ring, which [`File::register`](crate::fs::File::register) does. Default: `true`.
    ///
    /// Without, registering is refused. For tests and for measuring what it gives.
    pub fn fixed_files(mut self, fixed: bool) -> Builder {
        self.setup.fixed_files = fixed;
        self
    }

    /// Which ring to run on. Default: [`DriverKind::Auto`], the kernel's where it can be had, otherwise the one in user
    /// space; the environment variable `ANNULET_DRIVER` (`auto`, `kernel`, `poll`) decides for programs that leave it at
    /// that.
    ///
    /// [`DriverKind`] tells what differs between them. [`doctor`](crate::doctor()) tells which a program gets here, and
    /// why. Of a runtime, [`Driver::kind`](crate::Driver::kind) tells which it came to be,
    /// [`Driver::refused`](crate::Driver::refused) why it is not the kernel's.
    ///
    /// # Examples
    ///
    /// ```
    /// use runtime::{Builder, DriverKind};
    ///
    /// let runtime = Builder::new().driver(DriverKind::Poll).build()?;
    /// assert_eq!(runtime.driver().kind(), DriverKind::Poll);
    /// runtime.block_on(async {
    ///     let (reader, writer) = runtime::fs::pipe()?;
    ///     writer.write_all("the same").await.0?;
    ///     assert_eq!(reader.read([0; 8]).await.0?, 8);
    ///     std::io::Result::Ok(())
    /// })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn driver(mut self, driver: DriverKind) -> Builder {
        self.setup.driver = driver;
        self
    }

    /// Treats opcodes (`IORING_OP_*` numbers) as missing from the kernel. Default: none.
    ///
    /// For tests and for measuring what an operation's fallback costs.
    pub fn without(mut self, opcodes: impl IntoIterator<Item = u8>) -> Builder {
        self.setup.without.extend(opcodes);
        self
    }

    /// How long dropping the runtime waits for the kernel to end what is in flight. Default: 10 s.
    ///
    /// Past that the memory of what is left is leaked, never freed, as the kernel may still write to it.
    pub fn shutdown_timeout(mut self, limit: Duration) -> Builder {
        self.shutdown_timeout = limit;
        self
    }

    /// Names the thread (as `top -H` and debuggers show it, 15 bytes at most). Default: left as it is.
    pub fn thread_name(mut self, name: impl Into<String>) -> Builder {
        self.thread_name = Some(name.into());
        self
    }

    /// How late a timer may be so that others are fired by the same wake. Default: 50 us; zero: each at its own time.
    ///
    /// A thread that sleeps wakes at the last of the deadlines that lie within the slack of the first. A timer that stands
    /// alone is not late for it, none is ever early, and they fire in the order of their deadlines all the same. Programs
    /// with many timers and no need for precision save CPU time by a millisecond of slack, which is what timers count in
    /// elsewhere. (The kernel's own word for it is the same, see `PR_SET_TIMERSLACK`; that one is not what is set here.)
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let runtime = runtime::Builder::new().timer_slack(Duration::from_millis(1)).build()?;
    /// runtime.block_on(runtime::time::sleep(Duration::from_millis(2)));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn timer_slack(mut self, slack: Duration) -> Builder {
        self.timer_slack = slack;
        self
    }

    /// Builds the runtime, for this thread.
    ///
    /// # Errors
    ///
    /// What keeps the ring from being made, with the remedy. No descriptors left, whichever ring. With
    /// [`DriverKind::Kernel`]: no io_uring in this kernel (`Unsupported`), forbidden by a sysctl or a seccomp profile
    /// (`PermissionDenied`), a memory limit (`OutOfMemory`); with [`DriverKind::Auto`] these lead to the ring in user
    /// space. `InvalidInput`: more entries or completions than the kernel allows, a thread name with a NUL byte, an
    /// `ANNULET_DRIVER` that names no ring.
    pub fn build(&self) -> io::Result<Runtime> {
        Runtime::with(self)
    }
}
