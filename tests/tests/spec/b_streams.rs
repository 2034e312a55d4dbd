//! Section B for streams of any kind: copying and splicing them, the standard ones, FIFOs; counters and futexes.

use std::cell::Cell;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use annulet_tests::{Ring, poll_now, spec, submitted, until, within_a_turn};
use runtime::buf::{BufResult, IoBuf, IoBufMut};
use runtime::fs::pipe::{FifoOptions, mkfifo};
use runtime::fs::{File, OpenOptions, PipeReader, PipeWriter, pipe};
use runtime::io::{AsyncRead, AsyncWrite, EventFd, copy, copy_bidirectional, splice, tee};
use runtime::io::{stderr, stdin, stdout};
use runtime::net::UnixStream;
use runtime::time::timeout;
use runtime::{Op, Partial, is_cancelled, op};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::stdio::{dup2_stdin, dup2_stdout};

spec! {
    async a_copy_between_any_two_streams_moves_every_byte;
    async a_copy_begins_with_what_a_dropped_read_received;
    async a_copy_appends_to_a_file_by_writing;
    async a_copy_that_fails_tells_how_much_the_writer_took;
    async a_copy_dropped_at_any_point_between_pipes_loses_nothing;
    async a_copy_both_ways_ends_each_direction_by_itself;
    async a_copy_waits_for_room_in_a_full_pipe;
    async a_splice_of_what_is_no_descriptor_is_refused;
    async a_tee_waits_and_leaves_the_bytes;
    async reading_exactly_and_to_the_end_work_for_what_can_only_read;
    alone async standard_input_waits_whatever_its_flags_and_leaves_them_alone;
    alone async what_a_dropped_read_of_standard_input_received_is_there_for_any_handle;
    alone async standard_output_is_written_whole_whatever_its_flags;
    alone async standard_streams_are_never_closed;
    async b16_fifos_open_when_both_ends_do;
    async b16_a_fifos_open_that_waits_is_given_up;
    async b16_a_fifo_can_be_opened_without_waiting;
    async a_pipes_capacity_is_asked_and_set;
    async a_counter_waits_and_a_dropped_read_of_it_loses_nothing;
    async closing_a_counter_ends_a_read_of_it;
    async a_futex_wakes_whoever_waits_on_whichever_thread;
    async a_futex_of_another_value_is_not_waited_for;
    async a_futex_that_is_waited_for_is_woken_without_being_changed;
    async many_wait_at_a_futex_and_each_wake_ends_as_many_as_it_says;
    async a_wake_that_came_for_a_dropped_wait_is_passed_on;
}

/// A name in the target directory, removed in the end.
struct Name(PathBuf);

impl Name {
    fn new(ring: Ring, name: &str) -> Name {
        let name = format!("{name}-{}-{}", ring.name, std::process::id());
        Name(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name))
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Hides a stream's kind, as any user's type does.
struct Wrapped<S>(S);

impl<S: AsyncRead> AsyncRead for Wrapped<S> {
    async fn read<B: IoBufMut>(&mut self, buf: B) -> BufResult<usize, B> {
        self.0.read(buf).await
    }
}

impl<S: AsyncWrite> AsyncWrite for Wrapped<S> {
    async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
        self.0.write(buf).await
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush().await
    }

    async fn shutdown(&mut self) -> std::io::Result<()> {
        self.0.shutdown().await
    }
}

/// Bytes that tell where they are.
fn sample(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n ^ (n >> 8) ^ (n >> 16)) as u8).collect()
}

/// Long enough for no pipe or socket to hold it, and no multiple of anything.
const LONG: usize = 700_001;

