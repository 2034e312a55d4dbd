//! Futex waits: a thread for each, that the kernel has queued at the request's word before its submission returns.
//!
//! `futex(2)` waits by blocking its thread, and whoever hands the wait to another thread cannot know when that one is
//! queued: a wake in between would be lost. So the thread is queued first, elsewhere. It sleeps in `futex_waitv(2)`
//! (Linux 5.16) at three words of its own:
//!
//! | word | what for |
//! | --- | --- |
//! | `CANCEL` | whoever wakes it gets the thread back |
//! | `PRIVATE` | from here the ring moves the thread (`FUTEX_CMP_REQUEUE`) to a word of this process |
//! | `SHARED` | the same, to a word that processes share: the two kinds of queues cannot be mixed |
//!
//! A wait begins so, on the ring's own thread:
//!
//! 1. The word is looked at: another value is `EAGAIN`.
//! 2. An idle thread (or a new one) gets the job, and is moved to the request's word. The call says how many it moved: one,
//!    or none while the thread is on its way to sleep, and then it is asked again. From here on no wake is lost, whether
//!    the word is changed with it or not, and the thread has not run.
//! 3. The word it came from counts up: the thread, should it come back, does not sleep there a second time.
//! 4. The word is looked at once more. Another value takes the wait back; a wake that was first completes it.
//!
//! The kernel's ring looks and queues in one step. The difference can be seen by one who changes the word to another value
//! and back between our two looks, and wakes it in between: that wake may count here.
//!
//! Words count in *rounds*: all three are the round's number while the thread is free, and one more when it is over.
//! The thread, and whoever wants it back, store the same, so it does not matter who is first. It reports 0 if it was
//! woken at its word, or came back for no reason that we know (a stop signal, a debugger, a wake of its last sleep that
//! was late): futexes may do so at any time, and were it to wait anew, a wake meanwhile would be lost. It reports the
//! cancel only if it was not woken.
//!
//! No signal is handled on these threads. They end when they had nothing to do for [`IDLE`], and with their ring.

use std::ptr;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::carry::answer;
use super::messages::{Mail, Messages, Post};
use super::requests::Key;

/// So long a thread stays without work.
const IDLE: Duration = Duration::from_secs(1);
/// As many waits a process may have at a time.
const MOST: usize = 512;
/// They run a few lines of ours.
const STACK: usize = 64 << 10;

const CANCEL: usize = 0;
const PRIVATE: usize = 1;
const SHARED: usize = 2;

/// `FUTEX2_SIZE_U32`.
pub(super) const SIZE_U32: u32 = 2;

/// A word of memory, its expected value, and who meets there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    pub(super) address: *const AtomicU32,
    pub(super) expected: u32,
    pub(super) private: bool,
}

impl Word {
    fn changed(&self) -> bool {
        // SAFETY: the word is the request's, which is in flight.
        unsafe { &*self.address }.load(Acquire) != self.expected
    }
}

#[derive(Debug)]
struct Job {
    key: Key,
    /// What it answers if it is taken back.
    taken_back: i32,
}

/// A thread that waits.
#[derive(Debug)]
struct Waiter {
    words: [AtomicU32; 3],
    job: Mutex<Option<Job>>,
    ends: AtomicBool,
}

/// A thread that was moved to a request's word.
#[derive(Debug)]
pub(super) struct AtWord {
    waiter: Arc<Waiter>,
    round: u32,
    cancelled: bool,
}

/// A ring's threads.
pub(super) struct Futexes {
    mail: Arc<Mail>,
    idle: Vec<(Arc<Waiter>, Instant)>,
}

impl Waiter {
    fn job(&self) -> MutexGuard<'_, Option<Job>> {
        // Nothing that panics runs under it.
        self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the sleep of `round`, wherever the thread is by now.
    fn call_back(&self, round: u32) {
        self.words[CANCEL].store(round.wrapping_add(1), Release);
        wake(&self.words[CANCEL], true);
    }

