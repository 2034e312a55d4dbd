//! What a file takes on the disk and in memory: syncing, reserving, punching, advice.

use annulet_driver::Op;
use annulet_driver::op::{Fadvise, Fallocate, Fsync, SyncFileRange};
use rustix::fs::FallocateFlags;

use super::File;

/// What [`File::allocate`] does, as `fallocate(2)` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Allocate {
    /// Reserves room on the disk; the file grows to hold it. What is there stays, what is new reads as zeros.
    Reserve,
    /// The same, but the length stays: for what will be appended (`FALLOC_FL_KEEP_SIZE`).
    ReserveBeyond,
    /// Makes it zeros, reserved (`FALLOC_FL_ZERO_RANGE`).
    Zero,
    /// Takes it out of the file, so that what is behind it moves forwards (`FALLOC_FL_COLLAPSE_RANGE`).
    Collapse,
    /// Puts a hole there, so that what was there moves backwards (`FALLOC_FL_INSERT_RANGE`).
    Insert,
    /// Gives each block that is shared with another file its own (`FALLOC_FL_UNSHARE_RANGE`).
    Unshare,
}

impl Allocate {
    fn flags(self) -> FallocateFlags {
        match self {
            Allocate::Reserve => FallocateFlags::empty(),
            Allocate::ReserveBeyond => FallocateFlags::KEEP_SIZE,
            Allocate::Zero => FallocateFlags::ZERO_RANGE,
            Allocate::Collapse => FallocateFlags::COLLAPSE_RANGE,
            Allocate::Insert => FallocateFlags::INSERT_RANGE,
            Allocate::Unshare => FallocateFlags::UNSHARE_RANGE,
        }
    }
}

/// How a part of a file will be used, as `posix_fadvise(2)` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advice {
    /// No advice.
    Normal,
    /// From front to back: reads further ahead.
    Sequential,
    /// Here and there: does not read ahead.
    Random,
    /// Soon: reads it into the page cache.
    WillNeed,
    /// Not again: drops it from the page cache. What is not on the disk yet stays.
    DontNeed,
    /// Once.
    NoReuse,
}

impl Advice {
    fn number(self) -> i32 {
        let advice = match self {
            Advice::Normal => rustix::fs::Advice::Normal,
            Advice::Sequential => rustix::fs::Advice::Sequential,
            Advice::Random => rustix::fs::Advice::Random,
            Advice::WillNeed => rustix::fs::Advice::WillNeed,
            Advice::DontNeed => rustix::fs::Advice::DontNeed,
            Advice::NoReuse => rustix::fs::Advice::NoReuse,
        };
        advice as u32 as i32
    }
}

/// `sync_file_range(2)` with all its flags: waits for what is being written, writes the rest, waits for that.
const WRITE_AND_WAIT: u32 = 1 | 2 | 4;

impl File {
    /// Waits until all that was written to the file, and its metadata, is on its disk (`fsync(2)`).
    ///
    /// It knows nothing of writes that have not resolved: await them first, or link it behind them in a chain. The name
    /// of a new file is its directory's: sync that, too. Goes through the ring: `IORING_OP_FSYNC`, Linux 5.1.
    ///
    /// # Errors
    ///
    /// What `fsync(2)` reports: the failure of a write before it (`EIO`, `StorageFull`, `QuotaExceeded`), once.
    /// `EBADF` if the file is closed. `TimedOut` past the operation's [`timeout`](Op::timeout).
    /// [Cancelled](annulet_driver::is_cancelled) if the file is closed meanwhile.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, what was written may be on the disk or not, and a failure is told nobody.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # let path = std::env::temp_dir().join(format!("annulet-doc-sync-{}", std::process::id()));
    /// let file = runtime::fs::File::create(&path).await?;
    /// let (written, synced) = runtime::chain((file.write_at("kept", 0), file.sync_all())).await;
    /// assert_eq!(written.0?, 4);
    /// synced?;
    /// # std::fs::remove_file(path)?;
    /// # Ok(()) }) }
    /// ```
    pub fn sync_all(&self) -> Op<Fsync> {
        Op::on(&self.fd, Fsync::all())
    }

