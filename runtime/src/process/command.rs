//! [`Command`]: what is to be run, and how.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use super::capture::Capture;
use super::child::Child;

/// A program to start: [`std::process::Command`], whose children are awaited.
///
/// What it does not have goes by way of [`as_std_mut`](Command::as_std_mut).
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
/// use runtime::process::Command;
///
/// let output = Command::new("echo").arg("hello").output().await?;
/// assert!(output.status.success());
/// assert_eq!(output.stdout, b"hello\n");
/// # Ok(()) }) }
/// ```
#[derive(Debug)]
pub struct Command {
    std: std::process::Command,
    /// Which of the three were chosen; std does not tell.
    chosen: Chosen,
    kill_on_drop: bool,
    kill_group: bool,
}

#[derive(Debug, Default)]
struct Chosen {
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

impl From<std::process::Command> for Command {
    /// Takes over a command. Its standard streams count as not chosen for [`output`](Command::output), which
    /// would replace them.
    fn from(std: std::process::Command) -> Command {
        Command {
            std,
            chosen: Chosen::default(),
            kill_on_drop: false,
            kill_group: false,
        }
    }
}

impl Command {
    /// A command for this program, found by `PATH` if its name has no slash. By default it has no arguments, and
    /// everything else from this process.
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        std::process::Command::new(program).into()
    }

