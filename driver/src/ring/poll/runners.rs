//! Who does a ring's jobs: tasks of the [`blocking`] pool that stay for the next, so that a job takes no memory.
//!
//! A job is queued, and then there has to be somebody for it: if no more are queued than *runners* wait for one, a runner is
//! woken; otherwise the pool is given one more, which begins when it has a thread left. So the queue is never longer than
//! those who wait and those who are to begin, together: nobody who ends has to look after those who stay.
//!
//! A runner that has waited for [`IDLE`] ends, also if the ring is gone, and one that was at it for [`TURN`] lets
//! others who use the pool have the thread first, should there be too few.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::messages::Mail;
use super::requests::Key;
use super::workers::{Job, Work, carry_out};

/// So long a runner waits for the next job.
const IDLE: Duration = Duration::from_millis(100);
/// So long it goes on without giving way.
const TURN: Duration = Duration::from_secs(1);

/// A job that somebody is to do.
pub(super) struct Posted {
    pub(super) job: Arc<Job>,
    pub(super) key: Key,
    pub(super) work: Work,
}

/// What a ring's runners share.
pub(super) struct Runners {
    mail: Arc<Mail>,
    queue: Mutex<Queue>,
    posted: Condvar,
}

#[derive(Default)]
struct Queue {
    posted: VecDeque<Posted>,
    /// Runners that wait, or are about to.
    idle: usize,
}

impl Runners {
    pub(super) fn new(mail: Arc<Mail>) -> Arc<Runners> {
        Arc::new(Runners {
            mail,
            queue: Mutex::default(),
            posted: Condvar::new(),
        })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing that panics runs under it.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn post(self: &Arc<Runners>, posted: Posted) {
        let mut queue = self.queue();
        queue.posted.push_back(posted);
        let enough = queue.posted.len() <= queue.idle;
        drop(queue);
        if enough {
            self.posted.notify_one();
        } else {
            self.begin();
        }
    }

    fn begin(self: &Arc<Runners>) {
        let own = self.clone();
        blocking::unblock(move || own.run()).detach();
    }

    /// What a runner does.
    fn run(self: &Arc<Runners>) {
        let began = Instant::now();
        self.is_idle();
        while let Some(posted) = self.next() {
            // Whoever hears of it may have the next job at once: it is for this runner.
            carry_out(&self.mail, posted, || self.is_idle());
            if began.elapsed() >= TURN {
                self.queue().idle -= 1;
                return self.begin();
            }
        }
    }

    /// A runner is about to ask for a job.
    fn is_idle(&self) {
        self.queue().idle += 1;
    }

    /// The next job, unless there is none for long. Whoever asked is idle no more.
    fn next(&self) -> Option<Posted> {
        let mut queue = self.queue();
        if queue.posted.is_empty() {
            let nothing = |queue: &mut Queue| queue.posted.is_empty();
            let waited = self.posted.wait_timeout_while(queue, IDLE, nothing);
            (queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        queue.idle -= 1;
        queue.posted.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, OwnedFd};
    use std::sync::{Barrier, mpsc};
    use std::thread;

    use io_uring::opcode;
    use rustix::event::epoll;

    use super::super::entry::Entry;
    use super::super::messages::Messages;
    use super::super::requests::Requests;
    use super::super::workers::Workers;
    use super::*;

    const MANY: usize = 16;

    struct World {
        set: OwnedFd,
        messages: Messages,
        workers: Workers,
        key: Key,
    }

    fn world() -> World {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let messages = Messages::new(set.as_fd()).unwrap();
        World {
            workers: Workers::new(&messages),
            messages,
            set,
            key: Requests::default().insert(Entry::of(&opcode::Nop::new().build(), 0), 0),
        }
    }

    #[test]
    fn jobs_that_wait_for_one_another_are_done_at_the_same_time() {
        let world = world();
        let (done, ends) = mpsc::channel();
        // Some find a runner that waits, some do not.
        for count in [1, 2, MANY, 3, 1, MANY] {
            let together = Arc::new(Barrier::new(count));
            for _ in 0..count {
                let (together, done) = (together.clone(), done.clone());
                let work = Work::new(move || {
                    together.wait();
                    done.send(()).unwrap();
                    0
                });
                world.workers.start(world.key, work, None);
            }
            (0..count).for_each(|_| ends.recv().unwrap());
        }
    }

    #[test]
    fn runners_that_wait_end_with_their_ring() {
        let World {
            set,
            messages,
            workers,
            key,
        } = world();
        let runners = workers.runners().clone();
        let (done, ends) = mpsc::channel();
        for _ in 0..MANY {
            let done = done.clone();
            let work = Work::new(move || {
                done.send(()).unwrap();
                0
            });
            workers.start(key, work, None);
        }
        (0..MANY).for_each(|_| ends.recv().unwrap());
        drop((workers, messages, set));
        while Arc::strong_count(&runners) > 1 {
            thread::yield_now();
        }
        assert_eq!(runners.queue().idle, 0);
    }
}