    /// As [`sync_all`](File::sync_all), but of the metadata only what is needed to read the data (`fdatasync(2)`).
    pub fn sync_data(&self) -> Op<Fsync> {
        Op::on(&self.fd, Fsync::data())
    }

    /// Writes `len` bytes from `offset` on to the disk and waits for that, all of the rest if `len` is 0
    /// (`sync_file_range(2)`).
    ///
    /// For writing out evenly what is long. It promises nothing for after a crash: neither metadata nor the disk's own
    /// cache are written. Goes through the ring: `IORING_OP_SYNC_FILE_RANGE`, Linux 5.2. Otherwise as
    /// [`sync_all`](File::sync_all).
    pub fn sync_range(&self, offset: u64, len: u64) -> Op<SyncFileRange> {
        Op::on(&self.fd, SyncFileRange::new(WRITE_AND_WAIT, offset, len))
    }

    /// Reserves room for `len` bytes from `offset` on, or whatever else `how` says (`fallocate(2)`).
    ///
    /// Goes through the ring: `IORING_OP_FALLOCATE`, Linux 5.6.
    ///
    /// # Errors
    ///
    /// What `fallocate(2)` reports: `StorageFull`, `FileTooLarge`; `Unsupported` (`EOPNOTSUPP`) where the file system
    /// cannot do it; `InvalidInput` for no bytes, and for a part that ends within a block where whole ones are moved;
    /// `EBADF` if the file is not open for writing, or closed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after its first poll, it may have been done or not.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # let path = std::env::temp_dir().join(format!("annulet-doc-allocate-{}", std::process::id()));
    /// use runtime::fs::{Allocate, File};
    ///
    /// let file = File::create(&path).await?;
    /// file.allocate(Allocate::Reserve, 0, 1 << 20).await?;
    /// assert_eq!(file.metadata().await?.len(), 1 << 20);
    /// file.punch_hole(0, 1 << 20).await?;
    /// assert_eq!(file.metadata().await?.len(), 1 << 20);
    /// # std::fs::remove_file(path)?;
    /// # Ok(()) }) }
    /// ```
    pub fn allocate(&self, how: Allocate, offset: u64, len: u64) -> Op<Fallocate> {
        self.fallocate(how.flags(), offset, len)
    }

    /// Gives the room of `len` bytes from `offset` on back to the disk: they read as zeros, the length stays
    /// (`FALLOC_FL_PUNCH_HOLE`). Otherwise as [`allocate`](File::allocate).
    pub fn punch_hole(&self, offset: u64, len: u64) -> Op<Fallocate> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        self.fallocate(flags, offset, len)
    }

    fn fallocate(&self, flags: FallocateFlags, offset: u64, len: u64) -> Op<Fallocate> {
        let mode = flags.bits().cast_signed();
        Op::on(&self.fd, Fallocate::new(mode, offset, len))
    }

    /// Tells the kernel how `len` bytes from `offset` on will be used, all of the rest if `len` is 0
    /// (`posix_fadvise(2)`).
    ///
    /// Goes through the ring: `IORING_OP_FADVISE`, Linux 5.6.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a part beyond 2^63 - 1; `ESPIPE` for a FIFO; `EBADF` if the file is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::fs::{Advice, File};
    /// let file = File::open("/proc/self/exe").await?;
    /// file.advise(Advice::Sequential, 0, 0).await?;
    /// # Ok(()) }) }
    /// ```
    pub fn advise(&self, advice: Advice, offset: u64, len: u64) -> Op<Fadvise> {
        Op::on(&self.fd, Fadvise::new(advice.number(), offset, len))
    }
}
