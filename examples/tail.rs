//! Shows the end of files and what is added to them, as tail(1) does; told by `inotify(7)`, read through the ring.
//!
//! ```sh
//! cargo run --release --example tail -- -n 20 /var/log/syslog
//! cargo run --release --example tail -- -f one.log two.log     # goes on; the files, whatever they are called later
//! cargo run --release --example tail -- -F app.log             # goes on; whatever file has the name (log rotation)
//! ```

use std::fmt::Display;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lexopt::prelude::*;
use runtime::fs::File;
use runtime::io::{AsyncFd, Interest};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// How much is read at once.
const BLOCK: usize = 64 * 1024;

const HELP: &str = "\
tail [options] FILE...   the last lines of files
  -n LINES      so many of them. Default: 10
  -f            go on with what is added; follows the file, even when it is renamed
  -F            as -f, but follows the name: goes on with the next file that has it
";

/// What goes on after the last lines are shown.
#[derive(Clone, Copy, PartialEq)]
enum Follow {
    Nothing,
    File,
    Name,
}

struct Options {
    lines: usize,
    follow: Follow,
    paths: Vec<PathBuf>,
}

fn options() -> Result<Option<Options>, lexopt::Error> {
    let mut options = Options {
        lines: 10,
        follow: Follow::Nothing,
        paths: Vec::new(),
    };
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Short('n') | Long("lines") => options.lines = args.value()?.parse()?,
            Short('f') => options.follow = Follow::File,
            Short('F') => options.follow = Follow::Name,
            Short('h') | Long("help") => return Ok(None),
            Value(path) => options.paths.push(path.into()),
            other => return Err(other.unexpected()),
        }
    }
    if options.paths.is_empty() {
        return Err("which file? See --help".into());
    }
    Ok(Some(options))
}

