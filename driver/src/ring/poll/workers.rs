//! The thread pool that does what may block: files, names, whatever a caller wants a worker for. Which thread does what
//! is in [`runners`](super::runners).
//!
//! A job is queued, running, and then done; or it is given up. Each step is one exchange of its state, so that exactly
//! one side, the worker or the ring, completes the request:
//!
//! | from | to | by | then |
//! | --- | --- | --- | --- |
//! | `QUEUED` | `RUNNING` | the worker | it works, on the request's memory |
//! | `QUEUED` | `GIVEN_UP` | a cancel | the request is completed at once; the worker does nothing |
//! | `RUNNING` | `DONE` | the worker | its report completes the request |
//! | `RUNNING` | `GIVEN_UP` | a cancel, of a job on copies only | the request is completed; what the work brings is thrown away |
//!
//! A worker whose job was given up may be stuck in a call that waits for somebody (the other end of a FIFO). It is
//! sent a signal to get it out: `SIGURG`, which by default does nothing. Its handler, which does nothing either, is
//! installed when it is first needed, and only if the program has none of its own; then such a worker stays until its
//! call ends by itself.

use std::cell::RefCell;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

use super::files::{Row, Rows};
use super::messages::{Mail, Messages, Post};
use super::requests::Key;
use super::runners::{Posted, Runners};

const QUEUED: u8 = 0;
const RUNNING: u8 = 1;
const DONE: u8 = 2;
const GIVEN_UP: u8 = 3;
/// As many jobs are kept for the next.
const SPARE: usize = 256;

/// What a call that takes no memory works on: numbers, and addresses of the request's memory.
pub(super) type Words = [u64; 8];

enum Run {
    Plain(fn(Words) -> i32, Words),
    Boxed(Box<dyn FnOnce(&Job) -> i32 + Send>),
}

/// Work for another thread.
pub(super) struct Work {
    run: Run,
    /// What to do with a result nobody waits for; only work on copies has it.
    throw_away: Option<fn(i32)>,
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").finish_non_exhaustive()
    }
}

impl Work {
    /// Work on the request's own memory: once begun it has to end by itself.
    pub(super) fn new(run: impl FnOnce() -> i32 + Send + 'static) -> Work {
        Work {
            run: Run::Boxed(Box::new(|_| run())),
            throw_away: None,
        }
    }

    /// The same, for what is often done: it takes no memory.
    pub(super) fn plain(run: fn(Words) -> i32, words: Words) -> Work {
        Work {
            run: Run::Plain(run, words),
            throw_away: None,
        }
    }

    /// Work that touches nothing of the request's: it may be given up, and what it brings then is thrown away. If it is
    /// interrupted it looks whether it [was](Job::is_given_up).
    pub(super) fn on_copies(
        run: impl FnOnce(&Job) -> i32 + Send + 'static,
        throw_away: fn(i32),
    ) -> Work {
        Work {
            run: Run::Boxed(Box::new(run)),
            throw_away: Some(throw_away),
        }
    }
}

type Held = [Option<Arc<OwnedFd>>; 2];

/// Where a worker and a ring agree on who completes a request.
#[derive(Debug)]
pub(super) struct Job {
    state: AtomicU8,
    can_be_left: bool,
    /// The thread that is at it.
    thread: Mutex<Option<libc::pid_t>>,
    /// The files that it works on, where those are rows': they stay open until it is done, also if the ring goes.
    files: Mutex<Held>,
}

/// What came of giving a job up.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum GivenUp {
    /// It had not begun.
    Unbegun,
    /// It runs on for nobody.
    Running,
    /// Its report will come.
    No,
}

impl Job {
    fn moves(&self, from: u8, to: u8) -> bool {
        self.state
            .compare_exchange(from, to, AcqRel, Acquire)
            .is_ok()
    }

    /// No signal is sent to a thread that has done with the job, whose number may be another's: so under this lock.
    fn thread(&self) -> MutexGuard<'_, Option<libc::pid_t>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn let_go(&self) {
        let held = std::mem::take(&mut *self.files.lock().unwrap_or_else(PoisonError::into_inner));
        drop(held);
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.state.load(Acquire) == GIVEN_UP
    }

    /// Gets a worker out of a call that waits. Whether it is still at the job: then once may not have been enough.
    fn interrupt(&self) -> bool {
        let thread = self.thread();
        if let Some(thread) = *thread {
            // SAFETY: the thread is one of this process's, and at the job while the lock is held.
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, libc::SIGURG) };
        }
        thread.is_some()
    }

    pub(super) fn give_up(&self) -> GivenUp {
        if self.moves(QUEUED, GIVEN_UP) {
            self.let_go();
            GivenUp::Unbegun
        } else if self.can_be_left && self.moves(RUNNING, GIVEN_UP) {
            GivenUp::Running
        } else {
            GivenUp::No
        }
    }
}

pub(super) struct Workers {
    runners: Arc<Runners>,
    /// Given up, and perhaps still stuck.
    left: Vec<Arc<Job>>,
    /// Done with, or soon: whoever has the last of a job's references may use it anew.
    spare: RefCell<Vec<Arc<Job>>>,
}

