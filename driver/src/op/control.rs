//! Control data (`cmsg(3)`): what a message carries beside its bytes. Not an operation, but what
//! [`SendMsg`](super::SendMsg) hands to the kernel and [`RecvMsg`](super::RecvMsg) gets from it.
//!
//! A [`Control`] owns the descriptors in it, whichever way they go: those it still holds when it is dropped are
//! closed. So none leaks, wherever an operation, its result or a kept message is dropped.

mod layout;

use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use libc::{SCM_CREDENTIALS, SCM_RIGHTS, SOL_SOCKET};

use self::layout::{FD, HEADER, Place, align};
use super::Credentials;

/// A descriptor of the sender's process (Linux 6.5).
const SCM_PIDFD: i32 = 4;

/// Control data up to this many words lives in the operation itself; more is allocated.
const INLINE: usize = 8;

/// What stands in the place of a descriptor that was taken out.
const TAKEN: RawFd = -1;

/// Control data (`cmsg(3)`), and the descriptors in it.
///
/// To send, put it together by the `with_` methods. What was received is read by [`take_fds`](Control::take_fds),
/// [`credentials`](Control::credentials) and [`messages`](Control::messages). Descriptors that are still in it when it
/// is dropped are closed. Up to 64 bytes need no memory of their own.
///
/// # Examples
///
/// ```
/// use annulet_driver::op::Control;
///
/// let mut control = Control::new().with_fd(std::fs::File::open("/dev/null")?);
/// assert_eq!(control.fds().count(), 1);
/// let file = control.take_fds().next().expect("it is still there");
/// # drop(file);
/// # std::io::Result::Ok(())
/// ```
#[derive(Default)]
pub struct Control {
    inline: [u64; INLINE],
    more: Vec<u64>,
    /// Bytes in use.
    len: usize,
    refused: bool,
}

/// One message of control data, without descriptors; from [`Control::messages`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlMessage<'a> {
    /// The protocol it belongs to: `IPPROTO_UDP` for instance.
    pub level: i32,
    /// What it is there: `UDP_GRO` for instance.
    pub kind: i32,
    /// Its data, at no particular alignment.
    pub data: &'a [u8],
}

/// Whether a message of this kind is mere data: it names no descriptors and no memory (as those of `SOL_RDS` do).
fn is_plain(level: i32, kind: i32) -> bool {
    match level {
        SOL_SOCKET => !matches!(kind, SCM_RIGHTS | SCM_PIDFD),
        libc::IPPROTO_IP | libc::IPPROTO_IPV6 | libc::IPPROTO_TCP | libc::IPPROTO_UDP => true,
        libc::IPPROTO_SCTP | libc::SOL_TLS | libc::SOL_ALG => true,
        _ => false,
    }
}

impl Control {
    /// Empty.
    pub fn new() -> Control {
        Control::default()
    }

    /// How many bytes of room a message with `len` bytes of data takes: what
    /// [`RecvMsg::with_control`](super::RecvMsg::with_control) wants, added up over the messages expected.
    pub const fn room(len: usize) -> usize {
        HEADER + align(len)
    }

    /// How many bytes of room `count` descriptors take. At most 253 come with one message.
    pub const fn room_for_fds(count: usize) -> usize {
        Control::room(count * FD)
    }

    /// Adds a descriptor to pass (`SCM_RIGHTS`): the receiver gets one of its own for the same open file. At most
    /// 253 go with one message; a send of more fails with `InvalidInput`.
    #[must_use]
    pub fn with_fd(self, fd: impl Into<OwnedFd>) -> Control {
        self.with_fds([fd.into()])
    }

    /// As [`with_fd`](Control::with_fd), for several.
    #[must_use]
    pub fn with_fds(mut self, fds: impl IntoIterator<Item = OwnedFd>) -> Control {
        let fds: Vec<OwnedFd> = fds.into_iter().collect();
        self.put_fds(SCM_RIGHTS, fds);
        self
    }

