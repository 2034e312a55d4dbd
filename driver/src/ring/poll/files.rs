//! The table of files (`IORING_REGISTER_FILES2`), so that entries name a row (`IOSQE_FIXED_FILE`), and what opens, accepts
//! or makes a socket puts it into one, and gives no number to it (`file_index`).
//!
//! A row has a descriptor of its own: a duplicate of the one it was filled with, so that it holds the file open
//! whoever closes the number, as the kernel's row does. A request that names a row has that descriptor from its start to its
//! end, whatever becomes of the row; so has a worker that does its work.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;

use io_uring::opcode as op;

use super::PollRing;
use super::carry::{Kind, accepts_many, answer, kind, names_row_in, works_on_fd};
use super::entry::Entry;
use super::requests::Request;

/// As many rows as a table may have.
const MOST: u32 = 1 << 20;
/// "Any row that is free."
const ANY: u32 = u32::MAX;

/// A file in a row, or one that was there when a request began.
#[derive(Debug)]
pub(super) struct Row {
    fd: Arc<OwnedFd>,
    /// What it is, once somebody asked.
    kind: Cell<Option<Kind>>,
}

impl Row {
    pub(super) fn new(fd: OwnedFd) -> Rc<Row> {
        Rc::new(Row {
            fd: Arc::new(fd),
            kind: Cell::new(None),
        })
    }

    pub(super) fn kind(&self) -> Result<Kind, i32> {
        if let Some(kind) = self.kind.get() {
            return Ok(kind);
        }
        let kind = kind(self.fd.as_raw_fd())?;
        self.kind.set(Some(kind));
        Ok(kind)
    }

    /// Keeps the number as it is, for as long as it is held.
    pub(super) fn hold(&self) -> Arc<OwnedFd> {
        self.fd.clone()
    }
}

/// The rows that a request has named.
pub(super) type Rows = [Option<Rc<Row>>; 2];

/// The table, if there is one.
#[derive(Debug, Default)]
pub(super) struct Files {
    rows: Option<Vec<Option<Rc<Row>>>>,
    /// Where a free row is looked for first, as the kernel has it: behind the last that was filled, or at the last that
    /// was emptied.
    hint: usize,
}

impl Files {
    /// # Errors
    ///
    /// `EBADF`: there is nothing in that row, or no such row.
    fn find(&self, row: i32) -> Result<&Rc<Row>, i32> {
        let rows = self.rows.as_deref().unwrap_or_default();
        let row = usize::try_from(row).ok().and_then(|row| rows.get(row));
        row.and_then(Option::as_ref).ok_or(-libc::EBADF)
    }

    /// The number of the file in a row.
    pub(super) fn number(&self, row: i32) -> Result<RawFd, i32> {
        self.find(row).map(|row| row.fd.as_raw_fd())
    }

    /// Has a request that is about to start name its files by their numbers, which are theirs until it ends.
    pub(super) fn resolve(&self, request: &mut Request) -> Result<(), i32> {
        let entry = &mut request.entry;
        if entry.is_fixed() && works_on_fd(entry) {
            let row = self.find(entry.fd)?;
            entry.fd = row.fd.as_raw_fd();
            entry.is_resolved();
            request.rows[0] = Some(row.clone());
        }
        if names_row_in(entry) {
            let row = self.find(entry.splice_fd_in)?;
            entry.splice_fd_in = row.fd.as_raw_fd();
            entry.op_flags &= !super::carry::FD_IN_FIXED;
            request.rows[1] = Some(row.clone());
        }
        Ok(())
    }

    /// Puts a file into a row, or empties it, and returns what was there.
    fn fill(&mut self, row: usize, file: Option<OwnedFd>) -> Option<Rc<Row>> {
        let place = self.rows.as_mut()?.get_mut(row)?;
        let before = std::mem::replace(place, file.map(Row::new));
        match (&before, &*place) {
            (None, Some(_)) => self.hint = row + 1,
            (Some(_), None) => self.hint = row,
            _ => {}
        }
        before
    }

    fn len(&self) -> Option<usize> {
        self.rows.as_ref().map(Vec::len)
    }

    /// A free row.
    fn free(&self) -> Option<usize> {
        let rows = self.rows.as_deref()?;
        let behind = self.hint.min(rows.len());
        let free = |row: &usize| rows[*row].is_none();
        (behind..rows.len())
            .find(free)
            .or_else(|| (0..behind).find(free))
    }
}

/// Whether what an entry brings is to be put into a row.
pub(super) fn brings_into_row(entry: &Entry) -> bool {
    entry.splice_fd_in != 0
        && matches!(
            entry.opcode,
            op::OpenAt::CODE | op::OpenAt2::CODE | op::Socket::CODE | op::Accept::CODE
        )
}

/// What is put into a row has a number, but none that another program inherits.
pub(super) fn cloexec(entry: &Entry) -> i32 {
    const { assert!(libc::O_CLOEXEC == libc::SOCK_CLOEXEC) };
    if brings_into_row(entry) {
        libc::O_CLOEXEC
    } else {
        0
    }
}