#[runtime::main]
async fn main() -> ExitCode {
    let options = match options() {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("tail: {error}");
            return ExitCode::from(2);
        }
    };
    let mut tail = Tail {
        follow: options.follow,
        headers: options.paths.len() > 1,
        shown: None,
        failed: false,
    };
    match tail.run(options).await {
        Ok(()) if !tail.failed => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        // Whoever was reading has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tail: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One of the files, or names.
struct Followed {
    path: PathBuf,
    /// `None`: there is no file of that name, or it cannot be opened.
    file: Option<File>,
    /// So far it was shown.
    shown: u64,
}

struct Tail {
    follow: Follow,
    headers: bool,
    /// Whose lines were shown last.
    shown: Option<PathBuf>,
    failed: bool,
}

impl Tail {
    async fn run(&mut self, options: Options) -> io::Result<()> {
        let changes = match self.follow {
            Follow::Nothing => None,
            // Watched before they are read: nothing that is added in between is missed.
            _ => Some(inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?),
        };
        let mut files = Vec::new();
        for path in options.paths {
            if let Some(changes) = &changes {
                self.watch(changes, &path);
            }
            let file = match File::open(&path).await {
                Ok(file) => Some(file),
                Err(error) => {
                    self.complain(&path, error);
                    None
                }
            };
            let shown = 0;
            files.push(Followed { path, file, shown });
        }
        for followed in &mut files {
            if let Some(file) = &followed.file {
                followed.shown = last_lines(file, options.lines).await?;
                self.header(&followed.path)?;
            }
            self.show(followed).await?;
        }
        if self.follow == Follow::File {
            files.retain(|followed| followed.file.is_some());
        }
        match changes {
            Some(changes) if !files.is_empty() => self.go_on(changes, files).await,
            _ => Ok(()),
        }
    }

    /// Shows what is added, for ever.
    async fn go_on(&mut self, changes: OwnedFd, mut files: Vec<Followed>) -> io::Result<()> {
        let changes = AsyncFd::new(changes);
        loop {
            // What it was matters not: all are looked at, and one look answers all events up to here.
            changes.async_io(Interest::READABLE, drain).await?;
            for followed in &mut files {
                self.show(followed).await?;
                if self.follow == Follow::Name && self.replaced(followed, changes.inner()).await? {
                    self.show(followed).await?;
                }
            }
        }
    }

    /// Watches a file and, where the name is followed, what happens to its name.
    fn watch(&mut self, changes: &OwnedFd, path: &Path) {
        // A file that is not there, or can't be read, is complained about when it is opened.
        let _ = inotify::add_watch(changes, path, WatchFlags::MODIFY | WatchFlags::ATTRIB);
        if self.follow == Follow::Name {
            let dir = match path.parent() {
                Some(dir) if dir != Path::new("") => dir,
                _ => Path::new("."),
            };
            let names = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::MOVED_FROM;
            if let Err(errno) = inotify::add_watch(changes, dir, names | WatchFlags::DELETE) {
                self.complain(dir, errno);
            }
        }
    }

    /// Shows what was added since the last time.
    async fn show(&mut self, followed: &mut Followed) -> io::Result<()> {
        let Some(file) = &followed.file else {
            return Ok(());
        };
        if file.metadata().await?.len() < followed.shown {
            eprintln!("tail: {}: file truncated", followed.path.display());
            followed.shown = 0;
        }
        let mut buf = Vec::with_capacity(BLOCK);
        loop {
            let (read, filled) = file.read_at(buf, followed.shown).await;
            if read? == 0 {
                return Ok(());
            }
            self.header(&followed.path)?;
            let mut out = io::stdout().lock();
            out.write_all(&filled)?;
            out.flush()?;
            followed.shown += filled.len() as u64;
            buf = filled;
            buf.clear();
        }
    }

    /// Whether another file has the name now, which is followed from its beginning.
    async fn replaced(&mut self, followed: &mut Followed, changes: &OwnedFd) -> io::Result<bool> {
        let path = &followed.path;
        let next = match File::open(path).await {
            Ok(next) => next,
            Err(error) => {
                if let Some(gone) = followed.file.take() {
                    self.complain(path, error);
                    gone.close().await?;
                }
                return Ok(false);
            }
        };
        let id = next.metadata().await?;
        if let Some(file) = &followed.file {
            let old = file.metadata().await?;
            if (old.dev(), old.ino()) == (id.dev(), id.ino()) {
                return Ok(false);
            }
        }
        eprintln!("tail: {}: following the new file", path.display());
        self.watch(changes, path);
        followed.file = Some(next);
        followed.shown = 0;
        Ok(true)
    }

    /// Says whose lines follow, if there are several and it is not clear.
    fn header(&mut self, path: &Path) -> io::Result<()> {
        if self.headers && self.shown.as_deref() != Some(path) {
            let gap = if self.shown.is_some() { "\n" } else { "" };
            writeln!(io::stdout(), "{gap}==> {} <==", path.display())?;
            self.shown = Some(path.to_owned());
        }
        Ok(())
    }

    fn complain(&mut self, path: &Path, error: impl Display) {
        self.failed = true;
        eprintln!("tail: {}: {error}", path.display());
    }
}

/// Takes all events there are; `WouldBlock` if there are none.
fn drain(changes: &OwnedFd) -> io::Result<()> {
    let mut buf = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(changes, &mut buf);
    events.next()?;
    while !events.is_buffer_empty() {
        events.next()?;
    }
    Ok(())
}

/// Where the last so many lines begin. Looked for from the end: a large file is not read to find its last lines.
async fn last_lines(file: &File, lines: usize) -> io::Result<u64> {
    let mut begin = file.metadata().await?.len();
    let mut left = lines;
    let mut last = true;
    while begin > 0 && lines > 0 {
        let size = begin.min(BLOCK as u64);
        let (read, block) = file
            .read_exact_at(vec![0; size as usize], begin - size)
            .await;
        read?;
        for (at, byte) in block.iter().enumerate().rev() {
            // The one at the very end ends the last line; it does not begin another.
            if *byte == b'\n' && !std::mem::take(&mut last) {
                left -= 1;
                if left == 0 {
                    return Ok(begin - size + at as u64 + 1);
                }
            }
            last = false;
        }
        begin -= size;
    }
    Ok(begin)
}