/// Copies the sample from `reader`, which `feed` feeds, to `writer`, which `drain` drains.
async fn passes(
    reader: impl AsyncRead,
    mut feed: impl AsyncWrite + 'static,
    writer: impl AsyncWrite + 'static,
    mut drain: impl AsyncRead + 'static,
) {
    let feeding = runtime::spawn(async move {
        feed.write_all(sample(LONG)).await.0.unwrap();
        feed.shutdown().await.unwrap();
    });
    let draining = runtime::spawn(async move { drain.read_to_end(Vec::new()).await });
    let mut writer = writer;
    assert_eq!(copy(reader, &mut writer).await.unwrap(), LONG as u64);
    writer.shutdown().await.unwrap();
    drop(writer);
    feeding.await.unwrap();
    let (result, all) = draining.await.unwrap();
    assert_eq!(result.unwrap(), LONG);
    assert!(all == sample(LONG));
}

async fn a_copy_between_any_two_streams_moves_every_byte(ring: Ring) {
    let pair = || UnixStream::pair().unwrap();
    // Pipe to pipe, socket to pipe, pipe to socket, socket to socket, and something wrapped.
    let ((r1, w1), (r2, w2)) = (pipe().unwrap(), pipe().unwrap());
    passes(r1, w1, w2, r2).await;
    let ((a, b), (r2, w2)) = (pair(), pipe().unwrap());
    passes(&a, b, w2, r2).await;
    let ((r1, w1), (a, b)) = (pipe().unwrap(), pair());
    passes(r1, w1, a, b).await;
    let ((a, b), (c, d)) = (pair(), pair());
    passes(&a, b, c, d).await;
    let ((r1, w1), (r2, w2)) = (pipe().unwrap(), pipe().unwrap());
    passes(Wrapped(r1), w1, Wrapped(w2), r2).await;

    // From a file, at its cursor, and into one.
    let name = Name::new(ring, "copy");
    std::fs::write(&name.0, sample(LONG)).unwrap();
    let file = File::open(&name.0).await.unwrap();
    assert_eq!(file.read([0; 100]).await.0.unwrap(), 100);
    let (reader, writer) = pipe().unwrap();
    let copying = runtime::spawn(async move {
        let copied = copy(&file, &writer).await;
        writer.close().await.unwrap();
        copied
    });
    let (_, all) = (&reader).read_to_end(Vec::new()).await;
    assert_eq!(copying.await.unwrap().unwrap(), LONG as u64 - 100);
    assert!(all == sample(LONG)[100..]);
    let (reader, writer) = pipe().unwrap();
    let file = File::create(&name.0).await.unwrap();
    file.write_all("header").await.0.unwrap();
    let copying = runtime::spawn(async move { copy(&reader, &file).await });
    writer.write_all(sample(LONG)).await.0.unwrap();
    writer.close().await.unwrap();
    assert_eq!(copying.await.unwrap().unwrap(), LONG as u64);
    let all = std::fs::read(&name.0).unwrap();
    assert!(all[..6] == *b"header" && all[6..] == sample(LONG));
}

/// What a dropped read receives is kept.
async fn keeps(reader: &PipeReader, writer: &PipeWriter, bytes: &'static [u8]) {
    let mut read = reader.read(vec![0; 64]);
    assert!(poll_now(&mut read).await.is_pending());
    submitted().await;
    drop(read);
    writer.write_all(bytes).await.0.unwrap();
    for _ in 0..4 {
        submitted().await;
    }
}

async fn a_copy_begins_with_what_a_dropped_read_received(_: Ring) {
    let ((reader, writer), (out, into)) = (pipe().unwrap(), pipe().unwrap());
    keeps(&reader, &writer, b"kept, ").await;
    writer.write_all("and not").await.0.unwrap();
    writer.close().await.unwrap();
    assert_eq!(copy(&reader, &into).await.unwrap(), 13);
    let (_, all) = out.read_exact([0; 13]).await;
    assert_eq!(&all, b"kept, and not");
    // A dropped read that is in flight still gets its bytes first, and the copy those.
    let (reader, writer) = pipe().unwrap();
    let mut read = reader.read(vec![0; 3]);
    assert!(poll_now(&mut read).await.is_pending());
    submitted().await;
    drop(read);
    let copying = runtime::spawn(async move { copy(&reader, &into).await });
    writer.write_all("in order").await.0.unwrap();
    writer.close().await.unwrap();
    assert_eq!(copying.await.unwrap().unwrap(), 8);
    let (_, all) = out.read_exact([0; 8]).await;
    assert_eq!(&all, b"in order");
}