    /// Adds who sends (`SCM_CREDENTIALS`). The kernel checks it: only root may name other processes and users.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Credentials) -> Control {
        let Credentials { pid, uid, gid } = credentials;
        let data = [pid.to_ne_bytes(), uid.to_ne_bytes(), gid.to_ne_bytes()];
        self.put(SOL_SOCKET, SCM_CREDENTIALS, data.as_flattened());
        self
    }

    /// Adds any message: `IPPROTO_UDP`, `UDP_SEGMENT` and a size for instance.
    ///
    /// A send fails with `InvalidInput` if this names descriptors or memory, which only the methods that
    /// own them may, or if its level is none of the sockets', IP's, TCP's, UDP's, SCTP's, TLS's and `AF_ALG`'s.
    #[must_use]
    pub fn with_message(mut self, level: i32, kind: i32, data: &[u8]) -> Control {
        if is_plain(level, kind) {
            self.put(level, kind, data);
        } else {
            self.refused = true;
        }
        self
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The descriptors in it; they stay.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.numbers(SCM_RIGHTS).map(|at| borrow(self.number(at)))
    }

    /// Takes the descriptors out, in the order they were sent. Received ones are close-on-exec.
    pub fn take_fds(&mut self) -> impl Iterator<Item = OwnedFd> + '_ {
        std::iter::from_fn(|| self.take_first(SCM_RIGHTS))
    }

    /// Takes out the descriptor of the sender's process; it comes if the socket has `SO_PASSPIDFD` (Linux 6.5).
    pub fn take_pidfd(&mut self) -> Option<OwnedFd> {
        self.take_first(SCM_PIDFD)
    }

    /// Who sent the message, as the kernel vouches; it comes if the socket has `SO_PASSCRED`.
    pub fn credentials(&self) -> Option<Credentials> {
        let mut all = self.messages();
        let found = all.find(|m| (m.level, m.kind) == (SOL_SOCKET, SCM_CREDENTIALS))?;
        let ([pid, uid, gid, ..], _) = found.data.as_chunks() else {
            return None;
        };
        Some(Credentials {
            pid: i32::from_ne_bytes(*pid),
            uid: u32::from_ne_bytes(*uid),
            gid: u32::from_ne_bytes(*gid),
        })
    }

    /// All messages but those that hold descriptors.
    pub fn messages(&self) -> impl Iterator<Item = ControlMessage<'_>> {
        let plain = self.places().filter(|place| !place.holds_fds());
        plain.map(|place| ControlMessage {
            level: place.level,
            kind: place.kind,
            data: &self.bytes()[place.data],
        })
    }

    // --- for the operations ---------------------------------------------------------------------

    /// Empty, with that much room to receive into.
    pub(super) fn with_room(room: usize) -> Control {
        let mut control = Control::new();
        control.grow(room);
        control
    }

    /// Refuses what must not be sent.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.refused {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "this kind of control data cannot be sent as plain bytes",
            ));
        }
        Ok(())
    }

    /// Its memory and how much of that is in use. It must not move while the kernel has it.
    pub(super) fn raw_parts(&mut self) -> (*mut libc::c_void, usize) {
        (self.words_mut().as_mut_ptr().cast(), self.len)
    }

    /// The kernel has put so many bytes into the room. Descriptors among them are ours from here on.
    pub(super) fn filled(&mut self, len: usize) {
        self.len = len.min(size_of_val(self.words_mut()));
    }

    /// What of it fits into `room` bytes, cut as the kernel does; `false`: not all did. Descriptors that do not
    /// fit are closed.
    pub(super) fn cut_to(mut self, room: usize) -> (Control, bool) {
        if self.len <= room {
            return (self, true);
        }
        let (mut cut, mut whole) = (Control::with_room(room), true);
        let places: Vec<Place> = self.places().collect();
        for place in places {
            let left = room.saturating_sub(cut.len + HEADER);
            // The kernel does not insist on room for the padding, nor do we.
            if place.data.len() <= left && !place.holds_fds() {
                cut.put(place.level, place.kind, &self.bytes()[place.data]);
                continue;
            }
            whole &= place.data.len() <= left;
            let numbers = place.numbers().take(left / FD);
            if place.holds_fds() {
                let fds: Vec<OwnedFd> = numbers.filter_map(|at| self.take_at(at)).collect();
                cut.put_fds(place.kind, fds);
            }
        }
        (cut, whole)
    }

    /// The same with descriptors of its own, as a peek brings it; `false`: not all of them could be had.
    pub(super) fn duplicate(&self) -> (Control, bool) {
        let mut copy = Control::with_room(self.len);
        copy.len = self.len;
        let fds = self.places().filter(Place::holds_fds);
        let numbers: Vec<usize> = fds.flat_map(|place| place.numbers()).collect();
        copy.bytes_mut().copy_from_slice(self.bytes());
        let mut whole = true;
        for &at in &numbers {
            copy.set_number(at, TAKEN);
        }
        for at in numbers {
            let number = self.number(at);
            if number == TAKEN {
                continue;
            }
            match borrow(number).try_clone_to_owned() {
                Ok(own) => copy.set_number(at, own.into_raw_fd()),
                Err(_) => whole = false,
            }
        }
        (copy, whole)
    }

    // --- descriptors ----------------------------------------------------------------------------

    /// Where the descriptors of one kind are that nobody has taken.
    fn numbers(&self, kind: i32) -> impl Iterator<Item = usize> + '_ {
        self.places()
            .filter(move |place| place.holds_fds() && place.kind == kind)
            .flat_map(|place| place.numbers())
            .filter(|at| self.number(*at) != TAKEN)
    }

    fn number(&self, at: usize) -> RawFd {
        self.int(at)
    }

    fn set_number(&mut self, at: usize, number: RawFd) {
        self.bytes_mut()[at..at + FD].copy_from_slice(&number.to_ne_bytes());
    }

    fn put_fds(&mut self, kind: i32, fds: Vec<OwnedFd>) {
        if fds.is_empty() {
            return;
        }
        let start = self.put(SOL_SOCKET, kind, &vec![0xFF; fds.len() * FD]);
        for (at, fd) in fds.into_iter().enumerate() {
            self.set_number(start + at * FD, fd.into_raw_fd());
        }
    }

    fn take_at(&mut self, at: usize) -> Option<OwnedFd> {
        let number = self.number(at);
        self.set_number(at, TAKEN);
        // SAFETY: a number in the place of a descriptor was put there by `put_fds`, or by the kernel for us; it is
        // ours alone, and gone from there now.
        (number != TAKEN).then(|| unsafe { OwnedFd::from_raw_fd(number) })
    }

    fn take_first(&mut self, kind: i32) -> Option<OwnedFd> {
        let at = self.numbers(kind).next()?;
        self.take_at(at)
    }
}

