//! Reading and writing where the file's cursor is, and moving it.
//!
//! The cursor is the kernel's own. What cannot seek has none: a FIFO, a terminal, many devices. There reading and
//! writing are two directions as on a pipe. Which it is, is looked up once for each handle, by two system calls that do
//! not block.

use std::io::{self, SeekFrom};
use std::sync::atomic::Ordering::Relaxed;

use annulet_driver::op::{Read, ReadExact, Readv, Seek, Write, WriteAll, Writev};
use annulet_driver::{IoBuf, IoBufMut, IoVectoredBuf, IoVectoredBufMut, Op};
use rustix::fs::{AtFlags, StatxFlags, seek, statx};
use rustix::io::Errno;

use super::File;
use crate::metadata::FileType;

/// What kind of file it is, for who reads and writes; see [`File::kind`].
pub(super) const UNKNOWN: u8 = 0;
/// It cannot seek.
pub(super) const STREAM: u8 = 1;
/// It can seek, or says so, but what was read may be gone: a device of characters.
const DEVICE: u8 = 2;
/// Who goes back reads the same again: a regular file, a disk.
pub(super) const CURSOR: u8 = 3;

impl File {
    /// Looked up once. What is closed has none: the operation will tell.
    pub(super) fn kind(&self) -> u8 {
        match self.kind.load(Relaxed) {
            UNKNOWN => {}
            known => return known,
        }
        // Without asking a file server for news, so that it does not block.
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let kind = self.fd.with(|fd| {
            if seek(fd, rustix::fs::SeekFrom::Current(0)) == Err(Errno::SPIPE) {
                return Ok(STREAM);
            }
            let status = statx(fd, "", flags, StatxFlags::TYPE)?;
            let file_type = FileType::from_mode(status.stx_mode.into());
            let stays = file_type.is_file() || file_type.is_block_device();
            Ok(if stays { CURSOR } else { DEVICE })
        });
        let kind = kind.unwrap_or(UNKNOWN);
        self.kind.store(kind, Relaxed);
        kind
    }

    /// Whether going back over what a dropped read has read gives it again.
    pub(super) fn has_cursor(&self) -> bool {
        self.kind() == CURSOR
    }

    /// Reads into the buffer's room (all of a `Vec`'s capacity) where the cursor is, and moves it on (`read(2)`). 0
    /// means the file's end.
    ///
    /// Goes through the ring: `IORING_OP_READ`, Linux 5.6.
    ///
    /// # Errors
    ///
    /// As [`read_at`](File::read_at).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: the cursor stays, and the next read reads the same. The buffer is lost.
    /// (Of a file without a cursor, bytes it reads go to the next read.)
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # let path = std::env::temp_dir().join(format!("annulet-doc-read-{}", std::process::id()));
    /// # std::fs::write(&path, "hello")?;
    /// let file = runtime::fs::File::open(&path).await?;
    /// let (result, mut buf) = file.read(Vec::with_capacity(3)).await;
    /// assert_eq!((result?, &buf[..]), (3, &b"hel"[..]));
    /// (_, buf) = file.read(buf).await;
    /// assert_eq!(buf, b"lo");
    /// assert_eq!(file.read(buf).await.0?, 0);
    /// # std::fs::remove_file(path)?;
    /// # Ok(()) }) }
    /// ```
    pub fn read<B: IoBufMut>(&self, buf: B) -> Op<Read<B>> {
        let read = if self.has_cursor() {
            Read::at_cursor(buf)
        } else {
            Read::new(buf)
        };
        Op::on(&self.fd, self.aligned(read, Read::direct))
    }