async fn a_copy_appends_to_a_file_by_writing(ring: Ring) {
    let name = Name::new(ring, "append");
    std::fs::write(&name.0, "old ").unwrap();
    let file = OpenOptions::new().append(true).open(&name.0).await.unwrap();
    let (reader, writer) = pipe().unwrap();
    writer.write_all("new").await.0.unwrap();
    writer.close().await.unwrap();
    assert_eq!(copy(&reader, &file).await.unwrap(), 3);
    assert_eq!(std::fs::read(&name.0).unwrap(), b"old new");
}

async fn a_copy_that_fails_tells_how_much_the_writer_took(_: Ring) {
    for wrapped in [false, true] {
        let ((reader, writer), (out, into)) = (pipe().unwrap(), pipe().unwrap());
        let copying = runtime::spawn(async move {
            if wrapped {
                copy(Wrapped(reader), Wrapped(into)).await
            } else {
                copy(reader, into).await
            }
        });
        writer.write_all("taken").await.0.unwrap();
        assert_eq!(out.read_exact([0; 5]).await.1, *b"taken");
        out.close().await.unwrap();
        writer.write_all("for nobody").await.0.unwrap();
        let error = copying.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert_eq!(Partial::of(&error), 5);
    }
}

async fn a_copy_dropped_at_any_point_between_pipes_loses_nothing(_: Ring) {
    let ((reader, writer), (out, into)) = (pipe().unwrap(), pipe().unwrap());
    let feeding = runtime::spawn(async move {
        for part in sample(LONG).chunks(997) {
            writer.write_all(part.to_vec()).await.0.unwrap();
            runtime::yield_now().await;
        }
    });
    let draining = runtime::spawn(async move { (&out).read_to_end(Vec::new()).await.1 });
    for turns in (0..20).cycle() {
        let mut copying = Box::pin(copy(&reader, &into));
        let mut ended = poll_now(&mut copying).await.is_ready();
        for _ in 0..turns {
            submitted().await;
            ended = ended || poll_now(&mut copying).await.is_ready();
        }
        drop(copying);
        if ended {
            break;
        }
    }
    into.close().await.unwrap();
    feeding.await.unwrap();
    assert!(draining.await.unwrap() == sample(LONG));
}

async fn a_copy_both_ways_ends_each_direction_by_itself(_: Ring) {
    let (client, near) = UnixStream::pair().unwrap();
    let (far, server) = UnixStream::pair().unwrap();
    let proxy = runtime::spawn(async move { copy_bidirectional(&near, &far).await });
    client.write_all("request").await.0.unwrap();
    client.shutdown(std::net::Shutdown::Write).await.unwrap();
    let (_, request) = (&server).read_to_end(Vec::new()).await;
    assert_eq!(request, b"request");
    // The other direction goes on for as long as it likes.
    submitted().await;
    assert!(!proxy.is_finished());
    server.write_all("and the answer").await.0.unwrap();
    server.close().await.unwrap();
    let (_, answer) = (&client).read_to_end(Vec::new()).await;
    assert_eq!(answer, b"and the answer");
    assert_eq!(proxy.await.unwrap().unwrap(), (7, 14));
}

