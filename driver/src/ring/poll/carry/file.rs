//! Files and names. Any of these may wait for a disk, so workers do them.

use std::ffi::{CStr, CString};

use io_uring::opcode as op;

use super::super::entry::Entry;
use super::super::files::cloexec;
use super::super::workers::{Job, Words, Work};
use super::{Outcome, answer, uninterrupted};

/// A system call whose pointers are the request's memory.
struct Call {
    number: libc::c_long,
    arguments: [u64; 6],
}

impl Call {
    fn new<const N: usize>(number: libc::c_long, given: [u64; N]) -> Call {
        let mut arguments = [0; 6];
        arguments[..N].copy_from_slice(&given);
        Call { number, arguments }
    }
}

fn run([number, a, b, c, d, e, f, _]: Words) -> i32 {
    // SAFETY: what the arguments point at is the request's until it completes, which is after this.
    uninterrupted(|| unsafe { libc::syscall(number.cast_signed(), a, b, c, d, e, f) })
}

/// A number as a register has it.
fn int(number: i32) -> u64 {
    i64::from(number).cast_unsigned()
}

pub(super) fn carry(entry: &Entry) -> Outcome {
    let e = entry;
    let (fd, len, flags) = (int(e.fd), u64::from(e.len), u64::from(e.op_flags));
    let call = match e.opcode {
        op::OpenAt::CODE => return open(e),
        op::OpenAt2::CODE => return open2(e),
        op::Statx::CODE => Call::new(libc::SYS_statx, [fd, e.addr, flags, len, e.off]),
        op::Fsync::CODE if e.op_flags & FSYNC_DATASYNC != 0 => Call::new(libc::SYS_fdatasync, [fd]),
        op::Fsync::CODE => Call::new(libc::SYS_fsync, [fd]),
        op::SyncFileRange::CODE => Call::new(libc::SYS_sync_file_range, [fd, e.off, len, flags]),
        op::Fallocate::CODE => Call::new(libc::SYS_fallocate, [fd, len, e.off, e.addr]),
        op::Fadvise::CODE => {
            let len = if e.addr == 0 { len } else { e.addr };
            Call::new(libc::SYS_fadvise64, [fd, e.off, len, flags])
        }
        op::Ftruncate::CODE => Call::new(libc::SYS_ftruncate, [fd, e.off]),
        op::UnlinkAt::CODE => Call::new(libc::SYS_unlinkat, [fd, e.addr, flags]),
        op::RenameAt::CODE => Call::new(libc::SYS_renameat2, [fd, e.addr, len, e.off, flags]),
        op::MkDirAt::CODE => Call::new(libc::SYS_mkdirat, [fd, e.addr, len]),
        op::SymlinkAt::CODE => Call::new(libc::SYS_symlinkat, [e.addr, fd, e.off]),
        op::LinkAt::CODE => Call::new(libc::SYS_linkat, [fd, e.addr, len, e.off, flags]),
        op::FGetXattr::CODE => Call::new(libc::SYS_fgetxattr, [fd, e.addr, e.off, len]),
        op::FSetXattr::CODE => Call::new(libc::SYS_fsetxattr, [fd, e.addr, e.off, len, flags]),
        op::GetXattr::CODE => Call::new(libc::SYS_getxattr, [e.addr3, e.addr, e.off, len]),
        op::SetXattr::CODE => Call::new(libc::SYS_setxattr, [e.addr3, e.addr, e.off, len, flags]),
        _ => return Outcome::Done(-libc::EINVAL),
    };
    let [a, b, c, d, e, f] = call.arguments;
    let words = [call.number.cast_unsigned(), a, b, c, d, e, f, 0];
    Outcome::Work(Work::plain(run, words))
}

/// Names that are none keep a chain from beginning: the kernel copies them when it takes an entry over.
pub(super) fn prepare_names(entry: &Entry) -> Result<(), i32> {
    let e = entry;
    let flags = e.op_flags.cast_signed();
    let or_itself = |flags: i32| flags & libc::AT_EMPTY_PATH != 0;
    let names = match e.opcode {
        op::OpenAt::CODE | op::OpenAt2::CODE | op::UnlinkAt::CODE | op::MkDirAt::CODE => {
            [Some(e.addr), None]
        }
        op::RenameAt::CODE | op::SymlinkAt::CODE => [Some(e.addr), Some(e.off)],
        op::LinkAt::CODE if or_itself(flags) => [None, Some(e.off)],
        op::LinkAt::CODE => [Some(e.addr), Some(e.off)],
        op::Statx::CODE if !or_itself(flags) => [Some(e.addr), None],
        op::GetXattr::CODE | op::SetXattr::CODE => [Some(e.addr3), None],
        _ => return Ok(()),
    };
    names.into_iter().flatten().try_for_each(prepare_name)
}

