//! `IORING_OP_ASYNC_CANCEL` and its kin: ending requests by their number, their descriptor, or all.

use std::os::fd::RawFd;

use io_uring::opcode;

use super::PollRing;
use super::carry::{self, is_open};
use super::entry::Entry;
use super::requests::{Key, State};
use super::workers::GivenUp;

const ALL: u32 = 1;
const FD: u32 = 2;
const ANY: u32 = 4;
/// The descriptor is a row of the table of files.
const FD_FIXED: u32 = 1 << 3;
const USERDATA: u32 = 1 << 4;
const OP: u32 = 1 << 5;
const KNOWN: u32 = ALL | FD | ANY | FD_FIXED | USERDATA | OP;

/// Whether a cancel asks for what there is.
pub(super) fn prepare(entry: &Entry) -> Result<(), i32> {
    let flags = entry.op_flags;
    if flags & !KNOWN != 0 || (flags & ANY != 0 && flags & (FD | OP) != 0) {
        return Err(-libc::EINVAL);
    }
    Ok(())
}

/// `F_DUPFD_QUERY`, Linux 6.10.
const F_DUPFD_QUERY: i32 = 1027;
/// Of `kcmp(2)`.
const KCMP_FILE: i32 = 0;

/// Whether two descriptors are of one open file; on old kernels, and where it cannot be asked, whether they are one.
fn same_file(one: RawFd, other: RawFd) -> bool {
    one == other
        || asked_by_query(one, other)
            .or_else(|| asked_by_kcmp(one, other))
            .unwrap_or(false)
}

/// `None`: it cannot be asked.
fn asked_by_query(one: RawFd, other: RawFd) -> Option<bool> {
    // SAFETY: touches no memory.
    match unsafe { libc::fcntl(one, F_DUPFD_QUERY, other) } {
        answer @ 0.. => Some(answer == 1),
        _ => None,
    }
}

fn asked_by_kcmp(one: RawFd, other: RawFd) -> Option<bool> {
    // SAFETY: touches no memory.
    let order = unsafe {
        let own = libc::getpid();
        libc::syscall(libc::SYS_kcmp, own, own, KCMP_FILE, one, other)
    };
    (order >= 0).then_some(order == 0)
}

/// A bit for those kinds of requests that the kernel looks for together, and ends together: all of a kind are one to it.
fn kind(entry: &Entry) -> u8 {
    match entry.opcode {
        opcode::FutexWait::CODE => 1,
        opcode::WaitId::CODE => 2,
        _ => 0,
    }
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
        let file = match self.file_of(entry) {
            Ok(file) => file,
            Err(errno) => return errno,
        };
        let many = flags & (ALL | ANY) != 0;
        let (mut count, mut together) = (0, 0);
        for key in self.requests.keys() {
            if key == own || !self.matches(key, entry, file) {
                continue;
            }
            let kind = self.requests.find(key).map_or(0, |it| kind(&it.entry));
            let answer = self.cancel_one(key);
            if !many && answer != -libc::ENOENT {
                return answer;
            }
            // Those that will end by themselves count, too. Those that are ended together count as one.
            if answer != -libc::ENOENT {
                count += i32::from(together & kind == 0);
                together |= kind;
            }
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

    /// The descriptor whose requests are meant, if that is what is said.
    fn file_of(&self, entry: &Entry) -> Result<Option<RawFd>, i32> {
        let flags = entry.op_flags;
        match flags & FD != 0 {
            true if flags & FD_FIXED != 0 || entry.is_fixed() => {
                self.files.number(entry.fd).map(Some)
            }
            true if !is_open(entry.fd) => Err(-libc::EBADF),
            is_meant => Ok(is_meant.then_some(entry.fd)),
        }
    }

    fn matches(&mut self, key: Key, wanted: &Entry, file: Option<RawFd>) -> bool {
        let Some(request) = self.requests.find(key) else {
            return false;
        };
        let (entry, flags) = (&request.entry, wanted.op_flags);
        if flags & ANY != 0 {
            return true;
        }
        let by_number = flags & USERDATA != 0 || flags & (FD | OP) == 0;
        let of_file = |file| {
            let begun = !matches!(request.state, State::Linked | State::Limiting(..));
            begun && carry::works_on_fd(entry) && same_file(entry.fd, file)
        };
        file.is_none_or(of_file)
            && (flags & OP == 0 || u32::from(entry.opcode) == wanted.len)
            && (!by_number || entry.user_data == wanted.addr)
    }

    /// 0 if it was ended, or as with the kernel how many [of one kind](kind) were; `ENOENT` if it has not begun or is gone,
    /// `EALREADY` if it runs and will end by itself.
    pub(super) fn cancel_one(&mut self, key: Key) -> i32 {
        let Some(request) = self.requests.find(key) else {
            return -libc::ENOENT;
        };
        // Who wanted all and has a part answers with the part.
        let part = i32::try_from(request.progress.done).unwrap_or(i32::MAX);
        let result = if part > 0 { part } else { -libc::ECANCELED };
        let job = match &mut request.state {
            State::Linked | State::Starting | State::Limiting(..) => return -libc::ENOENT,
            // Its thread tells how it ended.
            State::AtWord(at) => return if at.cancel() { 1 } else { -libc::ENOENT },
            State::Waiting(_) | State::Watching(_) | State::Sleeping(_) => None,
            State::Working(job) => Some(job.clone()),
        };
        let Some(job) = job else {
            let ended = i32::from(kind(&request.entry) != 0);
            self.finish(key, result);
            return ended;
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

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::{asked_by_kcmp, asked_by_query, same_file};

    #[test]
    fn copies_are_of_one_file_however_it_is_asked() {
        let open = || std::fs::File::open("/dev/null").unwrap();
        let (one, another) = (open(), open());
        let copy = one.try_clone().unwrap();
        let (one, copy, another) = (one.as_raw_fd(), copy.as_raw_fd(), another.as_raw_fd());
        let asked = [asked_by_query(one, copy), asked_by_kcmp(one, copy)];
        assert!(!asked.contains(&Some(false)), "{asked:?}");
        let asked = [asked_by_query(one, another), asked_by_kcmp(one, another)];
        assert!(!asked.contains(&Some(true)), "{asked:?}");
        let known = asked.iter().any(Option::is_some);
        let same = [copy, another].map(|other| same_file(one, other));
        assert_eq!(same, [known, false]);
        assert!(same_file(one, one));
    }
}