async fn a_copy_waits_for_room_in_a_full_pipe(_: Ring) {
    let ((reader, writer), (out, into)) = (pipe().unwrap(), pipe().unwrap());
    let full = into.write(vec![0; 1 << 20]).await.0.unwrap();
    writer.write_all("behind").await.0.unwrap();
    writer.close().await.unwrap();
    let mut copying = Box::pin(copy(&reader, &into));
    for _ in 0..10 {
        assert!(poll_now(&mut copying).await.is_pending());
        submitted().await;
    }
    out.read_exact(vec![0; full]).await.0.unwrap();
    assert_eq!(copying.await.unwrap(), 6);
    assert_eq!(out.read_exact([0; 6]).await.1, *b"behind");
}

async fn a_splice_of_what_is_no_descriptor_is_refused(_: Ring) {
    let ((reader, writer), (_out, into)) = (pipe().unwrap(), pipe().unwrap());
    let error = splice(&Wrapped(&reader), &into, 8).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let (a, b) = UnixStream::pair().unwrap();
    b.write_all("x").await.0.unwrap();
    // Neither is a pipe.
    let error = splice(&a, &b, 8).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    // Of a stream with a limit for each read the copy keeps it.
    a.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    assert_eq!(a.read([0; 1]).await.0.unwrap(), 1);
    let error = copy(&a, &into).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    drop(writer);
}

async fn a_tee_waits_and_leaves_the_bytes(_: Ring) {
    let ((reader, writer), (out, into)) = (pipe().unwrap(), pipe().unwrap());
    let mut teeing = Box::pin(tee(&reader, &into, 64));
    assert!(poll_now(&mut teeing).await.is_pending());
    submitted().await;
    writer.write_all("twice").await.0.unwrap();
    assert_eq!(teeing.await.unwrap(), 5);
    assert_eq!(reader.read_exact([0; 5]).await.1, *b"twice");
    assert_eq!(out.read_exact([0; 5]).await.1, *b"twice");
    writer.close().await.unwrap();
    assert_eq!(tee(&reader, &into, 64).await.unwrap(), 0);
}

async fn reading_exactly_and_to_the_end_work_for_what_can_only_read(_: Ring) {
    let (reader, writer) = pipe().unwrap();
    let mut reader = Wrapped(reader);
    let feeding = runtime::spawn(async move {
        for part in ["ab", "cde", "fghij"] {
            writer.write_all(part).await.0.unwrap();
            submitted().await;
        }
    });
    assert_eq!(reader.read_exact([0; 4]).await.1, *b"abcd");
    let (result, rest) = reader.read_to_end(b"found: ".to_vec()).await;
    assert_eq!((result.unwrap(), &rest[..]), (6, &b"found: efghij"[..]));
    let (result, _) = reader.read_exact(vec![0; 2]).await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    feeding.await.unwrap();
    let (reader, writer) = pipe().unwrap();
    let mut writer = Wrapped(writer);
    let writing = runtime::spawn(async move { writer.write_all(sample(LONG)).await.0 });
    let (_, all) = (&reader).read_to_end(Vec::new()).await;
    writing.await.unwrap().unwrap();
    assert!(all == sample(LONG));
}

fn set_nonblocking(fd: &impl AsFd) {
    let flags = fcntl_getfl(fd).unwrap();
    fcntl_setfl(fd, flags | OFlags::NONBLOCK).unwrap();
}

fn is_nonblocking(fd: &impl AsFd) -> bool {
    fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK)
}

async fn standard_input_waits_whatever_its_flags_and_leaves_them_alone(_: Ring) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    set_nonblocking(&reader);
    dup2_stdin(&reader).unwrap();
    let input = stdin().unwrap();
    let mut read = Box::pin(input.read(vec![0; 8]));
    for _ in 0..10 {
        assert!(poll_now(&mut read).await.is_pending());
        submitted().await;
    }
    writer.write_all(b"waited").unwrap();
    let (result, buf) = read.await;
    assert_eq!(&buf[..result.unwrap()], b"waited");
    assert!(is_nonblocking(&reader));
    // Set meanwhile by somebody else, the other way round.
    fcntl_setfl(&reader, OFlags::empty()).unwrap();
    let mut read = Box::pin(input.read(vec![0; 8]));
    assert!(poll_now(&mut read).await.is_pending());
    submitted().await;
    writer.write_all(b"again").unwrap();
    assert_eq!(read.await.0.unwrap(), 5);
    drop(writer);
    assert_eq!(input.read([0; 8]).await.0.unwrap(), 0);
}