    /// Reads until the buffer's room (all of a `Vec`'s capacity) is full. A buffer without room is full at once.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the file ends first; otherwise as [`read_at`](File::read_at). What was read by then is at the
    /// front of the buffer, [`Partial::of`](annulet_driver::Partial::of) tells from the error how much that is, and the
    /// cursor is behind it. A time limit covers the whole.
    ///
    /// # Cancel safety
    ///
    /// As [`read`](File::read): nothing is lost.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    pub fn read_exact<B: IoBufMut>(&self, buf: B) -> Op<ReadExact<B>> {
        let read = if self.has_cursor() {
            ReadExact::at_cursor(buf)
        } else {
            ReadExact::new(buf)
        };
        Op::on(&self.fd, self.aligned(read, ReadExact::direct))
    }

    /// As [`read`](File::read), into several buffers, which are filled in order (`readv(2)`, `IORING_OP_READV`). At most
    /// 1,024 of them at once.
    pub fn read_vectored<B: IoVectoredBufMut>(&self, bufs: B) -> Op<Readv<B>> {
        let read = if self.has_cursor() {
            Readv::at_cursor(bufs)
        } else {
            Readv::new(bufs)
        };
        Op::on(&self.fd, self.aligned(read, Readv::direct))
    }

    /// Writes the buffer's initialised bytes where the cursor is, or at the end of a file opened to
    /// [append](crate::OpenOptions::append), and moves the cursor behind them (`write(2)`). Tells how many that were:
    /// all, unless the disk is full or the file may not grow that far.
    ///
    /// Goes through the ring: `IORING_OP_WRITE`, Linux 5.6.
    ///
    /// # Errors
    ///
    /// As [`write_at`](File::write_at).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, any part of the buffer may have been written; the cursor is behind that part.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # let path = std::env::temp_dir().join(format!("annulet-doc-write-{}", std::process::id()));
    /// let file = runtime::fs::File::create(&path).await?;
    /// let (result, buf) = file.write(b"hello".to_vec()).await;
    /// assert_eq!(result?, 5);
    /// file.write_all(buf).await.0?;
    /// assert_eq!(std::fs::read(&path)?, b"hellohello");
    /// # std::fs::remove_file(path)?;
    /// # Ok(()) }) }
    /// ```
    pub fn write<B: IoBuf>(&self, buf: B) -> Op<Write<B>> {
        let write = if self.has_cursor() {
            Write::at_cursor(buf)
        } else {
            Write::new(buf)
        };
        Op::on(&self.fd, self.aligned(write, Write::direct))
    }

    /// Writes all of the buffer's initialised bytes. An empty buffer is written without any I/O.
    ///
    /// # Errors
    ///
    /// As [`write_at`](File::write_at). [`Partial::of`](annulet_driver::Partial::of) tells from the error how much was
    /// written by then. A time limit covers the whole.
    ///
    /// # Cancel safety
    ///
    /// As [`write`](File::write).
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    pub fn write_all<B: IoBuf>(&self, buf: B) -> Op<WriteAll<B>> {
        let write = if self.has_cursor() {
            WriteAll::at_cursor(buf)
        } else {
            WriteAll::new(buf)
        };
        Op::on(&self.fd, self.aligned(write, WriteAll::direct))
    }

    /// As [`write`](File::write), from several buffers in order (`writev(2)`, `IORING_OP_WRITEV`). At most 1,024 of them
    /// at once.
    pub fn write_vectored<B: IoVectoredBuf>(&self, bufs: B) -> Op<Writev<B>> {
        let write = if self.has_cursor() {
            Writev::at_cursor(bufs)
        } else {
            Writev::new(bufs)
        };
        Op::on(&self.fd, self.aligned(write, Writev::direct))
    }

    /// Moves the cursor, and tells where it is then, in bytes from the start. It may be beyond the file's end.
    ///
    /// In turn with what is read and written there: it waits for what was called before, dropped reads too, and so it
    /// is not undone by them. No opcode: the plain `lseek(2)`, which does not block; not in a chain.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a place before the start or beyond 2^63 - 1; `NotSeekable` for what has no cursor; `EBADF` if
    /// the file is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits, it has done nothing.
    ///
    /// # Panics
    ///
    /// If awaited outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// # let path = std::env::temp_dir().join(format!("annulet-doc-seek-{}", std::process::id()));
    /// # std::fs::write(&path, "hello")?;
    /// use std::io::SeekFrom;
    ///
    /// let file = runtime::fs::File::open(&path).await?;
    /// assert_eq!(file.seek(SeekFrom::End(-2)).await?, 3);
    /// assert_eq!(&file.read([0; 2]).await.1, b"lo");
    /// assert_eq!(file.stream_position().await?, 5);
    /// file.rewind().await?;
    /// assert_eq!(&file.read([0; 2]).await.1, b"he");
    /// # std::fs::remove_file(path)?;
    /// # Ok(()) }) }
    /// ```
    pub fn seek(&self, to: SeekFrom) -> Op<Seek> {
        Op::on(&self.fd, Seek::new(to))
    }

    /// Moves the cursor to the start; see [`seek`](File::seek).
    ///
    /// # Errors
    ///
    /// As [`seek`](File::seek).
    pub async fn rewind(&self) -> io::Result<()> {
        self.seek(SeekFrom::Start(0)).await.map(drop)
    }

    /// Where the cursor is, in bytes from the start; see [`seek`](File::seek).
    pub fn stream_position(&self) -> Op<Seek> {
        self.seek(SeekFrom::Current(0))
    }
}