/// What is wrong with an entry that names rows before it has begun.
pub(super) fn prepare(entry: &Entry) -> Result<(), i32> {
    if !entry.is_fixed() && entry.splice_fd_in == 0 {
        return Ok(());
    }
    let names_no_file = matches!(
        entry.opcode,
        op::OpenAt::CODE
            | op::OpenAt2::CODE
            | op::Close::CODE
            | op::Statx::CODE
            | op::RenameAt::CODE
            | op::UnlinkAt::CODE
            | op::MkDirAt::CODE
            | op::SymlinkAt::CODE
            | op::LinkAt::CODE
            | op::SetXattr::CODE
            | op::GetXattr::CODE
    );
    if entry.is_fixed() && names_no_file {
        return Err(-libc::EBADF);
    }
    if entry.opcode == op::Close::CODE && entry.splice_fd_in != 0 && entry.fd != 0 {
        return Err(-libc::EINVAL);
    }
    if !brings_into_row(entry) {
        return Ok(());
    }
    // Without a number there is nothing to inherit.
    let flags = match entry.opcode {
        op::Socket::CODE => entry.off,
        // SAFETY: the entry points at a structure that begins with the flags.
        op::OpenAt2::CODE => unsafe { entry.ptr2::<u64>().read() },
        _ => entry.op_flags.into(),
    };
    let one_row = entry.opcode == op::Accept::CODE && accepts_many(entry) && !into_any(entry);
    if flags & libc::O_CLOEXEC as u64 != 0 || one_row {
        return Err(-libc::EINVAL);
    }
    Ok(())
}

/// Whether that is any row that is free.
pub(super) fn into_any(entry: &Entry) -> bool {
    entry.splice_fd_in.cast_unsigned() == ANY
}

impl PollRing {
    /// Nobody names it by that any more: what is known of its number ends.
    pub(super) fn let_go(&mut self, row: Rc<Row>) -> Option<Arc<OwnedFd>> {
        let row = Rc::into_inner(row)?;
        self.watch.forget(row.fd.as_raw_fd());
        Some(row.fd)
    }

    pub(super) fn let_go_of(&mut self, rows: Rows) {
        for row in rows.into_iter().flatten() {
            self.let_go(row);
        }
    }

    /// What the completion of an entry that brought `fd` tells: its number; or it was put into a row, and 0, or, where any
    /// would do, which. If it cannot be put there it is closed.
    pub(super) fn bring(&mut self, entry: &Entry, fd: i32) -> i32 {
        if fd < 0 || !brings_into_row(entry) {
            return fd;
        }
        // SAFETY: it was made for the entry, and nobody else knows of it.
        let file = unsafe { OwnedFd::from_raw_fd(fd) };
        let row = if into_any(entry) {
            self.files.free().ok_or(-libc::ENFILE)
        } else {
            let row = entry.splice_fd_in.cast_unsigned() as usize - 1;
            match self.files.len() {
                None => Err(-libc::ENXIO),
                Some(len) if row >= len => Err(-libc::EINVAL),
                Some(_) => Ok(row),
            }
        };
        let row = match row {
            Ok(row) => row,
            Err(errno) => return errno,
        };
        if let Some(before) = self.files.fill(row, Some(file)) {
            self.let_go(before);
        }
        if into_any(entry) { row as i32 } else { 0 }
    }

    /// Empties a row. What was there is left to be closed, if nobody uses it.
    pub(super) fn empty_row(&mut self, row: usize) -> Result<Option<Arc<OwnedFd>>, i32> {
        match self.files.len() {
            None => return Err(-libc::ENXIO),
            Some(len) if row >= len => return Err(-libc::EINVAL),
            Some(_) => {}
        }
        let before = self.files.fill(row, None).ok_or(-libc::EBADF)?;
        Ok(self.let_go(before))
    }

    pub(super) fn make_file_table(&mut self, rows: u32) -> io::Result<()> {
        let errno = |errno| Err(io::Error::from_raw_os_error(errno));
        match rows {
            0 => errno(libc::EINVAL),
            _ if self.files.rows.is_some() => errno(libc::EBUSY),
            _ if rows > MOST || u64::from(rows) > descriptors() => errno(libc::EMFILE),
            _ => {
                self.files.rows = Some(vec![None; rows as usize]);
                self.files.hint = 0;
                Ok(())
            }
        }
    }

    pub(super) fn update_files(&mut self, row: u32, fds: &[RawFd]) -> io::Result<usize> {
        let first = row as usize;
        let len = self.files.len().ok_or_else(|| no(libc::ENXIO))?;
        if fds.is_empty() || first.saturating_add(fds.len()) > len {
            return Err(no(libc::EINVAL));
        }
        for (at, fd) in fds.iter().enumerate().filter(|(_, fd)| **fd != SKIP) {
            // It goes whether another can come or not.
            if let Some(before) = self.files.fill(first + at, None) {
                self.let_go(before);
            }
            if *fd == -1 {
                continue;
            }
            // SAFETY: touches no memory; the new number is nobody else's.
            let own = match answer(unsafe { libc::fcntl(*fd, libc::F_DUPFD_CLOEXEC, 0) }.into()) {
                // SAFETY: as above.
                own @ 0.. => unsafe { OwnedFd::from_raw_fd(own) },
                errno if at == 0 => return Err(no(-errno)),
                _ => return Ok(at),
            };
            self.files.fill(first + at, Some(own));
        }
        Ok(fds.len())
    }

    pub(super) fn end_file_table(&mut self) -> io::Result<()> {
        let rows = self.files.rows.take().ok_or_else(|| no(libc::ENXIO))?;
        for row in rows.into_iter().flatten() {
            self.let_go(row);
        }
        Ok(())
    }
}

/// `IORING_REGISTER_FILES_SKIP`.
const SKIP: RawFd = -2;

fn no(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

/// As many as the process may have open.
fn descriptors() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_remembers_what_its_file_is() {
        let row = Row::new(tempfile::tempfile().unwrap().into());
        assert_eq!(row.kind(), Ok(Kind::File));
        let (other, _writer) = io::pipe().unwrap();
        let number = row.fd.as_raw_fd();
        // SAFETY: both numbers are open, and this test's.
        assert_eq!(unsafe { libc::dup2(other.as_raw_fd(), number) }, number);
        assert_eq!(
            (kind(number), row.kind()),
            (Ok(Kind::Other), Ok(Kind::File))
        );
    }
}