    /// Adds an argument. It is passed on as it is: no shell is involved.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Command {
        self.std.arg(arg);
        self
    }

    /// Adds several arguments; see [`arg`](Command::arg).
    pub fn args(&mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Command {
        self.std.args(args);
        self
    }

    /// Sets the name by which the program is called (`argv[0]`). Default: as it was given.
    pub fn arg0(&mut self, arg: impl AsRef<OsStr>) -> &mut Command {
        self.std.arg0(arg);
        self
    }

    /// Sets a variable of the environment.
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Command {
        self.std.env(key, value);
        self
    }

    /// Sets several variables; see [`env`](Command::env).
    pub fn envs(
        &mut self,
        vars: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> &mut Command {
        self.std.envs(vars);
        self
    }

    /// Takes away a variable that it would have from this process.
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Command {
        self.std.env_remove(key);
        self
    }

    /// Takes away all variables, those set before too.
    pub fn env_clear(&mut self) -> &mut Command {
        self.std.env_clear();
        self
    }

    /// Sets the directory it runs in. Default: this process's.
    pub fn current_dir(&mut self, dir: impl AsRef<Path>) -> &mut Command {
        self.std.current_dir(dir);
        self
    }

    /// Sets its standard input: [`Stdio::inherit`] (the default), [`Stdio::null`], [`Stdio::piped`], or
    /// a file or the end of a pipe. For [`output`](Command::output), null is the default.
    ///
    /// What this crate's types hold (`File`, `PipeReader`, `PipeWriter`) is given by way of their `into_std`.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::process::{Command, Stdio};
    ///
    /// // echo hello | rev
    /// let mut echo = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn()?;
    /// let between = echo.stdout.take().expect("it is piped").into_std().await?;
    /// let rev = Command::new("rev").stdin(between).output().await?;
    /// assert_eq!(rev.stdout, b"olleh\n");
    /// assert!(echo.wait().await?.success());
    /// # Ok(()) }) }
    /// ```
    pub fn stdin(&mut self, stdin: impl Into<Stdio>) -> &mut Command {
        self.std.stdin(stdin);
        self.chosen.stdin = true;
        self
    }

    /// Sets its standard output; see [`stdin`](Command::stdin). For [`output`](Command::output), piped is the default.
    pub fn stdout(&mut self, stdout: impl Into<Stdio>) -> &mut Command {
        self.std.stdout(stdout);
        self.chosen.stdout = true;
        self
    }

    /// Sets its standard error; as [`stdout`](Command::stdout).
    pub fn stderr(&mut self, stderr: impl Into<Stdio>) -> &mut Command {
        self.std.stderr(stderr);
        self.chosen.stderr = true;
        self
    }

    /// Sets the user it runs as, by number. Takes the right to do so; supplementary groups go if this is root.
    pub fn uid(&mut self, uid: u32) -> &mut Command {
        self.std.uid(uid);
        self
    }

    /// Sets the group it runs as, by number.
    pub fn gid(&mut self, gid: u32) -> &mut Command {
        self.std.gid(gid);
        self
    }

    /// Puts it into a process group; 0 means one of its own. Default: that of this process.
    pub fn process_group(&mut self, group: i32) -> &mut Command {
        self.std.process_group(group);
        self
    }

    /// Whether a [`Child`] that is dropped before it was waited for is killed. Default: `false`: it runs on.
    ///
    /// It is reaped either way.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::process::Command;
    ///
    /// let child = Command::new("sleep").arg("3600").kill_on_drop(true).spawn()?;
    /// drop(child);
    /// # Ok(()) }) }
    /// ```
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Command {
        self.kill_on_drop = kill;
        self
    }

    /// Whether it is put into a process group of its own, all of which is meant when it is killed or signalled: by
    /// [`Child::start_kill`], [`Child::signal`], [`kill_on_drop`](Command::kill_on_drop) and a [`Capture`]'s limits.
    /// Default: `false`: only the child itself is.
    ///
    /// So a shell goes with all that it has started, unless that has left the group. Ctrl-C at the terminal no longer
    /// reaches them by itself, and a group of its own cannot read from the terminal: give it another standard input.
    /// Goes before [`process_group`](Command::process_group).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::process::Command;
    /// use std::time::Duration;
    ///
    /// let mut shell = Command::new("sh");
    /// shell.args(["-c", "sleep 3600 | sleep 3600"]).kill_group(true);
    /// let output = shell.output().timeout(Duration::from_millis(50)).await;
    /// assert_eq!(output.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    /// # Ok(()) }) }
    /// ```
    pub fn kill_group(&mut self, group: bool) -> &mut Command {
        self.kill_group = group;
        self
    }

    /// Starts the program.
    ///
    /// Blocks the thread until the program's file is open and its process made (about 0.2 ms), as
    /// [`std::process::Command::spawn`], which does it, does. The child runs on when its handle is dropped, unless it
    /// is to be [killed](Command::kill_on_drop) then.
    ///
    /// # Errors
    ///
    /// Those of [`std::process::Command::spawn`]: `NotFound` if there is no such program (or directory),
    /// `PermissionDenied` if it cannot be executed, `WouldBlock` when there may be no more processes, `EMFILE` when out
    /// of descriptors: one is held for the child until it is reaped, and one for each of its pipes. If it is that one
    /// that is missing, the child is killed at once.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::process::{Command, Stdio};
    ///
    /// let mut child = Command::new("cat")
    ///     .stdin(Stdio::piped())
    ///     .stdout(Stdio::piped())
    ///     .spawn()?;
    /// let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    /// stdin.write_all("ping").await.0?;
    /// let (read, buf) = stdout.read_exact([0; 4]).await;
    /// read?;
    /// assert_eq!(&buf, b"ping");
    ///
    /// stdin.close().await?;
    /// assert!(child.wait().await?.success());
    /// # Ok(()) }) }
    /// ```
    pub fn spawn(&mut self) -> io::Result<Child> {
        if self.kill_group {
            self.std.process_group(0);
        }
        Child::adopt(self.std.spawn()?, self.kill_on_drop, self.kill_group)
    }

    /// Starts the program and waits until it has ended. Pipes to it are closed at once.
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Command::spawn) and [`Child::wait`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the [`Child`]: it runs on, or is killed ([`kill_on_drop`](Command::kill_on_drop)).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// let status = runtime::process::Command::new("false").status().await?;
    /// assert_eq!(status.code(), Some(1));
    /// # Ok(()) }) }
    /// ```
    pub async fn status(&mut self) -> io::Result<ExitStatus> {
        let mut child = self.spawn()?;
        drop((child.stdout.take(), child.stderr.take()));
        child.wait().await
    }

    /// Runs the program to its end and collects what it prints, within limits if there are any: see [`Capture`].
    ///
    /// It is started when this is first polled.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> { runtime::Runtime::new()?.block_on(async {
    /// use runtime::process::Command;
    /// use std::time::Duration;
    ///
    /// let mut wc = Command::new("wc");
    /// let output = wc
    ///     .arg("-c")
    ///     .output()
    ///     .input("hello")
    ///     .output_limit(1024)
    ///     .timeout(Duration::from_secs(10))
    ///     .await?;
    /// assert_eq!(output.stdout.trim_ascii(), b"5");
    /// # Ok(()) }) }
    /// ```
    pub fn output(&mut self) -> Capture<'_> {
        Capture::run(self)
    }

    /// As [`spawn`](Command::spawn), with pipes where nothing else was chosen.
    pub(super) fn spawn_captured(&mut self, feed: bool) -> io::Result<Child> {
        let chosen = &self.chosen;
        if !chosen.stdin {
            let stdin = if feed { Stdio::piped() } else { Stdio::null() };
            self.std.stdin(stdin);
        }
        if !chosen.stdout {
            self.std.stdout(Stdio::piped());
        }
        if !chosen.stderr {
            self.std.stderr(Stdio::piped());
        }
        let child = self.spawn();
        // For a `spawn` of the user's next.
        let chosen = &self.chosen;
        if !chosen.stdin {
            self.std.stdin(Stdio::inherit());
        }
        if !chosen.stdout {
            self.std.stdout(Stdio::inherit());
        }
        if !chosen.stderr {
            self.std.stderr(Stdio::inherit());
        }
        child
    }

    /// The standard library's command, to look at.
    #[must_use]
    pub fn as_std(&self) -> &std::process::Command {
        &self.std
    }

    /// The standard library's command, for what is not offered here. Its standard streams are better set here: what
    /// is set there counts as not chosen for [`output`](Command::output).
    pub fn as_std_mut(&mut self) -> &mut std::process::Command {
        &mut self.std
    }
}
