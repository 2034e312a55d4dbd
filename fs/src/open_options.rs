//! [`OpenOptions`]: how a file is opened, as in `std::fs`.

use std::io;
use std::path::Path;

use annulet_driver::op::{OpenAt, OpenAt2};
use annulet_driver::{Fd, Op};
use rustix::fs::OFlags;

use crate::file::File;
use crate::metadata;

/// How a file is to be opened, with the names, defaults and refusals of `std::fs::OpenOptions`.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// # let path = std::env::temp_dir().join(format!("annulet-doc-options-{}", std::process::id()));
/// use runtime::fs::OpenOptions;
///
/// let log = OpenOptions::new().append(true).create(true).open(&path).await?;
/// log.write_all("one line\n").await.0?;
/// # log.close().await?;
/// # std::fs::remove_file(path)?;
/// # Ok(()) }) }
/// ```
#[derive(Clone, Debug)]
pub struct OpenOptions {
    read: bool,
    write: bool,
    append: bool,
    truncate: bool,
    create: bool,
    create_new: bool,
    direct: bool,
    may_block: bool,
    mode: u32,
    custom_flags: i32,
}

impl OpenOptions {
    /// Nothing is allowed yet; a file that is created gets the mode 0o666, less the process's mask.
    #[allow(clippy::new_without_default, reason = "as in std")]
    pub fn new() -> OpenOptions {
        OpenOptions {
            read: false,
            write: false,
            append: false,
            truncate: false,
            create: false,
            create_new: false,
            direct: false,
            may_block: false,
            mode: 0o666,
            custom_flags: 0,
        }
    }

    /// For reading.
    pub fn read(&mut self, read: bool) -> &mut OpenOptions {
        self.read = read;
        self
    }

    /// For writing; what is there is overwritten.
    pub fn write(&mut self, write: bool) -> &mut OpenOptions {
        self.write = write;
        self
    }

    /// For writing at the end, wherever that is by then (`O_APPEND`). Writes at offsets go there too, as Linux has it.
    pub fn append(&mut self, append: bool) -> &mut OpenOptions {
        self.append = append;
        self
    }

    /// Empties a file that is there. Needs [`write`](OpenOptions::write).
    pub fn truncate(&mut self, truncate: bool) -> &mut OpenOptions {
        self.truncate = truncate;
        self
    }

    /// Creates the file if it is not there. Needs [`write`](OpenOptions::write) or [`append`](OpenOptions::append).
    pub fn create(&mut self, create: bool) -> &mut OpenOptions {
        self.create = create;
        self
    }

    /// Creates the file, and fails with `AlreadyExists` if anything is there; [`create`](OpenOptions::create) and
    /// [`truncate`](OpenOptions::truncate) then mean nothing.
    pub fn create_new(&mut self, create_new: bool) -> &mut OpenOptions {
        self.create_new = create_new;
        self
    }

    /// The mode of a file that is created, less the process's mask. 0o666 by default.
    pub fn mode(&mut self, mode: u32) -> &mut OpenOptions {
        self.mode = mode;
        self
    }

    /// Further flags (`O_*`) of `open(2)`. Those for reading and writing are left out.
    pub fn custom_flags(&mut self, flags: i32) -> &mut OpenOptions {
        self.custom_flags = flags;
        self
    }

    /// Reads and writes past the page cache (`O_DIRECT`).
    ///
    /// The file then asks for aligned buffers, offsets and lengths. [`File::direct_alignment`] tells what it needs
    /// ([`AlignedBuf`](annulet_driver::buf::AlignedBuf) is such a buffer), and what is not so is refused with
    /// `InvalidInput` before anything is submitted. Opening fails with `InvalidInput` on a file system that cannot do
    /// it.
    pub fn direct(&mut self, direct: bool) -> &mut OpenOptions {
        self.direct = direct;
        self
    }

    /// Waits in the opening as `open(2)` does: for the other end of a FIFO.
    ///
    /// Without it the reading end of a FIFO opens with nobody at the other, and the writing end fails with `ENXIO`. The
    /// waiting is done by a worker of the kernel's.
    pub fn may_block(&mut self, may_block: bool) -> &mut OpenOptions {
        self.may_block = may_block;
        self
    }