    /// Sleeps; the index of the word it was woken at, if it was.
    fn sleep(&self, round: u32) -> Option<usize> {
        let at = |index: usize, flags| Wait {
            value: round.into(),
            address: self.words[index].as_ptr() as u64,
            flags,
            reserved: 0,
        };
        let private = SIZE_U32 | libc::FUTEX_PRIVATE_FLAG.cast_unsigned();
        let waits = [
            at(CANCEL, private),
            at(PRIVATE, private),
            at(SHARED, SIZE_U32),
        ];
        usize::try_from(waitv(&waits)).ok()
    }

    /// What its thread does.
    fn run(&self, mail: &Mail) {
        let (mut round, mut woken) = (0u32, false);
        loop {
            let at = self.sleep(round);
            if self.ends.load(Acquire) {
                return;
            }
            let Some(key) = self.job().as_ref().map(|job| job.key) else {
                woken = false;
                continue;
            };
            woken |= matches!(at, Some(PRIVATE | SHARED));
            let stands = |index: usize| self.words[index].load(Acquire) == round;
            if stands(PRIVATE) && stands(SHARED) {
                // It is being moved just now.
                continue;
            }
            let cancelled = !stands(CANCEL);
            let job = self.job().take();
            let taken_back = job.map_or(0, |job| job.taken_back);
            round = round.wrapping_add(1);
            self.words
                .iter()
                .for_each(|word| word.store(round, Release));
            let result = if woken || !cancelled { 0 } else { taken_back };
            woken = false;
            mail.post(Post::Done(key, result));
        }
    }
}

impl Futexes {
    pub(super) fn new(messages: &Messages) -> Futexes {
        Futexes {
            mail: messages.mail().clone(),
            idle: Vec::new(),
        }
    }

    /// Has a thread wait at `word` for the request `key`, which it will report.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if the word has another value, `EINVAL` if it is no word, `ENOMEM` if no thread can be had.
    pub(super) fn wait(&mut self, key: Key, word: Word) -> Result<AtWord, i32> {
        if !word.address.is_aligned() {
            return Err(-libc::EINVAL);
        }
        if word.changed() {
            return Err(-libc::EAGAIN);
        }
        let waiter = match self.idle.pop() {
            Some((waiter, _)) => waiter,
            None => spawn(&self.mail).ok_or(-libc::ENOMEM)?,
        };
        *waiter.job() = Some(Job {
            key,
            taken_back: -libc::ECANCELED,
        });
        let from = &waiter.words[if word.private { PRIVATE } else { SHARED }];
        let round = from.load(Acquire);
        loop {
            match requeue(from, round, &word) {
                0 => thread::yield_now(),
                1.. => break,
                errno => {
                    *waiter.job() = None;
                    self.idle.push((waiter, Instant::now()));
                    return Err(errno);
                }
            }
        }
        from.store(round.wrapping_add(1), Release);
        wake(from, word.private);
        if word.changed() {
            if let Some(job) = waiter.job().as_mut() {
                job.taken_back = -libc::EAGAIN;
            }
            waiter.call_back(round);
        }
        Ok(AtWord {
            waiter,
            round,
            cancelled: false,
        })
    }

    /// A thread has reported.
    pub(super) fn is_idle(&mut self, at: &AtWord) {
        self.idle.push((at.waiter.clone(), Instant::now()));
    }

    /// When there is a thread to be ended.
    pub(super) fn next(&self) -> Option<Instant> {
        self.idle.first().map(|(_, since)| *since + IDLE)
    }

    /// Ends those that had nothing to do for long; they are used last in, first out, so the first is the oldest.
    pub(super) fn end_idle(&mut self, now: Instant) {
        let old = |since: Instant| now.saturating_duration_since(since) >= IDLE;
        for (waiter, _) in self.idle.extract_if(.., |(_, since)| old(*since)) {
            end(&waiter);
        }
    }
}

