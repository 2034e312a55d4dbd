//! Where a path is relative to, and which way an operation on it goes: through the ring, or on the thread pool.
//!
//! The functions of this crate that take paths and the methods of [`Dir`](crate::Dir) are one and the same here.

use std::ffi::OsString;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annulet_driver::op::{LinkAt, MkdirAt, OpenAt, Operation, RenameAt, SymlinkAt, UnlinkAt};
use annulet_driver::{Driver, Fd, Op};
use blocking::unblock;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};

/// The working directory, or an open one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At<'a>(Option<&'a Arc<Fd>>);

impl<'a> At<'a> {
    pub(crate) const CWD: At<'static> = At(None);

    pub(crate) fn dir(fd: &'a Arc<Fd>) -> At<'a> {
        At(Some(fd))
    }

    pub(crate) fn fd(self) -> Option<&'a Fd> {
        self.0.map(|fd| &**fd)
    }

    pub(crate) fn op<T: Operation>(self, op: T) -> Op<T> {
        match self.0 {
            Some(fd) => Op::on(fd, op),
            None => Op::new(op),
        }
    }

    /// Makes a system call that blocks on the thread pool. The directory stays open as long as it takes.
    ///
    /// Dropped before the call has begun it is not made; once it has, it goes on to its end.
    pub(crate) async fn on_pool<R, F>(self, call: F) -> io::Result<R>
    where
        R: Send + 'static,
        F: FnOnce(BorrowedFd<'_>) -> io::Result<R> + Send + 'static,
    {
        let dir = self.0.cloned();
        unblock(move || match dir {
            Some(dir) => dir.with(call),
            None => call(CWD),
        })
        .await
    }

    /// Through the ring if that has the opcode, else `plain` on the thread pool.
    async fn run<T, R, F>(self, op: T, plain: impl FnOnce() -> F) -> io::Result<R>
    where
        T: Operation<Output = io::Result<R>>,
        R: Send + 'static,
        F: FnOnce(BorrowedFd<'_>) -> io::Result<R> + Send + 'static,
    {
        if ring_has::<T>() {
            self.op(op).await
        } else {
            self.on_pool(plain()).await
        }
    }

    pub(crate) async fn open(self, path: &Path, flags: OFlags, mode: u32) -> io::Result<OwnedFd> {
        let op = OpenAt::new(path, flags.bits().cast_signed(), mode)?;
        self.run(op, || {
            let path = path.to_owned();
            let (flags, mode) = (flags | OFlags::CLOEXEC, Mode::from_raw_mode(mode));
            move |at| Ok(rustix::fs::openat(at, path, flags, mode)?)
        })
        .await
    }

    /// A directory, to be read from and to be worked in.
    pub(crate) async fn open_dir(self, path: &Path, more: OFlags) -> io::Result<Fd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | more;
        Ok(Fd::new(self.open(path, flags, 0).await?))
    }

    pub(crate) async fn unlink(self, path: &Path, flags: AtFlags) -> io::Result<()> {
        let op = UnlinkAt::new(path, flags.bits().cast_signed())?;
        self.run(op, || {
            let path = path.to_owned();
            move |at| Ok(rustix::fs::unlinkat(at, path, flags)?)
        })
        .await
    }

    pub(crate) async fn mkdir(self, path: &Path, mode: u32) -> io::Result<()> {
        let op = MkdirAt::new(path, mode)?;
        self.run(op, || {
            let path = path.to_owned();
            move |at| Ok(rustix::fs::mkdirat(at, path, Mode::from_raw_mode(mode))?)
        })
        .await
    }

    pub(crate) async fn symlink(self, target: &Path, path: &Path) -> io::Result<()> {
        let op = SymlinkAt::new(target, path)?;
        self.run(op, || {
            let (target, path) = (target.to_owned(), path.to_owned());
            move |at| Ok(rustix::fs::symlinkat(target, at, path)?)
        })
        .await
    }

    /// From here to there.
    pub(crate) async fn link(self, from: &Path, there: At<'_>, to: &Path) -> io::Result<()> {
        let op = LinkAt::new(from, to, 0)?;
        let op = match self.leads_to(there) {
            Some(dir) => op.to_dir(dir),
            None => op,
        };
        self.run(op, || {
            let (from, to) = (from.to_owned(), to.to_owned());
            let flags = AtFlags::empty();
            there.then(move |at, to_at| Ok(rustix::fs::linkat(at, from, to_at, to, flags)?))
        })
        .await
    }

    /// From here to there.
    pub(crate) async fn rename(self, from: &Path, there: At<'_>, to: &Path) -> io::Result<()> {
        let op = RenameAt::new(from, to, 0)?;
        let op = match self.leads_to(there) {
            Some(dir) => op.to_dir(dir),
            None => op,
        };
        self.run(op, || {
            let (from, to) = (from.to_owned(), to.to_owned());
            there.then(move |at, to_at| Ok(rustix::fs::renameat(at, from, to_at, to)?))
        })
        .await
    }

    /// The other directory, if it is another.
    fn leads_to<'b>(self, there: At<'b>) -> Option<&'b Fd> {
        let same = match (self.0, there.0) {
            (Some(here), Some(there)) => Arc::ptr_eq(here, there),
            (here, there) => here.is_none() && there.is_none(),
        };
        there.fd().filter(|_| !same)
    }

    /// A call for the thread pool that is given this directory as its second.
    fn then<R, F>(self, call: F) -> impl FnOnce(BorrowedFd<'_>) -> io::Result<R> + use<R, F>
    where
        F: FnOnce(BorrowedFd<'_>, BorrowedFd<'_>) -> io::Result<R>,
    {
        let dir = self.0.cloned();
        move |at| match dir {
            Some(dir) => dir.with(|there| call(at, there)),
            None => call(at, CWD),
        }
    }

    pub(crate) async fn read_link(self, path: &Path) -> io::Result<PathBuf> {
        let path = path.to_owned();
        self.on_pool(move |at| {
            let target = rustix::fs::readlinkat(at, path, Vec::new())?;
            Ok(OsString::from_vec(target.into_bytes()).into())
        })
        .await
    }
}

/// Whether this thread's ring carries out an operation. Outside of a runtime: yes, and polling it then says what is
/// wrong.
pub(crate) fn ring_has<T: Operation>() -> bool {
    Driver::try_current().is_none_or(|driver| driver.supports(T::OPCODE))
}
