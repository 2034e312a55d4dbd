//! What reaches a ring from other threads: its workers' reports, and messages of other rings (`MSG_RING`).

use std::collections::HashMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::event::{EventfdFlags, epoll, eventfd};

use super::PollRing;
use super::requests::Key;
use super::watch::MAIL;
use crate::ring::Completion;

/// One piece of news.
#[derive(Debug)]
pub(super) enum Post {
    /// A worker has done a request's work.
    Done(Key, i32),
    /// Another ring sends a completion.
    Message(Completion),
}

/// A mailbox. Others keep it for as long as they like; the ring that reads it may be gone by then.
#[derive(Debug)]
pub(super) struct Mail {
    inside: Mutex<Inside>,
}

#[derive(Debug)]
struct Inside {
    posts: Vec<Post>,
    /// Tells the ring of the first post; gone with the ring.
    poke: Option<OwnedFd>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is under these locks is whole whenever one is taken: no user code runs there.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mail {
    pub(super) fn post(&self, post: Post) {
        let mut inside = lock(&self.inside);
        let Some(poke) = &inside.poke else {
            return;
        };
        if inside.posts.is_empty() {
            // It can fail only by being full, and then the ring is told already.
            let _ = rustix::io::write(poke, &1u64.to_ne_bytes());
        }
        inside.posts.push(post);
    }
}

/// The mailboxes of this process's rings, by the number that stands for the ring.
fn rings() -> &'static Mutex<HashMap<RawFd, Arc<Mail>>> {
    static RINGS: OnceLock<Mutex<HashMap<RawFd, Arc<Mail>>>> = OnceLock::new();
    RINGS.get_or_init(Mutex::default)
}

/// A ring's own mailbox.
#[derive(Debug)]
pub(super) struct Messages {
    mail: Arc<Mail>,
    /// The numbers that stand for it.
    numbers: Vec<RawFd>,
    /// Emptied and kept for its room.
    taken: Vec<Post>,
}

impl Messages {
    /// Of the ring that `epoll` stands for.
    pub(super) fn new(epoll: BorrowedFd<'_>) -> io::Result<Messages> {
        let poke = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let data = epoll::EventData::new_u64(MAIL);
        epoll::add(epoll, &poke, data, epoll::EventFlags::IN)?;
        let inside = Inside {
            posts: Vec::new(),
            poke: Some(poke),
        };
        let mail = Arc::new(Mail {
            inside: Mutex::new(inside),
        });
        Ok(Messages {
            mail,
            numbers: Vec::new(),
            taken: Vec::new(),
        })
    }

    /// Makes a further descriptor stand for the ring.
    pub(super) fn known_as(&mut self, fd: RawFd) {
        lock(rings()).insert(fd, self.mail.clone());
        self.numbers.push(fd);
    }

    pub(super) fn mail(&self) -> &Arc<Mail> {
        &self.mail
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        // A worker that has reported may still hold the box: not the descriptor.
        drop(lock(&self.mail.inside).poke.take());
        let mut rings = lock(rings());
        for number in &self.numbers {
            if rings
                .get(number)
                .is_some_and(|mail| Arc::ptr_eq(mail, &self.mail))
            {
                rings.remove(number);
            }
        }
    }
}

/// Sends a completion to the ring that `ring` stands for.
pub(super) fn send(ring: RawFd, message: Completion) -> i32 {
    let mail = lock(rings()).get(&ring).cloned();
    match mail {
        Some(mail) => {
            mail.post(Post::Message(message));
            0
        }
        None => -libc::EBADFD,
    }
}

impl PollRing {
    pub(super) fn take_messages(&mut self) {
        if !self.watch.take_mailed() {
            return;
        }
        let mut posts = std::mem::take(&mut self.messages.taken);
        {
            let mut inside = lock(&self.messages.mail.inside);
            if let Some(poke) = &inside.poke {
                let _ = rustix::io::read(poke, &mut [0u8; 8]);
            }
            std::mem::swap(&mut posts, &mut inside.posts);
        }
        for post in posts.drain(..) {
            match post {
                Post::Done(key, result) => self.worked(key, result),
                Post::Message(message) => {
                    self.events += 1;
                    self.completions.push_back(message);
                }
            }
        }
        self.messages.taken = posts;
    }
}
