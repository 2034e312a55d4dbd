//! Files and symbolic links: copied on the thread pool, so many at a time that going there does not count.

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, Read};
use std::ops::AddAssign;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use indicatif::{BinaryBytes, ProgressBar};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, utimensat};

/// Few enough that all threads have some to the end.
const FILES: usize = 64;
/// After so many bytes of one file it is said how far it is.
const STRIDE_BYTES: u64 = 32 << 20;

/// Some files of one directory.
pub(crate) struct Batch(Vec<Item>);

struct Item {
    from: PathBuf,
    to: PathBuf,
    is_link: bool,
}

/// What has been copied, and what was not.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) files: u64,
    pub(crate) links: u64,
    pub(crate) bytes: u64,
    pub(crate) errors: Vec<String>,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Counts) {
        self.files += more.files;
        self.links += more.links;
        self.bytes += more.bytes;
        self.errors.extend(more.errors);
    }
}

impl Batch {
    pub(crate) fn of_one(from: PathBuf, to: PathBuf) -> Batch {
        let is_link = false;
        Batch(vec![Item { from, to, is_link }])
    }

    /// Adds to the last one, unless that is full.
    pub(crate) fn add(batches: &mut Vec<Batch>, from: PathBuf, to: PathBuf, is_link: bool) {
        let item = Item { from, to, is_link };
        match batches.last_mut() {
            Some(batch) if batch.0.len() < FILES => batch.0.push(item),
            _ => batches.push(Batch(vec![item])),
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.len() as u64
    }

    pub(crate) fn copy(self, bar: &ProgressBar) -> Counts {
        let mut counts = Counts::default();
        for item in &self.0 {
            let copied = if item.is_link {
                copy_link(&item.from, &item.to).map(|()| counts.links += 1)
            } else {
                copy_file(&item.from, &item.to, bar).map(|bytes| {
                    counts.files += 1;
                    counts.bytes += bytes;
                })
            };
            if let Err(error) = copied {
                let (from, to) = (item.from.display(), item.to.display());
                counts
                    .errors
                    .push(format!("cannot copy {from} to {to}: {error}"));
            }
        }
        bar.inc(self.len());
        counts
    }
}

fn copy_file(from: &Path, to: &Path, bar: &ProgressBar) -> io::Result<u64> {
    let from = File::open(from)?;
    let original = from.metadata()?;
    if !original.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create(true)
        .mode(original.mode() & 0o777);
    // Truncated only when it is known to be another file.
    let to = options.truncate(false).open(to)?;
    let target = to.metadata()?;
    if (target.dev(), target.ino()) == (original.dev(), original.ino()) {
        return Err(io::Error::other("they are the same file"));
    }
    if target.len() > 0 {
        to.set_len(0)?;
    }
    let mut bytes = 0;
    loop {
        // Inside the kernel, if the file systems allow it.
        let n = io::copy(&mut (&from).take(STRIDE_BYTES), &mut &to)?;
        bytes += n;
        if n < STRIDE_BYTES {
            break;
        }
        bar.set_message(format!("{} of a file", BinaryBytes(bytes)));
    }
    if target.mode() != original.mode() {
        to.set_permissions(original.permissions())?;
    }
    let times = FileTimes::new();
    to.set_times(
        times
            .set_modified(original.modified()?)
            .set_accessed(original.accessed()?),
    )?;
    Ok(bytes)
}

fn copy_link(from: &Path, to: &Path) -> io::Result<()> {
    let target = fs::read_link(from)?;
    match symlink(&target, to) {
        // As for files, what is there is replaced; a directory is not.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(to)?;
            symlink(&target, to)?;
        }
        made => made?,
    }
    let original = from.symlink_metadata()?;
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: original.mtime(),
            tv_nsec: original.mtime_nsec(),
        },
    };
    utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}