    /// Opens the file at `path`, close-on-exec.
    ///
    /// Goes through the ring: `IORING_OP_OPENAT`, Linux 5.6. For a limit of time use a timeout of the future's
    /// (`runtime::time::timeout`), which also ends the waiting for a FIFO's other end.
    ///
    /// # Errors
    ///
    /// What `open(2)` reports: `NotFound`, `PermissionDenied`, `AlreadyExists`, `IsADirectory`. `InvalidInput` for
    /// options that contradict each other, or a path with a NUL byte in it. `Unsupported` where the ring has no such
    /// operation.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the file is closed again; it may have been created or emptied.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::fs::OpenOptions;
    ///
    /// let contradiction = OpenOptions::new().read(true).truncate(true).open("/dev/null").await;
    /// assert_eq!(contradiction.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    ///
    /// let file = OpenOptions::new().read(true).open("/dev/null").await?;
    /// assert_eq!(file.read([0; 8]).await.0?, 0);
    /// # Ok(()) }) }
    /// ```
    pub async fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        self.open_at(None, path.as_ref(), None).await
    }

    /// Opens a file relative to a directory, if one is given, with a say in how its path is resolved (`RESOLVE_*`).
    pub(crate) async fn open_at(
        &self,
        directory: Option<&Fd>,
        path: &Path,
        resolve: Option<u64>,
    ) -> io::Result<File> {
        let (flags, mode) = self.flags()?;
        let fd = if let Some(resolve) = resolve {
            let open = OpenAt2::new(path, flags, mode, resolve)?;
            match directory {
                Some(directory) => Op::on(directory, open).await,
                None => Op::new(open).await,
            }
        } else {
            let open = OpenAt::new(path, flags, mode)?;
            let open = if self.may_block {
                open.may_block()
            } else {
                open
            };
            match directory {
                Some(directory) => Op::on(directory, open).await,
                None => Op::new(open).await,
            }
        };
        let fd = Fd::new(fd?);
        let alignment = if self.direct {
            metadata::ask_open(&fd).await?.direct_alignment()
        } else {
            None
        };
        Ok(File::new(fd, alignment))
    }

    /// The flags and the mode for `openat(2)`; what contradicts itself is refused.
    fn flags(&self) -> io::Result<(i32, u32)> {
        let access = match (self.read, self.write, self.append) {
            (true, false, false) => OFlags::RDONLY,
            (false, true, false) => OFlags::WRONLY,
            (true, true, false) => OFlags::RDWR,
            (false, _, true) => OFlags::WRONLY | OFlags::APPEND,
            (true, _, true) => OFlags::RDWR | OFlags::APPEND,
            (false, false, false) => {
                return Err(refused("to open a file takes read, write or append"));
            }
        };
        match (self.write, self.append) {
            (true, false) => {}
            (false, false) if self.truncate || self.create || self.create_new => {
                return Err(refused(
                    "to create or to truncate a file takes write or append",
                ));
            }
            (_, true) if self.truncate && !self.create_new => {
                return Err(refused("a file is opened to append or to truncate it"));
            }
            _ => {}
        }
        let creation = match (self.create, self.truncate, self.create_new) {
            (_, _, true) => OFlags::CREATE | OFlags::EXCL,
            (true, true, false) => OFlags::CREATE | OFlags::TRUNC,
            (true, false, false) => OFlags::CREATE,
            (false, true, false) => OFlags::TRUNC,
            (false, false, false) => OFlags::empty(),
        };
        let custom = OFlags::from_bits_retain(self.custom_flags.cast_unsigned()) - OFlags::ACCMODE;
        let direct = if self.direct {
            OFlags::DIRECT
        } else {
            OFlags::empty()
        };
        let flags = access | creation | custom | direct;
        // `openat2` takes no mode where nothing is made.
        let makes = flags.intersects(OFlags::CREATE | (OFlags::TMPFILE - OFlags::DIRECTORY));
        let mode = if makes { self.mode } else { 0 };
        Ok((flags.bits().cast_signed(), mode))
    }
}

fn refused(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}