async fn what_a_dropped_read_of_standard_input_received_is_there_for_any_handle(_: Ring) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    dup2_stdin(&reader).unwrap();
    let input = stdin().unwrap();
    for n in 0..100u8 {
        if n == 50 {
            set_nonblocking(&reader);
        }
        let mut read = Box::pin(input.read(vec![0; 8]));
        assert!(poll_now(&mut read).await.is_pending());
        submitted().await;
        assert!(poll_now(&mut read).await.is_pending());
        drop(read);
        writer.write_all(&[n]).unwrap();
        submitted().await;
        let (result, buf) = stdin().unwrap().read([0; 8]).await;
        assert_eq!((result.unwrap(), buf[0]), (1, n));
    }
}

async fn standard_output_is_written_whole_whatever_its_flags(_: Ring) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    set_nonblocking(&writer);
    let kept = std::io::stdout().as_fd().try_clone_to_owned().unwrap();
    dup2_stdout(&writer).unwrap();
    let out = stdout().unwrap();
    dup2_stdout(kept).unwrap();
    let draining = thread::spawn(move || {
        let mut all = vec![0; 2 * LONG];
        reader.read_exact(&mut all).unwrap();
        all
    });
    out.write_all(sample(LONG)).await.0.unwrap();
    assert_eq!(
        copy(Wrapped(&feed(sample(LONG))), out).await.unwrap(),
        LONG as u64
    );
    let all = draining.join().unwrap();
    assert!(all[..LONG] == sample(LONG) && all[LONG..] == sample(LONG));
    assert!(is_nonblocking(&writer));
}

/// A pipe that ends after these bytes.
fn feed(bytes: Vec<u8>) -> PipeReader {
    let (reader, writer) = pipe().unwrap();
    runtime::spawn(async move { writer.write_all(bytes).await.0.unwrap() });
    reader
}

async fn standard_streams_are_never_closed(_: Ring) {
    for _ in 0..3 {
        let (_, mut out, mut err) = (stdin().unwrap(), stdout().unwrap(), stderr().unwrap());
        AsyncWrite::shutdown(&mut out).await.unwrap();
        AsyncWrite::shutdown(&mut err).await.unwrap();
        submitted().await;
    }
    fcntl_getfl(std::io::stdin()).unwrap();
    fcntl_getfl(std::io::stdout()).unwrap();
    stderr().unwrap().write_all("").await.0.unwrap();
}

async fn b16_fifos_open_when_both_ends_do(ring: Ring) {
    let name = Name::new(ring, "fifo");
    mkfifo(&name.0, 0o600).await.unwrap();
    let again = mkfifo(&name.0, 0o600).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    let path = name.0.clone();
    let reading = runtime::spawn(async move { FifoOptions::new().open_reader(path).await });
    for _ in 0..10 {
        submitted().await;
        assert!(!reading.is_finished());
    }
    let writer = FifoOptions::new().open_writer(&name.0).await.unwrap();
    let reader = reading.await.unwrap().unwrap();
    let (out, into) = pipe().unwrap();
    passes(&reader, writer, into, out).await;
}