impl Drop for Futexes {
    fn drop(&mut self) {
        self.idle.drain(..).for_each(|(waiter, _)| end(&waiter));
    }
}

impl AtWord {
    /// Asks for the thread back; its report tells whether it was woken before that. `false` if it was asked already.
    pub(super) fn cancel(&mut self) -> bool {
        if std::mem::replace(&mut self.cancelled, true) {
            return false;
        }
        self.waiter.call_back(self.round);
        true
    }
}

impl Drop for AtWord {
    fn drop(&mut self) {
        if self.waiter.job().is_some() {
            // The ring is gone before it could be cancelled: nobody hears the thread, but it is to end.
            end(&self.waiter);
        }
    }
}

fn end(waiter: &Waiter) {
    waiter.ends.store(true, Release);
    let round = waiter.words[CANCEL].load(Relaxed);
    waiter.call_back(round);
}

/// How many threads there are in the process.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// Counts a thread as long as it lives.
struct Counted;

impl Counted {
    fn one() -> Option<Counted> {
        let more = |threads| (threads < MOST).then_some(threads + 1);
        THREADS.fetch_update(AcqRel, Acquire, more).ok()?;
        Some(Counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        THREADS.fetch_sub(1, AcqRel);
    }
}

fn spawn(mail: &Arc<Mail>) -> Option<Arc<Waiter>> {
    let counted = Counted::one()?;
    let waiter = Arc::new(Waiter {
        words: Default::default(),
        job: Mutex::new(None),
        ends: AtomicBool::new(false),
    });
    let (own, mail) = (waiter.clone(), mail.clone());
    let thread = thread::Builder::new().name("annulet-futex".to_owned());
    let run = move || {
        let _counted = counted;
        own.run(&mail);
    };
    without_signals(|| thread.stack_size(STACK).spawn(run)).ok()?;
    Some(waiter)
}

/// A thread that is spawned meanwhile handles no signals.
fn without_signals<R>(spawn: impl FnOnce() -> R) -> R {
    // SAFETY: the sets live across the calls; all zeros are one.
    unsafe {
        let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let spawned = spawn();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut());
        spawned
    }
}

/// The layout of `struct futex_waitv`.
#[derive(Default)]
#[repr(C)]
struct Wait {
    value: u64,
    address: u64,
    flags: u32,
    reserved: u32,
}

fn waitv(waits: &[Wait]) -> i32 {
    // SAFETY: the structures, and the words they name, live across the call.
    answer(unsafe {
        let none = ptr::null::<libc::timespec>();
        libc::syscall(
            libc::SYS_futex_waitv,
            waits.as_ptr(),
            waits.len(),
            0,
            none,
            0,
        )
    })
}

fn scope(private: bool) -> i32 {
    if private { libc::FUTEX_PRIVATE_FLAG } else { 0 }
}

/// Moves one thread that sleeps at `from`; how many it were.
fn requeue(from: &AtomicU32, value: u32, to: &Word) -> i32 {
    let operation = libc::FUTEX_CMP_REQUEUE | scope(to.private);
    let (from, to) = (from.as_ptr(), to.address);
    // SAFETY: the words live across the call: one is the waiter's, the other the request's.
    answer(unsafe { libc::syscall(libc::SYS_futex, from, operation, 0, 1usize, to, value) })
}

fn wake(word: &AtomicU32, private: bool) {
    let operation = libc::FUTEX_WAKE | scope(private);
    // SAFETY: the kernel does not even look at the word.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, 1) };
}

/// Whether threads can wait at several words here: Linux 5.16, and no filter that forbids it.
pub(super) fn exists() -> bool {
    static EXISTS: OnceLock<bool> = OnceLock::new();
    *EXISTS.get_or_init(|| {
        // No words are none to wait at.
        let none: &[Wait] = &[];
        waitv(none) == -libc::EINVAL
    })
}