impl Workers {
    pub(super) fn new(messages: &Messages) -> Workers {
        Workers {
            runners: Runners::new(messages.mail().clone()),
            left: Vec::new(),
            spare: RefCell::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn runners(&self) -> &Arc<Runners> {
        &self.runners
    }

    pub(super) fn start(&self, key: Key, work: Work, rows: Option<&Rows>) -> Arc<Job> {
        let held = rows.map(|rows| rows.each_ref().map(|row| row.as_deref().map(Row::hold)));
        let fresh = Job {
            state: AtomicU8::new(QUEUED),
            can_be_left: work.throw_away.is_some(),
            thread: Mutex::new(None),
            files: Mutex::new(held.unwrap_or_default()),
        };
        let job = self.made_of_a_spare(fresh);
        self.runners.post(Posted {
            job: job.clone(),
            key,
            work,
        });
        job
    }

    fn made_of_a_spare(&self, fresh: Job) -> Arc<Job> {
        let mut spare = self.spare.borrow_mut();
        let free = spare
            .iter_mut()
            .rposition(|job| Arc::get_mut(job).is_some());
        let Some(mut job) = free.map(|at| spare.swap_remove(at)) else {
            return Arc::new(fresh);
        };
        match Arc::get_mut(&mut job) {
            Some(place) => *place = fresh,
            None => job = Arc::new(fresh),
        }
        job
    }

    /// A request has ended that was `job`.
    pub(super) fn is_over(&self, job: &Arc<Job>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE {
            spare.push(job.clone());
        }
    }

    /// Sees to it that the worker of a job that was given up comes back.
    pub(super) fn leave(&mut self, job: Arc<Job>) {
        listen();
        self.left.push(job);
        self.interrupt_left();
    }

    /// Whether there are any still at what was given up.
    pub(super) fn interrupt_left(&mut self) -> bool {
        self.left.retain(|job| job.interrupt());
        !self.left.is_empty()
    }
}

impl Drop for Workers {
    /// Whoever has not come back by now is called a few times more: nobody will do it later.
    fn drop(&mut self) {
        for _ in 0..1000 {
            if !self.interrupt_left() {
                return;
            }
            std::thread::yield_now();
        }
    }
}

/// Does a job, is `free`, and reports it. Before the report is read nobody but its ring has the job.
pub(super) fn carry_out(mail: &Mail, posted: Posted, free: impl FnOnce()) {
    let Posted { job, key, work } = posted;
    // SAFETY: touches no memory.
    *job.thread() = Some(unsafe { libc::gettid() });
    if !job.moves(QUEUED, RUNNING) {
        *job.thread() = None;
        return free();
    }
    let result = match work.run {
        Run::Plain(run, words) => run(words),
        Run::Boxed(run) => run(&job),
    };
    job.let_go();
    let is_awaited = job.moves(RUNNING, DONE);
    *job.thread() = None;
    drop(job);
    if is_awaited {
        free();
        return mail.post(Post::Done(key, result));
    }
    if let Some(throw_away) = work.throw_away {
        throw_away(result);
    }
    free();
}

extern "C" fn nothing(_signal: libc::c_int) {}

/// Makes `SIGURG` interrupt calls, unless the program handles it.
fn listen() {
    static LISTENING: Once = Once::new();
    // SAFETY: the structures outlive the calls; the handler does nothing, which is safe at any time.
    LISTENING.call_once(|| unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGURG, std::ptr::null(), &raw mut old);
        if matches!(old.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN) {
            let mut new: libc::sigaction = std::mem::zeroed();
            new.sa_sigaction = nothing as *const () as libc::sighandler_t;
            libc::sigaction(libc::SIGURG, &raw const new, std::ptr::null_mut());
        }
    });
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::{AsFd, AsRawFd};
    use std::path::PathBuf;
    use std::sync::mpsc;

    use io_uring::opcode;
    use rustix::event::epoll;

    use super::super::entry::Entry;
    use super::super::requests::Requests;
    use super::*;

    /// A file that has no name, but what is told of its descriptor.
    fn file() -> (File, PathBuf, PathBuf) {
        let file = tempfile::tempfile().unwrap();
        let at = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let told = at.read_link().unwrap();
        (file, at, told)
    }

    #[test]
    fn a_worker_keeps_the_files_of_rows_until_it_is_done_whatever_becomes_of_the_ring() {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let messages = Messages::new(set.as_fd()).unwrap();
        let workers = Workers::new(&messages);
        let entry = Entry::of(&opcode::Nop::new().build(), 0);
        let key = Requests::default().insert(entry, 0);
        let (file, at, told) = file();
        let is_open = move || at.read_link().is_ok_and(|now| now == told);
        let looks = is_open.clone();
        let rows = [None, Some(Row::new(file.into()))];
        let (go_on, waits) = mpsc::channel::<()>();
        let (ended, ends) = mpsc::channel();
        let work = Work::new(move || {
            waits.recv().unwrap();
            ended.send(looks()).unwrap();
            0
        });
        let job = workers.start(key, work, Some(&rows));
        drop((rows, workers, messages, set));
        assert!(is_open());
        go_on.send(()).unwrap();
        assert!(ends.recv().unwrap());
        // The thread lets go of them when it has done with the work, and then of the job.
        while Arc::strong_count(&job) > 1 {
            std::thread::yield_now();
        }
        assert!(!is_open());
    }

    #[test]
    fn a_job_that_is_given_up_before_it_began_lets_go_of_its_files() {
        let (file, at, told) = file();
        let job = Job {
            state: AtomicU8::new(QUEUED),
            can_be_left: false,
            thread: Mutex::new(None),
            files: Mutex::new([Some(Arc::new(file.into())), None]),
        };
        assert_eq!(job.give_up(), GivenUp::Unbegun);
        assert_ne!(at.read_link().ok(), Some(told));
        assert_eq!(job.give_up(), GivenUp::No);
    }
}