async fn b16_a_fifos_open_that_waits_is_given_up(ring: Ring) {
    let limit = Duration::from_millis(1);
    // One each: a worker that is on its way out of its call is an other end still.
    let [read, write] = ["fifo-to-read", "fifo-to-write"].map(|name| Name::new(ring, name));
    mkfifo(&read.0, 0o600).await.unwrap();
    mkfifo(&write.0, 0o600).await.unwrap();
    let open = timeout(limit, FifoOptions::new().open_reader(&read.0)).await;
    assert!(open.is_err());
    let open = timeout(limit, FifoOptions::new().open_writer(&write.0)).await;
    assert!(open.is_err());
    until(|| annulet_tests::metrics().in_flight == 0).await;
}

async fn b16_a_fifo_can_be_opened_without_waiting(ring: Ring) {
    let name = Name::new(ring, "fifo-now");
    mkfifo(&name.0, 0o600).await.unwrap();
    let now = FifoOptions::new().wait(false);
    let error = now.open_writer(&name.0).await.unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENXIO));
    let reader = now.open_reader(&name.0).await.unwrap();
    // Its reads do wait, for a writer and for what that writes.
    let mut read = reader.read([0; 2]);
    assert!(poll_now(&mut read).await.is_pending());
    submitted().await;
    let writer = now.open_writer(&name.0).await.unwrap();
    submitted().await;
    assert!(poll_now(&mut read).await.is_pending());
    writer.write_all("on").await.0.unwrap();
    assert_eq!(read.await.1, *b"on");
    // One that has both ends reads no end.
    let both = FifoOptions::new().read_write(true);
    let reader = both.open_reader(&name.0).await.unwrap();
    writer.close().await.unwrap();
    let mut read = reader.read([0; 2]);
    assert!(poll_now(&mut read).await.is_pending());
    submitted().await;
    assert!(poll_now(&mut read).await.is_pending());
    drop(read);
    let file = Name::new(ring, "no-fifo");
    std::fs::write(&file.0, "").unwrap();
    let error = now.open_reader(&file.0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

async fn a_pipes_capacity_is_asked_and_set(_: Ring) {
    let (reader, writer) = pipe().unwrap();
    assert_eq!(reader.set_capacity(4096).unwrap(), 4096);
    assert_eq!(writer.capacity().unwrap(), 4096);
    let write = writer.write(vec![0; 8192]).await.0.unwrap();
    assert_eq!(write, 4096);
    reader.close().await.unwrap();
    assert_eq!(
        reader.capacity().unwrap_err().raw_os_error(),
        Some(libc::EBADF)
    );
}

async fn a_counter_waits_and_a_dropped_read_of_it_loses_nothing(_: Ring) {
    let counter = EventFd::new(0).unwrap();
    let mut read = Box::pin(counter.read());
    assert!(poll_now(&mut read).await.is_pending());
    submitted().await;
    assert!(poll_now(&mut read).await.is_pending());
    drop(read);
    counter.write(5).await.unwrap();
    submitted().await;
    assert_eq!(counter.read().await.unwrap(), 5);
    // Added to by somebody without a runtime.
    rustix::io::write(&counter, &7u64.to_ne_bytes()).unwrap();
    assert_eq!(counter.read().await.unwrap(), 7);
    let error = counter.write(u64::MAX).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    // Full, a write waits.
    counter.write(u64::MAX - 1).await.unwrap();
    let mut write = Box::pin(counter.write(1));
    assert!(poll_now(&mut write).await.is_pending());
    submitted().await;
    assert_eq!(counter.read().await.unwrap(), u64::MAX - 1);
    write.await.unwrap();
    let permits = EventFd::semaphore(2).unwrap();
    assert_eq!(permits.read().await.unwrap(), 1);
    assert_eq!(permits.read().await.unwrap(), 1);
    assert!(poll_now(&mut Box::pin(permits.read())).await.is_pending());
}

async fn closing_a_counter_ends_a_read_of_it(_: Ring) {
    let counter = EventFd::new(0).unwrap();
    let mut read = Box::pin(counter.read());
    assert!(poll_now(&mut read).await.is_pending());
    submitted().await;
    let close = counter.close();
    assert!(is_cancelled(&within_a_turn(read).await.unwrap_err()));
    close.await.unwrap();
}

async fn a_futex_wakes_whoever_waits_on_whichever_thread(ring: Ring) {
    let word = Arc::new(AtomicU32::new(0));
    let wait = |word: &Arc<AtomicU32>| Op::new(op::FutexWait::new(word.clone(), 0));
    let other = thread::spawn({
        let word = word.clone();
        move || {
            ring.runtime().block_on(async {
                while word.load(Relaxed) == 0 {
                    match wait(&word).await {
                        Ok(()) => {}
                        Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                    }
                }
            });
        }
    });
    let mut here = wait(&word);
    assert!(poll_now(&mut here).await.is_pending());
    submitted().await;
    word.store(1, Relaxed);
    let wake = Op::new(op::FutexWake::new(word.clone(), u32::MAX));
    assert!(wake.await.unwrap() >= 1);
    here.await.unwrap();
    other.join().unwrap();
    let nobody = Op::new(op::FutexWake::new(word, 1)).await.unwrap();
    assert_eq!(nobody, 0);
}

async fn a_futex_of_another_value_is_not_waited_for(_: Ring) {
    static WORD: AtomicU32 = AtomicU32::new(7);
    let error = Op::new(op::FutexWait::new(&WORD, 8)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    let late = Op::new(op::FutexWait::new(&WORD, 7).shared()).timeout(Duration::from_millis(1));
    assert_eq!(late.await.unwrap_err().kind(), ErrorKind::TimedOut);
}

async fn a_futex_that_is_waited_for_is_woken_without_being_changed(_: Ring) {
    let word = Arc::new(AtomicU32::new(0));
    for round in 0..20 {
        let (wait, wake) = (
            op::FutexWait::new(word.clone(), 0),
            op::FutexWake::new(word.clone(), 1),
        );
        let (mut wait, wake) = match round % 2 {
            0 => (Op::new(wait), wake),
            _ => (Op::new(wait.shared()), wake.shared()),
        };
        assert!(poll_now(&mut wait).await.is_pending());
        submitted().await;
        assert_eq!(Op::new(wake).await.unwrap(), 1);
        wait.await.unwrap();
    }
}

async fn many_wait_at_a_futex_and_each_wake_ends_as_many_as_it_says(_: Ring) {
    let word = Arc::new(AtomicU32::new(0));
    let ended = Rc::new(Cell::new(0));
    let waits: Vec<_> = (0..10)
        .map(|_| {
            let (word, ended) = (word.clone(), ended.clone());
            runtime::spawn(async move {
                Op::new(op::FutexWait::new(word, 0)).await.unwrap();
                ended.set(ended.get() + 1);
            })
        })
        .collect();
    submitted().await;
    let mut woken = 0;
    for at_most in [0, 3, 1, u32::MAX] {
        let wake = op::FutexWake::new(word.clone(), at_most);
        let ends = Op::new(wake).await.unwrap();
        assert_eq!(ends, 10.min(at_most as usize + woken) - woken);
        woken += ends;
        until(|| ended.get() == woken).await;
    }
    for wait in waits {
        wait.await.unwrap();
    }
}

async fn a_wake_that_came_for_a_dropped_wait_is_passed_on(_: Ring) {
    let word = Arc::new(AtomicU32::new(0));
    let wait = || Op::new(op::FutexWait::new(word.clone(), 0));
    let (mut first, mut second) = (wait(), wait());
    assert!(poll_now(&mut first).await.is_pending());
    submitted().await;
    assert!(poll_now(&mut second).await.is_pending());
    submitted().await;
    let woken = Op::new(op::FutexWake::new(word.clone(), 1)).await.unwrap();
    assert_eq!(woken, 1);
    submitted().await;
    drop(first);
    second.await.unwrap();
    // The operations have let go of it.
    assert_eq!(Arc::strong_count(&word), 1);
}