fn prepare_name(address: u64) -> Result<(), i32> {
    if address == 0 {
        return Err(-libc::EFAULT);
    }
    // SAFETY: the entry points at a string that ends with a NUL.
    match unsafe { libc::strnlen(address as *const libc::c_char, libc::PATH_MAX as usize) } {
        0 => Err(-libc::ENOENT),
        len if len < libc::PATH_MAX as usize => Ok(()),
        _ => Err(-libc::ENAMETOOLONG),
    }
}

/// Whether what fails is no failure to the kernel's chains: what it does with names, and to files as a whole, but for
/// opening them. What did not even begin is one.
pub(super) fn failure_goes_on(entry: &Entry, result: i32) -> bool {
    let begun = result != -libc::ECANCELED;
    match entry.opcode {
        op::UnlinkAt::CODE
        | op::RenameAt::CODE
        | op::MkDirAt::CODE
        | op::SymlinkAt::CODE
        | op::LinkAt::CODE
        | op::Statx::CODE
        | op::GetXattr::CODE
        | op::SetXattr::CODE => begun,
        op::FGetXattr::CODE
        | op::FSetXattr::CODE
        | op::Fsync::CODE
        | op::SyncFileRange::CODE
        | op::Fallocate::CODE
        | op::Ftruncate::CODE => begun && (result != -libc::EBADF || is_open(entry.fd)),
        op::Shutdown::CODE => begun && !matches!(-result, libc::EBADF | libc::ENOTSOCK),
        _ => false,
    }
}

pub(in super::super) fn is_open(fd: i32) -> bool {
    // SAFETY: touches no memory.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

pub(super) const FSYNC_DATASYNC: u32 = 1;

/// The path at `address`, copied: an open may be given up while a worker has it.
fn path(address: u64) -> CString {
    // SAFETY: the entry points at a string that ends with a NUL.
    unsafe { CStr::from_ptr(address as *const libc::c_char) }.to_owned()
}

fn close(fd: i32) {
    if fd >= 0 {
        // SAFETY: it was opened for a request that is gone; nobody else knows of it.
        unsafe { libc::close(fd) };
    }
}

fn open(entry: &Entry) -> Outcome {
    let (dir, path) = (entry.fd, path(entry.addr));
    let (flags, mode) = (entry.op_flags.cast_signed() | cloexec(entry), entry.len);
    // As the kernel does it: without being told that it may wait, an open does not (a FIFO's other end ...).
    let extra = if entry.wants_worker() {
        0
    } else {
        libc::O_NONBLOCK & !flags
    };
    let run = move |job: &Job| {
        let fd = until_given_up(job, || {
            // SAFETY: the path is a copy that lives across the calls.
            unsafe { libc::openat(dir, path.as_ptr(), flags | extra, mode).into() }
        });
        if fd >= 0 && extra != 0 {
            // SAFETY: touches no memory.
            unsafe { libc::fcntl(fd, libc::F_SETFL, libc::fcntl(fd, libc::F_GETFL) & !extra) };
        }
        fd
    };
    Outcome::Work(Work::on_copies(run, close))
}

pub(super) fn prepare_open2(entry: &Entry) -> Result<(), i32> {
    if entry.len() == size_of::<libc::open_how>() {
        Ok(())
    } else {
        Err(-libc::EINVAL)
    }
}

fn open2(entry: &Entry) -> Outcome {
    let (dir, path) = (entry.fd, path(entry.addr));
    // SAFETY: the entry points at one, as long as it says.
    let mut how: libc::open_how = unsafe { entry.ptr2::<libc::open_how>().read() };
    how.flags |= cloexec(entry) as u64;
    let run = move |job: &Job| {
        until_given_up(job, || {
            let how = &raw const how;
            // SAFETY: path and structure are copies that live across the calls.
            unsafe {
                libc::syscall(
                    libc::SYS_openat2,
                    dir,
                    path.as_ptr(),
                    how,
                    size_of::<libc::open_how>(),
                )
            }
        })
    };
    Outcome::Work(Work::on_copies(run, close))
}

/// The answer of a call that may have been interrupted, by somebody else or to get out of it.
fn until_given_up(job: &Job, mut call: impl FnMut() -> libc::c_long) -> i32 {
    loop {
        let result = answer(call());
        if result != -libc::EINTR || job.is_given_up() {
            return result;
        }
    }
}
