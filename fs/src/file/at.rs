//! Reading and writing at offsets. No cursor is looked at or moved.

use annulet_driver::buf::Alignment;
use annulet_driver::op::{Read, ReadExact, Readv, Write, WriteAll, Writev};
use annulet_driver::{IoBuf, IoBufMut, IoVectoredBuf, IoVectoredBufMut, Op};

use super::File;
use super::cursor::STREAM;

impl File {
    /// Tells an operation what `O_DIRECT` asks for, if the file was opened so.
    pub(super) fn aligned<T>(&self, op: T, direct: fn(T, Alignment) -> T) -> T {
        match self.alignment {
            Some(alignment) => direct(op, alignment),
            None => op,
        }
    }

    /// The same for one at an offset, which is refused if the file cannot seek.
    fn placed<T>(&self, op: T, direct: fn(T, Alignment) -> T, unseekable: fn(T) -> T) -> T {
        if self.kind() == STREAM {
            return unseekable(op);
        }
        self.aligned(op, direct)
    }

    /// Reads into the buffer's room (all of a `Vec`'s capacity) from `offset` bytes from the start on (`pread(2)`). Fewer
    /// bytes than there is room for mean that the file ends there; 0, that it ends before.
    ///
    /// Goes through the ring: `IORING_OP_READ`, Linux 5.6. Any number may be in flight at once.
    ///
    /// # Errors
    ///
    /// What `pread(2)` reports: `EBADF` if the file is not open for reading, or closed; `IsADirectory`; `NotSeekable`
    /// for a FIFO or a terminal. `InvalidInput` for a buffer without room, an offset beyond 2^63 - 1, and for what is not
    /// [aligned](crate::OpenOptions::direct). `TimedOut` past the operation's [`timeout`](Op::timeout).
    /// [Cancelled](annulet_driver::is_cancelled) if the file is closed meanwhile. `Unsupported` where the ring has no
    /// such operation.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the buffer only.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # let path = std::env::temp_dir().join(format!("annulet-doc-read-at-{}", std::process::id()));
    /// # std::fs::write(&path, "hello, file")?;
    /// let file = runtime::fs::File::open(&path).await?;
    /// let (result, buf) = file.read_at([0; 5], 2).await;
    /// assert_eq!(&buf[..result?], b"llo, ");
    /// assert_eq!(file.read_at([0; 5], 9).await.0?, 2);
    /// # std::fs::remove_file(path)?;
    /// # Ok(()) }) }
    /// ```
    pub fn read_at<B: IoBufMut>(&self, buf: B, offset: u64) -> Op<Read<B>> {
        let read = self.placed(Read::at(buf, offset), Read::direct, Read::unseekable);
        Op::on(&self.fd, read)
    }

    /// Reads until the buffer's room (all of a `Vec`'s capacity) is full, from `offset` bytes from the start on. A
    /// buffer without room is full at once.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the file ends first; otherwise as [`read_at`](File::read_at). What was read by then is at the
    /// front of the buffer, and [`Partial::of`](annulet_driver::Partial::of) tells from the error how much that is. A
    /// time limit covers the whole.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the buffer only.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// let zeros = runtime::fs::File::open("/dev/zero").await?;
    /// let (result, buf) = zeros.read_exact_at(vec![1; 100], 7).await;
    /// result?;
    /// assert_eq!(buf, [0; 100]);
    /// # Ok(()) }) }
    /// ```
    pub fn read_exact_at<B: IoBufMut>(&self, buf: B, offset: u64) -> Op<ReadExact<B>> {
        let read = ReadExact::at(buf, offset);
        let read = self.placed(read, ReadExact::direct, ReadExact::unseekable);
        Op::on(&self.fd, read)
    }

    /// As [`read_at`](File::read_at), into several buffers, which are filled in order (`preadv(2)`,
    /// `IORING_OP_READV`). At most 1,024 of them at once.
    pub fn read_vectored_at<B: IoVectoredBufMut>(&self, bufs: B, offset: u64) -> Op<Readv<B>> {
        let read = self.placed(Readv::at(bufs, offset), Readv::direct, Readv::unseekable);
        Op::on(&self.fd, read)
    }

    /// Writes the buffer's initialised bytes from `offset` bytes from the start on (`pwrite(2)`), and tells how many
    /// that were: all, unless the disk is full or the file may not grow that far. What lies between the file's end and
    /// `offset` becomes zeros.
    ///
    /// Goes through the ring: `IORING_OP_WRITE`, Linux 5.6. Any number may be in flight at once.
    ///
    /// # Errors
    ///
    /// What `pwrite(2)` reports: `EBADF` if the file is not open for writing, or closed; `StorageFull`,
    /// `FileTooLarge`, `QuotaExceeded`; `NotSeekable` for a FIFO or a terminal. `InvalidInput` for an empty buffer, and
    /// otherwise as for [`read_at`](File::read_at). That the disk has failed may be told only by
    /// [`sync_all`](File::sync_all) or [`close`](File::close).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, any part of the buffer may have been written.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # let path = std::env::temp_dir().join(format!("annulet-doc-write-at-{}", std::process::id()));
    /// let file = runtime::fs::File::create(&path).await?;
    /// let (result, _buf) = file.write_at("end", 2).await;
    /// assert_eq!(result?, 3);
    /// assert_eq!(std::fs::read(&path)?, b"\0\0end");
    /// # std::fs::remove_file(path)?;
    /// # Ok(()) }) }
    /// ```
    pub fn write_at<B: IoBuf>(&self, buf: B, offset: u64) -> Op<Write<B>> {
        let write = self.placed(Write::at(buf, offset), Write::direct, Write::unseekable);
        Op::on(&self.fd, write)
    }

    /// Writes all of the buffer's initialised bytes from `offset` bytes from the start on. An empty buffer is written
    /// without any I/O.
    ///
    /// # Errors
    ///
    /// As [`write_at`](File::write_at). [`Partial::of`](annulet_driver::Partial::of) tells from the error how much was
    /// written by then. A time limit covers the whole.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, any part of the buffer may have been written.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    pub fn write_all_at<B: IoBuf>(&self, buf: B, offset: u64) -> Op<WriteAll<B>> {
        let write = WriteAll::at(buf, offset);
        let write = self.placed(write, WriteAll::direct, WriteAll::unseekable);
        Op::on(&self.fd, write)
    }

    /// As [`write_at`](File::write_at), from several buffers in order (`pwritev(2)`, `IORING_OP_WRITEV`). At most 1,024
    /// of them at once.
    pub fn write_vectored_at<B: IoVectoredBuf>(&self, bufs: B, offset: u64) -> Op<Writev<B>> {
        let write = self.placed(Writev::at(bufs, offset), Writev::direct, Writev::unseekable);
        Op::on(&self.fd, write)
    }
}
