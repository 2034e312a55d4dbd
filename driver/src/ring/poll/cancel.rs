//! `IORING_OP_ASYNC_CANCEL` and its kin: ending requests by their number, their descriptor, or all.

use super::PollRing;
use super::carry;
use super::entry::Entry;
use super::requests::{Key, State};
use super::workers::GivenUp;

const ALL: u32 = 1;
const FD: u32 = 2;
const ANY: u32 = 4;
const USERDATA: u32 = 1 << 4;
const OP: u32 = 1 << 5;
const KNOWN: u32 = ALL | FD | ANY | USERDATA | OP;

/// Whether a cancel asks for what there is.
pub(super) fn prepare(entry: &Entry) -> Result<(), i32> {
    let flags = entry.op_flags;
    if flags & !KNOWN != 0 || (flags & ANY != 0 && flags & (FD | OP) != 0) {
        return Err(-libc::EINVAL);
    }
    Ok(())
}

fn is_open(fd: i32) -> bool {
    // SAFETY: touches no memory.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

impl PollRing {
    /// What the cancel `entry` (the request `own`) answers.
    pub(super) fn cancel_by(&mut self, own: Key, entry: &Entry) -> i32 {
        // A time that was over before was first.
        self.fire();
        let flags = entry.op_flags;
        if flags & (ALL | FD | ANY | OP) == 0 {
            return self.cancel_number(own, entry.addr);
        }
        if flags & FD != 0 && !is_open(entry.fd) {
            return -libc::EBADF;
        }
        let many = flags & (ALL | ANY) != 0;
        let mut count = 0;
        for key in self.requests.keys() {
            if key == own || !self.matches(key, entry) {
                continue;
            }
            let answer = self.cancel_one(key);
            if !many && answer != -libc::ENOENT {
                return answer;
            }
            // Those that will end by themselves count, too.
            count += i32::from(answer != -libc::ENOENT);
        }
        if many { count } else { -libc::ENOENT }
    }

    /// Of those with the same number the last that can be.
    fn cancel_number(&mut self, own: Key, number: u64) -> i32 {
        let mut next = self.requests.with_number(number);
        while let Some(key) = next {
            next = self.requests.namesake(key);
            if key == own {
                continue;
            }
            let answer = self.cancel_one(key);
            if answer != -libc::ENOENT {
                return answer;
            }
        }
        -libc::ENOENT
    }

    fn matches(&mut self, key: Key, wanted: &Entry) -> bool {
        let Some(request) = self.requests.find(key) else {
            return false;
        };
        let (entry, flags) = (&request.entry, wanted.op_flags);
        if flags & ANY != 0 {
            return true;
        }
        let by_number = flags & USERDATA != 0 || flags & (FD | OP) == 0;
        (flags & FD == 0 || (entry.fd == wanted.fd && carry::works_on_fd(entry)))
            && (flags & OP == 0 || u32::from(entry.opcode) == wanted.len)
            && (!by_number || entry.user_data == wanted.addr)
    }

    /// 0 if it was ended, `ENOENT` if it has not begun or is gone, `EALREADY` if it runs and will end by itself.
    pub(super) fn cancel_one(&mut self, key: Key) -> i32 {
        let Some(request) = self.requests.find(key) else {
            return -libc::ENOENT;
        };
        // Who wanted all and has a part answers with the part.
        let part = i32::try_from(request.done).unwrap_or(i32::MAX);
        let result = if part > 0 { part } else { -libc::ECANCELED };
        let job = match &mut request.state {
            State::Linked | State::Starting | State::Limiting(..) => return -libc::ENOENT,
            // Its thread tells how it ended.
            State::AtWord(at) => return if at.cancel() { 0 } else { -libc::EALREADY },
            State::Waiting(_) | State::Watching(_) | State::Sleeping(_) => None,
            State::Working(job) => Some(job.clone()),
        };
        let Some(job) = job else {
            self.finish(key, result);
            return 0;
        };
        match job.give_up() {
            GivenUp::Unbegun => {
                self.finish(key, result);
                0
            }
            GivenUp::Running => {
                self.workers.leave(job);
                self.finish(key, -libc::EINTR);
                -libc::EALREADY
            }
            GivenUp::No => -libc::EALREADY,
        }
    }
}