/// A descriptor that is in control data.
fn borrow<'a>(number: RawFd) -> BorrowedFd<'a> {
    // SAFETY: the callers borrow the `Control` that owns it for as long.
    unsafe { BorrowedFd::borrow_raw(number) }
}

impl Drop for Control {
    fn drop(&mut self) {
        while let Some(fd) = self.take_first(SCM_RIGHTS).or_else(|| self.take_pidfd()) {
            drop(fd);
        }
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("fds", &self.fds().collect::<Vec<_>>())
            .field("messages", &self.messages().collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::layout::LEVEL_AT;
    use super::*;

    fn null() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    fn message(control: &Control, at: usize) -> (i32, i32, Vec<u8>) {
        let message = control.messages().nth(at).unwrap();
        (message.level, message.kind, message.data.to_vec())
    }

    #[test]
    fn messages_come_out_as_they_were_put_in_whether_they_fit_inline_or_not() {
        for count in [1, 2, 3, 40] {
            let mut control = Control::new();
            for at in 0..count {
                control = control.with_message(libc::IPPROTO_UDP, at, &vec![7; at as usize]);
            }
            assert_eq!(control.more.is_empty(), count <= 3);
            assert_eq!(control.messages().count(), count as usize);
            for at in 0..count {
                let expected = (libc::IPPROTO_UDP, at, vec![7; at as usize]);
                assert_eq!(message(&control, at as usize), expected);
            }
            assert!(control.check().is_ok());
        }
    }

    #[test]
    fn descriptors_are_taken_once_in_order_and_the_rest_stays_owned() {
        let fds: Vec<OwnedFd> = (0..5).map(|_| null()).collect();
        let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let mut control = Control::new().with_fds(fds).with_fd(null());
        let taken: Vec<OwnedFd> = control.take_fds().take(3).collect();
        let taken: Vec<RawFd> = taken.iter().map(AsRawFd::as_raw_fd).collect();
        assert_eq!(taken, numbers[..3]);
        let left: Vec<RawFd> = control.fds().map(|fd| fd.as_raw_fd()).collect();
        assert_eq!(left[..2], numbers[3..]);
        assert_eq!(left.len(), 3);
    }

    #[test]
    fn what_names_descriptors_or_memory_is_refused_as_plain_bytes() {
        const SOL_RDS: i32 = 276;
        for (level, kind) in [
            (SOL_SOCKET, SCM_RIGHTS),
            (SOL_SOCKET, SCM_PIDFD),
            (SOL_RDS, 1),
        ] {
            let control = Control::new().with_message(level, kind, &3i32.to_ne_bytes());
            let error = control.check().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(control.is_empty());
        }
    }

    #[test]
    fn a_cut_keeps_what_fits_and_tells() {
        let control = || {
            let control = Control::new().with_fds((0..3).map(|_| null()));
            control.with_message(SOL_SOCKET, 99, b"1234")
        };
        let (cut, whole) = control().cut_to(200);
        assert!(whole && cut.fds().count() == 3 && cut.messages().count() == 1);
        let (cut, whole) = control().cut_to(Control::room_for_fds(2));
        assert!(!whole && cut.fds().count() == 2 && cut.messages().count() == 0);
        let (cut, whole) = control().cut_to(HEADER);
        assert!(!whole && cut.is_empty());
        let (cut, whole) = control().cut_to(0);
        assert!(!whole && cut.is_empty());
    }

    #[test]
    fn a_duplicate_has_descriptors_of_its_own() {
        let mut control = Control::new().with_fds([null(), null()]);
        control.take_fds().next();
        let (copy, whole) = control.duplicate();
        assert!(whole);
        let (one, two) = (control.fds().next().unwrap(), copy.fds().next().unwrap());
        assert_ne!(one.as_raw_fd(), two.as_raw_fd());
        assert_eq!(copy.fds().count(), 1);
    }

    #[test]
    fn what_is_no_whole_message_is_not_looked_into() {
        let mut control = Control::new().with_message(SOL_SOCKET, 99, b"1234");
        control.bytes_mut()[..LEVEL_AT].copy_from_slice(&usize::MAX.to_ne_bytes());
        assert_eq!(control.messages().count(), 0);
        control.bytes_mut()[..LEVEL_AT].copy_from_slice(&(HEADER - 1).to_ne_bytes());
        assert_eq!(control.messages().count(), 0);
        control.filled(usize::MAX);
        assert_eq!(control.bytes().len(), INLINE * 8);
    }
}
